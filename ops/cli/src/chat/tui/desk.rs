//! What the state wants done, carried out: messages in their order, requests, HTTP calls. Each answer comes back as a message.

use std::sync::Arc;

use shared::{
    client::{
        Client, ConnectError, Event, Events, Options, SendError,
        http::{Api, ApiError, Contacts, Group, Page, Request, Talk, User},
    },
    command::Code,
    ids::{Conversation, MessageId},
    message::{Target, WantedAck},
    trace::seconds,
};
use tokio::sync::{Semaphore, mpsc, watch};

use super::update::{Effect, Msg};
use crate::chat::failure::Failure;

/// HTTP calls at a time; further ones wait.
const CALLS: usize = 4;
/// Pages of a list that are asked for at most.
const PAGES: usize = 50;
/// Entries of one page of history.
const HISTORY: u32 = 50;

/// A whole list, page after page, of at most [`PAGES`]; `$of` gives what the page after a row is asked for by. No function,
/// as one that takes such a call could not be spawned.
macro_rules! pages {
    ($desk:ident.$list:ident, $of:expr) => {{
        let mut all = Vec::new();
        for _ in 0..PAGES {
            let after = all.last().map($of);
            if !take(said($desk.api.$list(&$desk.token, after).await)?, &mut all) {
                break;
            }
        }
        Ok(all)
    }};
}

/// Carries out effects.
#[derive(Debug, Clone)]
pub struct Desk {
    api: Api,
    token: Arc<str>,
    client: watch::Receiver<Option<Client>>,
    texts: mpsc::Sender<Text>,
    news: mpsc::Sender<Msg>,
    calls: Arc<Semaphore>,
}

#[derive(Debug)]
struct Text {
    conversation: Conversation,
    to: Target,
    id: MessageId,
    text: String,
    ack: WantedAck,
}

/// Begins to connect. The first channel has what happens, the second why it ended, should it end by itself.
pub fn start(
    api: Api,
    token: &str,
    options: Options,
) -> (Desk, mpsc::Receiver<Msg>, mpsc::Receiver<Failure>) {
    let (news, received) = mpsc::channel(1024);
    // As many as the state lets wait, so that none is turned away.
    let (texts, written) = mpsc::channel(super::update::UNSENT + 1);
    let (connected, client) = watch::channel(None);
    let (end, ended) = mpsc::channel(1);
    tokio::spawn(session(options, connected, news.clone(), end));
    let desk = Desk { api, token: token.into(), client, texts, news, calls: Arc::new(Semaphore::new(CALLS)) };
    tokio::spawn(desk.clone().write(written));
    (desk, received, ended)
}

/// One session, over lost connections, to its end.
async fn session(
    options: Options,
    connected: watch::Sender<Option<Client>>,
    news: mpsc::Sender<Msg>,
    end: mpsc::Sender<Failure>,
) {
    let failure = match Client::connect(options).await {
        Ok((client, events)) => {
            connected.send_replace(Some(client));
            forward(events, &news).await
        }
        Err(ConnectError::Refused(refused)) => Failure::LoggedOut(format!("login: {refused}")),
        Err(error) => error.into(),
    };
    // Nobody waits for it where the person has left.
    end.send(failure).await.ok();
}

async fn forward(mut events: Events, news: &mpsc::Sender<Msg>) -> Failure {
    while let Some(event) = events.next().await {
        match event {
            Event::Replaced => {
                return Failure::LoggedOut(
                    "this device has logged in elsewhere; --device names another one".into(),
                );
            }
            Event::LoginRefused(refused) => return Failure::LoggedOut(refused.to_string()),
            event => {
                if news.send(Msg::Server(event)).await.is_err() {
                    break;
                }
            }
        }
    }
    Failure::Unreachable("the session has ended".into())
}

impl Desk {
    /// Carries it out, without waiting for it.
    pub fn carry_out(&self, effect: Effect) {
        match effect {
            Effect::Send { conversation, to, id, text, ack } => {
                let text = Text { conversation, to, id: id.clone(), text, ack };
                if self.texts.try_send(text).is_err() {
                    let (news, answer) = (self.news.clone(), Err(SendError::Full));
                    tokio::spawn(async move { news.send(Msg::Sent(conversation, id, answer)).await });
                }
            }
            Effect::Redraw | Effect::Quit => {}
            effect => drop(tokio::spawn(self.clone().answer(effect))),
        }
    }

    /// Writes messages in their order, over reconnects.
    async fn write(self, mut written: mpsc::Receiver<Text>) {
        while let Some(Text { conversation, to, id, text, ack }) = written.recv().await {
            let Some(client) = self.client().await else { return };
            let begun = client.begin_with(id.clone(), to, &text, ack).await;
            let news = self.news.clone();
            tokio::spawn(async move {
                let answer = match begun {
                    Ok(answer) => answer.await,
                    Err(error) => Err(error),
                };
                news.send(Msg::Sent(conversation, id, answer)).await.ok();
            });
        }
    }

    /// The session, once there is one.
    async fn client(&self) -> Option<Client> {
        let mut client = self.client.clone();
        client.wait_for(Option::is_some).await.ok()?.clone()
    }

    async fn answer(self, effect: Effect) {
        let msg = match effect {
            Effect::Ask(ask) => {
                let Some(client) = self.client().await else { return };
                let answer = client.request(ask.clone()).await;
                Msg::Done(ask, answer, seconds())
            }
            Effect::Read(conversation, seq) => {
                if let Some(client) = self.client().await {
                    // Closed: it is about to end.
                    client.read(conversation, seq).await.ok();
                }
                return;
            }
            other => {
                let Ok(_call) = self.calls.acquire().await else { return };
                match self.call(other).await {
                    Some(msg) => msg,
                    None => return,
                }
            }
        };
        self.news.send(msg).await.ok();
    }

    async fn call(&self, effect: Effect) -> Option<Msg> {
        let (api, token) = (&self.api, self.token.as_ref());
        Some(match effect {
            Effect::Talks => Msg::Talks(self.talks().await),
            Effect::Groups => Msg::Groups(self.groups().await),
            Effect::Contacts(since) => Msg::Contacts(self.contacts(since).await),
            Effect::Requests => Msg::Requests(self.requests().await),
            Effect::Blocked => Msg::Blocked(self.blocked().await),
            Effect::History(conversation, of, before) => {
                Msg::History(conversation, said(api.history(token, of, before, HISTORY).await))
            }
            Effect::Find(phone, purpose) => Msg::Found(purpose, said(api.user_by_phone(token, &phone).await)),
            Effect::Person(user) => Msg::Person(user, said(api.user_by_id(token, user).await)),
            Effect::Members(group) => Msg::Members(group, said(api.group(token, group).await)),
            Effect::Devices => Msg::Devices(said(api.devices(token).await)),
            Effect::End(device) => {
                let answer = said(api.end_device(token, &device).await);
                Msg::Ended(device, answer)
            }
            Effect::Name(name) => {
                let answer = said(api.set_name(token, &name).await);
                Msg::Named(name, answer)
            }
            Effect::Password(old, new) => {
                let answer = api.set_password(token, old.expose(), new.expose()).await;
                Msg::Password(match answer {
                    Err(error) if error.code() == Some(Code::Credentials) => {
                        Err("That is not the password you have now.".to_owned())
                    }
                    answer => said(answer),
                })
            }
            Effect::Send { .. } | Effect::Ask(_) | Effect::Read(..) | Effect::Redraw | Effect::Quit => {
                return None;
            }
        })
    }

    async fn talks(&self) -> Result<Vec<Talk>, String> {
        pages!(self.conversations, |talk: &Talk| talk.conversation)
    }

    async fn groups(&self) -> Result<Vec<Group>, String> {
        pages!(self.groups, |group: &Group| group.id)
    }

    async fn requests(&self) -> Result<Vec<Request>, String> {
        pages!(self.requests, |request: &Request| request.user.id)
    }

    async fn blocked(&self) -> Result<Vec<User>, String> {
        pages!(self.blocked, |user: &User| user.id)
    }

    async fn contacts(&self, since: i64) -> Result<Contacts, String> {
        let mut all = said(self.api.contacts(&self.token, since).await)?;
        for _ in 1..PAGES {
            if !all.more {
                break;
            }
            let page = said(self.api.contacts(&self.token, all.version).await)?;
            (all.version, all.more) = (page.version, page.more);
            all.users.extend(page.users);
        }
        Ok(all)
    }
}

/// Whether there is more after this page.
fn take<T>(page: Page<T>, all: &mut Vec<T>) -> bool {
    let more = page.more && !page.rows.is_empty();
    all.extend(page.rows);
    more
}

/// An error as people read it.
fn said<T>(answer: Result<T, ApiError>) -> Result<T, String> {
    answer.map_err(|error| match error {
        ApiError::Refused { reason, .. } => reason,
        ApiError::Network { .. } => "The server was not reached.".to_owned(),
        other => other.to_string(),
    })
}
