//! How the partner's plugins did over the last day, by brand and plugin: figures over what
//! [`partner_calls`](super::partner_calls) shows, and of nothing else; and why a release is blocked, which its view says
//! too.

use std::collections::{BTreeMap, HashSet};

use super::error::Refusal;
use super::flows::spent;
use super::gateway::Gateway;
use super::model::{Caller, SpentView};
use super::partner_calls::{own, seen};
use super::partner_model::{PartnerOutcome, PartnerStatusView, PartnerWarningView};
use super::registry::{Registry, rfc3339};
use crate::store::{FlowQuery, Stage, Uid};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
/// Rows of each stage that are counted at most; the view says since when it counts.
const COUNTED: u32 = 20_000;

#[derive(Default)]
struct Figures {
    calls: u64,
    failures: u64,
    fuel: u64,
    micros: Vec<u64>,
    warnings: BTreeMap<String, PartnerWarningView>,
    waiting: u64,
    dead: u64,
}

impl Figures {
    /// Takes in what a call used most of: no more than the list of calls says of each.
    fn warn(&mut self, SpentView { budget, used, allowed }: SpentView) {
        let first = || PartnerWarningView { budget: budget.clone(), calls: 0, used, allowed };
        let warning = self.warnings.entry(budget.clone()).or_insert_with(first);
        warning.calls += 1;
        let part = |used: u64, of: u64| u128::from(used) * u128::from(of);
        if part(used, warning.allowed) > part(warning.used, allowed) {
            (warning.used, warning.allowed) = (used, allowed);
        }
    }
}

impl Gateway {
    /// One entry for each brand at which one of the partner's plugins is on, or was seen within a day.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] for a key that is no partner's.
    pub async fn partner_status(&self, caller: &Caller) -> Result<Vec<PartnerStatusView>, Refusal> {
        let partner = own(caller)?;
        let now_ms = self.clock.now_ms();
        let mut since_ms = now_ms - DAY_MS;
        let mut figures: BTreeMap<(String, String), Figures> = BTreeMap::new();
        let registry = self.registry.load_full();
        // Also what is on and cannot run, of which there may be no call.
        for (brand, of_brand) in &registry.written {
            for (plugin, written) in of_brand {
                let release = registry.release(&written.document.release);
                if release.is_some_and(|release| release.meta.partner == partner) {
                    figures.entry((brand.clone(), plugin.clone())).or_default();
                }
            }
        }
        for stage in [Stage::Call, Stage::Delivery] {
            let query = FlowQuery {
                partner: Some(partner.to_owned()),
                stage: Some(stage),
                from_ms: Some(since_ms),
                limit: COUNTED,
                ..FlowQuery::default()
            };
            let rows = self.store.flows(&query).await?;
            if rows.len() == COUNTED as usize {
                since_ms = rows.last().map_or(since_ms, |row| row.at_ms);
            }
            // Newest first: the first row of a delivery is its last try.
            let mut known: HashSet<Uid> = HashSet::new();
            for row in rows {
                let key = (row.brand.clone(), row.plugin.clone());
                if stage == Stage::Call {
                    let Some((outcome, _)) = seen(&row.outcome) else { continue };
                    let of = figures.entry(key).or_default();
                    of.calls += 1;
                    of.failures += u64::from(outcome != PartnerOutcome::Ran);
                    of.fuel = of.fuel.saturating_add(row.fuel);
                    of.micros.push(row.micros);
                    spent(&row).into_iter().for_each(|spent| of.warn(spent));
                } else if let Some(last) = self.partner_delivery(&row).await?
                    && row.delivery.is_some_and(|delivery| known.insert(delivery))
                {
                    let of = figures.entry(key).or_default();
                    of.waiting += u64::from(last.next_try.is_some());
                    of.dead += u64::from(last.outcome == "dead");
                }
            }
        }
        let views = figures.into_iter().map(|((brand, plugin), mut of)| {
            of.micros.sort_unstable();
            let breaker =
                registry.connection(&brand, &plugin).map(|live| live.breaker.stands(now_ms).state.to_owned());
            PartnerStatusView {
                since: rfc3339(since_ms),
                calls: of.calls,
                failures: of.failures,
                p50_milliseconds: percentile(&of.micros, 50),
                p99_milliseconds: percentile(&of.micros, 99),
                fuel: of.fuel,
                breaker,
                blocked: blocked(&registry, &brand, &plugin),
                warnings: of.warnings.into_values().collect(),
                deliveries_waiting: of.waiting,
                deliveries_dead: of.dead,
                brand,
                plugin,
            }
        });
        Ok(views.collect())
    }
}

/// Why the release that a brand has on is blocked, where it is.
fn blocked(registry: &Registry, brand: &str, plugin: &str) -> Option<String> {
    let release = registry.release(&registry.written(brand, plugin)?.document.release)?;
    registry.statuses.get(&release.meta.digest)?.blocked.clone()
}

/// Nearest rank, of sorted microseconds; none where there are none.
fn percentile(micros: &[u64], percent: usize) -> Option<f64> {
    let rank = (micros.len() * percent).div_ceil(100).max(1);
    micros.get(rank - 1).map(|micros| *micros as f64 / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_warned_of_once_with_the_call_that_used_the_largest_part() {
        let mut figures = Figures::default();
        for (budget, used, allowed) in
            [("fuel", 85, 100), ("time", 9, 10), ("fuel", 190, 200), ("fuel", 930, 1_000)]
        {
            figures.warn(SpentView { budget: budget.to_owned(), used, allowed });
        }
        let told = figures.warnings.into_values();
        let told: Vec<_> = told.map(|told| (told.budget, told.calls, told.used, told.allowed)).collect();
        let of = |budget: &str, calls, used, allowed| (budget.to_owned(), calls, used, allowed);
        assert_eq!(told, [of("fuel", 3, 190, 200), of("time", 1, 9, 10)]);
    }

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let hundred: Vec<u64> = (1..=100).map(|n| n * 1_000).collect();
        assert_eq!((percentile(&hundred, 50), percentile(&hundred, 99)), (Some(50.0), Some(99.0)));
        assert_eq!((percentile(&[7_000], 50), percentile(&[7_000], 99)), (Some(7.0), Some(7.0)));
        assert_eq!(percentile(&[], 50), None);
    }
}
