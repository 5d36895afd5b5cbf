//! `POST /v1/plugins`.

use axum::extract::{Request, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use utoipa_axum::routes;

use crate::http::api::Api;
use crate::http::body;
use crate::http::extract::{Identity, Json};
use crate::http::problem::{Code, ProblemDetails};
use crate::http::routes::{Operation, Scope};
use crate::pipeline::RELEASE_SIGNATURE;
use crate::pipeline::{ReleaseView, Role};

/// Publish a release
///
/// The body is the component with its embedded manifest, as `gateway plugin build` makes it. It is checked
/// against its manifest, the catalogue and the interface, and compiled; all that is wrong is answered at
/// once. The manifest's partner must be the key's, and one of that partner's release keys must have signed the component. No brand gets it before that brand switches it on.
#[utoipa::path(
    post,
    path = "/v1/plugins",
    tag = "plugins",
    params(("release-signature" = String, Header, description = "`v1a,BASE64`: an Ed25519 signature, by a key of the partner's record, over `integration-release`, a line feed, the component's SHA-256 as 64 lower-case hexadecimal digits, and a line feed")),
    request_body(content = Vec<u8>, content_type = "application/wasm", description = "A WebAssembly component"),
    responses(
        (status = 201, description = "Published", body = ReleaseView,
            headers(("Location" = String, description = "The plugin's releases"))),
        (status = 401, description = "No key of the partner's record signed these bytes", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 409, description = "The version is there with other bytes, or the name is another partner's", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
async fn publish_release(
    State(api): State<Api>,
    Identity(caller): Identity,
    request: Request,
) -> Result<Response, ProblemDetails> {
    if !body::is_media_type(request.headers(), "application/wasm") {
        return Err(ProblemDetails::new(
            Code::UnsupportedMediaType,
            "a release is one component as `application/wasm`; say so in `Content-Type`",
        ));
    }
    // The guard has seen to it that the key is a partner's; without one there is nothing to publish for.
    let Some(partner) = caller.partner.clone() else { return Err(ProblemDetails::internal()) };
    let signature = signature(request.headers());
    let component = body::read(request, api.options().max_component).await?;
    let release = api
        .complete(|gateway| async move {
            gateway.publish(component.into(), signature.as_deref(), &partner, &caller.key).await
        })
        .await?;
    let plugin = utf8_percent_encode(&release.plugin, NON_ALPHANUMERIC);
    let location = format!("/v1/plugins/{plugin}/releases").replace("%2D", "-");
    let location = HeaderValue::try_from(location).map_err(|_| ProblemDetails::internal())?;
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(release)).into_response())
}

/// The one value of the header.
fn signature(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(RELEASE_SIGNATURE).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok().map(str::to_owned),
        _ => None,
    }
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_publish_release>(routes!(publish_release), &[Role::Partner], Scope::Partner)
}
