//! `DELETE /v1/brands/{brand}/connections/{plugin}`.

use axum::extract::State;
use axum::http::StatusCode;
use utoipa_axum::routes;

use crate::http::api::Api;
use crate::http::extract::{Identity, Segments};
use crate::http::problem::ProblemDetails;
use crate::http::routes::{Operation, Scope};
use crate::pipeline::Role;

/// Switch a plugin off
///
/// The next decision anywhere goes by it: work and requests that wait already are dropped.
#[utoipa::path(
    delete,
    path = "/v1/brands/{brand}/connections/{plugin}",
    tag = "connections",
    params(
        ("brand" = String, Path, description = "The brand's name"),
        ("plugin" = String, Path, description = "The plugin's name"),
    ),
    responses(
        (status = 204, description = "It is off"),
        (status = 404, description = "The plugin is not switched on", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
async fn delete_connection(
    State(api): State<Api>,
    Identity(caller): Identity,
    Segments((brand, plugin)): Segments<(String, String)>,
) -> Result<StatusCode, ProblemDetails> {
    api.complete(|gateway| async move { gateway.delete_connection(&brand, &plugin, &caller.key).await })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_delete_connection>(routes!(delete_connection), &[Role::Brand], Scope::Brand)
}
