//! Random histories that can be had again: numbers from a seed, the same on every machine, and seeds that are told when
//! their history fails.

use std::ops::Range;

/// The environment variable that names the one seed to run.
pub const VARIABLE: &str = "IM_SEED";

/// SplitMix64.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// From 0 to below `bound`; 0 where `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.bits() % (bound.max(1) as u64)).unwrap_or(0)
    }

    /// True once in so many times.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of these; `None` of none.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }

    /// Another order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}

/// One history's seed. Dropped by a panic it says which it is.
#[derive(Debug)]
pub struct Seed(u64);

impl Seed {
    /// The number itself.
    pub fn number(&self) -> u64 {
        self.0
    }

    /// Its sequence.
    pub fn random(&self) -> Random {
        Random::new(self.0)
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the history that failed has the seed {0}: {VARIABLE}={0} runs it alone", self.0);
        }
    }
}

/// The seeds of a test's histories; or the one that [`VARIABLE`] names.
///
/// # Panics
/// When [`VARIABLE`] holds no number.
pub fn seeds(usual: Range<u64>) -> impl Iterator<Item = Seed> {
    let asked = std::env::var(VARIABLE).ok();
    let one = asked
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{VARIABLE}: expected a number, found {text:?}")));
    one.map_or(usual, |one: u64| one..one + 1).map(Seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_splitmix64() {
        let mut random = Random::new(1_234_567);
        let first: Vec<u64> = (0..3).map(|_| random.bits()).collect();
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn a_shuffle_keeps_everything() {
        let mut items: Vec<u32> = (0..50).collect();
        Random::new(7).shuffle(&mut items);
        assert!(items.windows(2).any(|pair| pair[0] > pair[1]));
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }
}
