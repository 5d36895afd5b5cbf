//! `POST /v1/brands/{brand}/connections/{plugin}/rollback`.

use axum::extract::State;
use utoipa_axum::routes;

use crate::http::api::Api;
use crate::http::document::Document;
use crate::http::extract::{Identity, Json, Segments};
use crate::http::problem::ProblemDetails;
use crate::http::routes::{Operation, Scope};
use crate::pipeline::{ConnectionView, Role, RollbackInput};

/// Return to an earlier release
///
/// To the one before, or to any other of the plugin that is neither withdrawn nor blocked and gets no more than one that
/// the brand agreed to, at once. What was agreed to is granted again, but for what was taken away since. One that gets
/// more is refused with what that is: it needs its `grant` (`PUT …/rollout`).
#[utoipa::path(
    post,
    path = "/v1/brands/{brand}/connections/{plugin}/rollback",
    tag = "connections",
    params(
        ("brand" = String, Path, description = "The brand's name"),
        ("plugin" = String, Path, description = "The plugin's name"),
    ),
    request_body(content = RollbackInput, example = json!({"release": "1.2.0"})),
    responses(
        (status = 200, description = "The connection as it is now", body = ConnectionView),
        (status = 404, description = "There is no such plugin, release or connection", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 409, description = "It stands against what is there; the detail says what to do", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
async fn roll_back(
    State(api): State<Api>,
    Identity(caller): Identity,
    Segments((brand, plugin)): Segments<(String, String)>,
    Document(input): Document<RollbackInput>,
) -> Result<Json<ConnectionView>, ProblemDetails> {
    api.complete(|gateway| async move { gateway.roll_back(&brand, &plugin, input, &caller.key).await })
        .await
        .map(Json)
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_roll_back>(routes!(roll_back), &[Role::Brand], Scope::Brand)
}
