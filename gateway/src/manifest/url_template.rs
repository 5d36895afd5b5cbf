//! The URL template of an endpoint, taken apart. It fills nothing in and resolves no name.
//!
//! A template fixes the origin as far as the partner's own domain: `{slot}` stands for one whole
//! label at the left of the host, or for one whole segment of the path, and nowhere else.

use std::collections::BTreeSet;
use std::fmt;

/// Characters of a template as a whole; longer URLs are cut by common HTTP servers.
const MAX_TEMPLATE_CHARS: usize = 2_048;
/// Octets of a host name in text form (RFC 1035 §2.3.4).
const MAX_HOST_CHARS: usize = 253;
/// Octets of a label (RFC 1035 §2.3.4).
const MAX_LABEL_CHARS: usize = 63;
/// Literal labels that must stand at the right: a slot may never choose the registrable domain.
const MIN_FIXED_LABELS: usize = 2;

/// One label of the host, left to right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelPiece {
    /// Lower case letters, digits and hyphens (RFC 952, RFC 1123).
    Literal(String),
    /// The name of a slot, filled from the connection's settings with exactly one label.
    Slot(String),
}

/// One segment of the path, left to right, without its slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SegmentPiece {
    /// `pchar` of RFC 3986 without percent-encoding; empty only as the last one (a trailing slash).
    Literal(String),
    /// The name of a slot, filled by the plugin or the settings with exactly one encoded segment.
    Slot(String),
}

/// An `https` URL whose slots are known. There is no port, no query and no userinfo in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlTemplate {
    /// At least two literals at the right end; slots only to the left of every literal.
    pub host: Vec<LabelPiece>,
    /// Empty for the path `/`.
    pub path: Vec<SegmentPiece>,
}

/// Why a template is refused. A template is the partner's own published text, so it may be named.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlTemplateError {
    #[error("the URL is longer than {MAX_TEMPLATE_CHARS} characters; shorten the template")]
    TooLong,
    #[error("the URL does not begin with `https://`; the gateway sends over TLS only")]
    NotHttps,
    #[error("the URL holds a character that is not visible ASCII, or a backslash; encode or remove it")]
    Character,
    #[error("the host holds userinfo (`@`); credentials belong in `auth`, by the name of a secret")]
    Userinfo,
    #[error("the host holds a port or an IPv6 address (`:`, `[`); name a host on the default port")]
    Port,
    #[error("the URL has a fragment (`#`), which is never sent; remove it")]
    Fragment,
    #[error("the URL has a query (`?`); put the values into the body or the path")]
    Query,
    #[error("a label of the host is empty, too long, or not lower case letters, digits and inner hyphens")]
    Label,
    #[error("the host is an address rather than a name; use a name under the partner's domains")]
    Address,
    #[error(
        "a slot in the host is not a whole label, or stands right of a fixed label; write `{{slot}}.fixed.example`"
    )]
    HostSlotPlace,
    #[error(
        "the host fixes fewer than {MIN_FIXED_LABELS} labels at its right end; write the partner's whole domain"
    )]
    NoFixedSuffix,
    #[error("the host is longer than {MAX_HOST_CHARS} characters; shorten it")]
    HostTooLong,
    #[error("a slot in the path is not a whole segment; write `/{{slot}}/`")]
    PathSlotPlace,
    #[error("a segment of the path is empty, `.`, `..`, or holds a character that needs encoding")]
    Segment,
    #[error("a slot's name is not `[a-z][a-z0-9_-]{{0,62}}`; rename it")]
    SlotName,
    #[error("the slot `{{{0}}}` stands twice; give each place its own name")]
    DuplicateSlot(String),
}

impl UrlTemplate {
    /// Takes a template apart, or says which rule it breaks.
    pub fn parse(text: &str) -> Result<Self, UrlTemplateError> {
        if text.len() > MAX_TEMPLATE_CHARS {
            return Err(UrlTemplateError::TooLong);
        }
        if text.bytes().any(|b| !b.is_ascii_graphic() || b == b'\\') {
            return Err(UrlTemplateError::Character);
        }
        let rest = text.strip_prefix("https://").ok_or(UrlTemplateError::NotHttps)?;
        if rest.contains('#') {
            return Err(UrlTemplateError::Fragment);
        }
        if rest.contains('?') {
            return Err(UrlTemplateError::Query);
        }
        let (host, path) = match rest.split_once('/') {
            Some((host, path)) => (host, Some(path)),
            None => (rest, None),
        };
        let template = Self { host: parse_host(host)?, path: path.map_or(Ok(Vec::new()), parse_path)? };
        let mut seen = BTreeSet::new();
        for slot in template.host_slots().chain(template.path_slots()) {
            if !seen.insert(slot) {
                return Err(UrlTemplateError::DuplicateSlot(slot.to_owned()));
            }
        }
        Ok(template)
    }

    /// Names of the host's slots, left to right.
    pub fn host_slots(&self) -> impl Iterator<Item = &str> {
        self.host.iter().filter_map(|piece| match piece {
            LabelPiece::Slot(name) => Some(name.as_str()),
            LabelPiece::Literal(_) => None,
        })
    }

    /// Names of the path's slots, left to right.
    pub fn path_slots(&self) -> impl Iterator<Item = &str> {
        self.path.iter().filter_map(|piece| match piece {
            SegmentPiece::Slot(name) => Some(name.as_str()),
            SegmentPiece::Literal(_) => None,
        })
    }

    /// The literal labels at the right end of the host, joined by dots: what no setting can change,
    /// and what must lie at or under one of the partner's registered domains.
    pub fn fixed_suffix(&self) -> String {
        let labels: Vec<&str> = self
            .host
            .iter()
            .filter_map(|piece| match piece {
                LabelPiece::Literal(label) => Some(label.as_str()),
                LabelPiece::Slot(_) => None,
            })
            .collect();
        labels.join(".")
    }
}

impl fmt::Display for UrlTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("https://")?;
        for (index, piece) in self.host.iter().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            match piece {
                LabelPiece::Literal(label) => f.write_str(label)?,
                LabelPiece::Slot(name) => write!(f, "{{{name}}}")?,
            }
        }
        if self.path.is_empty() {
            return f.write_str("/");
        }
        for piece in &self.path {
            match piece {
                SegmentPiece::Literal(segment) => write!(f, "/{segment}")?,
                SegmentPiece::Slot(name) => write!(f, "/{{{name}}}")?,
            }
        }
        Ok(())
    }
}

/// Whether `label` is one label of a host name, as a literal or as the value of a host slot.
pub fn is_host_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= MAX_LABEL_CHARS
        && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn parse_host(host: &str) -> Result<Vec<LabelPiece>, UrlTemplateError> {
    if host.contains('@') {
        return Err(UrlTemplateError::Userinfo);
    }
    if host.contains([':', '[', ']']) {
        return Err(UrlTemplateError::Port);
    }
    if host.len() > MAX_HOST_CHARS {
        return Err(UrlTemplateError::HostTooLong);
    }
    let mut pieces = Vec::new();
    let mut fixed = 0_usize;
    for label in host.split('.') {
        match whole_slot(label) {
            Some(name) => {
                if fixed > 0 {
                    return Err(UrlTemplateError::HostSlotPlace);
                }
                pieces.push(LabelPiece::Slot(slot_name(name)?));
            }
            None if label.contains(['{', '}']) => return Err(UrlTemplateError::HostSlotPlace),
            None if is_host_label(label) => {
                fixed = fixed.saturating_add(1);
                pieces.push(LabelPiece::Literal(label.to_owned()));
            }
            None => return Err(UrlTemplateError::Label),
        }
    }
    // The URL standard reads a host whose last label is a number, `0x…` included, as an IPv4 address.
    if let Some(LabelPiece::Literal(last)) = pieces.last()
        && (last.bytes().all(|b| b.is_ascii_digit())
            || last.strip_prefix("0x").is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit())))
    {
        return Err(UrlTemplateError::Address);
    }
    if fixed < MIN_FIXED_LABELS {
        return Err(UrlTemplateError::NoFixedSuffix);
    }
    Ok(pieces)
}

fn parse_path(path: &str) -> Result<Vec<SegmentPiece>, UrlTemplateError> {
    if path.is_empty() {
        return Ok(Vec::new());
    }
    let mut pieces = Vec::new();
    let mut segments = path.split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match whole_slot(segment) {
            Some(name) => pieces.push(SegmentPiece::Slot(slot_name(name)?)),
            None if segment.contains(['{', '}']) => return Err(UrlTemplateError::PathSlotPlace),
            None if is_literal_segment(segment, last) => {
                pieces.push(SegmentPiece::Literal(segment.to_owned()));
            }
            None => return Err(UrlTemplateError::Segment),
        }
    }
    Ok(pieces)
}

/// `pchar` of RFC 3986 §3.3 without percent-encoding, so that no parser can find `..` or `/` in it.
fn is_literal_segment(segment: &str, last: bool) -> bool {
    let pchar = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&b);
    (last || !segment.is_empty()) && segment != "." && segment != ".." && segment.bytes().all(pchar)
}

fn whole_slot(piece: &str) -> Option<&str> {
    let name = piece.strip_prefix('{')?.strip_suffix('}')?;
    (!name.contains(['{', '}'])).then_some(name)
}

fn slot_name(name: &str) -> Result<String, UrlTemplateError> {
    let tail = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    let good = name.len() <= MAX_LABEL_CHARS
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(tail);
    if good { Ok(name.to_owned()) } else { Err(UrlTemplateError::SlotName) }
}

#[cfg(test)]
mod tests {
    use super::{LabelPiece, SegmentPiece, UrlTemplate, UrlTemplateError as E};

    #[test]
    fn slots_and_fixed_suffix_are_found() {
        let template =
            UrlTemplate::parse("https://{host}.acme.example/v1/dealers/{dealer}/leads").expect("valid");
        assert_eq!(template.host_slots().collect::<Vec<_>>(), ["host"]);
        assert_eq!(template.path_slots().collect::<Vec<_>>(), ["dealer"]);
        assert_eq!(template.fixed_suffix(), "acme.example");
        assert_eq!(template.host.first(), Some(&LabelPiece::Slot("host".to_owned())));
        assert_eq!(template.path.last(), Some(&SegmentPiece::Literal("leads".to_owned())));
    }

    #[test]
    fn a_template_prints_as_it_was_written() {
        for text in [
            "https://acme.example/",
            "https://{a}.{b}.acme.example/x/{c}",
            "https://acme.example/v1/",
            "https://xn--bcher-kva.example/a~b/c:d@e",
        ] {
            assert_eq!(UrlTemplate::parse(text).expect(text).to_string(), text);
        }
        assert_eq!(
            UrlTemplate::parse("https://a.example").expect("no path").to_string(),
            "https://a.example/"
        );
    }

    #[test]
    fn each_rule_refuses_its_template() {
        let long = format!("https://a.example/{}", "x".repeat(2_048));
        let long_host = format!("https://{}a.example/", "abcdefgh.".repeat(40));
        let cases: &[(&str, E)] = &[
            ("http://acme.example/", E::NotHttps),
            ("HTTPS://acme.example/", E::NotHttps),
            ("//acme.example/", E::NotHttps),
            ("https://acme.example\\@evil.example/", E::Character),
            ("https://acme.example/a b", E::Character),
            ("https://bücher.example/", E::Character),
            ("https://user@acme.example/", E::Userinfo),
            ("https://{u}@acme.example/", E::Userinfo),
            ("https://acme.example:8443/", E::Port),
            ("https://[::1]/", E::Port),
            ("https://acme.example/#x", E::Fragment),
            ("https://acme.example/?a={b}", E::Query),
            ("https:///x", E::Label),
            ("https://acme..example/", E::Label),
            ("https://acme.example./", E::Label),
            ("https://ACME.example/", E::Label),
            ("https://-acme.example/", E::Label),
            ("https://127.0.0.1/", E::Address),
            ("https://127.0.0.0x1/", E::Address),
            ("https://{host}.127.1/", E::Address),
            ("https://{host}/", E::NoFixedSuffix),
            ("https://{host}.example/", E::NoFixedSuffix),
            ("https://localhost/", E::NoFixedSuffix),
            ("https://acme.{tld}/", E::HostSlotPlace),
            ("https://acme.{x}.example/", E::HostSlotPlace),
            ("https://a{host}.acme.example/", E::HostSlotPlace),
            ("https://{host}{x}.acme.example/", E::HostSlotPlace),
            ("https://acme.example/a{b}", E::PathSlotPlace),
            ("https://acme.example/{a}{b}", E::PathSlotPlace),
            ("https://acme.example/{a", E::PathSlotPlace),
            ("https://acme.example/../x", E::Segment),
            ("https://acme.example/./x", E::Segment),
            ("https://acme.example//x", E::Segment),
            ("https://acme.example/%2e%2e/x", E::Segment),
            ("https://acme.example/{}", E::SlotName),
            ("https://acme.example/{Dealer}", E::SlotName),
            ("https://{x}.acme.example/{x}", E::DuplicateSlot("x".to_owned())),
            (&long, E::TooLong),
            (&long_host, E::HostTooLong),
        ];
        for (text, error) in cases {
            assert_eq!(UrlTemplate::parse(text).as_ref(), Err(error), "{text}");
        }
    }
}
