//! `admin sessions`: a user's tokens and connections.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use shared::{
    control::Control,
    ids::{Device, NodeId, SessionNo, UserId},
};
use workers::{
    directory::Routes,
    store::{
        admin::people,
        tokens::{self, Ended},
    },
};

use super::{
    desk::Desk,
    table::Table,
    tell,
    users::{end, find},
};

/// So much of a token's digest is shown: enough to name it, and not what the broker knows it by.
const SHOWN: usize = 10;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// A user's devices: session number, node where it is known, last seen, tokens.
    List {
        /// An id, or phone:NUMBER.
        user: String,
    },
    /// End tokens, and the connections made with them: all of the user's, or those of a device, or one.
    Revoke {
        /// An id, or phone:NUMBER.
        user: String,
        /// Only this device's.
        #[arg(long, conflicts_with = "token")]
        device: Option<String>,
        /// Only this one, by the beginning of its digest as `list` shows it.
        #[arg(long, value_name = "DIGEST")]
        token: Option<String>,
    },
    /// Close connections; the tokens stay, and clients come back.
    Kick {
        /// An id, or phone:NUMBER.
        user: String,
        /// Only this device's.
        #[arg(long)]
        device: Option<String>,
    },
}

pub async fn run(desk: &Desk, command: Command) -> Result<()> {
    match command {
        Command::List { user } => {
            desk.audited("sessions list", &user, async {
                let user = find(desk, &user).await?.id;
                list(desk, user).await
            })
            .await
        }
        Command::Revoke { user, device, token } => {
            let target = match (&device, &token) {
                (Some(device), _) => format!("user {user}, device {device:?}"),
                (None, Some(token)) => {
                    format!("user {user}, token {}…", token.chars().take(SHOWN).collect::<String>())
                }
                (None, None) => format!("user {user}"),
            };
            desk.audited("sessions revoke", &target, async {
                let user = find(desk, &user).await?.id;
                let device = device.as_deref().map(Device::new).transpose()?;
                let ended = match token {
                    Some(token) => one(desk, user, &token).await?,
                    None => tokens::end(&desk.pool, user, device.as_ref()).await?,
                };
                end(desk, user, ended).await
            })
            .await
        }
        Command::Kick { user, device } => {
            let target = match &device {
                Some(device) => format!("user {user}, device {device:?}"),
                None => format!("user {user}"),
            };
            desk.audited("sessions kick", &target, async {
                let user = find(desk, &user).await?.id;
                let device = device.as_deref().map(Device::new).transpose()?;
                Ok(tell::everywhere(desk, &[Control::Kick { user, device }]).await?.to_string())
            })
            .await
        }
    }
}

async fn list(desk: &Desk, user: UserId) -> Result<String> {
    let sessions = people::sessions(&desk.pool, user).await?;
    let (routes, known) = routes(desk, user).await?;
    let mut table =
        Table::new(["device", "session", "state", "node", "seen", "tokens"]).counting(&["session"]);
    for one in &sessions {
        let node = one.device.as_ref().and_then(|device| routes.get(device.as_str()));
        let node =
            node.filter(|(_, session)| Some(*session) == one.session).map(|(node, _)| node.to_string());
        let state = match (&one.session, one.valid, &node) {
            (None, ..) => "",
            (Some(_), _, Some(_)) => "online",
            (Some(_), true, None) if known => "away",
            (Some(_), true, None) => "",
            // Fenced off, or made over HTTP and not connected yet.
            (Some(_), false, None) => "none",
        };
        let tokens: Vec<&str> = one.tokens.iter().map(|token| &token.as_str()[..SHOWN]).collect();
        table.row([
            one.device.clone().unwrap_or_else(|| "(no device)".to_owned()),
            one.session.map_or_else(String::new, |session| session.to_string()),
            state.to_owned(),
            node.unwrap_or_default(),
            one.seen.clone().unwrap_or_default(),
            tokens.join(" "),
        ]);
    }
    desk.show(&table)?;
    let devices = sessions.iter().filter(|one| one.device.is_some()).count();
    let tokens: usize = sessions.iter().map(|one| one.tokens.len()).sum();
    let unknown = if known { "" } else { "; where they are is not known now" };
    Ok(format!("{devices} devices, {tokens} tokens{unknown}"))
}

type ByDevice = HashMap<String, (NodeId, SessionNo)>;

/// Where the user's devices are, by name; and whether Redis could say.
async fn routes(desk: &Desk, user: UserId) -> Result<(ByDevice, bool)> {
    let Some(redis) = desk.redis().await? else { return Ok((ByDevice::new(), false)) };
    match redis.routes(&[user]).await {
        Routes::Unknown => Ok((ByDevice::new(), false)),
        Routes::Known(mut known) => {
            let routes = known.remove(&user).unwrap_or_default().into_iter();
            let routes = routes.map(|route| (route.device.to_string(), (route.node, route.session)));
            Ok((routes.collect(), true))
        }
    }
}

/// Ends one token.
async fn one(desk: &Desk, user: UserId, begins: &str) -> Result<Ended> {
    if begins.len() < 4 {
        bail!("expected at least 4 digits of the token's digest, found {begins:?}");
    }
    let token = people::token(&desk.pool, user, begins).await?;
    let token = token
        .with_context(|| format!("expected one token that begins with {begins:?}, found none or several"))?;
    let ended = tokens::revoke(&desk.pool, &token).await?;
    let devices = ended.map(|ended| (ended.device, ended.below)).into_iter().collect();
    Ok(Ended { tokens: vec![token], devices })
}
