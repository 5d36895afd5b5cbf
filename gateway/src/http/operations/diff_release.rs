//! `GET /v1/plugins/{plugin}/releases/{release}/diff`.

use axum::extract::State;
use serde::Deserialize;
use utoipa_axum::routes;

use crate::http::api::Api;
use crate::http::extract::{Identity, Json, Parameters, Segments};
use crate::http::problem::ProblemDetails;
use crate::http::routes::{Operation, Scope};
use crate::pipeline::Difference;
use crate::pipeline::Role;

/// What it is compared with.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct From {
    /// The other release: its version, or the SHA-256 of its component.
    from: String,
}

/// Say what a release changes
///
/// Against an earlier one, in plain words; each change is `wider`, `narrower` or `equal`.
#[utoipa::path(
    get,
    path = "/v1/plugins/{plugin}/releases/{release}/diff",
    tag = "plugins",
    params(
        ("plugin" = String, Path, description = "The plugin's name"),
        ("release" = String, Path, description = "A version, or the SHA-256 of the component"),
        From,
    ),
    responses(
        (status = 200, description = "What changes", body = Difference),
        (status = 404, description = "There is no such plugin, release or connection", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
async fn diff_release(
    State(api): State<Api>,
    Identity(caller): Identity,
    Segments((plugin, release)): Segments<(String, String)>,
    Parameters(From { from }): Parameters<From>,
) -> Result<Json<Difference>, ProblemDetails> {
    Ok(Json(api.gateway().difference(&plugin, &from, &release, &caller)?))
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_diff_release>(
        routes!(diff_release),
        &[Role::Brand, Role::Partner, Role::Operator],
        Scope::None,
    )
}
