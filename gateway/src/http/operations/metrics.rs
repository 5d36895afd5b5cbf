//! `GET /metrics`.

use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use utoipa_axum::routes;

use crate::http::api::Api;
use crate::http::problem::{Code, ProblemDetails};
use crate::http::routes::{Operation, Scope};
use crate::pipeline::Counts;

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
    publish(api.gateway().counts());
    Ok(([(CONTENT_TYPE, HeaderValue::from_static(TEXT))], recorder.render()).into_response())
}

/// Puts the pipeline's own counts beside the requests', when somebody looks.
fn publish(counts: Counts) {
    ::metrics::counter!("gateway_events_total").absolute(counts.events);
    ::metrics::counter!("gateway_calls_total").absolute(counts.calls);
    ::metrics::counter!("gateway_field_verdicts_total", "verdict" => "allow").absolute(counts.allow);
    ::metrics::counter!("gateway_field_verdicts_total", "verdict" => "transform").absolute(counts.transform);
    ::metrics::counter!("gateway_field_verdicts_total", "verdict" => "withhold").absolute(counts.withhold);
    ::metrics::counter!("gateway_deliveries_total", "outcome" => "delivered").absolute(counts.delivered);
    ::metrics::counter!("gateway_deliveries_total", "outcome" => "failed").absolute(counts.failed);
    ::metrics::counter!("gateway_violations_total").absolute(counts.violations);
    ::metrics::counter!("gateway_flows_total").absolute(counts.flows);
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_metrics>(routes!(metrics), &[], Scope::None)
}
