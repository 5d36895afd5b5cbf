//! Why a request is not assembled. A message names declared things and positions only: a name the
//! plugin made up, a text of its own or a consumer's value never gets in here.

use std::fmt;

/// A part of a request that a plugin composes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The body.
    Body,
    /// A slot of the path template, by its declared name.
    PathSlot(String),
    /// A header, by its declared name.
    Header(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body => f.write_str("the body"),
            Self::PathSlot(slot) => write!(f, "path slot `{slot}`"),
            Self::Header(name) => write!(f, "header `{name}`"),
        }
    }
}

/// Why a request is not assembled; the whole request is dropped. Part numbers count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlacingError {
    /// The caller looked up another endpoint than the plugin asked for.
    #[error("the request is for another endpoint than `{declared}`; name an endpoint of the manifest")]
    OtherEndpoint {
        /// The endpoint that was looked up.
        declared: String,
    },
    /// The manifest of the release is at fault; publication should have refused it.
    #[error("endpoint `{endpoint}`: {rule}; publish a corrected manifest")]
    Manifest {
        /// Declared name of the endpoint.
        endpoint: String,
        /// The broken rule.
        rule: &'static str,
    },
    /// The path in a field part was not given to this call.
    #[error(
        "{place}, part {part}: the field was not given to this call; place only fields that the event or its sealed list names"
    )]
    FieldNotGiven {
        /// Where it was to go.
        place: Place,
        /// Which part.
        part: usize,
    },
    /// An object or list where the place takes one plain value.
    #[error("{place}, part {part}: the field is not a string, number or boolean; only a JSON body takes it")]
    NotScalar {
        /// Where it was to go.
        place: Place,
        /// Which part.
        part: usize,
    },
    /// A pattern with `*` where one value has to stand.
    #[error(
        "{place}, part {part}: a field with `*` is a list and this place takes one value; use a JSON body, XML text, a form value or a whole body"
    )]
    ListNotAllowed {
        /// Where it was to go.
        place: Place,
        /// Which part.
        part: usize,
    },
    /// Text around a field would change what the field means.
    #[error(
        "the body, part {part}: the field does not stand as {expected}; close the surrounding text before it"
    )]
    Misplaced {
        /// Which part.
        part: usize,
        /// What a field has to be in this media type.
        expected: &'static str,
    },
    /// The assembled body does not parse.
    #[error("the body is not well-formed {format} near part {part}: {rule}")]
    Malformed {
        /// `JSON`, `XML` or `form data`.
        format: &'static str,
        /// The part in which the parser stopped.
        part: usize,
        /// The broken rule.
        rule: &'static str,
    },
    /// GET and DELETE carry no body.
    #[error("endpoint `{endpoint}`: its method takes no body; leave the body empty")]
    BodyNotAllowed {
        /// Declared name of the endpoint.
        endpoint: String,
    },
    /// A slot that neither the plugin nor the settings fill.
    #[error("path slot `{slot}` has no value; fill it in the request or in the connection's settings")]
    SlotMissing {
        /// Declared name of the slot.
        slot: String,
    },
    /// Slots that the template does not have, or the same one twice.
    #[error(
        "{count} path slots of the request are unknown to endpoint `{endpoint}`, belong to its host, or are filled twice; fill each path slot of its template at most once"
    )]
    SlotsNotDeclared {
        /// Declared name of the endpoint.
        endpoint: String,
        /// How many.
        count: usize,
    },
    /// A path slot that is not one segment with a name.
    #[error("path slot `{slot}` {rule}; give one non-empty name")]
    Segment {
        /// Declared name of the slot.
        slot: String,
        /// The broken rule.
        rule: &'static str,
    },
    /// A setting that is not one label of a host name.
    #[error(
        "setting `{slot}` fills a label of endpoint `{endpoint}`'s host and is not 1 to 63 of a-z, 0-9 and inner hyphens; correct the connection's settings"
    )]
    HostLabel {
        /// Declared name of the slot.
        slot: String,
        /// Declared name of the endpoint.
        endpoint: String,
    },
    /// The host is not the partner's.
    #[error(
        "endpoint `{endpoint}` is not under a domain registered for the partner; have the operator register the domain"
    )]
    DomainNotRegistered {
        /// Declared name of the endpoint.
        endpoint: String,
    },
    /// Headers that the endpoint does not declare, that the host keeps to itself, or twice the same.
    #[error(
        "{count} headers of the request are not declared by endpoint `{endpoint}`, are the gateway's own, or stand twice; declare them in the manifest and set each once"
    )]
    HeadersNotDeclared {
        /// Declared name of the endpoint.
        endpoint: String,
        /// How many.
        count: usize,
    },
    /// A header value with CR, LF, NUL or another control character.
    #[error("header `{name}`: the value holds a control character; take line breaks out")]
    HeaderValue {
        /// Declared name of the header.
        name: String,
    },
    /// Longer than the gateway sends.
    #[error("{place} is longer than {limit} bytes once its fields are placed; send less")]
    TooLong {
        /// What is too long.
        place: Place,
        /// The limit in bytes.
        limit: usize,
    },
}

impl PlacingError {
    /// Whether the brand's settings or the operator's records are at fault, and not the plugin.
    pub fn is_set_up_wrong(&self) -> bool {
        matches!(self, Self::Manifest { .. } | Self::HostLabel { .. } | Self::DomainNotRegistered { .. })
    }

    /// Whether what a sealed field holds may be why: the plugin placed it without seeing it.
    pub fn may_tell_of_values(&self) -> bool {
        matches!(
            self,
            Self::NotScalar { .. }
                | Self::ListNotAllowed { .. }
                | Self::Segment { .. }
                | Self::HeaderValue { .. }
                | Self::TooLong { .. }
        )
    }

    /// The ledger's code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::OtherEndpoint { .. } => "other-endpoint",
            Self::Manifest { .. } => "manifest",
            Self::FieldNotGiven { .. } => "field-not-given",
            Self::NotScalar { .. } => "not-scalar",
            Self::ListNotAllowed { .. } => "list-not-allowed",
            Self::Misplaced { .. } => "misplaced",
            Self::Malformed { .. } => "malformed",
            Self::BodyNotAllowed { .. } => "body-not-allowed",
            Self::SlotMissing { .. } => "slot-missing",
            Self::SlotsNotDeclared { .. } => "slots-not-declared",
            Self::Segment { .. } => "segment",
            Self::HostLabel { .. } => "host-label",
            Self::DomainNotRegistered { .. } => "domain-not-registered",
            Self::HeadersNotDeclared { .. } => "headers-not-declared",
            Self::HeaderValue { .. } => "header-value",
            Self::TooLong { .. } => "too-long",
        }
    }
}

/// What a scanner found wrong, by byte offset; offsets stay inside this room, because they would
/// tell the length of a sealed value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The document breaks its format's rule at an offset.
    Malformed { at: usize, rule: &'static str },
    /// The field with this index does not stand where a field may.
    Misplaced { field: usize },
    /// The field with this index is a list where one value has to stand.
    ListNotAllowed { field: usize },
}
