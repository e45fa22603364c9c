//! How late the kernel may wake a process by its timers.

use std::io;
use std::time::Duration;

use nix::sys::prctl::{get_timerslack, set_timerslack};
use tokio::process::{Child, Command};

/// Starts a command whose timers may ring this much late, and so together; `None`: as late as ours.
///
/// # Errors
/// Those of [`Command::spawn`]. A kernel that knows no slack is no error: nothing but CPU is lost.
pub fn spawn(command: &mut Command, slack: Option<Duration>) -> io::Result<Child> {
    let Some(slack) = slack else { return command.spawn() };
    // A child takes over what the thread has that starts it.
    let ours = get_timerslack().ok().and_then(|ours| u64::try_from(ours).ok()).filter(|ours| *ours > 0);
    let lent = ours.filter(|_| set_timerslack(u64::try_from(slack.as_nanos()).unwrap_or(u64::MAX)).is_ok());
    let child = command.spawn();
    if let Some(ours) = lent {
        set_timerslack(ours)?;
    }
    child
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    /// What a process of `cat` has.
    async fn read(slack: Option<Duration>) -> u64 {
        let mut command = Command::new("cat");
        command.arg("/proc/self/timerslack_ns").stdout(Stdio::piped());
        let output = spawn(&mut command, slack).unwrap().wait_with_output().await.unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
    }

    #[tokio::test]
    async fn a_child_has_the_slack_it_was_given_and_the_next_one_ours() {
        let ours = read(None).await;
        assert_eq!(read(Some(Duration::from_micros(700))).await, 700_000);
        assert_eq!(read(None).await, ours);
    }
}
