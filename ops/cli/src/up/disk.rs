//! A disk that runs full is said, before it is and when it is.

use std::path::Path;
use std::time::Duration;

use nix::sys::statvfs::statvfs;
use tokio::time::{Instant, sleep};

use super::board::Board;
use super::say::Say;

/// How often the disk is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often a state that lasts is said again.
const SAY_EVERY: Duration = Duration::from_secs(600);

/// How much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    Enough,
    Little,
    None,
}

/// Watches for ever: says when there is little room, none, or enough again, and lets the board write what it could
/// not.
pub async fn watch(data: &Path, board: &Board, say: &Say) {
    let mut last = (Room::Enough, Instant::now());
    loop {
        if let Ok(disk) = statvfs(data) {
            let size = disk.fragment_size();
            let (free, total) = (disk.blocks_available() * size, disk.blocks() * size);
            let now = room(free, total);
            let again = now != Room::Enough && last.1.elapsed() >= SAY_EVERY;
            if now != last.0 || again {
                say.line(sentence(now, free, total, data));
                last = (now, Instant::now());
            }
        }
        board.catch_up();
        sleep(LOOK_EVERY).await;
    }
}

/// Little: under 1 GiB or a twentieth, whichever is less. None: under 64 MiB or a five-hundredth.
fn room(free: u64, total: u64) -> Room {
    match free {
        free if free < (total / 500).min(64 << 20) => Room::None,
        free if free < (total / 20).min(1 << 30) => Room::Little,
        _ => Room::Enough,
    }
}

fn sentence(room: Room, free: u64, total: u64, data: &Path) -> String {
    let (free, total, data) = (free >> 20, total >> 20, data.display());
    let left = format!("{free} MiB of {total} MiB are free on the disk of {data}");
    match room {
        Room::Enough => format!("there is room again: {left}"),
        Room::Little => format!("the disk is nearly full: {left}"),
        Room::None => format!(
            "THE DISK IS FULL: {left}. PostgreSQL and NATS refuse writes: messages wait unacknowledged with \
             their senders; nothing acknowledged is lost. Make room"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_disks_have_their_own_measure() {
        let gib = 1 << 30;
        assert_eq!(room(2 * gib, 100 * gib), Room::Enough);
        assert_eq!(room(gib - 1, 100 * gib), Room::Little);
        assert_eq!(room((64 << 20) - 1, 100 * gib), Room::None);
        assert_eq!(room(gib / 10, gib), Room::Enough);
        assert_eq!(room(gib / 21, gib), Room::Little);
        assert_eq!(room(gib / 501, gib), Room::None);
    }
}
