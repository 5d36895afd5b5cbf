//! Clauses share.legal.i to share.legal.v: two persons, a reason, a scope, a recorded export; and every way
//! around one of them.

use gateway::pipeline::Role;
use gateway_tests::events::{chat_ended, page_viewed};
use gateway_tests::world::{self, DENTAL, NORTHSIDE};
use gateway_tests::{Client, TestGateway};
use serde_json::{Value, json};

const BASE: &str = "/v1/brands/northside-motors/disclosures";

/// Two operators, each with a key.
struct Office {
    gateway: TestGateway,
    ada: Client,
    carl: Client,
}

impl Office {
    async fn open() -> Self {
        let gateway = TestGateway::start(Default::default()).await;
        for brand in [NORTHSIDE, DENTAL] {
            world::brand(&gateway, brand, false).await;
        }
        let source = gateway.source(NORTHSIDE).await;
        source.post_event(&chat_ended(NORTHSIDE, "jane")).await.expect(202);
        source.post_event(&page_viewed(NORTHSIDE, "jane")).await.expect(202);
        source.post_event(&chat_ended(NORTHSIDE, "someone-else")).await.expect(202);
        let key = async || {
            let made = gateway.gateway.create_key(Role::Operator, None, None, "tests").await;
            gateway.anonymous().with_key(Some(&made.unwrap().1))
        };
        let (ada, carl) = (key().await, key().await);
        Self { gateway, ada, carl }
    }

    async fn request(&self, scope: &[&str]) -> Value {
        let mut document = document();
        document["scope"] = json!(scope);
        post(&self.ada, BASE, &document).await.expect(201)
    }

    /// A request that Carl has approved; its id.
    async fn approved(&self, scope: &[&str]) -> String {
        let id = text(&self.request(scope).await["id"]);
        post(&self.carl, &format!("{BASE}/{id}/approve"), &json!({ "person": "Carl Dow" })).await.expect(200);
        id
    }

    async fn rows(&self) -> Vec<Value> {
        self.gateway.auditor().await.flows("stage=disclose").await
    }
}

fn document() -> Value {
    json!({
        "consumer": "jane", "reason": "i", "scope": ["user.contact"],
        "authority": "District Court of Springfield", "reference": "order 2026-118", "person": "Ada Bell",
    })
}

async fn post(client: &Client, path: &str, document: &Value) -> gateway_tests::Answer {
    client.post_body(path, "application/json", document.to_string().into_bytes()).await
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_persons_agreed_on_is_exported_and_recorded() {
    let office = Office::open().await;
    let asked = office.request(&["user.contact", "page.viewed"]).await;
    let id = text(&asked["id"]);
    assert_eq!((&asked["state"], &asked["clause"]), (&json!("pending"), &json!("share.legal.i")));
    assert!(!asked.to_string().contains("jane"), "the consumer by pseudonym alone");
    // The second person reads what it is about.
    let shown = office.carl.get(&format!("{BASE}/{id}")).await.expect(200);
    assert_eq!(shown, asked);
    let path = format!("{BASE}/{id}/approve");
    let approved = post(&office.carl, &path, &json!({ "person": "Carl Dow" })).await.expect(200);
    assert_eq!(approved["state"], "approved");
    assert_eq!(approved["approved"]["person"], "Carl Dow");

    let export = office.ada.get(&format!("{BASE}/{id}/export")).await.expect(200);
    let events = export["events"].as_array().unwrap();
    assert_eq!(
        events.iter().map(|event| text(&event["type"])).collect::<Vec<_>>(),
        ["chat.ended", "page.viewed"]
    );
    // Of the chat the contact data alone; of the page view all.
    let contact = json!({ "email": "ottoline.quillfeather@example.org", "phone": "+1-212-555-0142" });
    assert_eq!(events[0]["data"], json!({ "contact": contact }));
    assert_eq!(events[0]["labels"]["/contact/email"], json!(["first-party:user.contact.email"]));
    assert_eq!(events[1]["data"]["ip"], "192.0.2.77");
    assert!(!export.to_string().contains("roadster"));

    let rows = office.rows().await;
    assert_eq!(rows.len(), 2);
    for row in &rows {
        assert_eq!((&row["flow"], &row["recipient"]), (&json!("disclose"), &json!("authority")));
        assert_eq!(row["outcome"], "exported:share.legal.i");
        assert_eq!((&row["endpoint"], &row["event"]), (&json!("District Court of Springfield"), &json!(id)));
        assert_eq!((&row["consumer"], &row["plugin"]), (&asked["consumer"], &json!("")));
        assert_eq!(row["facts"], json!(["disclosure.approved"]));
        let fields = row["fields"].as_array().unwrap();
        assert!(!fields.is_empty() && fields.iter().all(|field| field["reason"] == "clause:share.legal"));
        assert!(export["flows"].as_array().unwrap().contains(&row["id"]));
    }
    // Each export is one of its own.
    office.carl.get(&format!("{BASE}/{id}/export")).await.expect(200);
    assert_eq!(office.rows().await.len(), 4);
}

/// The five reasons of the policy, each with somebody who may have it.
const REASONS: [(&str, &str, &str); 5] = [
    ("i", "District Court of Springfield", "order 2026-118"),
    ("ii", "Counsel of the other party", "lawsuit 7 of 2026"),
    ("iii", "Arbiter of the agreement", "breach of section 4"),
    ("iv", "Cantonal Police", "fraud report 31"),
    ("v", "Trade Mark Office", "notice 12"),
];

#[tokio::test(flavor = "multi_thread")]
async fn for_each_reason_two_persons_a_scope_a_recipient_and_a_reference_are_in_its_row_or_nothing_goes() {
    for (reason, authority, reference) in REASONS {
        let office = Office::open().await;
        let clause = format!("share.legal.{reason}");
        let mut document = document();
        for (name, value) in [("reason", reason), ("authority", authority), ("reference", reference)] {
            document[name] = json!(value);
        }
        for name in ["scope", "authority", "reference", "person"] {
            let mut without = document.clone();
            without.as_object_mut().unwrap().remove(name);
            let refused = post(&office.ada, BASE, &without).await.expect(422);
            assert!(refused.to_string().contains(name), "{reason} without {name}: {refused}");
        }
        let asked = post(&office.ada, BASE, &document).await.expect(201);
        assert_eq!((&asked["clause"], &asked["reference"]), (&json!(clause), &json!(reference)), "{asked}");
        let one = format!("{BASE}/{}", text(&asked["id"]));
        let (approve, export) = (format!("{one}/approve"), format!("{one}/export"));
        post(&office.ada, &approve, &json!({ "person": "Carl Dow" })).await.expect(403);
        office.ada.get(&export).await.expect(409);
        assert_eq!(office.rows().await, Vec::<Value>::new(), "{reason}: one person is not enough");

        post(&office.carl, &approve, &json!({ "person": "Carl Dow" })).await.expect(200);
        let exported = office.ada.get(&export).await.expect(200);
        let view = &exported["disclosure"];
        assert_eq!(
            (&view["requested"]["person"], &view["approved"]["person"], &view["reference"]),
            (&json!("Ada Bell"), &json!("Carl Dow"), &json!(reference)),
            "{reason}"
        );
        let [row] = &office.rows().await[..] else { panic!("{reason}: one event is within the scope") };
        assert_eq!(row["outcome"], format!("exported:{clause}"), "{row}");
        assert_eq!((&row["flow"], &row["recipient"]), (&json!("disclose"), &json!("authority")), "{row}");
        assert_eq!((&row["endpoint"], &row["event"]), (&json!(authority), &asked["id"]), "{row}");
        let fields = row["fields"].as_array().unwrap();
        let told: Vec<_> = fields.iter().map(|field| (&field["field"], &field["labels"])).collect();
        assert_eq!(
            told,
            [
                (&json!("/contact/email"), &json!(["first-party:user.contact.email"])),
                (&json!("/contact/phone"), &json!(["first-party:user.contact.phone_number"])),
            ],
            "{row}"
        );
        assert!(fields.iter().all(|field| field["reason"] == "clause:share.legal"), "{row}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_exported_without_a_second_person() {
    let office = Office::open().await;
    let id = text(&office.request(&["user.contact"]).await["id"]);
    let export = format!("{BASE}/{id}/export");
    office.ada.get(&export).await.expect(409);
    let approve = format!("{BASE}/{id}/approve");
    for (name, client, person, status) in [
        ("the same key", &office.ada, "Carl Dow", 403),
        ("the same key and person", &office.ada, "Ada Bell", 403),
        ("the same person with another key", &office.carl, "Ada Bell", 403),
        ("the same person, written otherwise", &office.carl, "  ADA   bell ", 403),
        ("nobody", &office.carl, " ", 422),
    ] {
        let answer = post(client, &approve, &json!({ "person": person })).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.text);
        office.carl.get(&export).await.expect(409);
    }
    assert_eq!(office.rows().await, Vec::<Value>::new());
    post(&office.carl, &approve, &json!({ "person": "Carl Dow" })).await.expect(200);
    // Once is enough, and nobody puts their name over another's.
    post(&office.carl, &approve, &json!({ "person": "Eve Fox" })).await.expect(409);
    office.ada.get(&export).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_ends_after_thirty_days() {
    let office = Office::open().await;
    let id = office.approved(&["user.contact"]).await;
    let export = format!("{BASE}/{id}/export");
    office.gateway.clock.advance(time::Duration::days(30) - time::Duration::minutes(5));
    office.ada.get(&export).await.expect(200);
    office.gateway.clock.advance(time::Duration::minutes(5));
    let refused = office.ada.get(&export).await.expect(409);
    assert!(text(&refused["detail"]).contains("ended after 30 days"), "{refused}");
    assert_eq!(office.ada.get(&format!("{BASE}/{id}")).await.expect(200)["state"], "expired");
    assert_eq!(office.rows().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_outside_the_scope_is_exported() {
    let office = Office::open().await;
    for (scope, expected) in [
        (&["user.name.first"][..], json!([{ "contact": { "name": { "first": "Ottoline" } } }])),
        (
            &["user.content"],
            json!([{ "transcript": [
            { "text": "Is the turquoise roadster still available?" },
            { "text": "It is, and it is fully serviced." },
            { "text": "Splendid, please call me." },
        ] }]),
        ),
        (&["user.device.ip_address"], json!([{ "visit": { "ip": "192.0.2.77" } }, { "ip": "192.0.2.77" }])),
        (&["user.biometric", "purchase.completed"], json!([])),
    ] {
        let id = office.approved(scope).await;
        let export = office.ada.get(&format!("{BASE}/{id}/export")).await.expect(200);
        let data: Vec<_> =
            export["events"].as_array().unwrap().iter().map(|event| event["data"].clone()).collect();
        assert_eq!(json!(data), expected, "{scope:?}");
        // An export of nothing is an export too.
        assert_eq!(office.gateway.auditor().await.flows("stage=disclose").await[0]["event"], json!(id));
    }
    // Another brand's path leads nowhere.
    let id = office.approved(&["user.contact"]).await;
    office.ada.get(&format!("/v1/brands/{DENTAL}/disclosures/{id}/export")).await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_says_all_that_it_must() {
    let office = Office::open().await;
    for (member, value, status, pointer) in [
        ("reason", json!("vi"), 422, Some("/reason")),
        ("scope", json!([]), 422, Some("/scope")),
        ("scope", json!(["user.contcat"]), 422, Some("/scope/0")),
        ("authority", json!(" "), 422, Some("/authority")),
        ("reference", json!("two\nlines"), 422, Some("/reference")),
        ("person", json!(""), 422, Some("/person")),
        ("consumer", json!("never-met"), 404, None),
        ("approved", json!(true), 422, Some("/approved")),
    ] {
        let mut document = document();
        document[member] = value;
        let answer = post(&office.ada, BASE, &document).await;
        assert_eq!(answer.status, status, "{member}: {}", answer.text);
        assert_eq!(answer.json()["pointer"].as_str(), pointer, "{member}: {}", answer.text);
    }
    assert_eq!(office.rows().await, Vec::<Value>::new());
}

/// What the command prints, with its exit status.
async fn command(office: &Office, client: &Client, arguments: &[&str]) -> (i32, String) {
    let mut command = tokio::process::Command::new(gateway_tests::gateway_binary());
    command.arg("disclose").args(arguments).env("GATEWAY_URL", &office.gateway.url);
    let output = command.env("GATEWAY_KEY", client.key()).output().await.unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(printed).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_do_what_the_api_does() {
    let office = Office::open().await;
    let request = [
        "request",
        NORTHSIDE,
        "--consumer",
        "jane",
        "--reason",
        "iv",
        "--scope",
        "user.contact",
        "--authority",
        "Cantonal Police",
        "--reference",
        "case 7",
        "--person",
        "Ada Bell",
        "--format",
        "json",
    ];
    let (status, printed) = command(&office, &office.ada, &request).await;
    assert_eq!(status, 0, "{printed}");
    let id = text(&serde_json::from_str::<Value>(&printed).unwrap()["id"]);
    let file = tempfile::tempdir().unwrap();
    let out = file.path().join("export.json");
    let out = out.to_str().unwrap();
    for (name, client, arguments, status, says) in [
        ("too early", &office.ada, vec!["export", NORTHSIDE, &id], 1, "a second person has to approve"),
        ("own", &office.ada, vec!["approve", NORTHSIDE, &id, "--person", "Carl Dow"], 1, "cannot approve"),
        ("shown", &office.carl, vec!["show", NORTHSIDE, &id], 0, "share.legal.iv"),
        ("approved", &office.carl, vec!["approve", NORTHSIDE, &id, "--person", "Carl Dow"], 0, "approved"),
        ("exported", &office.ada, vec!["export", NORTHSIDE, &id, "--out", out], 0, "written to"),
        ("not over a file", &office.ada, vec!["export", NORTHSIDE, &id, "--out", out], 1, "writing"),
        ("no reason", &office.ada, vec!["request", NORTHSIDE, "--reason", "vi"], 2, "one of i, ii"),
    ] {
        let (exit, printed) = command(&office, client, &arguments).await;
        assert_eq!(exit, status, "{name}: {printed}");
        assert!(printed.contains(says), "{name}: {printed}");
    }
    let written: Value = serde_json::from_slice(&std::fs::read(out).unwrap()).unwrap();
    assert_eq!(written["events"][0]["data"]["contact"]["phone"], "+1-212-555-0142");
    assert_eq!(office.rows().await.len(), 1, "what could not be written was not exported");
}
