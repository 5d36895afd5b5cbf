//! The words of the API about disclosures. It holds no behaviour.

use std::collections::{BTreeMap, BTreeSet};

use gateway_policy::{Conditions, LabelSet};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// Why an authority gets data: the policy's reasons (i) to (v).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DisclosureReason {
    /// To comply with legal process.
    I,
    /// To mitigate liability in a lawsuit.
    Ii,
    /// To enforce the policy or an agreement.
    Iii,
    /// To investigate or prevent unauthorised transactions or illegal activity.
    Iv,
    /// To protect rights or property.
    V,
}

impl DisclosureReason {
    /// The clause that it is.
    pub fn clause(self) -> &'static str {
        match self {
            Self::I => "share.legal.i",
            Self::Ii => "share.legal.ii",
            Self::Iii => "share.legal.iii",
            Self::Iv => "share.legal.iv",
            Self::V => "share.legal.v",
        }
    }
}

/// A request for an export to an authority.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DisclosureInput {
    /// The brand's id for the consumer, as in an event's `subject`.
    pub consumer: String,
    pub reason: DisclosureReason,
    /// Data categories, each with all below it, and event types, each with all its fields. Nothing else is
    /// exported.
    pub scope: BTreeSet<String>,
    /// The authority that gets it, by name.
    pub authority: String,
    /// The authority's reference: a case, an order.
    pub reference: String,
    /// Who asks, by name.
    pub person: String,
}

/// The second person's approval.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalInput {
    /// Who approves, by name: not the person who asked.
    pub person: String,
}

/// A request for an export, as it stands.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DisclosureView {
    pub id: String,
    pub brand: String,
    /// The ledger's name for the consumer.
    pub consumer: String,
    pub reason: DisclosureReason,
    /// The clause of the reason.
    pub clause: String,
    pub scope: BTreeSet<String>,
    pub authority: String,
    pub reference: String,
    /// `pending`, `approved` or `expired`.
    pub state: String,
    pub requested: DisclosureStep,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved: Option<DisclosureStep>,
    /// When the approval ends, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

/// One person's part.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DisclosureStep {
    pub person: String,
    /// The id of the person's key.
    pub key: String,
    /// RFC 3339.
    pub at: String,
}

/// What an authority gets.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DisclosureExport {
    pub disclosure: DisclosureView,
    /// RFC 3339.
    pub exported: String,
    /// Oldest first.
    pub events: Vec<ExportedEvent>,
    /// What plugins received, returned and remember of the consumer, as far as all that it derives from is within the
    /// scope's categories.
    pub kept: Vec<ExportedKept>,
    /// The ledger's rows.
    pub flows: Vec<String>,
}

/// What a plugin keeps of the consumer, as far as it is within the scope.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ExportedKept {
    /// `received` from the partner, `returned` to the brand, or `memory`.
    pub kind: String,
    pub plugin: String,
    /// When it was returned, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    #[schema(value_type = Object)]
    pub data: Value,
    /// Each exported value with its labels.
    #[schema(value_type = Object)]
    pub labels: BTreeMap<String, LabelSet>,
    #[schema(value_type = Object)]
    pub conditions: Conditions,
}

/// The fields of one event that are within the scope.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ExportedEvent {
    pub id: String,
    pub source: String,
    pub r#type: String,
    /// When it happened, RFC 3339.
    pub time: String,
    /// When the gateway accepted it, RFC 3339.
    pub accepted: String,
    #[schema(value_type = Object)]
    pub data: Value,
    /// Each exported field with its labels.
    #[schema(value_type = Object)]
    pub labels: BTreeMap<String, LabelSet>,
    #[schema(value_type = Object)]
    pub conditions: Conditions,
}
