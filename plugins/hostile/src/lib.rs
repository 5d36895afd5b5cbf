//! Everything that a plugin may not do, one behaviour a call. For the gateway's tests alone.

mod exchange;
mod exhaust;
mod memory;
mod requests;
mod returns;

use plugin_sdk::bindings::decide::exports::integration::plugin::decide::Guest as Decide;
use plugin_sdk::bindings::share::exports::integration::plugin::share::Guest as Share;
use plugin_sdk::bindings::types::{Event, Failure, Outcome, Request};
use plugin_sdk::{log, serde_json::Value};

/// What the gateway must make of a behaviour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Nothing is wrong.
    Fine,
    /// The call ends in a trap or at a limit.
    Stopped,
    /// The outcome is refused as a whole: a violation.
    Refused,
    /// A request is refused when it is assembled, at the latest: nothing leaves.
    NotAssembled,
    /// The call is fine, and a consumer's value is in a text that the partner must not read freely.
    Tainted,
}

/// Every behaviour, and what must come of it. `share` knows all of them, `decide` those that need
/// no request.
pub const BEHAVIOURS: &[(&str, Expected)] = {
    use Expected::{Fine, NotAssembled, Refused, Stopped, Tainted};
    &[
        ("none", Fine),
        // exhaust
        ("trap", Stopped),
        ("panic", Stopped),
        ("loop", Stopped),
        ("recurse", Stopped),
        ("hoard", Stopped),
        ("grow-once", Stopped),
        ("flood-log", Fine),
        ("long-log-line", Fine),
        ("huge-log-line", Stopped),
        ("slow", Fine),
        // returns
        ("huge-returns", Stopped),
        ("undeclared-return", Refused),
        ("undeclared-return-named-by-value", Refused),
        ("wrong-type", Refused),
        ("not-an-object", Refused),
        ("invalid-json", Refused),
        ("empty-returns", Refused),
        ("trailing-json", Refused),
        ("deep-json", Stopped),
        ("duplicate-keys", Refused),
        ("invalid-utf8", Stopped),
        ("value-in-failure", Tainted),
        ("value-in-log", Tainted),
        ("huge-failure", Stopped),
        // requests: refused with the outcome
        ("undeclared-endpoint", Refused),
        ("ungranted-field", Refused),
        ("misspelt-field", Refused),
        ("undeclared-slot", Refused),
        ("undeclared-header", Refused),
        ("host-header", Refused),
        ("authorization-header", Refused),
        ("signature-header", Refused),
        ("many-requests", Stopped),
        ("huge-request", Stopped),
        // requests: a field or a text out of its place
        ("json-field-in-string", NotAssembled),
        ("json-field-as-key", NotAssembled),
        ("json-unbalanced", NotAssembled),
        ("json-two-values", NotAssembled),
        ("json-duplicate-keys", NotAssembled),
        ("xml-field-as-name", NotAssembled),
        ("xml-field-in-tag", NotAssembled),
        ("xml-field-in-cdata", NotAssembled),
        ("xml-field-in-comment", NotAssembled),
        ("xml-field-in-instruction", NotAssembled),
        ("xml-doctype", NotAssembled),
        ("xml-unbalanced", NotAssembled),
        ("xml-two-roots", NotAssembled),
        ("form-broken-escape", NotAssembled),
        ("path-empty", NotAssembled),
        ("path-dot-dot", NotAssembled),
        ("path-missing", NotAssembled),
        ("header-line-break", NotAssembled),
        ("header-nul", NotAssembled),
        // Encoded, it would still be `..` to a server that decodes before it splits.
        ("path-slash", NotAssembled),
        // Encoded by the gateway, so harmless.
        ("path-query", Fine),
        // What it never holds, where it would see it: places for values, and texts that stay its own words.
        ("sealed-in-header", Fine),
        ("sealed-in-path", Fine),
        ("sealed-in-return", Fine),
        ("sealed-in-log", Fine),
    ]
};

/// Behaviours that use what outlives a call, or wait for the partner: what comes of each depends on the calls
/// before it, and on the partner.
pub const LASTING: &[&str] = &[
    // returns
    "pass-on",
    "encode",
    // memory
    "remember",
    "remember-by-name",
    "remember-and-trap",
    "recall",
    "recall-by-name",
    "recall-what-it-remembers",
    "count",
    "overfill",
    // exchange
    "ask",
    "ask-about-sealed",
    "launder",
    "ask-and-remember",
    "ask-and-recall",
    "ask-too-often",
    "ask-undeclared-endpoint",
    "ask-without-reply",
    "ask-ungranted-field",
    "ask-sealed-in-undeclared-header",
    "ask-sealed-in-undeclared-slot",
    "ask-too-much",
    // what it may place, each in a request of its own
    "ask-sealed",
    "ask-and-deliver-sealed",
    "deliver-sealed",
];

/// The plugin.
pub struct Hostile;

/// What there is to leak: what another plugin said, or else the first readable value of the event.
fn secret(event: &Event) -> String {
    let fields: Value = plugin_sdk::serde_json::from_str(&event.fields).unwrap_or_default();
    let others = fields.get("returned").and_then(Value::as_object).into_iter().flatten();
    if let Some(said) = others.filter_map(|(_, returned)| returned.get("verdict")?.as_str()).next() {
        return said.to_owned();
    }
    let known = ["/contact/name/first", "/transcript/0/text", "/url", "/location/lat", "/total"];
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), Into::into);
    known.iter().find_map(|path| fields.pointer(path)).map(text).unwrap_or_default()
}

fn behaviour(event: &Event) -> String {
    let settings: Value = plugin_sdk::serde_json::from_str(&event.settings).unwrap_or_default();
    settings.get("behaviour").and_then(Value::as_str).unwrap_or("none").to_owned()
}

/// What both hooks can do: JSON text to return, or a failure.
fn returned(behaviour: &str, event: &Event) -> Result<String, Failure> {
    match behaviour {
        "value-in-log" => {
            log::info(secret(event));
            Ok(returns::FINE.to_owned())
        }
        "sealed-in-log" => {
            log::info(format!("{{{}}}", requests::EMAIL));
            Ok(returns::FINE.to_owned())
        }
        "value-in-failure" => Err(Failure::Rejected(format!("no such customer: {}", secret(event)))),
        "huge-failure" => Err(Failure::Unavailable("x".repeat(10_000_000))),
        _ => {
            if let Some(returned) = memory::json(behaviour, &secret(event)) {
                return returned;
            }
            exhaust::run(behaviour);
            returns::json(behaviour, &secret(event))
                .ok_or_else(|| Failure::Rejected("no such behaviour".to_owned()))
        }
    }
}

impl Share for Hostile {
    fn on_event(event: Event) -> Result<Outcome, Failure> {
        let behaviour = behaviour(&event);
        if let Some(deliveries) = requests::deliveries(&behaviour) {
            return Ok(Outcome { deliveries, returns: returns::FINE.to_owned() });
        }
        if let Some(asked) = exchange::outcome(&behaviour, &event.sealed) {
            return asked.map(|(returns, deliveries)| Outcome { deliveries, returns });
        }
        if behaviour == "encode" {
            let encoded = returns::encoded(&secret(&event));
            return Ok(Outcome {
                deliveries: vec![requests::with_checksum(&encoded)],
                returns: returns::verdict(&encoded),
            });
        }
        let returns = returned(&behaviour, &event)?;
        Ok(Outcome { deliveries: vec![requests::valid()], returns })
    }
}

impl Decide for Hostile {
    fn decide(_slot: String, event: Event) -> Result<String, Failure> {
        let behaviour = behaviour(&event);
        match exchange::outcome(&behaviour, &event.sealed) {
            Some(asked) => asked.map(|(returns, _)| returns),
            None => returned(&behaviour, &event),
        }
    }
}

/// The requests of a behaviour that is about requests; for the tests of the gateway's boundary.
pub fn deliveries(behaviour: &str) -> Option<Vec<Request>> {
    requests::deliveries(behaviour)
}

#[cfg(target_arch = "wasm32")]
plugin_sdk::bindings::share::export_share!(Hostile with_types_in plugin_sdk::bindings::share);
#[cfg(target_arch = "wasm32")]
plugin_sdk::bindings::decide::export_decide!(Hostile with_types_in plugin_sdk::bindings::decide);

#[cfg(test)]
mod tests {
    use super::*;

    fn event(behaviour: &str) -> Event {
        Event {
            id: "e".into(),
            kind: "chat.ended".into(),
            time: "2017-11-02T09:06:01Z".into(),
            consumer: None,
            fields: r#"{"contact":{"name":{"first":"Ada"}}}"#.into(),
            sealed: vec!["/contact/email".into()],
            settings: format!(r#"{{"host":"h","behaviour":"{behaviour}"}}"#),
        }
    }

    /// Those that end the process cannot be called natively.
    fn callable(behaviour: &str, expected: Expected) -> bool {
        expected != Expected::Stopped && behaviour != "slow"
    }

    #[test]
    fn every_behaviour_is_implemented() {
        for &(behaviour, expected) in BEHAVIOURS {
            if callable(behaviour, expected)
                && let Err(Failure::Rejected(reason)) = Hostile::on_event(event(behaviour))
            {
                assert_ne!(reason, "no such behaviour", "{behaviour}");
            }
        }
        assert!(matches!(Hostile::on_event(event("nonsense")), Err(Failure::Rejected(_))));
    }

    #[test]
    fn it_leaks_what_it_says_it_leaks() {
        let Err(Failure::Rejected(reason)) = Hostile::on_event(event("value-in-failure")) else {
            panic!("no failure")
        };
        assert!(reason.contains("Ada"));
    }
}
