//! How late the kernel may wake a process by its timers.

use std::io;
use std::time::Duration;

use nix::sys::prctl::set_timerslack;
use tokio::process::{Child, Command};

/// Starts a command whose timers may ring this much late, less than a second, and so together.
///
/// # Errors
/// Those of [`Command::spawn`]. A kernel that knows no slack is no error: nothing but CPU is lost.
pub fn spawn(command: &mut Command, slack: Duration) -> io::Result<Child> {
    // A child takes over what the thread has that starts it; zero is what that thread began with.
    set_timerslack(slack.subsec_nanos().into()).ok();
    let child = command.spawn();
    set_timerslack(0).ok();
    child
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    /// What a process of `cat` has, started in one way or the other.
    async fn read(spawn: impl FnOnce(&mut Command) -> io::Result<Child>) -> u64 {
        let mut command = Command::new("cat");
        command.arg("/proc/self/timerslack_ns").stdout(Stdio::piped());
        let output = spawn(&mut command).unwrap().wait_with_output().await.unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
    }

    #[tokio::test]
    async fn a_child_has_the_slack_it_was_given_and_the_next_one_ours() {
        let ours = read(Command::spawn).await;
        assert_eq!(read(|command| spawn(command, Duration::from_micros(700))).await, 700_000);
        assert_eq!(read(Command::spawn).await, ours);
    }
}
