//! The export itself: of a consumer's stored events, and of what plugins keep of the consumer, what is within the scope
//! and what the policy lets go to an authority.

use std::collections::BTreeMap;

use gateway_policy::{Category, Fact, Facts, FieldVerdict, Flow, LabelSet, Purpose, Recipient};
use serde_json::Value;

use super::super::consumers::Consumer;
use super::super::error::Refusal;
use super::super::gateway::Gateway;
use super::super::ledger::Row;
use super::super::model::Caller;
use super::super::registry::rfc3339;
use super::{Asked, Disclosure, DisclosureExport, ExportedEvent, State};
use crate::boundary::{Subject, toward_authority};
use crate::catalogue::{EventType, Field};
use crate::store::crypto::{format_uid, parse_uid};
use crate::store::{EventRecord, FlowRecord, Stage};

const PURPOSE: &str = "essential.legal_obligation";

/// What of an export is of one event type, or of one kind of what a plugin keeps: a row of the ledger.
#[derive(Default)]
pub(super) struct OfType {
    verdicts: BTreeMap<String, FieldVerdict>,
    /// What went, for its digest.
    went: Vec<u8>,
}

/// The plugin, for what one keeps, and the event type or the kind.
pub(super) type Rows = BTreeMap<(String, String), OfType>;

impl OfType {
    /// Takes in what was decided; the labels of what goes.
    pub(super) fn take(&mut self, verdicts: Vec<FieldVerdict>) -> BTreeMap<String, LabelSet> {
        let mut labels = BTreeMap::new();
        for verdict in verdicts {
            if verdict.verdict.allows() {
                labels.insert(verdict.field.to_string(), LabelSet::from_iter(verdict.labels.iter().cloned()));
            }
            // The row says of a field that it went, where it went of any.
            let known = self.verdicts.entry(verdict.field.to_string()).or_insert_with(|| verdict.clone());
            if verdict.verdict.decision < known.verdict.decision {
                *known = verdict;
            }
        }
        labels
    }

    /// What goes.
    pub(super) fn send(&mut self, data: &Value) -> Result<(), Refusal> {
        self.went.extend(serde_json::to_vec(data).map_err(|_| Refusal::Internal)?);
        Ok(())
    }
}

impl Gateway {
    /// Exports what an approved request names; recorded before it is answered, each time.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]; [`Refusal::Conflict`] where it is not approved, or not any more, or the consumer
    /// is gone.
    pub async fn export_disclosure(
        &self,
        brand: &str,
        id: &str,
        caller: &Caller,
    ) -> Result<DisclosureExport, Refusal> {
        let disclosure = self.disclosure(brand, id).await?;
        let now_ms = self.clock.now_ms();
        let refused = |message: &str| Err(Refusal::Conflict { message: message.into() });
        match disclosure.state(now_ms) {
            State::Pending => {
                return refused("this disclosure is not approved; a second person has to approve it first");
            }
            State::Expired => {
                return refused("the approval of this disclosure ended after 30 days; ask for another one");
            }
            State::Approved => {}
        }
        let Some(consumer) = self.disclosed_consumer(&disclosure).await? else {
            return refused(
                "the consumer of this disclosure is not stored any more; there is nothing to export",
            );
        };
        let purpose = Purpose::parse(PURPOSE).map_err(|_| Refusal::Internal)?;
        let mut records = self.store.consumer_events(consumer.id, u32::MAX).await?;
        records.reverse();
        let mut types = Rows::new();
        let mut events = Vec::new();
        for record in &records {
            let Some(kind) = self.catalogue.event_type(&record.kind) else { continue };
            let fields = within(&disclosure.asked, kind);
            if fields.is_empty() {
                continue;
            }
            let of_type = types.entry((String::new(), record.kind.clone())).or_default();
            events.extend(self.export_event(&consumer, record, &fields, purpose, of_type, now_ms)?);
        }
        let kept = self.export_kept(&disclosure, &consumer, purpose, &mut types, now_ms).await?;
        let flows = self.rows_of_export(&disclosure, &consumer, types, now_ms);
        let ids = flows.iter().map(|flow| format_uid(&flow.id)).collect();
        let rows = flows.len() as u64;
        let what = format!("export disclosure {}", format_uid(&disclosure.record.id));
        self.store.record_flows(flows, Some(self.change(&caller.key, what))).await?;
        self.counters.flows(rows);
        Ok(DisclosureExport {
            disclosure: self.disclosure_view(&disclosure),
            exported: rfc3339(now_ms),
            events,
            kept,
            flows: ids,
        })
    }

    /// The consumer, if they are still the one that the request named.
    async fn disclosed_consumer(
        &self,
        disclosure: &Disclosure,
    ) -> Result<Option<std::sync::Arc<Consumer>>, Refusal> {
        let Disclosure { record, asked, .. } = disclosure;
        let Some(found) = self.store.consumer(&record.brand, &record.subject).await? else { return Ok(None) };
        if Some(found.pseudonym) != parse_uid(&asked.consumer) {
            return Ok(None);
        }
        self.consumers.by_id(&*self.store, &self.master, found.id).await.map(Some)
    }

    fn export_event(
        &self,
        consumer: &Consumer,
        record: &EventRecord,
        fields: &[&Field],
        purpose: Purpose,
        of_type: &mut OfType,
        now_ms: i64,
    ) -> Result<Option<ExportedEvent>, Refusal> {
        let event = self.open_event(consumer, record)?;
        let choices = consumer.choices();
        let subject =
            Subject { conditions: &event.conditions, choices: Some(&choices), engaged: consumer.engaged() };
        let moment = self.book.moment(record.accepted_ms, now_ms);
        let toward = toward_authority(&self.book, purpose, fields, &event.data, subject, true, moment);
        let labels = of_type.take(toward.verdicts);
        let Some(data) = toward.data else { return Ok(None) };
        let data = data.release();
        of_type.send(&data)?;
        Ok(Some(ExportedEvent {
            id: event.id,
            source: event.source,
            r#type: event.kind,
            time: event.time,
            accepted: rfc3339(record.accepted_ms),
            data,
            labels,
            conditions: event.conditions,
        }))
    }

    /// A row for each event type and each kind of what each plugin keeps; one that says so where there was nothing within the scope.
    fn rows_of_export(
        &self,
        disclosure: &Disclosure,
        consumer: &Consumer,
        mut types: Rows,
        now_ms: i64,
    ) -> Vec<FlowRecord> {
        if types.is_empty() {
            types.insert(Default::default(), OfType::default());
        }
        let moment = self.book.moment(now_ms, now_ms);
        let clause = disclosure.asked.reason.clause();
        let registry = self.registry.load();
        let of_type = |((plugin, kind), of_type): ((String, String), OfType)| {
            let partner = registry.releases_of(&plugin).first().map(|live| live.meta.partner.clone());
            let row = Row {
                brand: &disclosure.record.brand,
                plugin: &plugin,
                partner: partner.as_deref().unwrap_or_default(),
                release: [0; 32],
                purpose: PURPOSE,
                consumer: consumer.pseudonym,
                event: disclosure.record.id,
                event_type: &kind,
                policy: self.book.digest(moment),
                at_ms: now_ms,
            };
            let outcome =
                if of_type.went.is_empty() { "nothing".to_owned() } else { format!("exported:{clause}") };
            let facts = Facts::none().with(Fact::DisclosureApproved, true);
            let verdicts = of_type.verdicts.into_values().collect();
            let mut flow =
                row.record(Stage::Disclose, Flow::Disclose, Recipient::Authority, verdicts, facts, outcome);
            flow.endpoint = Some(disclosure.asked.authority.clone());
            flow.payload = (!of_type.went.is_empty()).then(|| consumer.key.digest(&of_type.went));
            flow
        };
        types.into_iter().map(of_type).collect()
    }
}

/// The fields of a type that the scope names, by the type or by their category.
fn within<'k>(asked: &Asked, kind: &'k EventType) -> Vec<&'k Field> {
    let whole = asked.scope.contains(&kind.name);
    let named = |field: &Field| {
        let category = Category::parse(&field.category).ok();
        let above = asked.scope.iter().filter_map(|name| Category::parse(name).ok());
        category.is_some_and(|category| above.into_iter().any(|above| category.is_under(above)))
    };
    kind.fields.iter().filter(|field| whole || named(field)).collect()
}
