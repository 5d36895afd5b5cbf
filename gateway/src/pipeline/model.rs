//! What callers of the pipeline say and get: the words of the API. It holds no behaviour.

use std::collections::{BTreeMap, BTreeSet};

use gateway_policy::{Conditions, LabelSet};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::flows::FlowField;
use super::grant::GrantEntry;
use super::switch_model::{Follow, Offered, PastRelease, RolloutView};

/// A brand, as the operator writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BrandInput {
    /// For people.
    pub display_name: String,
    /// Whether this is the platform's own brand, the only one whose event types include `forum.posted` and the like.
    #[serde(default)]
    pub platform: bool,
}

/// A brand.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BrandView {
    pub name: String,
    #[serde(flatten)]
    pub brand: BrandInput,
}

/// A partner, as the operator writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PartnerInput {
    /// For people.
    pub display_name: String,
    /// `US`, `CH`, `GB`, `EU` or an ISO 3166-1 alpha-2 country code; another counts as unknown, and so as outside the EU.
    pub region: String,
    /// Domains under which the partner's endpoints may be.
    #[serde(default)]
    pub domains: Vec<String>,
    /// Whether the platform or a brand gets something of value for data shared with this partner.
    #[serde(default)]
    pub consideration: bool,
    /// Ed25519 public keys that the partner signs messages with (Standard Webhooks `v1a`): `whpk_` and Base64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub webhook_keys: Vec<String>,
    /// Ed25519 public keys that the partner signs its releases with: `rlpk_` and Base64. A key that is taken away signs
    /// no further release; those that it signed stay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub release_keys: Vec<String>,
}

/// A partner with its contracts.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PartnerView {
    pub name: String,
    #[serde(flatten)]
    pub partner: PartnerInput,
    pub contracts: BTreeMap<String, ContractInput>,
}

/// A contract between the platform and a partner, as the operator writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ContractInput {
    /// fideslang data uses, each with all below it.
    pub purposes: Vec<String>,
    /// fideslang data categories, each with all below it.
    pub categories: Vec<String>,
    /// Whether it binds the partner for transfers out of the EU, the UK and Switzerland.
    #[serde(default)]
    pub onward_transfer: bool,
    /// Whether something of value is given for the data.
    #[serde(default)]
    pub consideration: bool,
    /// RFC 3339; none: until it is changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

/// The switch: what a brand says when it turns a plugin on.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectionInput {
    /// A release of the plugin: its version, or the SHA-256 of its component in hexadecimal.
    pub release: String,
    /// For each hook, `share EVENT-TYPE`, `decide SLOT` or `receive`, the declared fields that the brand agrees to: a
    /// path, or a path with the form in which alone the field goes; for each combination, `combine INTO`, all that
    /// it is of.
    #[serde(default)]
    pub grant: BTreeMap<String, BTreeSet<GrantEntry>>,
    /// Valid against the plugin's settings schema.
    #[serde(default = "empty_object")]
    #[schema(value_type = Object)]
    pub settings: Value,
    /// By the names that the manifest declares. Write-only; one left out keeps its value.
    #[serde(default)]
    pub secrets: BTreeMap<String, String>,
    /// Slots of this plugin that are promotional (clause choice.marketing).
    #[serde(default)]
    pub promotional: BTreeSet<String>,
    /// Makes a new secret for the partner's messages; the one before is taken for another day.
    #[serde(default)]
    pub rotate_inbound_secret: bool,
    /// Whether new releases are taken over by themselves.
    #[serde(default)]
    pub follow: Follow,
}

fn empty_object() -> Value {
    Value::Object(serde_json::Map::new())
}

/// A plugin switched on.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct ConnectionView {
    pub brand: String,
    pub plugin: String,
    pub partner: String,
    pub version: String,
    /// SHA-256 of the component.
    pub release: String,
    pub grant: BTreeMap<String, BTreeSet<GrantEntry>>,
    #[schema(value_type = Object)]
    pub settings: Value,
    /// Names of the secrets that are set.
    pub secrets: Vec<String>,
    pub promotional: BTreeSet<String>,
    /// The partner's privacy policy, as the brand saw it at switching on (clause integrations.no-control).
    pub privacy_policy: String,
    /// When the brand switched it on, or last changed it, RFC 3339.
    pub switched_on: String,
    /// Endpoints that answered 410 and get nothing until the connection is written again.
    pub endpoints_off: BTreeSet<String>,
    /// `closed`; `open` after repeated failures, which stops its calls for a while; `half-open`: that while is over,
    /// and one call will tell.
    pub breaker: String,
    /// Since when it is not closed, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breaker_since: Option<String>,
    /// Until when nothing runs, where it is open, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breaker_until: Option<String>,
    /// `on`; `withdrawn`: on, with a release that nothing switches to any more; `blocked`: nothing of it runs, by the
    /// operator; `unusable`: nothing of it runs, for it cannot be put together.
    pub state: String,
    pub follow: Follow,
    /// The newest release, where it is newer than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offered: Option<Offered>,
    /// A release that some consumers get, or the last one that was taken from them because it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutView>,
    /// Releases that it had, the last one first: the newest 50. It can return to them, and to any that gets no more.
    pub history: Vec<PastRelease>,
    /// Standard Webhooks secret for the partner to verify requests with. Shown once, when it is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing_secret: Option<String>,
    /// Standard Webhooks secret for the partner to sign its messages with, where the plugin takes any. Shown
    /// once, when it is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inbound_secret: Option<String>,
}

/// A published release.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReleaseView {
    pub plugin: String,
    pub version: String,
    pub partner: String,
    /// SHA-256 of the component.
    pub release: String,
    pub summary: String,
    pub purpose: String,
    pub privacy_policy: String,
    /// Bytes.
    pub size: u64,
    /// What it was built from, as its build says: `language`, the SHA-256 of `source` and `lock`, versions of `tools`.
    #[schema(value_type = Option<Object>)]
    pub provenance: Option<Value>,
    /// RFC 3339.
    pub published: String,
    /// The partner's public key that signed it, `rlpk_` and Base64.
    pub signed_by: String,
    /// Its signature, as it was sent with the component.
    pub signature: String,
    /// `published`, `withdrawn` (nothing switches to it any more) or `blocked` (it runs nowhere).
    pub status: String,
    /// Why it is withdrawn or blocked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Brands whose calls it handles, but for those on trial; for its partner alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brands: Option<BTreeSet<String>>,
    /// Parts of the interface that it imports.
    pub interfaces: BTreeSet<String>,
    /// `share EVENT-TYPE`, `decide SLOT` and `receive`, each with its declared fields.
    pub hooks: BTreeMap<String, Vec<DeclaredField>>,
    /// `combine INTO`, each with what it is of.
    pub combinations: BTreeMap<String, BTreeSet<String>>,
}

/// A declared field.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DeclaredField {
    pub field: String,
    /// `read` or `sealed`.
    pub access: String,
    pub required: bool,
    /// In the partner's words.
    pub why: String,
    pub category: String,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Accepted {
    /// New events, stored.
    pub accepted: usize,
    /// Events that were there already, with the same body.
    pub duplicates: usize,
}

/// The answer of a decision.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DecisionView {
    /// What the plugin answered, or null.
    #[schema(value_type = Option<Object>)]
    pub decision: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provenance: Option<Provenance>,
    /// Why there is no decision: a stable code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Where an answer comes from.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Provenance {
    /// The ledger's row.
    pub flow: String,
    /// SHA-256 of the component that answered.
    pub release: String,
    /// Of its partner, which governs what it does with the consumer's data (clause integrations.no-control); not in
    /// answers that were recorded without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privacy_policy: Option<String>,
    /// Each returned field with its labels.
    #[schema(value_type = Object)]
    pub labels: BTreeMap<String, LabelSet>,
}

/// One row of the ledger.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FlowView {
    pub id: String,
    /// RFC 3339.
    pub at: String,
    /// `call` (toward a plugin), `delivery` (toward a partner's endpoint), `exchange` (the same, during a call
    /// that waits for the answer), `return` (toward the brand), `receive` (from a partner), `aggregate` (a
    /// statistic) or `disclose` (an export to an authority).
    pub stage: String,
    pub flow: String,
    pub recipient: String,
    pub brand: String,
    pub plugin: String,
    pub partner: String,
    pub release: String,
    pub policy: String,
    pub purpose: String,
    /// The consumer's pseudonym in this ledger; zeros for an aggregate, which is over many.
    pub consumer: String,
    /// The event; for an export, the disclosure.
    pub event: String,
    pub event_type: String,
    pub fields: Vec<FlowField>,
    /// Facts that held.
    pub facts: Vec<String>,
    pub outcome: String,
    /// Where it goes: the endpoint; for a decision's call the slot; for an aggregate the question; for an export the
    /// authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// Digest of what crossed, keyed with the consumer's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    pub fuel: u64,
    pub micros: u64,
    /// Bytes of linear memory of the call, at its largest.
    pub memory: u64,
    /// Budgets of which the call used most, or all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub spent: Vec<SpentView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<FlowResultView>,
}

/// How much of a budget a call used; at least four fifths.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SpentView {
    /// As `plugin-sdk/docs/limits.md` names it.
    pub budget: String,
    pub used: u64,
    pub allowed: u64,
}

/// What came of a delivery attempt.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FlowResultView {
    pub at: String,
    /// `delivered`, `retry` or `dead`.
    pub outcome: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// What to look for in the ledger. Empty: everything that the caller may see.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct FlowFilter {
    pub brand: Option<String>,
    /// The brand's id for the consumer, as in an event's `subject` (needs `brand`): rows of those linked with it
    /// too. Or one pseudonym of the ledger: its own rows.
    pub consumer: Option<String>,
    pub plugin: Option<String>,
    pub partner: Option<String>,
    /// A data category, with all below it.
    pub category: Option<String>,
    /// `share`, `decide`, `return`, …
    pub flow: Option<String>,
    /// `call`, `delivery`, `exchange`, `return`, `receive`, `aggregate` or `disclose`.
    pub stage: Option<String>,
    /// `allow`, `transform` or `withhold`: rows with at least one such verdict.
    pub verdict: Option<String>,
    /// RFC 3339.
    pub from: Option<String>,
    /// RFC 3339.
    pub until: Option<String>,
    /// The `next` of the page before.
    pub cursor: Option<String>,
    /// Rows a page, 1 to 1000; 100 where not given.
    pub limit: Option<u32>,
}

/// A page.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// The cursor of the next page; none: this is the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Returned fields of one call, in a brand's feed.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReturnView {
    /// Position in the feed: give it as `after` to go on from here.
    pub position: i64,
    /// RFC 3339.
    pub at: String,
    pub plugin: String,
    /// The privacy policy of the plugin's partner, as the release that returned it names it (clause
    /// integrations.no-control).
    pub privacy_policy: String,
    pub consumer: String,
    pub event: String,
    pub flow: String,
    /// The returned fields.
    #[schema(value_type = Object)]
    pub value: Value,
    /// Each with its labels.
    #[schema(value_type = Object)]
    pub labels: BTreeMap<String, LabelSet>,
    /// What held when the data that it derives from was collected.
    #[schema(value_type = Object)]
    pub conditions: Conditions,
}

/// An id of a consumer that the brand used before it knew who it was.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkInput {
    /// The `subject` of the visitor's events.
    pub visitor: String,
}

/// What is stored of one consumer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ConsumerView {
    /// The ledger's name for the consumer.
    pub pseudonym: String,
    /// Its names for the ids that are linked with the consumer; what is stored of them is shown with it.
    pub linked: Vec<String>,
    /// Whether the consumer has engaged with the brand.
    pub engaged: bool,
    /// The newest events, newest first.
    pub events: Vec<StoredEventView>,
    /// The newest returned fields, newest first.
    pub returned: Vec<ReturnView>,
    /// What plugins received of the consumer from their partners, by plugin; what may not be used is left out.
    pub received: BTreeMap<String, ReceivedView>,
    /// What plugins remember of the consumer, by plugin: that they do, and not what.
    pub memories: BTreeMap<String, MemoryView>,
    /// The partner's privacy policy of each plugin that the brand has on: it governs what that partner does with what
    /// it gets of the consumer (clause integrations.no-control).
    pub privacy_policies: BTreeMap<String, String>,
}

/// What a plugin remembers of a consumer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MemoryView {
    pub entries: usize,
    /// Bytes of keys and values.
    pub bytes: usize,
    /// Of everything that the calls saw which could have written.
    #[schema(value_type = Vec<String>)]
    pub labels: LabelSet,
    /// What held when the data that it derives from was collected.
    #[schema(value_type = Object)]
    pub conditions: Conditions,
}

/// What a plugin received of a consumer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReceivedView {
    #[schema(value_type = Object)]
    pub value: Value,
    /// Each field with its labels.
    #[schema(value_type = Object)]
    pub labels: BTreeMap<String, LabelSet>,
    /// What held when the data that it derives from was collected.
    #[schema(value_type = Object)]
    pub conditions: Conditions,
}

/// A stored event with the labels of its fields.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StoredEventView {
    pub id: String,
    pub source: String,
    pub r#type: String,
    /// RFC 3339.
    pub accepted: String,
    #[schema(value_type = Object)]
    pub data: Value,
    #[schema(value_type = Object)]
    pub labels: BTreeMap<String, LabelSet>,
    #[schema(value_type = Object)]
    pub conditions: Conditions,
}

/// A request that was not delivered.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DeadLetterView {
    pub id: String,
    pub plugin: String,
    pub endpoint: String,
    pub event: String,
    /// `dead` (retries used up) or `dropped` (withheld before it was sent).
    pub state: String,
    pub attempts: u32,
    /// The last result's code or status, or why it was dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
}

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    Operator,
    Source,
    Brand,
    Partner,
    Auditor,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [Self::Operator, Self::Source, Self::Brand, Self::Partner, Self::Auditor];

    /// The key that the store and the command line use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Source => "source",
            Self::Brand => "brand",
            Self::Partner => "partner",
            Self::Auditor => "auditor",
        }
    }

    /// The role with this key.
    pub fn parse(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == key)
    }
}

/// An authenticated caller.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The key's id; what the record of changes names.
    pub key: String,
    pub role: Role,
    /// The only brand it may touch; for roles source and brand.
    pub brand: Option<String>,
    /// The only partner it may act for; for role partner.
    pub partner: Option<String>,
}
