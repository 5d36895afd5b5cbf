//! `GET /v1/flows/{id}/recording`.

use axum::extract::State;
use utoipa_axum::routes;

use crate::http::api::Api;
use crate::http::extract::{Identity, Json, Segments};
use crate::http::problem::ProblemDetails;
use crate::http::routes::{Operation, Scope};
use crate::pipeline::{RecordingView, Role};

/// Read a call as a case to be replayed
///
/// A brand reads its own calls whole. A partner reads those of its own plugins that `/v1/partner/calls` shows, with
/// made-up values for what the plugin declares and the brand grants now: the same whatever the consumer gave or chose. Beside
/// it stands what the release that ran makes of these values (`made_up`).
#[utoipa::path(
    get,
    path = "/v1/flows/{id}/recording",
    tag = "ledger",
    params(("id" = String, Path, description = "The flow's id: of a call")),
    responses(
        (status = 200, description = "The call as a case", body = RecordingView),
        (status = 404, description = "There is no such call", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 409, description = "Values cannot be made up for it, or nothing tells which slot was asked for", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 410, description = "Something of the call is not kept any more", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
async fn get_recording(
    State(api): State<Api>,
    Identity(caller): Identity,
    Segments(id): Segments<String>,
) -> Result<Json<RecordingView>, ProblemDetails> {
    Ok(Json(api.gateway().recording(&id, &caller).await?))
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_get_recording>(routes!(get_recording), &[Role::Brand, Role::Partner], Scope::None)
}
