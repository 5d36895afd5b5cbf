//! The words of the API about aggregates. It holds no behaviour.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A question about a brand's consumers: one of a closed set.
#[derive(Clone, Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct AggregateQuery {
    /// `events`, `consumers`, or, of a field, `sum` or `average`.
    pub measure: String,
    /// An event type of the catalogue.
    pub event: String,
    /// For `sum` and `average`: a field with `x-measure` in the catalogue, such as `/seconds_on_page`. One with a unit,
    /// such as `/total`, is summed `by` that unit, such as `/currency`, and not otherwise.
    pub field: Option<String>,
    /// A UTC day that ended an hour ago or earlier, `YYYY-MM-DD`. An event belongs to the day on which it was
    /// accepted.
    pub day: String,
    /// A field with `x-dimension` in the catalogue, such as `/device_type`: a number for each of its groups.
    pub by: Option<String>,
}

/// The answer to a question about a brand's consumers: the same for good.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AggregateView {
    pub brand: String,
    pub measure: String,
    pub event: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    pub day: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    pub groups: Vec<AggregateGroup>,
    /// The ledger's row.
    pub flow: String,
}

/// One number.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AggregateGroup {
    /// `all`, or the group of the dimension, `other` for what the catalogue does not list. Each consumer is in
    /// the group of their first event of the day.
    pub group: String,
    /// Each consumer's part is clipped: in events, and in each value.
    pub value: f64,
}
