//! Requests and outcomes: what a hook gives back. Nothing is sent from here; the gateway sends, or refuses.

use serde::Serialize;

use crate::bindings::types;
use crate::{Failure, Parts};

/// A request for the gateway to deliver, at least once, to an endpoint of the manifest.
///
/// The manifest fixes method, origin, path template, media type and authentication; the plugin
/// gives the path's slots, the headers that the endpoint declares, and the body.
///
/// ```
/// use plugin_sdk::{Request, json};
///
/// let request = Request::to("members").path("member", "m-17").body(json::object().with("points", 5));
/// assert_eq!(request.body_parts().to_string(), r#"{"points":5}"#);
/// ```
#[derive(Clone, Debug)]
pub struct Request {
    endpoint: String,
    path: Vec<(String, Parts)>,
    headers: Vec<(String, Parts)>,
    body: Parts,
}

impl Request {
    /// To the endpoint that the manifest declares under this name.
    pub fn to(endpoint: impl Into<String>) -> Self {
        Self { endpoint: endpoint.into(), path: Vec::new(), headers: Vec::new(), body: Parts::new() }
    }

    /// Fills the slot `{name}` of the endpoint's path. The value becomes one percent-encoded
    /// segment; an empty one, `.` and `..` are refused.
    #[must_use]
    pub fn path(mut self, name: impl Into<String>, value: impl Into<Parts>) -> Self {
        self.path.push((name.into(), value.into()));
        self
    }

    /// Sets a header that the endpoint declares. CR, LF and NUL are refused.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Parts>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body: a builder of [`json`](crate::json), [`xml`](crate::xml) or
    /// [`form`](crate::form), text, or one field (then the whole body).
    #[must_use]
    pub fn body(mut self, body: impl Into<Parts>) -> Self {
        self.body = body.into();
        self
    }

    /// The endpoint's name; for tests.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The value given for a slot of the path; for tests.
    pub fn path_parts(&self, name: &str) -> Option<&Parts> {
        self.path.iter().find(|(slot, _)| slot == name).map(|(_, value)| value)
    }

    /// The body as built; for tests.
    pub fn body_parts(&self) -> &Parts {
        &self.body
    }

    pub(crate) fn into_wire(self) -> types::Request {
        let wire = |(name, value): (String, Parts)| (name, value.into_wire());
        types::Request {
            endpoint: self.endpoint,
            path: self.path.into_iter().map(wire).collect(),
            headers: self.headers.into_iter().map(wire).collect(),
            body: self.body.into_wire(),
        }
    }
}

/// What a `share` call gives back: requests for the partner, fields for the brand.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    deliveries: Vec<Request>,
    /// JSON text; empty where nothing was returned.
    returns: String,
}

impl Outcome {
    /// Nothing to deliver, nothing to return.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for one more delivery.
    #[must_use]
    pub fn deliver(mut self, request: Request) -> Self {
        self.deliveries.push(request);
        self
    }

    /// Returns fields to the brand, in the shape of the manifest's `returns` schema. One field
    /// that the schema does not declare refuses the whole outcome.
    ///
    /// # Errors
    /// [`Failure::Rejected`] where `fields` cannot be written as JSON.
    pub fn returning(mut self, fields: &impl Serialize) -> Result<Self, Failure> {
        self.returns = to_json(fields)?;
        Ok(self)
    }

    /// The requests asked for; for tests.
    pub fn deliveries(&self) -> &[Request] {
        &self.deliveries
    }

    /// The returned fields as JSON text; for tests.
    pub fn returns(&self) -> &str {
        if self.returns.is_empty() { "{}" } else { &self.returns }
    }

    pub(crate) fn into_wire(self) -> types::Outcome {
        let returns = if self.returns.is_empty() { "{}".to_owned() } else { self.returns };
        types::Outcome { deliveries: self.deliveries.into_iter().map(Request::into_wire).collect(), returns }
    }
}

/// Writes `value` as JSON. The failure says nothing about the value.
pub(crate) fn to_json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|_| {
        Failure::rejected(
            "the plugin's answer cannot be written as JSON: a map has keys that are not strings",
        )
    })
}
