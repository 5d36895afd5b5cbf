//! Time is passed in, never read from the side, so that a test can move it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use time::OffsetDateTime;

/// Answers what time it is. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Offset(Arc<AtomicI64>),
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// The machine's clock moved by [`Clock::advance`]; for tests of deadlines, expiry and retries.
    pub fn movable() -> Self {
        Self(Source::Offset(Arc::default()))
    }

    /// Moves a movable clock forward; no effect on the system clock.
    pub fn advance(&self, by: time::Duration) {
        if let Source::Offset(offset) = &self.0 {
            offset.fetch_add(by.whole_milliseconds() as i64, Ordering::SeqCst);
        }
    }

    /// Now, in UTC.
    pub fn now(&self) -> OffsetDateTime {
        let now = OffsetDateTime::now_utc();
        match &self.0 {
            Source::System => now,
            Source::Offset(offset) => now + time::Duration::milliseconds(offset.load(Ordering::SeqCst)),
        }
    }

    /// Now, in milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> i64 {
        (self.now().unix_timestamp_nanos() / 1_000_000) as i64
    }
}
