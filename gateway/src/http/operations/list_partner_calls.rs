//! `GET /v1/partner/calls`.

use axum::extract::State;
use utoipa_axum::routes;

use crate::http::api::Api;
use crate::http::extract::{Identity, Json, Parameters};
use crate::http::problem::ProblemDetails;
use crate::http::routes::{Operation, Scope};
use crate::pipeline::{Page, PartnerCallView, PartnerFilter, Role};

/// List calls of your plugins
///
/// Newest first, with what each cost and why it failed. A call that did not take place is not there.
#[utoipa::path(
    get,
    path = "/v1/partner/calls",
    tag = "partner",
    params(PartnerFilter),
    responses((status = 200, description = "List calls of your plugins", body = Page<PartnerCallView>)),
)]
async fn list_partner_calls(
    State(api): State<Api>,
    Identity(caller): Identity,
    Parameters(filter): Parameters<PartnerFilter>,
) -> Result<Json<Page<PartnerCallView>>, ProblemDetails> {
    Ok(Json(api.gateway().partner_calls(&filter, &caller).await?))
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_list_partner_calls>(routes!(list_partner_calls), &[Role::Partner], Scope::Partner)
}
