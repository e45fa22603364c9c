//! Looking into PostgreSQL, Redis and NATS from a test.

use async_nats::jetstream;
use shared::subject::{Lane, Subjects};
use tokio_postgres::{NoTls, types::ToSql};

use super::{SOON, servers::Servers};

/// A test's own schema, key prefix and subject prefix, and connections that see them.
#[derive(Debug)]
pub struct Stores {
    /// The schema, and the start of every Redis key and subject.
    pub name: String,
    /// Lanes of the stream.
    pub lanes: u16,
    sql: tokio_postgres::Client,
    /// Redis; keys are written with [`Stores::key`].
    pub redis: redis::aio::MultiplexedConnection,
    /// NATS; subjects are written with [`Stores::subjects`].
    pub nats: async_nats::Client,
}

impl Stores {
    /// Connects, and makes the schema.
    ///
    /// # Errors
    /// When one of the servers is not there.
    pub async fn open(servers: &Servers, name: &str, lanes: u16) -> anyhow::Result<Self> {
        let (sql, connection) = tokio_postgres::connect(&servers.postgres, NoTls).await?;
        tokio::spawn(connection);
        sql.batch_execute(&format!("CREATE SCHEMA IF NOT EXISTS {name}; SET search_path = {name}")).await?;
        let patient = redis::AsyncConnectionConfig::new()
            .set_response_timeout(Some(SOON))
            .set_connection_timeout(Some(SOON));
        let redis = redis::Client::open(servers.redis.as_str())?
            .get_multiplexed_async_connection_with_config(&patient)
            .await?;
        let nats = shared::nats::connect(&servers.nats).await?;
        Ok(Self { name: name.to_owned(), lanes, sql, redis, nats })
    }

    /// Rows of the test's own schema.
    ///
    /// # Panics
    /// When PostgreSQL does not like the query.
    pub async fn rows(&self, query: &str, values: &[&(dyn ToSql + Sync)]) -> Vec<tokio_postgres::Row> {
        self.sql.query(query, values).await.unwrap_or_else(|error| panic!("{query}: {error:?}"))
    }

    /// The one number a query returns.
    pub async fn number(&self, query: &str, values: &[&(dyn ToSql + Sync)]) -> i64 {
        self.rows(query, values).await[0].get(0)
    }

    /// Changes rows of the test's own schema.
    pub async fn execute(&self, query: &str, values: &[&(dyn ToSql + Sync)]) -> u64 {
        self.sql.execute(query, values).await.unwrap_or_else(|error| panic!("{query}: {error:?}"))
    }

    /// The Redis key as the system writes it.
    pub fn key(&self, key: &str) -> String {
        format!("{}:{key}", self.name)
    }

    /// One Redis command.
    ///
    /// # Panics
    /// When Redis does not like it.
    pub async fn redis<T: redis::FromRedisValue>(&self, command: &str, args: &[&str]) -> T {
        let mut redis = self.redis.clone();
        let mut cmd = redis::cmd(command);
        cmd.arg(args);
        cmd.query_async(&mut redis).await.unwrap_or_else(|error| panic!("{command} {args:?}: {error}"))
    }

    /// Every Redis key of this test that matches.
    pub async fn keys(&self, pattern: &str) -> Vec<String> {
        let mut keys: Vec<String> = self.redis("KEYS", &[&self.key(pattern)]).await;
        keys.sort();
        keys
    }

    /// Empties Redis as far as this test's system can see.
    pub async fn wipe_redis(&self) {
        let keys = self.keys("*").await;
        if !keys.is_empty() {
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            let _: i64 = self.redis("DEL", &keys).await;
        }
    }

    /// The test's subjects.
    pub fn subjects(&self) -> Subjects {
        Subjects::new(&self.name)
    }

    /// What the stream of accepted frames still holds, and what its consumers have not acknowledged.
    pub async fn pending(&self) -> Result<(u64, usize), String> {
        let context = jetstream::new(self.nats.clone());
        let mut stream =
            context.get_stream(self.subjects().stream()).await.map_err(|e| format!("stream: {e}"))?;
        let held = stream.info().await.map_err(|e| format!("stream: {e}"))?.state.messages;
        let mut unacked = 0;
        for lane in 0..self.lanes {
            let name = self.subjects().consumer(Lane(lane));
            let info = stream.consumer_info(&name).await.map_err(|e| format!("consumer {name}: {e}"))?;
            unacked += info.num_ack_pending;
        }
        Ok((held, unacked))
    }

    /// Removes what the test has left in the three stores.
    pub async fn drop_all(&self) {
        let context = jetstream::new(self.nats.clone());
        for stream in [self.subjects().stream(), self.subjects().dead_stream()] {
            context.delete_stream(&stream).await.ok();
        }
        self.wipe_redis().await;
        self.sql
            .batch_execute(&format!("DROP SCHEMA {} CASCADE", self.name))
            .await
            .expect("the schema can be dropped");
    }
}
