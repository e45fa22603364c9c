//! User to device to node and session: `route_{user}`, a hash of device to `"<session> <node>"`.

use std::collections::HashMap;

use redis::Pipeline;
use shared::{
    ids::{Device, NodeId, SessionNo, UserId},
    rpc::Registration,
};

use super::{Directory, Unreachable, marker};

/// Writes a device's route unless a higher session has; gives what stood there.
const PLACE: &str = "local was = redis.call('HGET', KEYS[1], ARGV[1])
if was then
  local session = tonumber(string.match(was, '^%d+'))
  if session and session > tonumber(ARGV[2]) then return was end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. ARGV[3])
return was or ''";

/// Removes a device's route if that session wrote it.
const REMOVE: &str = "local was = redis.call('HGET', KEYS[1], ARGV[1])
if was and string.match(was, '^%d+') == ARGV[2] then return redis.call('HDEL', KEYS[1], ARGV[1]) end
return 0";

/// One session of a user, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "named by their types")]
pub struct Route {
    pub device: Device,
    pub node: NodeId,
    pub session: SessionNo,
}

/// Where users are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Routes {
    /// Their routes; a user that is not among them has no session anywhere.
    Known(HashMap<UserId, Vec<Route>>),
    /// Redis is down, takes no writes, or has not been told of every session since it was wiped: only asking every node
    /// finds them.
    Unknown,
}

/// What became of writing routes.
#[derive(Debug, Clone)]
pub struct Placed {
    /// The epoch under which they were written; `None` when it changed meanwhile or there is none.
    pub epoch: Option<String>,
    /// Whether what stood there before can be believed: the routes were whole.
    pub whole: bool,
    /// What stood there before each, in order.
    pub before: Vec<Option<Route>>,
}

impl Directory {
    /// Where these users are, in one pipeline.
    pub async fn routes(&self, users: &[UserId]) -> Routes {
        if self.epoch().is_none() {
            // At the last look Redis was away, or took no writes: then sessions may be missing from what it says.
            return Routes::Unknown;
        }
        let mut pipeline = Pipeline::with_capacity(users.len() + 3);
        // The epoch on both sides: were Redis wiped in between, the two would differ.
        pipeline.cmd("GET").arg(self.key(marker::EPOCH));
        for user in users {
            pipeline.cmd("HGETALL").arg(self.route_key(*user));
        }
        pipeline.cmd("GET").arg(self.key(marker::MARKER)).cmd("GET").arg(self.key(marker::EPOCH));
        let (answers, start): (Vec<redis::Value>, _) = match self.link().send_to(&pipeline).await {
            Ok(answered) => answered,
            Err(error) => {
                tracing::debug!(%error, "routes were not read");
                return Routes::Unknown;
            }
        };
        self.read_routes(users, answers, &start).unwrap_or(Routes::Unknown)
    }

    fn read_routes(&self, users: &[UserId], answers: Vec<redis::Value>, start: &str) -> Option<Routes> {
        let mut answers = answers.into_iter();
        let epoch: Option<String> = redis::from_redis_value(answers.next()?).ok()?;
        let mut known = HashMap::with_capacity(users.len());
        for (user, answer) in users.iter().zip(&mut answers) {
            let fields: Vec<(String, String)> = redis::from_redis_value(answer).ok()?;
            let routes: Vec<Route> =
                fields.iter().filter_map(|(device, at)| read_route(device, at)).collect();
            if !routes.is_empty() {
                known.insert(*user, routes);
            }
        }
        let marker: Option<String> = redis::from_redis_value(answers.next()?).ok()?;
        let after: Option<String> = redis::from_redis_value(answers.next()?).ok()?;
        let whole = epoch.is_some() && epoch == after && marker == epoch && marker::is_of(&epoch?, start);
        whole.then_some(Routes::Known(known))
    }

    /// Writes the routes of these sessions on this node. With `complete` the node has registered every session it has
    /// under `epoch`.
    ///
    /// # Errors
    /// [`Unreachable`]: none, some or all may have been written.
    pub async fn register(
        &self,
        node: &NodeId,
        sessions: &[Registration],
        complete: Option<&str>,
    ) -> Result<Placed, Unreachable> {
        let mut pipeline = Pipeline::with_capacity(sessions.len() + 6);
        pipeline.cmd("SCRIPT").arg("LOAD").arg(PLACE).cmd("GET").arg(self.key(marker::EPOCH));
        let sha = redis::Script::new(PLACE).get_hash().to_owned();
        for session in sessions {
            let key = self.route_key(session.user);
            pipeline.cmd("EVALSHA").arg(&sha).arg(1).arg(key);
            pipeline.arg(session.device.as_str()).arg(session.session.0).arg(node.as_str());
        }
        if let Some(epoch) = complete {
            let key = self.registered_key(epoch);
            pipeline.cmd("SADD").arg(&key).arg(node.as_str()).ignore();
        }
        pipeline.cmd("GET").arg(self.key(marker::MARKER)).cmd("GET").arg(self.key(marker::EPOCH));
        let (answers, start): (Vec<Option<String>>, _) = match self.link().send_to(&pipeline).await {
            Ok(answered) => answered,
            Err(error) => {
                if matches!(error, Unreachable::Failed(_)) {
                    self.doubt().await;
                }
                return Err(error);
            }
        };
        let mut answers = answers.into_iter().skip(1);
        let first = answers.next().flatten();
        let before = sessions
            .iter()
            .zip(&mut answers)
            .map(|(session, was)| read_route(session.device.as_str(), &was?))
            .collect();
        let (marker, last) = (answers.next().flatten(), answers.next().flatten());
        let epoch = first.filter(|epoch| last.as_ref() == Some(epoch) && marker::is_of(epoch, &start));
        let whole = epoch.is_some() && marker == epoch;
        Ok(Placed { epoch, whole, before })
    }

    /// A session is about to be without a route: no worker is to believe the routes until one has looked again. A full
    /// Redis still deletes; any other is found out by the looks.
    async fn doubt(&self) {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("DEL").arg(self.key(marker::MARKER)).ignore();
        if let Err(error) = self.link().send::<()>(&pipeline).await {
            tracing::debug!(%error, "the marker was not removed");
        }
    }

    /// Removes the routes that these very sessions wrote.
    ///
    /// # Errors
    /// [`Unreachable`]: the routes may remain; their node does not know the sessions and drops what comes for them.
    pub async fn unregister(&self, sessions: &[Registration]) -> Result<(), Unreachable> {
        let mut pipeline = Pipeline::with_capacity(sessions.len() + 1);
        pipeline.cmd("SCRIPT").arg("LOAD").arg(REMOVE).ignore();
        let sha = redis::Script::new(REMOVE).get_hash().to_owned();
        for session in sessions {
            let key = self.route_key(session.user);
            pipeline.cmd("EVALSHA").arg(&sha).arg(1).arg(key);
            pipeline.arg(session.device.as_str()).arg(session.session.0).ignore();
        }
        self.link().send(&pipeline).await
    }

    fn route_key(&self, user: UserId) -> String {
        self.key(&format!("route_{user}"))
    }
}

fn read_route(device: &str, at: &str) -> Option<Route> {
    let (session, node) = at.split_once(' ')?;
    Some(Route {
        device: Device::new(device).ok()?,
        node: NodeId::new(node).ok()?,
        session: session.parse().ok()?,
    })
}
