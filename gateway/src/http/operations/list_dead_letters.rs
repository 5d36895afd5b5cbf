//! `GET /v1/brands/{brand}/dead-letters`.

use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::routes;

use crate::http::api::Api;
use crate::http::extract::{Json, Parameters, Segments};
use crate::http::problem::ProblemDetails;
use crate::http::routes::{Operation, Scope};
use crate::pipeline::{DeadLetterView, Page, Role};

/// Rows of a page where the request does not say.
const LIMIT: u32 = 100;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct DeadLettersQuery {
    /// The `next` of the page before.
    cursor: Option<String>,
    /// Rows a page, 1 to 1000; 100 where not given.
    limit: Option<u32>,
}

/// List requests that were not delivered
///
/// Newest first: those whose retries are used up, and those that were withheld before they were sent.
#[utoipa::path(
    get,
    path = "/v1/brands/{brand}/dead-letters",
    tag = "deliveries",
    params(("brand" = String, Path, description = "The brand's name"), DeadLettersQuery),
    responses((status = 200, description = "A page of dead letters", body = Page<DeadLetterView>)),
)]
async fn list_dead_letters(
    State(api): State<Api>,
    Segments(brand): Segments<String>,
    Parameters(query): Parameters<DeadLettersQuery>,
) -> Result<Json<Page<DeadLetterView>>, ProblemDetails> {
    let limit = query.limit.unwrap_or(LIMIT);
    Ok(Json(api.gateway().dead_letters(&brand, query.cursor.as_deref(), limit).await?))
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_list_dead_letters>(routes!(list_dead_letters), &[Role::Brand], Scope::Brand)
}
