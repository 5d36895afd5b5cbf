//! When a failed delivery is tried again. It reads no clock and draws no random numbers.

use std::time::Duration;

/// Seconds before the second, third, … try: a blip, a restart, an outage, a weekend's worth.
const DELAYS: [u64; 9] = [5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600];
/// The longest wait that a partner's `Retry-After` can ask for: the schedule's own longest.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// The schedule of design §12; after its end comes the dead letter.
#[derive(Clone, Copy, Debug)]
pub struct RetrySchedule;

impl RetrySchedule {
    /// Tries in all, the first included.
    pub const TRIES: u32 = 10;

    /// How long to wait after `attempt` tries (1 after the first) have failed, or `None` when it was the
    /// last. Spread by up to 10 % either way, the same for the same `jitter_seed`, so that what failed
    /// together does not return together. `retry_after` lengthens a wait, to 24 h at most; never shortens.
    pub fn next(attempt: u32, retry_after: Option<Duration>, jitter_seed: u64) -> Option<Duration> {
        let index = usize::try_from(attempt.checked_sub(1)?).ok()?;
        let base = Duration::from_secs(*DELAYS.get(index)?);
        let permille = 900_u32.saturating_add(u32::try_from(mix(jitter_seed, attempt) % 201).unwrap_or(100));
        let spread = base.saturating_mul(permille).checked_div(1000)?;
        Some(spread.max(retry_after.unwrap_or_default().min(MAX_RETRY_AFTER)))
    }
}

/// SplitMix64's finaliser (Steele, Lea, Flood 2014): spreads neighbouring seeds apart.
fn mix(seed: u64, attempt: u32) -> u64 {
    let mut z = seed.wrapping_add(u64::from(attempt).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_follow_the_schedule_within_ten_percent() {
        for (attempt, seconds) in (1..).zip(DELAYS) {
            for seed in 0..500 {
                let wait =
                    RetrySchedule::next(attempt, None, seed).expect("within the schedule").as_secs_f64();
                let base = seconds as f64;
                assert!((base * 0.9..=base * 1.1).contains(&wait), "try {attempt}: {wait}");
            }
        }
        assert_eq!(RetrySchedule::next(0, None, 1), None);
        assert_eq!(RetrySchedule::next(RetrySchedule::TRIES, None, 1), None);
        assert_eq!(RetrySchedule::next(u32::MAX, None, 1), None);
    }

    #[test]
    fn seeds_spread_the_waits_and_repeat_them() {
        let waits: std::collections::BTreeSet<_> =
            (0..100).map(|seed| RetrySchedule::next(3, None, seed)).collect();
        assert!(waits.len() > 50, "{}", waits.len());
        assert_eq!(RetrySchedule::next(3, None, 7), RetrySchedule::next(3, None, 7));
    }

    #[test]
    fn retry_after_lengthens_only_and_at_most_to_a_day() {
        let hour = Duration::from_secs(3600);
        assert_eq!(RetrySchedule::next(1, Some(hour), 1), Some(hour));
        assert_eq!(RetrySchedule::next(4, Some(Duration::from_secs(1)), 1), RetrySchedule::next(4, None, 1));
        assert_eq!(RetrySchedule::next(1, Some(hour * 1000), 1), Some(hour * 24));
    }
}
