//! `GET /v1/plugins/{plugin}/releases/{release}/declaration`.

use axum::extract::State;
use utoipa_axum::routes;

use crate::http::api::Api;
use crate::http::extract::{Identity, Json, Segments};
use crate::http::problem::ProblemDetails;
use crate::http::routes::{Operation, Scope};
use crate::pipeline::Declaration;
use crate::pipeline::Role;

/// Show what a release declares
///
/// Its manifest, and the parts of the interface that it imports.
#[utoipa::path(
    get,
    path = "/v1/plugins/{plugin}/releases/{release}/declaration",
    tag = "plugins",
    params(
        ("plugin" = String, Path, description = "The plugin's name"),
        ("release" = String, Path, description = "A version, or the SHA-256 of the component"),
    ),
    responses(
        (status = 200, description = "What it declares", body = Object),
        (status = 404, description = "There is no such plugin, release or connection", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
async fn get_declaration(
    State(api): State<Api>,
    Identity(caller): Identity,
    Segments((plugin, release)): Segments<(String, String)>,
) -> Result<Json<Declaration>, ProblemDetails> {
    Ok(Json(api.gateway().declaration(&plugin, &release, &caller)?))
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_get_declaration>(
        routes!(get_declaration),
        &[Role::Brand, Role::Partner, Role::Operator],
        Scope::None,
    )
}
