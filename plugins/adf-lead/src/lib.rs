//! A finished chat as an ADF 1.0 lead. Builds one request; never sees an e-mail address or a telephone number.

use plugin_sdk::events::ChatEnded;
use plugin_sdk::xml::Xml;
use plugin_sdk::{Event, Failure, Outcome, Request, Share};
use serde::Deserialize;

/// The plugin.
pub struct AdfLead;

/// Which dealer the leads of this connection go to.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    /// The dealer's number at the CRM.
    pub dealer: String,
    /// The dealer's name as the lead shall show it.
    pub vendor_name: String,
}

/// The format wants a vehicle, and a chat names none.
const UNKNOWN: &str = "not stated";

impl Share for AdfLead {
    type Event = ChatEnded;
    type Settings = Settings;

    fn on_event(event: Event<ChatEnded, Settings>) -> Result<Outcome, Failure> {
        let name = event.data.contact.as_ref().and_then(|contact| contact.name.as_ref());
        let (Some(first), Some(last)) =
            (name.and_then(|name| name.first.as_deref()), name.and_then(|name| name.last.as_deref()))
        else {
            return Err(Failure::rejected(
                "a lead needs the first and last name, which the manifest requires",
            ));
        };
        let lead = lead(&event, first, last);
        Ok(Outcome::new().deliver(Request::to("leads").path("dealer", event.settings.dealer).body(lead)))
    }
}

fn lead(event: &Event<ChatEnded, Settings>, first: &str, last: &str) -> Xml {
    let vendor = &event.settings.vendor_name;
    let mut xml = Xml::document();
    xml.instruction("adf", "version=\"1.0\"");
    xml.open("adf", &[]);
    xml.open("prospect", &[("status", "new")]);
    xml.leaf_some("id", &[("sequence", "1"), ("source", "chat")], event.data.conversation.as_deref());
    xml.leaf("requestdate", &[], &event.time);

    xml.open("vehicle", &[("interest", "buy")]);
    xml.leaf("year", &[], UNKNOWN);
    xml.leaf("make", &[], UNKNOWN);
    xml.leaf("model", &[], UNKNOWN);
    xml.close();

    xml.open("customer", &[]);
    xml.open("contact", &[]);
    xml.leaf("name", &[("part", "first")], first);
    xml.leaf("name", &[("part", "last")], last);
    xml.leaf_some("email", &[], event.sealed("/contact/email"));
    xml.leaf_some("phone", &[("type", "voice")], event.sealed("/contact/phone"));
    xml.close();
    comments(&mut xml, &event.data);
    xml.close();

    xml.open("vendor", &[]);
    xml.leaf("vendorname", &[], vendor);
    xml.open("contact", &[]);
    xml.leaf("name", &[("part", "full")], vendor);
    xml.close();
    xml.close();

    xml.open("provider", &[]);
    xml.leaf("name", &[("part", "full")], "ACME CRM for chats");
    xml.close();
    xml
}

/// What the dealer reads first: where the customer wrote from, and what was said where that is shared.
fn comments(xml: &mut Xml, chat: &ChatEnded) {
    let device = chat.visit.as_ref().and_then(|visit| visit.device_type.as_deref());
    let said = || chat.transcript.iter().flatten().filter_map(|turn| turn.text.as_deref());
    if device.is_none() && said().next().is_none() {
        return;
    }
    xml.open("comments", &[]);
    if let Some(device) = device {
        xml.content("Device: ");
        xml.content(device);
        xml.content("\n");
    }
    for text in said() {
        xml.content("- ");
        xml.content(text);
        xml.content("\n");
    }
    xml.close();
}

plugin_sdk::export!(AdfLead: share);

#[cfg(test)]
mod tests {
    use plugin_sdk::events::{Contact, Name, Turn, Visit};

    use super::*;

    fn chat() -> ChatEnded {
        ChatEnded {
            contact: Some(Contact {
                name: Some(Name { first: Some("Ada".into()), last: Some("O'Kafor <&>".into()) }),
                ..Contact::default()
            }),
            ..ChatEnded::default()
        }
    }

    fn settings() -> Settings {
        Settings { dealer: "d-7".into(), vendor_name: "Northside Motors".into() }
    }

    fn body(event: Event<ChatEnded, Settings>) -> String {
        let outcome = AdfLead::on_event(event).unwrap();
        let [request] = outcome.deliveries() else { panic!("one chat is one lead") };
        assert_eq!(request.endpoint(), "leads");
        assert_eq!(request.path_parts("dealer").unwrap().to_string(), "d-7");
        assert_eq!(outcome.returns(), "{}");
        request.body_parts().to_string()
    }

    #[test]
    fn a_lead_with_names_alone_has_no_empty_elements() {
        let lead = body(Event::sample(chat(), settings()));
        assert_eq!(
            lead,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><?adf version=\"1.0\"?><adf><prospect status=\"new\">\
             <requestdate>2017-11-02T09:06:01Z</requestdate>\
             <vehicle interest=\"buy\"><year>not stated</year><make>not stated</make><model>not stated</model></vehicle>\
             <customer><contact><name part=\"first\">Ada</name><name part=\"last\">O'Kafor &lt;&amp;&gt;</name></contact></customer>\
             <vendor><vendorname>Northside Motors</vendorname><contact><name part=\"full\">Northside Motors</name></contact></vendor>\
             <provider><name part=\"full\">ACME CRM for chats</name></provider></prospect></adf>"
        );
    }

    #[test]
    fn sealed_fields_are_placed_and_not_read() {
        let lead = body(Event::sample(chat(), settings()).with_sealed(&["/contact/email", "/contact/phone"]));
        assert!(lead.contains(
            "<email>{/contact/email}</email><phone type=\"voice\">{/contact/phone}</phone></contact>"
        ));
    }

    #[test]
    fn the_transcript_and_device_are_comments_where_they_are_shared() {
        let turn = |text: Option<&str>| Turn { text: text.map(Into::into), ..Turn::default() };
        let event = ChatEnded {
            conversation: Some("23_00017".into()),
            transcript: Some(vec![turn(Some("A <van>?")), turn(None), turn(Some("Yes & no"))]),
            visit: Some(Visit { device_type: Some("phone".into()), ..Visit::default() }),
            ..chat()
        };
        let lead = body(Event::sample(event, settings()));
        assert!(lead.contains("<id sequence=\"1\" source=\"chat\">23_00017</id>"));
        assert!(
            lead.contains("<comments>Device: phone&#10;- A &lt;van&gt;?&#10;- Yes &amp; no&#10;</comments>")
        );
    }

    #[test]
    fn without_a_name_there_is_no_lead() {
        let failure = AdfLead::on_event(Event::sample(ChatEnded::default(), settings())).unwrap_err();
        assert!(matches!(failure, Failure::Rejected(_)));
    }
}
