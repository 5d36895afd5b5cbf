//! Given a grant that asks for a field in a coarser form or as a pseudonym; then that form is all that the
//! plugin reads, all that lies in the outbox and all that the partner gets, the ledger says `transform`, and
//! what the policy withholds of what leaves stays withheld.

use std::collections::BTreeMap;

use gateway_tests::world::{self, DENTAL, NORTHSIDE};
use gateway_tests::{Behaviour, Options, TestGateway, events};
use serde_json::{Value, json};

use crate::combined;
use crate::hostile::remade::with_manifest;

const CONNECTION: &str = "/v1/brands/northside-motors/connections/adf-lead";
const EMAIL: &str = "ottoline.quillfeather@example.org";
const PHONE: &str = "212-555-0142";

pub fn form(field: &str, form: &str) -> Value {
    json!({ "field": field, "as": form })
}

/// The lead's grant: names as they are, a telephone number as its country, ids as pseudonyms.
fn coarse() -> Value {
    json!([
        "/contact/name/first",
        "/contact/name/last",
        form("/conversation", "pseudonym"),
        form("/contact/email", "pseudonym"),
        form("/contact/phone", "country-code"),
    ])
}

async fn release(gateway: &TestGateway, plugin: &str) -> Value {
    let path = format!("/v1/plugins/{plugin}/releases");
    gateway.brand(NORTHSIDE).await.get(&path).await.expect(200)[0].clone()
}

async fn grant(gateway: &TestGateway, fields: Value) -> gateway_tests::Answer {
    let release = release(gateway, "adf-lead").await;
    let mut document = world::connection(&release, world::adf_settings(), world::adf_secrets());
    document["grant"] = json!({ "share chat.ended": fields });
    gateway.brand(NORTHSIDE).await.put(CONNECTION, &document).await
}

async fn chat(gateway: &TestGateway, brand: &str, subject: &str) {
    gateway.source(brand).await.post_event(&events::chat_ended(brand, subject)).await.expect(202);
    gateway.settled().await;
}

/// Field → (decision, reason, labels) of the newest row.
async fn newest(gateway: &TestGateway, query: &str) -> BTreeMap<String, (String, String, Value)> {
    let rows = gateway.auditor().await.flows(query).await;
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let fields = rows[0]["fields"].as_array().expect("fields").iter();
    fields
        .map(|field| {
            (
                word(&field["field"]),
                (word(&field["decision"]), word(&field["reason"]), field["labels"].clone()),
            )
        })
        .collect()
}

/// Field → the declassification that the newest row names.
async fn declassified(gateway: &TestGateway, query: &str) -> BTreeMap<String, String> {
    let rows = gateway.auditor().await.flows(query).await;
    let fields = rows[0]["fields"].as_array().expect("fields").iter();
    fields
        .filter_map(|field| {
            Some((field["field"].as_str()?.to_owned(), field["declassified"].as_str()?.to_owned()))
        })
        .collect()
}

fn transformed(reason: &str, label: &str) -> (String, String, Value) {
    ("transform".into(), reason.into(), json!([format!("first-party:{label}")]))
}

fn element<'t>(text: &'t str, name: &str) -> &'t str {
    let start = text.find(&format!("<{name}")).unwrap_or_else(|| panic!("no {name} in {text}"));
    let inner = &text[start..];
    let inner = &inner[inner.find('>').unwrap() + 1..];
    &inner[..inner.find('<').unwrap()]
}

#[tokio::test(flavor = "multi_thread")]
async fn read_and_sealed_fields_leave_in_the_form_of_the_grant_and_in_no_other() {
    let gateway = TestGateway::demo().await;
    grant(&gateway, coarse()).await.ok();
    chat(&gateway, NORTHSIDE, "ottoline").await;
    chat(&gateway, NORTHSIDE, "somebody-else").await;
    let leads: Vec<String> = gateway.partner.received().iter().map(|lead| lead.text()).collect();
    assert_eq!(leads.len(), 2);
    for lead in &leads {
        assert!(!lead.contains(EMAIL) && !lead.contains(PHONE) && !lead.contains("conv-2001"), "{lead}");
        assert_eq!(element(lead, "phone"), "+1");
        assert!(lead.contains("Quillfeather"), "what is granted as it is goes as it is: {lead}");
    }
    let pseudonym = element(&leads[0], "email");
    assert!(pseudonym.starts_with("ps_") && pseudonym.len() == 35, "{pseudonym}");
    assert_eq!(
        pseudonym,
        element(&leads[1], "email"),
        "the same value is the same for this brand and partner"
    );
    assert_ne!(pseudonym, element(&leads[0], "id"), "another value is another");

    for stage in ["call", "delivery"] {
        let row = newest(&gateway, &format!("brand={NORTHSIDE}&stage={stage}&plugin=adf-lead")).await;
        let third = "clause:integrations.share";
        assert_eq!(row["/contact/phone"], transformed(third, "user.contact.address.country"), "{stage}");
        assert_eq!(row["/contact/email"], transformed(third, "user.unique_id.pseudonymous"), "{stage}");
        assert_eq!(row["/conversation"], transformed(third, "user.unique_id.pseudonymous"), "{stage}");
        assert_eq!(row["/contact/name/first"].0, "allow", "{stage}");
        let by = declassified(&gateway, &format!("brand={NORTHSIDE}&stage={stage}&plugin=adf-lead")).await;
        let expected = [
            ("/contact/email", "contact-to-pseudonym"),
            ("/contact/phone", "number-to-country"),
            ("/conversation", "id-to-pseudonym"),
        ];
        assert_eq!(by, expected.map(|(field, rule)| (field.to_owned(), rule.to_owned())).into(), "{stage}");
    }
    let found = gateway.auditor().await.flows("verdict=transform&category=user.contact.phone_number").await;
    assert!(found.is_empty(), "no number left, so none is found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_has_no_such_form_is_not_granted_in_another() {
    let gateway = TestGateway::demo().await;
    grant(&gateway, coarse()).await.ok();
    let national = events::with(
        events::chat_ended(NORTHSIDE, "ottoline"),
        [("/data/contact/phone", json!("0212 555 0142"))],
    );
    gateway.source(NORTHSIDE).await.post_event(&national).await.expect(202);
    gateway.settled().await;
    let row = newest(&gateway, &format!("brand={NORTHSIDE}&stage=call")).await;
    let (decision, reason, _) = &row["/contact/phone"];
    assert_eq!((decision.as_str(), reason.as_str()), ("withhold", "not-granted"));
    assert!(!gateway.partner.received()[0].text().contains("555"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_narrows_to_a_form_holds_for_what_waits_and_one_that_widens_sends_what_was_planned() {
    for (before, after, sent) in [
        (json!("/contact/phone"), form("/contact/phone", "country-code"), None),
        (form("/contact/phone", "pseudonym"), form("/contact/phone", "country-code"), None),
        (form("/contact/phone", "country-code"), form("/contact/phone", "country-code"), Some("+1")),
        (form("/contact/phone", "country-code"), json!("/contact/phone"), Some("+1")),
    ] {
        let gateway = TestGateway::demo().await;
        let with = |phone: &Value| json!(["/contact/name/first", "/contact/name/last", phone]);
        grant(&gateway, with(&before)).await.ok();
        gateway.partner.script([Behaviour::with_header(503, "retry-after", "3600")]);
        chat(&gateway, NORTHSIDE, "ottoline").await;
        assert_eq!(gateway.partner.received().len(), 1);
        grant(&gateway, with(&after)).await.ok();
        gateway.clock.advance(time::Duration::seconds(3700));
        gateway.settled().await;
        let received = gateway.partner.received();
        assert_eq!(received.len(), 1 + usize::from(sent.is_some()), "{before} then {after}");
        match sent {
            Some(code) => assert_eq!(element(&received[1].text(), "phone"), code),
            None => {
                let row = newest(&gateway, &format!("brand={NORTHSIDE}&stage=delivery")).await;
                assert_eq!(row["/contact/phone"].1, "not-granted", "{before} then {after}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_lifts_what_its_rule_names_and_nothing_else() {
    const BRAND: &str = "coarse";
    let gateway = TestGateway::start(Options::default()).await;
    let built = tokio::task::spawn_blocking(gateway_tests::components).await.expect("components");
    world::brand(&gateway, BRAND, false).await;
    world::partner(&gateway, "provider", "US", "provider.example").await;
    let purpose = "personalize.content.limited";
    world::contract(&gateway, "provider", purpose, json!({})).await;
    let fields = ["/location/lat", "/location/lon", "/device_id"];
    let component = with_manifest(&built.hostile.bytes, |manifest| {
        manifest["plugin"]["partner"] = json!("provider");
        manifest["plugin"]["purpose"] = json!(purpose);
        let receives: Vec<Value> = fields
            .iter()
            .map(|field| json!({ "field": field, "access": "read", "why": "the test asks for it" }))
            .collect();
        manifest["share"] = json!([{ "event": "device.reported", "receives": receives }]);
        // The component asks, so one endpoint answers.
        let ask = manifest["endpoint"].as_array().and_then(|all| all.last()).cloned();
        manifest["endpoint"] = json!(ask.map(|mut ask| {
            ask["url"] = json!("https://{host}.provider.example/v1/{slot}/ask");
            [ask]
        }));
    });
    let release = gateway.partner_key("provider").await.publish(&component).await.expect(201);
    let brand = gateway.brand(BRAND).await;
    let mut document = world::connection(&release, json!({ "host": "api", "behaviour": "none" }), json!({}));
    document["grant"] = json!({ "share device.reported": [
        form("/location/lat", "rounded"), "/location/lon", form("/device_id", "pseudonym"),
    ] });
    let path = format!("/v1/brands/{BRAND}/connections/hostile");
    brand.put(&path, &document).await.ok();

    let data = json!({ "device_id": "d-1", "location": { "lat": 47.559_6, "lon": 7.588_6 } });
    let report = |subject: &str| events::event("device.reported", BRAND, subject, data.clone());
    let may = |row: &BTreeMap<String, (String, String, Value)>| {
        fields.map(|field| match row[field].0.as_str() {
            "withhold" => row[field].1.clone(),
            decision => decision.to_owned(),
        })
    };
    let identifying = "clause:cookies.functionality";
    for (subject, attribute, choices, expected) in [
        ("plain", None, json!({}), ["transform", "allow", "transform"]),
        // A rounded coordinate identifies nobody; a pseudonym of a device is still the device's.
        (
            "cookies",
            Some(("cookies", json!("functionality"))),
            json!({}),
            ["transform", identifying, identifying],
        ),
        ("dnt", Some(("dnt", json!(true))), json!({}), ["clause:signals.dnt"; 3]),
        (
            "location",
            None,
            json!({ "opt_out": { "location": true } }),
            ["clause:choice.location", "clause:choice.location", "transform"],
        ),
        ("out", None, json!({ "opt_out": { "all_integrations": true } }), ["clause:integrations.opt-out"; 3]),
    ] {
        brand.put(&format!("/v1/brands/{BRAND}/consumers/{subject}/choices"), &choices).await.ok();
        let mut event = report(subject);
        if let Some((name, value)) = attribute {
            event[name] = value;
        }
        gateway.source(BRAND).await.post_event(&event).await.expect(202);
        gateway.settled().await;
        let row = newest(&gateway, &format!("brand={BRAND}&consumer={subject}&stage=call")).await;
        assert_eq!(may(&row), expected, "{subject}");
    }

    let preview = brand.get(&format!("{path}/preview")).await.expect(200);
    let lat = &preview["hooks"][0]["fields"][0];
    assert_eq!((&lat["as"], &lat["counts_as"]), (&json!("rounded"), &json!("user.location.imprecise")));
    let sentences = preview["sentences"].to_string();
    for says in [
        "/location/lat, rounded to one decimal, some 11 km, which is not the name of a city,",
        "In that form /location/lat counts as user.location.imprecise, no longer as user.location.precise.",
        "/device_id, as a pseudonym that only this partner gets for this brand,",
    ] {
        assert!(sentences.contains(says), "{says}: {sentences}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_reads_the_form_too() {
    let gateway = TestGateway::demo().await;
    let release = release(&gateway, "chat-button").await;
    let brand = gateway.brand(DENTAL).await;
    let mut document = world::connection(&release, json!({}), json!({}));
    document["grant"] = json!({ "decide chat-button": ["/seconds_on_page", form("/url", "pseudonym")] });
    let path = format!("/v1/brands/{DENTAL}/connections/chat-button");
    brand.put(&path, &document).await.ok();
    let view =
        gateway.source(DENTAL).await.decide("chat-button", &events::page_viewed(DENTAL, "p")).await.ok();
    assert!(view["decision"].is_object() || view["reason"] == "late", "{view}");
    let row = newest(&gateway, &format!("brand={DENTAL}&stage=call&flow=decide")).await;
    // What a page's address says of behaviour, its pseudonym says too: no rule gives it another label.
    assert_eq!(row["/url"], transformed("clause:share.brand", "user.behavior.browsing_history"));
    assert_eq!(brand.get(&path).await.expect(200)["grant"], document["grant"].clone());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_city_leaves_as_the_country_beside_it() {
    const CITY: &str = "/visit/location/city";
    let gateway = combined::start(Options::default()).await;
    let release = combined::publish(&gateway, "where", combined::SUPPORT, |manifest| {
        manifest["share"][0]["receives"] = json!([combined::declared(CITY, "sealed")]);
    })
    .await;
    let grant = json!({ "share chat.ended": [form(CITY, "region")] });
    combined::switch_on(&gateway, &release, "deliver-sealed", grant).await;
    let place = json!({ "city": "Brattleboro", "country": "QQ" });
    let event = events::with(events::chat_ended(combined::BRAND, "ada"), [("/data/visit/location", place)]);
    gateway.source(combined::BRAND).await.post_event(&event).await.expect(202);
    let row = combined::call(&gateway, "where", "share", "ada").await;
    let field = &row["fields"][0];
    assert_eq!((&field["decision"], &field["form"]), (&json!("transform"), &json!("region")), "{row}");
    let sent = gateway.partner.received().remove(0).text();
    assert!(sent.contains("QQ") && !sent.contains("Brattleboro"), "{sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_does_not_fit_is_refused_with_place_rule_and_remedy() {
    let gateway = TestGateway::demo().await;
    for (fields, pointer, says) in [
        (
            json!([form("/contact/email", "country-code")]),
            "/grant/share chat.ended",
            "country-code is for a text of category user.contact.phone_number; grant it as it is",
        ),
        (
            json!([form("/contact/phone", "rounded")]),
            "/grant/share chat.ended",
            "rounded is for a number of category user.location.precise",
        ),
        (
            json!([form("/contact/phone", "day")]),
            "/grant/share chat.ended",
            "day is for a text of the format date-time",
        ),
        (
            json!([form("/contact/phone", "region")]),
            "/grant/share chat.ended",
            "region is for a part of an address or place",
        ),
        (json!([form("/nowhere", "day")]), "/grant/share chat.ended", "does not declare field \"/nowhere\""),
        (
            json!(["/contact/phone", form("/contact/phone", "pseudonym")]),
            "/grant/share chat.ended",
            "granted twice",
        ),
        (
            json!([form("/contact/phone", "blurred")]),
            "/grant/share chat.ended/0/as",
            "expected one of `rounded`, `country-code`, `day`, `region`, `pseudonym`",
        ),
        (json!([{ "field": "/contact/phone" }]), "/grant/share chat.ended/0", "the field `as` is required"),
        (
            json!([{ "field": "/contact/phone", "as": "day", "to": 1 }]),
            "/grant/share chat.ended/0/to",
            "there is no such field",
        ),
        (json!([7]), "/grant/share chat.ended/0", "expected a path, or an object with `field` and `as`"),
    ] {
        let problem = grant(&gateway, fields.clone()).await.expect(422);
        assert_eq!(problem["problems"][0]["pointer"], pointer, "{fields}: {problem}");
        let detail = problem["problems"][0]["detail"].as_str().unwrap();
        assert!(detail.contains(says), "{fields}: {detail}");
    }
}

/// The shipped policy without the rule by which a telephone number counts as a country once it is cut to that.
pub fn without_the_country() -> String {
    without("number-to-country")
}

/// The shipped policy without a rule of declassification.
pub fn without(name: &str) -> String {
    let shipped = gateway::boundary::PolicyBook::SHIPPED;
    let rule = shipped.split("\n[[declassify]]\n").find(|rule| rule.contains(name)).unwrap();
    shipped.replace(&format!("\n[[declassify]]\n{rule}"), "")
}

/// What waited for the partner when a version came that lets no label give way does not leave as what it no longer is; what
/// comes then has the number's label, and for what came before both versions must say so.
#[tokio::test(flavor = "multi_thread")]
async fn a_declassification_counts_where_every_version_that_counts_has_it() {
    const AS_COUNTRY: &str = "user.contact.address.country";
    const AS_NUMBER: &str = "user.contact.phone_number";
    let shipped = gateway::boundary::PolicyBook::SHIPPED;
    let day = time::Duration::days(1) + time::Duration::hours(2);
    for (first, then, before, after) in [
        (shipped.to_owned(), without_the_country(), AS_COUNTRY, AS_NUMBER),
        (without_the_country(), shipped.to_owned(), AS_NUMBER, AS_COUNTRY),
    ] {
        let gateway = TestGateway::demo_with(crate::versions::versions(&first, &then, 1)).await;
        let sent = |subject: &'static str| {
            let query = format!("brand={NORTHSIDE}&consumer={subject}&stage=call&plugin=adf-lead");
            let gateway = &gateway;
            async move { newest(gateway, &query).await["/contact/phone"].clone() }
        };
        let fields =
            json!(["/contact/name/first", "/contact/name/last", form("/contact/phone", "country-code")]);
        grant(&gateway, fields).await.ok();
        gateway.partner.script([Behaviour::with_header(503, "retry-after", "90000")]);
        chat(&gateway, NORTHSIDE, "before").await;
        assert_eq!(sent("before").await, transformed("clause:integrations.share", before));
        gateway.clock.advance(day);
        gateway.settled().await;
        let query = format!("brand={NORTHSIDE}&consumer=before&stage=delivery");
        let (decision, reason, _) = newest(&gateway, &query).await["/contact/phone"].clone();
        let expected = match before {
            AS_COUNTRY => ("withhold", "clause:policy.version"),
            _ => ("transform", "clause:integrations.share"),
        };
        assert_eq!(
            (decision.as_str(), reason.as_str()),
            expected,
            "{before}: the first label stays as planned"
        );
        chat(&gateway, NORTHSIDE, "after").await;
        assert_eq!(sent("after").await, transformed("clause:integrations.share", after));
    }
}
