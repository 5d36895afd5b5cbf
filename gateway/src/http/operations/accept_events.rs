//! `POST /v1/brands/{brand}/events`.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use utoipa_axum::routes;

use super::cloud_event::CloudEvent;
use crate::http::api::Api;
use crate::http::body;
use crate::http::extract::{Json, Segments};
use crate::http::problem::{Code, ProblemDetails};
use crate::http::routes::{Operation, Scope};
use crate::pipeline::{Accepted, Role};

/// One event (CloudEvents JSON event format, section 3).
pub(super) const ONE: &str = "application/cloudevents+json";
/// A batch (the same, section 4).
const BATCH: &str = "application/cloudevents-batch+json";

/// Accept one event or a batch
///
/// Answered only once all of it is durable, with the work to do for each connection. A bad event refuses
/// its whole batch and is named by its pointer; nothing of the batch is then stored.
#[utoipa::path(
    post,
    path = "/v1/brands/{brand}/events",
    tag = "events",
    params(("brand" = String, Path, description = "The brand's name")),
    request_body(content(
        (CloudEvent = "application/cloudevents+json", example = json!({
            "specversion": "1.0", "id": "c-1001", "source": "/chat", "type": "chat.ended",
            "subject": "consumer-17", "time": "2026-03-01T12:00:00Z", "region": "US",
            "data": {
                "conversation": "v-1",
                "transcript": [{"speaker": "consumer", "text": "Is the blue one still there?"}]
            }
        })),
        (Vec<CloudEvent> = "application/cloudevents-batch+json", example = json!([{
            "specversion": "1.0", "id": "p-1", "source": "/site", "type": "page.viewed",
            "subject": "consumer-17", "data": {"url": "https://shop.example/", "seconds_on_page": 12}
        }]))
    )),
    responses(
        (status = 202, description = "Durable; what was there already counts as a duplicate", body = Accepted),
        (status = 409, description = "An event of that source and id is there with another body", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "The store cannot take it now; nothing was stored", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
async fn accept_events(
    State(api): State<Api>,
    Segments(brand): Segments<String>,
    request: Request,
) -> Result<(StatusCode, Json<Accepted>), ProblemDetails> {
    let batch = if body::is_media_type(request.headers(), ONE) {
        false
    } else if body::is_media_type(request.headers(), BATCH) {
        true
    } else {
        return Err(ProblemDetails::new(
            Code::UnsupportedMediaType,
            format!(
                "events are `{ONE}` (one) or `{BATCH}` (an array), in UTF-8; say which in `Content-Type`"
            ),
        ));
    };
    let body = body::read(request, api.options().max_body).await?;
    let accepted = api.complete(|gateway| async move { gateway.accept(&brand, &body, batch).await }).await?;
    Ok((StatusCode::ACCEPTED, Json(accepted)))
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_accept_events>(routes!(accept_events), &[Role::Source], Scope::Brand)
}
