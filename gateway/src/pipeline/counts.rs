//! What has happened since the start, for the demo's last line and the metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use gateway_policy::{Access, Decision};

use crate::store::{FlowRecord, Stage};

/// Since the gateway started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events accepted.
    pub events: u64,
    /// Calls that ran.
    pub calls: u64,
    /// Fields allowed toward plugins.
    pub allow: u64,
    /// Fields transformed toward plugins.
    pub transform: u64,
    /// Fields withheld from plugins.
    pub withhold: u64,
    /// Requests delivered.
    pub delivered: u64,
    /// Requests that ended as dead letters, and those dropped.
    pub failed: u64,
    /// Outcomes refused.
    pub violations: u64,
    /// Rows of the ledger.
    pub flows: u64,
    /// Pieces of work, deliveries and messages that were done and could not be recorded: they stay due.
    pub unrecorded: u64,
}

macro_rules! counters {
    ($($name:ident => $metric:literal: $says:literal,)+) => {
        /// The counters behind [`Counts`].
        #[derive(Default)]
        pub(super) struct Counters { $($name: AtomicU64,)+ }

        impl Counters {
            /// Says in the metrics what each of them counts, and what the pipeline measures besides.
            pub(super) fn describe() {
                $(metrics::describe_counter!($metric, $says);)+
                metrics::describe_counter!(
                    "gateway_breaker_opened_total",
                    "Times that repeated failures stopped the calls of a connection."
                );
                metrics::describe_counter!(
                    "gateway_budget_overruns_total",
                    "Calls that ended because they used up a budget, by budget."
                );
                metrics::describe_gauge!("gateway_releases_loaded", "Releases that are ready to be called.");
                metrics::describe_histogram!(
                    "gateway_delivery_seconds",
                    "Seconds from a request to a partner to its answer, each try."
                );
            }

            /// What they stand at.
            pub(super) fn read(&self) -> Counts {
                Counts { $($name: self.$name.load(Ordering::Relaxed),)+ }
            }

            $(
                /// Adds to the counter and to its metric.
                pub(super) fn $name(&self, by: u64) {
                    self.$name.fetch_add(by, Ordering::Relaxed);
                    metrics::counter!($metric).increment(by);
                }
            )+
        }
    };
}

counters! {
    events => "gateway_events_accepted_total": "Events accepted, repeated ones apart.",
    calls => "gateway_calls_total": "Calls of plugins that ran.",
    allow => "gateway_fields_allowed_total": "Fields of calls that their plugin got.",
    transform => "gateway_fields_transformed_total": "Fields of calls that their plugin got in another form.",
    withhold => "gateway_fields_withheld_total": "Fields of calls that their plugin did not get.",
    delivered => "gateway_deliveries_delivered_total": "Requests that a partner took.",
    failed => "gateway_deliveries_failed_total": "Requests that ended as dead letters or were dropped.",
    violations => "gateway_violations_total": "Outcomes of plugins that were refused.",
    flows => "gateway_flows_total": "Rows of the ledger.",
    unrecorded => "gateway_unrecorded_total": "Work that was done, could not be recorded and stays due.",
}

impl Counters {
    /// Counts one verdict of a flow toward a plugin.
    pub(super) fn decision(&self, decision: Decision) {
        match decision {
            Decision::Allow => self.allow(1),
            Decision::Transform => self.transform(1),
            Decision::Withhold => self.withhold(1),
        }
    }
}

/// What rows add to the counters, taken before they are handed to the store.
pub(super) struct Tally {
    pub(super) decisions: Vec<Decision>,
    pub(super) flows: u64,
    pub(super) calls: u64,
    pub(super) violations: u64,
}

impl Tally {
    /// Of the rows of one call; the first is the one toward the plugin.
    pub(super) fn of(flows: &[FlowRecord]) -> Self {
        let toward = flows.first().filter(|flow| flow.stage == Stage::Call);
        let outcome = toward.map_or("not-run", |flow| flow.outcome.as_str());
        Self {
            decisions: toward.map_or_else(Vec::new, |flow| {
                let declared = |access| matches!(access, Access::Read | Access::Sealed);
                let fields = flow.verdicts.iter().filter(|field| declared(field.access));
                fields.map(|field| field.verdict.decision).collect()
            }),
            flows: flows.len() as u64,
            calls: u64::from(!outcome.starts_with("not-run") && outcome != "failed:busy"),
            violations: u64::from(outcome.starts_with("refused")),
        }
    }
}
