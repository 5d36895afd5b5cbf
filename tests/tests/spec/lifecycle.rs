//! What is accepted is finished: across shutdowns, restarts, retries, repetitions. And how what happened is
//! read afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gateway::pipeline::Role;
use gateway_tests::events::{chat_ended, page_viewed, with};
use gateway_tests::world::{self, DENTAL, NORTHSIDE};
use gateway_tests::{Behaviour, TestGateway, eventually};
use serde_json::{Value, json};

use crate::onward::verdict_on;

fn results(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| row["result"]["outcome"].as_str().unwrap_or("none")).collect()
}

// ---- shutdown and restart ----

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_with_202_before_a_shutdown_is_worked_off_after_it() {
    let gateway = TestGateway::demo().await;
    gateway.partner.behave(Behaviour::Delay(Duration::from_millis(20), Box::new(Behaviour::Status(200))));
    let source = gateway.source(NORTHSIDE).await;
    let mut posts = tokio::task::JoinSet::new();
    for number in 0..40 {
        let source = source.clone();
        posts.spawn(async move {
            let subject = format!("consumer-{number}");
            let event = chat_ended(NORTHSIDE, &subject);
            let path = format!("/v1/brands/{NORTHSIDE}/events");
            let body = event.to_string().into_bytes();
            let answer =
                source.try_send(reqwest::Method::POST, &path, Some(gateway_tests::client::EVENT), body).await;
            answer.filter(|answer| answer.status == 202).map(|_| subject)
        });
    }
    // In the middle of it.
    gateway.partner.wait_for(1).await;
    let stopped = gateway.stop().await;
    let mut acknowledged = Vec::new();
    while let Some(post) = posts.join_next().await {
        acknowledged.extend(post.unwrap());
    }
    let gateway = stopped.start().await;
    gateway.settled().await;
    assert!(!acknowledged.is_empty());
    for subject in &acknowledged {
        let query = format!("brand={NORTHSIDE}&consumer={subject}");
        let rows = gateway.auditor().await.flows(&query).await;
        let calls = rows.iter().filter(|row| row["stage"] == "call").count();
        let delivered = rows.iter().filter(|row| row["result"]["outcome"] == "delivered").count();
        assert_eq!((calls, delivered), (1, 1), "{subject}");
    }
    let ids: BTreeSet<String> =
        gateway.partner.received().iter().map(|request| request.webhook_id().to_owned()).collect();
    assert_eq!(ids.len(), gateway.auditor().await.flows("stage=call").await.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_shuts_down_it_says_that_it_is_not_ready_or_takes_no_connection() {
    let gateway = TestGateway::start(Default::default()).await;
    gateway.anonymous().get("/readyz").await.expect(200);
    let client = gateway.anonymous();
    gateway.gateway.shutdown().await;
    assert_eq!(client.get("/readyz").await.status, 503);
    assert_eq!(client.get("/healthz").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_delivers_what_was_pending_under_the_same_id() {
    let gateway = TestGateway::demo().await;
    gateway.partner.script([Behaviour::Status(503)]);
    gateway.source(NORTHSIDE).await.post_event(&chat_ended(NORTHSIDE, "someone")).await.expect(202);
    gateway.partner.wait_for(1).await;
    let stopped = gateway.stop().await;
    assert_eq!(stopped.partner().received().len(), 1);

    let gateway = stopped.start().await;
    gateway.clock.advance(time::Duration::seconds(6));
    let received = gateway.partner.wait_for(2).await;
    gateway.settled().await;
    assert_eq!(received[0].webhook_id(), received[1].webhook_id());
    assert_eq!(received[0].body, received[1].body);
    let rows = gateway.auditor().await.flows("stage=delivery").await;
    assert_eq!(results(&rows), ["delivered", "retry"]);
    assert_eq!((&rows[0]["attempt"], &rows[1]["attempt"]), (&json!(2), &json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn switches_choices_and_keys_outlive_a_restart() {
    let gateway = TestGateway::demo().await;
    let brand = gateway.brand(NORTHSIDE).await;
    let choices = json!({ "opt_out": { "integrations": ["adf-lead"] } });
    brand.put(&format!("/v1/brands/{NORTHSIDE}/consumers/someone/choices"), &choices).await.expect(200);
    let before = brand.get(&format!("/v1/brands/{NORTHSIDE}/connections")).await.expect(200);

    let gateway = gateway.stop().await.start().await;
    let brand = gateway.brand(NORTHSIDE).await;
    let after = brand.get(&format!("/v1/brands/{NORTHSIDE}/connections")).await.expect(200);
    assert_eq!(before, after);
    gateway.source(NORTHSIDE).await.post_event(&chat_ended(NORTHSIDE, "someone")).await.expect(202);
    gateway.settled().await;
    let rows = brand.flows("stage=call").await;
    assert_eq!(rows[0]["outcome"], "not-run:required-withheld");
    assert_eq!(rows[0]["fields"][0]["reason"], "clause:integrations.opt-out");
    assert!(gateway.partner.received().is_empty());
}

// ---- retries ----

/// Seconds before each further try (design §12), without the spread of a tenth.
const SCHEDULE: [i64; 9] = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_that_is_down_is_tried_ten_times_then_the_dead_letter_can_be_sent_again() {
    let gateway = TestGateway::demo().await;
    gateway.partner.behave(Behaviour::Status(503));
    gateway.source(NORTHSIDE).await.post_event(&chat_ended(NORTHSIDE, "someone")).await.expect(202);
    gateway.partner.wait_for(1).await;
    for (tried, seconds) in (1..).zip(SCHEDULE) {
        gateway.settled().await;
        // Nine tenths are the earliest.
        gateway.clock.advance(time::Duration::milliseconds(seconds * 890));
        gateway.settled().await;
        assert_eq!(gateway.partner.received().len(), tried, "not before its time");
        gateway.clock.advance(time::Duration::milliseconds(seconds * 220));
        gateway.partner.wait_for(tried + 1).await;
    }
    gateway.settled().await;
    gateway.clock.advance(time::Duration::days(30));
    gateway.settled().await;

    let received = gateway.partner.received();
    assert_eq!(received.len(), 10);
    let ids: BTreeSet<&str> = received.iter().map(|request| request.webhook_id()).collect();
    assert_eq!(ids.len(), 1, "one idempotency key through all tries");
    let rows = gateway.auditor().await.flows("stage=delivery").await;
    assert_eq!(results(&rows), [&["dead"][..], &["retry"; 9]].concat());
    let attempts: Vec<_> = rows.iter().map(|row| row["attempt"].as_u64().unwrap()).collect();
    assert_eq!(attempts, (1..=10).rev().collect::<Vec<_>>());

    let brand = gateway.brand(NORTHSIDE).await;
    let letters = format!("/v1/brands/{NORTHSIDE}/dead-letters");
    let page = brand.get(&letters).await.expect(200);
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    let letter = &page["items"][0];
    assert_eq!((&letter["state"], &letter["attempts"]), (&json!("dead"), &json!(10)));
    assert_eq!(letter["plugin"], "adf-lead");

    gateway.partner.behave(Behaviour::Status(200));
    let id = letter["id"].as_str().unwrap();
    brand.post(&format!("{letters}/{id}/resend")).await.expect(202);
    let received = gateway.partner.wait_for(11).await;
    gateway.settled().await;
    assert_eq!(received[10].webhook_id(), received[0].webhook_id());
    assert_eq!(results(&gateway.auditor().await.flows("stage=delivery").await)[0], "delivered");
    assert_eq!(brand.get(&letters).await.expect(200)["items"], json!([]));
    // What was delivered is no dead letter any more.
    brand.post(&format!("{letters}/{id}/resend")).await.expect(404);
}

/// A request whose decision is stale by the time that its row is written has to be decided anew; a key decides nothing.
#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_made_while_requests_go_out_put_none_of_them_off() {
    const REQUESTS: usize = 24;
    let gateway = TestGateway::demo().await;
    let source = gateway.source(NORTHSIDE).await;
    let events = async {
        for number in 0..REQUESTS {
            source.post_event(&chat_ended(NORTHSIDE, &format!("consumer-{number}"))).await.expect(202);
        }
        gateway.partner.wait_for(REQUESTS).await;
    };
    let keys = async {
        loop {
            gateway.gateway.create_key(Role::Auditor, None, None, "tests").await.expect("a key can be made");
        }
    };
    tokio::select! {
        () = events => {}
        () = keys => {}
    }
    gateway.settled().await;
    let rows = gateway.auditor().await.flows("stage=delivery").await;
    assert_eq!(results(&rows), ["delivered"; REQUESTS], "{rows:#?}");
}

// ---- repetitions ----

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_comes_twice_counts_once_and_another_body_is_refused() {
    let gateway = TestGateway::demo().await;
    let source = gateway.source(NORTHSIDE).await;
    let event = chat_ended(NORTHSIDE, "someone");
    let first = source.post_event(&event).await.expect(202);
    assert_eq!(first, json!({ "accepted": 1, "duplicates": 0 }));
    let second = source.post_event(&event).await.expect(202);
    assert_eq!(second, json!({ "accepted": 0, "duplicates": 1 }));

    let other = with(event.clone(), [("data/conversation", json!("another"))]);
    source.post_event(&other).await.expect(409);
    // Another source may use the same id.
    let elsewhere = with(event.clone(), [("source", json!("/elsewhere"))]);
    source.post_event(&elsewhere).await.expect(202);

    let fresh = chat_ended(NORTHSIDE, "someone-else");
    let refused = source.post_batch(NORTHSIDE, &[fresh.clone(), other]).await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    assert!(refused.text.contains("/1"), "the event in the batch is named: {}", refused.text);
    let batch = source.post_batch(NORTHSIDE, &[fresh.clone(), event, fresh]).await;
    // The refused batch left nothing: its first event is new here, and the second time in one batch a duplicate.
    assert_eq!(batch.expect(202), json!({ "accepted": 1, "duplicates": 2 }));
    gateway.settled().await;
    assert_eq!(gateway.auditor().await.flows("stage=call").await.len(), 3);
    assert_eq!(gateway.partner.received().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_decision_gets_the_recorded_one() {
    let gateway = TestGateway::demo().await;
    let source = gateway.source(NORTHSIDE).await;
    let event = page_viewed(NORTHSIDE, "someone");
    let first = source.decide("chat-button", &event).await.expect(200);
    assert_eq!(first["plugin"], "chat-button");
    assert!(first["decision"]["show"].is_boolean(), "{first}");
    let labels = &first["provenance"]["labels"]["/show"];
    assert!(labels.as_array().is_some_and(|labels| !labels.is_empty()), "{first}");
    assert_eq!(source.decide("chat-button", &event).await.expect(200), first);

    // Off by now: what was answered stays the answer.
    let path = format!("/v1/brands/{NORTHSIDE}/connections/chat-button");
    let rows = gateway.auditor().await.flows("stage=call").await;
    assert_eq!(rows.len(), 1, "one call for both");
    assert_eq!(rows[0]["id"], first["provenance"]["flow"]);
    let other = with(event.clone(), [("data/seconds_on_page", json!(1))]);
    source.decide("chat-button", &other).await.expect(409);
    // It is stored like any other event.
    assert_eq!(source.post_event(&event).await.expect(202)["duplicates"], 1);
    gateway.brand(NORTHSIDE).await.delete(&path).await.ok();
    let fresh = page_viewed(NORTHSIDE, "someone");
    let none = source.decide("chat-button", &fresh).await.expect(200);
    assert_eq!((&none["decision"], &none["reason"]), (&Value::Null, &json!("no-connection")));
}

// ---- reading ----

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_is_read_by_every_filter_and_in_pages() {
    let gateway = TestGateway::demo().await;
    for number in 0..5 {
        let subject = format!("consumer-{number}");
        let region = if number < 3 { "US" } else { "EU" };
        for brand in [NORTHSIDE, DENTAL] {
            let source = gateway.source(brand).await;
            let chat = with(chat_ended(brand, &subject), [("region", json!(region))]);
            source.post_event(&chat).await.expect(202);
            source.decide("chat-button", &page_viewed(brand, &subject)).await.expect(200);
        }
    }
    gateway.settled().await;
    let auditor = gateway.auditor().await;
    let all = auditor.flows("").await;
    let times: BTreeMap<&str, usize> = all.iter().fold(BTreeMap::new(), |mut times, row| {
        *times.entry(row["stage"].as_str().unwrap()).or_default() += 1;
        times
    });
    // 5 chats and 5 page views at two brands; 3 leads; what city-dental's 5 chats and the 10 decisions return.
    assert_eq!(times, BTreeMap::from([("call", 20), ("delivery", 3), ("return", 15)]), "{all:#?}");

    let any_field =
        |row: &Value, fits: &dyn Fn(&Value) -> bool| row["fields"].as_array().unwrap().iter().any(fits);
    let under = |field: &Value, category: &str| {
        let labels = field["labels"].as_array().unwrap();
        // ORIGIN:CATEGORY
        labels.iter().any(|label| label.as_str().unwrap().rsplit(':').next().unwrap().starts_with(category))
    };
    let pseudonym = all[0]["consumer"].as_str().unwrap().to_owned();
    type Fits = Box<dyn Fn(&Value) -> bool>;
    let fits: Vec<(String, Fits)> = vec![
        (format!("brand={DENTAL}"), Box::new(|row| row["brand"] == DENTAL)),
        (format!("consumer={pseudonym}"), Box::new(move |row| row["consumer"] == *pseudonym)),
        ("plugin=adf-lead".into(), Box::new(|row| row["plugin"] == "adf-lead")),
        ("partner=engage".into(), Box::new(|row| row["partner"] == "engage")),
        ("flow=decide".into(), Box::new(|row| row["flow"] == "decide")),
        ("stage=return".into(), Box::new(|row| row["stage"] == "return")),
        (
            "verdict=withhold".into(),
            Box::new(move |row| any_field(row, &|field| field["decision"] == "withhold")),
        ),
        (
            "category=user.content".into(),
            Box::new(move |row| any_field(row, &|field| under(field, "user.content"))),
        ),
        (
            "category=user.contact.email&stage=delivery".into(),
            Box::new(move |row| {
                row["stage"] == "delivery" && any_field(row, &|field| under(field, "user.contact.email"))
            }),
        ),
        (format!("brand={NORTHSIDE}&plugin=chat-button&stage=call"), {
            Box::new(|row| {
                row["brand"] == NORTHSIDE && row["plugin"] == "chat-button" && row["stage"] == "call"
            })
        }),
        ("until=2001-01-01T00:00:00Z".into(), Box::new(|_| false)),
        ("from=2001-01-01T00:00:00Z".into(), Box::new(|_| true)),
        (format!("brand={DENTAL}&consumer=nobody-that-was-met"), Box::new(|_| false)),
    ];
    for (query, fits) in &fits {
        let expected: Vec<&Value> = all.iter().filter(|row| fits(row)).collect();
        let found = auditor.flows(query).await;
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{query}");
        assert!(query.contains("nobody") || query.contains("until") || !expected.is_empty(), "{query}");
    }
    let by_name = auditor.flows(&format!("brand={DENTAL}&consumer=consumer-4")).await;
    assert_eq!(by_name.len(), 4);
    let one: BTreeSet<_> = by_name.iter().map(|row| row["consumer"].as_str().unwrap()).collect();
    assert_eq!(one.len(), 1);

    // Pages of seven are the whole, in order, and the last has no `next`.
    let mut paged = Vec::new();
    let mut next = String::new();
    loop {
        let page = auditor.get(&format!("/v1/flows?limit=7{next}")).await.expect(200);
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 7);
        paged.extend(items.iter().cloned());
        match page["next"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(paged, all);

    for (query, named) in [
        ("consumer=someone", "consumer"),
        ("flow=borrow", "flow"),
        ("verdict=maybe", "verdict"),
        ("category=user.shoe_size", "category"),
        ("from=yesterday", "from"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("cursor=next", "cursor"),
        ("colour=blue", "colour"),
    ] {
        let answer = auditor.get(&format!("/v1/flows?{query}")).await;
        assert!([400, 422].contains(&answer.status), "{query}: {}", answer.text);
        assert!(answer.text.contains(named), "{query}: {}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn returned_fields_come_back_in_a_feed_with_the_labels_of_what_was_read() {
    let gateway = TestGateway::demo().await;
    let source = gateway.source(DENTAL).await;
    for number in 0..3 {
        source.post_event(&chat_ended(DENTAL, &format!("consumer-{number}"))).await.expect(202);
    }
    gateway.settled().await;
    let brand = gateway.brand(DENTAL).await;
    let feed = format!("/v1/brands/{DENTAL}/returns");
    let all = brand.get(&feed).await.expect(200);
    let all = all.as_array().unwrap();
    assert_eq!(all.len(), 3);
    for one in all {
        assert_eq!(one["plugin"], "transcript-quality");
        assert_eq!(one["value"]["quality"]["agent_turns"], 1, "{one}");
        let labels = one["labels"]["/quality/score"].as_array().unwrap();
        let read = json!("first-party:user.content.private.transcript");
        assert!(labels.contains(&read), "the score was made of it: {one}");
        let from_partner = |label: &Value| label.as_str().unwrap().starts_with("partner:clarity:");
        assert!(labels.iter().any(from_partner), "{one}");
        // As the row of the return says.
        let row = gateway.auditor().await.get(&format!("/v1/flows/{}", one["flow"].as_str().unwrap())).await;
        let row = row.expect(200);
        assert_eq!((&row["stage"], &row["recipient"]), (&json!("return"), &json!("brand")), "{row}");
        let score = verdict_on(&row, "/quality/score");
        assert_eq!((&score["access"], &score["decision"]), (&json!("return"), &json!("allow")), "{row}");
        assert_eq!(&score["labels"], &one["labels"]["/quality/score"], "{row}");
    }
    let position = all[0]["position"].as_i64().unwrap();
    let rest = brand.get(&format!("{feed}?after={position}")).await.expect(200);
    assert_eq!(rest.as_array().unwrap()[..], all[1..]);
    let one = brand.get(&format!("{feed}?after={position}&limit=1")).await.expect(200);
    assert_eq!(one.as_array().unwrap()[..], all[1..2]);
    let last = all[2]["position"].as_i64().unwrap();
    assert_eq!(brand.get(&format!("{feed}?after={last}")).await.expect(200), json!([]));

    let consumer = brand.get(&format!("/v1/brands/{DENTAL}/consumers/consumer-1")).await.expect(200);
    assert_eq!(consumer["engaged"], true);
    assert_eq!(consumer["events"][0]["type"], "chat.ended");
    assert_eq!(
        consumer["returned"][0],
        all.iter().find(|one| one["consumer"] == consumer["pseudonym"]).unwrap().clone()
    );
    brand.get(&format!("/v1/brands/{DENTAL}/consumers/nobody")).await.expect(404);

    // What may not be used any more is passed over, however small the page.
    for number in 0..3 {
        let path = format!("/v1/brands/{DENTAL}/consumers/consumer-{number}");
        if brand.get(&path).await.expect(200)["pseudonym"] != all[2]["consumer"] {
            let opted_out = json!({ "opt_out": { "all_integrations": true } });
            brand.put(&format!("{path}/choices"), &opted_out).await.expect(200);
        }
    }
    assert_eq!(brand.get(&format!("{feed}?limit=1")).await.expect(200), json!([all[2]]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_says_in_plain_words_what_would_flow_before_anything_does() {
    let gateway = TestGateway::demo().await;
    let source = gateway.source(world::BANK).await;
    for (number, region) in ["US", "US", "CH"].iter().enumerate() {
        let chat = with(chat_ended(world::BANK, &format!("consumer-{number}")), [("region", json!(region))]);
        source.post_event(&chat).await.expect(202);
    }
    let brand = gateway.brand(world::BANK).await;
    let path = format!("/v1/brands/{}/connections/adf-lead/preview", world::BANK);
    let preview = brand.get(&path).await.expect(200);
    assert_eq!(preview["last_events"], json!({ "events": 3, "calls": 2 }));
    let fields = preview["hooks"][0]["fields"].as_array().unwrap();
    let field = |name: &str| fields.iter().find(|field| field["field"] == name).unwrap();
    assert_eq!(field("/contact/email")["would_allow"], 2);
    assert_eq!(field("/contact/email")["would_withhold"], 1);
    assert_eq!(field("/contact/email")["reasons"]["clause:transfer.onward"], 1);
    assert_eq!(field("/contact/email")["access"], "sealed");
    assert_eq!(field("/contact/email")["recipient"], "third-party");
    assert_eq!(field("/transcript/*/text")["would_allow"], 0);
    let withheld_by = field("/transcript/*/text")["withheld_by"].as_array().unwrap();
    assert!(withheld_by.contains(&json!("share.content")), "{withheld_by:?}");
    let words: Vec<&str> =
        preview["sentences"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    let words = words.join("\n");
    for part in [
        "essential.service.operations.support",
        "https://acme.example/privacy",
        "/contact/email (the dealer answers by e-mail)",
        "as a third party, without a contract",
        "https://{host}.acme.example/v1/dealers/{dealer}/leads",
    ] {
        assert!(words.contains(part), "{part}: {words}");
    }
    // Looking moves nothing.
    assert_eq!(gateway.auditor().await.flows("").await, Vec::<Value>::new());
    assert!(gateway.partner.received().is_empty());
    let served = brand.get(&format!("/v1/brands/{}/connections/chat-button/preview", world::BANK)).await;
    assert!(served.expect(200).to_string().contains("as a service provider under contract terms"));
    brand.get(&format!("/v1/brands/{}/connections/no-such/preview", world::BANK)).await.expect(404);
}

// ---- choices ----

#[tokio::test(flavor = "multi_thread")]
async fn a_source_may_tighten_a_consumers_choices_and_only_a_brand_may_loosen_them() {
    let gateway = TestGateway::demo().await;
    let (source, brand) = (gateway.source(NORTHSIDE).await, gateway.brand(NORTHSIDE).await);
    // An e-mail address as a subject, as brands have it.
    let path = format!("/v1/brands/{NORTHSIDE}/consumers/jo%40example.com/choices");
    let none = brand.get(&path).await.expect(200);
    assert_eq!(none["permissions"], json!([]));

    let shut = json!({ "opt_out": { "integrations": ["adf-lead"], "sale": true } });
    source.put(&path, &shut).await.expect(200);
    let kept = brand.get(&path).await.expect(200);
    assert_eq!(kept["opt_out"]["integrations"], json!(["adf-lead"]));
    source.put(&path, &json!({ "opt_out": { "integrations": ["adf-lead"] } })).await.expect(403);
    assert_eq!(brand.get(&path).await.expect(200), kept, "what was refused changed nothing");

    let permission = json!({ "for": { "integration": "adf-lead" }, "wording": "May the dealer read this chat?", "actor": "agent-7" });
    let mut open = json!({ "permissions": [permission] });
    source.put(&path, &open).await.expect(403);
    let loosened = brand.put(&path, &open).await.expect(200);
    let at = loosened["permissions"][0]["at"].as_str().unwrap();
    assert!(at.len() >= 20, "the gateway says when: {at}");

    for missing in ["wording", "actor"] {
        open["permissions"][0][missing] = json!(" ");
        let answer = brand.put(&path, &open).await;
        assert_eq!(answer.status, 422, "{}", answer.text);
        assert!(answer.text.contains(&format!("/permissions/0/{missing}")), "{}", answer.text);
        open["permissions"][0][missing] = json!("said");
    }
    brand.put(&path, &json!({ "opt_out": { "everything": true } })).await.expect(422);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_lets_the_transcript_go_and_its_end_stops_it() {
    let gateway = TestGateway::demo().await;
    let (source, brand) = (gateway.source(NORTHSIDE).await, gateway.brand(NORTHSIDE).await);
    let path = format!("/v1/brands/{NORTHSIDE}/consumers/someone/choices");
    let permission = json!({ "permissions": [
        { "for": { "integration": "adf-lead" }, "wording": "May the dealer read this chat?", "actor": "agent-7" }
    ] });
    for (choices, goes) in [(json!({}), false), (permission, true), (json!({}), false)] {
        brand.put(&path, &choices).await.expect(200);
        let before = gateway.partner.received().len();
        source.post_event(&chat_ended(NORTHSIDE, "someone")).await.expect(202);
        let received = gateway.partner.wait_for(before + 1).await;
        assert_eq!(received[before].text().contains("turquoise roadster"), goes, "{choices}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_is_authenticated_and_signed() {
    let gateway = TestGateway::demo().await;
    let brand = gateway.brand(NORTHSIDE).await;
    let path = format!("/v1/brands/{NORTHSIDE}/connections/adf-lead");
    let shown = brand.get(&path).await.expect(200);
    assert!(shown.get("signing_secret").is_none(), "it is shown once, when it is made");
    assert!(!shown.to_string().contains("the-dealers-api-key"), "secrets are write-only");
    assert_eq!(shown["secrets"], json!(["api-key"]));
    brand.delete(&path).await.ok();
    let release = eventually("the release", || async {
        let list = brand.get("/v1/plugins/adf-lead/releases").await.expect(200);
        list.as_array().and_then(|list| list.first().cloned())
    })
    .await;
    let document = world::connection(&release, world::adf_settings(), world::adf_secrets());
    let made = brand.put(&path, &document).await.ok();
    let secret =
        made["signing_secret"].as_str().expect("a new connection shows its signing secret").to_owned();

    gateway.source(NORTHSIDE).await.post_event(&chat_ended(NORTHSIDE, "someone")).await.expect(202);
    let received = gateway.partner.wait_for(1).await;
    let request = &received[0];
    assert_eq!(request.header("authorization"), Some("Bearer the-dealers-api-key-of-the-tests"));
    assert_eq!(request.header("content-type"), Some("application/xml"));
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/v1/dealers/4711/leads"));
    assert_eq!(request.host(), "leads.acme.example");
    for part in ["Ottoline", "Quillfeather", "ottoline.quillfeather@example.org", "+1-212-555-0142"] {
        assert!(request.text().contains(part), "{part}: {}", request.text());
    }
    let webhook = standardwebhooks::Webhook::new(&secret).unwrap();
    // Standard Webhooks 1.0 says what is signed: id, timestamp and body.
    let timestamp: i64 = request.header("webhook-timestamp").unwrap().parse().unwrap();
    let signature = webhook.sign(request.webhook_id(), timestamp, &request.body).unwrap();
    assert_eq!(request.header("webhook-signature"), Some(signature.as_str()));
}
