//! Linking: an id that a brand used before it knew the consumer, and the consumer, are one person.
//!
//! - What either refuses or awaits, both do, now and for whatever is chosen later: no opt-out is lost.
//! - A permission stays with the id that gave it. The visitor keeps only those that the consumer gave too; so a
//!   link loosens nothing for either, and a source may make one.
//! - What a partner received of either counts for both, so that a forbidden combination is not put together from two
//!   names of one person.
//! - Either has engaged with the brand where one has.
//! - The ledger's names for them stay two: a row is never changed. Who asks for one is shown both.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gateway_policy::{Choices, Conditions, Label, OptOuts, Purpose};

use super::consumers::{Consumer, Consumers, read, read_choices, read_exposures, write};
use super::error::Refusal;
use super::event::MAX_ATTRIBUTE;
use super::gateway::Gateway;
use super::model::{Caller, LinkInput};
use crate::boundary::Exposed;
use crate::store::crypto::{MasterKey, format_uid};
use crate::store::{Change, ConsumerRecord, Digest, Exposure, LinkedChoices, Store};

/// Ids of one person, at most: each choice is written for all of them.
const MAX_IDS: usize = 256;

/// Consumers of a brand who are one; or one who is alone.
pub struct Person {
    /// The digest that stands for them; none: alone.
    pub(super) id: Option<Digest>,
    engaged: AtomicBool,
    exposures: Mutex<Exposures>,
}

impl Person {
    /// Of a consumer that is linked with nobody.
    pub(super) fn alone(exposures: Exposures) -> Self {
        Self { id: None, engaged: AtomicBool::new(false), exposures: Mutex::new(exposures) }
    }

    fn linked(id: Digest) -> Self {
        Self { id: Some(id), ..Self::alone(Exposures::default()) }
    }

    pub(super) fn engaged(&self) -> bool {
        self.engaged.load(Ordering::SeqCst)
    }

    pub(super) fn set_engaged(&self) {
        self.engaged.store(true, Ordering::SeqCst);
    }

    pub(super) fn exposures(&self) -> MutexGuard<'_, Exposures> {
        self.exposures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What partners received of a person, in whatever call or request about whichever of its ids.
#[derive(Default)]
pub(super) struct Exposures {
    by_partner: HashMap<String, Arc<Exposed>>,
    /// What of that no committed row says yet.
    unwritten: Vec<Exposure>,
}

impl Exposures {
    /// From what the store keeps, by partner; none: it is damaged.
    pub(super) fn read(kept: Vec<(String, String)>) -> Option<Self> {
        let mut by_partner: HashMap<String, Vec<String>> = HashMap::new();
        for (partner, what) in kept {
            by_partner.entry(partner).or_default().push(what);
        }
        let mut exposures = Self::default();
        for (partner, kept) in by_partner {
            let exposed = Exposed::read(kept.iter().map(String::as_str))?;
            exposures.by_partner.insert(partner, Arc::new(exposed));
        }
        Some(exposures)
    }

    pub(super) fn of(&self, partner: &str) -> Arc<Exposed> {
        self.by_partner.get(partner).cloned().unwrap_or_default()
    }

    /// See [`Consumer::expose`].
    pub(super) fn add<'l>(
        &mut self,
        consumer: i64,
        partner: &str,
        purpose: Purpose,
        seen: &Arc<Exposed>,
        labels: impl Iterator<Item = &'l Label> + Clone,
        conditions: &Conditions,
    ) -> bool {
        let stands = self.of(partner);
        if stands != *seen {
            return false;
        }
        if let Some((next, new)) = stands.with(partner, purpose, labels, conditions) {
            // One row: most consumers get all of it by their first call.
            self.unwritten.push(Exposure { consumer, partner: partner.to_owned(), what: new.join("\n") });
            self.by_partner.insert(partner.to_owned(), Arc::new(next));
        }
        true
    }

    /// See [`Consumer::unwritten`].
    pub(super) fn unwritten(&self, partner: &str) -> Vec<Exposure> {
        self.unwritten.iter().filter(|exposure| exposure.partner == partner).cloned().collect()
    }

    pub(super) fn written(&mut self, written: &[Exposure]) {
        self.unwritten.retain(|exposure| !written.contains(exposure));
    }

    /// What is in the other is in this too.
    fn join(&mut self, other: &Self) {
        for (partner, exposed) in &other.by_partner {
            let mut joined = (*self.of(partner)).clone();
            joined.join(exposed);
            self.by_partner.insert(partner.clone(), Arc::new(joined));
        }
        self.unwritten.extend(other.unwritten.iter().cloned());
    }
}

type Chosen = BTreeMap<Digest, Choices>;

impl Consumers {
    /// The person with this id, for a consumer that is brought into the memo; called while nothing changes.
    pub(super) async fn person_of(
        &self,
        store: &dyn Store,
        brand: &str,
        id: Digest,
    ) -> Result<Arc<Person>, Refusal> {
        if let Some(known) = self.person(&id) {
            return Ok(known);
        }
        let stored = stored(store, brand, &store.linked(brand, &id).await?).await?;
        let person = self.one_person(id);
        take_in(&person, &stored);
        Ok(person)
    }

    fn person(&self, id: &Digest) -> Option<Arc<Person>> {
        self.persons.lock().unwrap_or_else(PoisonError::into_inner).get(id)?.upgrade()
    }

    /// The value that something holds already, or else a fresh one.
    fn one_person(&self, id: Digest) -> Arc<Person> {
        let mut persons = self.persons.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = persons.get(&id).and_then(std::sync::Weak::upgrade) {
            return known;
        }
        if persons.len() == persons.capacity() {
            persons.retain(|_, person| person.strong_count() > 0);
        }
        let fresh = Arc::new(Person::linked(id));
        persons.insert(id, Arc::downgrade(&fresh));
        fresh
    }

    fn held(&self, subject: &Digest) -> Option<Arc<Consumer>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).get(subject)?.upgrade()
    }

    /// What each of a person's ids chose; called by who alone changes choices.
    pub(super) async fn chosen_by(
        &self,
        store: &dyn Store,
        brand: &str,
        person: Digest,
    ) -> Result<Chosen, Refusal> {
        let mut chosen = Chosen::new();
        for subject in store.linked(brand, &person).await? {
            chosen.insert(subject, read_choices(store, brand, &subject).await?);
        }
        Ok(chosen)
    }

    /// Takes in what another process changed: what somebody in memory chose, and as whom they are linked. Called by who
    /// alone changes choices. What is as it was keeps its place, so that no decision counts as stale.
    pub(super) async fn catch_up(
        &self,
        store: &dyn Store,
        brand: &str,
        subject: &Digest,
    ) -> Result<(), Refusal> {
        self.numbers.invalidate(subject);
        let Some((text, person)) = store.choices_and_person(brand, subject).await? else { return Ok(()) };
        let held = self.held(subject);
        if let Some(consumer) = &held {
            let choices = read(&text)?;
            if *consumer.choices() != choices {
                consumer.choices.store(Arc::new(choices));
            }
        }
        let Some(id) = person else { return Ok(()) };
        let is_known = held.as_ref().is_none_or(|consumer| consumer.person.load().id == Some(id));
        // Where nobody of that person is in memory, whoever comes learns of it all.
        if is_known && self.person(&id).is_none() {
            return Ok(());
        }
        let stored = stored(store, brand, &store.linked(brand, &id).await?).await?;
        let person = self.one_person(id);
        take_in(&person, &stored);
        if let Some(consumer) = &held {
            become_person(consumer, &person);
        }
        Ok(())
    }

    /// Lets nothing of a consumer go whose choices were changed elsewhere and do not read. Work under way finds all
    /// refused and nothing permitted; whoever comes next reads the store, which refuses them until the choices read
    /// again. Called by who alone changes choices.
    pub(super) fn withhold_all(&self, subject: &Digest) {
        tracing::error!("a consumer's changed choices or links are damaged; nothing of theirs flows");
        if let Some(consumer) = self.held(subject) {
            consumer.choices.store(Arc::new(all_refused()));
            self.forget(&consumer);
        }
    }

    async fn chosen(&self, store: &dyn Store, consumer: &Consumer) -> Result<(Digest, Chosen), Refusal> {
        match consumer.person.load().id {
            Some(id) => Ok((id, self.chosen_by(store, &consumer.brand, id).await?)),
            None => Ok((consumer.subject, Chosen::from([(consumer.subject, (*consumer.choices()).clone())]))),
        }
    }

    /// Writes what a linked person's ids chose, and shows it to every decision.
    pub(super) async fn put_linked(
        &self,
        store: &dyn Store,
        brand: &str,
        person: &Arc<Person>,
        chosen: Chosen,
        change: Change,
    ) -> Result<(), Refusal> {
        let choices = chosen
            .iter()
            .map(|(subject, choices)| Ok((*subject, write(choices)?)))
            .collect::<Result<Vec<_>, Refusal>>()?;
        let id = person.id.ok_or(Refusal::Internal)?;
        let record = LinkedChoices { brand: brand.to_owned(), person: id, choices, change };
        store.put_linked_choices(record).await?;
        for (subject, choices) in chosen {
            if let Some(consumer) = self.held(&subject) {
                consumer.choices.store(Arc::new(choices));
                become_person(&consumer, person);
            }
        }
        Ok(())
    }

    /// Makes both one person; durable and in effect when this returns. What the consumer chose then.
    async fn link(
        &self,
        store: &dyn Store,
        known: &Consumer,
        visitor: &Consumer,
        change: Change,
    ) -> Result<Choices, Refusal> {
        let _alone = self.changing.write().await;
        for consumer in [known, visitor] {
            self.catch_up(store, &consumer.brand, &consumer.subject).await?;
        }
        let (id, mut chosen) = self.chosen(store, known).await?;
        let (other, of_visitor) = self.chosen(store, visitor).await?;
        if id == other {
            return Ok((*known.choices()).clone());
        }
        if chosen.len() + of_visitor.len() > MAX_IDS {
            return Err(Refusal::Conflict {
                message: format!(
                    "the consumer and the visitor would have more than {MAX_IDS} ids together; link a visitor once \
                     it is known, and not each of its visits"
                ),
            });
        }
        let mut united = Choices::default();
        for choices in chosen.values().chain(of_visitor.values()) {
            united.join_refusals(choices);
        }
        let permitted = (*known.choices()).clone();
        chosen.extend(of_visitor.into_iter().map(|(subject, mut choices)| {
            choices.keep_permissions_of(&permitted);
            (subject, choices)
        }));
        for choices in chosen.values_mut() {
            choices.join_refusals(&united);
            choices.end_refused_permissions();
        }
        let subjects: Vec<Digest> = chosen.keys().copied().collect();
        let stored = stored(store, &known.brand, &subjects).await?;
        let person = self.one_person(id);
        take_in(&person, &stored);
        self.put_linked(store, &known.brand, &person, chosen, change).await?;
        Ok((*known.choices()).clone())
    }

    /// Those linked with a consumer, itself left out, as they are stored.
    pub(super) async fn linked_with(
        &self,
        store: &dyn Store,
        brand: &str,
        subject: &Digest,
    ) -> Result<Vec<ConsumerRecord>, Refusal> {
        let Some((_, Some(person))) = store.choices_and_person(brand, subject).await? else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for other in store.linked(brand, &person).await?.iter().filter(|other| *other != subject) {
            found.extend(store.consumer(brand, other).await?);
        }
        Ok(found)
    }

    /// The same, ready to be used.
    pub(super) async fn peers(
        &self,
        store: &dyn Store,
        master: &MasterKey,
        consumer: &Consumer,
    ) -> Result<Vec<Arc<Consumer>>, Refusal> {
        let mut peers = Vec::new();
        for record in self.linked_with(store, &consumer.brand, &consumer.subject).await? {
            peers.push(self.by_id(store, master, record.id).await?);
        }
        Ok(peers)
    }
}

/// What stands for choices that do not read, for who has the consumer at hand.
fn all_refused() -> Choices {
    let opt_out = OptOuts {
        all_integrations: true,
        integrations: BTreeSet::new(),
        marketing: true,
        sms: true,
        sale: true,
        cookies: true,
        location: true,
    };
    Choices { opt_out, permissions: Vec::new(), limit_pending: true, deletion_pending: true }
}

/// Whether one of these consumers engaged, and what partners received of them; as it is stored.
async fn stored(store: &dyn Store, brand: &str, subjects: &[Digest]) -> Result<(bool, Exposures), Refusal> {
    let (mut engaged, mut exposures) = (false, Exposures::default());
    for subject in subjects {
        if let Some(record) = store.consumer(brand, subject).await? {
            engaged |= record.engaged;
            exposures.join(&read_exposures(store, record.id).await?);
        }
    }
    Ok((engaged, exposures))
}

/// A consumer in memory is this person from now on.
fn become_person(consumer: &Consumer, person: &Arc<Person>) {
    let before = consumer.person.load_full();
    if !Arc::ptr_eq(&before, person) {
        // Whoever comes next to what partners received of it finds the person it is now.
        let exposures = before.exposures();
        person.exposures().join(&exposures);
        consumer.person.store(Arc::clone(person));
    }
    // In this order: see `Consumer::set_engaged`.
    if consumer.engaged() {
        person.set_engaged();
    }
}

fn take_in(person: &Person, (engaged, exposures): &(bool, Exposures)) {
    if *engaged {
        person.set_engaged();
    }
    person.exposures().join(exposures);
}

impl Gateway {
    /// Links an id that the brand used before it knew the consumer. Linking again changes nothing; links of
    /// links are links.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for an unknown brand; [`Refusal::Invalid`] where an id is empty or too long, or
    /// both are one; [`Refusal::Conflict`] where one person would have too many ids.
    pub async fn link(
        &self,
        brand: &str,
        consumer: &str,
        input: &LinkInput,
        caller: &Caller,
    ) -> Result<Choices, Refusal> {
        self.platform_brand(brand)?;
        for (what, pointer, id) in [("the path", "", consumer), ("the link", "/visitor", &*input.visitor)] {
            if id.is_empty() || id.len() > MAX_ATTRIBUTE {
                let detail = format!("a consumer's id must have 1 to {MAX_ATTRIBUTE} bytes");
                return Err(Refusal::invalid(what, pointer, detail));
            }
        }
        if input.visitor == consumer {
            let detail = "is the consumer itself; name the id that was used before the consumer was known";
            return Err(Refusal::invalid("the link", "/visitor", detail));
        }
        let known = self.consumers.ensure(&*self.store, &self.master, brand, consumer).await?;
        let visitor = self.consumers.ensure(&*self.store, &self.master, brand, &input.visitor).await?;
        let what = format!(
            "link of consumer {} with {}",
            format_uid(&known.pseudonym),
            format_uid(&visitor.pseudonym)
        );
        let change = self.change(&caller.key, what);
        self.consumers.link(&*self.store, &known, &visitor, change).await
    }
}
