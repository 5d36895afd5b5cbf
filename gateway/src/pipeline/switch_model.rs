//! What brands, partners and operators say and get about changing releases: words of the API. It holds no behaviour.

use std::collections::{BTreeMap, BTreeSet};

use gateway_policy::LabelSet;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::grant::GrantEntry;
use super::model::DeclaredField;
use crate::manifest::Difference;

/// Which new releases a connection takes over by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Follow {
    /// None.
    #[default]
    None,
    /// Those that get no more than the one that runs; a wider one waits for the brand.
    Narrower,
}

/// A release that some of a brand's consumers get first.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RolloutInput {
    /// A release of the plugin: its version, or the SHA-256 of its component in hexadecimal.
    pub release: String,
    /// Of a hundred consumers; a consumer stays with its release. 100 switches the connection over.
    #[schema(minimum = 1, maximum = 100)]
    pub percent: u8,
    /// As a connection's. Left out: what stands, as far as the release declares it; a wider release needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<BTreeMap<String, BTreeSet<GrantEntry>>>,
    /// As a connection's. Left out: what stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub settings: Option<Value>,
}

/// Which release to return to.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackInput {
    /// Its version, or the SHA-256 of its component: one that the connection had, or one that gets no more than one that
    /// it had or has. Left out: the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
}

/// Why a release is withdrawn or blocked.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReasonInput {
    /// For people: brands and the partner read it.
    pub reason: String,
}

/// A newer release than the one that runs.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Offered {
    pub version: String,
    pub release: String,
    /// What it changes. A wider one runs nowhere before the brand writes the connection with it.
    #[serde(flatten)]
    pub difference: Difference,
}

/// A rollout as it stands, or one that ended by itself.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RolloutView {
    pub version: String,
    pub release: String,
    /// Of a hundred consumers; 0: it ended.
    pub percent: u8,
    pub grant: BTreeMap<String, BTreeSet<GrantEntry>>,
    /// When it began, or ended, RFC 3339.
    pub at: String,
    /// Why it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
}

/// A release that a connection had.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PastRelease {
    pub version: String,
    pub release: String,
    /// RFC 3339.
    pub until: String,
}

/// What a brand reads before it switches on.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Preview {
    pub plugin: String,
    pub version: String,
    pub partner: String,
    pub purpose: String,
    pub privacy_policy: String,
    /// The whole of it in plain words.
    pub sentences: Vec<String>,
    pub hooks: Vec<PreviewHook>,
    /// Where requests go.
    pub endpoints: Vec<PreviewEndpoint>,
    /// What the plugin may remember of a consumer between its calls; none: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<PreviewMemory>,
    /// What the newest events would have sent.
    pub last_events: PreviewCounts,
}

/// What a plugin may remember of each consumer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PreviewMemory {
    /// Bytes of keys and values, at most.
    pub max_bytes: usize,
    /// What it may hold: labels of what the plugin can read, is sent or is answered.
    #[schema(value_type = Vec<String>)]
    pub labels: LabelSet,
}

/// One hook of a preview.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PreviewHook {
    /// `share EVENT-TYPE` or `decide SLOT`.
    pub hook: String,
    pub fields: Vec<PreviewField>,
    /// What comes back, with its category.
    #[schema(value_type = Object)]
    pub returns: BTreeMap<String, String>,
}

/// One declared field of a preview.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PreviewField {
    #[serde(flatten)]
    pub declared: DeclaredField,
    /// Whether the grant under preview has it.
    pub granted: bool,
    /// The form in which it goes, where it does not go as it is.
    #[serde(rename = "as", skip_serializing_if = "Option::is_none")]
    pub form: Option<String>,
    /// What the value counts as in that form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts_as: Option<String>,
    /// `service-provider` or `third-party`.
    pub recipient: String,
    /// The contract that makes the partner a service provider for it; where its labels are covered by several, all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contract: Option<String>,
    /// Clauses under which it may flow.
    pub allowed_by: Vec<String>,
    /// Clauses that withhold it for some consumers.
    pub withheld_by: Vec<String>,
    /// Over the newest events in which it is present.
    pub would_allow: usize,
    pub would_withhold: usize,
    /// Reasons with how often each would have decided.
    pub reasons: BTreeMap<String, usize>,
}

/// An endpoint of a preview.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PreviewEndpoint {
    pub name: String,
    pub method: String,
    pub url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// The category of what it answers to a plugin that asks it during a call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply: Option<String>,
}

/// Over how many events a preview looked.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub struct PreviewCounts {
    /// Events of the hooks' types, at most 100.
    pub events: usize,
    /// Calls that would have happened.
    pub calls: usize,
}
