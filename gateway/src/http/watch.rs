//! What surrounds every request: its id, its metrics, its line in the log, the headers of every answer,
//! and the end of a panic. It names the route template only, never the path, the query or a header that
//! a client sent: a path can hold a consumer's e-mail address.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use tracing::Instrument;

use super::meter::Meter;
use super::problem::{PROBLEM_JSON, ProblemDetails};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Watches the requests of one route.
pub(super) struct Watch {
    method: String,
    route: String,
    meter: Meter,
}

impl Watch {
    pub(super) fn new(method: &str, route: &str) -> Self {
        Self { method: method.into(), route: route.into(), meter: Meter::new(method, route) }
    }

    /// Runs `answer` and finishes what it answered.
    pub(super) async fn around(&self, answer: impl Future<Output = Response>) -> Response {
        let began = Instant::now();
        let id = RequestId::next();
        // At the level of errors, so that one deep in the pipeline still names its request.
        let span =
            tracing::error_span!("request", id = id.as_str(), method = self.method, route = self.route);
        async {
            // A future that panicked is dropped here and never polled again.
            let mut response = AssertUnwindSafe(answer).catch_unwind().await.unwrap_or_else(|_| {
                // The payload of a panic may hold anything, so it is not looked at.
                tracing::error!("a handler panicked");
                ProblemDetails::internal().into_response()
            });
            conform(&mut response);
            let headers = response.headers_mut();
            headers.insert(X_REQUEST_ID, id.header());
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            let (status, took) = (response.status(), began.elapsed());
            self.meter.record(status, took);
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            if status.is_server_error() {
                tracing::warn!(status = status.as_u16(), micros, "answered");
            } else {
                tracing::debug!(status = status.as_u16(), micros, "answered");
            }
            response
        }
        .instrument(span)
        .await
    }
}

/// An error that is not a problem comes from the web framework; its text could repeat what was sent.
fn conform(response: &mut Response) {
    let status = response.status();
    let failed = status.is_client_error() || status.is_server_error();
    if failed && response.headers().get(CONTENT_TYPE).is_none_or(|value| value != PROBLEM_JSON) {
        *response = ProblemDetails::for_status(status).into_response();
    }
}

/// Names one request in answers and logs. Unique within a process and, but for a chance of one in 2³²
/// for each pair, between processes. What a client sends as `X-Request-Id` is not taken over: it would
/// reach the log.
struct RequestId([u8; RequestId::LENGTH]);

impl RequestId {
    /// Hexadecimal digits: 32 bits of the process, 64 of the request.
    const LENGTH: usize = 24;

    fn next() -> Self {
        static PROCESS: std::sync::OnceLock<(u32, u64)> = std::sync::OnceLock::new();
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let (process, key) = *PROCESS.get_or_init(|| {
            // Without entropy the ids are still unique within the process, which is what they are for.
            (getrandom::u32().unwrap_or_default(), getrandom::u64().unwrap_or_default())
        });
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let mut digits = [b'0'; Self::LENGTH];
        let bits = (u128::from(process) << 64) | u128::from(scramble(count.wrapping_add(key)));
        for (place, digit) in digits.iter_mut().rev().enumerate() {
            let nibble = (bits >> (4 * place)) as u8 & 0xf;
            *digit = if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
        }
        Self(digits)
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    fn header(&self) -> HeaderValue {
        HeaderValue::from_bytes(&self.0).unwrap_or(HeaderValue::from_static("-"))
    }
}

/// A bijection of 64 bits (xor-shifts and odd multipliers), so that ids stay unique without telling a
/// client how many requests there were.
fn scramble(mut x: u64) -> u64 {
    x ^= x >> 30;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 27;
    x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// What methods are called in metrics and logs. A client may invent others: those are the last.
pub(super) const METHOD_LABELS: [&str; 8] =
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "OTHER"];

/// The place of a method's label in [`METHOD_LABELS`].
pub(super) fn method_label(method: &axum::http::Method) -> usize {
    METHOD_LABELS.iter().position(|label| *label == method.as_str()).unwrap_or(METHOD_LABELS.len() - 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::http::StatusCode;

    use super::*;

    #[test]
    fn request_ids_are_unique_hexadecimal_and_do_not_count() {
        let ids: Vec<_> = (0..1000).map(|_| RequestId::next().as_str().to_owned()).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
        assert!(ids.iter().all(|id| id.len() == 24 && id.bytes().all(|b| b.is_ascii_hexdigit())));
        assert_ne!(ids[0][8..16], ids[1][8..16]);
    }

    #[tokio::test]
    async fn every_answer_gets_its_headers() {
        let watch = Watch::new("GET", "/x");
        let response = watch.around(async { StatusCode::NO_CONTENT.into_response() }).await;
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        assert_eq!(response.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(response.headers()[X_REQUEST_ID].len(), 24);
    }

    #[tokio::test]
    async fn a_panic_is_a_500_that_reveals_nothing() {
        let watch = Watch::new("GET", "/x");
        let response = watch.around(async { panic!("jo@example.com") }).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        assert!(!String::from_utf8_lossy(&body).contains("jo@"));
    }

    #[tokio::test]
    async fn an_error_of_the_framework_becomes_a_problem() {
        let watch = Watch::new("GET", "/x");
        let response =
            watch.around(async { (StatusCode::BAD_REQUEST, "jo@example.com").into_response() }).await;
        assert_eq!(response.headers()[CONTENT_TYPE], PROBLEM_JSON);
        let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        assert!(!String::from_utf8_lossy(&body).contains("jo@"));
    }
}
