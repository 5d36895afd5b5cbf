//! The brand takes back from a plugin what another returned.

use super::{NAME, SCORE, TEXT, VALUE, World, assert_withheld, verdict_on};

/// What was remembered of it derives from what the plugin's own fields could not give.
#[tokio::test(flavor = "multi_thread")]
async fn a_memory_made_of_it_goes_with_the_grant() {
    let world = World::new().await;
    world.switch_on("scorer", "clerk", &[], &[TEXT]).await;
    world.chat("ada").await;
    world.publish("reader", "trent", &[SCORE]).await;
    world.behave("reader", "1.0.0", "remember", &[NAME, SCORE]).await;
    world.chat("ada").await;
    world.behave("reader", "1.0.0", "recall", &[NAME, SCORE]).await;
    world.chat("ada").await;
    assert_eq!(world.read_last().await, VALUE);
    world.behave("reader", "1.0.0", "recall", &[NAME]).await;
    world.chat("ada").await;
    assert_eq!(world.read_last().await, "nothing");
    assert_withheld(&verdict_on(&world.row("ada", "reader", "call").await, "memory"), "not-granted");
    world.behave("reader", "1.0.0", "recall", &[NAME, SCORE]).await;
    world.chat("ada").await;
    assert_eq!(world.read_last().await, "nothing", "it is gone");
}
