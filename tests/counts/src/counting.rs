//! How a benchmark is run so that callgrind counts it and nothing else: it collects inside of [`counted_part`] only, and
//! writes a profile each time that returns.

use std::hint::black_box;

/// Counts of a benchmark. Tables are seeded by chance, and the allocator tidies up once in so many bytes: either may fall
/// into one count and not into another of the same code.
const TIMES: usize = 5;

/// Runs benchmarks, and prints a line `name items` for each profile that callgrind writes, in the same order.
pub struct Counting {
    only: Vec<String>,
}

impl Counting {
    /// The benchmarks whose names begin with one of these; all if there is none.
    pub fn of(only: impl Iterator<Item = String>) -> Self {
        Self { only: only.collect() }
    }

    /// Runs `work` on fresh inputs, which hold so many items: twice so that memory and tables are there, as in a server
    /// that has run for a while, then [`TIMES`] counted, of which the least is taken. What `work` returns is dropped
    /// within the count.
    #[expect(clippy::print_stdout, reason = "the list of what was counted is this program's output")]
    pub fn bench<I, O>(
        &mut self,
        name: &str,
        items: usize,
        mut fresh: impl FnMut() -> I,
        mut work: impl FnMut(I) -> O,
    ) {
        if !self.only.is_empty() && !self.only.iter().any(|only| name.starts_with(only.as_str())) {
            return;
        }
        for _ in 0..2 {
            drop(black_box(work(black_box(fresh()))));
        }
        for _ in 0..TIMES {
            let mut input = Some(fresh());
            counted_part(&mut || {
                if let Some(input) = input.take() {
                    drop(black_box(work(black_box(input))));
                }
            });
            println!("{name} {items}");
        }
    }
}

/// Named in `ops/counts`: everything under this call is counted.
#[inline(never)]
fn counted_part(work: &mut dyn FnMut()) {
    work();
    // Keeps the call from becoming a jump, of which callgrind would see no return.
    black_box(());
}
