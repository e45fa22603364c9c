//! Logging in for the commands of a terminal, and out again.

use std::{
    io::{Write, stdout},
    process::ExitCode,
};

use clap::Args;
use shared::client::http::ApiError;

use super::{
    Done,
    account::Account,
    failure::{EXIT_CODES, is_logged_out},
    say,
};

/// The commands that have a device each, since a device has one connection.
const ROLES: [&str; 3] = ["chat", "send", "tail"];

/// What `simple-im login` takes.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct In {
    #[command(flatten)]
    account: Account,
    /// Make the account first, with this name.
    #[arg(long, value_name = "NAME")]
    register: Option<String>,
}

/// What `simple-im logout` takes.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct Out {
    #[command(flatten)]
    account: Account,
}

/// Logs the commands' devices in.
///
/// # Errors
/// [`super::failure::Failure`].
pub async fn log_in(options: In) -> Done {
    let account = &options.account;
    let file = account.file()?;
    let place = account.place()?;
    let api = place.api()?;
    let (phone, password) = account.credentials(true)?;
    if let Some(name) = &options.register {
        api.register(&phone, name, password.expose()).await?;
    }
    let roles = if account.names_a_device() { &ROLES[..1] } else { &ROLES[..] };
    let mut user = None;
    for role in roles {
        user = Some(account.log_in_as(&file, &account.device(role)?, &phone, &password).await?.user);
    }
    if let Some(user) = user {
        writeln!(stdout(), "{phone} is user {user} on {}; kept in {}", place.server, file.path().display())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Revokes what the file holds. A token that is revoked already is forgotten all the same; one whose server is not reached,
/// or not believed, is kept.
///
/// # Errors
/// [`super::failure::Failure`].
pub async fn log_out(options: Out) -> Done {
    let file = options.account.file()?;
    let (mut gone, mut failed) = (Vec::new(), None);
    for session in options.account.all_kept(&file)? {
        let api = match session.place().api() {
            Ok(api) => api,
            Err(failure) => {
                failed = Some(failure);
                continue;
            }
        };
        match api.logout(&session.token.0).await {
            Ok(()) => gone.push(session.token),
            Err(ApiError::Refused { code, .. }) if is_logged_out(code) => gone.push(session.token),
            Err(error) => failed = Some(error.into()),
        }
    }
    file.change(|kept| kept.retain(|one| !gone.contains(&one.token))).await?;
    if let Some(failure) = failed {
        return Err(failure);
    }
    if gone.is_empty() {
        say("nobody was logged in");
    }
    Ok(ExitCode::SUCCESS)
}
