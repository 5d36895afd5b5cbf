//! What came of a request: the reply or the error, and what to do next. It holds no URL and no header of
//! the request, because those can carry a consumer's values.

use http::StatusCode;
use http::header::RETRY_AFTER;
use std::error::Error as StdError;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// A partner's reply, as untrusted as any input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// 200 to 999; whatever the partner chose.
    pub status: u16,
    /// At most the configured number of bytes.
    pub body: Vec<u8>,
    /// The body was longer, or broke off; `body` is its beginning.
    pub truncated: bool,
    /// From `Retry-After`, seconds or a date (RFC 9110 §10.2.3), counted from when the request was made.
    pub retry_after: Option<Duration>,
}

impl Reply {
    /// Reads up to `cap` bytes of body. The status has arrived, so a body that is too long, too slow or
    /// cut off does not undo it.
    pub(super) async fn read(mut response: reqwest::Response, cap: usize, now: OffsetDateTime) -> Self {
        let status = response.status().as_u16();
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| parse_retry_after(value, now));
        let mut body = Vec::new();
        let truncated = loop {
            match response.chunk().await {
                Ok(Some(chunk)) => {
                    let room = cap.saturating_sub(body.len());
                    body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
                    if chunk.len() > room {
                        break true;
                    }
                }
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        Self { status, body, truncated, retry_after }
    }
}

fn parse_retry_after(text: &str, now: OffsetDateTime) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a u64 has is more than any cap.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = OffsetDateTime::parse(text, &Rfc2822).ok()?;
    Some(Duration::try_from(date - now).unwrap_or_default())
}

/// A request that the gateway does not send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not https.
    #[error("the URL is not https; declare an https endpoint")]
    NotHttps,
    /// An address in place of a name.
    #[error("the host is an IP address; declare a name under the partner's domains")]
    IpLiteral,
    /// `user:password@`.
    #[error("the URL holds credentials; use the endpoint's `auth`")]
    UserInfo,
    /// A port.
    #[error("the URL holds a port; partners' endpoints are reached on 443")]
    Port,
    /// All of the name's addresses are private, reserved or the gateway's own.
    #[error("the host has no public address; correct its DNS records")]
    AddressNotPublic,
}

/// Why there is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Not sent.
    #[error("the request was not sent: {0}")]
    Refused(Refusal),
    /// A secret or identifier that does not fit into a header.
    #[error("the value of `{0}` does not fit into a header; correct the connection's secrets")]
    Header(&'static str),
    /// The machine trusts nobody.
    #[error("the system has no trust roots, so no TLS connection can be verified; install them")]
    NoTrustRoots,
    /// The name does not resolve.
    #[error("the endpoint's name does not resolve; correct its DNS records")]
    Dns,
    /// The token endpoint answered, and gave no token.
    #[error(
        "the token endpoint gives no bearer token for the client's credentials; correct the connection's secrets"
    )]
    Token,
    /// Nobody answers at the address.
    #[error("the endpoint refuses connections; see whether it is up")]
    Connect,
    /// The certificate or handshake is bad.
    #[error("the endpoint's TLS handshake or certificate fails; correct its certificate")]
    Tls,
    /// No status within the limit.
    #[error("the endpoint did not answer in time; have it accept first and work afterwards")]
    Timeout,
    /// The answer is not HTTP, or the connection broke off before a status.
    #[error("the endpoint broke off or did not answer in HTTP; see what listens there")]
    Protocol,
}

impl SendError {
    /// A stable code, for the ledger and dead letters.
    pub fn code(self) -> &'static str {
        match self {
            Self::Refused(Refusal::NotHttps) => "not-https",
            Self::Refused(Refusal::IpLiteral) => "ip-literal",
            Self::Refused(Refusal::UserInfo) => "credentials-in-url",
            Self::Refused(Refusal::Port) => "port",
            Self::Refused(Refusal::AddressNotPublic) => "address-not-public",
            Self::Header(_) => "header-value",
            Self::NoTrustRoots => "no-trust-roots",
            Self::Token => "token-refused",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
        }
    }

    /// Whether the same request may fare better later. What the gateway refuses by itself does not: a
    /// second try would only be a second chance for a name that changes its addresses.
    pub fn retryable(self) -> bool {
        match self {
            Self::Refused(_) | Self::Header(_) => false,
            Self::NoTrustRoots
            | Self::Token
            | Self::Dns
            | Self::Connect
            | Self::Tls
            | Self::Timeout
            | Self::Protocol => true,
        }
    }

    /// The client's errors print the URL; only their kind is kept.
    pub(super) fn from_client(error: &reqwest::Error) -> Self {
        if let Some(refusal) = find_cause::<Refusal>(error) {
            Self::Refused(*refusal)
        } else if find_cause::<rustls::Error>(error).is_some() {
            Self::Tls
        } else if error.is_timeout() {
            Self::Timeout
        } else if error.is_dns() {
            Self::Dns
        } else if error.is_connect() {
            Self::Connect
        } else {
            Self::Protocol
        }
    }
}

/// Looks through the chain of causes, also into I/O errors, which do not name what they wrap as a cause.
fn find_cause<'e, T: StdError + 'static>(error: &'e (dyn StdError + 'static)) -> Option<&'e T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

/// What to do after a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// 2xx: the partner has it.
    Delivered,
    /// By the schedule; not before `after`, where the partner asked for it.
    Retry {
        /// From `Retry-After`.
        after: Option<Duration>,
    },
    /// 410: the endpoint is switched off, the request becomes a dead letter.
    EndpointGone,
    /// A dead letter at once, under this code.
    Failed(&'static str),
}

/// Judges a try as Standard Webhooks does: 2xx is delivered, 410 is gone, and everything else is tried
/// again until the schedule ends. That includes redirects, which are never followed (the endpoint is part
/// of what was agreed; the partner moves it by a new release), and 4xx: a partner mends a faulty deployment
/// within the schedule more often than not, and a request refused for good ends as a dead letter all the same.
/// `Retry-After` counts with 429 and 503 (RFC 6585 §4, RFC 9110 §15.6.4).
pub fn classify(result: &Result<Reply, SendError>) -> Disposition {
    match result {
        Ok(reply) => match reply.status {
            200..=299 => Disposition::Delivered,
            410 => Disposition::EndpointGone,
            429 | 503 => Disposition::Retry { after: reply.retry_after },
            _ => Disposition::Retry { after: None },
        },
        Err(error) if error.retryable() => Disposition::Retry { after: None },
        Err(error) => Disposition::Failed(error.code()),
    }
}

/// A stable code for what came of a try, for the ledger and dead letters.
pub fn outcome_code(result: &Result<Reply, SendError>) -> &'static str {
    match result {
        Err(error) => error.code(),
        Ok(reply) if reply.status == StatusCode::GONE => "gone",
        Ok(reply) => match reply.status {
            200..=299 => "delivered",
            300..=399 => "redirect",
            429 => "throttled",
            400..=499 => "client-error",
            500..=599 => "server-error",
            _ => "protocol",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    fn reply(status: u16, retry_after: Option<u64>) -> Result<Reply, SendError> {
        let retry_after = retry_after.map(Duration::from_secs);
        Ok(Reply { status, body: Vec::new(), truncated: false, retry_after })
    }

    #[test]
    fn each_outcome_has_its_disposition_and_code() {
        let retry = Disposition::Retry { after: None };
        let after_7 = Disposition::Retry { after: Some(Duration::from_secs(7)) };
        for (result, disposition, code) in [
            (reply(200, None), Disposition::Delivered, "delivered"),
            (reply(204, Some(7)), Disposition::Delivered, "delivered"),
            (reply(302, None), retry, "redirect"),
            (reply(400, Some(7)), retry, "client-error"),
            (reply(404, None), retry, "client-error"),
            (reply(410, None), Disposition::EndpointGone, "gone"),
            (reply(429, Some(7)), after_7, "throttled"),
            (reply(500, Some(7)), retry, "server-error"),
            (reply(503, Some(7)), after_7, "server-error"),
            (reply(999, None), retry, "protocol"),
            (Err(SendError::Timeout), retry, "timeout"),
            (Err(SendError::Tls), retry, "tls"),
            (
                Err(SendError::Refused(Refusal::AddressNotPublic)),
                Disposition::Failed("address-not-public"),
                "address-not-public",
            ),
            (Err(SendError::Header("webhook-id")), Disposition::Failed("header-value"), "header-value"),
        ] {
            assert_eq!((classify(&result), outcome_code(&result)), (disposition, code), "{result:?}");
        }
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let now = datetime!(2026-01-05 08:00:00 UTC);
        for (text, seconds) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Mon, 05 Jan 2026 08:01:30 GMT", Some(90)),
            ("Mon, 05 Jan 2026 07:00:00 GMT", Some(0)),
            ("soon", None),
            ("-5", None),
            ("", None),
        ] {
            assert_eq!(parse_retry_after(text, now).map(|wait| wait.as_secs()), seconds, "{text}");
        }
    }
}
