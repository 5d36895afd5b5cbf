//! `GET /openapi.json`.

use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use utoipa_axum::routes;

use crate::http::api::Api;
use crate::http::routes::{Operation, Scope};

/// This document
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "operation",
    responses((status = 200, description = "OpenAPI 3.1", body = Object, content_type = "application/json")),
)]
async fn openapi_document(State(api): State<Api>) -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], api.document()).into_response()
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_openapi_document>(routes!(openapi_document), &[], Scope::None)
}
