//! The verdict table: conditions and choices × field × recipient × purpose, worked out by hand from
//! `clauses.md`, and run through the real pipeline. A row of this table is a sentence of the policy.

use std::collections::BTreeMap;

use gateway_tests::{Options, TestGateway, components, events, signing_key, world};
use serde_json::{Value, json};

use super::verdicts_of;
use crate::hostile::remade::with_manifest;

const BRAND: &str = "tables";

/// Partners: a third party in the US, a service provider there without and with an onward-transfer
/// contract, a third party in the EU, a third party that gives something of value, and a provider of
/// analytics, which may not be the one that gets identifying data too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum To {
    Third,
    Provider,
    Onward,
    EuThird,
    Buyer,
    Analyst,
}
use To::{Analyst, Buyer, EuThird, Onward, Provider, Third};

impl To {
    fn partner(self) -> &'static str {
        match self {
            Third => "third",
            Provider => "provider",
            Onward => "onward",
            EuThird => "eu-third",
            Buyer => "buyer",
            Analyst => "analyst",
        }
    }
}

const SUPPORT: &str = "essential.service.operations.support";
const CONTENT: &str = "personalize.content.limited";
const REPORTS: &str = "analytics.reporting";
const MAIL: &str = "marketing.communications.email";

const NOTIFY: &str = "essential.service.notifications.sms";
const TEXTS: &str = "marketing.communications.sms";

/// The plugins: one for each pair that the table speaks of.
const PLUGINS: [(To, &str); 11] = [
    (Third, SUPPORT),
    (Third, CONTENT),
    (Provider, SUPPORT),
    (Provider, CONTENT),
    (Analyst, REPORTS),
    (Provider, MAIL),
    (Onward, SUPPORT),
    (EuThird, SUPPORT),
    (Provider, NOTIFY),
    (Third, TEXTS),
    (Buyer, SUPPORT),
];

fn plugin(to: To, purpose: &str) -> String {
    format!("{}-{}", to.partner(), purpose.split('.').next_back().expect("a purpose"))
}

/// What every plugin declares.
const FIELDS: [(&str, &[&str]); 9] = [
    ("page.viewed", &["/url", "/ip", "/device_type", "/location/city"]),
    ("chat.ended", &["/contact/email", "/transcript/*/text", "/transcript/*/speaker", "/visit/ip"]),
    ("contact.provided", &["/contact/email"]),
    ("purchase.completed", &["/order", "/total"]),
    ("device.reported", &["/device_id", "/os", "/location/lat"]),
    ("survey.completed", &["/answers/*/answer", "/answers/*/question"]),
    ("sms.received", &["/text", "/phone"]),
    ("forum.posted", &["/text"]),
    ("application.submitted", &["/contact/email"]),
];

/// What an event is like; `ENGAGED` is said of the consumer.
const PLAIN: &[&str] = &[];
const ENGAGED: &[&str] = &["engaged"];
const DNT: &[&str] = &["dnt"];
const DNT_ENGAGED: &[&str] = &["engaged", "dnt"];
const GPC: &[&str] = &["gpc"];
const GPC_ENGAGED: &[&str] = &["engaged", "gpc"];
const NECESSARY: &[&str] = &["cookies=strictly-necessary"];
const PERFORMANCE: &[&str] = &["cookies=performance"];
const FUNCTIONALITY: &[&str] = &["cookies=functionality"];
const SWISS: &[&str] = &["region=CH"];
const GERMAN: &[&str] = &["region=DE"];
const BRAZILIAN: &[&str] = &["region=BR"];
const NOWHERE: &[&str] = &["region="];
const NO_LOCATION: &[&str] = &["choice=location"];
const NO_COOKIES: &[&str] = &["choice=cookies"];
const NO_MARKETING: &[&str] = &["choice=marketing"];
const NO_SALE: &[&str] = &["choice=sale"];
const NO_INTEGRATIONS: &[&str] = &["choice=all"];
const NOT_THIS_ONE: &[&str] = &["choice=this"];
const NOT_ANOTHER: &[&str] = &["choice=another"];
const LIMIT: &[&str] = &["choice=limit"];
const MAY_THIS_ONE: &[&str] = &["choice=may-this"];
const MAY_MAIL: &[&str] = &["choice=may-purpose"];
const MAY_ABOVE: &[&str] = &["choice=may-above"];
const MAY_SUPPORT: &[&str] = &["choice=may-support"];
const MAY_AND_NOT: &[&str] = &["choice=may-and-not"];
const MAY_AND_NO_MARKETING: &[&str] = &["choice=may-and-no-marketing"];
const NO_SMS: &[&str] = &["choice=sms"];
const DELETION: &[&str] = &["choice=deletion"];
const NECESSARY_REFUSED: &[&str] = &["cookies=functionality", "choice=cookies"];
const BOTH_SIGNALS: &[&str] = &["engaged", "dnt", "gpc"];

const OK: bool = true;
const NO: bool = false;

type Row = (To, &'static str, &'static str, &'static [&'static str], &'static str, bool, &'static str);

/// (to, purpose, event, conditions, field, whether it goes, clause)
const TABLE: &[Row] = &[
    // share.brand, integrations.share: what goes where nothing stands against it.
    (Third, SUPPORT, "chat.ended", PLAIN, "/contact/email", OK, "integrations.share"),
    (Third, SUPPORT, "purchase.completed", PLAIN, "/total", OK, "integrations.share"),
    (Provider, SUPPORT, "chat.ended", PLAIN, "/contact/email", OK, "share.brand"),
    (Provider, MAIL, "contact.provided", PLAIN, "/contact/email", OK, "share.brand"),
    // integrations.share: a page view is no engagement, and neither is a device's report.
    (Third, SUPPORT, "page.viewed", PLAIN, "/url", NO, "integrations.share"),
    (Third, SUPPORT, "page.viewed", ENGAGED, "/url", OK, "integrations.share"),
    (Third, SUPPORT, "device.reported", PLAIN, "/os", NO, "integrations.share"),
    (Provider, SUPPORT, "page.viewed", PLAIN, "/url", OK, "share.brand"),
    // share.content: to a service provider, or with the consumer's permission.
    (Third, SUPPORT, "chat.ended", PLAIN, "/transcript/*/text", NO, "share.content"),
    (Third, SUPPORT, "chat.ended", PLAIN, "/transcript/*/speaker", OK, "integrations.share"),
    (Third, SUPPORT, "sms.received", PLAIN, "/text", NO, "share.content"),
    (Third, SUPPORT, "sms.received", PLAIN, "/phone", OK, "integrations.share"),
    (Third, SUPPORT, "survey.completed", PLAIN, "/answers/*/answer", NO, "share.content"),
    (Third, SUPPORT, "survey.completed", PLAIN, "/answers/*/question", OK, "integrations.share"),
    (Third, SUPPORT, "chat.ended", MAY_THIS_ONE, "/transcript/*/text", OK, "integrations.share"),
    (Third, SUPPORT, "chat.ended", MAY_MAIL, "/transcript/*/text", NO, "share.content"),
    (Provider, SUPPORT, "chat.ended", PLAIN, "/transcript/*/text", OK, "share.brand"),
    (EuThird, SUPPORT, "chat.ended", GERMAN, "/transcript/*/text", NO, "share.content"),
    // share.no-sale: what was given in a conversation, and content, for sale-like purposes.
    (Provider, MAIL, "chat.ended", PLAIN, "/contact/email", NO, "share.no-sale"),
    (Provider, MAIL, "survey.completed", PLAIN, "/answers/*/answer", NO, "share.no-sale"),
    (Provider, MAIL, "survey.completed", MAY_MAIL, "/answers/*/answer", OK, "share.brand"),
    (Provider, MAIL, "contact.provided", NO_SALE, "/contact/email", NO, "share.no-sale"),
    (Provider, SUPPORT, "contact.provided", NO_SALE, "/contact/email", OK, "share.brand"),
    // signals.dnt: behaviour, location and device identifiers; from everyone for tracking purposes.
    (Third, SUPPORT, "page.viewed", DNT_ENGAGED, "/url", NO, "signals.dnt"),
    (Third, SUPPORT, "page.viewed", DNT_ENGAGED, "/ip", NO, "signals.dnt"),
    (Third, SUPPORT, "page.viewed", DNT_ENGAGED, "/location/city", NO, "signals.dnt"),
    (Third, SUPPORT, "page.viewed", DNT_ENGAGED, "/device_type", OK, "integrations.share"),
    (Third, SUPPORT, "device.reported", DNT_ENGAGED, "/device_id", NO, "signals.dnt"),
    (Third, SUPPORT, "chat.ended", DNT, "/contact/email", OK, "integrations.share"),
    (Third, SUPPORT, "purchase.completed", DNT, "/total", NO, "signals.dnt"),
    (Provider, SUPPORT, "page.viewed", DNT, "/url", OK, "share.brand"),
    (Provider, CONTENT, "page.viewed", DNT, "/url", NO, "signals.dnt"),
    (Provider, CONTENT, "page.viewed", DNT, "/device_type", OK, "share.brand"),
    (Analyst, REPORTS, "page.viewed", DNT, "/url", NO, "signals.dnt"),
    (Provider, MAIL, "purchase.completed", DNT, "/total", NO, "signals.dnt"),
    // signals.gpc: a third party gets nothing, but for essential purposes.
    (Third, SUPPORT, "page.viewed", GPC_ENGAGED, "/url", OK, "integrations.share"),
    (Third, CONTENT, "page.viewed", GPC_ENGAGED, "/device_type", NO, "signals.gpc"),
    (Third, CONTENT, "page.viewed", ENGAGED, "/device_type", OK, "integrations.share"),
    (Provider, CONTENT, "page.viewed", GPC, "/url", OK, "share.brand"),
    // cookies.*, choice.cookies.
    (Provider, CONTENT, "page.viewed", NECESSARY, "/url", NO, "cookies.strictly-necessary"),
    (Provider, SUPPORT, "page.viewed", NECESSARY, "/url", OK, "share.brand"),
    (Provider, SUPPORT, "page.viewed", PERFORMANCE, "/device_type", NO, "cookies.performance"),
    (Provider, CONTENT, "page.viewed", FUNCTIONALITY, "/ip", NO, "cookies.functionality"),
    (Provider, CONTENT, "page.viewed", FUNCTIONALITY, "/url", OK, "share.brand"),
    (Provider, SUPPORT, "purchase.completed", FUNCTIONALITY, "/order", NO, "cookies.functionality"),
    (Provider, CONTENT, "page.viewed", NO_COOKIES, "/url", NO, "choice.cookies"),
    (Provider, SUPPORT, "page.viewed", NO_COOKIES, "/url", OK, "share.brand"),
    // cookies.third-party-analytics: no identifying category, no content.
    (Analyst, REPORTS, "chat.ended", PLAIN, "/contact/email", NO, "cookies.third-party-analytics"),
    (Analyst, REPORTS, "chat.ended", PLAIN, "/transcript/*/text", NO, "cookies.third-party-analytics"),
    (Analyst, REPORTS, "chat.ended", PLAIN, "/visit/ip", NO, "cookies.third-party-analytics"),
    (Analyst, REPORTS, "chat.ended", PLAIN, "/transcript/*/speaker", OK, "share.brand"),
    (Analyst, REPORTS, "page.viewed", PLAIN, "/url", OK, "share.brand"),
    // transfer.onward: EU, GB and CH are one area; an unknown consumer is inside, an unknown partner outside.
    (Provider, SUPPORT, "chat.ended", SWISS, "/contact/email", NO, "transfer.onward"),
    (Onward, SUPPORT, "chat.ended", SWISS, "/contact/email", OK, "share.brand"),
    (EuThird, SUPPORT, "chat.ended", GERMAN, "/contact/email", OK, "integrations.share"),
    (EuThird, SUPPORT, "chat.ended", SWISS, "/contact/email", OK, "integrations.share"),
    (Third, SUPPORT, "chat.ended", GERMAN, "/contact/email", NO, "transfer.onward"),
    (Third, SUPPORT, "chat.ended", BRAZILIAN, "/contact/email", NO, "transfer.onward"),
    (Provider, SUPPORT, "chat.ended", NOWHERE, "/contact/email", NO, "transfer.onward"),
    (Onward, SUPPORT, "chat.ended", NOWHERE, "/transcript/*/text", OK, "share.brand"),
    // choice.location, choice.marketing, integrations.opt-out, rights.limit.
    (Provider, SUPPORT, "device.reported", NO_LOCATION, "/location/lat", NO, "choice.location"),
    (Provider, SUPPORT, "page.viewed", NO_LOCATION, "/ip", NO, "choice.location"),
    (Provider, SUPPORT, "device.reported", NO_LOCATION, "/device_id", OK, "share.brand"),
    (Provider, MAIL, "contact.provided", NO_MARKETING, "/contact/email", NO, "choice.marketing"),
    (Provider, SUPPORT, "contact.provided", NO_MARKETING, "/contact/email", OK, "share.brand"),
    (Third, SUPPORT, "contact.provided", NOT_THIS_ONE, "/contact/email", NO, "integrations.opt-out"),
    (Third, SUPPORT, "contact.provided", NOT_ANOTHER, "/contact/email", OK, "integrations.share"),
    (Provider, SUPPORT, "contact.provided", NO_INTEGRATIONS, "/contact/email", NO, "integrations.opt-out"),
    // choice.sms: the number, for purposes that end in `.sms`, and nothing else of the consumer.
    (Provider, NOTIFY, "sms.received", PLAIN, "/phone", OK, "share.brand"),
    (Provider, NOTIFY, "sms.received", NO_SMS, "/phone", NO, "choice.sms"),
    (Provider, NOTIFY, "sms.received", NO_SMS, "/text", OK, "share.brand"),
    (Provider, SUPPORT, "sms.received", NO_SMS, "/phone", OK, "share.brand"),
    (Third, TEXTS, "sms.received", NO_SMS, "/phone", NO, "choice.sms"),
    (Third, TEXTS, "contact.provided", NO_SMS, "/contact/email", OK, "integrations.share"),
    // A permission is for what it names; a refusal of the same thing ends it, and no other refusal is overcome.
    (Provider, MAIL, "survey.completed", MAY_ABOVE, "/answers/*/answer", NO, "share.no-sale"),
    (Provider, MAIL, "survey.completed", MAY_AND_NO_MARKETING, "/answers/*/answer", NO, "choice.marketing"),
    (Third, SUPPORT, "chat.ended", MAY_AND_NOT, "/transcript/*/text", NO, "integrations.opt-out"),
    // Consideration makes a purpose sale-like, for what was given in a conversation.
    (Buyer, SUPPORT, "chat.ended", PLAIN, "/contact/email", NO, "share.no-sale"),
    (Buyer, SUPPORT, "chat.ended", MAY_SUPPORT, "/contact/email", OK, "integrations.share"),
    (Buyer, SUPPORT, "contact.provided", PLAIN, "/contact/email", OK, "integrations.share"),
    (Buyer, SUPPORT, "contact.provided", NO_SALE, "/contact/email", NO, "share.no-sale"),
    // Two signals, and cookies refused whatever the event says.
    (Third, CONTENT, "page.viewed", BOTH_SIGNALS, "/url", NO, "signals.dnt"),
    (Third, CONTENT, "page.viewed", BOTH_SIGNALS, "/device_type", NO, "signals.gpc"),
    (Provider, CONTENT, "page.viewed", NECESSARY_REFUSED, "/url", NO, "choice.cookies"),
    // choice.public: signals and cookies say nothing of a forum's posts; the consumer's own choices do.
    (Third, CONTENT, "forum.posted", GPC, "/text", OK, "choice.public"),
    (Third, SUPPORT, "forum.posted", PERFORMANCE, "/text", OK, "choice.public"),
    (Third, SUPPORT, "forum.posted", NOT_THIS_ONE, "/text", NO, "integrations.opt-out"),
    // use.own-sites, principles.purpose: an application serves recruitment alone.
    (Third, SUPPORT, "application.submitted", PLAIN, "/contact/email", NO, "principles.purpose"),
    (Provider, MAIL, "application.submitted", PLAIN, "/contact/email", NO, "principles.purpose"),
    (Third, SUPPORT, "contact.provided", LIMIT, "/contact/email", NO, "rights.limit"),
    (Third, SUPPORT, "contact.provided", DELETION, "/contact/email", NO, "rights.delete"),
    (Provider, SUPPORT, "contact.provided", DELETION, "/contact/email", OK, "share.brand"),
    (Provider, SUPPORT, "contact.provided", LIMIT, "/contact/email", OK, "share.brand"),
];

/// The partners, their contracts, and a release for each pair: the `hostile` plugin's code under another
/// manifest. It refuses every event, for it knows no such behaviour; what it was given is on the ledger.
async fn start() -> TestGateway {
    let gateway = TestGateway::start(Options::default()).await;
    let built = tokio::task::spawn_blocking(components).await.expect("the components are built");
    // The platform's own brand: no other may send an application or a forum's post.
    world::brand(&gateway, BRAND, true).await;
    for (to, region) in [(Third, "US"), (Provider, "US"), (Onward, "US"), (EuThird, "DE"), (Analyst, "US")] {
        world::partner(&gateway, to.partner(), region, &format!("{}.example", to.partner())).await;
    }
    let buyer = json!({
        "display_name": "Buyer", "region": "US", "domains": ["buyer.example"], "consideration": true,
        "release_keys": [signing_key(Buyer.partner()).public()],
    });
    gateway.operator().await.put(&format!("/v1/partners/{}", Buyer.partner()), &buyer).await.ok();
    let all = json!({ "purposes": ["essential", "personalize", "analytics", "marketing"] });
    world::contract(&gateway, Provider.partner(), SUPPORT, all).await;
    world::contract(&gateway, Analyst.partner(), REPORTS, json!({})).await;
    world::contract(&gateway, Onward.partner(), SUPPORT, json!({ "onward_transfer": true })).await;
    for (to, purpose) in PLUGINS {
        let component = with_manifest(&built.hostile.bytes, |manifest| declare(manifest, to, purpose));
        let release = gateway.partner_key(to.partner()).await.publish(&component).await.expect(201);
        let settings = json!({ "host": "api", "behaviour": "no-such-behaviour" });
        world::switch_on(&gateway, BRAND, &release, settings, json!({})).await;
    }
    gateway
}

fn declare(manifest: &mut Value, to: To, purpose: &str) {
    let name = plugin(to, purpose);
    manifest["plugin"]["purpose"] = json!(purpose);
    manifest["plugin"]["partner"] = json!(to.partner());
    manifest["decide"][0]["slot"] = json!(name);
    manifest["plugin"]["name"] = json!(name);
    let receives = |fields: &[&str]| {
        let field =
            |field: &&str| json!({ "field": field, "access": "read", "why": "the table asks for it" });
        fields.iter().map(field).collect::<Value>()
    };
    let share = |(event, fields): &(&str, &[&str])| json!({ "event": event, "receives": receives(fields) });
    manifest["share"] = FIELDS.iter().map(share).collect();
    // The component imports `exchange`, so something must answer.
    let endpoints = manifest["endpoint"].as_array_mut().unwrap();
    endpoints.retain(|endpoint| endpoint["reply"].is_string());
    for endpoint in endpoints {
        endpoint["url"] = json!(format!("https://{}.example/ask", to.partner()));
    }
}

fn data(kind: &str) -> Value {
    let location = json!({ "city": "Basle", "country": "CH" });
    match kind {
        "page.viewed" => {
            json!({ "url": "https://t.example/", "ip": "192.0.2.7", "device_type": "phone", "location": location })
        }
        "chat.ended" => json!({
            "contact": { "email": "a@example.org" }, "visit": { "ip": "192.0.2.7" },
            "transcript": [{ "speaker": "consumer", "text": "Good morning." }],
        }),
        "contact.provided" => json!({ "contact": { "email": "a@example.org" } }),
        "purchase.completed" => json!({ "order": "o-1", "total": 12.5, "currency": "USD" }),
        "device.reported" => {
            json!({ "device_id": "d-1", "os": "iOS 26", "location": { "lat": 47.5, "lon": 7.6 } })
        }
        "survey.completed" => json!({ "answers": [{ "question": "How was it?", "answer": "Well." }] }),
        "sms.received" => json!({ "text": "When do you open?", "phone": "+1-212-555-0142" }),
        "forum.posted" => json!({ "text": "How do I begin?" }),
        "application.submitted" => json!({ "contact": { "email": "a@example.org" } }),
        other => panic!("no data for {other}"),
    }
}

/// The event and the consumer's choices that the conditions describe.
fn given(row: &Row, subject: &str) -> (Value, Value) {
    let (to, purpose, kind, conditions, ..) = *row;
    let mut event = events::event(kind, BRAND, subject, data(kind));
    let mut choices = json!({});
    for condition in conditions {
        match condition.split_once('=') {
            Some(("region", "")) => drop(event.as_object_mut().expect("an event").shift_remove("region")),
            Some(("choice", choice)) => choices = chosen(choice, &plugin(to, purpose)),
            Some((attribute, value)) => event[attribute] = json!(value),
            None if *condition == "engaged" => {}
            None => event[*condition] = json!(true),
        }
    }
    (event, choices)
}

fn chosen(choice: &str, plugin: &str) -> Value {
    let may = |scope: Value| json!([{ "for": scope, "wording": "It may.", "actor": "agent-7" }]);
    let permission = |scope: Value| json!({ "permissions": may(scope) });
    match choice {
        "all" => json!({ "opt_out": { "all_integrations": true } }),
        "this" => json!({ "opt_out": { "integrations": [plugin] } }),
        "another" => json!({ "opt_out": { "integrations": [self::plugin(Analyst, REPORTS)] } }),
        "limit" => json!({ "limit_pending": true }),
        "deletion" => json!({ "deletion_pending": true }),
        "may-this" => permission(json!({ "integration": plugin })),
        "may-purpose" => permission(json!({ "purpose": MAIL })),
        "may-above" => permission(json!({ "purpose": "marketing.communications" })),
        "may-support" => permission(json!({ "purpose": SUPPORT })),
        "may-and-not" => json!({
            "opt_out": { "integrations": [plugin] }, "permissions": may(json!({ "integration": plugin })),
        }),
        "may-and-no-marketing" => json!({
            "opt_out": { "marketing": true }, "permissions": may(json!({ "purpose": MAIL })),
        }),
        name => json!({ "opt_out": { name: true } }),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_row_of_the_table_is_what_the_ledger_says() {
    let gateway = start().await;
    let (source, brand) = (gateway.source(BRAND).await, gateway.brand(BRAND).await);
    for (number, row) in TABLE.iter().enumerate() {
        let subject = format!("consumer-{number}");
        let (event, choices) = given(row, &subject);
        let path = format!("/v1/brands/{BRAND}/consumers/{subject}/choices");
        brand.put(&path, &choices).await.ok();
        if row.3.contains(&"engaged") {
            // An event that engages and that no plugin here is told of.
            let text = json!({ "transcript": [] });
            let chat = events::event("chat.message", BRAND, &subject, text);
            source.post_event(&chat).await.expect(202);
        }
        source.post_event(&event).await.expect(202);
    }
    gateway.settled().await;
    let mut wrong = Vec::new();
    for (number, row) in TABLE.iter().enumerate() {
        let (to, purpose, kind, conditions, field, goes, clause) = row;
        let plugin = plugin(*to, purpose);
        let rows = brand.flows(&format!("consumer=consumer-{number}&plugin={plugin}&stage=call")).await;
        let [flow] = rows.as_slice() else { panic!("row {number}: {rows:?}") };
        let expected = if *goes { "allow".to_owned() } else { format!("clause:{clause}") };
        let verdicts: BTreeMap<String, String> = verdicts_of(flow);
        let reason = flow["fields"].as_array().into_iter().flatten().find(|it| it["field"] == *field);
        let reason = reason.and_then(|it| it["reason"].as_str()).unwrap_or_default();
        let found = verdicts.get(*field).cloned().unwrap_or_default();
        if found != expected || reason != format!("clause:{clause}") {
            wrong.push(format!(
                "{plugin} {kind} {conditions:?} {field}: {found} ({reason}), not {expected} ({clause})"
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), TABLE.len(), wrong.join("\n"));
}
