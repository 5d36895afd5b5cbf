//! `GET /v1/brands/{brand}/disclosures/{id}`.

use axum::extract::State;
use utoipa_axum::routes;

use crate::http::api::Api;
use crate::http::extract::{Json, Segments};
use crate::http::problem::ProblemDetails;
use crate::http::routes::{Operation, Scope};
use crate::pipeline::{DisclosureView, Role};

/// Show a request for an export
///
/// What the second person reads before approving it.
#[utoipa::path(
    get,
    path = "/v1/brands/{brand}/disclosures/{id}",
    tag = "disclosures",
    params(
        ("brand" = String, Path, description = "The brand's name"),
        ("id" = String, Path, description = "The disclosure's id"),
    ),
    responses(
        (status = 200, description = "As it stands", body = DisclosureView),
        (status = 404, description = "There is no such disclosure", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
async fn get_disclosure(
    State(api): State<Api>,
    Segments((brand, id)): Segments<(String, String)>,
) -> Result<Json<DisclosureView>, ProblemDetails> {
    Ok(Json(api.gateway().show_disclosure(&brand, &id).await?))
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_get_disclosure>(
        routes!(get_disclosure),
        &[Role::Operator, Role::Auditor],
        Scope::None,
    )
}
