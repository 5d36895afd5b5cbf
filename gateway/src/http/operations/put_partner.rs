//! `PUT /v1/partners/{partner}`.

use axum::extract::State;
use utoipa_axum::routes;

use crate::http::api::Api;
use crate::http::document::Document;
use crate::http::extract::{Identity, Json, Segments};
use crate::http::problem::ProblemDetails;
use crate::http::routes::{Operation, Scope};
use crate::pipeline::{PartnerInput, PartnerView, Role};

/// Create or replace a partner's record
///
/// Kept by the operator, never claimed by a plugin. Its contracts stay as they are; the next decision
/// about the partner goes by the new record, for queued work too.
#[utoipa::path(
    put,
    path = "/v1/partners/{partner}",
    tag = "control plane",
    params(("partner" = String, Path, description = "The partner's name, as its plugins' manifests give it")),
    request_body(
        content = PartnerInput,
        example = json!({"display_name": "Acme CRM", "region": "US", "domains": ["acme.example"]})
    ),
    responses((status = 200, description = "The partner as it is now, with its contracts", body = PartnerView)),
)]
async fn put_partner(
    State(api): State<Api>,
    Identity(caller): Identity,
    Segments(partner): Segments<String>,
    Document(input): Document<PartnerInput>,
) -> Result<Json<PartnerView>, ProblemDetails> {
    api.complete(|gateway| async move { gateway.put_partner(&partner, input, &caller.key).await })
        .await
        .map(Json)
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_put_partner>(routes!(put_partner), &[Role::Operator], Scope::None)
}
