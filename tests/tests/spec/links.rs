//! Given an id that a brand used before it knew the consumer; when both are linked; then what either refused
//! holds for both, whatever comes first, and no permission reaches the other.

use gateway::pipeline::{Caller, LinkInput, Role};
use gateway_tests::world::{self, DENTAL, NORTHSIDE};
use gateway_tests::{Answer, Behaviour, Client, TestGateway, events, eventually};
use serde_json::{Value, json};

use crate::onward::{assert_withheld, verdict_on};

fn path(brand: &str, consumer: &str, what: &str) -> String {
    format!("/v1/brands/{brand}/consumers/{consumer}/{what}")
}

pub async fn link(client: &Client, brand: &str, consumer: &str, visitor: &str) -> Answer {
    let body = json!({ "visitor": visitor }).to_string().into_bytes();
    client.post_body(&path(brand, consumer, "links"), "application/json", body).await
}

async fn choose(client: &Client, consumer: &str, choices: Value) -> Value {
    client.put(&path(NORTHSIDE, consumer, "choices"), &choices).await.ok()
}

async fn chosen(gateway: &TestGateway, consumer: &str) -> Value {
    gateway.brand(NORTHSIDE).await.get(&path(NORTHSIDE, consumer, "choices")).await.expect(200)
}

fn permission(scope: Value) -> Value {
    json!({ "for": scope, "wording": "It may.", "actor": "agent-7" })
}

/// The scopes that are permitted.
fn permitted(choices: &Value) -> Vec<Value> {
    choices["permissions"].as_array().unwrap().iter().map(|permission| permission["for"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_either_refused_holds_for_both_then_and_later_and_after_a_restart() {
    let gateway = TestGateway::demo().await;
    let (brand, source) = (gateway.brand(NORTHSIDE).await, gateway.source(NORTHSIDE).await);
    choose(&brand, "known", json!({ "opt_out": { "marketing": true, "integrations": ["adf-lead"] } })).await;
    choose(
        &brand,
        "visitor",
        json!({ "opt_out": { "location": true, "integrations": ["chat-button"] }, "limit_pending": true }),
    )
    .await;
    let now = link(&source, NORTHSIDE, "known", "visitor").await.expect(200);
    assert_eq!(now, chosen(&gateway, "known").await);
    for consumer in ["known", "visitor"] {
        let choices = chosen(&gateway, consumer).await;
        let out = &choices["opt_out"];
        assert_eq!(
            (&out["marketing"], &out["location"], &out["sms"]),
            (&json!(true), &json!(true), &json!(false))
        );
        assert_eq!(
            (&out["integrations"], &choices["limit_pending"]),
            (&json!(["adf-lead", "chat-button"]), &json!(true))
        );
    }

    // Later choices on either, by a source that tightens, by a keyword, and by the brand that loosens.
    let mut tighter = chosen(&gateway, "visitor").await;
    tighter["opt_out"]["cookies"] = json!(true);
    choose(&source, "visitor", tighter).await;
    assert_eq!(chosen(&gateway, "known").await["opt_out"]["cookies"], true);
    let stop = json!({ "text": "STOP", "phone": "+1-212-555-0142" });
    source.post_event(&events::event("sms.received", NORTHSIDE, "known", stop)).await.expect(202);
    assert_eq!(chosen(&gateway, "visitor").await["opt_out"]["sms"], true);

    let gateway = gateway.stop().await.start().await;
    let after = chosen(&gateway, "visitor").await;
    assert_eq!((&after["opt_out"]["cookies"], &after["opt_out"]["sms"]), (&json!(true), &json!(true)));
    let brand = gateway.brand(NORTHSIDE).await;
    choose(&brand, "known", json!({ "opt_out": { "sale": true } })).await;
    assert_eq!(chosen(&gateway, "visitor").await["opt_out"], chosen(&gateway, "known").await["opt_out"]);
    assert_eq!(chosen(&gateway, "visitor").await["opt_out"]["marketing"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_stays_with_the_id_that_gave_it() {
    let gateway = TestGateway::demo().await;
    let (brand, source) = (gateway.brand(NORTHSIDE).await, gateway.source(NORTHSIDE).await);
    let (mail, this, other) = (
        json!({ "purpose": "marketing.communications.email" }),
        json!({ "integration": "adf-lead" }),
        json!({ "integration": "chat-button" }),
    );
    choose(&brand, "known", json!({ "permissions": [permission(mail.clone()), permission(this.clone())] }))
        .await;
    choose(&brand, "visitor", json!({ "permissions": [permission(mail.clone()), permission(other)] })).await;
    link(&source, NORTHSIDE, "known", "visitor").await.expect(200);
    assert_eq!(permitted(&chosen(&gateway, "known").await), [mail.clone(), this.clone()]);
    assert_eq!(permitted(&chosen(&gateway, "visitor").await), std::slice::from_ref(&mail));

    // A source that withdraws one for the consumer gives the visitor none of what is left.
    let mut less = chosen(&gateway, "known").await;
    less["permissions"].as_array_mut().unwrap().remove(0);
    choose(&source, "known", less).await;
    assert_eq!(permitted(&chosen(&gateway, "known").await), std::slice::from_ref(&this));
    assert_eq!(permitted(&chosen(&gateway, "visitor").await), Vec::<Value>::new());
    // What the brand records afterwards is of the person.
    let now = chosen(&gateway, "known").await;
    choose(&brand, "known", now).await;
    assert_eq!(permitted(&chosen(&gateway, "visitor").await), [this]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_stops_what_waits_and_the_next_call_of_either() {
    let gateway = TestGateway::demo().await;
    let (brand, source) = (gateway.brand(NORTHSIDE).await, gateway.source(NORTHSIDE).await);
    gateway.partner.script([Behaviour::with_header(503, "retry-after", "3600")]);
    source.post_event(&events::chat_ended(NORTHSIDE, "visitor")).await.expect(202);
    gateway.settled().await;
    assert_eq!(gateway.partner.received().len(), 1);
    choose(&brand, "known", json!({ "opt_out": { "integrations": ["adf-lead"] } })).await;
    link(&brand, NORTHSIDE, "known", "visitor").await.expect(200);
    gateway.clock.advance(time::Duration::seconds(3700));
    gateway.settled().await;
    source.post_event(&events::chat_ended(NORTHSIDE, "visitor")).await.expect(202);
    source.post_event(&events::chat_ended(NORTHSIDE, "known")).await.expect(202);
    gateway.settled().await;
    assert_eq!(gateway.partner.received().len(), 1);
    let outcomes = |rows: Vec<Value>| rows.iter().map(|row| row["outcome"].clone()).collect::<Vec<_>>();
    let rows = brand.flows("consumer=visitor&stage=delivery").await;
    assert_eq!(outcomes(rows), ["withheld", "attempt"]);
    let rows = brand.flows("consumer=known&stage=call").await;
    assert_eq!(outcomes(rows), ["not-run:required-withheld", "not-run:required-withheld", "ran"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn either_is_engaged_where_one_is_now_and_after_a_restart() {
    let gateway = TestGateway::start(Default::default()).await;
    world::hostile(&gateway, "none").await;
    let asked = async |gateway: &TestGateway, consumer: &str| {
        let page = events::page_viewed("testers", consumer);
        let source = gateway.source("testers").await;
        source.decide("hostile", &page).await.ok();
        let query = format!("brand=testers&stage=call&flow=decide&consumer={consumer}");
        gateway.auditor().await.flows(&query).await[0]["fields"][0]["reason"].clone()
    };
    let stranger = json!("clause:integrations.share");
    let verdict = async |gateway: &TestGateway, consumer: &str| {
        asked(gateway, consumer).await;
        let query = format!("brand=testers&stage=call&flow=decide&consumer={consumer}");
        gateway.auditor().await.flows(&query).await[0]["fields"][0]["decision"].clone()
    };
    let brand = gateway.brand("testers").await;
    assert_eq!(asked(&gateway, "visitor").await, stranger);
    assert_eq!(verdict(&gateway, "visitor").await, "withhold");
    for (consumer, visitor) in [("known", "visitor"), ("late", "visitor-2")] {
        if consumer == "late" {
            link(&brand, "testers", consumer, visitor).await.expect(200);
            assert_eq!(verdict(&gateway, visitor).await, "withhold");
        }
        let contact = events::contact_provided("testers", consumer);
        gateway.source("testers").await.post_event(&contact).await.expect(202);
        if consumer == "known" {
            assert_eq!(verdict(&gateway, visitor).await, "withhold");
            link(&brand, "testers", consumer, visitor).await.expect(200);
        }
        assert_eq!(verdict(&gateway, visitor).await, "allow", "{visitor}");
    }
    let gateway = gateway.stop().await.start().await;
    for consumer in ["visitor", "known", "visitor-2", "late"] {
        assert_eq!(verdict(&gateway, consumer).await, "allow", "{consumer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_of_both_is_shown_with_either_and_their_names_stay_two() {
    let gateway = TestGateway::demo().await;
    let (brand, source) = (gateway.brand(DENTAL).await, gateway.source(DENTAL).await);
    source.post_event(&events::chat_ended(DENTAL, "visitor")).await.expect(202);
    gateway.settled().await;
    source.post_event(&events::chat_ended(DENTAL, "known")).await.expect(202);
    gateway.settled().await;
    let view = async |consumer: &str| {
        brand.get(&format!("/v1/brands/{DENTAL}/consumers/{consumer}")).await.expect(200)
    };
    let before = view("known").await;
    assert_eq!((before["events"].as_array().unwrap().len(), &before["linked"]), (1, &json!([])));
    link(&source, DENTAL, "known", "visitor").await.expect(200);
    let (known, visitor) = (view("known").await, view("visitor").await);
    for shown in [&known, &visitor] {
        assert_eq!(shown["events"].as_array().unwrap().len(), 2);
        assert!(shown["events"][0]["labels"]["/contact/email"].is_array(), "{shown}");
        let returned = shown["returned"].as_array().unwrap();
        assert_eq!(returned.len(), 2);
        assert_ne!(returned[0]["consumer"], returned[1]["consumer"]);
    }
    assert_eq!(known["pseudonym"], before["pseudonym"]);
    assert_eq!((&known["linked"][0], &visitor["linked"][0]), (&visitor["pseudonym"], &known["pseudonym"]));
    for (consumer, expected) in [("known", 2), ("visitor", 2), (known["pseudonym"].as_str().unwrap(), 1)] {
        let rows = brand.flows(&format!("consumer={consumer}&stage=call")).await;
        assert_eq!(rows.len(), expected, "{consumer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_made_once_reaches_on_and_stays_within_its_brand() {
    let gateway = TestGateway::demo().await;
    let brand = gateway.brand(NORTHSIDE).await;
    choose(&brand, "a", json!({ "opt_out": { "integrations": ["adf-lead"] } })).await;
    choose(&brand, "d", json!({ "opt_out": { "integrations": ["chat-button"] } })).await;
    for (consumer, visitor) in [("a", "b"), ("c", "d"), ("b", "c"), ("a", "b"), ("d", "a")] {
        link(&brand, NORTHSIDE, consumer, visitor).await.expect(200);
    }
    for consumer in ["a", "b", "c", "d"] {
        assert_eq!(
            chosen(&gateway, consumer).await["opt_out"]["integrations"],
            json!(["adf-lead", "chat-button"]),
            "{consumer}"
        );
    }
    // The same names at another brand are other consumers.
    let dental = gateway.brand(DENTAL).await;
    let there = dental.get(&path(DENTAL, "a", "choices")).await.expect(200);
    assert_eq!(there["opt_out"]["integrations"], json!([]));
    assert_eq!(link(&dental, NORTHSIDE, "a", "e").await.status, 403);

    for (visitor, pointer) in [("a", "/visitor"), ("", "/visitor"), (&*"x".repeat(513), "/visitor")] {
        let problem = link(&brand, NORTHSIDE, "a", visitor).await.expect(422);
        assert_eq!(problem["problems"][0]["pointer"], pointer, "{problem}");
        assert!(visitor.len() < 2 || !problem.to_string().contains(visitor));
    }

    // Three links were made, and each is on the record once.
    let stopped = gateway.stop().await;
    use sqlx::Connection as _;
    let url = format!("sqlite:{}?mode=ro", stopped.database().display());
    let mut store = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let recorded = "SELECT count(*) FROM control_changes WHERE what LIKE 'link of consumer % with %'";
    let count: i64 = sqlx::query_scalar(recorded).fetch_one(&mut store).await.unwrap();
    assert_eq!(count, 3);
}

/// A source reads, adds its refusal and writes; what another added meanwhile is kept by the rule that it may
/// only tighten, and it tries again.
async fn tighten(source: Client, consumer: String, name: &'static str) {
    let place = path(NORTHSIDE, &consumer, "choices");
    loop {
        let mut choices = source.get(&place).await.expect(200);
        choices["opt_out"][name] = json!(true);
        match source.put(&place, &choices).await.status {
            200 => return,
            403 => {}
            other => panic!("{other}"),
        }
    }
}

/// Opt-outs written on both ids while they are linked, by many at once: whichever comes first, none is lost.
#[tokio::test(flavor = "multi_thread")]
async fn no_opt_out_is_lost_while_a_link_is_made() {
    const PAIRS: usize = 24;
    const REFUSED: [&str; 3] = ["marketing", "location", "all_integrations"];
    let gateway = TestGateway::demo().await;
    let (brand, source) = (gateway.brand(NORTHSIDE).await, gateway.source(NORTHSIDE).await);
    let mut tasks = tokio::task::JoinSet::new();
    for pair in 0..PAIRS {
        let (known, visitor) = (format!("known-{pair}"), format!("visitor-{pair}"));
        for (consumer, name) in [&known, &visitor, &visitor].into_iter().zip(REFUSED) {
            tasks.spawn(tighten(source.clone(), consumer.clone(), name));
        }
        for consumer in [known, "everybody".to_owned()] {
            let (brand, visitor) = (brand.clone(), visitor.clone());
            tasks.spawn(async move { drop(link(&brand, NORTHSIDE, &consumer, &visitor).await.expect(200)) });
        }
    }
    tasks.join_all().await;
    let all = async |gateway: &TestGateway| {
        for pair in 0..PAIRS {
            for consumer in [format!("known-{pair}"), format!("visitor-{pair}")] {
                let out = chosen(gateway, &consumer).await["opt_out"].clone();
                for name in REFUSED {
                    assert_eq!(out[name], true, "{consumer} {name}");
                }
            }
        }
    };
    all(&gateway).await;
    let gateway = gateway.stop().await.start().await;
    all(&gateway).await;
    // What the visitor refused stops what comes of either, and each row says so.
    let ids = |pair| [format!("known-{pair}"), format!("visitor-{pair}")];
    let chats: Vec<Value> =
        (0..PAIRS).flat_map(ids).map(|consumer| events::chat_ended(NORTHSIDE, &consumer)).collect();
    gateway.source(NORTHSIDE).await.post_batch(NORTHSIDE, &chats).await.expect(202);
    gateway.settled().await;
    let rows = gateway.auditor().await.flows("stage=call&plugin=adf-lead").await;
    assert_eq!(rows.len(), 2 * PAIRS);
    for row in rows {
        assert_eq!(row["outcome"], "not-run:required-withheld", "{row}");
        let email = verdict_on(&row, "/contact/email");
        assert_withheld(&email, "clause:integrations.opt-out");
        assert_eq!(email["labels"], json!(["first-party:user.contact.email"]));
    }
    assert!(gateway.partner.received().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_links_or_is_told_holds_here_for_who_is_in_memory() {
    let gateway = TestGateway::demo().await;
    let (brand, source) = (gateway.brand(NORTHSIDE).await, gateway.source(NORTHSIDE).await);
    choose(&brand, "known", json!({ "opt_out": { "marketing": true } })).await;
    for consumer in ["known", "visitor", "other"] {
        source.post_event(&events::chat_ended(NORTHSIDE, consumer)).await.expect(202);
    }
    assert_eq!(chosen(&gateway, "visitor").await["opt_out"]["marketing"], false, "it is in memory, alone");

    let beside = gateway.beside().await;
    let caller =
        Caller { key: "tests".into(), role: Role::Brand, brand: Some(NORTHSIDE.into()), partner: None };
    let input = LinkInput { visitor: "visitor".into() };
    beside.link(NORTHSIDE, "known", &input, &caller).await.expect("it links");
    let linked = async |consumer: &'static str, out: &'static str| {
        let what = format!("{out} of {consumer} to be refused here too");
        eventually(&what, || async {
            (chosen(&gateway, consumer).await["opt_out"][out] == true).then_some(())
        })
        .await;
    };
    linked("visitor", "marketing").await;
    // They are one person here too: what one chooses here, the other has chosen.
    choose(&brand, "visitor", json!({ "opt_out": { "location": true } })).await;
    assert_eq!(chosen(&gateway, "known").await["opt_out"]["location"], true);
    let view = brand.get(&format!("/v1/brands/{NORTHSIDE}/consumers/known")).await.ok();
    assert_eq!(view["linked"].as_array().unwrap().len(), 1);

    // A choice by itself.
    let refuses = serde_json::from_value(json!({ "opt_out": { "sale": true } })).expect("choices");
    beside.put_choices(NORTHSIDE, "other", refuses, &caller).await.expect("it is written");
    linked("other", "sale").await;
    beside.shutdown().await;
}

/// A choice that another process wrote and that does not read stops nobody else's, and lets nothing of its consumer go.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_choice_of_one_keeps_no_opt_out_of_another_waiting() {
    use sqlx::Connection as _;
    let gateway = TestGateway::demo().await;
    let (brand, source) = (gateway.brand(NORTHSIDE).await, gateway.source(NORTHSIDE).await);
    choose(&brand, "damaged", json!({})).await;
    for consumer in ["damaged", "other"] {
        source.post_event(&events::chat_ended(NORTHSIDE, consumer)).await.expect(202);
    }
    gateway.settled().await;
    let beside = gateway.beside().await;

    let url = format!("sqlite:{}?mode=rw", gateway.database().display());
    let mut store = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let damage = "UPDATE choices SET choices = '{', changed = (SELECT max(changed) + 1 FROM choices)";
    assert_eq!(sqlx::query(damage).execute(&mut store).await.unwrap().rows_affected(), 1, "of one alone");
    let place = path(NORTHSIDE, "damaged", "choices");
    eventually("the damage to be seen", || async { (brand.get(&place).await.status == 500).then_some(()) })
        .await;

    let caller =
        Caller { key: "tests".into(), role: Role::Brand, brand: Some(NORTHSIDE.into()), partner: None };
    let refuses = serde_json::from_value(json!({ "opt_out": { "sale": true } })).expect("choices");
    beside.put_choices(NORTHSIDE, "other", refuses, &caller).await.expect("it is written");
    eventually("the other's choice to hold here too", || async {
        (chosen(&gateway, "other").await["opt_out"]["sale"] == true).then_some(())
    })
    .await;
    let again = source.post_event(&events::chat_ended(NORTHSIDE, "damaged")).await;
    assert_eq!(again.status, 500);

    // Once it reads again, what it says holds.
    let mend = "UPDATE choices SET choices = '{}', changed = (SELECT max(changed) + 1 FROM choices) \
                WHERE choices = '{'";
    assert_eq!(sqlx::query(mend).execute(&mut store).await.unwrap().rows_affected(), 1);
    eventually("it to be mended here too", || async {
        let answer = brand.get(&place).await;
        (answer.status == 200 && answer.expect(200)["opt_out"]["all_integrations"] == false).then_some(())
    })
    .await;
    beside.shutdown().await;
}
