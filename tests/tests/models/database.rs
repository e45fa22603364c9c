//! A schema of a test's own, and what the workers reach it with.

use std::sync::atomic::{AtomicU32, Ordering};

use shared::{config::SecretUrl, ids::UserId};
use tests::harness::{servers, stores::Stores};
use workers::{
    config::{Postgres, WorkerConfig},
    store::{self, Pool, Session},
};

/// A migrated schema.
pub struct Database {
    pub stores: Stores,
    settings: Postgres,
}

impl Database {
    pub async fn open() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let mut servers = servers::shared().await.unwrap();
        // What is tried here is what is stored, not whether it survives.
        let options = "options=-c%20synchronous_commit%3Doff";
        let joined = if servers.postgres.contains('?') { '&' } else { '?' };
        servers.postgres = format!("{}{joined}{options}", servers.postgres);
        let name = format!("m{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let stores = Stores::open(&servers, &name, 1).await.unwrap();
        let usual = WorkerConfig::default().postgres;
        let settings = Postgres { url: SecretUrl::new(servers.postgres), schema: name, pool: 4, ..usual };
        store::migrate(&settings).await.unwrap();
        Self { stores, settings }
    }

    /// A connection of its own, as a committer has.
    pub async fn session(&self) -> Session {
        Session::new(store::connect_one(&self.settings).await.unwrap().0)
    }

    pub fn pool(&self) -> Pool {
        Pool::new(&self.settings).unwrap()
    }

    /// Empty again, and every number from 1: a history is the same whichever came before it.
    pub async fn clear(&self) {
        let tables =
            "devices groups contact_versions contacts contact_requests blocks messages participants cursors
            reads receipts requests lanes";
        let deleted =
            (0..).zip(tables.split_whitespace()).map(|(n, table)| format!("t{n} AS (DELETE FROM {table})"));
        let deleted: Vec<String> = deleted.collect();
        self.stores.execute(&format!("WITH {} DELETE FROM users", deleted.join(", ")), &[]).await;
        self.stores
            .execute("SELECT setval('users_id_seq', 1, false), setval('groups_id_seq', 1, false)", &[])
            .await;
    }

    pub async fn users(&self, count: i64) -> Vec<UserId> {
        let insert = "INSERT INTO users (phone, name, password)
            SELECT 'p' || n, 'somebody', '' FROM generate_series(1, $1::bigint) n
            RETURNING id";
        let rows = self.stores.rows(insert, &[&count]).await;
        rows.iter().map(|row| UserId(row.get(0))).collect()
    }

    pub async fn close(self) {
        self.stores.drop_all().await;
    }
}
