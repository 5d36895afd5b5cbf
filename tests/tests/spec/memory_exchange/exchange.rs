//! What a plugin asks its partner while the call waits.

use std::time::Duration;

use gateway_tests::{Behaviour, Options, components, events, eventually};
use serde_json::{Value, json};

use super::{BRAND, World, chat, has_label, let_all_meet, nameless, permitted, verdict_on};
use crate::choices::by_sms::{DAMAGE, change, forgetful};

const EMAIL: &str = "ottoline.quillfeather@example.org";
const REPLY: &str = "partner:mallory:user.account";

fn answer(body: &Value) -> Behaviour {
    Behaviour::Answer(200, vec![], body.to_string().into_bytes())
}

/// The rows of a consumer's exchanges once each that was tried has its result.
async fn exchanges(world: &World, subject: &str) -> Vec<Value> {
    eventually("results of exchanges", || async {
        let rows = world.rows(subject, "exchange").await;
        rows.iter().all(|row| row["outcome"] != "attempt" || row["result"].is_object()).then_some(rows)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_has_its_row_before_it_is_sent_and_its_result_beside_it() {
    let world = World::new().await;
    let partner = &world.gateway.partner;
    let said = answer(&json!({ "echo": "gold" }));
    partner.script([Behaviour::Delay(Duration::from_millis(300), Box::new(said))]);
    world.behave("ask", &[]).await;
    world.gateway.source(BRAND).await.post_event(&chat("ada")).await.expect(202);
    let request = partner.wait_for(1).await.remove(0);
    let rows = world.rows("ada", "exchange").await;
    assert_eq!((rows.len(), &rows[0]["result"]), (1, &Value::Null), "the row is there, the answer is not");
    assert_eq!(request.path, "/v1/s-1/ask");
    let id = request.header("webhook-id").unwrap_or_default();
    assert_eq!(id, format!("msg_{}", rows[0]["delivery"].as_str().unwrap_or_default()));

    world.gateway.settled().await;
    let rows = exchanges(&world, "ada").await;
    let row = &rows[0];
    assert_eq!((&row["outcome"], &row["endpoint"]), (&json!("attempt"), &json!("ask")));
    assert_eq!((&row["result"]["outcome"], &row["result"]["status"]), (&json!("answered"), &json!(200)));
    assert!(verdict_on(row, "/contact/name/first").is_some(), "what was readable went along: {row}");
    let returned = world.returned().await;
    assert_eq!(returned["value"]["verdict"], "gold");
    assert!(has_label(&returned["labels"]["/verdict"], REPLY), "{returned}");
    assert_eq!(partner.received().len(), 1, "sent once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_value_that_comes_back_in_the_reply_keeps_its_labels() {
    let world = World::new().await;
    let partner = &world.gateway.partner;
    partner.script([answer(&json!({ "echo": EMAIL })), Behaviour::Status(500)]);
    world.share("launder", &nameless("ada")).await;
    let returned = world.returned().await;
    assert_eq!(returned["value"]["verdict"], EMAIL, "the plugin has it");
    for label in ["first-party:user.contact.email", REPLY] {
        assert!(has_label(&returned["labels"]["/verdict"], label), "{label}: {returned}");
    }
    let deliveries = world.rows("ada", "delivery").await;
    let carried = verdict_on(&deliveries[0], "ask").expect("the request carries the reply's labels");
    assert_eq!(carried["access"], "reply");
    assert!(has_label(&carried["labels"], "first-party:user.contact.email"), "{carried}");
    let ledger = world.gateway.auditor().await.get("/v1/flows?limit=1000").await.text;
    assert!(!ledger.contains(EMAIL), "{ledger}");

    // The brand takes the address back: what was made of it stays, whatever words it is in.
    world.behave("launder", &["/contact/email"]).await;
    world.gateway.clock.advance(time::Duration::minutes(1));
    world.gateway.settled().await;
    let deliveries = world.rows("ada", "delivery").await;
    assert_eq!(deliveries[1]["outcome"], "withheld", "{deliveries:?}");
    assert_eq!(verdict_on(&deliveries[1], "ask").expect("a verdict")["reason"], "not-granted");
    assert_eq!(partner.received().len(), 2, "the question and the first try");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_the_manifest_does_not_allow_has_a_row_and_does_not_leave() {
    let world = World::new().await;
    for (behaviour, verdict, outcome, endpoint) in [
        ("ask-undeclared-endpoint", "rejected", "refused:undeclared-endpoint", Value::Null),
        ("ask-without-reply", "rejected", "refused:no-reply-declared", json!("json")),
        ("ask-ungranted-field", "unavailable", "refused:field-not-given", json!("ask")),
        ("ask-sealed-in-undeclared-header", "unavailable", "refused:headers-not-declared", json!("ask")),
        ("ask-sealed-in-undeclared-slot", "unavailable", "refused:slots-not-declared", json!("ask")),
    ] {
        world.share(behaviour, &chat(behaviour)).await;
        assert_eq!(world.returned().await["value"]["verdict"], verdict, "{behaviour}");
        let rows = exchanges(&world, behaviour).await;
        assert_eq!((rows.len(), &rows[0]["outcome"]), (1, &json!(outcome)), "{behaviour}");
        assert_eq!(rows[0]["endpoint"], endpoint, "{behaviour}");
    }
    // A call that asks for too much ends.
    world.share("ask-too-much", &chat("much")).await;
    assert_eq!(world.rows("much", "call").await[0]["outcome"], "failed:output-too-large");
    assert!(world.gateway.partner.received().is_empty(), "nothing left");
    let ledger = world.gateway.auditor().await.get("/v1/flows?limit=1000").await.text;
    assert!(!ledger.contains("elsewhere") && !ledger.contains("x-other"), "{ledger}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_meets_what_the_brand_gave_only_where_the_brand_grants_that() {
    let world = World::new().await;
    world.behave("ask", &["combine /verdict", "combine /count", "combine json", "combine ask"]).await;
    let path = format!("/v1/brands/{BRAND}/connections/hostile/preview");
    let preview = world.gateway.brand(BRAND).await.get(&path).await.expect(200);
    let of_name = "A call that reads hostile `share chat.ended` /contact/name/first \
                   (first-party:user.name.first) may ask nothing where it would meet hostile answers of ask \
                   (partner:mallory:user.account) (clause:integrations.combine).";
    let said: Vec<&str> = preview["sentences"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(said.contains(&of_name), "{said:?}");
    assert!(!said.iter().any(|words| words.contains("/contact/email (") && words.contains("ask nothing")));
    world.send(&chat("ada")).await;
    assert_eq!(world.returned().await["value"], json!({ "verdict": "unavailable" }));
    let rows = exchanges(&world, "ada").await;
    assert_eq!((rows.len(), &rows[0]["outcome"]), (1, &json!("refused:combination")));
    assert_eq!(rows[0]["endpoint"], "ask");
    assert!(world.gateway.partner.received().is_empty(), "not even the question leaves");
    // The call's row names what would have met: with the field that was read, the answer.
    let call = &world.rows("ada", "call").await[0];
    let name = verdict_on(call, "/contact/name/first").expect("it was read");
    assert_eq!((&name["decision"], &name["kept_apart"]["with"]), (&json!("allow"), &json!(REPLY)), "{call}");
    // With nothing to read, nothing meets.
    world.send(&nameless("bea")).await;
    assert_eq!(world.returned().await["value"]["verdict"], "answered");
    assert_eq!(exchanges(&world, "bea").await[0]["outcome"], "attempt");
    assert_eq!(world.gateway.partner.received().len(), 1);
}

/// What the consumer is called and what the partner says of them meet only with a word of the consumer's.
async fn apart() -> World {
    World::with(Options::apart("user.name", "user.account")).await
}

/// The plugin looks at its memory, and writes over it, only once it has the answer.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_asked_where_the_answer_may_not_meet_what_is_remembered() {
    let world = apart().await;
    world.share("remember", &chat("ada")).await;
    world.share("ask-and-remember", &nameless("ada")).await;
    assert_eq!(exchanges(&world, "ada").await[0]["outcome"], "refused:combination");
    let call = &world.rows("ada", "call").await[1];
    let memory = verdict_on(call, "memory").expect("a verdict on the memory");
    assert_eq!(memory["kept_apart"]["with"], REPLY, "{call}");
    // That nobody was asked is something that the plugin learnt of its memory.
    let back = world.rows("ada", "return").await.pop().expect("a row");
    assert!(
        has_label(&verdict_on(&back, "/verdict").unwrap()["labels"], "first-party:user.name.first"),
        "{back}"
    );

    world.choose("ada", permitted()).await;
    world.send(&nameless("ada")).await;
    assert_eq!(exchanges(&world, "ada").await[1]["outcome"], "attempt");
}

/// What a call brought together in its memory stays together only for as long as it may meet.
#[tokio::test(flavor = "multi_thread")]
async fn what_met_in_a_memory_is_asked_about_whenever_it_is_used() {
    let world = apart().await;
    world.choose("ada", permitted()).await;
    let wordless = || events::with(chat("ada"), [("/data/transcript", json!([{ "speaker": "agent" }]))]);
    let silent = || events::with(wordless(), [("/data/contact/name", Value::Null)]);
    world.share("ask-and-remember", &wordless()).await;
    world.share("recall", &silent()).await;
    assert_eq!(world.returned().await["value"]["verdict"], "answered");

    world.choose("ada", json!({})).await;
    world.share("recall", &silent()).await;
    assert_eq!(world.returned().await["value"]["verdict"], "nothing");
    let call = &world.rows("ada", "call").await[2];
    let memory = verdict_on(call, "memory").expect("a verdict on the memory");
    assert_eq!(
        (&memory["decision"], &memory["reason"]),
        (&json!("withhold"), &json!("clause:integrations.combine"))
    );
    assert!(memory["kept_apart"].is_object(), "{memory}");
}

/// As with a field: nothing tells which entry holds it.
#[tokio::test(flavor = "multi_thread")]
async fn a_combination_that_is_taken_away_takes_back_what_was_remembered_by_it() {
    let world = World::new().await;
    world.share("ask-and-remember", &chat("ada")).await;
    world.share("recall", &nameless("ada")).await;
    assert_eq!(world.returned().await["value"]["verdict"], "answered");
    world.behave("recall", &["combine /verdict", "combine /count", "combine json", "combine ask"]).await;
    world.send(&nameless("ada")).await;
    let call = &world.rows("ada", "call").await[2];
    let memory = verdict_on(call, "memory").expect("a verdict on the memory");
    assert_eq!(
        (&memory["decision"], &memory["reason"]),
        (&json!("withhold"), &json!("clause:integrations.combine"))
    );
    world.share("recall", &nameless("ada")).await;
    assert_eq!(world.returned().await["value"]["verdict"], "nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_asks_so_often_and_no_more() {
    let world = World::new().await;
    world.share("ask-too-often", &chat("ada")).await;
    assert_eq!(world.rows("ada", "call").await[0]["outcome"], "failed:output-too-large");
    assert_eq!(exchanges(&world, "ada").await.len(), 4);
    let received = world.gateway.partner.received();
    let ids: std::collections::BTreeSet<_> =
        received.iter().map(|request| request.header("webhook-id").map(str::to_owned)).collect();
    assert_eq!((received.len(), ids.len()), (4, 4), "each under an id of its own");
}

/// The world where the partner is asked by SMS: with the telephone number, in this release declared.
async fn by_sms(options: Options) -> World {
    let mut world = World::with(options).await;
    let release = crate::hostile::remade::with_manifest(&components().hostile.bytes, |manifest| {
        manifest["plugin"]["version"] = json!("1.0.1");
        let asked = manifest["endpoint"].as_array_mut().unwrap().last_mut().unwrap();
        asked["channel"] = json!("sms");
        let phone = json!({ "field": "/contact/phone", "access": "sealed", "why": "by telephone" });
        manifest["share"][0]["receives"].as_array_mut().unwrap().push(phone);
        let_all_meet(manifest);
    });
    let mallory = world.gateway.partner_key("mallory").await;
    world.release = mallory.publish(&release).await.expect(201);
    world
}

/// Of [`by_sms`]: places the number.
const WITH_THE_NUMBER: &str = "ask-ungranted-field";

/// As of any request by SMS, it is asked about once more when the row is there.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_asked_where_the_number_cannot_be_asked_about_any_more() {
    let world = by_sms(forgetful()).await;
    let source = world.gateway.source(BRAND).await;
    // The number has a choice that can be damaged.
    for text in ["STOP", "START"] {
        let message = json!({ "text": text, "phone": "+1-212-555-0142" });
        source.post_event(&events::event("sms.received", BRAND, "texter", message)).await.expect(202);
    }
    change(&world.gateway, DAMAGE).await;
    world.share(WITH_THE_NUMBER, &chat("ada")).await;
    let rows = exchanges(&world, "ada").await;
    let result = &rows[0]["result"];
    assert_eq!((&result["outcome"], &result["code"]), (&json!("not-sent"), &json!("decision-stale")));
    assert_eq!(world.returned().await["value"], json!({ "verdict": "unavailable" }));
    assert!(world.gateway.partner.received().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_that_may_not_be_asked_and_one_that_does_not_answer_look_the_same() {
    let world = by_sms(Options::default()).await;
    let behaviour = WITH_THE_NUMBER;
    world.share(behaviour, &chat("open")).await;
    assert_eq!(world.returned().await["value"]["verdict"], "answered");
    let asked = world.gateway.partner.received().len();

    world.choose("closed", json!({ "opt_out": { "sms": true } })).await;
    world.share(behaviour, &chat("closed")).await;
    assert_eq!(world.returned().await["value"], json!({ "verdict": "unavailable" }));
    let rows = exchanges(&world, "closed").await;
    assert_eq!((rows.len(), &rows[0]["outcome"]), (1, &json!("withheld")));
    let phone = verdict_on(&rows[0], "/contact/phone").expect("a verdict on the number");
    assert_eq!((&phone["decision"], &phone["reason"]), (&json!("withhold"), &json!("clause:choice.sms")));
    assert_eq!(world.gateway.partner.received().len(), asked, "nothing left");

    let partner = world.gateway.partner.clone();
    let no_json = Behaviour::Answer(200, vec![], b"{\"a\":1,\"a\":2}".to_vec());
    for (number, (answer, code)) in [
        (Behaviour::Close, "protocol"),
        (Behaviour::Garbage(b"\x16\x03\x01".to_vec()), "protocol"),
        (no_json, "reply-not-json"),
        (Behaviour::HugeBody(100_000), "reply-too-large"),
        (Behaviour::Status(410), "answered"),
        (Behaviour::Status(200), "endpoint-off"),
    ]
    .into_iter()
    .enumerate()
    {
        let subject = format!("asked-{number}");
        partner.script([answer]);
        world.gateway.source(BRAND).await.post_event(&chat(&subject)).await.expect(202);
        world.gateway.settled().await;
        let rows = exchanges(&world, &subject).await;
        let row = &rows[0];
        match code {
            "answered" => assert_eq!(row["result"]["outcome"], code),
            "endpoint-off" => assert_eq!(row["outcome"], code),
            _ => assert_eq!(row["result"]["code"], code, "{row}"),
        }
        if code != "answered" {
            let returned = world.returned().await;
            assert_eq!(returned["value"], json!({ "verdict": "unavailable" }), "{code}");
        } else {
            // Switched off by what was answered, which takes a moment.
            let path = format!("/v1/brands/{BRAND}/connections/hostile");
            let brand = world.gateway.brand(BRAND).await;
            eventually("the endpoint to be off", || async {
                (brand.get(&path).await.expect(200)["endpoints_off"] == json!(["ask"])).then_some(())
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_partner_does_not_answer_ends_and_what_came_of_it_is_recorded() {
    let world = World::new().await;
    world.gateway.partner.script([Behaviour::Hang]);
    world.share("ask", &chat("ada")).await;
    assert_eq!(world.rows("ada", "call").await[0]["outcome"], "failed:deadline");
    let rows = exchanges(&world, "ada").await;
    assert_eq!(
        (&rows[0]["result"]["outcome"], &rows[0]["result"]["code"]),
        (&json!("failed"), &json!("deadline"))
    );
    world.share("ask", &chat("bea")).await;
    assert_eq!(world.returned().await["value"]["verdict"], "answered", "the next call is as good as ever");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_out_while_the_partner_answers_keeps_the_answer_out() {
    let world = World::new().await;
    let partner = &world.gateway.partner;
    partner
        .script([Behaviour::Delay(Duration::from_millis(500), Box::new(answer(&json!({ "echo": "gold" }))))]);
    world.behave("ask", &[]).await;
    world.gateway.source(BRAND).await.post_event(&chat("ada")).await.expect(202);
    partner.wait_for(1).await;
    world.choose("ada", json!({ "opt_out": { "all_integrations": true } })).await;
    world.gateway.settled().await;
    let rows = exchanges(&world, "ada").await;
    assert_eq!(rows[0]["result"]["code"], "reply-withheld", "{rows:?}");
    let back = &world.rows("ada", "return").await[0];
    assert_eq!(back["outcome"], "withheld", "nor does the brand get what the call returned: {back}");
    assert_eq!(world.returned().await, Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_out_while_a_decision_is_made_keeps_it_from_the_brand() {
    let world = World::new().await;
    // Whoever only looked at pages is not asked about.
    world.share("remember", &chat("ada")).await;
    let partner = &world.gateway.partner;
    let before = partner.received().len();
    partner
        .script([Behaviour::Delay(Duration::from_millis(500), Box::new(answer(&json!({ "echo": "gold" }))))]);
    world.behave("ask", &[]).await;
    let page = events::page_viewed(BRAND, "ada");
    let source = world.gateway.source(BRAND).await;
    let asked = async { source.decide("hostile", &page).await.expect(200) };
    let opted_out = async {
        partner.wait_for(before + 1).await;
        world.choose("ada", json!({ "opt_out": { "all_integrations": true } })).await;
    };
    let (answer, ()) = tokio::join!(asked, opted_out);
    assert_eq!((&answer["decision"], &answer["reason"]), (&Value::Null, &json!("withheld")), "{answer}");
    let back = world.rows("ada", "return").await.pop().expect("a row");
    assert_eq!(back["fields"][0]["reason"], "clause:integrations.opt-out", "{back}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_partner_of_one_consumer_keeps_no_other_waiting() {
    // More than there are places for work under way.
    const CHATS: usize = 200;
    let world = World::new().await;
    let said = Box::new(answer(&json!({ "echo": "gold" })));
    world.gateway.partner.behave(Behaviour::Delay(Duration::from_millis(100), said));
    world.behave("ask-and-recall", &[]).await;
    let source = world.gateway.source(BRAND).await;
    let chats: Vec<Value> = (0..CHATS).map(|_| chat("busy")).collect();
    source.post_batch(BRAND, &chats).await.expect(202);
    source.post_event(&chat("other")).await.expect(202);
    eventually("the other consumer's turn", || async {
        (!world.rows("other", "call").await.is_empty()).then_some(())
    })
    .await;
    let done = world.rows("busy", "call").await.len();
    assert!(done < CHATS / 4, "{done} of {CHATS} were before it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_asks_too_and_a_question_carries_what_was_remembered() {
    let world = World::new().await;
    world.share("remember", &chat("ada")).await;
    world.behave("ask-and-recall", &[]).await;
    world.gateway.partner.script([answer(&json!({ "echo": "gold" }))]);
    let page = events::page_viewed(BRAND, "ada");
    let decided = world.gateway.source(BRAND).await.decide("hostile", &page).await.expect(200);
    assert_eq!(decided["decision"]["verdict"], "gold", "{decided}");
    let labels = &decided["provenance"]["labels"]["/verdict"];
    assert!(has_label(labels, REPLY) && has_label(labels, "first-party:user.name.first"), "{decided}");
    let rows = exchanges(&world, "ada").await;
    assert_eq!((&rows[0]["flow"], &rows[0]["event_type"]), (&json!("decide"), &json!("page.viewed")));
    let memory = verdict_on(&rows[0], "memory").expect("the question carries the memory's labels");
    assert!(has_label(&memory["labels"], "first-party:user.name.first"), "{memory}");
}
