//! The operator blocks a release whose returned fields other plugins read.

use serde_json::{Value, json};

use super::{BRAND, NAME, SCORE, VALUE, World, assert_withheld, remade, verdict_on};
use crate::hostile::remade::with_manifest;

const BLOCK: &str = "/v1/plugins/scorer/releases/1.0.0/block";

impl World {
    /// What `scorer` returned of `ada` is there to be read.
    async fn scored() -> Self {
        let world = Self::new().await;
        world.switch_on("scorer", "clerk", &[], &[NAME]).await;
        world.chat("ada").await;
        world.publish("reader", "trent", &[SCORE]).await;
        world
    }

    pub(super) async fn behave(&self, plugin: &str, release: &str, behaviour: &str, grant: &[&str]) {
        let document = json!({
            "release": release,
            "grant": { "share chat.ended": grant },
            "settings": { "host": "api", "behaviour": behaviour },
        });
        let path = format!("/v1/brands/{BRAND}/connections/{plugin}");
        self.gateway.brand(BRAND).await.put(&path, &document).await.ok();
    }

    pub(super) async fn block(&self) {
        self.gateway
            .operator()
            .await
            .put(BLOCK, &json!({ "reason": "it makes scores up" }))
            .await
            .expect(200);
    }

    async fn unblock(&self) {
        self.gateway.operator().await.delete(BLOCK).await.expect(200);
    }

    /// What `reader` returned last of `ada`.
    pub(super) async fn read_last(&self) -> Value {
        let returned = self.returned("ada").await;
        returned.into_iter().find(|row| row["plugin"] == "reader").unwrap_or_default()["value"]["verdict"]
            .clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_made_of_it_is_withheld_until_its_release_may_run_again() {
    const GRANT: [&str; 2] = [NAME, SCORE];
    let world = World::scored().await;
    world.behave("reader", "1.0.0", "remember", &GRANT).await;
    world.chat("ada").await;
    world.block().await;
    world.behave("reader", "1.0.0", "recall", &GRANT).await;
    world.chat("ada").await;
    assert_eq!(world.read_last().await, "nothing");
    assert_withheld(&verdict_on(&world.row("ada", "reader", "call").await, "memory"), "not-granted");
    world.unblock().await;
    world.chat("ada").await;
    assert_eq!(world.read_last().await, VALUE, "nothing was forgotten");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_returned_feeds_no_other_plugin_while_it_is_blocked() {
    let mut world = World::scored().await;
    world.behave("reader", "1.0.0", "pass-on", &[NAME, SCORE]).await;
    // Another release stands, which returns nothing: the older one's fields are the last.
    let next = with_manifest(&remade("scorer", "clerk", &[]), |manifest| {
        manifest["plugin"]["version"] = json!("1.0.1");
    });
    world.gateway.partner_key("clerk").await.publish(&next).await.expect(201);
    world.behave("scorer", "1.0.1", "value-in-failure", &[NAME]).await;
    world.chat("ada").await;
    assert_eq!(world.verdict("ada", "reader", SCORE).await["decision"], "allow");
    world.block().await;
    world.chat("ada").await;
    assert_eq!(world.verdict("ada", "reader", SCORE).await, Value::Null, "as if there were none");
    // Also where it is read from the store.
    world.gateway = world.gateway.stop().await.start().await;
    world.chat("ada").await;
    assert_eq!(world.verdict("ada", "reader", SCORE).await, Value::Null);
    world.unblock().await;
    world.chat("ada").await;
    assert_eq!(world.verdict("ada", "reader", SCORE).await["decision"], "allow");
}
