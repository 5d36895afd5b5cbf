//! `GET /v1/partner/deliveries`.

use axum::extract::State;
use utoipa_axum::routes;

use crate::http::api::Api;
use crate::http::extract::{Identity, Json, Parameters};
use crate::http::problem::ProblemDetails;
use crate::http::routes::{Operation, Scope};
use crate::pipeline::{Page, PartnerDeliveryView, PartnerFilter, Role};

/// List tries to deliver to your endpoints
///
/// Newest first, with what your endpoint answered, or why it was not reached.
#[utoipa::path(
    get,
    path = "/v1/partner/deliveries",
    tag = "partner",
    params(PartnerFilter),
    responses((status = 200, description = "List tries to deliver to your endpoints", body = Page<PartnerDeliveryView>)),
)]
async fn list_partner_deliveries(
    State(api): State<Api>,
    Identity(caller): Identity,
    Parameters(filter): Parameters<PartnerFilter>,
) -> Result<Json<Page<PartnerDeliveryView>>, ProblemDetails> {
    Ok(Json(api.gateway().partner_deliveries(&filter, &caller).await?))
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_list_partner_deliveries>(
        routes!(list_partner_deliveries),
        &[Role::Partner],
        Scope::Partner,
    )
}
