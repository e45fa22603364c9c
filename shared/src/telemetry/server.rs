//! The process's own small HTTP server: /metrics, /livez, /readyz, /config. On its own port, so that load on the service does
//! not hide it and the public does not reach it.

use std::{
    io,
    time::{Duration, SystemTime},
};

use axum::{
    Router,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio::{net::TcpListener, time};
use tokio_util::sync::CancellationToken;

use super::{About, Readiness, recorder};

/// How often histograms' sample buffers are emptied between scrapes.
const UPKEEP: Duration = Duration::from_secs(5);
/// How long answers under way may take once the process ends.
const GRACE: Duration = Duration::from_secs(2);

/// Serves until the token is cancelled, then ends within two seconds.
///
/// # Errors
/// What the listener said.
pub async fn serve(
    listener: TcpListener,
    readiness: Readiness,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let serving =
        axum::serve(listener, routes(readiness)).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    let deadline = async {
        shutdown.cancelled().await;
        time::sleep(GRACE).await;
    };
    let upkeep = async {
        let mut ticks = time::interval(UPKEEP);
        loop {
            ticks.tick().await;
            recorder::upkeep();
        }
    };
    tokio::select! {
        done = serving.into_future() => done,
        () = deadline => Ok(()),
        () = upkeep => Ok(()),
    }
}

fn routes(readiness: Readiness) -> Router {
    let (began, measured) = (SystemTime::now(), readiness.clone());
    Router::new()
        .route("/metrics", get(move || std::future::ready(metrics(&measured))))
        .route("/config", get(move || std::future::ready(config(began))))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(move || std::future::ready(readyz(&readiness))))
}

fn metrics(readiness: &Readiness) -> impl IntoResponse + use<> {
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        recorder::render(Some(readiness.is_ready())),
    )
}

fn config(began: SystemTime) -> impl IntoResponse {
    match toml::to_string(&About::this_process(began)) {
        Ok(text) => (StatusCode::OK, [(header::CONTENT_TYPE, "application/toml")], text),
        Err(error) => {
            let plain = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
            (StatusCode::INTERNAL_SERVER_ERROR, plain, format!("{error}\n"))
        }
    }
}

fn readyz(readiness: &Readiness) -> (StatusCode, String) {
    let unmet = readiness.unmet();
    if unmet.is_empty() {
        return (StatusCode::OK, "ready\n".to_owned());
    }
    (
        StatusCode::SERVICE_UNAVAILABLE,
        unmet.iter().map(|(name, reason)| format!("{name}: {reason}\n")).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_tells_life_readiness_and_figures_and_ends_when_told() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (readiness, shutdown) = (Readiness::new(), CancellationToken::new());
        let broker = readiness.condition("broker");
        let server = tokio::spawn(serve(listener, readiness, shutdown.clone()));
        let get = async |path: &str| {
            let http = crate::client::http::builder(None).build().unwrap();
            let response = http.get(format!("http://{address}{path}")).send().await.unwrap();
            (response.status().as_u16(), response.text().await.unwrap())
        };
        assert_eq!(get("/livez").await, (200, "ok\n".to_owned()));
        assert_eq!(get("/readyz").await, (503, "broker: not yet\n".to_owned()));
        broker.met();
        assert_eq!(get("/readyz").await, (200, "ready\n".to_owned()));
        let (status, text) = get("/metrics").await;
        assert!(text.contains("im_process_ready 1"), "{text}");
        assert_eq!(status, 200);
        assert!(text.contains("# TYPE im_process_cpu_seconds_total counter"), "{text}");
        let (status, text) = get("/config").await;
        let about: About = toml::from_str(&text).unwrap();
        assert_eq!(
            (status, about.pid, about.version.as_str()),
            (200, std::process::id(), env!("CARGO_PKG_VERSION"))
        );
        assert!(about.now_us >= about.started_us && about.started_us > 0, "{text}");
        shutdown.cancel();
        server.await.unwrap().unwrap();
    }
}
