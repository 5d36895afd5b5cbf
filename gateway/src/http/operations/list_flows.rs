//! `GET /v1/flows`.

use axum::extract::State;
use utoipa_axum::routes;

use crate::http::api::Api;
use crate::http::extract::{Identity, Json, Parameters};
use crate::http::problem::ProblemDetails;
use crate::http::routes::{Operation, Scope};
use crate::pipeline::{FlowFilter, FlowView, Page, Role};

/// Search the ledger
///
/// Newest first. A brand sees its own flows; an auditor all. The ledger holds no value of a consumer: names
/// of fields, labels, verdicts, reasons and a pseudonym.
#[utoipa::path(
    get,
    path = "/v1/flows",
    tag = "ledger",
    params(FlowFilter),
    responses((status = 200, description = "A page of flows", body = Page<FlowView>)),
)]
async fn list_flows(
    State(api): State<Api>,
    Identity(caller): Identity,
    Parameters(filter): Parameters<FlowFilter>,
) -> Result<Json<Page<FlowView>>, ProblemDetails> {
    Ok(Json(api.gateway().flows(&filter, &caller).await?))
}

/// The key's brand narrows what is found; the pipeline does so for whoever asks.
pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_list_flows>(routes!(list_flows), &[Role::Auditor, Role::Brand], Scope::None)
}
