//! `POST /v1/plugins/{plugin}/releases/{release}/withdraw`.

use axum::extract::State;
use utoipa_axum::routes;

use crate::http::api::Api;
use crate::http::document::Document;
use crate::http::extract::{Identity, Json, Segments};
use crate::http::problem::ProblemDetails;
use crate::http::routes::{Operation, Scope};
use crate::pipeline::{ReasonInput, ReleaseView, Role};

/// Withdraw a release
///
/// No connection switches to it any more. Where it runs it goes on, and the brand sees that it is withdrawn.
#[utoipa::path(
    post,
    path = "/v1/plugins/{plugin}/releases/{release}/withdraw",
    tag = "plugins",
    params(
        ("plugin" = String, Path, description = "The plugin's name"),
        ("release" = String, Path, description = "A version, or the SHA-256 of the component"),
    ),
    request_body(content = ReasonInput, example = json!({"reason": "it loses leads with an apostrophe"})),
    responses(
        (status = 200, description = "The release as it is now", body = ReleaseView),
        (status = 404, description = "There is no such plugin, release or connection", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 409, description = "It stands against what is there; the detail says what to do", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
async fn withdraw_release(
    State(api): State<Api>,
    Identity(caller): Identity,
    Segments((plugin, release)): Segments<(String, String)>,
    Document(input): Document<ReasonInput>,
) -> Result<Json<ReleaseView>, ProblemDetails> {
    api.complete(|gateway| async move { gateway.withdraw_release(&plugin, &release, input, &caller).await })
        .await
        .map(Json)
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_withdraw_release>(routes!(withdraw_release), &[Role::Partner], Scope::Partner)
}
