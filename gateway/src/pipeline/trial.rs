//! The trial of a release that some consumers get before the others: too many failed calls end it.

use std::collections::VecDeque;
use std::sync::Mutex;

/// Calls that are looked at: enough that a single bad event weighs little, and few enough that a release that breaks
/// every call is gone after four of them.
const WINDOW: usize = 20;
/// Failed calls among them that are borne. A release that fails more than every sixth call is worse than none.
const BORNE: usize = 3;

/// Of one rollout.
#[derive(Debug, Default)]
pub struct Trial(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Whether each of the newest calls failed.
    failed: VecDeque<bool>,
    over: bool,
}

impl Trial {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Notes what came of a call.
    pub fn note(&self, failed: bool) {
        let mut state = self.state();
        if state.failed.len() == WINDOW {
            state.failed.pop_front();
        }
        state.failed.push_back(failed);
        state.over |= state.failed.iter().filter(|failed| **failed).count() > BORNE;
    }

    /// Whether it failed: nobody gets the release any more.
    pub fn is_over(&self) -> bool {
        self.state().over
    }

    /// The rule by which it ends, in words.
    pub fn rule() -> String {
        format!("more than {BORNE} of its last {WINDOW} calls failed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_failures_than_are_borne_among_the_newest_calls_end_it_for_good() {
        let (scattered, dense) = (Trial::default(), Trial::default());
        for call in 0..200 {
            scattered.note(call % 7 == 0);
            assert!(!scattered.is_over(), "{call}");
        }
        for call in 0..=BORNE {
            assert!(!dense.is_over(), "{call}");
            dense.note(true);
        }
        assert!(dense.is_over());
        (0..WINDOW).for_each(|_| dense.note(false));
        assert!(dense.is_over());
    }
}
