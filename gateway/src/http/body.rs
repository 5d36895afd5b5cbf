//! Reading a request's body: media type, encoding, size and time. It may not look into the bytes.

use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, EXPECT};
use http_body_util::BodyExt;

use super::problem::{Code, ProblemDetails};

/// How long a body may take to arrive. A component of 32 MiB takes this long at 9 Mbit/s; a client that
/// trickles holds its connection no longer.
const ARRIVAL: Duration = Duration::from_secs(30);

/// Bytes beyond its limit that a body is read on for, and thrown away. A connection that is closed while its
/// client still writes is reset, and the client never sees the refusal.
const DRAINED: usize = 8 * 1024 * 1024;
/// How long for.
const DRAINING: Duration = Duration::from_secs(2);

/// Reads the whole body, refusing one over `limit` bytes.
pub(super) async fn read(request: Request, limit: usize) -> Result<Bytes, ProblemDetails> {
    read_within(request, limit, ARRIVAL).await
}

async fn read_within(request: Request, limit: usize, arrival: Duration) -> Result<Bytes, ProblemDetails> {
    if request.headers().contains_key(CONTENT_ENCODING) {
        return Err(ProblemDetails::new(
            Code::UnsupportedMediaType,
            "the body has a `Content-Encoding`; send it unencoded",
        ));
    }
    // A client that asks first has sent nothing yet, and is told no.
    let asks_first = request.headers().contains_key(EXPECT);
    let mut body = request.into_body();
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit {
        if !asks_first && announced - limit <= DRAINED {
            drain(body).await;
        }
        return Err(too_large(limit));
    }
    match tokio::time::timeout(arrival, collect(&mut body, limit)).await {
        Ok(Ok(Some(bytes))) => Ok(bytes),
        Ok(Ok(None)) => {
            drain(body).await;
            Err(too_large(limit))
        }
        Ok(Err(_)) => Err(ProblemDetails::new(Code::Malformed, "the body ended before its announced length")),
        Err(_) => Err(ProblemDetails::new(
            Code::RequestTimeout,
            format!("the body did not arrive within {} seconds", arrival.as_secs()),
        )),
    }
}

/// The body's bytes; none where there are more than `limit`.
async fn collect(body: &mut Body, limit: usize) -> Result<Option<Bytes>, axum::Error> {
    let mut bytes: Vec<u8> = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if bytes.len() + data.len() > limit {
            return Ok(None);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Some(Bytes::from(bytes)))
}

/// Reads on and keeps nothing, within bounds.
async fn drain(mut body: Body) {
    let read_on = async {
        let mut left = DRAINED;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(DRAINING, read_on).await;
}

fn too_large(limit: usize) -> ProblemDetails {
    ProblemDetails::new(
        Code::TooLarge,
        format!("the body has more bytes than the {limit} that this operation takes"),
    )
}

/// Whether the one `Content-Type` is `expected`, in UTF-8 where it names a charset (RFC 9110, section 8.3).
pub(super) fn is_media_type(headers: &HeaderMap, expected: &str) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let Ok(value) = value.to_str() else { return false };
    let mut parts = value.split(';').map(str::trim);
    parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case(expected))
        && parts.all(|parameter| match parameter.split_once('=') {
            Some((name, charset)) if name.trim().eq_ignore_ascii_case("charset") => {
                charset.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
            }
            _ => true,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_is_compared_without_case_and_only_in_utf_8() {
        for (values, expected) in [
            (&["application/json"][..], true),
            (&["Application/JSON"], true),
            (&["application/json; charset=utf-8"], true),
            (&["application/json;charset=\"UTF-8\""], true),
            (&["application/json; profile=x"], true),
            (&["application/json; charset=latin-1"], false),
            (&["application/jsonx"], false),
            (&["application/cloudevents+json"], false),
            (&["application/json", "application/json"], false),
            (&[""], false),
            (&[], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_TYPE, value.parse().unwrap());
            }
            assert_eq!(is_media_type(&headers, "application/json"), expected, "{values:?}");
        }
    }

    async fn code(body: Body, encoding: Option<&str>) -> Option<Code> {
        let mut request = Request::new(body);
        if let Some(encoding) = encoding {
            request.headers_mut().insert(CONTENT_ENCODING, encoding.parse().unwrap());
        }
        read_within(request, 8, Duration::from_millis(50)).await.err().map(|problem| problem.code())
    }

    fn chunks(chunks: Vec<Result<&'static [u8], std::io::Error>>) -> Body {
        Body::from_stream(futures::stream::iter(chunks))
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit_and_no_further() {
        assert_eq!(code(Body::empty(), None).await, None);
        assert_eq!(code(Body::from("12345678"), None).await, None);
        assert_eq!(code(Body::from("123456789"), None).await, Some(Code::TooLarge));
        assert_eq!(code(chunks(vec![Ok(b"12345"), Ok(b"678")]), None).await, None);
        assert_eq!(code(chunks(vec![Ok(b"12345"), Ok(b"6789")]), None).await, Some(Code::TooLarge));
        let broken = chunks(vec![Ok(b"12345"), Err(std::io::Error::other("reset"))]);
        assert_eq!(code(broken, None).await, Some(Code::Malformed));
        assert_eq!(code(Body::from("1"), Some("gzip")).await, Some(Code::UnsupportedMediaType));
        assert_eq!(code(Body::from("1"), Some("identity")).await, Some(Code::UnsupportedMediaType));
    }

    #[tokio::test]
    async fn a_body_that_never_comes_is_given_up() {
        let stalled = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(code(stalled, None).await, Some(Code::RequestTimeout));
    }
}
