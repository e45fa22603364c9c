//! Instructions an item of the hot path. `ops/counts` runs this under callgrind and compares with `baseline.toml`.
//!
//! | module | holds |
//! |---|---|
//! | [`counting`] | how a benchmark is run so that callgrind counts it and nothing else |
//! | [`samples`] | the traffic: a hundred pairs, bodies of 64 bytes |
//! | [`frames`] | framing and parsing of what clients send, and their one-line form |
//! | [`broker`] | the forms in which frames and deliveries cross the broker |
//! | [`session`] | the parts of a session and of the publisher, one by one |
//! | [`node`] | whole sessions in a whole node, with nothing but socket, broker and workers replaced |
//! | [`worker`] | a chunk before and after PostgreSQL |

mod broker;
mod counting;
mod frames;
mod node;
mod samples;
mod session;
mod worker;

use counting::Counting;
use shared::telemetry;

// As in the servers' own binaries: what memory costs them is in the counts.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    telemetry::install(telemetry::Part::Edge).expect("the first recorder of this process");
    let mut counting = Counting::of(std::env::args().skip(1));
    frames::all(&mut counting);
    broker::all(&mut counting);
    session::all(&mut counting);
    node::all(&mut counting);
    worker::all(&mut counting);
}
