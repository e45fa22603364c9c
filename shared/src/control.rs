//! What operators tell edges: on `im.ctl.<node>` one of them, on `im.ctl.all` every one. TOML, with a reply.
//!
//! The broker's permissions say who may publish there: an edge obeys whatever comes.
//!
//! ```toml
//! do = "kick"
//! user = 7
//! device = "ipad"
//! ```

use serde::{Deserialize, Serialize};

use crate::ids::{Device, NodeId, SessionNo, UserId};

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Control {
    /// The node ends as by SIGTERM: its sessions move to other nodes first.
    Drain,
    /// Connections of this user are closed; their tokens stay, so that their clients come back.
    Kick {
        /// Whose.
        user: UserId,
        /// Of which device; of all if none is named.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        device: Option<Device>,
    },
    /// Connections of this user are closed whose token is gone.
    Revoke {
        /// Whose.
        user: UserId,
        /// Of which device.
        device: Device,
        /// Sessions with a number below this one; the device may have begun another since.
        below: SessionNo,
    },
}

/// A node has done it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Controlled {
    /// Which node.
    pub node: NodeId,
    /// How many of its sessions it concerns.
    pub sessions: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc;

    #[test]
    fn what_is_told_reads_back() {
        let user = UserId(7);
        for told in [
            Control::Drain,
            Control::Kick { user, device: None },
            Control::Kick { user, device: Some(Device::new("ipad").unwrap()) },
            Control::Revoke { user, device: Device::new("a \"pad\"").unwrap(), below: SessionNo(12) },
        ] {
            let written = rpc::to_vec(&told);
            assert_eq!(rpc::from_slice::<Control>(&written).unwrap(), told);
        }
        assert_eq!(rpc::to_vec(&Control::Drain), b"do = \"drain\"\n");
    }
}
