//! `GET /v1/flows/{id}`.

use axum::extract::State;
use utoipa_axum::routes;

use crate::http::api::Api;
use crate::http::extract::{Identity, Json, Segments};
use crate::http::problem::ProblemDetails;
use crate::http::routes::{Operation, Scope};
use crate::pipeline::{FlowView, Role};

/// Show one flow
///
/// Another brand's flow and one that is not there look the same to a brand.
#[utoipa::path(
    get,
    path = "/v1/flows/{id}",
    tag = "ledger",
    params(("id" = String, Path, description = "The flow's id")),
    responses(
        (status = 200, description = "The flow", body = FlowView),
        (status = 404, description = "There is no such flow", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
async fn get_flow(
    State(api): State<Api>,
    Identity(caller): Identity,
    Segments(id): Segments<String>,
) -> Result<Json<FlowView>, ProblemDetails> {
    Ok(Json(api.gateway().flow(&id, &caller).await?))
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_get_flow>(routes!(get_flow), &[Role::Auditor, Role::Brand], Scope::None)
}
