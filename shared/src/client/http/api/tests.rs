use axum::{
    Form, Router,
    extract::Query,
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};

use super::*;
use crate::command::Code;

type Args = Vec<(String, String)>;

/// Serves the routes on a free port for as long as the test's runtime lives.
async fn api(routes: Router) -> Api {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Api::new(format!("http://{address}/"))
}

fn cookie(headers: &HeaderMap) -> String {
    headers.get("cookie").map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

#[tokio::test]
async fn a_login_is_read_and_its_token_is_not_printed() {
    let login = post(async |Form(args): Form<Args>| {
        assert_eq!(args[2], ("device".to_owned(), "ipad".to_owned()));
        match args[1].1.as_str() {
            "88 88+" => "[[response]]\nstatus = 0\nserver = \"10.0.0.3\"\nport = \"1987\"\n[response.user]\nid = 7\ntoken = \"a+b/c\"\n"
                .into_response_with(StatusCode::OK),
            _ => "[[response]]\nstatus = 1\nr = \"wrong\"\ncode = \"credentials\"\n".into_response_with(StatusCode::UNAUTHORIZED),
        }
    });
    let api = api(Router::new().route("/server/login", login)).await;
    let login = api.login("138", "88 88+", Some("ipad")).await.unwrap();
    assert_eq!(
        (login.user, login.token.expose(), login.node.to_string()),
        (UserId(7), "a+b/c", "10.0.0.3:1987".into())
    );
    assert!(!format!("{login:?}").contains("a+b/c"));
    let error = api.login("138", "x", Some("ipad")).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::Credentials));
    assert_eq!(error.to_string(), "HTTP 401, credentials: wrong");
}

#[tokio::test]
async fn tokens_travel_as_cookies_and_arguments_where_they_belong() {
    let history = get(async |headers: HeaderMap, Query(args): Query<Args>| {
        assert_eq!(cookie(&headers), "token=t+/=");
        assert_eq!(args, [("with".to_owned(), "3".to_owned())]);
        "[[response]]\nstatus = 0\n[[m]]\nid = \"a\"\nc = \"x\"\nts = 5\nseq = 2\n[m.to]\nid = 3\n[m.from]\nid = 1\ndevice = \"d\"\n"
    });
    let user = get(async |axum::extract::Path(phone): axum::extract::Path<String>| match phone.as_str() {
        "+49 1" => {
            "[[response]]\nstatus = 0\n[[user]]\nid = 2\nname = \"b\"\nphone = \"+49 1\"\navatar = \"\"\n"
                .into_response_with(StatusCode::OK)
        }
        _ => "[[response]]\nstatus = 1\ncode = \"not_found\"\n".into_response_with(StatusCode::NOT_FOUND),
    });
    let failed = post(async || "[[response]]\nstatus = 3\nr = \"IM is online\"\n");
    let busy = get(async || {
        (
            [("retry-after", "7")],
            "[[response]]\nstatus = 1\nr = \"later\"\n".into_response_with(StatusCode::SERVICE_UNAVAILABLE),
        )
    });
    let routes = Router::new()
        .route("/history", history)
        .route("/user/phone/{phone}", user)
        .route("/server/failed", failed)
        .route("/offline", busy);
    let api = api(routes).await;
    let page = api.history("t+/=", &[("with", "3")]).await.unwrap();
    assert_eq!((page.len(), page[0].text()), (1, Some("x")));
    assert_eq!(api.user_by_phone("t", "+49 1").await.unwrap().unwrap().id, UserId(2));
    assert_eq!(api.user_by_phone("t", "9").await.unwrap(), None);
    assert_eq!(api.failed("t").await.unwrap(), Failed::Online);
    let error = api.offline("t").await.unwrap_err();
    assert!(matches!(error, ApiError::Refused { status: 503, retry_after: Some(7), .. }), "{error}");
}

trait With {
    fn into_response_with(self, status: StatusCode) -> (StatusCode, &'static str);
}

impl With for &'static str {
    fn into_response_with(self, status: StatusCode) -> (StatusCode, &'static str) {
        (status, self)
    }
}
