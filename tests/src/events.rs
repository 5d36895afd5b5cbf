//! Events for the tests: made here with what a test wants to change, or read from a file.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value, json};

/// A new id on each call.
pub fn new_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("test-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// An event with the given data, of a consumer in the US who sent no signal.
pub fn event(kind: &str, brand: &str, subject: &str, data: Value) -> Value {
    json!({
        "specversion": "1.0", "id": new_id(), "source": "/tests", "type": kind, "subject": subject,
        "time": "2026-03-02T09:00:00Z", "datacontenttype": "application/json", "brand": brand, "region": "US",
        "data": data,
    })
}

/// A finished chat with names, e-mail address, telephone number, visit and three turns.
pub fn chat_ended(brand: &str, subject: &str) -> Value {
    event(
        "chat.ended",
        brand,
        subject,
        json!({
            "conversation": "conv-2001",
            "channel": "web",
            "contact": {
                "name": { "first": "Ottoline", "last": "Quillfeather" },
                "email": "ottoline.quillfeather@example.org",
                "phone": "+1-212-555-0142",
            },
            "visit": { "ip": "192.0.2.77", "browser": "Firefox 147", "os": "Fedora 43", "device_type": "tablet" },
            "transcript": [
                { "speaker": "consumer", "text": "Is the turquoise roadster still available?", "at": "2026-03-02T08:58:00Z" },
                { "speaker": "agent", "text": "It is, and it is fully serviced.", "at": "2026-03-02T08:58:30Z" },
                { "speaker": "consumer", "text": "Splendid, please call me.", "at": "2026-03-02T08:59:00Z" },
            ],
        }),
    )
}

/// A page view of a minute and a half.
pub fn page_viewed(brand: &str, subject: &str) -> Value {
    event(
        "page.viewed",
        brand,
        subject,
        json!({
            "url": format!("https://{brand}.example/offers"), "title": "Offers", "seconds_on_page": 90,
            "ip": "192.0.2.77", "browser": "Firefox 147", "os": "Fedora 43", "device_type": "desktop",
        }),
    )
}

/// Contact data, which engage the consumer with the brand.
pub fn contact_provided(brand: &str, subject: &str) -> Value {
    event(
        "contact.provided",
        brand,
        subject,
        json!({ "contact": { "name": { "first": "Ottoline", "last": "Quillfeather" } } }),
    )
}

/// The event with attributes, or members of its data by JSON Pointer (`/data/…`), set or, by null, taken out.
#[must_use]
pub fn with<const N: usize>(mut event: Value, changes: [(&str, Value); N]) -> Value {
    for (place, value) in changes {
        let place = place.strip_prefix('/').unwrap_or(place);
        let (parents, last) = place.rsplit_once('/').unwrap_or(("", place));
        let mut at = &mut event;
        for name in parents.split('/').filter(|name| !name.is_empty()) {
            at = match name.parse::<usize>() {
                Ok(index) if at.is_array() => &mut at[index],
                _ => &mut at[name],
            };
        }
        match (value, at) {
            (Value::Null, Value::Object(object)) => {
                object.shift_remove(last);
            }
            (value, at @ (Value::Object(_) | Value::Null)) => {
                if at.is_null() {
                    *at = Value::Object(Map::new());
                }
                at[last] = value;
            }
            (value, at) => at[last.parse::<usize>().expect("an index")] = value,
        }
    }
    event
}

/// The events of a file of JSON lines.
pub fn read(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).expect("a line is an event")).collect()
}
