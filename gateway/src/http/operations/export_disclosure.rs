//! `GET /v1/brands/{brand}/disclosures/{id}/export`.

use axum::extract::State;
use utoipa_axum::routes;

use crate::http::api::Api;
use crate::http::extract::{Identity, Json, Segments};
use crate::http::problem::ProblemDetails;
use crate::http::routes::{Operation, Scope};
use crate::pipeline::{DisclosureExport, Role};

/// Export what was approved
///
/// The fields of the consumer's stored events that are within the scope, with labels. Each export is on the
/// ledger, field by field, before it is answered.
#[utoipa::path(
    get,
    path = "/v1/brands/{brand}/disclosures/{id}/export",
    tag = "disclosures",
    params(
        ("brand" = String, Path, description = "The brand's name"),
        ("id" = String, Path, description = "The disclosure's id"),
    ),
    responses(
        (status = 200, description = "The export", body = DisclosureExport),
        (status = 404, description = "There is no such disclosure", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 409, description = "It is not approved, or not any more", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
async fn export_disclosure(
    State(api): State<Api>,
    Identity(caller): Identity,
    Segments((brand, id)): Segments<(String, String)>,
) -> Result<Json<DisclosureExport>, ProblemDetails> {
    api.complete(|gateway| async move { gateway.export_disclosure(&brand, &id, &caller).await })
        .await
        .map(Json)
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_export_disclosure>(routes!(export_disclosure), &[Role::Operator], Scope::None)
}
