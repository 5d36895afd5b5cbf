//! `GET /v1/partner/logs`.

use axum::extract::State;
use utoipa_axum::routes;

use crate::http::api::Api;
use crate::http::extract::{Identity, Json, Parameters};
use crate::http::problem::ProblemDetails;
use crate::http::routes::{Operation, Scope};
use crate::pipeline::{Page, PartnerFilter, PartnerLogView, Role};

/// List what your plugins wrote
///
/// Log lines and failure texts, newest first: each as long as all that it may derive from may go to you.
#[utoipa::path(
    get,
    path = "/v1/partner/logs",
    tag = "partner",
    params(PartnerFilter),
    responses((status = 200, description = "List what your plugins wrote", body = Page<PartnerLogView>)),
)]
async fn list_partner_logs(
    State(api): State<Api>,
    Identity(caller): Identity,
    Parameters(filter): Parameters<PartnerFilter>,
) -> Result<Json<Page<PartnerLogView>>, ProblemDetails> {
    Ok(Json(api.gateway().partner_logs(&filter, &caller).await?))
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_list_partner_logs>(routes!(list_partner_logs), &[Role::Partner], Scope::Partner)
}
