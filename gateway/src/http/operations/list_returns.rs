//! `GET /v1/brands/{brand}/returns`.

use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::routes;

use crate::http::api::Api;
use crate::http::extract::{Json, Parameters, Segments};
use crate::http::problem::ProblemDetails;
use crate::http::routes::{Operation, Scope};
use crate::pipeline::{ReturnView, Role};

/// Rows of an answer where the request does not say.
const LIMIT: u32 = 100;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ReturnsQuery {
    /// The `position` to go on after; not given: from the beginning.
    after: Option<i64>,
    /// Rows, 1 to 1000; 100 where not given.
    limit: Option<u32>,
}

/// Read the feed of returned fields
///
/// What plugins returned, oldest first, with labels and provenance. Keep the last `position` and give it as
/// `after` next time.
#[utoipa::path(
    get,
    path = "/v1/brands/{brand}/returns",
    tag = "consumers",
    params(("brand" = String, Path, description = "The brand's name"), ReturnsQuery),
    responses((status = 200, description = "Returned fields after that position", body = Vec<ReturnView>)),
)]
async fn list_returns(
    State(api): State<Api>,
    Segments(brand): Segments<String>,
    Parameters(query): Parameters<ReturnsQuery>,
) -> Result<Json<Vec<ReturnView>>, ProblemDetails> {
    let (after, limit) = (query.after.unwrap_or(0), query.limit.unwrap_or(LIMIT));
    Ok(Json(api.gateway().returns(&brand, after, limit).await?))
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_list_returns>(routes!(list_returns), &[Role::Brand], Scope::Brand)
}
