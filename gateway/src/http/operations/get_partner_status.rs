//! `GET /v1/partner/status`.

use axum::extract::State;
use utoipa_axum::routes;

use crate::http::api::Api;
use crate::http::extract::{Identity, Json};
use crate::http::problem::ProblemDetails;
use crate::http::routes::{Operation, Scope};
use crate::pipeline::{PartnerStatusView, Role};

/// Show how your plugins do
///
/// By brand and plugin, over the last day.
#[utoipa::path(
    get,
    path = "/v1/partner/status",
    tag = "partner",
    responses((status = 200, description = "Show how your plugins do", body = Vec<PartnerStatusView>)),
)]
async fn get_partner_status(
    State(api): State<Api>,
    Identity(caller): Identity,
) -> Result<Json<Vec<PartnerStatusView>>, ProblemDetails> {
    Ok(Json(api.gateway().partner_status(&caller).await?))
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_get_partner_status>(routes!(get_partner_status), &[Role::Partner], Scope::Partner)
}
