//! Request metrics by route template and status. A label may never hold anything that a client chose.

use std::sync::OnceLock;
use std::time::Duration;

use axum::http::StatusCode;
use metrics::{Counter, Histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

const REQUESTS: &str = "http_requests_total";
const DURATION: &str = "http_request_duration_seconds";

/// Upper bounds of the histogram, in seconds: from a health check to the compilation of a component.
const BUCKETS: [f64; 14] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// Installs the process's metrics recorder. Call it once, before the pipeline starts and before
/// [`super::router`]: whatever was counted earlier is lost.
///
/// # Errors
/// Where another recorder is installed already.
pub fn install_metrics() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &BUCKETS)?
        .install_recorder()?;
    metrics::describe_counter!(REQUESTS, "Requests answered, by method, route template and status.");
    metrics::describe_histogram!(DURATION, "Seconds from a request's head to its answer's head.");
    Ok(handle)
}

/// Statuses that the API answers with; any other is counted as 500.
const STATUSES: [StatusCode; 17] = [
    StatusCode::OK,
    StatusCode::CREATED,
    StatusCode::ACCEPTED,
    StatusCode::NO_CONTENT,
    StatusCode::BAD_REQUEST,
    StatusCode::UNAUTHORIZED,
    StatusCode::FORBIDDEN,
    StatusCode::NOT_FOUND,
    StatusCode::METHOD_NOT_ALLOWED,
    StatusCode::REQUEST_TIMEOUT,
    StatusCode::CONFLICT,
    StatusCode::GONE,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    StatusCode::UNPROCESSABLE_ENTITY,
    StatusCode::SERVICE_UNAVAILABLE,
    StatusCode::INTERNAL_SERVER_ERROR,
];

/// The metrics of one route, looked up in the recorder once for each status and then only incremented.
pub(super) struct Meter {
    method: String,
    route: String,
    series: [OnceLock<(Counter, Histogram)>; STATUSES.len()],
}

impl Meter {
    pub(super) fn new(method: &str, route: &str) -> Self {
        Self { method: method.into(), route: route.into(), series: Default::default() }
    }

    pub(super) fn record(&self, status: StatusCode, took: Duration) {
        let index = STATUSES.iter().position(|known| *known == status).unwrap_or(STATUSES.len() - 1);
        let (Some(status), Some(series)) = (STATUSES.get(index), self.series.get(index)) else { return };
        let (requests, seconds) = series.get_or_init(|| {
            let labels = [
                ("method", self.method.clone()),
                ("route", self.route.clone()),
                ("status", status.as_str().to_owned()),
            ];
            (metrics::counter!(REQUESTS, &labels), metrics::histogram!(DURATION, &labels))
        });
        requests.increment(1);
        seconds.record(took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::problem::Code;

    #[test]
    fn every_problem_is_counted_under_its_own_status() {
        for code in Code::ALL {
            assert!(STATUSES.contains(&code.status()), "{code:?}");
        }
    }
}
