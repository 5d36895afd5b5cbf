//! Of an export, what is kept beside events: what plugins received, returned and remember of the consumer.

use gateway_policy::{Category, Purpose};

use super::super::consumers::Consumer;
use super::super::error::Refusal;
use super::super::gateway::Gateway;
use super::super::registry::rfc3339;
use super::export::Rows;
use super::{Disclosure, ExportedKept};
use crate::boundary::{Kept, Subject, kept_toward_authority};

/// What decides about one consumer's export.
struct Export<'a> {
    consumer: &'a Consumer,
    purpose: Purpose,
    scope: Vec<Category>,
    now_ms: i64,
}

impl Gateway {
    /// What of it is within the scope, with the verdicts for the ledger; whatever the consumer chose.
    pub(super) async fn export_kept(
        &self,
        disclosure: &Disclosure,
        consumer: &Consumer,
        purpose: Purpose,
        rows: &mut Rows,
        now_ms: i64,
    ) -> Result<Vec<ExportedKept>, Refusal> {
        let scope = disclosure.asked.scope.iter().filter_map(|name| Category::parse(name).ok()).collect();
        let export = Export { consumer, purpose, scope, now_ms };
        let ids = self.registry.load().connection_ids.get(&consumer.brand).cloned().unwrap_or_default();
        consumer.know_received(&*self.store).await?;
        let mut exported = Vec::new();
        for (plugin, id) in &ids {
            if let Some(received) = consumer.received(id) {
                let kept = Kept::received(&received);
                exported.extend(self.export_one(&export, plugin, "received", &kept, now_ms, rows)?);
            }
            if let Some(memory) = consumer.read_memory(&*self.store, id).await? {
                let kept = Kept::memory(&memory);
                exported.extend(self.export_one(&export, plugin, "memory", &kept, now_ms, rows)?);
            }
        }
        let mut records = self.store.consumer_returns(consumer.id, u32::MAX).await?;
        records.reverse();
        for record in records {
            let returned = self.open_return(consumer, &record)?;
            let kept = Kept::returned(&returned);
            let one = self.export_one(&export, &record.plugin, "returned", &kept, record.at_ms, rows)?;
            exported.extend(one.map(|one| ExportedKept { at: Some(rfc3339(record.at_ms)), ..one }));
        }
        Ok(exported)
    }

    fn export_one(
        &self,
        export: &Export<'_>,
        plugin: &str,
        kind: &str,
        kept: &Kept<'_>,
        accepted_ms: i64,
        rows: &mut Rows,
    ) -> Result<Option<ExportedKept>, Refusal> {
        let Export { consumer, purpose, scope, now_ms } = export;
        let choices = consumer.choices();
        let subject =
            Subject { conditions: kept.conditions(), choices: Some(&choices), engaged: consumer.engaged() };
        let moment = self.book.also(self.book.moment(accepted_ms, *now_ms), kept.conditions());
        let toward = kept_toward_authority(&self.book, *purpose, scope, kept, subject, true, moment);
        if toward.verdicts.is_empty() {
            return Ok(None);
        }
        let row = rows.entry((plugin.to_owned(), kind.to_owned())).or_default();
        let labels = row.take(toward.verdicts);
        let Some(data) = toward.data else { return Ok(None) };
        let data = data.release();
        row.send(&data)?;
        Ok(Some(ExportedKept {
            kind: kind.to_owned(),
            plugin: plugin.to_owned(),
            at: None,
            data,
            labels,
            conditions: kept.conditions().clone(),
        }))
    }
}
