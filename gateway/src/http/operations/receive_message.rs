//! `POST /v1/inbound/{brand}/{plugin}`.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use utoipa_axum::routes;

use crate::http::api::Api;
use crate::http::body;
use crate::http::extract::Segments;
use crate::http::problem::{Code, ProblemDetails};
use crate::http::routes::{Operation, Scope};
use crate::pipeline::Signed;

/// The media type that messages have.
const JSON: &str = "application/json";

/// Send a message to a plugin
///
/// For partners. Signed by Standard Webhooks: `v1` with the connection's inbound secret, or `v1a` with a key of
/// the partner's record; sent within five minutes of its `webhook-timestamp`. A message that was taken is not
/// taken again. It is answered once it is stored and worked on afterwards; what becomes of it is the brand's to see, so
/// every message is answered alike.
#[utoipa::path(
    post,
    path = "/v1/inbound/{brand}/{plugin}",
    tag = "partners",
    params(
        ("brand" = String, Path, description = "The brand's name"),
        ("plugin" = String, Path, description = "The plugin's name"),
        ("webhook-id" = String, Header, description = "The message's own id; the same through all tries"),
        ("webhook-timestamp" = String, Header, description = "Seconds since 1970"),
        ("webhook-signature" = String, Header, description = "`v1,BASE64` or `v1a,BASE64`; several apart by spaces"),
    ),
    request_body(content((Object = "application/json", example = json!({
        "member": {"ref": "5b0a2f6c9d3e4f708192a3b4c5d6e7f8", "tier": "gold"}
    })))),
    responses(
        (status = 202, description = "Taken, now or before"),
        (status = 401, description = "Not verifiably the partner's", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "It cannot be taken now; send it again", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
async fn receive_message(
    State(api): State<Api>,
    Segments((brand, plugin)): Segments<(String, String)>,
    request: Request,
) -> Result<StatusCode, ProblemDetails> {
    let headers = request.headers().clone();
    if !body::is_media_type(&headers, JSON) {
        return Err(ProblemDetails::new(
            Code::UnsupportedMediaType,
            format!("a message is `{JSON}`, in UTF-8; say so in `Content-Type`"),
        ));
    }
    let (Some(id), Some(timestamp), Some(signature)) = (
        only(&headers, "webhook-id"),
        only(&headers, "webhook-timestamp"),
        only(&headers, "webhook-signature"),
    ) else {
        return Err(ProblemDetails::new(
            Code::Unsigned,
            "send each of the headers `webhook-id`, `webhook-timestamp` and `webhook-signature` once",
        ));
    };
    let body = body::read(request, api.options().max_body).await?;
    api.complete(|gateway| async move {
        let signed = Signed { id: &id, timestamp: &timestamp, signature: &signature };
        gateway.inbound(&brand, &plugin, signed, &body).await
    })
    .await?;
    Ok(StatusCode::ACCEPTED)
}

/// The one value of a header.
fn only(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok().map(str::to_owned),
        _ => None,
    }
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_receive_message>(routes!(receive_message), &[], Scope::None)
}
