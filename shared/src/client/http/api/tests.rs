use axum::{
    Form, Router,
    extract::Query,
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};

use super::*;
use crate::{
    command::Code,
    ids::{Conversation, GroupId},
    message::Target,
};

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
async fn one_s_own_account_is_changed_and_its_devices_are_read() {
    let user = axum::routing::put(async |headers: HeaderMap, Form(args): Form<Args>| {
        assert_eq!(cookie(&headers), "token=t");
        let args: Vec<(&str, &str)> =
            args.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        match args.as_slice() {
            [("name", "Älice")] | [("old_password", "o+/ld"), ("password", "new")] => {
                "[[response]]\nstatus = 0\n".into_response_with(StatusCode::OK)
            }
            _ => "[[response]]\nstatus = 1\nr = \"wrong\"\ncode = \"credentials\"\n"
                .into_response_with(StatusCode::UNAUTHORIZED),
        }
    });
    let devices = get(async || {
        "[[response]]\nstatus = 0\n[[device]]\ndevice = \"ipad\"\nseen = 5\nonline = 1\n[[device]]\ndevice = \"phone\"\nown = 1\nended = 1\n"
    })
    .delete(async |Query(args): Query<Args>| {
        assert_eq!(args, [("device".to_owned(), "ipad".to_owned())]);
        "[[response]]\nstatus = 0\n"
    });
    let api = api(Router::new().route("/user", user).route("/device", devices)).await;
    api.set_name("t", "Älice").await.unwrap();
    api.set_password("t", "o+/ld", "new").await.unwrap();
    assert_eq!(api.set_password("t", "x", "new").await.unwrap_err().code(), Some(Code::Credentials));
    let found = api.devices("t").await.unwrap();
    let told: Vec<_> =
        found.iter().map(|one| (one.device.as_str(), one.seen, one.own, one.online, one.ended)).collect();
    assert_eq!(told, [("ipad", 5, false, true, false), ("phone", 0, true, false, true)]);
    api.end_device("t", &found[0].device).await.unwrap();
}

#[tokio::test]
async fn tokens_travel_as_cookies_and_arguments_where_they_belong() {
    let history = get(async |headers: HeaderMap, Query(args): Query<Args>| {
        assert_eq!(cookie(&headers), "token=t+/=");
        assert_eq!(
            args,
            [("with", "3"), ("limit", "9")].map(|(key, value)| (key.to_owned(), value.to_owned()))
        );
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
    let page = api.history("t+/=", Target::User(UserId(3)), None, 9).await.unwrap();
    assert_eq!((page.rows.len(), page.rows[0].text(), page.more), (1, Some("x"), false));
    assert_eq!(api.user_by_phone("t", "+49 1").await.unwrap().unwrap().id, UserId(2));
    assert_eq!(api.user_by_phone("t", "9").await.unwrap(), None);
    assert_eq!(api.failed("t").await.unwrap(), Failed::Online);
    let error = api.offline("t").await.unwrap_err();
    assert!(matches!(error, ApiError::Refused { status: 503, retry_after: Some(7), .. }), "{error}");
}

#[tokio::test]
async fn lists_are_read() {
    let talks = get(async || {
        "[[response]]\nstatus = 0\nmore = 1\n[[conversation]]\nconversation = \"dm:1:3\"\nuser = 3\nread = 0\nunread = 2\n\
         kind = \"m\"\n[conversation.last]\nid = \"a\"\nc = \"x\"\nts = 5\nseq = 2\n[conversation.last.to]\nid = 3\n\
         [conversation.last.from]\nid = 1\ndevice = \"d\"\n[[conversation]]\nconversation = \"g:9\"\nleft = 1\n"
    });
    let groups = get(async |Query(args): Query<Args>| {
        assert_eq!(args, [("after".to_owned(), "8".to_owned())]);
        "[[response]]\nstatus = 0\n[[group]]\nid = 9\nname = \"all\"\ncreator = 1\ncount = 2\n"
    });
    let group = get(
        async || "[[response]]\nstatus = 0\n[[group]]\nid = 9\nname = \"all\"\ncreator = 1\ncount = 2\nmembers = [1, 3]\n[[user]]\nid = 3\n",
    );
    let requests = get(
        async || "[[response]]\nstatus = 0\nmore = 1\n[[request]]\nid = 3\nname = \"c\"\nown = 1\nmessage = \"hi\"\nts = 5\n",
    );
    let blocked = get(async || "[[response]]\nstatus = 0\nmore = 0\n[[user]]\nid = 4\n");
    let routes = Router::new().route("/contact/request", requests).route("/contact/blocked", blocked);
    let asked = api(routes).await;
    let page = asked.requests("t", None).await.unwrap();
    assert_eq!(
        (page.rows[0].user.id, page.rows[0].own, page.rows[0].ts, page.more),
        (UserId(3), true, 5, true)
    );
    assert_eq!(asked.blocked("t", None).await.unwrap().rows[0].id, UserId(4));
    let routes = Router::new().route("/conversation", talks).route("/group", groups).route("/group/9", group);
    let api = api(routes).await;
    let page = api.conversations("t", None).await.unwrap();
    assert_eq!((page.rows.len(), page.more, page.rows[0].unread), (2, true, 2));
    assert_eq!(page.rows[0].last.as_ref().unwrap().text(), Some("x"));
    assert_eq!((page.rows[1].conversation, page.rows[1].left), (Conversation::Group(GroupId(9)), true));
    let page = api.groups("t", Some(GroupId(8))).await.unwrap();
    assert_eq!((page.rows[0].name.as_str(), page.more), ("all", false));
    let (group, users) = api.group("t", GroupId(9)).await.unwrap();
    assert_eq!((group.members, users[0].id), (vec![UserId(1), UserId(3)], UserId(3)));
}

#[tokio::test]
async fn where_one_base_is_not_there_another_is_asked() {
    let up =
        api(Router::new().route("/user/id/2", get(async || "[[response]]\nstatus = 0\n[[user]]\nid = 2\n")))
            .await;
    let gone = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let both = Api::any([gone.as_str(), up.base()]);
    assert_eq!(both.base(), gone);
    assert_eq!(both.user_by_id("t", UserId(2)).await.unwrap().unwrap().id, UserId(2));
    assert_eq!(both.base(), up.base(), "the next call goes there at once");
    let nowhere = Api::any([gone.as_str(), gone.as_str()]).user_by_id("t", UserId(2)).await;
    assert!(matches!(nowhere, Err(ApiError::Network { .. })), "{nowhere:?}");
}

trait With {
    fn into_response_with(self, status: StatusCode) -> (StatusCode, &'static str);
}

impl With for &'static str {
    fn into_response_with(self, status: StatusCode) -> (StatusCode, &'static str) {
        (status, self)
    }
}
