//! Behaviours about what is remembered: what is read under one consumer is looked for under another, what the partner
//! answered is returned later, keys that are values, too much of everything.

use plugin_sdk::bindings::memory::{get, set};
use plugin_sdk::bindings::types::Failure;
use plugin_sdk::serde_json::{Value, json};

use crate::returns;

pub(crate) const KEY: &str = "secret";

/// JSON text to return; `None` where the behaviour is not about memory.
pub(crate) fn json(behaviour: &str, secret: &str) -> Option<Result<String, Failure>> {
    Some(match behaviour {
        "remember" => remember(KEY, secret),
        "remember-by-name" => remember(secret, "named"),
        "remember-and-trap" => match remember(KEY, secret) {
            Ok(_) => std::process::abort(),
            failure => failure,
        },
        "recall" => Ok(verdict(get(KEY).as_deref().unwrap_or("\"nothing\""))),
        "recall-by-name" => Ok(verdict(get(secret).as_deref().unwrap_or("\"nothing\""))),
        // What it wrote itself, it reads in the same call; else a withheld memory could be told from an empty one.
        "recall-what-it-remembers" => remember(KEY, secret).map(|_| verdict(&get(KEY).unwrap_or_default())),
        "count" => {
            let count = get("count").and_then(|count| count.parse::<u32>().ok()).unwrap_or(0) + 1;
            keep("count", &count.to_string())
                .map(|()| json!({ "verdict": "counted", "count": count }).to_string())
        }
        "overfill" => Ok(overfill()),
        _ => return None,
    })
}

/// JSON text to return once it is kept: nothing of it.
pub(crate) fn remember(key: &str, value: &str) -> Result<String, Failure> {
    keep(key, &Value::from(value).to_string()).map(|()| returns::FINE.to_owned())
}

fn keep(key: &str, value: &str) -> Result<(), Failure> {
    set(key, value).map_err(Failure::Rejected)
}

/// The value, if it is a text, as the verdict.
fn verdict(value: &str) -> String {
    let value: Value = plugin_sdk::serde_json::from_str(value).unwrap_or_default();
    json!({ "verdict": value }).to_string()
}

/// Goes over each limit by one, and says how many of the writes were refused: 6 of 6.
fn overfill() -> String {
    let text = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    let mut refused = 0;
    let mut count = |written: Result<(), String>| refused += usize::from(written.is_err());
    count(set(&"k".repeat(129), "1"));
    count(set("large", &text(8 * 1024 + 1)));
    count(set("broken", "{"));
    count(set("two", "1 2"));
    // Four of 8 KiB would be 32 KiB, were it not for their keys.
    (0..3).for_each(|n| count(set(&format!("full-{n}"), &text(8 * 1024))));
    count(set("full-3", &text(8 * 1024)));
    for n in 3..64 {
        count(set(&format!("entry-{n}"), "1"));
    }
    count(set("one-too-many", "1"));
    json!({ "verdict": "overfilled", "count": refused }).to_string()
}
