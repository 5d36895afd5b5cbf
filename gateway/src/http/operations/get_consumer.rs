//! `GET /v1/brands/{brand}/consumers/{consumer}`.

use axum::extract::State;
use utoipa_axum::routes;

use crate::http::api::Api;
use crate::http::extract::{Json, Segments};
use crate::http::problem::ProblemDetails;
use crate::http::routes::{Operation, Scope};
use crate::pipeline::{ConsumerView, Role};

/// Show what is stored of a consumer
///
/// Stored and returned fields, each with its labels. Only the consumer's own brand can read it.
#[utoipa::path(
    get,
    path = "/v1/brands/{brand}/consumers/{consumer}",
    tag = "consumers",
    params(
        ("brand" = String, Path, description = "The brand's name"),
        ("consumer" = String, Path, description = "The `subject` of the consumer's events, percent-encoded"),
    ),
    responses(
        (status = 200, description = "What is stored", body = ConsumerView),
        (status = 404, description = "Nothing is stored of such a consumer", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
async fn get_consumer(
    State(api): State<Api>,
    Segments((brand, consumer)): Segments<(String, String)>,
) -> Result<Json<ConsumerView>, ProblemDetails> {
    Ok(Json(api.gateway().consumer(&brand, &consumer).await?))
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_get_consumer>(routes!(get_consumer), &[Role::Brand], Scope::Brand)
}
