//! `GET /v1/plugins/{plugin}/releases`.

use axum::extract::State;
use utoipa_axum::routes;

use crate::http::api::Api;
use crate::http::extract::{Identity, Json, Segments};
use crate::http::problem::ProblemDetails;
use crate::http::routes::{Operation, Scope};
use crate::pipeline::{ReleaseView, Role};

/// List a plugin's releases
#[utoipa::path(
    get,
    path = "/v1/plugins/{plugin}/releases",
    tag = "plugins",
    params(("plugin" = String, Path, description = "The plugin's name")),
    responses(
        (status = 200, description = "Every release", body = Vec<ReleaseView>),
        (status = 404, description = "There is no such plugin", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
async fn list_releases(
    State(api): State<Api>,
    Identity(caller): Identity,
    Segments(plugin): Segments<String>,
) -> Result<Json<Vec<ReleaseView>>, ProblemDetails> {
    Ok(Json(api.gateway().releases(&plugin, &caller)?))
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_list_releases>(routes!(list_releases), &[Role::Brand, Role::Partner], Scope::None)
}
