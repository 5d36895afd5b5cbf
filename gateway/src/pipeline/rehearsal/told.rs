//! What came of a rehearsed call, as one document, and how one differs from what was expected.

use std::collections::BTreeMap;
use std::sync::Arc;

use gateway_policy::{Access, Decision, FieldVerdict, Label, LabelSet, Reason};
use serde::Serialize;
use serde_json::Value;

use crate::boundary::{Part, PlannedDelivery};
use crate::catalogue::path::escape;
use crate::manifest::ERRORS_PAGE;
use crate::plugin_host::{CallError, LogLine};

/// What came of a call.
#[derive(Debug, Serialize)]
pub struct RehearsedCall {
    /// The hook, as a grant names it.
    pub hook: String,
    /// The ledger's code: `ran`, `not-run:…`, `failed:…`, `refused:…`.
    pub outcome: String,
    /// How the partner stands: `service-provider` or `third-party`; of a message `brand`.
    pub recipient: String,
    /// Each declared field that the event has.
    pub fields: BTreeMap<Arc<str>, RehearsedField>,
    /// What goes back to the brand; of a message what is kept.
    pub returned: Option<RehearsedReturn>,
    /// Requests that would be sent once the call is committed.
    pub requests: Vec<RehearsedRequest>,
    /// Requests that the call waited for.
    pub exchanges: Vec<RehearsedRequest>,
    /// What the plugin remembers after the call, where it wrote anything; `forgotten` where all of it went.
    pub memory: Option<Value>,
    /// Why there is no answer.
    pub failure: Option<RehearsedFailure>,
    /// What the plugin logged.
    pub log: Vec<RehearsedLine>,
    /// Lines beyond the limit.
    #[serde(rename = "log-dropped", skip_serializing_if = "is_zero")]
    pub log_dropped: u32,
    /// Lines longer than a line may be.
    #[serde(rename = "log-cut", skip_serializing_if = "is_zero")]
    pub log_cut: u32,
    /// Fuel used.
    pub fuel: u64,
    /// Linear memory of the instance, in bytes.
    #[serde(rename = "memory-bytes")]
    pub memory_bytes: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// What was decided of a field.
#[derive(Debug, Serialize)]
pub struct RehearsedField {
    /// `read`, `sealed`, `return` or `memory`.
    pub access: Access,
    /// `allow`, `transform` or `withhold`.
    pub verdict: Decision,
    /// Why.
    pub reason: Reason,
    /// Of what would leave.
    pub labels: Arc<[Label]>,
}

/// What goes back to the brand.
#[derive(Debug, Serialize)]
pub struct RehearsedReturn {
    /// The allowed fields.
    pub value: Value,
    /// Each returned field, also what stays.
    pub fields: BTreeMap<Arc<str>, RehearsedField>,
}

impl RehearsedReturn {
    /// Whether anything goes back.
    pub(super) fn has_any(&self) -> bool {
        self.value.as_object().is_some_and(|members| !members.is_empty())
    }
}

/// A request, as its plugin asked for it: what is sealed is shown as that and never filled in.
#[derive(Debug, Serialize)]
pub struct RehearsedRequest {
    /// As declared.
    pub endpoint: String,
    /// `sent`; or why it stays: `withheld`, or the ledger's code. Of an exchange also `answered`, `no-reply`.
    pub outcome: String,
    /// Path slots.
    pub path: BTreeMap<String, String>,
    /// Headers.
    pub headers: BTreeMap<String, String>,
    /// The body before its fields are encoded.
    pub body: String,
    /// Labels that leave with it.
    pub labels: LabelSet,
}

/// Why a call has no answer.
#[derive(Debug, Serialize)]
pub struct RehearsedFailure {
    /// What happened, the rule and the remedy.
    pub message: String,
    /// The plugin's own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub said: Option<String>,
    /// The budget that was overrun: `fuel`, `time` (milliseconds), `memory` (bytes), `input` (bytes), or what of the
    /// output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<&'static str>,
    /// How much of it was used, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
    /// How much was allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed: Option<u64>,
}

/// A line of the plugin's log.
#[derive(Debug, Serialize)]
pub struct RehearsedLine {
    /// `debug`, `info`, `warn` or `error`.
    pub level: &'static str,
    /// The plugin's text.
    pub message: String,
}

impl From<LogLine> for RehearsedLine {
    fn from(line: LogLine) -> Self {
        Self { level: line.level.as_str(), message: line.message }
    }
}

/// Verdicts by field.
pub(in crate::pipeline) fn fields(verdicts: &[FieldVerdict]) -> BTreeMap<Arc<str>, RehearsedField> {
    let one = |of: &FieldVerdict| RehearsedField {
        access: of.access,
        verdict: of.verdict.decision,
        reason: of.verdict.reason,
        labels: Arc::clone(&of.labels),
    };
    verdicts.iter().map(|of| (Arc::clone(&of.field), one(of))).collect()
}

impl RehearsedRequest {
    /// One that was refused before it was decided about; the endpoint is named where it is declared.
    pub(super) fn refused(endpoint: Option<&str>, code: impl Into<String>) -> Self {
        Self {
            endpoint: endpoint.unwrap_or_default().to_owned(),
            outcome: code.into(),
            path: BTreeMap::new(),
            headers: BTreeMap::new(),
            body: String::new(),
            labels: LabelSet::default(),
        }
    }

    /// `sealed` says of a declared path whether the plugin may only place it.
    pub(in crate::pipeline) fn of(
        planned: &PlannedDelivery,
        outcome: impl Into<String>,
        sealed: impl Fn(&str) -> bool,
    ) -> Self {
        let shown = |parts: &[Part]| parts.iter().map(|part| part_shown(planned, part, &sealed)).collect();
        let named = |named: &[(String, Vec<Part>)]| {
            named.iter().map(|(name, parts)| (name.clone(), shown(parts))).collect()
        };
        Self {
            endpoint: planned.endpoint.name.clone(),
            outcome: outcome.into(),
            path: named(&planned.request.path),
            headers: named(&planned.request.headers),
            body: shown(&planned.request.body),
            labels: planned.carried.iter().flat_map(|carried| carried.labels.iter().cloned()).collect(),
        }
    }
}

fn part_shown(planned: &PlannedDelivery, part: &Part, sealed: impl Fn(&str) -> bool) -> String {
    let path = match part {
        Part::Text(text) => return text.clone(),
        Part::Field(path) => path,
    };
    let values = planned.values.get(path).map(Vec::as_slice).unwrap_or_default();
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match values {
        // Withheld and never provided look the same.
        [] => format!("«absent {path}»"),
        _ if sealed(path) => format!("«sealed {path}»"),
        values => values.iter().map(plain).collect::<Vec<_>>().join("\n"),
    }
}

impl RehearsedFailure {
    pub(super) fn of_call(error: &CallError) -> Self {
        let overrun = error.overrun();
        let said = match error {
            CallError::Rejected(text) | CallError::Unavailable(text) | CallError::Later { text, .. } => {
                Some(text.clone())
            }
            _ => None,
        };
        Self {
            message: format!("{error}; see {ERRORS_PAGE}#{}", error.code()),
            said,
            budget: overrun.as_ref().map(|overrun| overrun.budget),
            used: overrun.as_ref().map(|overrun| overrun.used),
            allowed: overrun.as_ref().map(|overrun| overrun.allowed),
        }
    }

    pub(super) fn of(message: impl Into<String>) -> Self {
        Self { message: message.into(), said: None, budget: None, used: None, allowed: None }
    }
}

/// Where `actual` is not as expected: a JSON Pointer and what is there instead, each as JSON. A member of the document
/// that `expected` does not state is not compared; one that it states is compared whole. Costs may be stated as
/// `{"at-most": N}`.
pub fn differences(expected: &Value, actual: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let (Value::Object(wanted), Value::Object(got)) = (expected, actual) else {
        compare("", Some(expected), Some(actual), &mut found);
        return found;
    };
    for (key, expected) in wanted {
        let pointer = format!("/{}", escape(key));
        let actual = got.get(key);
        let most = expected.get("at-most").and_then(Value::as_u64);
        match (most, actual.and_then(Value::as_u64)) {
            (Some(most), Some(used)) if used <= most => {}
            (Some(most), Some(used)) => {
                found.push(format!("{pointer}: at most {most} expected, {used} used"))
            }
            _ => compare(&pointer, Some(expected), actual, &mut found),
        }
    }
    found
}

fn compare(pointer: &str, expected: Option<&Value>, actual: Option<&Value>, found: &mut Vec<String>) {
    match (expected, actual) {
        (Some(Value::Object(expected)), Some(Value::Object(actual))) => {
            let mut keys: Vec<&String> = expected.keys().chain(actual.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let pointer = format!("{pointer}/{}", escape(key));
                compare(&pointer, expected.get(key), actual.get(key), found);
            }
        }
        (Some(Value::Array(expected)), Some(Value::Array(actual))) => {
            for at in 0..expected.len().max(actual.len()) {
                compare(&format!("{pointer}/{at}"), expected.get(at), actual.get(at), found);
            }
        }
        (Some(expected), Some(actual)) if expected == actual => {}
        (None, None) => {}
        (Some(expected), Some(actual)) => {
            found.push(format!("{pointer}: {expected} expected, {actual} came"));
        }
        (Some(expected), None) => found.push(format!("{pointer}: {expected} expected, nothing came")),
        (None, Some(actual)) => found.push(format!("{pointer}: nothing expected, {actual} came")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_stated_is_compared_and_that_whole() {
        let actual = json!({ "outcome": "ran", "fuel": 10, "log": [], "requests": [{ "body": "a" }] });
        for (expected, differs) in [
            (json!({ "outcome": "ran", "requests": [{ "body": "a" }] }), &[][..]),
            (json!({ "outcome": "ran", "fuel": { "at-most": 10 }, "requests": [{ "body": "a" }] }), &[]),
            (
                json!({ "outcome": "ran", "fuel": { "at-most": 9 }, "requests": [{ "body": "a" }] }),
                &["/fuel: at most 9 expected, 10 used"],
            ),
            (
                json!({ "outcome": "ran", "requests": [{ "body": "b" }] }),
                &[r#"/requests/0/body: "b" expected, "a" came"#],
            ),
            (
                json!({ "outcome": "ran", "requests": [], "log": ["x"] }),
                &[
                    r#"/requests/0: nothing expected, {"body":"a"} came"#,
                    r#"/log/0: "x" expected, nothing came"#,
                ],
            ),
            (json!({}), &[]),
            (json!({ "outcom": "ran" }), &[r#"/outcom: "ran" expected, nothing came"#]),
        ] {
            assert_eq!(differences(&expected, &actual), differs, "{expected}");
        }
    }
}
