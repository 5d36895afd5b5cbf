//! Given work that was accepted and waits for its call; when the switch is turned off, the consumer opts out or the
//! contract runs out; then the call does not take place, nothing leaves, and the row says why.

use gateway_tests::{Options, TestGateway, components, events, world};
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

use super::{TRANSCRIPT, verdicts_of};
use crate::hostile::remade::with_manifest;

const BRAND: &str = "testers";
const CONNECTION: &str = "/v1/brands/testers/connections/hostile";
/// The consumer whose work waits.
const CONSUMER: &str = "waiting";
const CHOICES: &str = "/v1/brands/testers/consumers/waiting/choices";
/// What opens the breaker, so that work waits.
const FAILURES: usize = 5;
/// The contract's time, and past it and past the breaker's.
const TERM: time::Duration = time::Duration::minutes(30);
const PAST: time::Duration = time::Duration::minutes(31);

#[derive(Clone, Copy)]
enum Change {
    SwitchOff,
    Choices(fn() -> Value),
    ContractRunsOut,
}

struct Case {
    name: &'static str,
    change: Change,
    /// Of the row of the work that waited.
    outcome: &'static str,
    /// Why that row withholds the transcript; none where it names no field.
    why: Option<&'static str>,
}

const CASES: [Case; 4] = [
    Case {
        name: "the switch turned off",
        change: Change::SwitchOff,
        outcome: "not-run:switched-off",
        why: None,
    },
    Case {
        name: "an opt-out of this integration",
        change: Change::Choices(|| json!({ "opt_out": { "integrations": ["hostile"] } })),
        outcome: "not-run:required-withheld",
        why: Some("clause:integrations.opt-out"),
    },
    Case {
        name: "an opt-out of all integrations",
        change: Change::Choices(|| json!({ "opt_out": { "all_integrations": true } })),
        outcome: "not-run:required-withheld",
        why: Some("clause:integrations.opt-out"),
    },
    Case {
        name: "the contract run out",
        change: Change::ContractRunsOut,
        outcome: "not-run:required-withheld",
        why: Some("clause:share.content"),
    },
];

/// The plugin does nothing without the transcript, which its partner gets as a service provider alone.
async fn start() -> (TestGateway, Value) {
    let gateway = TestGateway::start(Options::default()).await;
    let built = tokio::task::spawn_blocking(components).await.expect("the components are built");
    let component = with_manifest(&built.hostile.bytes, |manifest| {
        let fields = manifest["share"][0]["receives"].as_array_mut().expect("fields");
        let transcript = fields.iter_mut().find(|field| field["field"] == TRANSCRIPT).expect("a transcript");
        transcript["required"] = json!(true);
    });
    world::brand(&gateway, BRAND, false).await;
    world::partner(&gateway, "mallory", "US", "mallory.example").await;
    contract(&gateway, None).await;
    let release = gateway.partner_key("mallory").await.publish(&component).await.expect(201);
    (gateway, release)
}

async fn contract(gateway: &TestGateway, term: Option<time::Duration>) {
    let expires = term.map(|term| (gateway.clock.now() + term).format(&Rfc3339).expect("a time"));
    let purpose = "essential.service.operations.support";
    world::contract(gateway, "mallory", purpose, json!({ "expires": expires })).await;
}

async fn post(gateway: &TestGateway, subject: &str) {
    let event = events::chat_ended(BRAND, subject);
    gateway.source(BRAND).await.post_event(&event).await.expect(202);
    gateway.settled().await;
}

/// The newest row of a call for the consumer.
async fn newest(gateway: &TestGateway) -> Value {
    let brand = gateway.brand(BRAND).await;
    brand.flows(&format!("consumer={CONSUMER}&stage=call")).await.swap_remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_waits_for_its_call_is_stopped_too_and_only_for_as_long_as_it_stands() {
    for Case { name, change, outcome, why } in CASES {
        // Given: work that waits behind an open breaker, for a plugin that would do it by now.
        let (gateway, release) = start().await;
        let brand = gateway.brand(BRAND).await;
        if matches!(change, Change::ContractRunsOut) {
            contract(&gateway, Some(TERM)).await;
        }
        world::hostile_behaves(&gateway, &release, "trap").await;
        for number in 0..FAILURES {
            post(&gateway, &format!("failing-{number}")).await;
        }
        world::hostile_behaves(&gateway, &release, "none").await;
        post(&gateway, CONSUMER).await;
        let row = newest(&gateway).await;
        assert_eq!(row["outcome"], "not-run:breaker-open", "{name}");
        assert_eq!(verdicts_of(&row)[TRANSCRIPT], "allow", "{name}");

        // When it changes, and the work's time is come.
        match change {
            Change::SwitchOff => drop(brand.delete(CONNECTION).await.ok()),
            Change::Choices(choices) => drop(brand.put(CHOICES, &choices()).await.ok()),
            Change::ContractRunsOut => {}
        }
        gateway.clock.advance(PAST);
        gateway.settled().await;

        // Then there is no call, nothing leaves, and the row says why.
        let row = newest(&gateway).await;
        assert_eq!(row["outcome"], outcome, "{name}");
        let reason = verdicts_of(&row).remove(TRANSCRIPT);
        assert_eq!(reason.as_deref(), why, "{name}");
        assert_eq!((&row["fuel"], &row["payload"]), (&json!(0), &Value::Null), "{name}: it ran");
        assert!(gateway.partner.received().is_empty(), "{name}: something left");

        // And once it is undone, the next work is done.
        contract(&gateway, None).await;
        brand.put(CHOICES, &json!({})).await.ok();
        world::hostile_behaves(&gateway, &release, "none").await;
        post(&gateway, CONSUMER).await;
        let row = newest(&gateway).await;
        assert_eq!((&row["outcome"], &verdicts_of(&row)[TRANSCRIPT][..]), (&json!("ran"), "allow"), "{name}");
        assert_eq!(gateway.partner.received().len(), 1, "{name}: the next work, and no more than that");
    }
}
