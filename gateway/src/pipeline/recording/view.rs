//! What the API says of a recorded call: a case in the form that a rehearsal reads, and what came of the call.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::super::rehearsal::Case;

/// A recorded call as a case.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RecordingView {
    /// The flow's id.
    pub flow: String,
    /// Whether values are made up: for the plugin's partner.
    pub redacted: bool,
    pub release: RecordedRelease,
    /// `share EVENT-TYPE` or `decide SLOT`.
    pub hook: String,
    /// `event.json` of the case.
    #[schema(value_type = Object)]
    pub event: Value,
    /// `connection.json` of the case: grant, settings, contracts and what was received, as they stand now.
    #[schema(value_type = Object)]
    pub connection: Value,
    /// `choices.json` of the case, as they stand now; for a partner the permission that any plugin may be given.
    #[schema(value_type = Object)]
    pub choices: Value,
    /// `replies.json` of the case, where the call was answered by its partner: without bodies, which are not kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub replies: Option<Value>,
    /// What came of the call, in the form of `expected.json`: what is not known, or not for this key, is left out.
    #[schema(value_type = Object)]
    pub recorded: Value,
    /// What the release that ran makes of the case, in the form of `expected.json`: for a partner, because what came of
    /// the call depends on its consumer. None: it is blocked, or did not run in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub made_up: Option<Value>,
    /// Fuel that the call used.
    pub fuel: u64,
    /// Bytes of linear memory, at its largest.
    pub memory: u64,
    /// Whether the plugin would be given the same now; none: it did not run, or values are made up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<RecordedInput>,
    /// What the call may have used and a replay does not have as it was.
    pub not_repeated: Vec<NotRepeated>,
}

impl RecordingView {
    /// The case, to be rehearsed.
    ///
    /// # Errors
    /// Where a document of it is not in the form that this version knows.
    pub fn case(&self) -> serde_json::Result<Case> {
        let replies = self.replies.as_ref().and_then(|replies| replies.get("replies"));
        Ok(Case {
            event: Some(self.event.to_string().into_bytes()),
            connection: Deserialize::deserialize(&self.connection)?,
            choices: Deserialize::deserialize(&self.choices)?,
            replies: replies.map(Deserialize::deserialize).transpose()?.unwrap_or_default(),
            hook: Some(self.hook.clone()),
            ..Case::default()
        })
    }
}

/// The release that ran.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RecordedRelease {
    pub plugin: String,
    pub version: String,
    /// SHA-256 of the component.
    pub sha256: String,
}

/// What the plugin would be given now, against what it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RecordedInput {
    /// The same bytes of readable fields, the same names of fields, and settings that nobody wrote since. The event, its
    /// time and its names do not change.
    Same,
    /// Choices, grant, settings, contracts, policy, what was received or returned, or what the partner already had were
    /// others then, or it is not known that they were not.
    Changed,
}

/// What a replay lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NotRepeated {
    /// What the plugin remembered: only what it is now is kept, and nobody but the plugin reads that.
    Memory,
    /// What the partner had already received of the consumer: it decides what may meet.
    Had,
    /// What endpoints answered: it is not kept.
    Replies,
    /// Answers about consumers as a whole.
    Aggregates,
    /// What other plugins returned.
    Returned,
    /// What the plugin received of the consumer from its partner.
    Received,
    /// Pseudonyms of values: they are made with a key that stays in the gateway.
    Pseudonyms,
    /// Requests of the call: they may hold what the brand may not see, or what came of a first try is not known.
    Requests,
    /// What the plugin returned: it may not be used any more.
    ReturnedValue,
}

impl NotRepeated {
    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Had => "had",
            Self::Replies => "replies",
            Self::Aggregates => "aggregates",
            Self::Returned => "returned",
            Self::Received => "received",
            Self::Pseudonyms => "pseudonyms",
            Self::Requests => "requests",
            Self::ReturnedValue => "returned-value",
        }
    }
}
