//! `POST /v1/brands/{brand}/decisions/{slot}`.

use axum::extract::{Request, State};
use utoipa_axum::routes;

use super::accept_events::ONE;
use super::cloud_event::CloudEvent;
use crate::http::api::Api;
use crate::http::body;
use crate::http::extract::{Json, Segments};
use crate::http::problem::{Code, ProblemDetails};
use crate::http::routes::{Operation, Scope};
use crate::pipeline::{DecisionView, Role};

/// Ask for a decision
///
/// The event is stored like any other, and answered within the deadline that the plugin's manifest gives.
/// Where there is no decision, `reason` says why, and the slot's ordinary default holds. A repeated event
/// gets the decision that was recorded.
#[utoipa::path(
    post,
    path = "/v1/brands/{brand}/decisions/{slot}",
    tag = "events",
    params(
        ("brand" = String, Path, description = "The brand's name"),
        ("slot" = String, Path, description = "A slot that a plugin decides, such as `chat-button`"),
    ),
    request_body(content((CloudEvent = "application/cloudevents+json", example = json!({
        "specversion": "1.0", "id": "p-2", "source": "/site", "type": "page.viewed",
        "subject": "consumer-17", "region": "US",
        "data": {"url": "https://shop.example/cars/blue", "seconds_on_page": 40, "device_type": "phone"}
    })))),
    responses(
        (status = 200, description = "The decision, or why there is none", body = DecisionView),
        (status = 409, description = "An event of that source and id is there with another body", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "The store cannot take it now; nothing was stored", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
async fn decide(
    State(api): State<Api>,
    Segments((brand, slot)): Segments<(String, String)>,
    request: Request,
) -> Result<Json<DecisionView>, ProblemDetails> {
    if !body::is_media_type(request.headers(), ONE) {
        return Err(ProblemDetails::new(
            Code::UnsupportedMediaType,
            format!("a decision takes one event as `{ONE}`, in UTF-8; say so in `Content-Type`"),
        ));
    }
    let body = body::read(request, api.options().max_body).await?;
    api.complete(|gateway| async move { gateway.decide(&brand, &slot, &body).await }).await.map(Json)
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_decide>(routes!(decide), &[Role::Source], Scope::Brand)
}
