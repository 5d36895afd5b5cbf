//! `GET /v1/brands/{brand}/consumers/{consumer}/choices`.

use axum::extract::State;
use gateway_policy::Choices;
use utoipa_axum::routes;

use super::choices_schema::ChoicesSchema;
use crate::http::api::Api;
use crate::http::extract::{Json, Segments};
use crate::http::problem::ProblemDetails;
use crate::http::routes::{Operation, Scope};
use crate::pipeline::Role;

/// Show a consumer's choices
///
/// A consumer who never chose has refused nothing and permitted nothing.
#[utoipa::path(
    get,
    path = "/v1/brands/{brand}/consumers/{consumer}/choices",
    tag = "consumers",
    params(
        ("brand" = String, Path, description = "The brand's name"),
        ("consumer" = String, Path, description = "The `subject` of the consumer's events, percent-encoded"),
    ),
    responses((status = 200, description = "The choices", body = ChoicesSchema)),
)]
async fn get_choices(
    State(api): State<Api>,
    Segments((brand, consumer)): Segments<(String, String)>,
) -> Result<Json<Choices>, ProblemDetails> {
    Ok(Json(api.gateway().choices(&brand, &consumer).await?))
}

/// A source reads them too: it may only tighten, and cannot without knowing what they are.
pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_get_choices>(routes!(get_choices), &[Role::Brand, Role::Source], Scope::Brand)
}
