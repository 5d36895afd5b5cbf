//! Behaviours about asking the partner: too often, where there is nobody, with what may not be sent, to have a value
//! come back without its labels, and to keep what came until nobody knows from whom it is.

use plugin_sdk::bindings::exchange::send;
use plugin_sdk::bindings::types::{Failure, Part, Request, Response};
use plugin_sdk::serde_json::{Value, from_str, json};

use crate::memory;
use crate::requests::{field, text, valid};

const EMAIL: &str = "/contact/email";

/// A question with the sealed address in it.
fn question() -> Request {
    about("ask", EMAIL)
}

/// A request with one field in it.
fn about(endpoint: &str, path: &str) -> Request {
    Request {
        endpoint: endpoint.to_owned(),
        path: vec![("slot".to_owned(), vec![text("s-1")])],
        headers: Vec::new(),
        body: vec![text(r#"{"who":"#), field(path), text("}")],
    }
}

/// A question without anything in it.
fn small_talk() -> Request {
    Request { body: vec![text("{}")], ..question() }
}

/// JSON text to return, and requests to deliver; `None` where the behaviour is not about exchanges. `sealed` is what
/// the call may place.
pub(crate) fn outcome(behaviour: &str, sealed: &[String]) -> Option<Result<(String, Vec<Request>), Failure>> {
    let each = |endpoint: &'static str| sealed.iter().map(move |path| about(endpoint, path));
    let request = match behaviour {
        "ask-sealed" => {
            each("ask").skip(1).for_each(|question| drop(send(&question)));
            each("ask").next().unwrap_or_else(small_talk)
        }
        "ask-and-deliver-sealed" => small_talk(),
        "deliver-sealed" => return Some(Ok((crate::returns::FINE.to_owned(), each("json").collect()))),
        "ask" | "ask-and-remember" => small_talk(),
        "ask-about-sealed" | "launder" => question(),
        "ask-and-recall" => {
            let _ = plugin_sdk::bindings::memory::get(memory::KEY);
            small_talk()
        }
        "ask-too-often" => {
            for _ in 0..4 {
                let _ = send(&small_talk());
            }
            small_talk()
        }
        "ask-undeclared-endpoint" => Request { endpoint: "elsewhere".to_owned(), ..question() },
        "ask-without-reply" => valid(),
        "ask-ungranted-field" => Request { body: vec![field("/contact/phone")], ..question() },
        "ask-sealed-in-undeclared-header" => {
            Request { headers: vec![("x-other".to_owned(), vec![field(EMAIL)])], ..small_talk() }
        }
        "ask-sealed-in-undeclared-slot" => {
            let mut request = small_talk();
            request.path.push(("other".to_owned(), vec![field(EMAIL)]));
            request
        }
        "ask-too-much" => Request { body: vec![text(&"x".repeat(600_000))], ..question() },
        _ => return None,
    };
    let answer = send(&request);
    let verdict = match &answer {
        Ok(Response { body, .. }) => answered(body),
        Err(Failure::Rejected(_)) => "rejected".to_owned(),
        Err(_) => "unavailable".to_owned(),
    };
    // For a later call, which returns it where it returns what it reads of the event.
    if behaviour == "ask-and-remember" {
        return Some(memory::remember(memory::KEY, &verdict).map(|returns| (returns, Vec::new())));
    }
    // What came back goes out again as the plugin's own words.
    let deliveries = match behaviour {
        "launder" => vec![Request { body: said(&verdict), ..valid() }],
        "ask-and-deliver-sealed" => each("json").collect(),
        _ => Vec::new(),
    };
    Some(Ok((json!({ "verdict": verdict }).to_string(), deliveries)))
}

fn answered(body: &str) -> String {
    let body: Value = from_str(body).unwrap_or_default();
    body.get("echo").and_then(Value::as_str).unwrap_or("answered").to_owned()
}

fn said(words: &str) -> Vec<Part> {
    vec![text(&json!({ "note": words }).to_string())]
}
