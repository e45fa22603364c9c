//! What Redis says of itself.

use redis::{InfoDict, Pipeline};

use super::{Directory, Unreachable};

/// Of the whole server, whoever uses it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    /// Memory used for data, bytes.
    pub bytes: u64,
    /// The most that it may use, bytes; 0 for no limit.
    pub limit_bytes: u64,
    /// Connections.
    pub clients: u64,
    /// Keys evicted since its start.
    pub evicted: u64,
}

impl Directory {
    /// Asks for them.
    ///
    /// # Errors
    /// [`Unreachable`].
    pub async fn figures(&self) -> Result<Figures, Unreachable> {
        let (info,): (InfoDict,) = self.link().send(Pipeline::new().cmd("INFO")).await?;
        let of = |key: &str| info.get::<u64>(key).unwrap_or_default();
        Ok(Figures {
            bytes: of("used_memory"),
            limit_bytes: of("maxmemory"),
            clients: of("connected_clients"),
            evicted: of("evicted_keys"),
        })
    }
}
