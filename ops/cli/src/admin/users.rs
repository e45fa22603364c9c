//! `admin users`: accounts.

use anyhow::{Context, Result, bail, ensure};
use clap::Subcommand;
use shared::{control::Control, ids::UserId};
use workers::{
    account::operator::{self, NewUser},
    store::{
        admin::people::{self, Account, Wanted},
        tokens::Ended,
    },
};

use super::{desk::Desk, table::Table, tell};
use crate::password;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Accounts by id.
    List {
        /// Only those with a higher id.
        #[arg(long, default_value_t = 0, value_name = "ID")]
        after: i64,
        /// At most so many.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
    /// One account.
    Show {
        /// An id, or phone:NUMBER.
        user: String,
    },
    /// Make an account; the password is asked for, or the first line of stdin.
    Create {
        /// 3 to 32 of 0-9, + and -.
        phone: String,
        /// 1 to 64 characters.
        name: String,
        /// Up to 512 bytes, usually a URL.
        #[arg(long, default_value = "")]
        avatar: String,
    },
    /// Shut an account: it cannot log in, and its tokens and connections end now. Messages to it are kept.
    Disable {
        /// An id, or phone:NUMBER.
        user: String,
    },
    /// Open an account that was shut.
    Enable {
        /// An id, or phone:NUMBER.
        user: String,
    },
    /// Give an account another password (asked for, or the first line of stdin); its tokens and connections end now.
    ResetPassword {
        /// An id, or phone:NUMBER.
        user: String,
    },
}

pub async fn run(desk: &Desk, command: Command) -> Result<()> {
    match command {
        Command::List { after, limit } => {
            let target = format!("after {after}");
            desk.audited("users list", &target, list(desk, Wanted { after, ..Wanted::default() }, limit))
                .await
        }
        Command::Show { user } => {
            desk.audited("users show", &user, async {
                let user = find(desk, &user).await?.id;
                list(desk, Wanted { id: Some(user), ..Wanted::default() }, 1).await
            })
            .await
        }
        Command::Create { phone, name, avatar } => {
            let target = format!("phone {phone:?}");
            desk.audited("users create", &target, create(desk, &phone, &name, &avatar)).await
        }
        Command::Disable { user } => {
            desk.audited("users disable", &user, async {
                let user = find(desk, &user).await?.id;
                let ended = people::disable(&desk.pool, user).await?;
                let ended = end(desk, user, ended.context("the user is gone")?).await?;
                Ok(format!("user {user} is disabled: {ended}"))
            })
            .await
        }
        Command::Enable { user } => {
            desk.audited("users enable", &user, async {
                let user = find(desk, &user).await?;
                ensure!(people::enable(&desk.pool, user.id).await?, "the user is gone");
                let before = if user.disabled { "was disabled" } else { "was not disabled" };
                Ok(format!("user {} is enabled; it {before}", user.id))
            })
            .await
        }
        Command::ResetPassword { user } => {
            desk.audited("users reset-password", &user, async {
                let user = find(desk, &user).await?.id;
                let digest =
                    operator::digest(&desk.config.account, password::new_password()?.expose()).await?;
                let ended = people::set_password(&desk.pool, user, &digest).await?;
                let ended = end(desk, user, ended.context("the user is gone")?).await?;
                Ok(format!("user {user} has another password: {ended}"))
            })
            .await
        }
    }
}

async fn list(desk: &Desk, wanted: Wanted<'_>, limit: i64) -> Result<String> {
    let users = people::users(&desk.pool, wanted, limit).await?;
    let mut table =
        Table::new(["id", "phone", "state", "created", "seen", "tokens", "name"]).counting(&["id", "tokens"]);
    for user in &users {
        table.row([
            user.id.to_string(),
            user.phone.clone(),
            if user.disabled { "disabled" } else { "enabled" }.to_owned(),
            user.created.clone(),
            user.seen.clone().unwrap_or_default(),
            user.tokens.to_string(),
            user.name.clone(),
        ]);
    }
    desk.show(&table)?;
    Ok(format!("{} users", users.len()))
}

async fn create(desk: &Desk, phone: &str, name: &str, avatar: &str) -> Result<String> {
    let user = NewUser { phone, name, avatar };
    user.check()?;
    let digest = operator::digest(&desk.config.account, password::new_password()?.expose()).await?;
    let id = operator::create(&desk.pool, user, &digest).await?;
    Ok(format!("user {id} is made"))
}

/// The account that is meant.
pub async fn find(desk: &Desk, named: &str) -> Result<Account> {
    let mut wanted = Wanted::default();
    match named.strip_prefix("phone:") {
        Some(phone) => wanted.phone = Some(phone),
        None => {
            let id: UserId = named.parse().context("expected a user's id, or phone:NUMBER")?;
            wanted.id = Some(id);
        }
    }
    match people::users(&desk.pool, wanted, 1).await?.pop() {
        Some(user) => Ok(user),
        None => bail!("expected a user's id, or phone:NUMBER; there is no user {named:?}"),
    }
}

/// Makes what PostgreSQL has ended known: to Redis, which may have verified the tokens, and to the nodes.
pub async fn end(desk: &Desk, user: UserId, ended: Ended) -> Result<String> {
    let tokens = ended.tokens.len();
    let forgotten = match desk.redis().await? {
        _ if tokens == 0 => String::new(),
        Some(redis) if redis.forget_clients(&ended.tokens).await.is_ok() => String::new(),
        _ => format!(
            "; Redis was not there, HTTP calls may be answered with them for up to {} s",
            desk.config.account.token_cache_seconds.get().as_secs()
        ),
    };
    let revoke = |(device, below)| Control::Revoke { user, device, below };
    let told: Vec<Control> = ended.devices.into_iter().map(revoke).collect();
    // They end in any case: by their next read, where a node could not be told.
    let told = match tell::everywhere(desk, &told).await {
        Ok(told) => told.to_string(),
        Err(error) => format!("nodes could not be told ({error:#}), connections end when they next read"),
    };
    Ok(format!("{tokens} tokens ended{forgotten}; {told}"))
}
