//! Calls that fail, and what their rows say of it.

use std::sync::Arc;

use gateway_policy::{Facts, KeptApart};

use crate::boundary::Violation;
use crate::plugin_host::CallError;
use crate::store::FlowRecord;

/// A call of which nothing is kept.
pub(super) struct Failed {
    /// The ledger's code.
    pub(super) code: String,
    /// Whether it says that the plugin is broken: a trap, an overrun, an outcome refused. A rejection is an
    /// answer to one event, and wrong settings or records are not the plugin's fault.
    pub(super) broken: bool,
    /// Whether the same call would be decided otherwise now.
    pub(super) again: bool,
    /// What it would have brought together.
    kept_apart: Option<Arc<KeptApart>>,
}

impl Failed {
    pub(super) fn of_violation(violation: Violation) -> Self {
        let again = matches!(violation, Violation::Meanwhile(_));
        let kept_apart = violation.kept_apart().cloned();
        Self { code: violation.code(), broken: violation.is_plugins_fault(), again, kept_apart }
    }

    pub(super) fn of_call(error: &CallError) -> Self {
        // Rejected and unavailable are answers; busy, internal and an event too large are not the plugin's doing.
        let broken = !matches!(
            error,
            CallError::Rejected(_)
                | CallError::Unavailable(_)
                | CallError::Later { .. }
                | CallError::Busy { .. }
                | CallError::InputTooLarge { .. }
                | CallError::Internal
        );
        Self { code: format!("failed:{}", error.code()), broken, again: false, kept_apart: None }
    }

    /// Says it in the call's row.
    pub(super) fn tell(&self, flow: &mut FlowRecord) {
        flow.outcome.clone_from(&self.code);
        note_kept_apart(flow, self.kept_apart.as_ref());
    }
}

/// Names in a call's row, with the fields that have the one, labels that a request of it would have brought together.
pub(super) fn note_kept_apart(flow: &mut FlowRecord, pair: Option<&Arc<KeptApart>>) {
    let Some(pair) = pair else { return };
    let pair = Arc::new(pair.under(Facts::from_bits(flow.facts)));
    for field in &mut flow.verdicts {
        if field.verdict.allows() && field.labels.contains(&pair.label) {
            field.basis.kept_apart = Some(Arc::clone(&pair));
        }
    }
}
