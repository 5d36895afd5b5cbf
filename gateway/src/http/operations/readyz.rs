//! `GET /readyz`.

use axum::extract::State;
use utoipa_axum::routes;

use super::healthz::Health;
use crate::http::api::Api;
use crate::http::extract::Json;
use crate::http::problem::{Code, ProblemDetails};
use crate::http::routes::{Operation, Scope};

/// Whether the gateway can take requests
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "operation",
    responses(
        (status = 200, description = "Ready", body = Health),
        (status = 503, description = "Not ready: the store does not answer, or it shuts down", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
async fn readyz(State(api): State<Api>) -> Result<Json<Health>, ProblemDetails> {
    if api.gateway().ready().await {
        Ok(Json(Health { status: "ready" }))
    } else {
        Err(ProblemDetails::new(
            Code::Unavailable,
            "the gateway cannot take requests now; send them elsewhere",
        ))
    }
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_readyz>(routes!(readyz), &[], Scope::None)
}
