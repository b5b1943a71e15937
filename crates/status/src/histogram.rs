//! Histograms of durations, and what is counted for one group of processes.
//!
//! Bounds double from 62.5 µs to 65.536 s. From 1 ms on they are the octaves of the histograms that
//! `mod_wsgi.request_metrics()` has, which divides each of them in four; the four below tell a fast
//! application from a very fast one. Doubling bounds make finding a bucket a matter of counting bits.

use crate::snapshot::Phase;

/// How many buckets have a bound; one more has none.
pub const BOUNDS: usize = 21;

/// The bound of a bucket, in halves of a microsecond so that it is a whole number: the bucket holds
/// what took no longer, and longer than the bound before.
pub const fn bound_half_us(bucket: usize) -> u64 {
    125 << bucket
}

/// The bucket that a duration belongs to.
pub const fn bucket(us: u64) -> usize {
    // Of what is longer than the last bound nobody asks by how much.
    let us = if us > 1 << 40 { 1 << 40 } else { us };
    let steps = (us * 2).div_ceil(125);
    let bits = (64 - steps.saturating_sub(1).leading_zeros()) as usize;
    if bits > BOUNDS { BOUNDS } else { bits }
}

/// What was counted for one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// By [`Phase`], how many requests were in each bucket.
    pub buckets: [[u64; BOUNDS + 1]; Phase::COUNT],
    /// By [`Phase`], microseconds of all requests together.
    pub sums: [u64; Phase::COUNT],
    /// Responses by class of status: 1xx to 5xx, then what is none of these.
    pub statuses: [u64; 6],
}

impl Totals {
    /// How many requests were counted.
    pub fn requests(&self) -> u64 {
        self.statuses.iter().fold(0, |sum, count| sum.wrapping_add(*count))
    }

    /// How many requests had this phase.
    pub fn count(&self, phase: Phase) -> u64 {
        self.buckets[phase as usize].iter().fold(0, |sum, count| sum.wrapping_add(*count))
    }

    /// The mean of a phase, in microseconds; `None` if no request had it.
    pub fn mean_us(&self, phase: Phase) -> Option<u64> {
        self.sums[phase as usize].checked_div(self.count(phase))
    }

    /// The duration that so many of a thousand requests did not exceed, as far as buckets tell: the
    /// bound of the bucket where they end. `None` if no request had the phase.
    pub fn quantile_us(&self, phase: Phase, per_mille: u64) -> Option<u64> {
        let count = self.count(phase);
        let rank = u128::from(count) * u128::from(per_mille);
        let mut below = 0u128;
        for (index, in_bucket) in self.buckets[phase as usize].iter().enumerate() {
            below += u128::from(*in_bucket) * 1000;
            if *in_bucket > 0 && below >= rank {
                return Some(bound_half_us(index.min(BOUNDS - 1)).div_ceil(2));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_its_bound_says() {
        assert_eq!(bucket(0), 0);
        assert_eq!(bound_half_us(0), 2 * 62 + 1);
        for index in 0..BOUNDS {
            let bound = bound_half_us(index) / 2;
            assert_eq!(bucket(bound), index, "{bound} µs");
            assert_eq!(bucket(bound + 1), index + 1, "{bound} µs and one more");
        }
        assert_eq!(bucket(u64::MAX), BOUNDS);
        assert_eq!(bound_half_us(BOUNDS - 1), 2 * 65_536_000);
        // Octaves of milliseconds.
        assert_eq!(bound_half_us(4), 2 * 1000);
    }

    #[test]
    fn quantiles_are_bounds() {
        let mut totals = Totals::default();
        assert_eq!(totals.quantile_us(Phase::Total, 500), None);
        let buckets = &mut totals.buckets[Phase::Total as usize];
        (buckets[4], buckets[6], buckets[BOUNDS]) = (90, 9, 1);
        assert_eq!(totals.quantile_us(Phase::Total, 500), Some(1000));
        assert_eq!(totals.quantile_us(Phase::Total, 950), Some(4000));
        assert_eq!(totals.quantile_us(Phase::Total, 1000), Some(65_536_000));
        // Whatever somebody has written there.
        totals.buckets = [[u64::MAX; BOUNDS + 1]; Phase::COUNT];
        let _ = (totals.quantile_us(Phase::Total, 999), totals.mean_us(Phase::Total));
    }
}
