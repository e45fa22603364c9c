//! `GET /device` and `DELETE /device`: where a user is logged in, and logging one of those out from another.

use std::collections::HashSet;

use shared::{command::Code, ids::Device, rpc::HttpCall};
use toml::{Table, Value};

use super::profile::end;
use crate::{
    directory::Routes,
    rpc::{
        Calls, Fault,
        http::{Caller, Reply, caller, invalid, required},
    },
    store::{
        devices::{self, Known},
        tokens,
    },
};

/// `GET /device`: the caller's devices, by name.
pub(crate) async fn devices(calls: &Calls, call: &HttpCall) -> Result<Reply, Fault> {
    let caller = caller(calls, call).await?;
    let known = devices::list(&calls.desk.pool, caller.user, calls.device_limits().days).await?;
    let online = online(calls, &caller).await;
    let rows = known.into_iter().map(|known| row(known, &caller, &online));
    Ok(Reply::ok().rows("device", rows))
}

/// `DELETE /device`: its tokens end, and its connection. The device stays, with its place in every conversation, as
/// after a logout.
pub(crate) async fn end_device(calls: &Calls, call: &HttpCall) -> Result<Reply, Fault> {
    let caller = caller(calls, call).await?;
    let device = Device::new(required(call, "device")?).map_err(|error| invalid(error.to_string()))?;
    let ended = tokens::end(&calls.desk.pool, caller.user, Some(&device)).await?;
    if ended.devices.is_empty() {
        let reason = format!("expected one of your devices, found {:?}", device.as_str());
        return Err(Fault::refused(Code::NotFound, reason));
    }
    end(calls, &caller, ended).await;
    Ok(Reply::ok())
}

/// The caller's devices that a living node has a connection of; none where nobody knows.
async fn online(calls: &Calls, caller: &Caller) -> HashSet<Device> {
    let Routes::Known(routes) = calls.desk.directory.routes(&[caller.user]).await else {
        return HashSet::new();
    };
    let routes = routes.into_values().flatten();
    routes.filter(|route| calls.desk.nodes.is_live(&route.node)).map(|route| route.device).collect()
}

fn row(known: Known, caller: &Caller, online: &HashSet<Device>) -> Table {
    let marks = [
        ("own", caller.device.as_ref() == Some(&known.device)),
        ("online", !known.ended && online.contains(&known.device)),
        ("ended", known.ended),
    ];
    let mut table = Table::from_iter([
        ("device".to_owned(), Value::from(known.device.as_str())),
        ("seen".to_owned(), known.seen.into()),
    ]);
    let said = marks.into_iter().filter(|(_, holds)| *holds);
    table.extend(said.map(|(mark, _)| (mark.to_owned(), Value::from(1))));
    table
}
