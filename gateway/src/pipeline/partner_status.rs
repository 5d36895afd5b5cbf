//! How the partner's plugins did over the last day, by brand and plugin: figures over what
//! [`partner_calls`](super::partner_calls) shows, and of nothing else.

use std::collections::{BTreeMap, HashSet};

use super::error::Refusal;
use super::gateway::Gateway;
use super::model::Caller;
use super::partner_calls::{own, seen};
use super::partner_model::{PartnerOutcome, PartnerStatusView};
use super::registry::rfc3339;
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
    waiting: u64,
    dead: u64,
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
        for (brand, of_brand) in &registry.connections {
            for (plugin, live) in of_brand {
                if live.connection.partner.name == partner {
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
                deliveries_waiting: of.waiting,
                deliveries_dead: of.dead,
                brand,
                plugin,
            }
        });
        Ok(views.collect())
    }
}

/// Nearest rank, of sorted microseconds; none where there are none.
fn percentile(micros: &[u64], percent: usize) -> Option<f64> {
    let rank = (micros.len() * percent).div_ceil(100).max(1);
    micros.get(rank - 1).map(|micros| *micros as f64 / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let hundred: Vec<u64> = (1..=100).map(|n| n * 1_000).collect();
        assert_eq!((percentile(&hundred, 50), percentile(&hundred, 99)), (Some(50.0), Some(99.0)));
        assert_eq!((percentile(&[7_000], 50), percentile(&[7_000], 99)), (Some(7.0), Some(7.0)));
        assert_eq!(percentile(&[], 50), None);
    }
}
