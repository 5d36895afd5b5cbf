//! What a partner sees of its plugins: words of the API. It holds no behaviour.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::model::SpentView;

/// How a call ended, for its partner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PartnerOutcome {
    /// It gave an answer.
    Ran,
    /// It gave none: the code says why.
    Failed,
    /// Its answer was refused: the code says for what.
    Refused,
}

/// What a partner asks for of its own plugins.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PartnerFilter {
    /// Only at this brand.
    pub brand: Option<String>,
    /// Only of this plugin.
    pub plugin: Option<String>,
    /// Only calls that ended so.
    pub outcome: Option<PartnerOutcome>,
    /// The `next` of the page before.
    pub after: Option<String>,
    /// Entries a page, 1 to 1000; 100 where not given.
    pub limit: Option<u32>,
}

/// One call of a partner's plugin.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PartnerCallView {
    pub id: String,
    /// RFC 3339.
    pub at: String,
    pub brand: String,
    pub plugin: String,
    /// SHA-256 of the component.
    pub release: String,
    /// `share` or `decide`.
    pub hook: String,
    /// The slot that was asked for, of a decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<String>,
    pub event_type: String,
    pub outcome: PartnerOutcome,
    /// Why there is no answer, or for what it was refused: a section of `plugin-sdk/docs/errors.md`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Wall-clock time of the call.
    pub milliseconds: f64,
    /// The same for the same release and input.
    pub fuel: u64,
    /// Bytes of linear memory, at its largest.
    pub memory: u64,
    /// Budgets of which it used at least four fifths; one that it overran comes first.
    pub warnings: Vec<SpentView>,
}

/// One try to deliver to a partner's endpoint.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PartnerDeliveryView {
    /// The request's `webhook-id`.
    pub id: String,
    /// RFC 3339.
    pub at: String,
    pub brand: String,
    pub plugin: String,
    pub endpoint: String,
    /// From 1.
    pub attempt: u32,
    /// `delivered`, `retry` or `dead`.
    pub outcome: String,
    /// HTTP status that the endpoint answered with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why there was no status, or it was no success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// When it is tried again, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_try: Option<String>,
}

/// What a plugin wrote in one call.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PartnerLogView {
    pub call: String,
    /// RFC 3339.
    pub at: String,
    pub brand: String,
    pub plugin: String,
    /// Level (`debug`, `info`, `warn`, `error`) and text.
    pub lines: Vec<[String; 2]>,
    /// Lines beyond the limit, which were not kept.
    pub lines_dropped: u32,
    /// Lines that were longer than a line may be: each ends with a mark that says how much is missing.
    pub lines_cut: u32,
    /// Why the plugin says that it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// A budget of which calls used more than four fifths, or all.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PartnerWarningView {
    /// As `plugin-sdk/docs/limits.md` names it.
    pub budget: String,
    /// How many calls did.
    pub calls: u64,
    /// By the call that used the largest part.
    pub used: u64,
    /// What that call might.
    pub allowed: u64,
}

/// How a partner's plugin did at a brand over the last day.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PartnerStatusView {
    pub brand: String,
    pub plugin: String,
    /// From when on it counts, RFC 3339: a day ago, or later where there is too much to count.
    pub since: String,
    pub calls: u64,
    /// Calls without an answer, or with one that was refused.
    pub failures: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50_milliseconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_milliseconds: Option<f64>,
    pub fuel: u64,
    /// `closed`, `open` or `half-open`; none where the plugin is not on, or its release is blocked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breaker: Option<String>,
    /// Why the operator blocked the release that the brand has on: nothing of it runs until it is unblocked, or the
    /// brand switches to another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked: Option<String>,
    /// Budgets of which calls used more than four fifths, or all, by name.
    pub warnings: Vec<PartnerWarningView>,
    /// Requests that failed and will be tried again.
    pub deliveries_waiting: u64,
    /// Requests that are not tried again.
    pub deliveries_dead: u64,
}
