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
    /// When it opened last, and until when nothing runs; none: closed.
    open: Option<(i64, i64)>,
    /// The one call that goes when that time is up is on its way.
    trying: bool,
}

/// How a breaker stands, for whoever looks at the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerState {
    /// `closed`, `open`, or `half-open`: the time is up, and one call will tell.
    pub state: &'static str,
    /// Since when it is not closed, in milliseconds since the Unix epoch.
    pub since_ms: Option<i64>,
    /// Until when nothing runs.
    pub until_ms: Option<i64>,
}

impl Breaker {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Whether a call may go now; else when to ask again. Once the time is up one call goes, and the
    /// others wait for what comes of it.
    pub fn admit(&self, now_ms: i64) -> Result<(), i64> {
        let mut state = self.state();
        match state.open {
            Some((_, until)) if now_ms < until => Err(until),
            Some((since, _)) => {
                state.open = Some((since, now_ms + OPEN_MS));
                state.trying = true;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// A call that was let through did not take place after all: where it was the one that should tell, the next one
    /// may go.
    pub fn unused(&self, now_ms: i64) {
        let mut state = self.state();
        if std::mem::take(&mut state.trying) {
            state.open = state.open.map(|(since, _)| (since, now_ms));
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
            let since = state.open.map_or(now_ms, |(since, _)| since);
            state.open = Some((since, now_ms + OPEN_MS));
            state.trying = false;
        }
        opens
    }

    /// How it stands.
    pub fn stands(&self, now_ms: i64) -> BreakerState {
        let state = self.state();
        match state.open {
            None => BreakerState { state: "closed", since_ms: None, until_ms: None },
            Some((since, until)) if now_ms < until && !state.trying => {
                BreakerState { state: "open", since_ms: Some(since), until_ms: Some(until) }
            }
            Some((since, _)) => BreakerState { state: "half-open", since_ms: Some(since), until_ms: None },
        }
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
        let open = BreakerState { state: "open", since_ms: Some(0), until_ms: Some(OPEN_MS) };
        assert_eq!(breaker.stands(1), open);
        let half_open = BreakerState { state: "half-open", since_ms: Some(0), until_ms: None };
        assert_eq!(breaker.stands(OPEN_MS), half_open);
        assert_eq!(breaker.admit(OPEN_MS), Ok(()));
        assert_eq!(breaker.admit(OPEN_MS), Err(2 * OPEN_MS));
        assert_eq!(breaker.stands(OPEN_MS), half_open);
        // The call that should tell did not take place: another one does.
        breaker.unused(OPEN_MS);
        assert_eq!(breaker.admit(OPEN_MS), Ok(()));
        assert!(breaker.failed(OPEN_MS));
        assert_eq!(breaker.stands(OPEN_MS), BreakerState { until_ms: Some(2 * OPEN_MS), ..open });
        assert_eq!(breaker.admit(2 * OPEN_MS), Ok(()));
        breaker.succeeded();
        assert_eq!(breaker.admit(2 * OPEN_MS), Ok(()));
        assert_eq!(breaker.stands(2 * OPEN_MS).state, "closed");
    }
}
