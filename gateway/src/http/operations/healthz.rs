//! `GET /healthz`.

use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::http::extract::Json;
use crate::http::routes::{Operation, Scope};

/// How the process is.
#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    /// `live` or `ready`.
    #[schema(value_type = String)]
    pub(super) status: &'static str,
}

/// Whether the process is alive
///
/// It looks at nothing else: a store that is down is no reason to restart the gateway.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "operation",
    responses((status = 200, description = "Alive", body = Health)),
)]
async fn healthz() -> Json<Health> {
    Json(Health { status: "live" })
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_healthz>(routes!(healthz), &[], Scope::None)
}
