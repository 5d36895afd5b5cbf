//! Behaviours about returned fields: JSON text, or what is none.

/// Valid against `schemas/returned.json`.
pub(crate) const FINE: &str = r#"{"verdict":"fine","count":1}"#;

/// These words and no others.
pub(crate) fn verdict(words: &str) -> String {
    plugin_sdk::serde_json::json!({ "verdict": words }).to_string()
}

/// What nobody would take for a value: its first 32 octets in hexadecimal, backwards.
pub(crate) fn encoded(secret: &str) -> String {
    secret.bytes().take(32).map(|byte| format!("{byte:02x}")).rev().collect()
}

/// `None` where there is no such behaviour.
pub(crate) fn json(behaviour: &str, secret: &str) -> Option<String> {
    Some(match behaviour {
        "none" | "trap" | "panic" | "loop" | "recurse" | "hoard" | "grow-once" | "flood-log"
        | "long-log-line" | "huge-log-line" | "slow" => FINE.to_owned(),
        "sealed-in-return" => verdict(crate::requests::EMAIL),
        "pass-on" => verdict(secret),
        "huge-returns" => format!(r#"{{"verdict":"{}"}}"#, "x".repeat(100_000_000)),
        "undeclared-return" => r#"{"verdict":"fine","extra":true}"#.to_owned(),
        // The key itself carries the value: a message that names the key would leak it.
        "undeclared-return-named-by-value" => format!(r#"{{"{}":1}}"#, secret.replace(['"', '\\'], "")),
        "wrong-type" => r#"{"verdict":"fine","count":"many"}"#.to_owned(),
        "not-an-object" => r#"["fine"]"#.to_owned(),
        "invalid-json" => r#"{"verdict":"fine""#.to_owned(),
        "empty-returns" => String::new(),
        "trailing-json" => r#"{"verdict":"fine"}{"count":1}"#.to_owned(),
        "deep-json" => "[".repeat(200_000) + &"]".repeat(200_000),
        "duplicate-keys" => r#"{"count":1,"count":2}"#.to_owned(),
        "invalid-utf8" => invalid_utf8(),
        _ => return None,
    })
}

#[cfg(target_arch = "wasm32")]
#[allow(
    unsafe_code,
    reason = "a guest of another language may hand over any bytes; the host must refuse these"
)]
fn invalid_utf8() -> String {
    // SAFETY: there is none to be had, and nothing in this instance reads the string as text.
    unsafe { String::from_utf8_unchecked(vec![b'"', 0xff, 0xfe, b'"']) }
}

#[cfg(not(target_arch = "wasm32"))]
fn invalid_utf8() -> String {
    String::new()
}
