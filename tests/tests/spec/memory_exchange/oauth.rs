//! Given an endpoint that takes tokens of OAuth 2.0 client credentials (RFC 6749 §4.4); when requests go to it;
//! then a token is fetched once, used while it is good, and fetched again when the partner refuses it.

use std::time::Duration;

use gateway::pipeline::Tuning;
use gateway_tests::{Behaviour, Options, Received, eventually};
use serde_json::{Value, json};

use super::{BRAND, World, chat};

const TOKEN_PATH: &str = "/oauth/token";

fn token(value: &str, life: u64) -> Behaviour {
    let body = json!({ "access_token": value, "token_type": "Bearer", "expires_in": life });
    Behaviour::Answer(200, vec![], body.to_string().into_bytes())
}

/// The plugin whose endpoint `json` takes tokens from this URL.
async fn world(token_url: &str, options: Options) -> World {
    let mut world = World::with(options).await;
    let built = gateway_tests::components();
    let release = crate::hostile::remade::with_manifest(&built.hostile.bytes, |manifest| {
        manifest["plugin"]["version"] = json!("1.0.2");
        manifest["endpoint"][0]["auth"] = json!({ "oauth2-client-credentials":
            { "token-url": token_url, "client-id": "client", "client-secret": "secret" } });
        manifest["settings"]["secrets"] = json!(["client", "secret"]);
    });
    let mallory = world.gateway.partner_key("mallory").await;
    world.release = mallory.publish(&release).await.expect(201);
    let secrets = json!({ "client": "the client", "secret": "p/w:%" });
    let settings = json!({ "host": "api", "behaviour": "none" });
    let document = gateway_tests::world::connection(&world.release, settings, secrets);
    let path = format!("/v1/brands/{BRAND}/connections/hostile");
    world.gateway.brand(BRAND).await.put(&path, &document).await.ok();
    world
}

/// Requests for tokens, and the `Authorization` of all others.
fn told(received: &[Received]) -> (Vec<&Received>, Vec<&str>) {
    let (tokens, others): (Vec<&Received>, Vec<&Received>) =
        received.iter().partition(|request| request.path == TOKEN_PATH);
    (tokens, others.into_iter().map(|request| request.header("authorization").unwrap_or_default()).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_fetched_once_used_while_it_is_good_and_again_when_it_is_refused() {
    let world = world("https://auth.mallory.example/oauth/token", Options::default()).await;
    let partner = &world.gateway.partner;
    let slow = Behaviour::Delay(Duration::from_millis(100), Box::new(token("t-1", 3600)));
    partner.script([slow]);
    let chats: Vec<Value> = (0..6).map(|number| chat(&format!("ada-{number}"))).collect();
    world.gateway.source(BRAND).await.post_batch(BRAND, &chats).await.expect(202);
    world.gateway.settled().await;
    let received = partner.received();
    let (tokens, others) = told(&received);
    assert_eq!((tokens.len(), others), (1, vec!["Bearer t-1"; 6]), "once, for all that waited");
    let asked = tokens[0];
    assert_eq!(
        (asked.method.as_str(), asked.body.as_slice()),
        ("POST", &b"grant_type=client_credentials"[..])
    );
    // Form-encoded each, then Basic: `the+client:p%2Fw%3A%25`.
    assert_eq!(asked.header("authorization"), Some("Basic dGhlK2NsaWVudDpwJTJGdyUzQSUyNQ=="));
    let names: Vec<&str> = asked.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert!(!names.iter().any(|name| name.starts_with("webhook-") || name.starts_with("x-")), "{names:?}");

    // Refused: this try failed, and the next one fetches another.
    partner.script([Behaviour::Status(401), token("t-2", 3600)]);
    world.send(&chat("bea")).await;
    world.gateway.clock.advance(time::Duration::minutes(1));
    world.gateway.settled().await;
    let received = partner.received();
    let (tokens, others) = told(&received);
    assert_eq!((tokens.len(), &others[6..]), (2, &["Bearer t-1", "Bearer t-2"][..]));

    // Shortly before its end it is no longer used.
    world.gateway.clock.advance(time::Duration::seconds(3600 - 20));
    partner.script([token("t-3", 3600)]);
    world.send(&chat("cleo")).await;
    let received = partner.received();
    let (tokens, others) = told(&received);
    assert_eq!((tokens.len(), others.last()), (3, Some(&"Bearer t-3")));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_nothing_is_sent_and_the_row_says_why() {
    let tuning = Tuning { max_attempts: 1, ..Tuning::default() };
    let options = Options { tuning, ..Options::default() };
    let world = world("https://auth.mallory.example/oauth/token", options).await;
    let partner = &world.gateway.partner;
    let other_kind = json!({ "access_token": "t", "token_type": "mac", "expires_in": 60 }).to_string();
    for (number, (answer, code)) in [
        (Behaviour::Answer(401, vec![], br#"{"error":"invalid_client"}"#.to_vec()), "token-refused"),
        (Behaviour::Answer(200, vec![], other_kind.into_bytes()), "token-refused"),
        (Behaviour::Answer(200, vec![], b"no JSON".to_vec()), "token-refused"),
        (Behaviour::Redirect("https://elsewhere.mallory.example/".to_owned()), "token-refused"),
        (Behaviour::Close, "protocol"),
    ]
    .into_iter()
    .enumerate()
    {
        let subject = format!("ada-{number}");
        let before = partner.received().len();
        partner.script([answer]);
        world.send(&chat(&subject)).await;
        let rows = eventually("the result", || async {
            let rows = world.rows(&subject, "delivery").await;
            rows.first().is_some_and(|row| row["result"].is_object()).then_some(rows)
        })
        .await;
        assert_eq!(
            (&rows[0]["result"]["outcome"], &rows[0]["result"]["code"]),
            (&json!("dead"), &json!(code))
        );
        assert_eq!(partner.received().len(), before + 1, "the request for a token alone: {code}");
        // The token endpoint is left alone for some seconds.
        world.send(&chat(&format!("{subject}-soon"))).await;
        assert_eq!(partner.received().len(), before + 1, "not asked again: {code}");
        world.gateway.clock.advance(time::Duration::seconds(6));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_comes_from_the_partners_domains_alone() {
    let world = world("https://auth.acme.example/oauth/token", Options::default()).await;
    world.send(&chat("ada")).await;
    let rows = world.rows("ada", "delivery").await;
    assert_eq!(rows[0]["outcome"], "domain-not-registered", "{rows:?}");
    assert!(world.gateway.partner.received().is_empty());
}

/// The last look at what may leave comes after the token.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_leaves_of_one_that_opted_out_while_a_token_was_fetched() {
    let world = world("https://auth.mallory.example/oauth/token", Options::default()).await;
    let partner = &world.gateway.partner;
    partner.script([Behaviour::Delay(Duration::from_millis(500), Box::new(token("t-1", 3600)))]);
    world.gateway.source(BRAND).await.post_event(&chat("ada")).await.expect(202);
    partner.wait_for(1).await;
    world.choose("ada", json!({ "opt_out": { "all_integrations": true } })).await;
    world.gateway.settled().await;
    let received = partner.received();
    let (tokens, others) = told(&received);
    assert_eq!((tokens.len(), others.len()), (1, 0));
    let rows = world.rows("ada", "delivery").await;
    assert_eq!(rows[0]["result"]["code"], "decision-stale", "{rows:?}");
    assert_eq!(rows[1]["outcome"], "withheld", "{rows:?}");
}
