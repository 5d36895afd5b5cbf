//! What an event looks like, for the API's documentation only: events are read by the pipeline, against
//! the catalogue.

use utoipa::ToSchema;

/// A CloudEvents 1.0 record about one consumer of the brand, in structured mode.
#[derive(ToSchema)]
#[allow(dead_code)] // It is its schema.
pub(super) struct CloudEvent {
    #[schema(example = "1.0")]
    specversion: String,
    /// Unique together with `source`. The same event with the same body is a duplicate; with another, 409.
    id: String,
    /// URI reference of what sent it.
    source: String,
    /// A type of the catalogue.
    #[schema(example = "chat.ended")]
    r#type: String,
    /// The brand's id for the consumer. It appears in no log, and no plugin gets it.
    subject: String,
    /// RFC 3339; not given: now. More than 5 minutes ahead is refused.
    #[schema(required = false)]
    time: Option<String>,
    /// The brand of the path, or left out.
    #[schema(required = false)]
    brand: Option<String>,
    /// Where the consumer is: `US`, `CH`, `GB`, `EU` or an ISO 3166-1 alpha-2 country code.
    #[schema(required = false)]
    region: Option<String>,
    /// The browser sent Do Not Track.
    #[schema(required = false)]
    dnt: Option<bool>,
    /// The browser sent Global Privacy Control.
    #[schema(required = false)]
    gpc: Option<bool>,
    /// The class of cookies that it was collected with: `strictly-necessary`, `performance`, `functionality`.
    #[schema(required = false)]
    cookies: Option<String>,
    /// What the type's schema in the catalogue describes.
    #[schema(value_type = Object)]
    data: serde_json::Value,
}
