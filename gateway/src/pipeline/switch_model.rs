//! What brands, partners and operators say and get about changing releases: words of the API. It holds no behaviour.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::grant::GrantEntry;
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
    /// One that the connection had: its version, or the SHA-256 of its component. Left out: the one before.
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
