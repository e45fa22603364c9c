//! Which node a client is sent to: of two picked at random among those that live and take sessions, the emptier one, so
//! that many logins between two heartbeats do not all go to the same.

use crate::{
    nodes::NodeInfo,
    rpc::{Calls, Fault},
};

impl Calls {
    /// A node to connect to, another than the one at `not` if there is one; for an original client one that serves those.
    pub(super) fn door(&self, not: Option<&(String, u16)>, original: bool) -> Result<NodeInfo, Fault> {
        let takes = |node: &NodeInfo| !node.draining && (!original || node.compat.is_some());
        let open: Vec<NodeInfo> = self.desk.nodes.live().into_iter().filter(takes).collect();
        let others = open.iter().filter(|node| not.is_none_or(|(server, port)| !is_at(node, server, *port)));
        let others: Vec<NodeInfo> = others.cloned().collect();
        let nodes = if others.is_empty() { open } else { others };
        pick(&nodes, random(), random()).cloned().ok_or_else(|| {
            let whose = if original { " of original clients" } else { "" };
            Fault::Unavailable(format!("no node takes connections{whose} now"))
        })
    }

    /// Whether a node at this address answers its heartbeat.
    pub(super) fn lives_at(&self, server: &str, port: u16) -> bool {
        self.desk.nodes.live().iter().any(|node| is_at(node, server, port))
    }
}

fn is_at(node: &NodeInfo, server: &str, port: u16) -> bool {
    node.server == server && node.port == port
}

fn pick(nodes: &[NodeInfo], one: usize, other: usize) -> Option<&NodeInfo> {
    if nodes.is_empty() {
        return None;
    }
    let first = one % nodes.len();
    // Another one than the first, unless there is no other.
    let second = if nodes.len() > 1 { (first + 1 + other % (nodes.len() - 1)) % nodes.len() } else { first };
    [&nodes[first], &nodes[second]].into_iter().min_by_key(|node| node.sessions)
}

fn random() -> usize {
    // Without the system's randomness the choice is merely less even.
    getrandom::u32().map_or(0, |number| number as usize)
}

#[cfg(test)]
mod tests {
    use shared::ids::NodeId;

    use super::*;

    fn nodes(sessions: &[u64]) -> Vec<NodeInfo> {
        let node = |(at, sessions): (usize, &u64)| NodeInfo {
            node: NodeId::new(&format!("e{at}")).unwrap(),
            server: "127.0.0.1".to_owned(),
            port: 1987 + at as u16,
            sessions: *sessions,
            draining: false,
            speaks: shared::contract::Speaks::this(),
            compat: None,
        };
        sessions.iter().enumerate().map(node).collect()
    }

    #[test]
    fn the_emptier_of_two_is_picked_and_two_are_never_the_same() {
        assert!(pick(&[], 3, 4).is_none());
        assert_eq!(pick(&nodes(&[5]), 3, 4).unwrap().sessions, 5);
        for one in 0..6 {
            for other in 0..6 {
                assert_eq!(pick(&nodes(&[9, 1]), one, other).unwrap().sessions, 1);
                assert_ne!(pick(&nodes(&[9, 1, 2]), one, other).unwrap().sessions, 9);
            }
        }
    }
}
