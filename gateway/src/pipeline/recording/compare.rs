//! A replay against what came of the recorded call: what is compared, and where they differ.

use serde_json::{Map, Value};

use super::super::partner_calls::seen;
use super::super::partner_model::PartnerOutcome;
use super::super::rehearsal::differences;
use super::RecordingView;

/// Said of what another value may change.
pub const MAY_DIFFER: &str = "may differ: values are made up";

/// How a replay differs from the recorded call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Members of the outcome that are compared with what came of the call.
    pub compared: Vec<String>,
    /// Members that are compared with what the release that ran makes of the same made-up values.
    pub compared_made_up: Vec<String>,
    /// Members of which nothing is known to compare them with.
    pub not_compared: Vec<String>,
    /// A line each.
    pub differences: Vec<String>,
}

impl RecordingView {
    /// Compares what came of a replay, in the form of `expected.json`. Of a partner's recording both outcomes are what
    /// `/v1/partner/calls` says: there the ledger's own stays hidden where it may depend on a sealed value. All that
    /// depends on values is compared with the release's own call with the same ones, where that is known.
    pub fn compare(&self, called: &Value) -> Comparison {
        let mut called = called.clone();
        let mut made_up = self.made_up.clone().unwrap_or_default();
        if self.redacted {
            as_partners_see(&mut called);
            as_partners_see(&mut made_up);
        }
        let mut found = Comparison {
            compared: vec![],
            compared_made_up: vec![],
            not_compared: vec![],
            differences: vec![],
        };
        let mut expected = Map::new();
        for name in called.as_object().into_iter().flat_map(Map::keys) {
            let (list, known) = match (self.recorded.get(name), made_up.get(name)) {
                (Some(known), _) => (&mut found.compared, Some(known)),
                (None, Some(known)) => (&mut found.compared_made_up, Some(known)),
                (None, None) => (&mut found.not_compared, None),
            };
            list.push(name.clone());
            expected.extend(known.map(|known| (name.clone(), known.clone())));
        }
        found.differences = differences(&Value::Object(expected), &called);
        // The release that ran does the same with these values: it is they that make the difference.
        if made_up.get("outcome").is_some_and(|outcome| called.get("outcome") == Some(outcome)) {
            let of_values = found.differences.iter_mut().filter(|line| line.starts_with("/outcome: "));
            of_values.for_each(|line| line.push_str(&format!(" ({MAY_DIFFER})")));
        }
        found
    }
}

fn as_partners_see(called: &mut Value) {
    if let Some(outcome) = called.get_mut("outcome")
        && let Some(seen) = outcome.as_str().and_then(as_seen)
    {
        *outcome = seen.into();
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

    #[test]
    fn what_depends_on_values_is_compared_with_the_releases_call_with_the_same_ones() {
        let said = |outcome: &str, log: &str| json!({ "hook": "share chat.ended", "outcome": outcome, "log": [log] });
        for (made_up, called, differences) in [
            (said("ran", "a"), said("ran", "a"), &[][..]),
            (said("ran", "a"), said("ran", "b"), &[r#"/log/0: "a" expected, "b" came"#]),
            (
                said("failed:trap", "a"),
                said("failed:trap", "a"),
                &[r#"/outcome: "ran" expected, "failed:trap" came (may differ: values are made up)"#],
            ),
            (
                said("ran", "a"),
                said("failed:trap", "a"),
                &[r#"/outcome: "ran" expected, "failed:trap" came"#],
            ),
        ] {
            let recording = RecordingView { made_up: Some(made_up), ..recording(true) };
            let found = recording.compare(&called);
            assert_eq!(
                (&*found.compared, &*found.compared_made_up),
                (&["hook", "outcome"].map(str::to_owned)[..], &["log".to_owned()][..])
            );
            assert_eq!(found.differences, differences);
        }
    }
}
