//! `DELETE /v1/plugins/{plugin}/releases/{release}/block`.

use axum::extract::State;
use utoipa_axum::routes;

use crate::http::api::Api;
use crate::http::extract::{Identity, Json, Segments};
use crate::http::problem::ProblemDetails;
use crate::http::routes::{Operation, Scope};
use crate::pipeline::{ReleaseView, Role};

/// Unblock a release
///
/// What waits for it runs.
#[utoipa::path(
    delete,
    path = "/v1/plugins/{plugin}/releases/{release}/block",
    tag = "plugins",
    params(
        ("plugin" = String, Path, description = "The plugin's name"),
        ("release" = String, Path, description = "A version, or the SHA-256 of the component"),
    ),
    responses(
        (status = 200, description = "The release as it is now", body = ReleaseView),
        (status = 404, description = "There is no such plugin, release or connection", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 409, description = "It stands against what is there; the detail says what to do", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
async fn unblock_release(
    State(api): State<Api>,
    Identity(caller): Identity,
    Segments((plugin, release)): Segments<(String, String)>,
) -> Result<Json<ReleaseView>, ProblemDetails> {
    api.complete(|gateway| async move { gateway.unblock_release(&plugin, &release, &caller).await })
        .await
        .map(Json)
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_unblock_release>(routes!(unblock_release), &[Role::Operator], Scope::None)
}
