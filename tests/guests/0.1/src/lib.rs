//! A plugin of version 0.1 of the interface: counts its readable bytes, hands a sealed field on, logs, remembers.

wit_bindgen::generate!({
    path: "../../../wit/0.1",
    inline: "package guest:it;
        world it {
            include integration:plugin/share-plugin@0.1.0;
            include integration:plugin/decide-plugin@0.1.0;
            include integration:plugin/imports-memory@0.1.0;
        }",
    world: "guest:it/it",
    generate_all,
});

use exports::integration::plugin::{decide, share};
use integration::plugin::types::{Event, Failure, Outcome, Part, Request};
use integration::plugin::{log, memory};

struct Guest;

impl share::Guest for Guest {
    fn on_event(event: Event) -> Result<Outcome, Failure> {
        if event.fields.contains("please fail") {
            return Err(Failure::Unavailable("asked to".to_owned()));
        }
        let calls = memory::get("calls").and_then(|calls| calls.parse::<u32>().ok()).unwrap_or(0) + 1;
        memory::set("calls", &calls.to_string()).map_err(Failure::Rejected)?;
        log::write(log::Level::Info, &format!("call {calls}"));
        let email = event.sealed.iter().find(|path| *path == "/contact/email").cloned();
        let deliveries = email.into_iter().map(|email| Request {
            endpoint: "leads".to_owned(),
            path: vec![],
            headers: vec![],
            body: vec![Part::Text(r#"{"email":"#.to_owned()), Part::Field(email), Part::Text("}".to_owned())],
        });
        Ok(Outcome { deliveries: deliveries.collect(), returns: format!(r#"{{"calls":{calls}}}"#) })
    }
}

impl decide::Guest for Guest {
    fn decide(slot: String, event: Event) -> Result<String, Failure> {
        Ok(format!(r#"{{"show":{}}}"#, slot == "guest" && !event.fields.is_empty()))
    }
}

export!(Guest);
