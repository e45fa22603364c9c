//! Routes in a real Redis that refuses what it is asked: what workers believe of it then.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use shared::{
    config::SecretUrl,
    ids::{Conversation, Device, NodeId, Seq, SessionNo, UserId},
    rpc::Registration,
};
use tests::harness::{SOON, eventually, servers, stores::Stores};
use tokio_util::sync::{CancellationToken, DropGuard};
use workers::{
    config::WorkerConfig,
    directory::{Directory, Routes, offline::NAMED},
    nodes::NodeInfo,
};

/// A worker's directory under a Redis user of its own, whose rights a test takes and gives.
struct Desk {
    stores: Stores,
    directory: Directory,
    live: Arc<Mutex<Vec<NodeInfo>>>,
    _end: DropGuard,
}

impl Desk {
    async fn open(name: &str) -> Self {
        let servers = servers::shared().await.unwrap();
        let name = format!("directory_{name}_{}", std::process::id());
        let stores = Stores::open(&servers, &name, 4).await.unwrap();
        let _: String = stores.redis("ACL", &["SETUSER", &name, "on", ">secret", "~*", "+@all"]).await;
        let mut config = WorkerConfig::default();
        let (_, address) = servers.redis.rsplit_once('@').unwrap();
        let url = format!("redis://{name}:secret@{address}");
        config.redis.url = SecretUrl::new(&url);
        config.redis.prefix = format!("{name}:");
        // Ten thousand bodies at once take their time on a machine with other tests.
        config.redis.timeout_ms = shared::config::Millis(10_000);
        config.worker.node_dead_ms = shared::config::Millis(100);
        let directory = Directory::new(&config).unwrap();
        let live: Arc<Mutex<Vec<NodeInfo>>> = Arc::default();
        let (shutdown, seen) = (CancellationToken::new(), live.clone());
        tokio::spawn(directory.clone().run(move || seen.lock().unwrap().clone(), shutdown.clone()));
        Self { stores, directory, live, _end: shutdown.drop_guard() }
    }

    async fn rights(&self, rights: &[&str]) {
        let args: Vec<&str> =
            ["SETUSER", &self.stores.name].into_iter().chain(rights.iter().copied()).collect();
        let _: String = self.stores.redis("ACL", &args).await;
    }

    async fn epoch(&self) -> String {
        eventually(SOON, async || self.directory.epoch().ok_or("no epoch yet".to_owned())).await;
        self.directory.epoch().unwrap()
    }

    /// A node comes, and has registered these sessions.
    async fn registered(&self, node: &str, sessions: &[Registration]) {
        let epoch = self.epoch().await;
        let node = NodeId::new(node).unwrap();
        self.directory.register(&node, sessions, Some(&epoch)).await.unwrap();
        let server = "127.0.0.1".to_owned();
        let speaks = shared::contract::Speaks::this();
        self.live.lock().unwrap().push(NodeInfo {
            node,
            server,
            port: 1,
            sessions: 1,
            draining: false,
            speaks,
            compat: None,
        });
        self.believed().await;
    }

    async fn believed(&self) {
        eventually(SOON, async || match self.directory.routes(&[UserId(1)]).await {
            Routes::Known(_) => Ok(()),
            Routes::Unknown => Err("the routes do not count yet".to_owned()),
        })
        .await;
    }

    async fn close(self) {
        let _: i64 = self.stores.redis("ACL", &["DELUSER", &self.stores.name]).await;
        self.stores.wipe_redis().await;
        self.stores.execute(&format!("DROP SCHEMA {} CASCADE", self.stores.name), &[]).await;
    }
}

fn session(user: i64, session: i64) -> Registration {
    Registration { user: UserId(user), device: Device::new("ipad").unwrap(), session: SessionNo(session) }
}

/// A full Redis, or a replica: it reads, and does not write. A session that could not be registered is found all the same.
#[tokio::test]
async fn a_redis_that_refuses_to_write_is_not_believed() {
    let desk = Desk::open("refuses").await;
    desk.registered("e1-1", &[session(1, 1)]).await;
    desk.rights(&["-@write"]).await;
    let node = NodeId::new("e1-1").unwrap();
    assert!(desk.directory.register(&node, &[session(2, 2)], None).await.is_err());
    eventually(SOON, async || match desk.directory.routes(&[UserId(2)]).await {
        Routes::Unknown if desk.directory.epoch().is_none() => Ok(()),
        Routes::Unknown => Err("nodes are not told so".to_owned()),
        known => Err(format!("a session that is not there is believed: {known:?}")),
    })
    .await;
    desk.rights(&["+@write"]).await;
    desk.believed().await;
    desk.close().await;
}

/// A full Redis still deletes: the routes count for no worker from the first login on that could not be written.
#[tokio::test]
async fn a_login_without_a_route_ends_the_belief_in_routes_at_once() {
    let desk = Desk::open("full").await;
    desk.registered("e1-1", &[session(1, 1)]).await;
    desk.rights(&["-@write", "+del"]).await;
    let node = NodeId::new("e1-1").unwrap();
    assert!(desk.directory.register(&node, &[session(2, 2)], None).await.is_err());
    assert_eq!(desk.stores.keys("im_marker").await, [""; 0], "it goes for every worker");
    assert_eq!(desk.directory.routes(&[UserId(2)]).await, Routes::Unknown);
    desk.close().await;
}

/// What has an expiry may be evicted by a full Redis.
#[tokio::test]
async fn who_has_registered_is_kept_as_long_as_its_epoch() {
    let desk = Desk::open("epochs").await;
    desk.registered("e1-1", &[session(1, 1)]).await;
    let old = desk.epoch().await;
    for key in ["im_epoch", "im_marker", &format!("im_registered_{old}"), "route_1"] {
        let left: i64 = desk.stores.redis("TTL", &[&desk.stores.key(key)]).await;
        assert_eq!(left, -1, "{key}");
    }
    // As after a restart of Redis from a snapshot: an epoch of another start.
    let other = "0.another-start";
    let _: String = desk
        .stores
        .redis(
            "RENAME",
            &[
                &desk.stores.key(&format!("im_registered_{old}")),
                &desk.stores.key(&format!("im_registered_{other}")),
            ],
        )
        .await;
    let _: String = desk.stores.redis("SET", &[&desk.stores.key("im_epoch"), other]).await;
    eventually(SOON, async || match desk.directory.epoch() {
        Some(epoch) if epoch != old => Ok(()),
        found => Err(format!("the epoch is still {found:?}")),
    })
    .await;
    eventually(SOON, async || match desk.stores.keys("im_registered_*").await {
        keys if keys.is_empty() => Ok(()),
        keys => Err(format!("left behind: {keys:?}")),
    })
    .await;
    desk.close().await;
}

/// What waits for a user who never comes back must not grow without bound.
#[tokio::test]
async fn a_list_of_kept_bodies_names_the_newest_ones_and_ends() {
    let desk = Desk::open("kept").await;
    desk.epoch().await;
    let talk = Conversation::direct(UserId(1), UserId(2));
    let body = |seq: usize| (UserId(1), talk, Seq(seq as i64), Bytes::from_static(b"x"));
    let bodies: Vec<_> = (1..NAMED).map(body).collect();
    desk.directory.offline_put(&bodies).await.unwrap();
    let list = desk.stores.key("offline_1");
    let named = async || desk.stores.redis::<Vec<String>>("LRANGE", &[&list, "0", "-1"]).await;
    assert_eq!(named().await.len(), NAMED - 1);
    let more: Vec<_> = (NAMED..NAMED + 7).map(body).collect();
    desk.directory.offline_put(&more).await.unwrap();
    let key = |seq: usize| desk.stores.key(&format!("offline_1_{talk}_{seq}"));
    assert_eq!(named().await, (7..NAMED + 7).map(key).collect::<Vec<_>>());
    for key in [list.clone(), key(NAMED)] {
        let left: i64 = desk.stores.redis("TTL", &[&key]).await;
        assert!(left > 0 && left <= 7 * 86_400, "{key} ends in {left} s");
    }
    desk.close().await;
}
