//! `DELETE /v1/brands/{brand}/connections/{plugin}/rollout`.

use axum::extract::State;
use utoipa_axum::routes;

use crate::http::api::Api;
use crate::http::extract::{Identity, Json, Segments};
use crate::http::problem::ProblemDetails;
use crate::http::routes::{Operation, Scope};
use crate::pipeline::{ConnectionView, Role};

/// End a rollout
///
/// Every consumer gets the release that stands.
#[utoipa::path(
    delete,
    path = "/v1/brands/{brand}/connections/{plugin}/rollout",
    tag = "connections",
    params(
        ("brand" = String, Path, description = "The brand's name"),
        ("plugin" = String, Path, description = "The plugin's name"),
    ),
    responses(
        (status = 200, description = "The connection as it is now", body = ConnectionView),
        (status = 404, description = "There is no such plugin, release or connection", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 409, description = "It stands against what is there; the detail says what to do", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
async fn end_rollout(
    State(api): State<Api>,
    Identity(caller): Identity,
    Segments((brand, plugin)): Segments<(String, String)>,
) -> Result<Json<ConnectionView>, ProblemDetails> {
    api.complete(|gateway| async move { gateway.end_rollout(&brand, &plugin, &caller.key).await })
        .await
        .map(Json)
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_end_rollout>(routes!(end_rollout), &[Role::Brand], Scope::Brand)
}
