//! What crosses the boundary, as the host sees it. Nothing in here decides.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::aggregate::MayAsk;

/// The argument of a hook: the record `event` of `wit/`.
#[derive(Clone, Debug)]
pub struct PluginInput {
    /// Keyed per connection; the same through retries.
    pub id: String,
    pub kind: String,
    /// RFC 3339.
    pub time: String,
    pub consumer: Option<String>,
    /// JSON object in the shape of the event's `data`: readable fields only.
    pub fields: String,
    /// Concrete paths of sealed fields that are present, as declared (patterns keep their `*`).
    pub sealed: Vec<String>,
    /// JSON object.
    pub settings: String,
    /// What the plugin remembers, JSON text by key; none: it does not ask. Withheld and never remembered look
    /// the same: empty.
    pub memory: Option<BTreeMap<String, String>>,
    /// The call may ask for aggregates.
    pub aggregates: Option<MayAsk>,
}

/// The argument of the hook `receive`: the record `message` of `wit/`.
#[derive(Clone, Debug)]
pub struct PluginMessage {
    /// Keyed per connection.
    pub id: String,
    /// RFC 3339.
    pub time: String,
    /// The pseudonym by which the message named its consumer.
    pub consumer: Option<String>,
    /// As the partner sent it, JSON.
    pub body: String,
    /// JSON object.
    pub settings: String,
    /// As [`PluginInput::memory`].
    pub memory: Option<BTreeMap<String, String>>,
}

/// A piece of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    Text(String),
    /// A declared path.
    Field(String),
}

/// A request as the plugin asked for it: untrusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginRequest {
    pub endpoint: String,
    pub path: Vec<(String, Vec<Part>)>,
    pub headers: Vec<(String, Vec<Part>)>,
    pub body: Vec<Part>,
}

/// A partner's answer to a request of a running call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginReply {
    /// HTTP.
    pub status: u16,
    /// JSON text.
    pub body: String,
}

/// What a `share` call gave back: untrusted until `from_plugin` has checked it.
#[derive(Clone, Debug)]
pub struct PluginOutcome {
    pub deliveries: Vec<PluginRequest>,
    /// JSON text.
    pub returns: String,
}

/// What a call did with its memory; untrusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Whether the plugin looked at it or wrote into it, misses and refused writes included.
    pub touched: bool,
    /// All entries as the call left them; none where it wrote nothing.
    pub written: Option<BTreeMap<String, String>>,
}

/// A request ready to be authenticated and sent.
#[derive(Clone, Debug)]
pub struct OutboundRequest {
    pub method: http::Method,
    pub url: url::Url,
    pub media_type: Option<String>,
    pub headers: Vec<(http::HeaderName, http::HeaderValue)>,
    pub body: Vec<u8>,
    /// Standard Webhooks `webhook-id`; the same through all tries.
    pub webhook_id: String,
}
