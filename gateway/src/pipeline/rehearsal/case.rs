//! A case: what a plugin is called with, as files say it. It is read and checked here, and decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use gateway_policy::{Choices, Conditions, LabelSet};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::error::Problem;
use super::super::grant::GrantEntry;
use super::super::model::ContractInput;
use super::super::reading::read_document;

/// Bytes of one file of a case: as much as an event may have, and room for how it is written.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// The files of a case's folder.
pub(super) const EVENT: &str = "event.json";
pub(super) const MESSAGE: &str = "message.json";
pub(super) const CONNECTION: &str = "connection.json";
pub(super) const CHOICES: &str = "choices.json";
const REPLIES: &str = "replies.json";
/// Belongs to the folder and is compared, not read here.
const EXPECTED: &str = "expected.json";

/// Something wrong with a case: the file, the place in it, the rule and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{file}{}{pointer}: {detail}", if pointer.is_empty() { "" } else { " " })]
pub struct CaseProblem {
    /// The file, as it was named.
    pub file: String,
    /// JSON Pointer; empty for the file as a whole.
    pub pointer: String,
    /// The rule, and the remedy.
    pub detail: String,
}

impl CaseProblem {
    pub(super) fn new(file: &str, pointer: &str, detail: impl Into<String>) -> Self {
        Self { file: file.to_owned(), pointer: pointer.to_owned(), detail: detail.into() }
    }

    pub(super) fn of(file: &str, problem: Problem) -> Self {
        Self { file: file.to_owned(), pointer: problem.pointer, detail: problem.detail }
    }
}

/// What a call is made with.
#[derive(Clone, Debug, Default)]
pub struct Case {
    /// The CloudEvent, JSON text; none: the case is about a message.
    pub event: Option<Vec<u8>>,
    /// The partner's message, JSON text.
    pub message: Option<Vec<u8>>,
    /// The connection.
    pub connection: ConnectionCase,
    /// What the consumer chose.
    pub choices: Choices,
    /// What the partner's endpoints answer during the call, in turn.
    pub replies: Vec<ScriptedReply>,
    /// The hook to call, as a grant names it; none: the one that the event or message calls.
    pub hook: Option<String>,
    /// The hook that the case expects to be called: it decides where the event calls more than one.
    pub expects: Option<String>,
}

/// A connection as a case says it. What is left out is as a brand would have it that agreed to everything.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectionCase {
    /// As in the API; left out: every declared field and combination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<BTreeMap<String, BTreeSet<GrantEntry>>>,
    /// Valid against the plugin's settings schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Value>,
    /// No plugin sees a secret; one left out is there all the same.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
    /// Slots that the brand marks promotional.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub promotional: BTreeSet<String>,
    /// The partner's record.
    #[serde(default)]
    pub partner: PartnerCase,
    /// The partner's contracts, by name; left out: none, so it is a third party.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub contracts: BTreeMap<String, ContractInput>,
    /// What the plugin received of the consumer from its partner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received: Option<ReceivedCase>,
    /// What the plugin remembers of the consumer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryCase>,
    /// What the partner already received of the consumer, before the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub had: Option<HadCase>,
    /// Whether the consumer engaged with the brand before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub engaged: bool,
    /// The names by which the connection knows event and consumer; left out: names of the case's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<IdentityCase>,
}

/// A partner's record as a case says it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartnerCase {
    /// As in the API; left out: `US`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// As in the API; left out: those of the plugin's endpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domains: Option<Vec<String>>,
    /// Whether something of value is given for the data.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub consideration: bool,
}

/// What was received of a consumer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceivedCase {
    /// In the shape of the `receive` hook's schema.
    pub value: Value,
    /// By leaf, beside what the schema says of it: what the partner had received when it sent that.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, LabelSet>,
}

/// What is remembered of a consumer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryCase {
    /// JSON by key.
    pub entries: Map<String, Value>,
    /// Of everything that the calls saw which wrote it.
    pub labels: LabelSet,
}

/// What a partner already received of a consumer: it is in whatever the partner sends, and decides what may meet.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HadCase {
    /// Of all of it, received for the plugin's purpose.
    pub labels: LabelSet,
    /// What held when it was collected.
    pub conditions: Conditions,
}

/// Names of an event and its consumer, of use to one connection only.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityCase {
    /// The event's.
    pub event: String,
    /// The consumer's.
    pub consumer: String,
}

/// An endpoint's answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScriptedReply {
    /// The endpoint that answers so.
    pub endpoint: String,
    /// HTTP.
    pub status: u16,
    /// JSON; left out: an empty body.
    #[serde(default)]
    pub body: Option<Value>,
}

/// A file's bytes; none where there is no such file.
fn read(path: &Path, file: &str) -> Result<Option<Vec<u8>>, CaseProblem> {
    let problem = |detail: String| CaseProblem::new(file, "", detail);
    let size = match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(problem(format!("cannot be read: {error}"))),
        Ok(found) => found.len(),
    };
    if size > MAX_FILE_BYTES {
        return Err(problem(format!("has {size} bytes; a file of a case has at most {MAX_FILE_BYTES}")));
    }
    std::fs::read(path).map(Some).map_err(|error| problem(format!("cannot be read: {error}")))
}

/// A document of a case.
pub(super) fn document<T: DeserializeOwned>(file: &str, bytes: &[u8]) -> Result<T, CaseProblem> {
    read_document(bytes).map_err(|unreadable| CaseProblem::of(file, unreadable.problem))
}

/// Reads a case's folder, and what it expects; `name` is what its problems call it.
///
/// # Errors
/// Everything that is wrong with its files; what the catalogue and the manifest say of them comes when it runs.
pub fn read_case(dir: &Path, name: &str) -> Result<(Case, Option<Value>), Vec<CaseProblem>> {
    let mut problems = Vec::new();
    let files = [EVENT, MESSAGE, CONNECTION, CHOICES, REPLIES, EXPECTED];
    let listed = std::fs::read_dir(dir).map_err(|error| {
        vec![CaseProblem::new(name, "", format!("cannot be read: {error}; name a folder"))]
    })?;
    for entry in listed.flatten() {
        let file = entry.file_name();
        if !files.iter().any(|known| *file == **known) && !file.to_string_lossy().starts_with('.') {
            let (path, known) = (format!("{name}/{}", file.to_string_lossy()), files.join(", "));
            let detail = format!("belongs to no case; remove it, or name it as one of {known}");
            problems.push(CaseProblem::new(&path, "", detail));
        }
    }
    let mut bytes = |file: &str| -> Option<Vec<u8>> {
        read(&dir.join(file), &format!("{name}/{file}")).unwrap_or_else(|problem| {
            problems.push(problem);
            None
        })
    };
    let [event, message, connection, choices, replies, expected] = files.map(&mut bytes);
    match (&event, &message) {
        (None, None) => {
            let detail =
                "is missing; put the CloudEvent of the case there (or a partner's message into message.json)";
            problems.push(CaseProblem::new(&format!("{name}/{EVENT}"), "", detail));
        }
        (Some(_), Some(_)) => {
            let detail = "stands beside event.json; a case has one of them";
            problems.push(CaseProblem::new(&format!("{name}/{MESSAGE}"), "", detail));
        }
        _ => {}
    }
    fn read_into<T: DeserializeOwned>(
        name: &str,
        file: &str,
        bytes: Option<Vec<u8>>,
        problems: &mut Vec<CaseProblem>,
    ) -> Option<T> {
        let read = document(&format!("{name}/{file}"), &bytes?);
        read.map_err(|problem| problems.push(problem)).ok()
    }
    let connection = read_into(name, CONNECTION, connection, &mut problems).unwrap_or_default();
    let choices = read_into(name, CHOICES, choices, &mut problems).unwrap_or_default();
    let replies = read_into::<Replies>(name, REPLIES, replies, &mut problems).unwrap_or_default();
    let expected = read_into::<Map<String, Value>>(name, EXPECTED, expected, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let expects = expected.as_ref().and_then(|expected| expected.get("hook")?.as_str()).map(str::to_owned);
    let replies = replies.replies;
    let case = Case { event, message, connection, choices, replies, hook: None, expects };
    Ok((case, expected.map(Value::Object)))
}

/// The file of scripted answers.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Replies {
    replies: Vec<ScriptedReply>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(files: &[(&str, &str)]) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let found = read_case(dir.path(), "cases/a").err().unwrap_or_default();
        found.iter().map(|problem| format!("{} {}", problem.file, problem.pointer)).collect()
    }

    #[test]
    fn each_fault_of_a_folder_is_named_by_its_file_and_place() {
        for (files, expected) in [
            (vec![("event.json", "{}")], vec![]),
            (vec![], vec!["cases/a/event.json "]),
            (vec![("event.json", "{}"), ("message.json", "{}")], vec!["cases/a/message.json "]),
            (vec![("event.json", "{}"), ("evnt.json", "{}")], vec!["cases/a/evnt.json "]),
            (vec![("event.json", "{}"), ("choices.json", "{")], vec!["cases/a/choices.json "]),
            (
                vec![("event.json", "{}"), ("choices.json", r#"{"opt_out":{"sms":"no"}}"#)],
                vec!["cases/a/choices.json /opt_out/sms"],
            ),
            (
                vec![("event.json", "{}"), ("connection.json", r#"{"partner":{"name":"x"}}"#)],
                vec!["cases/a/connection.json /partner/name"],
            ),
            (vec![("event.json", "{}"), ("replies.json", "[]")], vec!["cases/a/replies.json "]),
            (vec![("event.json", "{}"), ("expected.json", "7")], vec!["cases/a/expected.json "]),
        ] {
            assert_eq!(problems(&files), expected, "{files:?}");
        }
    }
}
