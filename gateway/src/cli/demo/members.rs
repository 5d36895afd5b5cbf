//! Three scenes about members of a loyalty programme, on a real purchase: an offer that combines what the partner
//! knows with what the brand knows, a combination that was not granted, and an opt-out that takes effect.

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::input::Event;
use super::setup::{MEMBERS_BRAND, MEMBERS_EVENT, MEMBERS_PLUGIN, MEMBERS_SLOT};
use super::{Running, setup};
use crate::cli::CliError;
use crate::cli::client::{CLOUDEVENT, ClientError, segment};
use crate::outbound::SigningKey;

/// What the programme says of its member.
const TIER: &str = "gold";

/// A purchase whose consumer sent no signal, in the US: the first of the input's.
pub(super) fn purchase(events: &[Event]) -> Option<Value> {
    events
        .iter()
        .filter(|event| event.kind == MEMBERS_EVENT && event.line.brand == MEMBERS_BRAND)
        .filter_map(|event| serde_json::from_str::<Value>(&event.line.text).ok())
        .find(|event| {
            let signal = |name: &str| event.get(name).is_some_and(|value| *value != Value::Bool(false));
            event.get("region") == Some(&json!("US"))
                && !signal("dnt")
                && !signal("gpc")
                && !signal("cookies")
        })
}

/// Plays them; what there is to see.
///
/// # Errors
/// Where something does not come to what the policy says.
pub(super) async fn play(
    running: &Running,
    world: setup::World,
    purchase: Value,
) -> Result<String, CliError> {
    let (Some((document, secret)), Some(source), Some(own)) =
        (world.members, running.keys.source(MEMBERS_BRAND), running.keys.brand(MEMBERS_BRAND))
    else {
        return Err(CliError::FellShort(format!("{MEMBERS_PLUGIN} is not on")));
    };
    let brand = running.client.with_key(own.clone());
    let source = running.client.with_key(source.clone());
    let path = |rest: &str| format!("/v1/brands/{}/{rest}", segment(MEMBERS_BRAND));
    let decide = async |number: u32| {
        let mut event = purchase.clone();
        let id = event.get("id").and_then(Value::as_str).unwrap_or_default();
        let again = format!("{id}-again-{number}");
        if let Some(object) = event.as_object_mut() {
            object.insert("id".to_owned(), Value::String(again));
        }
        let slot = path(&format!("decisions/{}", segment(MEMBERS_SLOT)));
        source.post(&slot, CLOUDEVENT, event.to_string().into_bytes()).await
    };
    let text = |value: &Value, pointer: &str| match value.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "none".to_owned(),
    };

    // The first answer tells the programme that one of its members bought something.
    let known = running.partner.members().len();
    let before = decide(1).await?;
    running.gateway.settled().await;
    let members = running.partner.members();
    let Some(member) = members.get(known) else {
        return Err(CliError::FellShort("the loyalty programme was told of no member".to_owned()));
    };
    send(running, &secret, &json!({ "member": { "ref": member, "tier": TIER } })).await?;
    // The answer says that the message is taken, not that it is worked on.
    running.gateway.settled().await;
    let after = decide(2).await?;
    running.gateway.settled().await;
    let labels = after.pointer("/provenance/labels/~1offer~1percent").cloned().unwrap_or_default();
    let labels: Vec<&str> = labels.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut told = format!(
        "Members of a loyalty programme\n\n\
         1. A combined offer. After a purchase the banner offers {} % for {}; once gold-club has sent the\n   \
         tier of its member, {} % for {}. The answer carries {}.\n",
        text(&before, "/decision/offer/percent"),
        text(&before, "/decision/offer/for"),
        text(&after, "/decision/offer/percent"),
        text(&after, "/decision/offer/for"),
        labels.join(", "),
    );

    let mut without = document;
    without.grant.remove("combine /offer");
    let connection = path(&format!("connections/{}", segment(MEMBERS_PLUGIN)));
    let refused = match brand.put(&connection, &without).await {
        Err(ClientError::Refused(refused)) => refused.to_string(),
        Err(other) => return Err(other.into()),
        Ok(_) => {
            return Err(CliError::FellShort("a combination was switched on without its grant".to_owned()));
        }
    };
    told.push_str(&format!("\n2. A combination that is not granted. {refused}\n"));

    let subject = text(&purchase, "/subject");
    let choices = path(&format!("consumers/{}/choices", segment(&subject)));
    brand.put(&choices, &json!({ "opt_out": { "integrations": [MEMBERS_PLUGIN] } })).await?;
    let last = decide(3).await?;
    if last.get("decision") != Some(&Value::Null) {
        return Err(CliError::FellShort("an opt-out did not take effect".to_owned()));
    }
    told.push_str(&format!(
        "\n3. An opt-out. The member opts out of {MEMBERS_PLUGIN}, and the next answer is none ({}): the banner\n   \
         shows its ordinary default, and the tier is used no more.\n",
        text(&last, "/reason")
    ));
    running.gateway.settled().await;
    Ok(told)
}

/// Sends a message as the programme does: signed with the secret that the brand gave it.
async fn send(running: &Running, secret: &str, message: &Value) -> Result<(), CliError> {
    let key =
        SigningKey::from_text(&secret.to_owned().into()).map_err(CliError::start("the programme's key"))?;
    let (id, at) = ("msg_demo-1", OffsetDateTime::now_utc().unix_timestamp());
    let body = message.to_string().into_bytes();
    let path = format!("/v1/inbound/{}/{}", segment(MEMBERS_BRAND), segment(MEMBERS_PLUGIN));
    let headers = [
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", at.to_string()),
        ("webhook-signature", key.sign(id, at, &body)),
    ];
    running.client.post_message(&path, &headers, body).await?;
    Ok(())
}
