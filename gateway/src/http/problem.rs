//! Problem details (RFC 9457): what every refusal looks like on the wire, and the one place where a
//! refusal of the pipeline becomes a status. It may not repeat a value of a request or a consumer.

use std::borrow::Cow;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::pipeline::{Problem, Refusal};

/// The media type of a refusal (RFC 9457, section 3).
pub(super) const PROBLEM_JSON: &str = "application/problem+json";

/// What the pipeline calls a request's body that is not the JSON it should be: such a
/// [`Refusal::Invalid`] is 400, every other one 422.
pub const THE_BODY: &str = "the body";

/// How what the pipeline calls a query parameter begins: such a [`Refusal::Invalid`] is 400, as every other
/// problem of the query.
const A_PARAMETER: &str = "query parameter ";

/// Every kind of problem that the API answers with. Each has one status and one stable type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The request, or its body, does not parse.
    Malformed,
    /// A query parameter that the operation does not take, or not in that form.
    InvalidQuery,
    /// No API key, or not a valid one.
    Unauthenticated,
    /// A partner's message or release without a valid signature.
    Unsigned,
    /// The key's role or scope does not allow it.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// The path is there, with other methods.
    MethodNotAllowed,
    /// The body took too long to arrive.
    RequestTimeout,
    /// It stands against something that is there.
    Conflict,
    /// It was there, and is not kept any more.
    Gone,
    /// The body is over its limit.
    TooLarge,
    /// The body is of another media type, or encoded.
    UnsupportedMediaType,
    /// The body parses, and says something that it may not.
    Invalid,
    /// A fault of the gateway.
    Internal,
    /// The gateway cannot take it now.
    Unavailable,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 15] = [
        Self::Malformed,
        Self::InvalidQuery,
        Self::Unauthenticated,
        Self::Unsigned,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::Conflict,
        Self::Gone,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::Invalid,
        Self::Internal,
        Self::Unavailable,
    ];

    /// The stable `type` of the problem, a reference relative to the gateway's address.
    pub fn type_reference(self) -> &'static str {
        match self {
            Self::Malformed => "/problems/malformed",
            Self::InvalidQuery => "/problems/invalid-query",
            Self::Unauthenticated => "/problems/unauthenticated",
            Self::Unsigned => "/problems/unsigned",
            Self::Forbidden => "/problems/forbidden",
            Self::NotFound => "/problems/not-found",
            Self::MethodNotAllowed => "/problems/method-not-allowed",
            Self::RequestTimeout => "/problems/request-timeout",
            Self::Conflict => "/problems/conflict",
            Self::Gone => "/problems/no-longer-kept",
            Self::TooLarge => "/problems/too-large",
            Self::UnsupportedMediaType => "/problems/unsupported-media-type",
            Self::Invalid => "/problems/invalid",
            Self::Internal => "/problems/internal",
            Self::Unavailable => "/problems/unavailable",
        }
    }

    /// Its HTTP status.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Malformed | Self::InvalidQuery => StatusCode::BAD_REQUEST,
            Self::Unauthenticated | Self::Unsigned => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Conflict => StatusCode::CONFLICT,
            Self::Gone => StatusCode::GONE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// A summary of the kind, the same for every occurrence.
    pub fn title(self) -> &'static str {
        match self {
            Self::Malformed => "The request does not parse",
            Self::InvalidQuery => "A query parameter is not valid",
            Self::Unauthenticated => "An API key is needed",
            Self::Unsigned => "It is not verifiably the partner's",
            Self::Forbidden => "The API key does not allow this",
            Self::NotFound => "There is no such thing",
            Self::MethodNotAllowed => "The method is not allowed here",
            Self::RequestTimeout => "The request took too long to arrive",
            Self::Conflict => "It conflicts with what is there",
            Self::Gone => "It is not kept any more",
            Self::TooLarge => "The body is too large",
            Self::UnsupportedMediaType => "The media type is not supported",
            Self::Invalid => "The document is not valid",
            Self::Internal => "An internal error",
            Self::Unavailable => "Not available now",
        }
    }

    /// The code for a status that something else than the API's own code answered with.
    fn for_status(status: StatusCode) -> Self {
        Self::ALL.into_iter().find(|code| code.status() == status).unwrap_or(if status.is_server_error() {
            Self::Internal
        } else {
            Self::Malformed
        })
    }
}

/// A refusal (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ProblemDetails {
    #[serde(skip)]
    #[schema(ignore)]
    code: Code,
    /// Stable; what a program decides by.
    #[schema(value_type = String, example = "/problems/invalid")]
    r#type: &'static str,
    /// The same for every occurrence of the type.
    #[schema(value_type = String, example = "The document is not valid")]
    title: &'static str,
    /// The HTTP status.
    #[schema(example = 422)]
    status: u16,
    /// The thing, the rule, the remedy. Never a value of the request.
    #[schema(value_type = String)]
    detail: Cow<'static, str>,
    /// JSON Pointer (RFC 6901) to the first thing wrong with the document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<String>,
    /// Everything wrong with the document.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<Problem>,
}

impl ProblemDetails {
    /// A problem that is not about a place in a document.
    pub(super) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            r#type: code.type_reference(),
            title: code.title(),
            status: code.status().as_u16(),
            detail: detail.into(),
            pointer: None,
            problems: Vec::new(),
        }
    }

    /// A problem of a document.
    pub(super) fn of_document(
        code: Code,
        detail: impl Into<Cow<'static, str>>,
        problems: Vec<Problem>,
    ) -> Self {
        Self {
            pointer: problems.first().map(|first| first.pointer.clone()),
            problems,
            ..Self::new(code, detail)
        }
    }

    /// Reveals nothing; whoever makes one has logged the cause.
    pub(super) fn internal() -> Self {
        Self::new(Code::Internal, "an internal error; nothing was released")
    }

    /// For a status that a part of the web framework answered with by itself.
    pub(super) fn for_status(status: StatusCode) -> Self {
        let code = Code::for_status(status);
        if code == Code::Internal {
            Self::internal()
        } else {
            Self::new(code, "the request could not be read")
        }
    }

    /// Its kind.
    pub fn code(&self) -> Code {
        self.code
    }
}

impl From<Refusal> for ProblemDetails {
    fn from(refusal: Refusal) -> Self {
        let code = match &refusal {
            Refusal::NotFound { .. } => Code::NotFound,
            Refusal::Invalid { what, problems } => {
                let whole = problems.iter().all(|problem| problem.pointer.is_empty());
                if what == THE_BODY && whole {
                    Code::Malformed
                } else if what.starts_with(A_PARAMETER) {
                    Code::InvalidQuery
                } else {
                    Code::Invalid
                }
            }
            Refusal::Conflict { .. } => Code::Conflict,
            Refusal::Gone { .. } => Code::Gone,
            Refusal::Forbidden { .. } => Code::Forbidden,
            Refusal::Unsigned | Refusal::UnsignedRelease { .. } => Code::Unsigned,
            Refusal::TooLarge { .. } => Code::TooLarge,
            Refusal::Unavailable => Code::Unavailable,
            Refusal::Internal => return Self::internal(),
        };
        match refusal {
            Refusal::Invalid { what, problems } => {
                let detail = match problems.as_slice() {
                    [only] => format!("{what} is not valid: {only}"),
                    many => format!("{what} is not valid: {} problems, each under `problems`", many.len()),
                };
                Self::of_document(code, detail, problems)
            }
            other => Self::new(code, other.to_string()),
        }
    }
}

impl IntoResponse for ProblemDetails {
    fn into_response(self) -> Response {
        // A struct of strings and numbers: serialising cannot fail, and an empty body says no less.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (self.code.status(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        match self.code {
            // RFC 6750, section 3: the scheme with at least one parameter.
            Code::Unauthenticated => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"gateway\""));
            }
            Code::Unavailable => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn invalid(what: &str, pointers: &[&str]) -> Refusal {
        Refusal::Invalid {
            what: what.into(),
            problems: pointers
                .iter()
                .map(|p| Problem { pointer: (*p).into(), detail: "rule".into() })
                .collect(),
        }
    }

    #[test]
    fn each_refusal_has_its_status_type_and_pointer() {
        for (refusal, status, code, pointer) in [
            (Refusal::NotFound { what: "plugin x".into() }, 404, Code::NotFound, None),
            (invalid("the event", &["/data/x"]), 422, Code::Invalid, Some("/data/x")),
            (invalid("the grant", &["/grant/a", "/grant/b"]), 422, Code::Invalid, Some("/grant/a")),
            (invalid("query parameter limit", &[""]), 400, Code::InvalidQuery, Some("")),
            (invalid(THE_BODY, &[""]), 400, Code::Malformed, Some("")),
            (invalid(THE_BODY, &["/0"]), 422, Code::Invalid, Some("/0")),
            (Refusal::Conflict { message: "m".into() }, 409, Code::Conflict, None),
            (Refusal::Gone { message: "m".into() }, 410, Code::Gone, None),
            (Refusal::Forbidden { message: "m".into() }, 403, Code::Forbidden, None),
            (Refusal::TooLarge { what: "the body", limit: 3 }, 413, Code::TooLarge, None),
            (Refusal::Unavailable, 503, Code::Unavailable, None),
            (Refusal::Internal, 500, Code::Internal, None),
        ] {
            let name = format!("{refusal:?}");
            let problem = ProblemDetails::from(refusal);
            assert_eq!(problem.status, status, "{name}");
            assert_eq!(problem.code, code, "{name}");
            assert_eq!(problem.pointer.as_deref(), pointer, "{name}");
        }
    }

    #[test]
    fn a_problem_on_the_wire_has_the_members_of_rfc_9457() {
        let response = ProblemDetails::from(Refusal::Unavailable).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[CONTENT_TYPE], PROBLEM_JSON);
        assert_eq!(response.headers()[RETRY_AFTER], "1");
        let wire = serde_json::to_value(ProblemDetails::from(invalid("the grant", &["/a", "/b"]))).unwrap();
        assert_eq!(
            wire,
            serde_json::json!({
                "type": "/problems/invalid",
                "title": "The document is not valid",
                "status": 422,
                "detail": "the grant is not valid: 2 problems, each under `problems`",
                "pointer": "/a",
                "problems": [{"pointer": "/a", "detail": "rule"}, {"pointer": "/b", "detail": "rule"}],
            })
        );
    }

    #[test]
    fn types_are_unique() {
        let types: BTreeSet<_> = Code::ALL.into_iter().map(Code::type_reference).collect();
        assert_eq!(types.len(), Code::ALL.len());
    }

    #[test]
    fn a_status_of_the_framework_gets_a_problem_of_that_status() {
        for (status, expected) in
            [(400, 400), (404, 404), (405, 405), (413, 413), (415, 415), (500, 500), (418, 400), (599, 500)]
        {
            let problem = ProblemDetails::for_status(StatusCode::from_u16(status).unwrap());
            assert_eq!(problem.status, expected, "{status}");
        }
    }
}
