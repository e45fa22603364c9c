//! What each part of the system may do at the broker: the one place from which the broker's configuration is written.
//!
//! | role | user | may |
//! |---|---|---|
//! | edge | `edge`, or `edge-NAME` for the edge of that name alone | publish accepted frames, its calls and its heartbeat; hear its deliveries, operators, the heartbeats and its own inbox; answer what it is sent |
//! | worker | `worker` | pull the lanes, deliver, answer; hear calls, heartbeats, questions about the trace, other workers' word of lanes, and its own inbox |
//! | admin | `admin` | everything: people and tools |
//!
//! Whatever a part begins to say or hear goes into this table too; the suites that run with credentials show what was
//! forgotten.

use std::fmt::Write;

use super::Subjects;
use crate::{command, rpc};

/// Who connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role<'a> {
    /// Any edge, or the one of this name: that one hears no other's deliveries and sends no other's heartbeat.
    Edge(Option<&'a str>),
    /// Any worker.
    Worker,
    /// People and tools.
    Admin,
}

impl Role<'_> {
    /// The user's name.
    pub fn user(&self) -> String {
        match self {
            Self::Edge(None) => "edge".to_owned(),
            Self::Edge(Some(name)) => format!("edge-{name}"),
            Self::Worker => "worker".to_owned(),
            Self::Admin => "admin".to_owned(),
        }
    }
}

/// What a user may do, as subjects with wildcards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions {
    /// May publish there.
    pub publish: Vec<String>,
    /// May subscribe there.
    pub subscribe: Vec<String>,
    /// May publish one reply to each message it is sent.
    pub replies: bool,
}

impl Subjects {
    /// Where a user is answered: what the names of its inboxes begin with. Characters that no subject holds become `_`.
    pub fn inbox(user: &str) -> String {
        let kept = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' };
        format!("_INBOX.{}", user.chars().map(kept).collect::<String>())
    }

    /// What this role may do.
    pub fn permissions(&self, role: Role<'_>) -> Permissions {
        let (prefix, own) = (self.prefix(), format!("{}.>", Self::inbox(&role.user())));
        let (stream, dead) = (self.stream(), self.dead_stream());
        match role {
            Role::Edge(name) => {
                let node = name.unwrap_or("*");
                let calls =
                    || rpc::SESSION_CALLS.into_iter().chain(command::CALLS.iter().map(|call| call.name));
                let mut publish = vec![
                    self.inbound_all(),
                    format!("$JS.API.STREAM.INFO.{stream}"),
                    format!("{prefix}.hb.{node}.*"),
                    self.who(),
                ];
                publish.extend(calls().map(|call| self.rpc(call)));
                publish.extend(calls().filter(|call| rpc::repeatable(call)).map(|call| self.at("*", call)));
                let subscribe = vec![
                    format!("{prefix}.node.{node}.*"),
                    format!("{prefix}.ctl.{node}.*"),
                    self.control_all(),
                    self.trace(),
                    self.heartbeats(),
                    own,
                ];
                Permissions { publish, subscribe, replies: true }
            }
            Role::Worker => {
                let api = |call: &str| format!("$JS.API.{call}");
                let publish = vec![
                    format!("{prefix}.node.*.*"),
                    self.dead(),
                    self.lanes(),
                    // Answers, and its own clock.
                    "_INBOX.>".to_owned(),
                    api(&format!("STREAM.CREATE.{stream}")),
                    api(&format!("STREAM.INFO.{stream}")),
                    api(&format!("STREAM.CREATE.{dead}")),
                    api(&format!("STREAM.INFO.{dead}")),
                    api(&format!("CONSUMER.CREATE.{stream}.>")),
                    api(&format!("CONSUMER.DURABLE.CREATE.{stream}.*")),
                    api(&format!("CONSUMER.DELETE.{stream}.*")),
                    api(&format!("CONSUMER.INFO.{stream}.*")),
                    api(&format!("CONSUMER.MSG.NEXT.{stream}.*")),
                    format!("$JS.ACK.{stream}.>"),
                ];
                let subscribe = vec![
                    self.rpc_all(),
                    self.at_all("*"),
                    self.who(),
                    self.heartbeats(),
                    self.lanes(),
                    self.trace(),
                    own,
                ];
                Permissions { publish, subscribe, replies: false }
            }
            Role::Admin => {
                let all = || vec![">".to_owned()];
                Permissions { publish: all(), subscribe: all(), replies: false }
            }
        }
    }

    /// The block of the broker's configuration that holds these users. A password is written as it stands: `"secret"` in
    /// quotation marks, or `$NAME` for the broker's environment.
    pub fn authorization(&self, users: &[(Role<'_>, String)]) -> String {
        let mut out = "authorization {\n  users = [\n".to_owned();
        for (role, password) in users {
            let Permissions { publish, subscribe, replies } = self.permissions(*role);
            let list = |subjects: &[String]| {
                subjects.iter().fold(String::new(), |mut lines, subject| {
                    // Writing to a text cannot fail.
                    writeln!(lines, "            \"{subject}\"").ok();
                    lines
                })
            };
            write!(
                out,
                "    {{\n      user: \"{}\"\n      password: {password}\n      permissions {{\n        publish {{\n          \
                 allow: [\n{}          ]\n        }}\n        subscribe {{\n          allow: [\n{}          ]\n        }}\n",
                role.user(),
                list(&publish),
                list(&subscribe),
            )
            .ok();
            if replies {
                out.push_str("        allow_responses: true\n");
            }
            out.push_str("      }\n    }\n");
        }
        out.push_str("  ]\n}\n");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ids::NodeId, subject::Lane};

    /// As the broker does: `*` is one token, `>` the rest.
    fn covers(pattern: &str, subject: &str) -> bool {
        let (mut pattern, mut subject) = (pattern.split('.'), subject.split('.'));
        loop {
            match (pattern.next(), subject.next()) {
                (None, None) | (Some(">"), Some(_)) => return true,
                (Some("*"), Some(_)) => {}
                (Some(one), Some(other)) if one == other => {}
                _ => return false,
            }
        }
    }

    #[test]
    fn an_edge_may_do_what_it_does_and_nothing_that_others_do() {
        let subjects = Subjects::new("im");
        let (own, other) = (NodeId::new("e1-0a").unwrap(), NodeId::new("e2-0b").unwrap());
        let may = |list: &[String], subject: &str| list.iter().any(|pattern| covers(pattern, subject));
        let one = subjects.permissions(Role::Edge(Some("e1")));
        let any = subjects.permissions(Role::Edge(None));
        for edge in [&one, &any] {
            for subject in [
                subjects.inbound(Lane(3), crate::subject::BatchKind::Mixed),
                subjects.heartbeat(&own),
                subjects.rpc("account.login"),
                subjects.at("w1-1", "session.connect"),
                subjects.who(),
                "$JS.API.STREAM.INFO.IM_IN".to_owned(),
            ] {
                assert!(may(&edge.publish, &subject), "{subject}");
            }
            for subject in [
                subjects.node(&other),
                subjects.node(&own),
                subjects.dead(),
                subjects.rpc("admin.kick"),
                subjects.at("w1-1", "account.login"),
                "_INBOX.worker.1".to_owned(),
                "$JS.API.STREAM.PURGE.IM_IN".to_owned(),
                "$JS.API.STREAM.INFO.IM_DEAD".to_owned(),
                "$JS.ACK.IM_IN.lane-0.1".to_owned(),
            ] {
                assert!(!may(&edge.publish, &subject), "{subject}");
            }
            for subject in [
                "im.in.0.m",
                "im.rpc.account.login",
                "im.at.w1.x",
                "im.dead",
                "_INBOX.worker.1",
                "im.who",
                "im.lanes",
            ] {
                assert!(!may(&edge.subscribe, subject), "{subject}");
            }
            for subject in [subjects.control(&own), subjects.control_all(), subjects.trace()] {
                assert!(may(&edge.subscribe, &subject), "{subject}");
                assert!(!may(&edge.publish, &subject), "{subject}");
            }
        }
        assert!(
            may(&any.subscribe, &subjects.node(&other)) && may(&any.publish, &subjects.heartbeat(&other))
        );
        assert!(
            !may(&one.subscribe, &subjects.node(&other)) && !may(&one.publish, &subjects.heartbeat(&other))
        );
        assert!(!may(&one.subscribe, &subjects.control(&other)), "operators speak to each edge alone");
        assert!(may(&one.subscribe, &subjects.node(&own)) && may(&one.subscribe, "_INBOX.edge-e1.x"));
        assert!(!may(&one.subscribe, "_INBOX.edge.x") && !may(&one.subscribe, "_INBOX.edge-e2.x"));
    }

    /// `ops/nats/nats.conf` is what the container runs with.
    #[test]
    fn the_file_for_containers_agrees() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../ops/nats/nats.conf");
        let found = std::fs::read_to_string(file).unwrap();
        let users = [
            (Role::Edge(None), "$NATS_EDGE_PASSWORD".to_owned()),
            (Role::Worker, "$NATS_WORKER_PASSWORD".to_owned()),
            (Role::Admin, "$NATS_ADMIN_PASSWORD".to_owned()),
        ];
        let expected = Subjects::new("im").authorization(&users);
        assert!(found.ends_with(&expected), "ops/nats/nats.conf is to end with:\n{expected}");
    }
}
