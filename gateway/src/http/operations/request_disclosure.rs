//! `POST /v1/brands/{brand}/disclosures`.

use axum::extract::State;
use axum::http::StatusCode;
use utoipa_axum::routes;

use crate::http::api::Api;
use crate::http::document::Document;
use crate::http::extract::{Identity, Json, Segments};
use crate::http::problem::ProblemDetails;
use crate::http::routes::{Operation, Scope};
use crate::pipeline::{DisclosureInput, DisclosureView, Role};

/// Ask for an export to an authority
///
/// For one of the policy's reasons (clauses share.legal.i to share.legal.v), by a named person. Nothing is
/// exported before another person approves it with another key.
#[utoipa::path(
    post,
    path = "/v1/brands/{brand}/disclosures",
    tag = "disclosures",
    params(("brand" = String, Path, description = "The brand's name")),
    request_body(
        content = DisclosureInput,
        example = json!({
            "consumer": "consumer-17",
            "reason": "i",
            "scope": ["user.contact", "purchase.completed"],
            "authority": "District Court of Springfield",
            "reference": "order 2026-118",
            "person": "Ada Bell"
        })
    ),
    responses(
        (status = 201, description = "Pending", body = DisclosureView),
        (status = 404, description = "There is no such brand or consumer", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
async fn request_disclosure(
    State(api): State<Api>,
    Identity(caller): Identity,
    Segments(brand): Segments<String>,
    Document(input): Document<DisclosureInput>,
) -> Result<(StatusCode, Json<DisclosureView>), ProblemDetails> {
    let asked = api
        .complete(|gateway| async move { gateway.request_disclosure(&brand, input, &caller).await })
        .await?;
    Ok((StatusCode::CREATED, Json(asked)))
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_request_disclosure>(routes!(request_disclosure), &[Role::Operator], Scope::None)
}
