//! `GET /v1/brands/{brand}/connections/{plugin}`.

use axum::extract::State;
use utoipa_axum::routes;

use crate::http::api::Api;
use crate::http::extract::{Json, Segments};
use crate::http::problem::ProblemDetails;
use crate::http::routes::{Operation, Scope};
use crate::pipeline::{ConnectionView, Role};

/// Show a connection
///
/// Secrets are write-only: only the names of those that are set are shown.
#[utoipa::path(
    get,
    path = "/v1/brands/{brand}/connections/{plugin}",
    tag = "connections",
    params(
        ("brand" = String, Path, description = "The brand's name"),
        ("plugin" = String, Path, description = "The plugin's name"),
    ),
    responses(
        (status = 200, description = "The connection", body = ConnectionView),
        (status = 404, description = "The plugin is not switched on", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
async fn get_connection(
    State(api): State<Api>,
    Segments((brand, plugin)): Segments<(String, String)>,
) -> Result<Json<ConnectionView>, ProblemDetails> {
    Ok(Json(api.gateway().connection(&brand, &plugin)?))
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_get_connection>(routes!(get_connection), &[Role::Brand], Scope::Brand)
}
