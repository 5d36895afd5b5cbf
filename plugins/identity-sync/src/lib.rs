//! Asks an identity service whether it knows a contact, and tells the brand. The plugin itself learns neither
//! the e-mail address nor the telephone number: the gateway fills them in.

use plugin_sdk::events::ContactProvided;
use plugin_sdk::exchange::{Reply, ask};
use plugin_sdk::{Event, EventType, Failure, NoSettings, Outcome, Request, Share, json};
use serde::{Deserialize, Serialize};

/// The plugin.
pub struct IdentitySync;

/// The event, of which the plugin reads nothing.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Contact {}

impl EventType for Contact {
    const TYPE: &str = ContactProvided::TYPE;
}

/// What goes to the brand: `schemas/match.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Returned {
    /// What came of the question.
    #[serde(rename = "match")]
    pub found: Match,
}

/// What came of the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Match {
    /// Whether the service knows the contact.
    pub status: Status,
}

/// Whether the service knows the contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It does.
    Known,
    /// It does not.
    New,
    /// It said nothing that this plugin understands.
    Unclear,
}

impl Share for IdentitySync {
    type Event = Contact;
    type Settings = NoSettings;

    fn on_event(event: Event<Contact, NoSettings>) -> Result<Outcome, Failure> {
        let Some(question) = question(&event) else { return Ok(Outcome::new()) };
        let status = status(&ask(question)?)?;
        Outcome::new().returning(&Returned { found: Match { status } })
    }
}

/// None where there is no e-mail address to ask about.
fn question(event: &Event<Contact, NoSettings>) -> Option<Request> {
    let body = json::object()
        .with("email", event.sealed("/contact/email")?)
        .with_some("phone", event.sealed("/contact/phone"));
    Some(Request::to("lookup").body(body))
}

/// One of three words, whatever the service writes: its text goes no further.
fn status(reply: &Reply) -> Result<Status, Failure> {
    match reply.status {
        200..=299 => {}
        408 | 429 | 500..=599 => return Err(Failure::unavailable("the service cannot answer now")),
        _ => return Err(Failure::rejected("the service does not answer this question")),
    }
    Ok(match reply.body.get("match").and_then(|word| word.as_str()) {
        Some("known") => Status::Known,
        Some("new") => Status::New,
        _ => Status::Unclear,
    })
}

plugin_sdk::export!(IdentitySync: share);

#[cfg(test)]
mod tests {
    use plugin_sdk::exchange::sample;
    use plugin_sdk::serde_json::{Value, json};

    use super::*;

    const BOTH: &[&str] = &["/contact/email", "/contact/phone"];

    fn event(sealed: &[&str]) -> Event<Contact, NoSettings> {
        Event::sample(Contact {}, NoSettings {}).with_sealed(sealed)
    }

    #[test]
    fn the_question_holds_the_sealed_fields_that_are_there_and_nothing_else() {
        for (sealed, expected) in [
            (BOTH, Some(r#"{"email":{/contact/email},"phone":{/contact/phone}}"#)),
            (&["/contact/email"], Some(r#"{"email":{/contact/email}}"#)),
            (&["/contact/phone"], None),
            (&[], None),
        ] {
            let body = question(&event(sealed)).map(|request| request.body_parts().to_string());
            assert_eq!(body.as_deref(), expected, "{sealed:?}");
        }
    }

    #[test]
    fn the_brand_gets_one_of_three_words_whatever_the_service_writes() {
        for (body, expected) in [
            (json!({ "match": "known" }), "known"),
            (json!({ "match": "new", "because": "no such address" }), "new"),
            (json!({ "match": "known since 2019" }), "unclear"),
            (json!({ "match": "ada@example.org" }), "unclear"),
            (json!({ "match": ["known"] }), "unclear"),
            (json!("known"), "unclear"),
            (Value::Null, "unclear"),
        ] {
            sample(200, body.clone());
            let outcome = IdentitySync::on_event(event(BOTH)).unwrap();
            assert_eq!(outcome.returns(), format!(r#"{{"match":{{"status":"{expected}"}}}}"#), "{body}");
            assert!(outcome.deliveries().is_empty());
        }
    }

    #[test]
    fn a_service_that_does_not_answer_is_asked_later_and_one_that_refuses_is_not() {
        for (status, later) in
            [(503, true), (429, true), (408, true), (400, false), (404, false), (302, false)]
        {
            sample(status, json!({ "match": "known" }));
            let failure = IdentitySync::on_event(event(BOTH)).unwrap_err();
            assert_eq!(matches!(failure, Failure::Unavailable(_)), later, "{status}");
        }
        assert!(
            matches!(IdentitySync::on_event(event(BOTH)), Err(Failure::Unavailable(_))),
            "no answer at all"
        );
    }

    #[test]
    fn without_an_address_nobody_is_asked() {
        let outcome = IdentitySync::on_event(event(&["/contact/phone"])).unwrap();
        assert_eq!((outcome.deliveries().len(), outcome.returns()), (0, "{}"));
    }
}
