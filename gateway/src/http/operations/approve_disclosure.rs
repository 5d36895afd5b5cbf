//! `POST /v1/brands/{brand}/disclosures/{id}/approve`.

use axum::extract::State;
use utoipa_axum::routes;

use crate::http::api::Api;
use crate::http::document::Document;
use crate::http::extract::{Identity, Json, Segments};
use crate::http::problem::ProblemDetails;
use crate::http::routes::{Operation, Scope};
use crate::pipeline::{ApprovalInput, DisclosureView, Role};

/// Approve an export
///
/// By another person than the one who asked, with another key. The approval holds for 30 days.
#[utoipa::path(
    post,
    path = "/v1/brands/{brand}/disclosures/{id}/approve",
    tag = "disclosures",
    params(
        ("brand" = String, Path, description = "The brand's name"),
        ("id" = String, Path, description = "The disclosure's id"),
    ),
    request_body(content = ApprovalInput, example = json!({"person": "Carl Dow"})),
    responses(
        (status = 200, description = "Approved", body = DisclosureView),
        (status = 404, description = "There is no such disclosure", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 409, description = "It is approved already", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
async fn approve_disclosure(
    State(api): State<Api>,
    Identity(caller): Identity,
    Segments((brand, id)): Segments<(String, String)>,
    Document(input): Document<ApprovalInput>,
) -> Result<Json<DisclosureView>, ProblemDetails> {
    api.complete(|gateway| async move { gateway.approve_disclosure(&brand, &id, input, &caller).await })
        .await
        .map(Json)
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_approve_disclosure>(routes!(approve_disclosure), &[Role::Operator], Scope::None)
}
