//! The port for the calls of simple_im's original clients.

use super::*;

fn paged(state: HttpState) -> HttpState {
    state.with_routes(Router::new().route("/page", axum::routing::get(async || "page")))
}

#[tokio::test]
async fn calls_of_original_clients_are_told_apart_by_the_port_they_come_to() {
    let ordinary = Api::changed(fine, Limits::default(), paged).await;
    let theirs = Api::changed(fine, Limits::default(), |state| paged(state).for_originals()).await;
    for (api, original) in [(ordinary, false), (theirs, true)] {
        assert_eq!(api.form("/server/login", "phone=138&password=x").await.status, 200);
        let (call, asked) = api.last();
        assert_eq!((call, asked.original), ("account.login", original));
        assert_eq!(api.ask("GET", "/page", "", b"").await.status, if original { 404 } else { 200 });
        api.shutdown.cancel();
        api.served.await.unwrap();
    }
}
