//! `PUT /v1/brands/{brand}/connections/{plugin}`.

use axum::extract::State;
use utoipa_axum::routes;

use crate::http::api::Api;
use crate::http::document::Document;
use crate::http::extract::{Identity, Json, Segments};
use crate::http::problem::ProblemDetails;
use crate::http::routes::{Operation, Scope};
use crate::pipeline::{ConnectionInput, ConnectionView, Role};

/// Switch a plugin on, or change its grant, settings or secrets
///
/// What is not granted is withheld. A secret that is left out keeps its value. `signing_secret` is in the
/// answer once, when it is made: hand it to the partner, who verifies requests with it.
#[utoipa::path(
    put,
    path = "/v1/brands/{brand}/connections/{plugin}",
    tag = "connections",
    params(
        ("brand" = String, Path, description = "The brand's name"),
        ("plugin" = String, Path, description = "The plugin's name"),
    ),
    request_body(
        content = ConnectionInput,
        example = json!({
            "release": "1.2.0",
            "grant": {"share chat.ended": ["/contact/name/first", "/contact/name/last", "/contact/email"]},
            "settings": {"host": "crm", "dealer": "northside"},
            "secrets": {"api-key": "replace-me"}
        })
    ),
    responses(
        (status = 200, description = "The connection as it is now", body = ConnectionView),
        (status = 404, description = "There is no such plugin or release", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 409, description = "Another plugin has the slot", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
async fn put_connection(
    State(api): State<Api>,
    Identity(caller): Identity,
    Segments((brand, plugin)): Segments<(String, String)>,
    Document(input): Document<ConnectionInput>,
) -> Result<Json<ConnectionView>, ProblemDetails> {
    api.complete(|gateway| async move { gateway.put_connection(&brand, &plugin, input, &caller.key).await })
        .await
        .map(Json)
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_put_connection>(routes!(put_connection), &[Role::Brand], Scope::Brand)
}
