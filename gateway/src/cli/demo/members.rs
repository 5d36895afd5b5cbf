//! Three scenes about members of a loyalty programme: an offer that combines what the partner knows with what the
//! brand knows, a combination that was not granted, and an opt-out that takes effect. The first and the last are
//! played on a purchase of the input: a real one where the input is real. The sample that a demo takes without
//! `--input` is made up, and so is the purchase in it.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::input::Event;
use super::setup::{MEMBERS_BRAND, MEMBERS_EVENT, MEMBERS_PLUGIN, MEMBERS_SLOT};
use super::{Running, setup};
use crate::cli::CliError;
use crate::cli::client::{CLOUDEVENT, Client, ClientError, segment};
use crate::outbound::SigningKey;
use crate::pipeline::ConnectionInput;

/// What the programme says of its member.
const TIER: &str = "gold";

/// The first purchase that the scenes can be played on, those without any signal first: DNT keeps the total from an
/// offer, and a class of cookies keeps the offer or the pseudonym. The region is no matter, since the programme's
/// contract covers the transfer, and GPC is about third parties.
pub(super) fn purchase(events: &[Event]) -> Option<Value> {
    let purchases: Vec<(&str, Value)> = events
        .iter()
        .filter(|event| event.kind == MEMBERS_EVENT && event.line.brand == MEMBERS_BRAND)
        .filter_map(|event| Some((event.subject.as_str(), serde_json::from_str(&event.line.text).ok()?)))
        .collect();
    let sent = |event: &Value, name: &str| event.get(name).is_some_and(|value| *value != Value::Bool(false));
    // What the programme was told under a signal stays under it, so all purchases of the consumer count.
    let kept_out: BTreeSet<&str> = purchases
        .iter()
        .filter(|(_, event)| sent(event, "dnt") || sent(event, "cookies"))
        .map(|(subject, _)| *subject)
        .collect();
    let fitting = purchases.iter().filter(|(subject, event)| {
        !kept_out.contains(subject) && event.pointer("/data/total").is_some_and(Value::is_number)
    });
    fitting.min_by_key(|(_, event)| sent(event, "gpc")).map(|(_, event)| event.clone())
}

/// Plays them, in their order; what there is to see. Without a purchase only the second can be played, and the
/// others are said to be left out.
///
/// # Errors
/// Where something does not come to what the policy says.
pub(super) async fn play(
    running: &Running,
    world: setup::World,
    purchase: Option<&Value>,
) -> Result<String, CliError> {
    let (Some((document, secret)), Some(source), Some(own)) =
        (world.members, running.keys.source(MEMBERS_BRAND), running.keys.brand(MEMBERS_BRAND))
    else {
        return Err(CliError::FellShort(format!("{MEMBERS_PLUGIN} is not on")));
    };
    let stage = Stage {
        running,
        source: running.client.with_key(source.clone()),
        brand: running.client.with_key(own.clone()),
        secret,
    };
    let offer = match purchase {
        Some(purchase) => stage.offer(purchase).await?,
        None => left_out(),
    };
    let refused = stage.refusal(document).await?;
    let opt_out = match purchase {
        Some(purchase) => stage.opt_out(purchase).await?,
        None => left_out(),
    };
    Ok(format!(
        "Members of a loyalty programme\n\n1. A combined offer. {offer}\n\n\
         2. A combination that is not granted. {refused}\n\n3. An opt-out. {opt_out}\n"
    ))
}

fn left_out() -> String {
    format!(
        "Left out: no purchase in the input fits. It takes a {MEMBERS_EVENT} of {MEMBERS_BRAND} with a total, by a\n   \
         consumer without Do Not Track and without a class of cookies."
    )
}

/// The brand, its source of events, and the programme.
struct Stage<'r> {
    running: &'r Running,
    source: Client,
    brand: Client,
    /// What the programme signs with.
    secret: String,
}

impl Stage<'_> {
    async fn offer(&self, purchase: &Value) -> Result<String, CliError> {
        // The first answer tells the programme that one of its members bought something.
        let known = self.running.partner.members().len();
        let before = self.decide(purchase, 1).await?;
        self.running.gateway.settled().await;
        let members = self.running.partner.members();
        let Some(member) = members.get(known) else {
            return Err(CliError::FellShort("the loyalty programme was told of no member".to_owned()));
        };
        self.send(&json!({ "member": { "ref": member, "tier": TIER } })).await?;
        // The answer says that the message is taken, not that it is worked on.
        self.running.gateway.settled().await;
        let after = self.decide(purchase, 2).await?;
        self.running.gateway.settled().await;
        if (text(&before, "/decision/offer/for"), text(&after, "/decision/offer/for"))
            != ("everybody".to_owned(), "members".to_owned())
        {
            return Err(CliError::FellShort("a combined offer was not made".to_owned()));
        }
        let labels = after.pointer("/provenance/labels/~1offer~1percent").cloned().unwrap_or_default();
        let labels: Vec<&str> = labels.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        Ok(format!(
            "After a purchase the banner offers {} % for {}; once gold-club has sent the\n   \
             tier of its member, {} % for {}. The answer carries {}.",
            text(&before, "/decision/offer/percent"),
            text(&before, "/decision/offer/for"),
            text(&after, "/decision/offer/percent"),
            text(&after, "/decision/offer/for"),
            labels.join(", "),
        ))
    }

    /// Takes no event: the brand's switch is refused.
    async fn refusal(&self, mut document: ConnectionInput) -> Result<String, CliError> {
        document.grant.remove("combine /offer");
        let connection = path(&format!("connections/{}", segment(MEMBERS_PLUGIN)));
        match self.brand.put(&connection, &document).await {
            Err(ClientError::Refused(refused)) => Ok(refused.to_string()),
            Err(other) => Err(other.into()),
            Ok(_) => Err(CliError::FellShort("a combination was switched on without its grant".to_owned())),
        }
    }

    async fn opt_out(&self, purchase: &Value) -> Result<String, CliError> {
        let choices = path(&format!("consumers/{}/choices", segment(&text(purchase, "/subject"))));
        self.brand.put(&choices, &json!({ "opt_out": { "integrations": [MEMBERS_PLUGIN] } })).await?;
        let last = self.decide(purchase, 3).await?;
        self.running.gateway.settled().await;
        if last.get("decision") != Some(&Value::Null) {
            return Err(CliError::FellShort("an opt-out did not take effect".to_owned()));
        }
        Ok(format!(
            "The member opts out of {MEMBERS_PLUGIN}, and the next answer is none ({}): the banner\n   \
             shows its ordinary default, and the tier is used no more.",
            text(&last, "/reason")
        ))
    }

    /// What the slot answers to the purchase, which comes once more under a number.
    async fn decide(&self, purchase: &Value, number: u32) -> Result<Value, CliError> {
        let mut event = purchase.clone();
        if let Some(object) = event.as_object_mut() {
            object.insert("source".to_owned(), json!("/demo"));
            object.insert("id".to_owned(), json!(format!("again-{number}")));
        }
        let slot = path(&format!("decisions/{}", segment(MEMBERS_SLOT)));
        Ok(self.source.post(&slot, CLOUDEVENT, event.to_string().into_bytes()).await?)
    }

    /// Sends a message as the programme does: signed with the secret that the brand gave it.
    async fn send(&self, message: &Value) -> Result<(), CliError> {
        let key = SigningKey::from_text(&self.secret.clone().into())
            .map_err(CliError::start("the programme's key"))?;
        let (id, at) = ("msg_demo-1", OffsetDateTime::now_utc().unix_timestamp());
        let body = message.to_string().into_bytes();
        let path = format!("/v1/inbound/{}/{}", segment(MEMBERS_BRAND), segment(MEMBERS_PLUGIN));
        let headers = [
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", at.to_string()),
            ("webhook-signature", key.sign(id, at, &body)),
        ];
        self.running.client.post_message(&path, &headers, body).await?;
        Ok(())
    }
}

fn path(rest: &str) -> String {
    format!("/v1/brands/{}/{rest}", segment(MEMBERS_BRAND))
}

/// What stands in an answer.
fn text(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "none".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ingest::Line;

    #[test]
    fn the_purchase_is_one_whose_offer_no_signal_keeps_back() {
        let plain = json!({ "subject": "ada", "region": "EU", "data": { "total": 640 } });
        let of = |changes: &[(&str, Value)]| {
            let mut event = plain.clone();
            changes.iter().for_each(|(name, value)| event[*name] = value.clone());
            event
        };
        let dnt = of(&[("dnt", json!(true))]);
        let gpc = of(&[("subject", json!("bo")), ("gpc", json!(true))]);
        for (why, purchases, expected) in [
            ("there is none", vec![], None),
            ("DNT", vec![dnt.clone()], None),
            ("DNT at another purchase of the consumer", vec![plain.clone(), dnt.clone()], None),
            ("cookies", vec![of(&[("cookies", json!("functionality"))])], None),
            ("no total", vec![of(&[("data", json!({}))])], None),
            ("one inside the area", vec![plain.clone()], Some(0)),
            ("a signal that says no", vec![of(&[("dnt", json!(false))])], Some(0)),
            ("one with GPC, where there is no other", vec![dnt, gpc.clone()], Some(1)),
            ("one without GPC", vec![gpc, plain.clone()], Some(1)),
        ] {
            let events: Vec<Event> = purchases
                .iter()
                .zip(1..)
                .map(|(event, number)| Event {
                    line: Line { number, brand: MEMBERS_BRAND.to_owned(), text: event.to_string() },
                    kind: MEMBERS_EVENT.to_owned(),
                    subject: event["subject"].as_str().unwrap().to_owned(),
                })
                .collect();
            assert_eq!(purchase(&events), expected.map(|at: usize| purchases[at].clone()), "{why}");
        }
    }
}
