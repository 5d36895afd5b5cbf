//! What the clauses say about the demo's three connections, worked out from `clauses.md` and the task alone:
//! short, slow, and knowing nothing of rules, masks or labels. The ledger is held against it.

use serde_json::Value;

/// A connection of the demo, as far as the clauses ask.
pub struct Connection {
    pub brand: &'static str,
    pub plugin: &'static str,
    pub event: &'static str,
    /// Declared, and all of it granted.
    pub fields: &'static [&'static str],
    pub required: &'static [&'static str],
}

const ADF: &[&str] = &[
    "/contact/name/first",
    "/contact/name/last",
    "/conversation",
    "/visit/device_type",
    "/transcript/*/text",
    "/contact/email",
    "/contact/phone",
];
const BUTTON: &[&str] = &["/url", "/seconds_on_page", "/device_type"];
const QUALITY: &[&str] = &["/transcript/*/text", "/transcript/*/speaker"];

/// What the main job switches on.
pub const CONNECTIONS: &[Connection] = &[
    Connection {
        brand: "northside-motors",
        plugin: "adf-lead",
        event: "chat.ended",
        fields: ADF,
        required: &["/contact/name/first", "/contact/name/last"],
    },
    Connection {
        brand: "northside-motors",
        plugin: "chat-button",
        event: "page.viewed",
        fields: BUTTON,
        required: &[],
    },
    Connection {
        brand: "city-dental",
        plugin: "transcript-quality",
        event: "chat.ended",
        fields: QUALITY,
        required: &[],
    },
    Connection {
        brand: "city-dental",
        plugin: "chat-button",
        event: "page.viewed",
        fields: BUTTON,
        required: &[],
    },
];

/// What one event must come to at one connection.
#[derive(Debug, PartialEq, Eq)]
pub struct WorkedOut {
    pub plugin: &'static str,
    /// Each declared field that is present, with the clauses that forbid it; none: allowed.
    pub fields: Vec<(&'static str, Vec<&'static str>)>,
    pub runs: bool,
}

/// Every connection's share of an event.
pub fn work_out(event: &Value) -> Vec<WorkedOut> {
    CONNECTIONS
        .iter()
        .filter(|connection| event["brand"] == connection.brand && event["type"] == connection.event)
        .map(|connection| one(connection, event))
        .collect()
}

fn one(connection: &Connection, event: &Value) -> WorkedOut {
    let fields: Vec<_> = connection
        .fields
        .iter()
        .filter(|field| is_present(&event["data"], field))
        .map(|field| (*field, forbidden_by(connection.plugin, field, event)))
        .collect();
    let goes = |field: &str| fields.iter().any(|(name, clauses)| *name == field && clauses.is_empty());
    // design.md §5: a required field must go, and something must be left.
    let runs =
        connection.required.iter().all(|field| goes(field)) && fields.iter().any(|(name, _)| goes(name));
    WorkedOut { plugin: connection.plugin, fields, runs }
}

/// The clauses that withhold a field, in the clauses' words. No consumer of the demo has made a choice or
/// awaits a right, no purpose is sale-like, and a chat engages: so the rows of Choices, Rights, share.no-sale
/// and integrations.share say nothing here. What is left:
fn forbidden_by(plugin: &str, field: &str, event: &Value) -> Vec<&'static str> {
    let mut clauses = Vec::new();
    let third_party = plugin == "adf-lead";
    let essential = plugin != "chat-button";
    let content = field == "/transcript/*/text";
    // Names, contact data, and the conversation's id, a user.unique_id.
    let identifying = field.starts_with("/contact/") || field == "/conversation";
    let behaviour = ["/url", "/seconds_on_page"].contains(&field);

    // transfer.onward: the EU, GB and CH are one area, and unknown counts as inside. acme-crm is outside it
    // without a contract; engage is outside it with onward transfer; clarity is inside.
    let inside = matches!(event["region"].as_str(), None | Some("EU" | "GB" | "CH"));
    if inside && plugin == "adf-lead" {
        clauses.push("transfer.onward");
    }
    // share.content: to a third party only with the consumer's permission, which nobody gave.
    if content && third_party {
        clauses.push("share.content");
    }
    match event["cookies"].as_str() {
        // cookies.performance: aggregates only.
        Some("performance") => clauses.push("cookies.performance"),
        // cookies.strictly-necessary: essential purposes only.
        Some("strictly-necessary") if !essential => clauses.push("cookies.strictly-necessary"),
        // cookies.functionality: nothing identifying.
        Some("functionality") if identifying => clauses.push("cookies.functionality"),
        _ => {}
    }
    // signals.dnt: behaviour is withheld from third parties, and from everyone who personalises. A device's
    // type is neither behaviour nor location nor an identifier.
    if event["dnt"] == true && behaviour && (third_party || plugin == "chat-button") {
        clauses.push("signals.dnt");
    }
    // signals.gpc: third parties get nothing but for essential purposes.
    if event["gpc"] == true && third_party && !essential {
        clauses.push("signals.gpc");
    }
    clauses
}

/// Whether a field is in the data; `*` is any index.
pub fn is_present(data: &Value, field: &str) -> bool {
    !values(data, field).is_empty()
}

/// The values of a field.
pub fn values<'a>(data: &'a Value, field: &str) -> Vec<&'a Value> {
    let mut at = vec![data];
    for part in field.split('/').skip(1) {
        at = at
            .into_iter()
            .flat_map(|value| match part {
                "*" => value.as_array().map(|items| items.iter().collect()).unwrap_or_default(),
                name => value.get(name).into_iter().collect::<Vec<_>>(),
            })
            .collect();
    }
    at
}
