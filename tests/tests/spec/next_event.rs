//! What holds after everything bad, whatever it was: nothing of it is kept, and the next event has its call, its
//! request and its rows, in a gateway that is well.

use gateway_tests::{TestGateway, events, world};
use serde_json::Value;

const BRAND: &str = world::NORTHSIDE;
/// What the demo's `adf-lead` makes of a good chat.
const STAGES: [(&str, &str); 2] = [("call", "ran"), ("delivery", "delivered")];

/// What a gateway of the demo that has nothing to do has kept and sent.
pub struct Standing {
    events: u64,
    rows: u64,
    requests: usize,
}

impl Standing {
    pub fn of(gateway: &TestGateway) -> Self {
        let counts = gateway.gateway.counts();
        Self { events: counts.events, rows: counts.flows, requests: gateway.partner.received().len() }
    }

    /// What is wrong once a good event has come: it is all that there is more than before. `about` is a consumer of
    /// whom there was nothing yet.
    pub async fn faults_after_next(&self, gateway: &TestGateway, about: &str) -> Vec<String> {
        let mut faults = Vec::new();
        let mut check = |holds: bool, what: String| {
            if !holds {
                faults.push(what);
            }
        };
        let answer = gateway.source(BRAND).await.post_event(&events::chat_ended(BRAND, about)).await;
        check(answer.status == 202, format!("the next event: {} {}", answer.status, answer.text));
        gateway.settled().await;

        let rows = gateway.brand(BRAND).await.flows(&format!("consumer={about}")).await;
        // Rows of one millisecond are in no order.
        let mut stages: Vec<(&str, &str)> = rows.iter().map(stage).collect();
        stages.sort_unstable();
        check(stages == STAGES, format!("the next event's rows: {stages:?}"));
        let now = Self::of(gateway);
        let more = (now.events - self.events, now.rows - self.rows, now.requests - self.requests);
        check(more == (1, 2, 1), format!("(events, rows, requests) more with the next event: {more:?}"));
        let unrecorded = gateway.gateway.counts().unrecorded;
        check(unrecorded == 0, format!("{unrecorded} could not be recorded"));
        for path in ["/healthz", "/readyz"] {
            let health = gateway.anonymous().get(path).await;
            check(health.status == 200, format!("{path}: {} {}", health.status, health.text));
        }
        faults
    }

    /// The same, where one case is all.
    pub async fn assert_next_passes(&self, gateway: &TestGateway, about: &str) {
        let faults = self.faults_after_next(gateway, about).await;
        assert!(faults.is_empty(), "{about}: {faults:#?}");
    }
}

/// What a row is of, and what came of it.
fn stage(row: &Value) -> (&str, &str) {
    let came = if row["result"].is_null() { &row["outcome"] } else { &row["result"]["outcome"] };
    (row["stage"].as_str().unwrap_or_default(), came.as_str().unwrap_or_default())
}
