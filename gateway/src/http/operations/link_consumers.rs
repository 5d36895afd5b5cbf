//! `POST /v1/brands/{brand}/consumers/{consumer}/links`.

use axum::extract::State;
use gateway_policy::Choices;
use utoipa_axum::routes;

use super::choices_schema::ChoicesSchema;
use crate::http::api::Api;
use crate::http::document::Document;
use crate::http::extract::{Identity, Json, Segments};
use crate::http::problem::ProblemDetails;
use crate::http::routes::{Operation, Scope};
use crate::pipeline::{LinkInput, Role};

/// Link a visitor with a consumer
///
/// For an id that the brand used before it knew the consumer. What either refused holds for both, at once and
/// for work already queued; what is chosen later for either holds for both. A permission stays with the id that
/// gave it; the visitor keeps only what the consumer permitted too. Linking again changes nothing.
#[utoipa::path(
    post,
    path = "/v1/brands/{brand}/consumers/{consumer}/links",
    tag = "consumers",
    params(
        ("brand" = String, Path, description = "The brand's name"),
        ("consumer" = String, Path, description = "The `subject` of the consumer's events, percent-encoded"),
    ),
    request_body(content = LinkInput, example = json!({"visitor": "visitor-7f3a"})),
    responses(
        (status = 200, description = "The consumer's choices as they are now", body = ChoicesSchema),
        (status = 409, description = "One person would have too many ids", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
async fn link_consumers(
    State(api): State<Api>,
    Identity(caller): Identity,
    Segments((brand, consumer)): Segments<(String, String)>,
    Document(input): Document<LinkInput>,
) -> Result<Json<Choices>, ProblemDetails> {
    api.complete(|gateway| async move { gateway.link(&brand, &consumer, &input, &caller).await })
        .await
        .map(Json)
}

/// A source learns first that a visitor is a known consumer, and a link only tightens.
pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_link_consumers>(
        routes!(link_consumers),
        &[Role::Brand, Role::Source],
        Scope::Brand,
    )
}
