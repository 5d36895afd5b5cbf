//! `POST /v1/brands/{brand}/dead-letters/{id}/resend`.

use axum::extract::State;
use axum::http::StatusCode;
use utoipa_axum::routes;

use crate::http::api::Api;
use crate::http::extract::{Identity, Segments};
use crate::http::problem::ProblemDetails;
use crate::http::routes::{Operation, Scope};
use crate::pipeline::Role;

/// Send a dead letter again
///
/// Under a new decision: what is withheld by now is dropped again. Its idempotency key stays the same.
#[utoipa::path(
    post,
    path = "/v1/brands/{brand}/dead-letters/{id}/resend",
    tag = "deliveries",
    params(
        ("brand" = String, Path, description = "The brand's name"),
        ("id" = String, Path, description = "The dead letter's id"),
    ),
    responses(
        (status = 202, description = "It is due again"),
        (status = 404, description = "There is no such dead letter", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
async fn resend_dead_letter(
    State(api): State<Api>,
    Identity(caller): Identity,
    Segments((brand, id)): Segments<(String, String)>,
) -> Result<StatusCode, ProblemDetails> {
    api.complete(|gateway| async move { gateway.resend(&brand, &id, &caller.key).await }).await?;
    Ok(StatusCode::ACCEPTED)
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_resend_dead_letter>(routes!(resend_dead_letter), &[Role::Brand], Scope::Brand)
}
