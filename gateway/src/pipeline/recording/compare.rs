//! A replay against what came of the recorded call: what is compared, and where they differ.

use serde_json::{Map, Value};

use super::super::partner_calls::seen;
use super::super::partner_model::PartnerOutcome;
use super::super::rehearsal::differences;
use super::RecordingView;

/// How a replay differs from the recorded call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Members of the outcome that the recording states.
    pub compared: Vec<String>,
    /// Members of the outcome that it does not state, so that nothing is known of them.
    pub not_compared: Vec<String>,
    /// A line each.
    pub differences: Vec<String>,
}

impl RecordingView {
    /// Compares what came of a replay, in the form of `expected.json`. Of a partner's recording both outcomes are what
    /// `/v1/partner/calls` says: there the ledger's own stays hidden where it may depend on a sealed value.
    pub fn compare(&self, called: &Value) -> Comparison {
        let mut called = called.clone();
        if self.redacted
            && let Some(outcome) = called.get_mut("outcome")
            && let Some(seen) = outcome.as_str().and_then(as_seen)
        {
            *outcome = seen.into();
        }
        let names = called.as_object().into_iter().flat_map(Map::keys).cloned();
        let (compared, not_compared) = names.partition(|name| self.recorded.get(name).is_some());
        Comparison { compared, not_compared, differences: differences(&self.recorded, &called) }
    }
}

/// An outcome as `/v1/partner/calls` says it, in the ledger's words; none: the partner does not see the call.
pub(super) fn as_seen(outcome: &str) -> Option<String> {
    let (outcome, code) = seen(outcome)?;
    let code = code.unwrap_or_default();
    Some(match outcome {
        PartnerOutcome::Ran => "ran".to_owned(),
        PartnerOutcome::Failed => format!("failed:{code}"),
        PartnerOutcome::Refused => format!("refused:{code}"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn recording(redacted: bool) -> RecordingView {
        let release = json!({ "plugin": "p", "version": "1.0.0", "sha256": "" });
        serde_json::from_value(json!({
            "flow": "", "redacted": redacted, "release": release, "hook": "share chat.ended", "event": {},
            "connection": {}, "choices": {}, "recorded": { "hook": "share chat.ended", "outcome": "ran" },
            "fuel": 1, "memory": 1, "not_repeated": [],
        }))
        .unwrap()
    }

    #[test]
    fn a_partners_is_compared_as_the_partner_sees_both() {
        for (redacted, outcome, differs) in [
            (true, "ran", false),
            (true, "refused:segment", false),
            (true, "refused:undeclared-field", true),
            (true, "failed:trap", true),
            (true, "not-run:required-absent", true),
            (false, "refused:segment", true),
        ] {
            let called = json!({ "hook": "share chat.ended", "outcome": outcome, "log": [], "fuel": 7 });
            let found = recording(redacted).compare(&called);
            assert_eq!(found.compared, ["hook", "outcome"]);
            assert_eq!(found.not_compared, ["log", "fuel"]);
            assert_eq!(found.differences.len(), usize::from(differs), "{outcome} {found:?}");
        }
    }
}
