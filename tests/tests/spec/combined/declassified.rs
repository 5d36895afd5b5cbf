//! Two versions of the policy, of which one gives a coordinate that is rounded another label: what a partner has of it.

use gateway::boundary::PolicyBook;
use gateway_tests::{TestGateway, events};
use serde_json::{Value, json};

use super::{BRAND, Releases, SUPPORT, WHAT, Way, call, declared, publish, start, switch_on};
use crate::forms::{form, without};
use crate::versions::versions;

const PLACE: &str = "/location/lat";

/// Somebody is where they are, and the partner gets the place rounded by a plugin of this name.
async fn placed(gateway: &TestGateway, way: Way, subject: &str) -> Value {
    let name = format!("where-{way:?}").to_lowercase();
    let access = if way.is_sealed() { "sealed" } else { "read" };
    let release = publish(gateway, &name, SUPPORT, |manifest| {
        manifest["share"][0]["event"] = json!("device.reported");
        manifest["share"][0]["receives"] = json!([declared(PLACE, access)]);
    })
    .await;
    let grant = json!({ "share device.reported": [form(PLACE, "rounded")] });
    switch_on(gateway, &release, way.behaviour(), grant).await;
    let data = json!({ "device_id": "d-1", "location": { "lat": 47.559_6, "lon": 7.588_6 } });
    let report = events::event("device.reported", BRAND, subject, data);
    gateway.source(BRAND).await.post_event(&report).await.expect(202);
    let row = call(gateway, &name, "share", subject).await;
    super::switch_off(gateway, &release).await;
    row
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_partner_has_is_precise_once_no_version_in_force_lets_it_count_as_less() {
    for (then, decision) in
        [(without("coordinate-to-place"), "withhold"), (format!("{}\n", PolicyBook::SHIPPED), "allow")]
    {
        let gateway = start(versions(PolicyBook::SHIPPED, &then, 1)).await;
        let what = Releases::publish(&gateway, WHAT).await;
        let ways = [Way::ReadByShare, Way::SealedInDelivery, Way::SealedInExchange];
        for way in ways {
            let row = placed(&gateway, way, &format!("{way:?}")).await;
            assert_eq!(row["fields"][0]["labels"], json!(["first-party:user.location.imprecise"]), "{row}");
            assert_eq!(
                (&row["fields"][0]["decision"], &row["outcome"]),
                (&json!("transform"), &json!("ran"))
            );
        }
        what.switch_on(&gateway, Way::ReadByShare).await;
        let view = async |way: &Way| what.view(&gateway, Way::ReadByShare, &format!("{way:?}")).await;
        assert_eq!(view(&ways[0]).await[0], "allow", "of one who is somewhere near");
        gateway.clock.advance(time::Duration::days(1));
        gateway.settled().await;
        for way in &ways[1..] {
            let [decided, reason, _] = view(way).await;
            assert_eq!(decided, decision, "{way:?}: {reason}");
            if decision == "withhold" {
                assert_eq!(reason, "clause:cookies.third-party-analytics", "{way:?}");
            }
        }
    }
}
