//! What handlers take from the head of a request, and how they answer. Each rejection is a problem
//! (RFC 9457) that repeats nothing of the request.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::problem::{Code, ProblemDetails};
use crate::pipeline::Caller;

/// Who calls, as the guard of the route found out.
pub(super) struct Identity(pub(super) Arc<Caller>);

impl<S: Send + Sync> FromRequestParts<S> for Identity {
    type Rejection = ProblemDetails;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        // A route without roles has no caller: a handler that asks there is wrong, and gets nothing.
        parts.extensions.get().cloned().map(Self).ok_or_else(ProblemDetails::internal)
    }
}

/// The percent-decoded segments that the path template names, in its order.
pub(super) struct Segments<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Segments<T> {
    type Rejection = ProblemDetails;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let Path(segments) = Path::from_request_parts(parts, state).await.map_err(|_| undecodable_path())?;
        Ok(Self(segments))
    }
}

pub(super) fn undecodable_path() -> ProblemDetails {
    ProblemDetails::new(Code::Malformed, "a segment of the path is not percent-encoded UTF-8 (RFC 3986)")
}

/// The query parameters; the guard has refused names that the operation does not take.
pub(super) struct Parameters<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = ProblemDetails;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let Query(parameters) = Query::try_from_uri(&parts.uri).map_err(|error| {
            let message = std::error::Error::source(&error).map(ToString::to_string);
            ProblemDetails::new(Code::InvalidQuery, untyped_query(&message.unwrap_or_default()))
        })?;
        Ok(Self(parameters))
    }
}

/// What is wrong with the parameters, without what was given: of the library's message only the parameter's name is kept,
/// which is one that the operation takes.
fn untyped_query(message: &str) -> String {
    let missing = message.strip_prefix("missing field `").and_then(|rest| rest.split_once('`'));
    if let Some((name, _)) = missing {
        return format!("the query parameter `{name}` is required; `/openapi.json` has the types");
    }
    let of = message.split_once(": ").map(|(name, _)| format!(" `{name}`")).unwrap_or_default();
    format!(
        "the query parameter{of} is not of its type: numbers are decimal digits, within their range; \
         `/openapi.json` has the types"
    )
}

/// An answer in JSON.
pub(super) struct Json<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => {
                ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
            }
            Err(_) => {
                tracing::error!("an answer could not be serialised");
                ProblemDetails::internal().into_response()
            }
        }
    }
}
