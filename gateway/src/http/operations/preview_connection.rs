//! `GET /v1/brands/{brand}/connections/{plugin}/preview`.

use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::routes;

use crate::http::api::Api;
use crate::http::extract::{Json, Parameters, Segments};
use crate::http::problem::ProblemDetails;
use crate::http::routes::{Operation, Scope};
use crate::pipeline::{Preview, Role};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct PreviewQuery {
    /// A release: its version, or the SHA-256 of its component. Not given: the one that is on, or the newest.
    release: Option<String>,
}

/// Read in plain words what a plugin would get
///
/// What would flow, to whom, under which contract and clause, and what the newest events would have sent.
/// Nothing is sent, and the plugin does not run.
#[utoipa::path(
    get,
    path = "/v1/brands/{brand}/connections/{plugin}/preview",
    tag = "connections",
    params(
        ("brand" = String, Path, description = "The brand's name"),
        ("plugin" = String, Path, description = "The plugin's name"),
        PreviewQuery,
    ),
    responses(
        (status = 200, description = "The preview", body = Preview),
        (status = 404, description = "There is no such plugin or release", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
async fn preview_connection(
    State(api): State<Api>,
    Segments((brand, plugin)): Segments<(String, String)>,
    Parameters(query): Parameters<PreviewQuery>,
) -> Result<Json<Preview>, ProblemDetails> {
    Ok(Json(api.gateway().preview(&brand, &plugin, query.release.as_deref()).await?))
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_preview_connection>(routes!(preview_connection), &[Role::Brand], Scope::Brand)
}
