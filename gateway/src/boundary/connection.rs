//! A connection made ready for decisions: release, grant and partner record, compiled once.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arc_swap::ArcSwap;
use gateway_policy::{Access, Flow, Label, LabelSet, Partner, Purpose, Transform};
use serde_json::Value;

use super::book::{Moment, PolicyBook};
use super::combine::Combination;
use super::declared::{Declared, Sources, return_schema};
use super::forms::{Form, Forms, Ready};
use super::from_plugin::Carried;
use super::onward::Partners;
use super::received::is_of;
use super::subject::Integration;
use super::transform::{PseudonymKey, Region};
use crate::catalogue::{Catalogue, FieldKind, FieldPath, Presence, Projection};
use crate::manifest::{self, Endpoint, Ingredient, Manifest, ReceivedField, ReturnSchema};

/// A published release, with what can be worked out from its manifest alone.
pub struct Release {
    /// SHA-256 of the component.
    pub digest: [u8; 32],
    /// As embedded.
    pub manifest: Manifest,
    /// The manifest's purpose.
    pub purpose: Purpose,
    /// Hooks, in the manifest's order; that for messages comes last.
    pub hooks: Vec<Hook>,
    /// Combinations that it declares.
    pub combinations: Vec<Combination>,
    /// Where a message names its consumer.
    pub handle: Option<FieldPath>,
}

/// What calls a hook.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// An event of this type.
    Event(Arc<str>),
    /// A decision for a slot, about an event of a type.
    Slot {
        /// The slot.
        slot: Arc<str>,
        /// The event's type.
        event: Arc<str>,
    },
    /// A message from the partner.
    Message,
}

/// One hook of a release.
pub struct Hook {
    /// What calls it.
    pub trigger: Trigger,
    /// [`Flow::Share`], [`Flow::Decide`] or [`Flow::Receive`].
    pub flow: Flow,
    /// Milliseconds that the brand waits; for decide.
    pub deadline_ms: Option<u32>,
    /// Declared fields; under [`Trigger::Message`] what a message may bring.
    pub fields: Vec<HookField>,
    /// What it may return; none: nothing.
    pub returns: Option<ReturnSchema>,
    /// Labels of what it may return, in the order of [`ReturnSchema::leaves`].
    pub return_labels: Vec<Label>,
    /// Plugins of which it reads what they returned.
    pub reads_returned_by: Box<[Arc<str>]>,
    /// The projection onto every readable field.
    pub(super) all_readable: Projection,
    /// Which fields an event has, by their index.
    pub(super) presence: Presence,
}

/// A declared field.
pub struct HookField {
    /// As declared.
    pub name: Arc<str>,
    /// None: the pseudonym.
    pub path: Option<FieldPath>,
    /// Where the value comes from.
    pub source: Source,
    /// Read or sealed; return under [`Trigger::Message`].
    pub access: Access,
    /// Withheld or absent: no call.
    pub required: bool,
    /// In the partner's words.
    pub why: String,
    /// Of the field in the catalogue; none for what another plugin returns.
    pub labels: Arc<[Label]>,
    /// What its values are; none: the pseudonym.
    pub(super) kind: Option<FieldKind>,
    /// What stands in for it as a region.
    pub(super) region: Option<Region>,
}

impl HookField {
    /// Where in an event that is which stands in for the field as a region; none: nothing does.
    pub fn region(&self) -> Option<FieldPath> {
        self.region.as_ref()?.beside_of(self.path.as_ref()?)
    }
}

/// Where the value of a declared field comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The event, or the gateway.
    FirstParty,
    /// What the plugin received from its partner: its labels are those that it was stored with.
    Received,
    /// What another plugin of the brand returned: its labels are those that it was returned with.
    Returned,
}

/// A release whose manifest no longer fits this gateway.
#[derive(Debug, thiserror::Error)]
#[error("release of {plugin}: {problem}")]
pub struct ReleaseError {
    plugin: String,
    problem: String,
}

impl Release {
    /// Its slots, each with the type of the events that it is asked about.
    pub fn slots(&self) -> impl Iterator<Item = (&str, &str)> {
        self.hooks.iter().filter_map(|hook| Some((&**hook.slot()?, hook.event())))
    }

    /// Works out hooks, labels and schemas.
    ///
    /// # Errors
    /// [`ReleaseError`] where the catalogue does not know what the manifest names.
    pub fn new(digest: [u8; 32], manifest: Manifest, catalogue: &Catalogue) -> Result<Self, ReleaseError> {
        let plugin = manifest.plugin.name.clone();
        let wrong = |problem: String| ReleaseError { plugin: plugin.clone(), problem };
        let purpose = Purpose::parse(&manifest.plugin.purpose).map_err(|error| wrong(error.to_string()))?;
        let partner: Arc<str> = manifest.plugin.partner.as_str().into();
        let message = match manifest.receive.first() {
            None => None,
            Some(hook) => Some(Hook::receive(hook.returns.as_ref(), &partner).map_err(wrong)?),
        };
        let handle = match manifest.receive.first() {
            None => None,
            Some(hook) => Some(FieldPath::parse(&hook.consumer).map_err(|error| wrong(error.to_string()))?),
        };
        let sources = Sources { catalogue, received: message.as_ref().map_or(&[], |hook| &hook.fields) };
        let mut combinations = Vec::new();
        for combine in &manifest.combine {
            let of = combine.of.iter().map(|text| Ingredient::parse(text)).collect::<Result<_, _>>();
            combinations.push(Combination { of: of.map_err(wrong)?, into: combine.into.clone() });
        }
        let mut hooks = Vec::new();
        for hook in &manifest.share {
            hooks.push(
                Hook::new(
                    Trigger::Event(hook.event.as_str().into()),
                    Flow::Share,
                    &hook.event,
                    &hook.receives,
                    hook.returns.as_ref(),
                    &partner,
                    sources,
                )
                .map_err(wrong)?,
            );
        }
        for hook in &manifest.decide {
            let mut decide = Hook::new(
                Trigger::Slot { slot: hook.slot.as_str().into(), event: hook.event.as_str().into() },
                Flow::Decide,
                &hook.event,
                &hook.receives,
                Some(&hook.returns),
                &partner,
                sources,
            )
            .map_err(wrong)?;
            decide.deadline_ms = Some(hook.deadline_ms);
            hooks.push(decide);
        }
        hooks.extend(message);
        Ok(Self { digest, manifest, purpose, hooks, combinations, handle })
    }

    /// The endpoint with this name.
    pub fn endpoint(&self, name: &str) -> Option<&Endpoint> {
        self.manifest.endpoint.iter().find(|endpoint| endpoint.name == name)
    }
}

impl Hook {
    /// Whether its plugin may place this field and not read it.
    pub fn is_sealed(&self, field: &str) -> bool {
        self.fields.iter().any(|known| *known.name == *field && known.access == Access::Sealed)
    }

    fn new(
        trigger: Trigger,
        flow: Flow,
        event: &str,
        receives: &[ReceivedField],
        returns: Option<&manifest::SchemaSource>,
        partner: &Arc<str>,
        sources: Sources<'_>,
    ) -> Result<Self, String> {
        let kind = sources
            .catalogue
            .event_type(event)
            .ok_or_else(|| format!("event type {event} is not in the catalogue"))?;
        let mut fields = Vec::with_capacity(receives.len());
        for declared in receives {
            let Declared { source, path, labels, of } = sources.find(&declared.field, kind)?;
            fields.push(HookField {
                name: declared.field.as_str().into(),
                path,
                source,
                access: match declared.access {
                    manifest::Access::Read => Access::Read,
                    manifest::Access::Sealed => Access::Sealed,
                },
                required: declared.required,
                why: declared.why.clone(),
                labels,
                kind: of.map(|field| field.kind),
                region: of.and_then(|field| Region::beside(field, kind)),
            });
        }
        let (returns, return_labels) = return_schema(returns, partner)?;
        let all_readable = Projection::new(
            fields
                .iter()
                .filter(|field| field.access == Access::Read)
                .filter_map(|field| field.path.as_ref()),
        );
        let presence = Presence::new(
            fields.iter().enumerate().filter_map(|(index, field)| Some((index, field.path.as_ref()?))),
        );
        let returned_by: BTreeSet<&str> =
            receives.iter().filter_map(|declared| Some(manifest::returned_by(&declared.field)?.0)).collect();
        let reads_returned_by = returned_by.into_iter().map(Arc::from).collect();
        Ok(Self {
            trigger,
            flow,
            deadline_ms: None,
            fields,
            returns,
            return_labels,
            reads_returned_by,
            all_readable,
            presence,
        })
    }

    /// The hook for messages: each leaf of its schema is a field that a message may bring.
    fn receive(returns: Option<&manifest::SchemaSource>, partner: &Arc<str>) -> Result<Self, String> {
        let (returns, return_labels) = return_schema(returns, partner)?;
        let leaves = returns.iter().flat_map(|schema| schema.leaves()).zip(&return_labels);
        let fields: Vec<HookField> = leaves
            .map(|((path, _), label)| HookField {
                name: path.as_str().into(),
                path: Some(path.clone()),
                source: Source::Received,
                access: Access::Return,
                required: false,
                why: String::new(),
                labels: [label.clone()].into(),
                kind: None,
                region: None,
            })
            .collect();
        Ok(Self {
            trigger: Trigger::Message,
            flow: Flow::Receive,
            deadline_ms: None,
            fields,
            returns,
            return_labels,
            reads_returned_by: Box::default(),
            all_readable: Projection::new([]),
            presence: Presence::new([]),
        })
    }

    /// The type of the events that it is about; `message` for the hook that has none.
    pub fn event(&self) -> &str {
        match &self.trigger {
            Trigger::Event(event) | Trigger::Slot { event, .. } => event,
            Trigger::Message => MESSAGE,
        }
    }

    /// The slot for which it decides.
    pub fn slot(&self) -> Option<&Arc<str>> {
        match &self.trigger {
            Trigger::Slot { slot, .. } => Some(slot),
            Trigger::Event(_) | Trigger::Message => None,
        }
    }

    /// Whether a field of it comes from what the plugin received.
    pub(super) fn reads_received(&self) -> bool {
        self.flow != Flow::Receive && self.fields.iter().any(|field| field.source == Source::Received)
    }
}

/// What the ledger calls a partner's message.
pub const MESSAGE: &str = "message";

/// What a brand agreed to: for each hook, by [`grant_key`], the declared fields, and the form of those that do
/// not go as they are.
#[derive(Clone, Debug, Default)]
pub struct Grant {
    fields: HashMap<String, HashSet<String>>,
    forms: HashMap<String, HashMap<String, Transform>>,
    pseudonyms: Option<PseudonymKey>,
}

impl Grant {
    /// With the key of the pseudonyms that this brand has for this partner; without one there are none.
    pub fn with_pseudonyms(key: PseudonymKey) -> Self {
        Self { pseudonyms: Some(key), ..Self::default() }
    }

    /// Grants a field of a hook, in this form where there is one. Of two grants of one field the one with a
    /// form stands.
    pub fn add(&mut self, hook: &str, field: &str, form: Option<Transform>) {
        self.fields.entry(hook.to_owned()).or_default().insert(field.to_owned());
        if let Some(form) = form {
            self.forms.entry(hook.to_owned()).or_default().entry(field.to_owned()).or_insert(form);
        }
    }

    /// The granted fields of a hook.
    pub fn get(&self, hook: &str) -> Option<&HashSet<String>> {
        self.fields.get(hook)
    }

    /// The form in which a granted field goes; none: as it is.
    pub fn form(&self, hook: &str, field: &str) -> Option<Transform> {
        self.forms.get(hook)?.get(field).copied()
    }
}

/// Everything as it is.
impl FromIterator<(String, HashSet<String>)> for Grant {
    fn from_iter<I: IntoIterator<Item = (String, HashSet<String>)>>(fields: I) -> Self {
        Self { fields: fields.into_iter().collect(), ..Self::default() }
    }
}

/// The key of a hook in a grant: `share chat.ended`, `decide chat-button`.
pub fn grant_key(trigger: &Trigger) -> String {
    match trigger {
        Trigger::Event(event) => format!("share {event}"),
        Trigger::Slot { slot, .. } => format!("decide {slot}"),
        Trigger::Message => "receive".to_owned(),
    }
}

/// The key of a combination in a grant: `combine /offer`.
pub fn combine_key(combination: &Combination) -> String {
    format!("combine {}", combination.into)
}

/// A plugin switched on by a brand. An edit makes a new one; a decision reads the newest.
pub struct Connection {
    /// The brand.
    pub brand: Arc<str>,
    /// The plugin.
    pub plugin: Arc<str>,
    /// What runs.
    pub release: Arc<Release>,
    /// The partner's record as it stands.
    pub partner: Arc<Partner>,
    /// For each hook of the release, for each of its fields: whether it is granted.
    pub(super) granted: Vec<Vec<bool>>,
    /// For each hook of the release, its fields in their forms.
    forms: Vec<Forms>,
    /// Of this brand and the partner.
    pub(super) pseudonyms: Option<PseudonymKey>,
    /// Combinations that the brand granted, each with all that it is of.
    pub(super) combinations: Vec<Combination>,
    /// Labels that may come with what other plugins of the brand return to it, as the brand's connections stand.
    /// For each version of the policy; empty where there are none.
    pub(super) derivable: ArcSwap<Vec<LabelSet>>,
    /// Whether there may be more of them: a plugin that it reads from cannot be used now.
    pub(super) derivable_unknown: AtomicBool,
    /// Of all partners.
    pub(super) partners: ArcSwap<Partners>,
    /// Slots that the brand marks promotional.
    pub promotional: HashSet<String>,
    /// Valid against the plugin's settings schema.
    pub settings: Value,
    /// The same as JSON text.
    pub settings_text: Arc<str>,
}

impl Connection {
    /// Puts a connection together.
    pub fn new(
        book: &PolicyBook,
        brand: Arc<str>,
        release: Arc<Release>,
        partner: Arc<Partner>,
        grant: &Grant,
        promotional: HashSet<String>,
        settings: Value,
    ) -> Self {
        let granted = release
            .hooks
            .iter()
            .map(|hook| {
                let fields = grant.get(&grant_key(&hook.trigger));
                hook.fields.iter().map(|field| fields.is_some_and(|set| set.contains(&*field.name))).collect()
            })
            .collect();
        let forms = release
            .hooks
            .iter()
            .map(|hook| {
                let key = grant_key(&hook.trigger);
                Forms::of(book, hook, release.purpose, &partner, |field| grant.form(&key, &field.name))
            })
            .collect();
        let combinations = release
            .combinations
            .iter()
            .filter(|combination| {
                let granted = grant.get(&combine_key(combination));
                granted.is_some_and(|set| combination.of.iter().all(|part| set.contains(&part.text)))
            })
            .cloned()
            .collect();
        Self {
            combinations,
            derivable: ArcSwap::default(),
            derivable_unknown: AtomicBool::default(),
            partners: ArcSwap::default(),
            forms,
            pseudonyms: grant.pseudonyms.clone(),
            brand,
            plugin: release.manifest.plugin.name.as_str().into(),
            release,
            partner,
            granted,
            promotional,
            settings_text: settings.to_string().into(),
            settings,
        }
    }

    /// The hook for an event type, by index into the release's hooks.
    pub fn share_hook(&self, event: &str) -> Option<usize> {
        self.release.hooks.iter().position(|hook| matches!(&hook.trigger, Trigger::Event(e) if **e == *event))
    }

    /// The hook for a slot, by index into the release's hooks.
    pub fn decide_hook(&self, slot: &str) -> Option<usize> {
        self.release
            .hooks
            .iter()
            .position(|hook| matches!(&hook.trigger, Trigger::Slot { slot: s, .. } if **s == *slot))
    }

    /// Combinations that the brand granted.
    pub fn granted_combinations(&self) -> impl Iterator<Item = &Combination> {
        self.combinations.iter()
    }

    /// The hook for the partner's messages, by index into the release's hooks.
    pub fn receive_hook(&self) -> Option<usize> {
        self.release.hooks.iter().position(|hook| hook.trigger == Trigger::Message)
    }

    /// Whether the brand marks the hook's slot promotional.
    pub fn is_promotional(&self, hook: &Hook) -> bool {
        hook.slot().is_some_and(|slot| self.promotional.contains(&**slot))
    }

    /// What a decision about a call of `hook` knows of the integration; whoever holds a connection holds one
    /// that is on.
    pub(super) fn integration(&self, hook: &Hook) -> Integration<'_> {
        Integration {
            plugin: &self.plugin,
            purpose: self.release.purpose,
            partner: &self.partner,
            switched_on: true,
            promotional: self.is_promotional(hook),
            by_sms: false,
        }
    }

    /// Whether the brand grants a field of a hook.
    pub fn grants(&self, hook: usize, field: usize) -> bool {
        self.granted.get(hook).and_then(|fields| fields.get(field)).copied().unwrap_or(false)
    }

    /// Whether fields that the brand grants now could give all of these labels, in the forms and by the version that are
    /// in force at this moment; what the partner gave by itself needs no grant.
    pub(super) fn grants_labels<'l>(
        &self,
        labels: impl IntoIterator<Item = &'l Label>,
        moment: Moment,
    ) -> bool {
        let derivable = self.derivable.load();
        let derivable = moment.current.and_then(|version| derivable.get(version));
        let now = Moment::under(moment.current);
        labels.into_iter().all(|label| {
            is_of(label, &self.partner.name)
                || derivable.is_some_and(|known| known.iter().any(|known| known == label))
                || self.release.hooks.iter().enumerate().any(|(index, hook)| {
                    (0..hook.fields.len())
                        .any(|at| self.grants(index, at) && self.labels_at(index, at, now).contains(label))
                })
        })
    }

    /// How the fields of a hook go, by the versions of the policy that count.
    pub(super) fn ready(&self, hook: usize, moment: Moment) -> Option<&Ready> {
        Some(self.forms.get(hook)?.at(moment))
    }

    pub(super) fn forms(&self, hook: usize, moment: Moment) -> Arc<[Form]> {
        self.ready(hook, moment).map_or_else(|| [].into(), |ready| Arc::clone(&ready.fields))
    }

    fn form(&self, hook: usize, field: usize, moment: Moment) -> Option<&Form> {
        self.ready(hook, moment)?.fields.get(field)
    }

    /// The labels that what leaves of a field of a hook may have, whichever versions of the policy count.
    pub fn labels(&self, hook: usize, field: usize) -> impl Iterator<Item = &Label> {
        self.forms.get(hook).into_iter().flat_map(move |forms| forms.labels(field))
    }

    /// The labels of what leaves of a field of a hook.
    pub fn labels_at(&self, hook: usize, field: usize, moment: Moment) -> &[Label] {
        self.form(hook, field, moment).map(|form| &*form.labels).unwrap_or_default()
    }

    /// The form in which a field of a hook goes; none: as it is.
    pub fn transform(&self, hook: usize, field: usize) -> Option<Transform> {
        // Only the labels are a matter of the policy's versions.
        self.forms.get(hook)?.transform(field)
    }

    /// Whether the brand grants, for this flow and event type, a field of this name in the form in which it
    /// was planned: as it is now, or coarser than that.
    pub fn grants_named(&self, flow: Flow, event: &str, name: &str, planned: Option<Transform>) -> bool {
        self.named(flow, event, name).any(|(index, at, _)| {
            let now = self.transform(index, at);
            self.grants(index, at) && (now.is_none() || now == planned)
        })
    }

    /// Whether what was planned with the label of a declassification may still leave with it: every version of
    /// the policy that counts now has that rule.
    pub(super) fn keeps_label(
        &self,
        book: &PolicyBook,
        (flow, event): (Flow, &str),
        planned: &Carried,
        moment: Moment,
    ) -> bool {
        let Carried { field, labels, form, declassified, .. } = planned;
        let form = Form { transform: *form, labels: labels.clone(), declassified: declassified.clone() };
        declassified.is_none()
            || self.named(flow, event, field).any(|(_, _, field)| form.holds(field, book, moment))
    }

    /// Fields of this name, by the index of their hook and their own.
    fn named<'c>(
        &'c self,
        flow: Flow,
        event: &'c str,
        name: &'c str,
    ) -> impl Iterator<Item = (usize, usize, &'c HookField)> {
        let hooks = self.release.hooks.iter().enumerate();
        let hooks = hooks.filter(move |(_, hook)| hook.flow == flow && hook.event() == event);
        hooks.flat_map(move |(index, hook)| {
            let fields = hook.fields.iter().enumerate().filter(move |(_, field)| *field.name == *name);
            fields.map(move |(at, field)| (index, at, field))
        })
    }
}
