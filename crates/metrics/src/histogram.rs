//! How times are counted: sixteen octaves of four steps each, from a millisecond on.
//!
//! The first bucket takes everything below, the last everything from 65.536 s on. Receivers of
//! mod_wsgi 6.1.1's telemetry know these bounds, so they are not ours to choose.

/// How many buckets there are.
pub const BUCKETS: usize = 65;

/// A millisecond, in nanoseconds.
const UNIT: u64 = 1_000_000;

/// The bucket of a time in nanoseconds: `4 * octave + step` for times from
/// `2^octave * (1 + step / 4)` milliseconds on.
#[inline]
pub fn bucket(nanoseconds: u64) -> usize {
    if nanoseconds < UNIT {
        return 0;
    }
    let milliseconds = nanoseconds / UNIT;
    let octave = milliseconds.ilog2() as usize;
    if octave >= 16 {
        return BUCKETS - 1;
    }
    // 4 * time / 2^octave is 4, 5, 6 or 7 and a fraction. In microseconds, so that what is lost by
    // rounding is not a quarter of a millisecond.
    let quarters = (nanoseconds / 1000 * 4) >> octave;
    4 * octave + (quarters / 1000).saturating_sub(4).min(3) as usize
}

/// What times of this bucket are less than, in nanoseconds; `None` for the last.
pub fn upper_bound(bucket: usize) -> Option<u64> {
    let next = bucket + 1;
    (next < BUCKETS).then(|| (UNIT << (next / 4)) / 4 * (4 + next as u64 % 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_those_of_the_reference() {
        for (microseconds, expected) in [
            (0, 0),
            (1, 0),
            (999, 0),
            (1_000, 0),
            (1_249, 0),
            (1_250, 1),
            (1_499, 1),
            (1_500, 2),
            (1_750, 3),
            (1_999, 3),
            (2_000, 4),
            (2_499, 4),
            (2_500, 5),
            (3_500, 7),
            (4_000, 8),
            (1_024_000, 40),
            (32_768_000, 60),
            (57_343_999, 62),
            (57_344_000, 63),
            (65_535_999, 63),
            (65_536_000, 64),
            (u64::MAX / 1000, 64),
        ] {
            assert_eq!(bucket(microseconds * 1000), expected, "{microseconds} us");
        }
        assert_eq!(bucket(u64::MAX), 64);
    }

    #[test]
    fn a_bucket_ends_where_the_next_begins() {
        for number in 0..BUCKETS - 1 {
            let bound = upper_bound(number).unwrap_or_default();
            assert_eq!(bucket(bound), number + 1);
            assert_eq!(bucket(bound - 1), number);
        }
        assert_eq!(upper_bound(BUCKETS - 1), None);
    }
}
