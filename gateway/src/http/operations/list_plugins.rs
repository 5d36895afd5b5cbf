//! `GET /v1/plugins`.

use axum::extract::State;
use utoipa_axum::routes;

use crate::http::api::Api;
use crate::http::extract::Json;
use crate::http::routes::{Operation, Scope};
use crate::pipeline::{ReleaseView, Role};

/// List the plugins that there are
///
/// The newest release of each, with the fields that it declares and why.
#[utoipa::path(
    get,
    path = "/v1/plugins",
    tag = "plugins",
    responses((status = 200, description = "The newest release of each plugin", body = Vec<ReleaseView>)),
)]
async fn list_plugins(State(api): State<Api>) -> Json<Vec<ReleaseView>> {
    Json(api.gateway().plugins())
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_list_plugins>(routes!(list_plugins), &[Role::Brand, Role::Partner], Scope::None)
}
