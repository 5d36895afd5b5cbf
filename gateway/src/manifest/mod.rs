//! `plugin.toml`: what a plugin declares. This room reads and checks it; it runs nothing and opens no socket.

mod check;
mod combine;
mod component;
mod diff;
mod endpoints;
mod interface;
mod json_text;
mod load;
mod place;
mod problem;
mod provenance;
mod release_key;
mod returned;
mod schemas;
mod shape;
mod text;
pub mod url_template;

use serde::{Deserialize, Serialize};

pub use check::{check, is_name};
pub use combine::Ingredient;
pub use component::{
    EmbedError, FEATURES, Inspected, MAX_COMPONENT_BYTES, MAX_MANIFEST_BYTES, SECTION, embed, inspect, review,
};
pub use diff::{Change, Declaration, Difference, Reach, difference, imported_interfaces};
pub use endpoints::is_reserved_header;
pub use interface::Api;
pub use load::{MAX_PROBLEMS, Reading, load_dir, parse_toml, read_dir};
pub use place::Place;
pub use problem::{ERRORS_PAGE, ManifestErrors, Problem, drawn};
pub use provenance::{
    Language, MAX_PROVENANCE_BYTES, PROVENANCE_SECTION, Provenance, embed_provenance, provenance_of,
};
pub use release_key::{RELEASE_SIGNATURE, ReleaseKey, ReleaseSigningKey, private_key_text, read_signature};
pub use returned::{RETURNED, returned_by};
pub use schemas::{ReturnSchema, SchemaViolation, validate_settings};

/// The name under `receives` that asks for the partner's pseudonym of the consumer, which is no field
/// of the event (category user.unique_id.pseudonymous).
pub const CONSUMER_FIELD: &str = "consumer";

/// Where a declared field stands that the plugin received from its partner: a pointer under this one names a
/// leaf of what the `receive` hook returns.
pub const RECEIVED: &str = crate::catalogue::RECEIVED;

/// The manifest of one release (design: "The manifest"). Unknown keys are refused.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Manifest {
    pub plugin: PluginSection,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub share: Vec<ShareHook>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decide: Vec<DecideHook>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub receive: Vec<ReceiveHook>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rights: Vec<RightsHook>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub combine: Vec<Combine>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoint: Vec<Endpoint>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Settings>,
}

/// `[plugin]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PluginSection {
    /// `[a-z][a-z0-9-]{0,62}`.
    pub name: String,
    pub version: semver::Version,
    /// Must be the publishing key's partner.
    pub partner: String,
    /// Version of the interface package, `MAJOR.MINOR`.
    pub api: String,
    pub summary: String,
    /// https link; clause integrations.no-control.
    pub privacy_policy: String,
    /// A fideslang data use.
    pub purpose: String,
}

/// How a plugin gets a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// The value enters the sandbox.
    Read,
    /// Only the path enters; the host fills the value in outside.
    Sealed,
}

/// One declared field: an entry of `receives`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ReceivedField {
    /// JSON Pointer into the event's `data`, `*` for any array index; the special name `consumer`
    /// asks for the pseudonym (category user.unique_id.pseudonymous).
    pub field: String,
    pub access: Access,
    /// Withheld or absent: the call does not happen.
    #[serde(default)]
    pub required: bool,
    /// In the partner's words; shown to the brand.
    pub why: String,
}

/// A JSON Schema: a path beside `plugin.toml` in the source, the document itself once embedded.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SchemaSource {
    Path(String),
    Inline(serde_json::Map<String, serde_json::Value>),
}

/// `[[share]]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ShareHook {
    /// CloudEvents `type`.
    pub event: String,
    #[serde(default)]
    pub receives: Vec<ReceivedField>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returns: Option<SchemaSource>,
}

/// `[[decide]]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DecideHook {
    pub slot: String,
    pub event: String,
    /// Milliseconds that the brand waits, 1 to 2000; 100 where not given.
    #[serde(default = "default_deadline_ms")]
    pub deadline_ms: u32,
    #[serde(default)]
    pub receives: Vec<ReceivedField>,
    pub returns: SchemaSource,
}

fn default_deadline_ms() -> u32 {
    100
}

/// `[[receive]]`: at most one. A partner's message becomes the fields of `returns`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ReceiveHook {
    /// JSON Pointer to the consumer's pseudonym in the message: the one that the plugin got as `consumer`.
    pub consumer: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returns: Option<SchemaSource>,
}

/// `[[rights]]`; not served yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RightsHook {
    pub kinds: Vec<String>,
}

/// `[[combine]]`: first-party fields may meet the partner's.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Combine {
    /// `first-party:CATEGORY` and `partner:CATEGORY`, each with all below it.
    pub of: Vec<String>,
    /// A returned field, or the name of an endpoint.
    pub into: String,
    /// In the partner's words; shown to the brand.
    pub why: String,
}

/// By what means the consumer is reached through an endpoint, if at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Channel {
    Web,
    Email,
    Sms,
    Phone,
}

/// `[[endpoint]]`: where requests may go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Endpoint {
    pub name: String,
    /// `POST`, `PUT`, `PATCH`, `GET` or `DELETE`.
    pub method: String,
    /// https template. `{slot}` in the host comes from settings, `{slot}` in the path from the plugin
    /// (or from settings where the plugin leaves it out).
    pub url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    #[serde(default, skip_serializing_if = "Auth::is_none")]
    pub auth: Auth,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<Channel>,
    /// Header names that the plugin may set; never Host, Content-*, Authorization, webhook-*.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<String>,
    /// The category of what it answers, for a plugin that asks it through `exchange`; none: it is not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<String>,
}

/// How the host authenticates to an endpoint. Each string but names and URLs names a secret of `[settings] secrets`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Auth {
    /// `auth` left out: only the Standard Webhooks signature, keyed by the connection.
    #[default]
    None,
    /// `{ bearer = "secret" }`: RFC 6750.
    Bearer(String),
    /// `{ basic = { username = "secret", password = "secret" } }`: RFC 7617.
    Basic { username: String, password: String },
    /// `{ header = { name = "x-api-key", value = "secret" } }`.
    Header { name: String, value: String },
    /// `{ hmac = "secret" }`: the Standard Webhooks signature with this secret.
    Hmac(String),
    /// `{ oauth2-client-credentials = { token-url = "https://…", client-id = "secret", client-secret = "secret" } }`:
    /// RFC 6749 §4.4. The URL stands as it is; it is under the partner's domains as an endpoint's is.
    Oauth2ClientCredentials { token_url: String, client_id: String, client_secret: String },
}

impl Auth {
    fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// The names of the secrets that it takes.
    fn secrets(&self) -> Vec<&str> {
        match self {
            Self::None => Vec::new(),
            Self::Bearer(secret) | Self::Hmac(secret) | Self::Header { value: secret, .. } => vec![secret],
            Self::Basic { username, password } => vec![username, password],
            Self::Oauth2ClientCredentials { client_id, client_secret, .. } => vec![client_id, client_secret],
        }
    }
}

/// `[settings]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<SchemaSource>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
}

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;
