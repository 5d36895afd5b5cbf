//! A field that a meeting withheld: its row names both labels, and `policy explain` the rule that keeps them apart.

use gateway_tests::Options;
use serde_json::json;

use super::{BRAND, Releases, WHAT, WHO, Way, call, start, switch_off};
use crate::explained::{configured, explain};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_field_would_have_met_is_in_its_row_and_is_explained_by_rule() {
    let gateway = start(Options::default()).await;
    let (who, what) = (Releases::publish(&gateway, WHO).await, Releases::publish(&gateway, WHAT).await);
    who.switch_on(&gateway, Way::ReadByShare).await;
    assert_eq!(who.view(&gateway, Way::ReadByShare, "ada").await[0], "allow");
    switch_off(&gateway, &who.read).await;
    what.switch_on(&gateway, Way::ReadByShare).await;
    assert_eq!(what.view(&gateway, Way::ReadByShare, "ada").await[0], "withhold");

    let row = call(&gateway, "what-read", "share", "ada").await;
    let pair = &row["fields"][0]["kept_apart"];
    let (own, had) = ("first-party:user.behavior.browsing_history", "first-party:user.device.ip_address");
    assert_eq!((&pair["label"], &pair["with"]), (&json!(own), &json!(had)), "{row}");
    assert_eq!((&pair["recipient"], &pair["purpose"]), (&json!("service-provider"), &json!(WHAT.purpose)));

    let brand = gateway.brand(BRAND).await;
    let environment = [("GATEWAY_URL", &*gateway.url), ("GATEWAY_KEY", brand.key())];
    let told = explain(&configured(&[]), &[row["id"].as_str().unwrap()], &environment).await;
    let field = &told["fields"][0];
    let by = &field["kept_apart"]["explanation"]["decided_by"];
    assert_eq!(by["clause"], "cookies.third-party-analytics", "{field}");
    assert!(by["text"].is_string() && field["kept_apart"]["with"] == had, "{field}");
    // By itself it might have gone.
    assert_eq!(field["labels"][0]["explanation"]["decision"], "allow", "{field}");
}
