//! `GET /metrics`.

use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use utoipa_axum::routes;

use crate::http::api::Api;
use crate::http::problem::{Code, ProblemDetails};
use crate::http::routes::{Operation, Scope};

/// The Prometheus text exposition format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Metrics for Prometheus
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "operation",
    responses(
        (status = 200, description = "Prometheus text exposition format 0.0.4", body = String, content_type = "text/plain"),
        (status = 404, description = "Metrics are switched off", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
async fn metrics(State(api): State<Api>) -> Result<Response, ProblemDetails> {
    let Some(recorder) = &api.options().metrics else {
        return Err(ProblemDetails::new(
            Code::NotFound,
            "metrics are switched off; the configuration has them",
        ));
    };
    Ok(([(CONTENT_TYPE, HeaderValue::from_static(TEXT))], recorder.render()).into_response())
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_metrics>(routes!(metrics), &[], Scope::None)
}
