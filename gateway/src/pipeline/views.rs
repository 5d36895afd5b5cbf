//! What a brand sees and changes of its consumers: choices, stored and returned fields, dead letters.

use std::collections::BTreeMap;

use gateway_policy::{
    Choices, Conditions, Flow, Label, LabelSet, Origin, Permission, PermissionScope, Purpose,
};

use super::accept::event_place;
use super::consumers::Consumer;
use super::control::problems;
use super::dispatch::return_place;
use super::error::{Problem, Refusal};
use super::event;
use super::flows::page_size;
use super::gateway::Gateway;
use super::keys::may_choose;
use super::model::{
    Caller, ConsumerView, DeadLetterView, MemoryView, Page, ReceivedView, ReturnView, Role, StoredEventView,
};
use super::registry::{LiveRelease, Registry, rfc3339};
use crate::boundary::{Integration, Moment, Question, Received, Returned, Subject, base_facts};
use crate::catalogue::nearest;
use crate::store::crypto::{format_uid, parse_uid};
use crate::store::{DeliveryState, Digest, EventRecord, ReturnRecord};

/// Events and returned fields that one answer holds at most.
const NEWEST: u32 = 100;

impl Gateway {
    /// What a consumer chose; nothing refused and nothing permitted where the brand never met them.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for an unknown brand.
    pub async fn choices(&self, brand: &str, consumer: &str) -> Result<Choices, Refusal> {
        self.platform_brand(brand)?;
        let known = self.consumers.find(&*self.store, &self.master, brand, consumer).await?;
        Ok(known.map(|known| (*known.choices()).clone()).unwrap_or_default())
    }

    /// Replaces what a consumer chose; in effect on the next decision. A consumer that the brand has not met
    /// is remembered, so that their first event is decided under these choices. A permission whose own thing is
    /// refused ends; one that is left out is withdrawn.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for a permission without wording or actor, for an unknown purpose, and for a plugin that is
    /// not published, unless it is named already: a choice about nothing would protect nobody;
    /// [`Refusal::Forbidden`] where a source would loosen.
    pub async fn put_choices(
        &self,
        brand: &str,
        consumer: &str,
        choices: Choices,
        caller: &Caller,
    ) -> Result<Choices, Refusal> {
        self.platform_brand(brand)?;
        let mut wrong = Vec::new();
        for (index, permission) in choices.permissions.iter().enumerate() {
            let pointer = |key: &str| format!("/permissions/{index}/{key}");
            for (key, text) in [("wording", &permission.wording), ("actor", &permission.actor)] {
                if text.trim().is_empty() {
                    wrong.push(Problem {
                        pointer: pointer(key),
                        detail: "must say it: a permission needs its wording and who recorded it".into(),
                    });
                }
            }
            if let PermissionScope::Purpose(key) = &permission.scope
                && let Err(error) = Purpose::parse(key)
            {
                wrong.push(Problem { pointer: pointer("for/purpose"), detail: error.to_string() });
            }
        }
        let before = self.choices(brand, consumer).await?;
        wrong.extend(about_nothing(&self.registry.load(), &before, &choices, caller.role));
        problems("what was chosen", wrong)?;
        let known = self.consumers.ensure(&*self.store, &self.master, brand, consumer).await?;
        let now = rfc3339(self.clock.now_ms());
        let change =
            self.change(&caller.key, format!("choices of consumer {}", format_uid(&known.pseudonym)));
        let next = |before: &Choices| {
            let mut choices = choices;
            // When it was recorded is the gateway's to say; one that stood before keeps its time.
            for permission in &mut choices.permissions {
                let same = |known: &&Permission| {
                    (&known.scope, &known.wording, &known.actor)
                        == (&permission.scope, &permission.wording, &permission.actor)
                };
                let at = before.permissions.iter().find(same).map_or(&now, |known| &known.at).clone();
                permission.at = at;
            }
            may_choose(caller, before, &choices)?;
            Ok(choices)
        };
        // A source only tightens, also what those linked with the consumer chose.
        let linked = |other: &Choices, next: &Choices| {
            if caller.role != Role::Source {
                return next.clone();
            }
            let mut other = other.clone();
            other.join_refusals(next);
            other.keep_permissions_of(next);
            other
        };
        self.consumers.change_choices(&*self.store, &known, change, next, linked).await
    }

    /// What is stored of a consumer, with labels.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for an unknown brand or consumer.
    pub async fn consumer(&self, brand: &str, consumer: &str) -> Result<ConsumerView, Refusal> {
        self.platform_brand(brand)?;
        let known = self
            .consumers
            .find(&*self.store, &self.master, brand, consumer)
            .await?
            .ok_or_else(|| Refusal::NotFound { what: "consumer with this id at this brand".into() })?;
        let peers = self.consumers.peers(&*self.store, &self.master, &known).await?;
        let (mut events, mut returned) = (Vec::new(), Vec::new());
        for consumer in std::iter::once(&known).chain(&peers) {
            let of_one = self.store.consumer_events(consumer.id, NEWEST).await?;
            events.extend(of_one.into_iter().map(|record| (consumer, record)));
            let of_one = self.store.consumer_returns(consumer.id, NEWEST).await?;
            returned.extend(of_one.into_iter().map(|record| (consumer, record)));
        }
        // Each consumer's are in order; the sort keeps that where it says nothing.
        events.sort_by_key(|(_, record)| std::cmp::Reverse(record.accepted_ms));
        returned.sort_by_key(|(_, record)| std::cmp::Reverse(record.position));
        let newest = NEWEST as usize;
        known.know_received(&*self.store).await?;
        let registry = self.registry.load_full();
        let ids = registry.connection_ids.get(brand).cloned().unwrap_or_default();
        let written = registry.written.get(brand).into_iter().flatten();
        let privacy_policies =
            written.map(|(plugin, written)| (plugin.clone(), written.document.privacy_policy.clone()));
        let mut memories = BTreeMap::new();
        for (plugin, id) in &ids {
            if let Some(memory) = known.read_memory(&*self.store, id).await? {
                let view = MemoryView {
                    entries: memory.entries(),
                    bytes: memory.bytes(),
                    labels: memory.labels().clone(),
                    conditions: memory.conditions().clone(),
                };
                memories.insert(plugin.clone(), view);
            }
        }
        Ok(ConsumerView {
            privacy_policies: privacy_policies.collect(),
            memories,
            pseudonym: format_uid(&known.pseudonym),
            linked: peers.iter().map(|peer| format_uid(&peer.pseudonym)).collect(),
            engaged: known.engaged(),
            events: events
                .iter()
                .take(newest)
                .map(|(consumer, record)| self.event_view(consumer, record))
                .collect::<Result<_, _>>()?,
            returned: returned
                .iter()
                .take(newest)
                .filter_map(|(consumer, record)| self.return_view(consumer, record).transpose())
                .collect::<Result<_, _>>()?,
            received: ids
                .iter()
                .filter_map(|(plugin, id)| Some((plugin.clone(), known.received(id)?)))
                .filter(|(plugin, received)| {
                    let labels = received.labels.values();
                    self.may_use(Flow::Receive, &known, (plugin, None), false, &received.conditions, labels)
                })
                .map(|(plugin, received)| {
                    let Received { value, labels, conditions, .. } = (*received).clone();
                    (plugin, ReceivedView { value, labels, conditions })
                })
                .collect(),
        })
    }

    /// A stored event, opened.
    pub(super) fn open_event(
        &self,
        consumer: &Consumer,
        record: &EventRecord,
    ) -> Result<event::Event, Refusal> {
        let body =
            consumer.key.open(&event_place(&record.uid), &record.payload).map_err(|_| Refusal::Internal)?;
        event::reread(&body, record.accepted_ms, &self.catalogue).ok_or(Refusal::Internal)
    }

    fn event_view(&self, consumer: &Consumer, record: &EventRecord) -> Result<StoredEventView, Refusal> {
        let event = self.open_event(consumer, record)?;
        let mut labels = BTreeMap::new();
        for field in self.catalogue.event_type(&event.kind).into_iter().flat_map(|kind| &kind.fields) {
            if field.path.is_present(&event.data) {
                let category =
                    gateway_policy::Category::parse(&field.category).map_err(|_| Refusal::Internal)?;
                let origin = if field.public { Origin::Public } else { Origin::FirstParty };
                labels.insert(field.path.to_string(), LabelSet::from_iter([Label { category, origin }]));
            }
        }
        Ok(StoredEventView {
            id: event.id,
            source: event.source,
            r#type: event.kind,
            accepted: rfc3339(record.accepted_ms),
            data: event.data,
            labels,
            conditions: event.conditions,
        })
    }

    /// A brand's feed of returned fields after a position, oldest first.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for an unknown brand; [`Refusal::Invalid`] for a bad limit.
    pub async fn returns(&self, brand: &str, after: i64, limit: u32) -> Result<Vec<ReturnView>, Refusal> {
        self.platform_brand(brand)?;
        let limit = page_size(Some(limit))?;
        let (mut after, mut views) = (after, Vec::new());
        loop {
            let records = self.store.returns(brand, after, limit).await?;
            let is_last = records.len() < limit as usize;
            for record in records {
                after = record.position;
                let consumer = self.consumers.by_id(&*self.store, &self.master, record.consumer).await?;
                views.extend(self.return_view(&consumer, &record)?);
            }
            // An empty answer is the feed's end, so what may not be used any more is passed over.
            if is_last || !views.is_empty() {
                return Ok(views);
            }
        }
    }

    /// Requests of a brand's connections that were not delivered, newest first.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for an unknown brand; [`Refusal::Invalid`] for a bad cursor or limit.
    pub async fn dead_letters(
        &self,
        brand: &str,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<DeadLetterView>, Refusal> {
        self.platform_brand(brand)?;
        let limit = page_size(Some(limit))?;
        let before = cursor
            .map(|text| {
                parse_uid(text).ok_or_else(|| {
                    Refusal::invalid("query parameter cursor", "", "is not one that a page gave")
                })
            })
            .transpose()?;
        let records = self.store.dead_letters(brand, before, limit + 1).await?;
        let next = (records.len() > limit as usize)
            .then(|| records.get(limit as usize - 1).map(|last| format_uid(&last.id)))
            .flatten();
        let items = records
            .into_iter()
            .take(limit as usize)
            .map(|record| DeadLetterView {
                id: format_uid(&record.id),
                plugin: record.plugin,
                endpoint: record.endpoint,
                event: format_uid(&record.event),
                state: if record.state == DeliveryState::Dropped { "dropped" } else { "dead" }.to_owned(),
                attempts: record.attempt,
                last: record.last,
            })
            .collect();
        Ok(Page { items, next })
    }

    /// Makes a dead letter due again, under a new decision.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub async fn resend(&self, brand: &str, id: &str, actor: &str) -> Result<(), Refusal> {
        let missing = || Refusal::NotFound { what: format!("dead letter with this id at brand {brand}") };
        let uid = parse_uid(id).ok_or_else(missing)?;
        let change = self.change(actor, format!("resend {id}"));
        if !self.store.resend(brand, &uid, self.clock.now_ms(), change).await? {
            return Err(missing());
        }
        self.deliveries.fall_behind();
        Ok(())
    }
}

impl Gateway {
    /// Whether what a plugin returned may be used now (clause integrations.opt-out: what is stored from a
    /// partner stops being used), by the purpose of the release that returned it, or else of the one that runs: never of
    /// one that is merely published. The switch does not matter: it was on when the fields were returned.
    pub(super) fn may_use<'l>(
        &self,
        flow: Flow,
        consumer: &Consumer,
        (plugin, release): (&str, Option<&Digest>),
        promotional: bool,
        conditions: &Conditions,
        labels: impl Iterator<Item = &'l LabelSet> + Clone,
    ) -> bool {
        let registry = self.registry.load();
        let running =
            registry.connection(&consumer.brand, plugin).map(|live| &live.connection.release.digest);
        let releases = match release.or(running) {
            Some(release) => registry.releases.get(release).into_iter().collect(),
            // Which one it was is not known: what one of them may not be used for is not used.
            None => registry.releases_of(plugin),
        };
        !releases.is_empty()
            && releases
                .iter()
                .all(|live| self.may_use_by(live, flow, consumer, promotional, conditions, labels.clone()))
    }

    /// Whether an answer for a slot may be given now: one of no release that is blocked, and as the slot stands, which a
    /// brand may have marked promotional since. Where its plugin does not fill the slot any more, so that nothing says
    /// which it is, it counts as promotional.
    pub(super) fn may_answer<'l>(
        &self,
        slot: &str,
        consumer: &Consumer,
        (plugin, release): (&str, &Digest),
        conditions: &Conditions,
        labels: impl Iterator<Item = &'l LabelSet> + Clone,
    ) -> bool {
        let registry = self.registry.load();
        let live = registry.slot(&consumer.brand, slot);
        let promotional = live.is_none_or(|live| {
            *live.connection.plugin != *plugin || live.connection.promotional.contains(slot)
        });
        !registry.is_blocked(release)
            && self.may_use(Flow::Return, consumer, (plugin, Some(release)), promotional, conditions, labels)
    }

    fn may_use_by<'l>(
        &self,
        live: &LiveRelease,
        flow: Flow,
        consumer: &Consumer,
        promotional: bool,
        conditions: &Conditions,
        labels: impl Iterator<Item = &'l LabelSet>,
    ) -> bool {
        let registry = self.registry.load();
        let plugin = &*live.meta.plugin;
        let Some(partner) = registry.partners.get(&live.meta.partner) else { return false };
        let (purpose, partner) = (live.release.purpose, &*partner.record);
        let choices = consumer.choices();
        let subject = Subject { conditions, choices: Some(&choices), engaged: consumer.engaged() };
        let integration =
            Integration { plugin, purpose, partner, switched_on: true, promotional, by_sms: false };
        let facts = base_facts(subject, integration);
        let question = Question { flow, purpose, partner, to_brand: true };
        let now_ms = self.clock.now_ms();
        let moment = self.book.also(self.book.moment(now_ms, now_ms), conditions);
        let besides = self.besides(&registry, conditions, moment);
        let may = |label: &Label| self.book.decide(&question, label, facts, moment).1.allows();
        labels.flat_map(LabelSet::iter).all(may) && besides.iter().all(may)
    }

    /// [`PolicyBook::besides`](crate::boundary::PolicyBook::besides), by the partners' records as they stand.
    pub(super) fn besides(&self, registry: &Registry, conditions: &Conditions, moment: Moment) -> LabelSet {
        let record = |name: &str| registry.partners.get(name).map(|known| &*known.record);
        self.book.besides(conditions, record, moment)
    }

    /// Returned fields, opened.
    pub(super) fn open_return(
        &self,
        consumer: &Consumer,
        record: &ReturnRecord,
    ) -> Result<Returned, Refusal> {
        let text =
            consumer.key.open(&return_place(&record.flow), &record.payload).map_err(|_| Refusal::Internal)?;
        serde_json::from_slice(&text).map_err(|_| Refusal::Internal)
    }

    /// Returned fields as the brand sees them; none where they may not be used any more.
    fn return_view(&self, consumer: &Consumer, record: &ReturnRecord) -> Result<Option<ReturnView>, Refusal> {
        let returned = self.open_return(consumer, record)?;
        let registry = self.registry.load();
        let Some(release) = registry.releases.get(&record.release).map(|live| &live.release) else {
            return Ok(None);
        };
        // For a slot or not: the stricter, where one of its leaves is returned for both.
        let live = registry.connection(&record.brand, &record.plugin);
        let promotional = returned
            .fields
            .iter()
            .flat_map(|field| release.slots_of(&field.field))
            .any(|slot| live.is_none_or(|live| live.connection.may_be_promotional(slot)));
        let by = (&*record.plugin, Some(&record.release));
        let labels = returned.fields.iter().map(|field| &field.labels);
        if !self.may_use(Flow::Return, consumer, by, promotional, &returned.conditions, labels) {
            return Ok(None);
        }
        Ok(Some(ReturnView {
            privacy_policy: release.manifest.plugin.privacy_policy.clone(),
            position: record.position,
            at: rfc3339(record.at_ms),
            plugin: record.plugin.clone(),
            consumer: format_uid(&consumer.pseudonym),
            event: format_uid(&record.event),
            flow: format_uid(&record.flow),
            value: returned.value,
            labels: returned
                .fields
                .into_iter()
                .map(|field| (field.field.to_string(), field.labels))
                .collect(),
            conditions: returned.conditions,
        }))
    }
}

/// Choices about a plugin that nobody published, unless they stood there before. Who may not list plugins is told no
/// name of one.
fn about_nothing(registry: &Registry, before: &Choices, choices: &Choices, role: Role) -> Vec<Problem> {
    // One that is on counts also while its release cannot be used.
    let is_on = |name: &str| registry.written.values().any(|of_brand| of_brand.contains_key(name));
    let is_unknown = |name: &str| registry.releases_of(name).is_empty() && !is_on(name);
    let problem = |pointer: String, name: &str| {
        let known = nearest(name, registry.plugin_names().into_iter()).filter(|_| role != Role::Source);
        let remedy = known.map(|known| format!("; the nearest is {known}")).unwrap_or_default();
        let detail =
            format!("no plugin of this name is published, so the choice would be about nothing{remedy}");
        Problem { pointer, detail }
    };
    let stood = &before.opt_out.integrations;
    let out = choices.opt_out.integrations.iter().filter(|name| is_unknown(name) && !stood.contains(*name));
    let out = out.map(|name| problem("/opt_out/integrations".to_owned(), name));
    let permitted = choices.permissions.iter().enumerate().filter_map(|(index, permission)| {
        let PermissionScope::Integration(name) = &permission.scope else { return None };
        let stood = before.permissions.iter().any(|stood| stood.scope == permission.scope);
        (is_unknown(name) && !stood).then(|| problem(format!("/permissions/{index}/for/integration"), name))
    });
    out.chain(permitted).collect()
}
