//! A connection's circuit breaker: repeated failures of a plugin stop its calls for a while, visibly.
//! What is deferred meanwhile is not lost; a decision meanwhile has no answer.

use std::sync::Mutex;

/// Failures in a row that open it.
const FAILURES: u32 = 5;
/// Milliseconds that it stays open before one call is let through.
const OPEN_MS: i64 = 30_000;

/// Closed at first.
#[derive(Debug, Default)]
pub struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    open_until_ms: Option<i64>,
}

impl Breaker {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Whether a call may go now; else when to ask again. Once the time is up one call goes, and the
    /// others wait for what comes of it.
    pub fn admit(&self, now_ms: i64) -> Result<(), i64> {
        let mut state = self.state();
        match state.open_until_ms {
            Some(until) if now_ms < until => Err(until),
            Some(_) => {
                state.open_until_ms = Some(now_ms + OPEN_MS);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// A call came back as it should.
    pub fn succeeded(&self) {
        *self.state() = State::default();
    }

    /// A call failed; true where this opened it.
    pub fn failed(&self, now_ms: i64) -> bool {
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        let opens = state.failures >= FAILURES;
        if opens {
            state.open_until_ms = Some(now_ms + OPEN_MS);
        }
        opens
    }

    /// `open` or `closed`.
    pub fn as_str(&self, now_ms: i64) -> &'static str {
        if self.state().open_until_ms.is_some_and(|until| now_ms < until) { "open" } else { "closed" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_failures_open_it_time_half_opens_it_and_a_success_closes_it() {
        let breaker = Breaker::default();
        for _ in 1..FAILURES {
            assert!(!breaker.failed(0));
            assert_eq!(breaker.admit(0), Ok(()));
        }
        assert!(breaker.failed(0));
        assert_eq!(breaker.admit(1), Err(OPEN_MS));
        assert_eq!(breaker.admit(OPEN_MS), Ok(()));
        assert_eq!(breaker.admit(OPEN_MS), Err(2 * OPEN_MS));
        breaker.succeeded();
        assert_eq!(breaker.admit(OPEN_MS), Ok(()));
    }
}
