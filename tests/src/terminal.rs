//! A person at a terminal: a program on a pseudo-terminal of its own, keys typed into it, and its screen as a terminal would
//! show it.

use std::{
    num::NonZeroU16,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nix::sys::termios::{Termios, tcgetattr};
use pty_process::{Command, OwnedReadPty, OwnedWritePty, Pts, Size};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Child,
    task::JoinHandle,
    time::timeout,
};

use crate::{
    harness::{SOON, System, eventually, servers},
    people::User,
    shell::Shell,
};

/// How long a screen may take to show what it must.
const PATIENCE: Duration = Duration::from_secs(30);

/// A terminal with a program on it.
pub struct Terminal {
    keyboard: OwnedWritePty,
    /// Kept open, so that the terminal is there when the program has ended.
    pts: Pts,
    shown: Arc<Mutex<Shown>>,
    child: Child,
    before: Termios,
    shell: Option<Shell>,
    reader: JoinHandle<()>,
}

impl std::fmt::Debug for Terminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a terminal with\n{}", self.screen())
    }
}

/// What has come from the program.
struct Shown {
    parser: vt100::Parser,
    raw: Vec<u8>,
}

/// Keys as a terminal sends them.
pub mod key {
    #![expect(missing_docs, reason = "named as on a keyboard")]
    pub const ENTER: &str = "\r";
    pub const ESC: &str = "\x1b";
    pub const DOWN: &str = "\x1b[B";
    pub const PAGE_UP: &str = "\x1b[5~";
    pub const PAGE_DOWN: &str = "\x1b[6~";
    pub const F1: &str = "\x1bOP";
    pub const CTRL_F: &str = "\x06";
    pub const CTRL_G: &str = "\x07";
    pub const CTRL_J: &str = "\n";
    pub const CTRL_N: &str = "\x0e";
    pub const CTRL_O: &str = "\x0f";
    pub const CTRL_R: &str = "\x12";
    pub const CTRL_U: &str = "\x15";
    pub const CTRL_X: &str = "\x18";
    pub const CTRL_Y: &str = "\x19";
}

impl Terminal {
    /// Starts `simple-im` with these arguments on a terminal of so many rows and columns, with further environment.
    ///
    /// # Panics
    /// When there is no pseudo-terminal to be had.
    pub fn start(
        shell: &Shell,
        arguments: &[&str],
        (rows, columns): (u16, u16),
        more: &[(&str, &str)],
    ) -> Self {
        let (pty, pts) = pty_process::open().expect("a pseudo-terminal");
        pty.resize(Size::new(rows, columns)).expect("it has a size");
        let before = tcgetattr(&pts).expect("it has settings");
        let child = Command::new(servers::binary("simple-im").expect("the command is built"))
            .args(arguments)
            .env_clear()
            .envs(shell.environment())
            .envs([("TERM", "xterm-256color"), ("LANG", "C.UTF-8")])
            .envs(more.iter().copied())
            .kill_on_drop(true)
            .spawn_borrowed(&pts)
            .expect("it starts");
        let parser = vt100::Parser::new(size(rows), size(columns), 0);
        let shown = Arc::new(Mutex::new(Shown { parser, raw: Vec::new() }));
        let (screen, keyboard) = pty.into_split();
        let reader = tokio::spawn(read(screen, Arc::clone(&shown)));
        Self { keyboard, pts, shown, child, before, shell: None, reader }
    }

    /// One with the terminal client, which is connected; its user is logged in on this edge's HTTP.
    pub async fn chat(
        system: &System,
        user: &User,
        edge: usize,
        size: (u16, u16),
        more: &[(&str, &str)],
    ) -> Self {
        let shell = Shell::logged_in(system, user, edge).await;
        let mut terminal = Self::start(&shell, &["chat"], size, more);
        // Its home lives as long as it does.
        terminal.shell = Some(shell);
        terminal.shows("online at").await;
        terminal
    }

    /// Finds somebody by phone and opens the conversation.
    pub async fn finds(&mut self, user: &User) {
        self.types(key::CTRL_F).await;
        self.shows("Whole phone number").await;
        self.says(&user.phone).await;
        self.shows("Write").await;
        self.types(key::ENTER).await;
        self.until("the box closed", |screen| !screen.contains("┌")).await;
    }

    /// Opens the menu that `keys` opens, and takes this choice of it.
    ///
    /// # Panics
    /// When there is none.
    pub async fn chooses(&mut self, keys: &str, choice: &str) {
        self.types(keys).await;
        self.shows(&format!("│  {choice}")).await;
        for _ in 0..50 {
            let chosen = self.chosen();
            if chosen.iter().any(|text| text.starts_with(choice)) {
                self.types(key::ENTER).await;
                return;
            }
            self.types(key::DOWN).await;
            self.until("another choice", |_| self.chosen() != chosen).await;
        }
        panic!("no way to {choice}:\n{}", self.screen());
    }

    /// The texts that are shown inverse, a row each.
    fn chosen(&self) -> Vec<String> {
        let shown = self.shown();
        let screen = shown.parser.screen();
        let (rows, columns) = screen.size();
        let row = |row| {
            let cells = (0..columns.get()).filter_map(|column| screen.cell(row, column));
            cells
                .filter(|cell| cell.inverse())
                .map(|cell| cell.contents())
                .collect::<String>()
                .trim()
                .to_owned()
        };
        (0..rows.get()).map(row).filter(|text: &String| !text.is_empty()).collect()
    }

    /// Leaves the terminal client, which must be in order.
    ///
    /// # Panics
    /// When it is not.
    pub async fn leaves(mut self) {
        self.types(key::CTRL_X).await;
        assert_eq!(self.ended().await.0, Some(0));
    }

    /// Types this.
    ///
    /// # Panics
    /// When the terminal is gone.
    pub async fn types(&mut self, keys: &str) {
        let typed = timeout(PATIENCE, self.keyboard.write_all(keys.as_bytes())).await;
        typed.expect("it reads its keyboard").expect("the terminal is there");
    }

    /// Closes with Esc what shows this text, and waits until it is gone: the next key, read together with Esc, would be
    /// one key with Alt.
    pub async fn closes(&mut self, shown: &str) {
        self.types(key::ESC).await;
        self.until("it is closed", |screen| !screen.contains(shown)).await;
    }

    /// Types a line and sends it.
    pub async fn says(&mut self, text: &str) {
        self.types(text).await;
        self.types(key::ENTER).await;
    }

    /// What is on the screen.
    pub fn screen(&self) -> String {
        self.shown().parser.screen().contents()
    }

    /// Everything that has come, as it came.
    pub fn raw(&self) -> Vec<u8> {
        self.shown().raw.clone()
    }

    /// Whether every cell has the terminal's own colours.
    pub fn is_plain(&self) -> bool {
        let shown = self.shown();
        let screen = shown.parser.screen();
        let (rows, columns) = screen.size();
        (0..rows.get()).flat_map(|row| (0..columns.get()).map(move |column| (row, column))).all(
            |(row, column)| {
                screen.cell(row, column).is_none_or(|cell| {
                    cell.fgcolor() == vt100::Color::Default && cell.bgcolor() == vt100::Color::Default
                })
            },
        )
    }

    /// Waits until the screen shows this.
    pub async fn shows(&self, text: &str) -> String {
        self.until(text, |screen| screen.contains(text)).await
    }

    /// Waits until the screen is as it should be; gives it.
    ///
    /// # Panics
    /// When it does not come to that.
    pub async fn until(&self, what: &str, is: impl Fn(&str) -> bool) -> String {
        eventually(PATIENCE, async || {
            let screen = self.screen();
            if is(&screen) { Ok(screen) } else { Err(format!("{what:?} on\n{screen}")) }
        })
        .await
    }

    /// Gives the terminal another size.
    ///
    /// # Panics
    /// When the terminal is gone.
    pub fn resize(&self, rows: u16, columns: u16) {
        self.shown().parser.set_size(size(rows), size(columns));
        self.keyboard.resize(Size::new(rows, columns)).expect("the terminal is there");
    }

    /// The program, to be signalled.
    ///
    /// # Panics
    /// When it has ended.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Waits for its end, and that the terminal is as it was before: settings, screen, cursor, pasting. Gives the exit
    /// code and what stands on the screen then.
    ///
    /// # Panics
    /// When it does not end, or leaves the terminal otherwise.
    pub async fn ended(self) -> (Option<i32>, String) {
        let Self { pts, shown, mut child, before, shell, reader, keyboard } = self;
        let shown = || shown.lock().unwrap_or_else(PoisonError::into_inner);
        let status = timeout(SOON, child.wait()).await;
        let status = status
            .unwrap_or_else(|_| panic!("it goes on:\n{}", shown().parser.screen().contents()))
            .expect("it is awaited");
        let after = tcgetattr(&pts).expect("it has settings");
        assert_eq!(after, before, "the terminal's settings are as they were");
        // With the last one who has the terminal open, what it still shows ends.
        drop(pts);
        timeout(PATIENCE, reader).await.expect("it ends").expect("it reads to the end");
        let screen = shown().parser.screen().clone();
        let left = (screen.alternate_screen(), screen.hide_cursor(), screen.bracketed_paste());
        assert_eq!(left, (false, false, false), "alternate screen, hidden cursor, bracketed paste");
        drop((keyboard, shell));
        (status.code(), screen.contents())
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn size(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap_or(NonZeroU16::MIN)
}

async fn read(mut screen: OwnedReadPty, shown: Arc<Mutex<Shown>>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = screen.read(&mut buffer).await {
        let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.parser.process(&buffer[..count]);
        shown.raw.extend_from_slice(&buffer[..count]);
    }
}
