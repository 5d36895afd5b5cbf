//! Given a partner whose endpoint is down, slow or says nonsense; when a lead is delivered; then the ledger
//! says what happened, nothing is lost, the next delivery succeeds, and no request goes where it may not.

use std::net::SocketAddr;
use std::time::Duration;

use gateway::outbound::Lookup;
use gateway_tests::{
    Behaviour, Options, Partner, TestGateway, components, events, eventually, remade, world,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::choices::by_sms::change;

const BRAND: &str = world::NORTHSIDE;
const CONNECTION: &str = "/v1/brands/northside-motors/connections/adf-lead";
/// Past the second try, 5 s after the first with a tenth of jitter; far from the third.
const RETRY: time::Duration = time::Duration::seconds(6);

/// What an endpoint does once, the status that arrives, and the code of the ledger's row.
fn once() -> Vec<(&'static str, Behaviour, Option<u16>, &'static str)> {
    vec![
        ("breaks off", Behaviour::Close, None, "protocol"),
        ("garbage", Behaviour::Garbage(b"\x00\xff SMTP ready\r\n\r\n".to_vec()), None, "protocol"),
        ("garbage after a status", Behaviour::Garbage(b"HTTP/1.1 OK\r\n\r\n".to_vec()), None, "protocol"),
        ("no such status", Behaviour::Status(999), Some(999), "protocol"),
        ("moved", Behaviour::Redirect("https://elsewhere.acme.example/v1".into()), Some(302), "redirect"),
        ("moved inside", Behaviour::Redirect("http://127.0.0.1:1/".into()), Some(302), "redirect"),
        ("bad request", Behaviour::Status(400), Some(400), "client-error"),
        ("unauthorized", Behaviour::Status(401), Some(401), "client-error"),
        ("not found", Behaviour::Status(404), Some(404), "client-error"),
        ("error", Behaviour::Status(500), Some(500), "server-error"),
        ("overloaded", Behaviour::Status(503), Some(503), "server-error"),
        ("throttled", Behaviour::Status(429), Some(429), "throttled"),
    ]
}

fn options() -> Options {
    Options::default()
}

async fn post(gateway: &TestGateway, subject: &str) {
    gateway.source(BRAND).await.post_event(&events::chat_ended(BRAND, subject)).await.expect(202);
    gateway.settled().await;
}

/// The delivery rows of a consumer, oldest first.
async fn deliveries(gateway: &TestGateway, subject: &str) -> Vec<Value> {
    let query = format!("consumer={subject}&stage=delivery");
    let mut rows = gateway.brand(BRAND).await.flows(&query).await;
    rows.reverse();
    rows
}

fn result(row: &Value) -> (&str, Option<u64>, Option<&str>) {
    let result = &row["result"];
    (result["outcome"].as_str().unwrap_or_default(), result["status"].as_u64(), result["code"].as_str())
}

async fn dead_letters(gateway: &TestGateway) -> Vec<Value> {
    let page = gateway.brand(BRAND).await.get(&format!("/v1/brands/{BRAND}/dead-letters")).await.expect(200);
    page["items"].as_array().cloned().unwrap_or_default()
}

async fn assert_delivered_at_once(gateway: &TestGateway, subject: &str) {
    post(gateway, subject).await;
    let rows = deliveries(gateway, subject).await;
    let [row] = rows.as_slice() else { panic!("{subject}: {rows:?}") };
    assert_eq!(result(row), ("delivered", Some(200), None), "{subject}");
    gateway.anonymous().get("/readyz").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_whatever_an_endpoint_does_once_the_request_is_tried_again_under_its_id() {
    let gateway = TestGateway::demo_with(options()).await;
    for (what, behaviour, status, code) in once() {
        let subject = what.replace(' ', "-");
        gateway.partner.script([behaviour]);
        let before = gateway.partner.received().len();
        post(&gateway, &subject).await;
        let rows = deliveries(&gateway, &subject).await;
        let [first] = rows.as_slice() else { panic!("{what}: {rows:?}") };
        assert_eq!(result(first), ("retry", status.map(u64::from), Some(code)), "{what}");
        assert_eq!(gateway.partner.received().len(), before + 1, "{what}: one try is one request");

        assert_delivered_at_once(&gateway, &format!("next-after-{subject}")).await;

        gateway.clock.advance(RETRY);
        gateway.settled().await;
        let rows = deliveries(&gateway, &subject).await;
        let [_, second] = rows.as_slice() else { panic!("{what}: {rows:?}") };
        assert_eq!(result(second), ("delivered", Some(200), None), "{what}");
        assert_eq!((&rows[0]["attempt"], &second["attempt"]), (&json!(1), &json!(2)), "{what}");
        let received = gateway.partner.received();
        let [first, _, second] = &received[before..] else { panic!("{what}: {}", received.len()) };
        assert_eq!(first.webhook_id(), second.webhook_id(), "{what}");
        assert_eq!(first.text(), second.text(), "{what}");
        // The redirect was a reply, and nobody was asked there: all went to the declared path.
        assert!(received.iter().all(|request| request.path == "/v1/dealers/4711/leads"), "{what}");
    }
    assert!(dead_letters(&gateway).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_does_not_answer_is_given_up_and_tried_again() {
    let gateway =
        TestGateway::demo_with(Options { request_timeout: Duration::from_secs(2), ..options() }).await;
    gateway.partner.script([Behaviour::Hang]);
    post(&gateway, "patient").await;
    let rows = deliveries(&gateway, "patient").await;
    assert_eq!(rows.iter().map(result).collect::<Vec<_>>(), [("retry", None, Some("timeout"))]);
    gateway.clock.advance(RETRY);
    gateway.settled().await;
    let rows = deliveries(&gateway, "patient").await;
    assert_eq!(result(&rows[1]), ("delivered", Some(200), None));
    // A busy endpoint that answers within the time is no fault.
    gateway.partner.script([Behaviour::Delay(Duration::from_millis(50), Box::new(Behaviour::Status(204)))]);
    post(&gateway, "busy").await;
    let rows = deliveries(&gateway, "busy").await;
    assert_eq!(rows.iter().map(result).collect::<Vec<_>>(), [("delivered", Some(204), None)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_without_end_is_cut_off_and_costs_nothing() {
    let gateway = TestGateway::demo_with(options()).await;
    gateway.partner.script([Behaviour::HugeBody(1 << 40)]);
    post(&gateway, "talkative").await;
    // The status has arrived, so it is delivered; the rest is not read.
    let rows = deliveries(&gateway, "talkative").await;
    assert_eq!(rows.iter().map(result).collect::<Vec<_>>(), [("delivered", Some(200), None)]);
    assert_delivered_at_once(&gateway, "next").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_is_honoured() {
    let gateway = TestGateway::demo_with(options()).await;
    gateway.partner.script([
        Behaviour::with_header(429, "retry-after", "3600"),
        Behaviour::with_header(503, "retry-after", "7200"),
    ]);
    post(&gateway, "throttled").await;
    gateway.clock.advance(time::Duration::seconds(3500));
    gateway.settled().await;
    assert_eq!(deliveries(&gateway, "throttled").await.len(), 1, "the partner asked for an hour");
    gateway.clock.advance(time::Duration::seconds(200));
    gateway.settled().await;
    assert_eq!(deliveries(&gateway, "throttled").await.len(), 2);
    gateway.clock.advance(time::Duration::seconds(7000));
    gateway.settled().await;
    assert_eq!(deliveries(&gateway, "throttled").await.len(), 2, "the partner asked for two hours");
    gateway.clock.advance(time::Duration::seconds(300));
    gateway.settled().await;
    let rows = deliveries(&gateway, "throttled").await;
    let expected = [
        ("retry", Some(429), Some("throttled")),
        ("retry", Some(503), Some("server-error")),
        ("delivered", Some(200), None),
    ];
    assert_eq!(rows.iter().map(result).collect::<Vec<_>>(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_gone_gets_nothing_until_the_connection_is_written_again() {
    let gateway = TestGateway::demo_with(options()).await;
    let brand = gateway.brand(BRAND).await;
    gateway.partner.script([Behaviour::Status(410)]);
    post(&gateway, "first").await;
    let rows = deliveries(&gateway, "first").await;
    assert_eq!(rows.iter().map(result).collect::<Vec<_>>(), [("dead", Some(410), Some("gone"))]);
    assert_eq!(brand.get(CONNECTION).await.expect(200)["endpoints_off"], json!(["leads"]));

    post(&gateway, "second").await;
    let rows = deliveries(&gateway, "second").await;
    let outcomes: Vec<_> = rows.iter().map(|row| (&row["outcome"], &row["result"])).collect();
    assert_eq!(outcomes, [(&json!("endpoint-off"), &Value::Null)]);
    assert_eq!(gateway.partner.received().len(), 1);
    // A release's other hooks go on: the gateway itself is none the worse.
    let letters = dead_letters(&gateway).await;
    let states: Vec<_> = letters.iter().map(|letter| letter["state"].as_str().unwrap_or_default()).collect();
    assert_eq!(states, ["dropped", "dead"]);

    let release = &brand.get("/v1/plugins/adf-lead/releases").await.expect(200)[0];
    world::switch_on(&gateway, BRAND, release, world::adf_settings(), world::adf_secrets()).await;
    assert_eq!(brand.get(CONNECTION).await.expect(200)["endpoints_off"], json!([]));
    assert_delivered_at_once(&gateway, "third").await;
    // And what was not delivered can be sent again, under its own id.
    for letter in letters {
        let id = letter["id"].as_str().expect("an id");
        brand.post(&format!("/v1/brands/{BRAND}/dead-letters/{id}/resend")).await.ok();
    }
    gateway.settled().await;
    let received = gateway.partner.received();
    assert_eq!(received.len(), 4);
    assert!(received[2..].iter().any(|request| request.webhook_id() == received[0].webhook_id()));
    assert!(dead_letters(&gateway).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_that_stays_down_gets_the_whole_schedule_and_then_a_dead_letter() {
    const TRIES: usize = 10;
    let gateway = TestGateway::demo_with(options()).await;
    gateway.partner.behave(Behaviour::Status(502));
    post(&gateway, "unlucky").await;
    for tries in 1..=TRIES {
        assert_eq!(deliveries(&gateway, "unlucky").await.len(), tries);
        // The longest wait is 24 hours with a tenth of jitter.
        gateway.clock.advance(time::Duration::hours(27));
        gateway.settled().await;
    }
    let rows = deliveries(&gateway, "unlucky").await;
    assert_eq!(rows.len(), TRIES, "nothing follows the last try");
    assert!(rows[..TRIES - 1].iter().all(|row| result(row) == ("retry", Some(502), Some("server-error"))));
    assert_eq!(result(&rows[TRIES - 1]), ("dead", Some(502), Some("server-error")));
    let letters = dead_letters(&gateway).await;
    assert_eq!(letters.len(), 1);
    assert_eq!((&letters[0]["attempts"], &letters[0]["last"]), (&json!(TRIES), &json!("server-error")));
    gateway.partner.behave(Behaviour::Status(200));
    assert_delivered_at_once(&gateway, "next").await;
}

/// Answers 200 to everything that comes to an address, from now on.
async fn come_up(address: SocketAddr) {
    let listener = eventually("the port", || async { TcpListener::bind(address).await.ok() }).await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = vec![0; 64 * 1024];
            let _ = stream.read(&mut buffer).await;
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            let _ = stream.write_all(answer).await;
            // Until the other side has read it.
            while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_that_is_down_gets_its_lead_once_it_is_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let bindings = [("acme.example".to_owned(), address)].into();
    let gateway = TestGateway::demo_with(Options { bindings, bind_domains: false, ..options() }).await;
    post(&gateway, "early").await;
    let rows = deliveries(&gateway, "early").await;
    assert_eq!(rows.iter().map(result).collect::<Vec<_>>(), [("retry", None, Some("connect"))]);
    come_up(address).await;
    assert_delivered_at_once(&gateway, "late").await;
    gateway.clock.advance(RETRY);
    gateway.settled().await;
    let rows = deliveries(&gateway, "early").await;
    assert_eq!(result(&rows[1]), ("delivered", Some(200), None));
}

const DAMAGE: &str = "UPDATE documents SET secret = CAST(secret || X'00' AS BLOB) WHERE kind = 'connection' AND name = 'adf-lead'";
const MEND: &str = "UPDATE documents SET secret = substr(secret, 1, length(secret) - 1) \
                    WHERE kind = 'connection' AND name = 'adf-lead'";

/// On and not to be used, as where its secrets do not open: what waits is neither sent nor dropped.
#[tokio::test(flavor = "multi_thread")]
async fn a_lead_waits_for_a_plugin_that_cannot_be_used_now() {
    let gateway = TestGateway::demo_with(options()).await;
    gateway.partner.script([Behaviour::Status(500)]);
    post(&gateway, "early").await;
    let secrets = async |sql: &'static str, brand: &str| {
        change(&gateway, sql).await;
        world::brand(&gateway, brand, false).await;
    };
    secrets(DAMAGE, "one").await;
    gateway.clock.advance(RETRY);
    gateway.settled().await;
    let rows = deliveries(&gateway, "early").await;
    assert_eq!(rows[1]["outcome"], "not-run:unusable");
    assert_eq!(result(&rows[1]), ("not-sent", None, Some("unusable")));
    assert_eq!(dead_letters(&gateway).await, Vec::<Value>::new());

    secrets(MEND, "two").await;
    gateway.clock.advance(time::Duration::minutes(1));
    gateway.settled().await;
    let rows = deliveries(&gateway, "early").await;
    assert_eq!(result(rows.last().unwrap()), ("delivered", Some(200), None), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leads_to_a_private_address_fails_as_such_and_the_next_delivery_succeeds() {
    // What is not bound to the tests' endpoint leads inside.
    let lookup = Lookup::from_fn(|_| vec![[10, 0, 0, 1].into()]);
    let gateway = TestGateway::demo_with(Options { lookup, ..options() }).await;
    let elsewhere = remade::with_manifest(&components().hostile.bytes, |manifest| {
        for endpoint in manifest["endpoint"].as_array_mut().expect("endpoints") {
            endpoint["url"] = json!(endpoint["url"].as_str().map(|url| url.replace("mallory", "private")));
        }
    });
    world::brand(&gateway, "testers", false).await;
    world::partner(&gateway, "mallory", "US", "private.example").await;
    let release = gateway.partner_key("mallory").await.publish(&elsewhere).await.expect(201);
    world::hostile_behaves(&gateway, &release, "none").await;

    gateway.source("testers").await.post_event(&events::chat_ended("testers", "inside")).await.expect(202);
    gateway.settled().await;
    let brand = gateway.brand("testers").await;
    let rows = brand.flows("consumer=inside&stage=delivery").await;
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    if result(row).2 == Some("no-trust-roots") && std::env::var("CI").as_deref() != Ok("true") {
        eprintln!("skipped: the system has no trust roots, so no name is looked up");
        return;
    }
    assert_eq!(result(row), ("dead", None, Some("address-not-public")));
    let letters = brand.get("/v1/brands/testers/dead-letters").await.expect(200);
    assert_eq!(letters["items"][0]["last"], "address-not-public", "{letters}");
    assert!(gateway.partner.received().is_empty());
    assert_delivered_at_once(&gateway, "next").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leads_inside_or_nowhere_is_never_connected_to() {
    let partner = Partner::start().await;
    let bindings = [("mallory.example".to_owned(), partner.address)].into();
    let options = Options { bindings, bind_domains: false, ..options() };
    let gateway = TestGateway::demo_with(options).await;
    // Names of the reserved top-level domain do not resolve (RFC 6761); where a resolver answers all the
    // same, as some do with an address of their own network, that address is not public.
    post(&gateway, "nowhere").await;
    let rows = deliveries(&gateway, "nowhere").await;
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    let (_, status, code) = result(row);
    assert_eq!(status, None);
    assert!(matches!(code, Some("dns" | "address-not-public" | "timeout")), "{row}");
    assert!(partner.received().is_empty() && gateway.partner.received().is_empty());
    // Another partner's name leads somewhere, and its request arrives.
    world::hostile(&gateway, "none").await;
    gateway.source("testers").await.post_event(&events::chat_ended("testers", "next")).await.expect(202);
    gateway.settled().await;
    assert_eq!(partner.received().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_cannot_lead_a_request_to_another_host() {
    let gateway = TestGateway::demo_with(options()).await;
    let brand = gateway.brand(BRAND).await;
    let release = brand.get("/v1/plugins/adf-lead/releases").await.expect(200)[0].clone();
    for host in
        ["127.0.0.1", "evil.example/", "evil.example#", "a.b", "user@evil", "[::1]", "-a", "ÅB", "leads:8443"]
    {
        let mut settings = world::adf_settings();
        settings["host"] = json!(host);
        let document = world::connection(&release, settings, world::adf_secrets());
        let problem = brand.put(CONNECTION, &document).await.expect(422);
        assert_eq!(problem["problems"][0]["pointer"], "/settings/host", "{host}: {problem}");
    }
    // What stood stands.
    assert_delivered_at_once(&gateway, "after").await;
    assert!(gateway.partner.received().iter().all(|request| request.host() == "leads.acme.example"));
}
