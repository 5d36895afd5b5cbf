//! The schemas that the gateway is built with, as text. It reads nothing at run time.

macro_rules! schemas {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../catalogue/", $name, ".json")))),*]
    };
}

/// Name and schema of each event type (design: "Event types").
pub(super) const SCHEMAS: &[(&str, &str)] = schemas![
    "application.submitted",
    "call.recorded",
    "chat.ended",
    "chat.message",
    "contact.provided",
    "device.reported",
    "forum.posted",
    "media.shared",
    "page.viewed",
    "promotion.entered",
    "purchase.completed",
    "sms.received",
    "support.requested",
    "survey.completed",
];
