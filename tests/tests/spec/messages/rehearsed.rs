//! What a rehearsal says of a message is what a running gateway does with it.

use std::collections::{BTreeMap, BTreeSet};

use gateway::pipeline::Case;
use gateway_tests::components;
use serde_json::{Value, json};

use super::World;
use crate::cases::{identity, of_call, of_row, rehearsed};

/// Labels of what the plugin could read and what was sent, by the rows of the chat: what the partner has.
async fn had(world: &World) -> Value {
    let auditor = world.gateway.auditor().await;
    let mut rows = auditor.flows("stage=call").await;
    rows.extend(auditor.flows("stage=delivery").await);
    let fields = rows.iter().flat_map(|row| row["fields"].as_array().unwrap());
    let had = fields.filter(|field| field["decision"] != "withhold");
    let labels: BTreeSet<&str> =
        had.flat_map(|field| field["labels"].as_array().unwrap()).filter_map(Value::as_str).collect();
    json!({ "labels": labels, "conditions": { "region": "US", "in_conversation": true } })
}

/// A row's fields without those that the message did not bring.
fn brought(called: &Value) -> BTreeMap<String, Value> {
    let returned = of_call(&called["returned"]["fields"]);
    let mut fields = of_call(&called["fields"]);
    if !returned.is_empty() {
        fields.retain(|_, said| said[0] != "return");
        fields.extend(returned);
    }
    fields
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsed_message_brings_what_it_brings_in_production() {
    let world = World::new().await;
    let had = had(&world).await;
    let mut memory = Value::Null;
    for (id, behaviour, says, choices) in [
        ("m-1", "", "gold", json!({})),
        ("m-2", "recall", "silver", json!({})),
        ("m-3", "remember", "silver", json!({})),
        ("m-4", "recall", "bronze", json!({})),
        ("m-5", "answer", "silver", json!({})),
        ("m-6", "", "tin", json!({ "opt_out": { "integrations": [super::PLUGIN] } })),
        ("m-7", "recall", "tin", json!({ "opt_out": { "sale": true } })),
    ] {
        world.choose(choices.clone()).await;
        world.behave(behaviour).await;
        world.send(id, says).await;
        let row = world.gateway.auditor().await.flows("stage=receive").await.remove(0);

        let message = json!({ "member": { "ref": world.handle, "says": says } });
        let mut connection = json!({
            "identity": { "event": identity()["event"], "consumer": world.handle },
            "settings": { "behaviour": behaviour }, "had": had, "engaged": true,
            "partner": { "region": "US", "domains": ["mallory.example"] },
        });
        if !memory.is_null() {
            let text = memory["entries"]["kept"].as_str().unwrap();
            let kept: Value = serde_json::from_str(text).unwrap();
            connection["memory"] = json!({ "entries": { "kept": kept }, "labels": memory["labels"] });
        }
        let case = Case {
            message: Some(message.to_string().into_bytes()),
            connection: serde_json::from_value(connection).unwrap(),
            choices: serde_json::from_value(choices).unwrap(),
            ..Case::default()
        };
        let called = rehearsed(&world.gateway, &components().pen_pal.bytes, case).await;
        let case = format!("{id} {behaviour}: {called} {row}");
        for (of_row, of_call) in
            [("outcome", "outcome"), ("recipient", "recipient"), ("fuel", "fuel"), ("memory", "memory-bytes")]
        {
            assert_eq!(row[of_row], called[of_call], "{of_row} {case}");
        }
        assert_eq!(of_row(&row), brought(&called), "{case}");
        if called["memory"].is_object() {
            memory = called["memory"].clone();
        }
        if called["outcome"] == "received" {
            let received = world.received().await;
            assert_eq!(received[super::PLUGIN]["value"], called["returned"]["value"], "{case}");
        }
    }
}
