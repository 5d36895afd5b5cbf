//! Sends who ended a chat to our CRM, and gives the brand a greeting.

use plugin_sdk::events::ChatEnded;
use plugin_sdk::{Event, Failure, NoSettings, Outcome, Request, Share, json};
use serde::Serialize;

/// The plugin.
pub struct Plugin;

/// What the brand gets back: `schemas/returns.json`.
#[derive(Serialize)]
struct Returned {
    greeting: String,
}

impl Share for Plugin {
    type Event = ChatEnded;
    type Settings = NoSettings;

    fn on_event(event: Event<ChatEnded, NoSettings>) -> Result<Outcome, Failure> {
        // Withheld and never provided look the same: absent.
        let Some(email) = event.sealed("/contact/email") else {
            return Ok(Outcome::new());
        };
        let name = event.data.contact.and_then(|contact| contact.name).and_then(|name| name.first);
        let lead = json::object()
            .with("at", event.time.as_str())
            .with_some("name", name.as_deref())
            // The gateway writes the address here, outside of the sandbox.
            .with("email", email);
        let greeting = name.map_or_else(|| "Hello".to_owned(), |name| format!("Hello {name}"));
        Outcome::new().deliver(Request::to("leads").body(lead)).returning(&Returned { greeting })
    }
}

plugin_sdk::export!(Plugin: share);

#[cfg(test)]
mod tests {
    use plugin_sdk::events::{Contact, Name};

    use super::*;

    fn chat() -> Event<ChatEnded, NoSettings> {
        let name = Name { first: Some("Mira".to_owned()), ..Name::default() };
        let contact = Contact { name: Some(name), ..Contact::default() };
        Event::sample(ChatEnded { contact: Some(contact), ..ChatEnded::default() }, NoSettings {})
    }

    #[test]
    fn a_lead_has_the_address_sealed() {
        let outcome = Plugin::on_event(chat().with_sealed(&["/contact/email"])).unwrap();
        assert_eq!(
            outcome.deliveries()[0].body_parts().to_string(),
            r#"{"at":"2017-11-02T09:06:01Z","name":"Mira","email":{/contact/email}}"#
        );
        assert_eq!(outcome.returns(), r#"{"greeting":"Hello Mira"}"#);
    }

    #[test]
    fn without_an_address_there_is_no_lead() {
        assert!(Plugin::on_event(chat()).unwrap().deliveries().is_empty());
    }
}
