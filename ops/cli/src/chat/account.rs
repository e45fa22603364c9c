//! Who is chatting and where: flags, environment, session file, password; from these a logged-in device.

use std::{
    fs,
    io::{IsTerminal, stdin},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, anyhow};
use clap::Args;
use shared::{
    client::{self, Client, ConnectError, Events, http::Api},
    command::Code,
    config::Secret,
    ids::Device,
};

use super::{
    failure::Failure,
    kept::{File, Held, Session, Token},
    place::{Place, Wanted, is_same, lasting, set},
};
use crate::password;

/// Who and where, for every command that chats.
///
/// A password is never an argument: it is in SIMPLE_IM_PASSWORD, in a file, or typed.
#[derive(Debug, Clone, Args)]
pub struct Account {
    /// HTTP address of the system; of several with commas between them another is tried where one is not there.
    /// [env: SIMPLE_IM_SERVER] [default: where the session file says, otherwise http://127.0.0.1:8080]
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// For https:// addresses: the certificate of whoever signs theirs, a PEM file; kept with the login.
    /// [env: SIMPLE_IM_CA] [default: where the session file says, otherwise the root certificates of this machine]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The data folder of a stack of this machine: its edges are the server, and its own authority is believed.
    #[arg(long, value_name = "DIR", conflicts_with = "server")]
    stack: Option<PathBuf>,
    /// Whose account. [env: SIMPLE_IM_PHONE] [default: the one in the session file]
    #[arg(long, value_name = "NUMBER")]
    phone: Option<String>,
    /// A file whose first line is the password, for the first login. [env: SIMPLE_IM_PASSWORD_FILE, or SIMPLE_IM_PASSWORD with
    /// the password itself]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// This device's name: one connection at a time, and each name its own place in every conversation.
    /// [env: SIMPLE_IM_DEVICE] [default: the command's name @ the host's]
    #[arg(long, value_name = "NAME", value_parser = Device::new)]
    device: Option<Device>,
    /// The file that keeps the logins, mode 0600. [env: SIMPLE_IM_SESSION] [default: ~/.config/simple-im/session.toml]
    #[arg(long, value_name = "FILE")]
    session: Option<PathBuf>,
}

/// A device with its token, held against other processes.
#[derive(Debug)]
pub struct Entered {
    /// The HTTP side.
    pub api: Api,
    /// Who, on which device, with which token.
    pub session: Session,
    /// Which device.
    pub device: Device,
    /// Whether the token comes from the file, and may have been revoked since.
    pub kept: bool,
    _held: Held,
}

impl Account {
    /// The device that `role` is by default, logged in: by its kept token, or by a password.
    ///
    /// # Errors
    /// [`Failure`]: no password to be had, refused, not reached; or another process has this device.
    pub async fn enter(&self, role: &str, patience: Duration) -> Result<Entered, Failure> {
        let (file, device) = (self.file()?, self.device(role)?);
        let held = file.hold(device.as_str(), patience).await.map_err(|error| {
            Failure::Here(
                error.context(format!("the device {device} is in use here; --device names another one")),
            )
        })?;
        let found = self.kept(&file, &device)?;
        let kept = found.is_some();
        let session = match found {
            Some(session) => session,
            None => self.log_in(&file, &device).await?,
        };
        Ok(Entered { api: session.place().api()?, session, device, kept, _held: held })
    }

    /// A session of the client library for it; a kept token that is refused is replaced by a new one, where there is a
    /// password for that.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn connect(
        &self,
        entered: &mut Entered,
        tune: impl Fn(&mut client::Options),
    ) -> Result<(Client, Events), Failure> {
        loop {
            let mut options = entered.options();
            tune(&mut options);
            match Client::connect(options).await {
                Err(ConnectError::Refused(refused)) if entered.kept && refused.code == Some(Code::Token) => {
                    self.enter_again(entered).await?;
                }
                connected => return Ok(connected?),
            }
        }
    }

    /// A new token for a device whose kept one is refused.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn enter_again(&self, entered: &mut Entered) -> Result<(), Failure> {
        let refused = &entered.session;
        let file = self.file()?;
        file.change(|kept| kept.retain(|one| one.token != refused.token)).await?;
        let again = Self {
            phone: Some(refused.phone.clone()),
            server: Some(refused.server.clone()),
            ca: refused.ca.clone(),
            stack: None,
            ..self.clone()
        };
        entered.session = again.log_in(&file, &entered.device).await?;
        entered.kept = false;
        Ok(())
    }

    /// Logs one device in by its password and keeps the token.
    async fn log_in(&self, file: &File, device: &Device) -> Result<Session, Failure> {
        let (phone, password) = self.credentials(false)?;
        self.log_in_as(file, device, &phone, &password).await
    }

    /// The same with these credentials.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn log_in_as(
        &self,
        file: &File,
        device: &Device,
        phone: &str,
        password: &Secret,
    ) -> Result<Session, Failure> {
        let place = self.place()?;
        let login = place.api()?.login(phone, password.expose(), Some(device.as_str())).await?;
        let session = Session {
            server: place.server,
            phone: phone.to_owned(),
            user: login.user,
            device: device.to_string(),
            token: Token(login.token.expose().to_owned()),
            ca: place.ca,
        };
        let new = session.clone();
        file.change(|kept| {
            kept.retain(|one| {
                !is_same(&one.server, &new.server) || (&one.phone, &one.device) != (&new.phone, &new.device)
            });
            kept.push(new);
        })
        .await?;
        Ok(session)
    }

    /// Phone and password, from wherever they are; asked for at a terminal, or where `stdin` is theirs to read.
    ///
    /// # Errors
    /// [`Failure::LoggedOut`]: there is none.
    pub fn credentials(&self, stdin_is_ours: bool) -> Result<(String, Secret), Failure> {
        let terminal = stdin().is_terminal();
        let phone = match self.phone() {
            Some(phone) => phone,
            None if terminal => password::asked("Phone: ")?,
            None => {
                return Err(Failure::LoggedOut(
                    "expected a session kept by `simple-im login`, or --phone or SIMPLE_IM_PHONE; found none"
                        .into(),
                ));
            }
        };
        let file = self.password_file.clone().or_else(|| set("SIMPLE_IM_PASSWORD_FILE").map(PathBuf::from));
        let password = match (file, set("SIMPLE_IM_PASSWORD")) {
            (Some(file), _) => {
                let text = fs::read_to_string(&file).with_context(|| format!("{}", file.display()))?;
                let line = text.lines().next().filter(|line| !line.is_empty());
                Secret::new(
                    line.ok_or_else(|| anyhow!("{}: expected a password in the first line", file.display()))?,
                )
            }
            (None, Some(password)) => Secret::new(password),
            (None, None) if terminal || stdin_is_ours => password::password()?,
            (None, None) => {
                return Err(Failure::LoggedOut(format!(
                    "expected {phone}'s session as `simple-im login` keeps it, --password-file, or SIMPLE_IM_PASSWORD; found none"
                )));
            }
        };
        Ok((phone, password))
    }

    /// The kept session that fits; the newest, where several do.
    fn kept(&self, file: &File, device: &Device) -> Result<Option<Session>, Failure> {
        let (wanted, phone) = (self.wanted()?, self.phone());
        let fits = |one: &Session| {
            one.device == device.as_str()
                && wanted.may_be(&one.server)
                && phone.as_ref().is_none_or(|phone| *phone == one.phone)
        };
        let found = file.read()?.into_iter().rev().find(fits);
        Ok(found.map(|mut session| {
            let place = wanted.over(session.place());
            (session.server, session.ca) = (place.server, place.ca);
            session
        }))
    }

    /// The kept sessions that flags and environment leave; all of them where those say nothing.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn all_kept(&self, file: &File) -> Result<Vec<Session>, Failure> {
        let (wanted, phone) = (self.wanted()?, self.phone());
        let device = self.device.as_ref().map(|device| device.as_str());
        let mut sessions = file.read()?;
        if let Some(ca) = &wanted.ca {
            let secure = sessions.iter_mut().filter(|one| one.server.starts_with("https://"));
            secure.for_each(|one| one.ca = Some(ca.clone()));
        }
        sessions.retain(|one| {
            device.is_none_or(|device| device == one.device)
                && wanted.may_be(&one.server)
                && phone.as_ref().is_none_or(|phone| *phone == one.phone)
        });
        Ok(sessions)
    }

    /// The session file.
    ///
    /// # Errors
    /// There is no place for one.
    pub fn file(&self) -> Result<File, Failure> {
        Ok(File::at(self.session.clone().or_else(|| set("SIMPLE_IM_SESSION").map(PathBuf::from)))?)
    }

    /// The device that flags or environment name, otherwise `role` on this host.
    ///
    /// # Errors
    /// The environment names none that can be.
    pub fn device(&self, role: &str) -> Result<Device, Failure> {
        if let Some(device) = &self.device {
            return Ok(device.clone());
        }
        let name = set("SIMPLE_IM_DEVICE").unwrap_or_else(|| {
            let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            let host: String = host.trim().chars().filter(|c| c.is_ascii_graphic()).take(40).collect();
            if host.is_empty() { role.to_owned() } else { format!("{role}@{host}") }
        });
        Device::new(&name).map_err(|error| Failure::Usage(error.to_string()))
    }

    /// Whether a device is named, rather than left to the command.
    pub fn names_a_device(&self) -> bool {
        self.device.is_some() || set("SIMPLE_IM_DEVICE").is_some()
    }

    /// Where to log in.
    ///
    /// # Errors
    /// No stack runs where one was named.
    pub fn place(&self) -> Result<Place, Failure> {
        Ok(self.wanted()?.or_usual())
    }

    /// What flags and environment say about where.
    ///
    /// # Errors
    /// As [`Self::place`].
    pub fn wanted(&self) -> Result<Wanted, Failure> {
        let ca = self.ca.clone().or_else(|| set("SIMPLE_IM_CA").map(PathBuf::from)).map(lasting);
        let Some(data) = &self.stack else {
            return Ok(Wanted { server: self.server.clone().or_else(|| set("SIMPLE_IM_SERVER")), ca });
        };
        let stack = Wanted::of_stack(data)?;
        Ok(Wanted { ca: self.ca.clone().map(lasting).or(stack.ca), ..stack })
    }

    fn phone(&self) -> Option<String> {
        self.phone.clone().or_else(|| set("SIMPLE_IM_PHONE"))
    }
}

impl Entered {
    /// What the client library needs; the node is asked for over HTTP.
    pub fn options(&self) -> client::Options {
        client::Options {
            http: Some(self.api.clone()),
            tls: self.api.tls().cloned(),
            ..client::Options::new(self.session.user, self.device.clone(), self.token())
        }
    }

    /// The token.
    pub fn token(&self) -> &str {
        &self.session.token.0
    }
}
