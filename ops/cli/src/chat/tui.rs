//! `simple-im chat`: conversations in a terminal.
//!
//! | module | holds |
//! |---|---|
//! | [`model`], [`dialog`], [`input`] | the state, without I/O |
//! | [`update`] | what happens to it, and what is to be done about it |
//! | [`rows`], [`wrap`] | a conversation as rows; how wide text is |
//! | [`view`], [`theme`] | the state, drawn |
//! | [`desk`] | what is to be done, carried out on the client library |
//! | [`terminal`] | the terminal, taken and given back |

mod desk;
mod dialog;
mod input;
mod model;
mod rows;
mod terminal;
mod theme;
mod update;
mod view;
mod wrap;

use std::{
    hash::{BuildHasher, RandomState},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use crossterm::event::{Event, EventStream};
use futures::StreamExt;
use shared::client::http::{ApiError, User};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use self::{
    desk::Desk,
    model::Model,
    terminal::Screen,
    theme::Theme,
    update::{Effect, Msg, update},
};
use super::{
    Done,
    account::{Account, Entered},
    clock::Clock,
    failure::{EXIT_CODES, Failure, is_logged_out},
};

/// Messages dealt with before the screen is drawn again.
const AT_ONCE: usize = 256;
/// The first connection is tried for as long as the person likes.
const PATIENCE: Duration = Duration::from_secs(365 * 24 * 3600);

/// What `simple-im chat` takes.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct Options {
    #[command(flatten)]
    account: Account,
    /// No colours; NO_COLOR in the environment says the same.
    #[arg(long)]
    no_color: bool,
    /// Frames and marks of ASCII alone, as in a locale that is not UTF-8.
    #[arg(long)]
    ascii: bool,
}

/// Chats until the person leaves.
///
/// # Errors
/// [`Failure`]: no terminal, not logged in, or logged out meanwhile.
pub async fn run(options: Options) -> Done {
    terminal::check()?;
    let mut entered = options.account.enter("chat", Duration::ZERO).await?;
    let me = who(&options.account, &mut entered).await?;
    let mut tuned = entered.options();
    tuned.first_login = PATIENCE;
    let (desk, mut news, mut ended) = desk::start(entered.api.clone(), entered.token(), tuned);
    let theme = Theme::of(options.no_color, options.ascii);
    let mut screen = Screen::open()?;
    let size = screen.terminal.size()?;
    let ids = format!("{:016x}", RandomState::new().hash_one(std::process::id()));
    let mut model = Model::new(entered.session.user, ids, (size.width, size.height), Clock::here());
    model.ascii = theme.ascii;
    if let Some(me) = me {
        model.meet(&me);
    }
    let left = stay(&mut screen, &mut model, theme, &desk, &mut news, &mut ended).await;
    drop(screen);
    left.map(|()| ExitCode::SUCCESS)
}

/// Until Ctrl-X, a signal, or the end of the login.
async fn stay(
    screen: &mut Screen,
    model: &mut Model,
    theme: Theme,
    desk: &Desk,
    news: &mut mpsc::Receiver<Msg>,
    ended: &mut mpsc::Receiver<Failure>,
) -> Result<(), Failure> {
    let mut keys = EventStream::new();
    let (mut terminate, mut hangup) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    let mut window = signal(SignalKind::window_change())?;
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        // Asked each time: an event for it is lost where a key is pressed in the same moment.
        let size = screen.terminal.size()?;
        if model.size != (size.width, size.height) {
            update(model, Msg::Size(size.width, size.height))
                .into_iter()
                .for_each(|effect| desk.carry_out(effect));
        }
        screen.terminal.draw(|frame| view::draw(model, theme, frame))?;
        let mut next = tokio::select! {
            key = keys.next() => match key {
                Some(Ok(key)) => message(key),
                // The terminal is gone.
                Some(Err(_)) | None => return Ok(()),
            },
            msg = news.recv() => msg,
            failure = ended.recv() => return Err(failure.unwrap_or(Failure::Unreachable("the session has ended".into()))),
            _ = seconds.tick(), if matches!(model.line, model::Line::Down { .. }) => Some(Msg::Second),
            _ = window.recv() => None,
            _ = terminate.recv() => return Ok(()),
            _ = hangup.recv() => return Ok(()),
        };
        for left in (0..AT_ONCE).rev() {
            let Some(msg) = next.take() else { break };
            for effect in update(model, msg) {
                match effect {
                    Effect::Quit => return Ok(()),
                    Effect::Redraw => screen.terminal.clear()?,
                    effect => desk.carry_out(effect),
                }
            }
            next = if left > 0 { news.try_recv().ok() } else { None };
        }
    }
}

fn message(event: Event) -> Option<Msg> {
    match event {
        Event::Key(key) => Some(Msg::Key(key)),
        Event::Paste(text) => Some(Msg::Paste(text)),
        Event::Resize(..) | Event::FocusGained | Event::FocusLost | Event::Mouse(_) => None,
    }
}

/// Asks who this is, which also tells whether the kept token is still good; `None` where nobody answers.
async fn who(account: &Account, entered: &mut Entered) -> Result<Option<User>, Failure> {
    loop {
        match entered.api.user_by_id(entered.token(), entered.session.user).await {
            Ok(me) => return Ok(me),
            Err(ApiError::Refused { code, .. }) if entered.kept && is_logged_out(code) => {
                account.enter_again(entered).await?;
            }
            Err(ApiError::Network { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}
