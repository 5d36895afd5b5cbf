//! A telephone number that a plugin remembers, or that its partner answers, is asked about as one of the event is
//! (clause choice.sms).

use gateway_tests::{Behaviour, Options, components, events};
use serde_json::{Value, json};

use super::{BRAND, World, chat, let_all_meet};
use crate::hostile::remade::with_manifest;

/// What stands in the place of what is remembered or answered.
const NUMBER: &str = "+1 (212) 555-0177";

impl World {
    /// The plugin reads the number of the event, is answered one, and sends by SMS.
    async fn texting() -> Self {
        let mut world = Self::with(Options::default()).await;
        let release = with_manifest(&components().hostile.bytes, |manifest| {
            manifest["plugin"]["version"] = json!("1.0.1");
            manifest["endpoint"][0]["channel"] = json!("sms");
            let asked = manifest["endpoint"].as_array_mut().unwrap().last_mut().unwrap();
            asked["reply"] = json!("user.contact.phone_number");
            let phone = json!({ "field": "/contact/phone", "access": "read", "why": "whom to text" });
            manifest["share"][0]["receives"].as_array_mut().unwrap().push(phone);
            let_all_meet(manifest);
        });
        world.release = world.gateway.partner_key("mallory").await.publish(&release).await.expect(201);
        world
    }

    async fn stop(&self) {
        let stop = json!({ "text": "STOP", "phone": "+12125550177" });
        let stop = events::event("sms.received", BRAND, "texter", stop);
        self.gateway.source(BRAND).await.post_event(&stop).await.expect(202);
    }

    /// The outcome of the newest request, and the strictest verdict on what else than a field it carries: a memory has
    /// one for each value that is in it.
    async fn delivery(&self, carried: &str) -> (Value, Value) {
        let row = self.rows("ada", "delivery").await.pop().expect("a row");
        let of_it = row["fields"].as_array().unwrap().iter().filter(|of| of["field"] == carried);
        let strictest = of_it.max_by_key(|of| of["decision"] == "withhold").expect("a verdict");
        (row["outcome"].clone(), strictest["reason"].clone())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_remembered_of_one_that_opted_out_is_not_texted() {
    let world = World::texting().await;
    let named = events::with(chat("ada"), [("/data/contact/name/first", json!(NUMBER))]);
    world.share("remember", &named).await;
    world.share("recall", &chat("ada")).await;
    assert_eq!(world.returned().await["value"]["verdict"], NUMBER);
    let went = (json!("attempt"), json!("clause:integrations.share"));
    assert_eq!(world.delivery("memory").await, went);
    world.stop().await;
    world.share("recall", &chat("ada")).await;
    assert_eq!(world.delivery("memory").await, (json!("withheld"), json!("clause:choice.sms")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_partner_answers_of_one_that_opted_out_is_not_texted() {
    let world = World::texting().await;
    let answer = Behaviour::Answer(200, vec![], json!({ "echo": NUMBER }).to_string().into_bytes());
    let asked = async || {
        world.gateway.partner.script([answer.clone()]);
        world.share("launder", &chat("ada")).await;
        world.delivery("ask").await
    };
    assert_eq!(asked().await.0, "attempt");
    world.stop().await;
    assert_eq!(asked().await, (json!("withheld"), json!("clause:choice.sms")));
}
