//! The headers that a plugin may set on a request. Those that frame, route or authenticate it are the
//! gateway's, whatever a manifest declares.

use super::error::{Place, PlacingError};
use super::render::{Encoding, render};
use super::{MAX_HEADER_BYTES, ValueLookup};
use crate::boundary::Part;
use crate::manifest::{Auth, Endpoint};
use http::{HeaderName, HeaderValue};

/// Never a plugin's: RFC 9110 (`Host`, `Authorization`, `User-Agent`, `Expect`, connection control),
/// RFC 9112 (framing), proxies' and clients' credentials.
const RESERVED: &[&str] = &[
    "authorization",
    "connection",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];
/// Never a plugin's either: `Content-*` (RFC 9110 §8), proxy control, Standard Webhooks, and what proxies
/// in front of a partner are believed about.
const RESERVED_PREFIXES: &[&str] = &["content-", "proxy-", "webhook-", "x-forwarded-"];

pub(super) fn assemble<'p>(
    headers: &'p [(String, Vec<Part>)],
    endpoint: &Endpoint,
    values: ValueLookup<'_, '_>,
    placed: &mut Vec<&'p str>,
) -> Result<Vec<(HeaderName, HeaderValue)>, PlacingError> {
    let bad = |(index, (name, _)): &(usize, &(String, Vec<Part>))| {
        declared(name, endpoint).is_none()
            || headers.iter().take(*index).any(|(earlier, _)| earlier.eq_ignore_ascii_case(name))
    };
    let count = headers.iter().enumerate().filter(bad).count();
    let undeclared = |count| PlacingError::HeadersNotDeclared { endpoint: endpoint.name.clone(), count };
    if count > 0 {
        return Err(undeclared(count));
    }
    headers
        .iter()
        .map(|(name, parts)| {
            let declared = declared(name, endpoint).ok_or_else(|| undeclared(1))?;
            let name = HeaderName::from_bytes(declared.as_bytes())
                .map_err(|_| super::manifest_fault(endpoint, "a declared header is not a header name"))?;
            let place = Place::Header(declared.to_owned());
            let text = render(parts, Encoding::Single, &place, values, placed)?.text;
            if text.len() > MAX_HEADER_BYTES {
                return Err(PlacingError::TooLong { place, limit: MAX_HEADER_BYTES });
            }
            // Refuses every control character but the tab (RFC 9110 §5.5); UTF-8 goes as it is.
            let value = HeaderValue::from_bytes(text.as_bytes())
                .map_err(|_| PlacingError::HeaderValue { name: declared.to_owned() })?;
            Ok((name, value))
        })
        .collect()
}

/// The name as the endpoint declares it, unless it is the gateway's own.
fn declared<'e>(name: &str, endpoint: &'e Endpoint) -> Option<&'e str> {
    let declared = endpoint.headers.iter().find(|one| one.eq_ignore_ascii_case(name))?;
    let lower = declared.to_ascii_lowercase();
    let authenticates =
        matches!(&endpoint.auth, Auth::Header { name, .. } if name.eq_ignore_ascii_case(declared));
    let reserved = authenticates
        || RESERVED.contains(&lower.as_str())
        || RESERVED_PREFIXES.iter().any(|prefix| lower.starts_with(prefix));
    (!reserved).then_some(declared.as_str())
}
