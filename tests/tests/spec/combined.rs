//! What may not meet in one call may not meet over several: what a partner already received of a consumer counts,
//! whichever of its plugins received it, by whatever way, and for whatever purpose.

mod calls;
mod declassified;
mod explained;

use gateway_tests::{Options, TestGateway, components, events, world};
use serde_json::{Value, json};
use sqlx::Connection as _;

use crate::hostile::remade::with_manifest;

pub const BRAND: &str = "testers";
pub const SUPPORT: &str = "essential.service.operations.support";
const ANALYTICS: &str = "analytics.reporting.content_performance";

/// One of two kinds of data that may not meet at a partner: by a plugin whose purpose may have it.
#[derive(Clone, Copy, Debug)]
struct Side {
    plugin: &'static str,
    purpose: &'static str,
    /// Of `page.viewed`.
    field: &'static str,
}

/// Who looks at a page, and what is looked at: analytics may not have both.
const WHO: Side = Side { plugin: "who", purpose: SUPPORT, field: "/ip" };
const WHAT: Side = Side { plugin: "what", purpose: ANALYTICS, field: "/url" };

/// A way by which a field reaches a partner.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    ReadByShare,
    ReadByDecide,
    /// Placed in a request that is delivered.
    SealedInDelivery,
    /// Placed in a question.
    SealedInExchange,
}

impl Way {
    const ALL: [Self; 4] =
        [Self::ReadByShare, Self::ReadByDecide, Self::SealedInDelivery, Self::SealedInExchange];

    fn is_sealed(self) -> bool {
        matches!(self, Self::SealedInDelivery | Self::SealedInExchange)
    }

    fn behaviour(self) -> &'static str {
        match self {
            // With nothing to place, only what is read is shared.
            Self::ReadByShare | Self::SealedInDelivery => "deliver-sealed",
            Self::ReadByDecide => "none",
            Self::SealedInExchange => "ask-sealed",
        }
    }
}

/// A gateway where mallory is a service provider for both purposes.
pub async fn start(options: Options) -> TestGateway {
    let gateway = TestGateway::start(options).await;
    world::brand(&gateway, BRAND, false).await;
    world::partner(&gateway, "mallory", "US", "mallory.example").await;
    let path = "/v1/partners/mallory/contracts/terms";
    let terms = json!({ "purposes": [SUPPORT, ANALYTICS], "categories": ["user"], "onward_transfer": true });
    gateway.operator().await.put(path, &terms).await.ok();
    gateway
}

/// Publishes the `hostile` plugin under another name, with its manifest changed.
pub async fn publish(
    gateway: &TestGateway,
    name: &str,
    purpose: &str,
    change: impl FnOnce(&mut Value),
) -> Value {
    let built = tokio::task::spawn_blocking(components).await.expect("the components are built");
    let component = with_manifest(&built.hostile.bytes, |manifest| {
        manifest["plugin"]["name"] = json!(name);
        manifest["plugin"]["purpose"] = json!(purpose);
        manifest["decide"][0]["slot"] = json!(name);
        manifest["decide"][0]["deadline-ms"] = json!(2_000);
        change(manifest);
    });
    gateway.partner_key("mallory").await.publish(&component).await.expect(201)
}

pub fn declared(field: &str, access: &str) -> Value {
    json!({ "field": field, "access": access, "why": "to be tested" })
}

pub async fn switch_on(gateway: &TestGateway, release: &Value, behaviour: &str, grant: Value) {
    let mut document =
        world::connection(release, json!({ "host": "api", "behaviour": behaviour }), json!({}));
    document["grant"] = grant;
    gateway.brand(BRAND).await.put(&connection(release), &document).await.ok();
}

async fn switch_off(gateway: &TestGateway, release: &Value) {
    gateway.brand(BRAND).await.delete(&connection(release)).await.ok();
}

fn connection(release: &Value) -> String {
    format!("/v1/brands/{BRAND}/connections/{}", release["plugin"].as_str().expect("a plugin's name"))
}

/// The newest row of a plugin's calls about a consumer by one hook, once nothing is left to do.
pub async fn call(gateway: &TestGateway, plugin: &str, hook: &str, subject: &str) -> Value {
    gateway.settled().await;
    let query = format!("consumer={subject}&plugin={plugin}&stage=call&flow={hook}");
    gateway.brand(BRAND).await.flows(&query).await.first().cloned().unwrap_or_default()
}

/// Releases of one side: the field to be read, and to be placed.
struct Releases {
    side: Side,
    read: Value,
    sealed: Value,
}

impl Releases {
    async fn publish(gateway: &TestGateway, side: Side) -> Self {
        let of = async |access: &'static str| {
            let name = format!("{}-{access}", side.plugin);
            let change = move |manifest: &mut Value| {
                manifest["share"][0]["event"] = json!("page.viewed");
                manifest["share"][0]["receives"] = json!([declared(side.field, access)]);
                manifest["decide"][0]["receives"] = json!([declared(side.field, "read")]);
            };
            publish(gateway, &name, side.purpose, change).await
        };
        Self { side, read: of("read").await, sealed: of("sealed").await }
    }

    fn by(&self, way: Way) -> &Value {
        if way.is_sealed() { &self.sealed } else { &self.read }
    }

    async fn switch_on(&self, gateway: &TestGateway, way: Way) {
        let release = self.by(way);
        let hook = match way {
            Way::ReadByDecide => format!("decide {}", release["plugin"].as_str().expect("a name")),
            _ => "share page.viewed".to_owned(),
        };
        switch_on(gateway, release, way.behaviour(), json!({ hook: [self.side.field] })).await;
    }

    /// A page is viewed; the decision on the field, why, and what became of the call.
    async fn view(&self, gateway: &TestGateway, way: Way, subject: &str) -> [String; 3] {
        let plugin = self.by(way)["plugin"].as_str().expect("a name");
        let page = events::page_viewed(BRAND, subject);
        let source = gateway.source(BRAND).await;
        let hook = match way {
            Way::ReadByDecide => {
                source.decide(plugin, &page).await.expect(200);
                "decide"
            }
            _ => {
                source.post_event(&page).await.expect(202);
                "share"
            }
        };
        let row = call(gateway, plugin, hook, subject).await;
        let field = &row["fields"][0];
        assert_eq!(field["field"], self.side.field, "{row}");
        [&field["decision"], &field["reason"], &row["outcome"]]
            .map(|text| text.as_str().unwrap_or_default().to_owned())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_go_in_one_call_does_not_go_in_two() {
    let mut gateway = start(Options::default()).await;
    let (who, what) = (Releases::publish(&gateway, WHO).await, Releases::publish(&gateway, WHAT).await);
    for (first, second) in [(&who, &what), (&what, &who)] {
        let stranger = format!("{}-stranger", second.side.plugin);
        for earlier in Way::ALL {
            let subject = |later: Way| format!("{}-{earlier:?}-{later:?}", first.side.plugin);
            first.switch_on(&gateway, earlier).await;
            for later in Way::ALL {
                let [decision, _, outcome] = first.view(&gateway, earlier, &subject(later)).await;
                assert_eq!([&*decision, &*outcome], ["allow", "ran"], "{}", subject(later));
            }
            // The plugin is gone, and what its partner has of these consumers is not.
            switch_off(&gateway, first.by(earlier)).await;
            if earlier == Way::SealedInExchange {
                gateway = gateway.stop().await.start().await;
            }
            for later in Way::ALL {
                second.switch_on(&gateway, later).await;
                let before = gateway.partner.received().len();
                let seen = second.view(&gateway, later, &subject(later)).await;
                let refused = ["withhold", "clause:cookies.third-party-analytics", "not-run:nothing-left"];
                assert_eq!(seen, refused, "{}", subject(later));
                assert_eq!(gateway.partner.received().len(), before, "{}", subject(later));
                let [decision, _, outcome] = second.view(&gateway, later, &stranger).await;
                assert_eq!([&*decision, &*outcome], ["allow", "ran"], "of whom it has nothing else");
                switch_off(&gateway, second.by(later)).await;
            }
        }
    }
}

/// What partners have of a consumer seen a moment ago is known without a look into the store: here it could not look.
#[tokio::test(flavor = "multi_thread")]
async fn the_check_across_calls_reads_nothing_for_a_consumer_just_seen() {
    let gateway = start(Options::default()).await;
    let (who, what) = (Releases::publish(&gateway, WHO).await, Releases::publish(&gateway, WHAT).await);
    who.switch_on(&gateway, Way::ReadByShare).await;
    assert_eq!(who.view(&gateway, Way::ReadByShare, "seen").await[0], "allow");
    switch_off(&gateway, &who.read).await;
    what.switch_on(&gateway, Way::ReadByDecide).await;
    let url = format!("sqlite:{}?mode=rw", gateway.database().display());
    let mut store = sqlx::SqliteConnection::connect(&url).await.expect("the store opens");
    sqlx::query("ALTER TABLE exposures RENAME TO hidden").execute(&mut store).await.expect("it is renamed");
    let seen = what.view(&gateway, Way::ReadByDecide, "seen").await;
    assert_eq!(seen[..2], ["withhold", "clause:cookies.third-party-analytics"]);
    let stranger =
        gateway.source(BRAND).await.decide("what-read", &events::page_viewed(BRAND, "stranger")).await;
    assert_eq!(stranger.status, 503, "of whom the store must be asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_meet_at_a_partner_is_not_switched_on_sealed_either() {
    let gateway = start(Options::default()).await;
    let (who, what) = (Releases::publish(&gateway, WHO).await, Releases::publish(&gateway, WHAT).await);
    for (first, second) in [(&who, &what), (&what, &who)] {
        for (earlier, later) in
            [(&first.read, &second.sealed), (&first.sealed, &second.read), (&first.sealed, &second.sealed)]
        {
            switch_on(&gateway, earlier, "none", json!({ "share page.viewed": [first.side.field] })).await;
            let mut document = world::connection(later, json!({ "host": "api" }), json!({}));
            document["grant"] = json!({ "share page.viewed": [second.side.field] });
            let answer = gateway.brand(BRAND).await.put(&connection(later), &document).await.expect(422);
            let detail = answer["problems"][0]["detail"].as_str().unwrap_or_default();
            for part in [first.side.field, second.side.field, "would meet"] {
                assert!(detail.contains(part), "{part}: {detail}");
            }
            switch_off(&gateway, earlier).await;
        }
    }
}
