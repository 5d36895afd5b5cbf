//! Placing fields into requests (design: "Placing a field"). Pure: it looks no value up by itself, opens
//! no socket and decides nothing about who may get what.
//!
//! A plugin composes a request from pieces of text and fields that it cannot always read. The text is
//! untrusted: it may try to make a field into something else than a value, or to smuggle itself out of the
//! place it was given. Nothing is guessed from the text. The request is assembled with every field encoded,
//! then read as the partner will read it, by a reader that passes only what all readers agree on, and each
//! field must be found as one value where values stand. One field out of place drops the whole request.
//!
//! | media type | a field is | a field with `*` is | absent |
//! | --- | --- | --- | --- |
//! | `application/json`, `…+json` | one whole value, quotes included | an array | `null`, `[]` |
//! | `application/xml`, `text/xml`, `…+xml` | text of an element, or in a quoted attribute | in text, its items, one a line | nothing |
//! | `application/x-www-form-urlencoded` | in a value | its items, one a line | nothing |
//! | any other | the whole body | its items, one a line | nothing |
//!
//! A path slot and a header take text and fields, none with `*`.

mod error;
mod form;
mod headers;
mod json;
mod render;
#[cfg(test)]
mod round_trips;
mod runs;
#[cfg(test)]
mod tests;
mod url;
mod xml;

pub use self::url::is_registered;
pub use error::{Place, PlacingError};

use super::{Part, PluginRequest};
use crate::manifest::Endpoint;
use error::Fault;
use http::{HeaderName, HeaderValue, Method};
use render::{Encoding, Rendered, render};
use serde_json::Value;

/// Bytes of an assembled body. The sandbox bounds what a plugin writes; this bounds what fields add.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;
/// Bytes of a path slot's segment once encoded; servers commonly refuse request lines beyond 8 KiB.
pub const MAX_SEGMENT_BYTES: usize = 2 * 1024;
/// Bytes of a header value; the same limit of servers, for a field line.
pub const MAX_HEADER_BYTES: usize = 4 * 1024;

/// A field's value, as the caller found it under a declared path.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldValue<'a> {
    /// For a plain path: the leaf, or `None` where it is absent or withheld.
    One(Option<&'a Value>),
    /// For a pattern with `*`: the leaves, in order.
    Many(Vec<&'a Value>),
}

/// Finds a field of the call by its declared path; `None` for a path that the call was not given.
pub type ValueLookup<'a, 'v> = &'a dyn Fn(&str) -> Option<FieldValue<'v>>;

/// What a request is assembled from, beside the request itself.
#[derive(Clone, Copy)]
pub struct Placement<'a, 'v> {
    /// The endpoint of the manifest that the request names.
    pub endpoint: &'a Endpoint,
    /// The connection's settings, an object.
    pub settings: &'a Value,
    /// The domains registered in the partner's record.
    pub domains: &'a [String],
    /// The call's fields.
    pub values: ValueLookup<'a, 'v>,
}

/// A request with its fields in place, not yet authenticated.
#[derive(Clone, Debug)]
pub struct Assembled {
    /// Fixed by the endpoint.
    pub method: Method,
    /// https, on a host under the partner's domains.
    pub url: ::url::Url,
    /// As declared; `None` where there is no body.
    pub media_type: Option<String>,
    /// Declared headers only.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Empty where there is none.
    pub body: Vec<u8>,
    /// The distinct declared paths of the fields placed, those that were absent left out: whose labels
    /// the request carries beside those of its call.
    pub placed: Vec<String>,
}

/// Whether `text` is one JSON document that every reader reads alike: no name twice, no lone surrogate,
/// not nested deeply (RFC 8259 leaves these open).
pub(super) fn is_strict_json(text: &str) -> bool {
    json::check(text, &[]).is_ok()
}

/// Assembles `request` for `placement.endpoint`, or says why not one byte of it may be sent.
pub fn assemble(request: &PluginRequest, placement: &Placement<'_, '_>) -> Result<Assembled, PlacingError> {
    let endpoint = placement.endpoint;
    if request.endpoint != endpoint.name {
        return Err(PlacingError::OtherEndpoint { declared: endpoint.name.clone() });
    }
    let method = method(endpoint)?;
    let mut placed = Vec::new();
    let url = url::assemble(&request.path, placement, &mut placed)?;
    let headers = headers::assemble(&request.headers, endpoint, placement.values, &mut placed)?;
    let (media_type, body) = if request.body.is_empty() {
        (None, Vec::new())
    } else {
        if matches!(method, Method::GET | Method::DELETE) {
            return Err(PlacingError::BodyNotAllowed { endpoint: endpoint.name.clone() });
        }
        let media_type = endpoint
            .media_type
            .as_deref()
            .ok_or_else(|| manifest_fault(endpoint, "it takes a body and declares no media type"))?;
        let body = body(&request.body, media_type, endpoint, placement.values, &mut placed)?;
        (Some(media_type.to_owned()), body)
    };
    let placed = placed.into_iter().map(str::to_owned).collect();
    Ok(Assembled { method, url, media_type, headers, body, placed })
}

fn method(endpoint: &Endpoint) -> Result<Method, PlacingError> {
    match endpoint.method.as_str() {
        "POST" => Ok(Method::POST),
        "PUT" => Ok(Method::PUT),
        "PATCH" => Ok(Method::PATCH),
        "GET" => Ok(Method::GET),
        "DELETE" => Ok(Method::DELETE),
        _ => Err(manifest_fault(endpoint, "its method is none of POST, PUT, PATCH, GET and DELETE")),
    }
}

fn manifest_fault(endpoint: &Endpoint, rule: &'static str) -> PlacingError {
    PlacingError::Manifest { endpoint: endpoint.name.clone(), rule }
}

/// How a body is read, by its media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    Xml,
    Form,
    Other,
}

impl Format {
    /// `Err` where a structured type declares another charset than UTF-8, in which it would be read
    /// as something else than was checked.
    fn of(media_type: &str) -> Result<Self, &'static str> {
        let mut pieces = media_type.split(';');
        let essence = pieces.next().unwrap_or_default().trim().to_ascii_lowercase();
        let format = match essence.as_str() {
            "application/json" | "text/json" => Self::Json,
            "application/xml" | "text/xml" => Self::Xml,
            "application/x-www-form-urlencoded" => Self::Form,
            other if other.ends_with("+json") => Self::Json,
            other if other.ends_with("+xml") => Self::Xml,
            _ => Self::Other,
        };
        for parameter in pieces {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = value.trim().trim_matches('"');
            if name.trim().eq_ignore_ascii_case("charset") && !value.eq_ignore_ascii_case("utf-8") {
                return Err("its media type has another charset than UTF-8");
            }
        }
        Ok(format)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Xml => "XML",
            Self::Form => "form data",
            Self::Other => "content",
        }
    }

    /// What a field has to be.
    fn role(self) -> &'static str {
        match self {
            Self::Json => "one whole JSON value",
            Self::Xml => "text of an element or in a quoted attribute value",
            Self::Form => "part of a form value",
            Self::Other => "the whole body",
        }
    }
}

fn body<'p>(
    parts: &'p [Part],
    media_type: &str,
    endpoint: &Endpoint,
    values: ValueLookup<'_, '_>,
    placed: &mut Vec<&'p str>,
) -> Result<Vec<u8>, PlacingError> {
    let format = Format::of(media_type).map_err(|rule| manifest_fault(endpoint, rule))?;
    let encoding = match format {
        Format::Json => Encoding::Json,
        Format::Xml => Encoding::Xml,
        Format::Form => Encoding::Form,
        Format::Other => Encoding::Plain,
    };
    let rendered = render(parts, encoding, &Place::Body, values, placed)?;
    let checked = match format {
        Format::Json => json::check(&rendered.text, &rendered.fields),
        Format::Xml => xml::check(&rendered.text, &rendered.fields),
        Format::Form => form::check(&rendered.text, &rendered.fields),
        Format::Other if parts.len() > 1 && !rendered.fields.is_empty() => Err(Fault::Misplaced { field: 0 }),
        Format::Other => Ok(()),
    };
    match checked {
        Ok(()) => Ok(rendered.text.into_bytes()),
        Err(fault) => Err(explain(fault, format, &rendered)),
    }
}

fn explain(fault: Fault, format: Format, rendered: &Rendered) -> PlacingError {
    let part_of = |field: usize| rendered.fields.get(field).map_or(0, |span| span.part).saturating_add(1);
    match fault {
        Fault::Malformed { at, rule } => {
            PlacingError::Malformed { format: format.name(), part: rendered.part_at(at), rule }
        }
        Fault::Misplaced { field } => {
            PlacingError::Misplaced { part: part_of(field), expected: format.role() }
        }
        Fault::ListNotAllowed { field } => {
            PlacingError::ListNotAllowed { place: Place::Body, part: part_of(field) }
        }
    }
}
