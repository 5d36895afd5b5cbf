//! `PUT /v1/brands/{brand}/connections/{plugin}/rollout`.

use axum::extract::State;
use utoipa_axum::routes;

use crate::http::api::Api;
use crate::http::document::Document;
use crate::http::extract::{Identity, Json, Segments};
use crate::http::problem::ProblemDetails;
use crate::http::routes::{Operation, Scope};
use crate::pipeline::{ConnectionView, Role, RolloutInput};

/// Give a release to some consumers first
///
/// A consumer stays with its release. Where more than a few of the new release's newest calls fail, every consumer gets
/// the old one again, and the connection says so. 100 switches the connection over. A release that gets more than the
/// one that stands needs its `grant` here.
#[utoipa::path(
    put,
    path = "/v1/brands/{brand}/connections/{plugin}/rollout",
    tag = "connections",
    params(
        ("brand" = String, Path, description = "The brand's name"),
        ("plugin" = String, Path, description = "The plugin's name"),
    ),
    request_body(content = RolloutInput, example = json!({"release": "1.3.0", "percent": 10})),
    responses(
        (status = 200, description = "The connection as it is now", body = ConnectionView),
        (status = 404, description = "There is no such plugin, release or connection", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 409, description = "It stands against what is there; the detail says what to do", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
async fn put_rollout(
    State(api): State<Api>,
    Identity(caller): Identity,
    Segments((brand, plugin)): Segments<(String, String)>,
    Document(input): Document<RolloutInput>,
) -> Result<Json<ConnectionView>, ProblemDetails> {
    api.complete(|gateway| async move { gateway.put_rollout(&brand, &plugin, input, &caller.key).await })
        .await
        .map(Json)
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_put_rollout>(routes!(put_rollout), &[Role::Brand], Scope::Brand)
}
