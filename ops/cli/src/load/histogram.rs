//! Durations counted in buckets that are as fine as a 128th of what they hold, however long the run.

/// Buckets for each doubling.
const FINE: u32 = 128;

/// Durations in microseconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
}

impl Histogram {
    /// One more.
    pub fn add(&mut self, micros: u64) {
        let at = bucket(micros);
        if at >= self.buckets.len() {
            self.buckets.resize(at + 1, 0);
        }
        self.buckets[at] += 1;
        self.count += 1;
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Nothing again, with its memory kept.
    pub fn clear(&mut self) {
        self.buckets.fill(0);
        self.count = 0;
    }

    /// So many of 1 took at most this long, milliseconds; 0 of none.
    pub fn ms(&self, quantile: f64) -> f64 {
        let wanted = ((self.count as f64 * quantile).ceil() as u64).max(1);
        let mut seen = 0;
        for (at, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return middle(at) / 1_000.0;
            }
        }
        0.0
    }

    /// The buckets that hold something: from and to in milliseconds, and how many.
    pub fn filled(&self) -> impl Iterator<Item = (f64, f64, u64)> + '_ {
        let filled = self.buckets.iter().enumerate().filter(|(_, count)| **count > 0);
        filled.map(|(at, count)| (low(at) as f64 / 1_000.0, low(at + 1) as f64 / 1_000.0, *count))
    }
}

/// Exact up to twice `FINE`, then `FINE` to a doubling.
fn bucket(micros: u64) -> usize {
    let fine = u64::from(FINE);
    if micros < 2 * fine {
        return micros as usize;
    }
    let shift = micros.ilog2() - FINE.ilog2();
    (u64::from(shift) * fine + (micros >> shift)) as usize
}

/// The least of a bucket.
fn low(bucket: usize) -> u64 {
    let (fine, bucket) = (u64::from(FINE), bucket as u64);
    if bucket < 2 * fine {
        return bucket;
    }
    let shift = bucket / fine - 1;
    (bucket - shift * fine) << shift
}

fn middle(bucket: usize) -> f64 {
    let (from, to) = (low(bucket), low(bucket + 1));
    if to - from == 1 { from as f64 } else { (from + to) as f64 / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bucket_begins_where_the_one_before_it_ends() {
        for at in 0..4_000 {
            assert_eq!(bucket(low(at)), at);
            assert_eq!(bucket(low(at + 1) - 1), at);
        }
    }

    #[test]
    fn quantiles_are_as_fine_as_promised() {
        let mut all = Histogram::default();
        assert_eq!(all.ms(0.5), 0.0);
        (1..=100_000).for_each(|micros| all.add(micros));
        for (quantile, ms) in [(0.5, 50.0), (0.99, 99.0), (0.999, 99.9), (1.0, 100.0)] {
            assert!((all.ms(quantile) / ms - 1.0).abs() < 0.01, "{quantile}: {}", all.ms(quantile));
        }
        assert_eq!(all.filled().map(|(_, _, count)| count).sum::<u64>(), 100_000);
        all.clear();
        assert_eq!((all.count(), all.ms(0.9)), (0, 0.0));
    }
}
