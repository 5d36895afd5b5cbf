//! Linking: an id that a brand used before it knew the consumer, and the consumer, are one person.
//!
//! - What either refuses or awaits, both do, now and for whatever is chosen later: no opt-out is lost.
//! - A permission stays with the id that gave it. The visitor keeps only those that the consumer gave too; so a
//!   link loosens nothing for either, and a source may make one.
//! - Either has engaged with the brand where one has.
//! - The ledger's names for them stay two: a row is never changed. Who asks for one is shown both.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};

use gateway_policy::Choices;

use super::consumers::{Consumer, Consumers, read_choices, write};
use super::error::Refusal;
use super::event::MAX_ATTRIBUTE;
use super::gateway::Gateway;
use super::model::{Caller, LinkInput};
use crate::store::crypto::{MasterKey, format_uid};
use crate::store::{Change, ConsumerRecord, Digest, LinkedChoices, Store};

/// Ids of one person, at most: each choice is written for all of them.
const MAX_IDS: usize = 256;

/// Consumers of a brand who are one.
pub struct Person {
    /// The digest that stands for them.
    pub(super) id: Digest,
    engaged: AtomicBool,
}

impl Person {
    fn new(id: Digest) -> Self {
        Self { id, engaged: AtomicBool::new(false) }
    }

    pub(super) fn engaged(&self) -> bool {
        self.engaged.load(Ordering::SeqCst)
    }

    pub(super) fn set_engaged(&self) {
        self.engaged.store(true, Ordering::SeqCst);
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
        let mut engaged = false;
        for subject in store.linked(brand, &id).await? {
            engaged |= store.consumer(brand, &subject).await?.is_some_and(|record| record.engaged);
        }
        let person = self.one_person(id);
        if engaged {
            person.set_engaged();
        }
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
        let fresh = Arc::new(Person::new(id));
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

    async fn chosen(&self, store: &dyn Store, consumer: &Consumer) -> Result<(Digest, Chosen), Refusal> {
        match consumer.person.load_full() {
            Some(person) => Ok((person.id, self.chosen_by(store, &consumer.brand, person.id).await?)),
            None => Ok((consumer.subject, Chosen::from([(consumer.subject, (*consumer.choices()).clone())]))),
        }
    }

    /// Writes what a person's ids chose, and shows it to every decision.
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
        let record = LinkedChoices { brand: brand.to_owned(), person: person.id, choices, change };
        store.put_linked_choices(record).await?;
        for (subject, choices) in chosen {
            if let Some(consumer) = self.held(&subject) {
                consumer.choices.store(Arc::new(choices));
                // In this order: see `Consumer::set_engaged`.
                consumer.person.store(Some(Arc::clone(person)));
                if consumer.engaged() {
                    person.set_engaged();
                }
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
        let person = self.one_person(id);
        for subject in chosen.keys() {
            if store.consumer(&known.brand, subject).await?.is_some_and(|record| record.engaged) {
                person.set_engaged();
            }
        }
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
