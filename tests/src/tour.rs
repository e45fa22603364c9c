//! Runs a tour: the shell blocks of a Markdown file, as a reader would paste them, and what they must print.
//!
//! Between `<!-- tour:begin -->` and `<!-- tour:end -->`, a block fenced `sh` is typed into a terminal (`sh NAME`: into
//! the terminal of that name), and the block fenced `text` or `toml` after it is what that terminal prints next, with `…`
//! for anything. A terminal is one bash for the whole tour, so variables stay, and what follows a foreground `nc` is
//! typed into that.

use std::{collections::BTreeMap, path::Path, process::Stdio, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdin, Command},
    sync::{Mutex, Notify},
    time::{Instant, timeout_at},
};

use crate::pattern;

/// How long a step may take to print what it must.
const PATIENCE: Duration = Duration::from_secs(20);

/// One thing to type, and what must be printed then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Where its fence stands, counted from 1.
    pub line: usize,
    /// The terminal.
    pub terminal: String,
    /// What is typed.
    pub typed: String,
    /// What must come; `None`: nothing is waited for.
    pub printed: Option<String>,
}

/// The steps between the markers.
///
/// # Errors
/// What is missing, and where.
pub fn steps(markdown: &str) -> Result<Vec<Step>, String> {
    let (begin, end) = ("<!-- tour:begin -->", "<!-- tour:end -->");
    let mut inside = false;
    let mut steps: Vec<Step> = Vec::new();
    let mut lines = markdown.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        match line.trim() {
            mark if mark == begin => inside = true,
            mark if mark == end => {
                return if steps.is_empty() { Err("the tour has no step".into()) } else { Ok(steps) };
            }
            _ => {}
        }
        let Some(info) = line.strip_prefix("```").filter(|_| inside) else { continue };
        let mut text = String::new();
        for (_, line) in lines.by_ref().take_while(|(_, line)| *line != "```") {
            text.push_str(line);
            text.push('\n');
        }
        let (kind, name) = info.trim().split_once(' ').unwrap_or((info.trim(), ""));
        match kind {
            "sh" => {
                steps.push(Step {
                    line: at + 1,
                    terminal: name.trim().to_owned(),
                    typed: text,
                    printed: None,
                });
            }
            "text" | "toml" => match steps.last_mut().filter(|step| step.printed.is_none()) {
                Some(step) => step.printed = Some(text),
                None => return Err(format!("line {}: expected a block to type before this output", at + 1)),
            },
            other => return Err(format!("line {}: expected sh, text or toml, found {other:?}", at + 1)),
        }
    }
    Err(format!("expected a tour between {begin} and {end}, found none"))
}

/// Runs the steps in `dir`. `variables` are set in every terminal, `instead` are replaced in what is typed and expected.
///
/// # Errors
/// The step that did not print what it must, with what it printed.
pub async fn run(
    steps: &[Step],
    dir: &Path,
    variables: &[(String, String)],
    instead: &[(String, String)],
) -> Result<(), String> {
    let mut terminals: BTreeMap<&str, Terminal> = BTreeMap::new();
    for step in steps {
        if !terminals.contains_key(step.terminal.as_str()) {
            terminals
                .insert(&step.terminal, Terminal::open(dir, variables).map_err(|e| format!("bash: {e}"))?);
        }
        let terminal = terminals.get_mut(step.terminal.as_str()).ok_or("a terminal was just opened")?;
        let typed = replaced(&step.typed, instead);
        terminal.input.write_all(typed.as_bytes()).await.map_err(|e| format!("line {}: {e}", step.line))?;
        if let Some(expected) = &step.printed {
            let expected = replaced(expected, instead);
            terminal.prints(expected.trim()).await.map_err(|found| {
                format!("line {}: after\n{typed}\nexpected\n{expected}\nfound\n{found}", step.line)
            })?;
        }
    }
    Ok(())
}

/// All at once: a replacement is not itself looked through for the next one.
fn replaced(text: &str, instead: &[(String, String)]) -> String {
    let mut marked = text.to_owned();
    for (n, (old, _)) in instead.iter().enumerate() {
        marked = marked.replace(old, &format!("\u{1}{n}\u{1}"));
    }
    for (n, (_, new)) in instead.iter().enumerate() {
        marked = marked.replace(&format!("\u{1}{n}\u{1}"), new);
    }
    marked
}

/// One bash, killed with all that runs in it when it is dropped.
struct Terminal {
    child: Child,
    input: ChildStdin,
    output: Arc<(Mutex<String>, Notify)>,
}

impl Terminal {
    fn open(dir: &Path, variables: &[(String, String)]) -> std::io::Result<Self> {
        let mut child = Command::new("bash")
            .arg("-c")
            .arg("exec 2>&1; exec bash")
            .current_dir(dir)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let (Some(input), Some(mut printed)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(std::io::Error::other("bash has no pipes"));
        };
        let output = Arc::new((Mutex::new(String::new()), Notify::new()));
        let shared = Arc::clone(&output);
        tokio::spawn(async move {
            let mut chunk = [0; 4096];
            while let Ok(n @ 1..) = printed.read(&mut chunk).await {
                shared.0.lock().await.push_str(&String::from_utf8_lossy(&chunk[..n]));
                shared.1.notify_one();
            }
        });
        Ok(Self { child, input, output })
    }

    /// Waits until what was printed since the last time is this; else what was printed.
    async fn prints(&mut self, expected: &str) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        loop {
            let mut printed = self.output.0.lock().await;
            if pattern::fits(expected, printed.trim()) {
                printed.clear();
                return Ok(());
            }
            let so_far = printed.clone();
            drop(printed);
            if timeout_at(end, self.output.1.notified()).await.is_err() {
                return Err(so_far);
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(pid) = self.child.id() {
            let group = nix::unistd::Pid::from_raw(pid as i32);
            nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOUR: &str = "# x\n```sh\nnot run\n```\n<!-- tour:begin -->\nOne:\n```sh\nNAME=bob\necho hello $NAME at $HTTP1 and 1987\n```\n\
                        It says\n```text\nhello bob at … and 1987\n```\n```sh other\ncat\n```\n```sh other\ntyped into cat\n```\n\
                        ```text\ntyped …\n```\n```sh\necho still $NAME\n```\n```toml\nstill bob\n```\n<!-- tour:end -->\n";

    fn settings() -> [Vec<(String, String)>; 2] {
        let pair = |one: &str, other: &str| (one.to_owned(), other.to_owned());
        [vec![pair("HTTP1", "somewhere")], vec![pair("1987", "2001"), pair("2001", "no")]]
    }

    #[tokio::test]
    async fn a_tour_is_run_in_its_terminals() {
        let steps = steps(TOUR).unwrap();
        assert_eq!(steps.len(), 4);
        assert_eq!((steps[1].terminal.as_str(), steps[1].printed.as_deref()), ("other", None));
        let [variables, instead] = settings();
        run(&steps, Path::new("/"), &variables, &instead).await.unwrap();
    }

    #[test]
    fn what_cannot_be_run_is_said() {
        assert!(steps("# nothing").unwrap_err().contains("found none"));
        assert!(steps("<!-- tour:begin -->\n```text\nx\n```\n").unwrap_err().contains("line 2"));
        assert!(steps("<!-- tour:begin -->\n```rust\nx\n```\n").unwrap_err().contains("\"rust\""));
    }
}
