//! What one plugin returned as another's input (clause integrations.onward): with the labels of all that it derives
//! from, and never past a choice that holds for the plugin it came by.
//!
//! A partner's data reaches another partner only by a rule. What a service provider's plugin makes of first-party
//! data alone is no partner's data: it was made on the brand's behalf (clause share.brand), and goes on as the
//! policy says of what it was made from.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gateway_policy::{
    Access, Category, Conditions, Facts, Flow, Label, LabelSet, Origin, Partner, Reason, Recipient, Verdict,
};
use serde_json::{Map, Value};

use super::book::{Moment, PolicyBook, Question};
use super::connection::{Connection, Hook, Release, Source, grant_key};
use super::from_plugin::Returned;
use super::received::Received;
use super::subject::{Integration, Subject, base_facts};
use super::toward_plugin::Rests;
use crate::manifest;

/// What another plugin of the brand returned of the consumer.
#[derive(Clone, Copy)]
pub struct Onward<'a> {
    /// The plugin's connection, as it stands.
    pub from: &'a Connection,
    /// What it returned last.
    pub returned: &'a Received,
    /// The releases that returned it, by digest.
    pub releases: &'a BTreeMap<[u8; 32], Arc<Release>>,
}

/// Who returned a field that waits to go on, as things stand.
#[derive(Clone, Copy)]
pub struct Returner<'a> {
    /// The plugin's connection.
    pub from: &'a Connection,
    /// The release that returned it; none: it is blocked, or cannot be used now.
    pub release: Option<&'a Release>,
}

impl Returner<'_> {
    /// The verdict on the brand's own use of a leaf of it (clause integrations.onward).
    pub(super) fn verdict<'l>(
        self,
        book: &PolicyBook,
        leaf: &str,
        labels: impl IntoIterator<Item = &'l Label>,
        subject: Subject<'_>,
        moment: Moment,
    ) -> Verdict {
        let Some(release) = self.release else { return Verdict::withhold(Reason::MissingFact) };
        if !self.from.release.returns(leaf) {
            // The release that is on now returns no such thing.
            return Verdict::withhold(Reason::Undeclared);
        }
        let (purpose, partner) = (release.purpose, &*self.from.partner);
        let question = Question { flow: Flow::Return, purpose, partner, to_brand: true };
        let facts = base_facts(subject, self.from.integration_of_leaf(release, leaf));
        let decided = book.decide_all(&question, labels, facts, moment);
        decided.map_or(Verdict::withhold(Reason::Undeclared), |(_, verdict)| verdict)
    }
}

impl Received {
    /// What a call of a release returned, as another plugin gets it.
    pub fn from_returned(returned: Returned, release: [u8; 32]) -> Self {
        let Returned { value, fields, conditions, on_behalf } = returned;
        // Where nothing says for how long it counts as the brand's, it does not.
        let on_behalf = on_behalf && !conditions.on_behalf.is_empty();
        let label = |label: Label| match &label.origin {
            // Of what was made on the brand's behalf only its own label is the partner's.
            Origin::Partner(_) if on_behalf => Label::first_party(label.category),
            _ => label,
        };
        let labels = fields.into_iter().map(|field| {
            (field.field.to_string(), field.labels.iter().cloned().map(label).collect::<LabelSet>())
        });
        let labels: BTreeMap<String, LabelSet> = labels.collect();
        let releases = labels.keys().map(|leaf| (leaf.clone(), release)).collect();
        Self { value, labels, taken_ms: Default::default(), conditions, releases }
    }
}

impl Release {
    /// Each leaf that a hook returns to the brand, with its label.
    fn leaves(&self) -> impl Iterator<Item = (&Hook, &str, &Label)> {
        let hooks = self.hooks.iter().filter(|hook| hook.flow != Flow::Receive);
        hooks.flat_map(|hook| {
            let leaves = hook.returns.iter().flat_map(|schema| schema.leaves()).zip(&hook.return_labels);
            leaves.map(move |((path, _), label)| (hook, path.as_str(), label))
        })
    }

    /// The leaves that it returns to the brand.
    pub fn returned_leaves(&self) -> impl Iterator<Item = &str> {
        self.leaves().map(|(_, leaf, _)| leaf)
    }

    /// Whether it returns a leaf to the brand.
    pub fn returns(&self, leaf: &str) -> bool {
        self.returned_leaves().any(|known| known == leaf)
    }

    /// The slots for which it returns a leaf.
    pub fn slots_of<'r>(&'r self, leaf: &'r str) -> impl Iterator<Item = &'r str> {
        let hooks = self.leaves().filter(move |(_, known, _)| *known == leaf);
        hooks.filter_map(|(hook, _, _)| hook.slot().map(|slot| &**slot))
    }
}

/// Partners' records as they stand, by name.
pub type Partners = BTreeMap<String, Arc<Partner>>;

impl Connection {
    /// The labels that hooks give a leaf of what they return; empty: none of them returns it.
    fn labels_of_leaf<'c>(&'c self, leaf: &'c str) -> impl Iterator<Item = (&'c Hook, &'c Label)> {
        let leaves = self.release.leaves().filter(move |(_, known, _)| *known == leaf);
        leaves.map(|(hook, _, label)| (hook, label))
    }

    /// Whether the partner is a service provider for all of these, by its contracts as they stand.
    pub(super) fn serves<'l>(&self, mut labels: impl Iterator<Item = &'l Label>, now_ms: i64) -> bool {
        let standing = |label: &Label| self.partner.standing(self.release.purpose, label.category, now_ms);
        labels.all(|label| standing(label).recipient == Recipient::ServiceProvider)
    }

    /// What its partner may answer to a call that asks.
    pub(super) fn answers(&self) -> impl Iterator<Item = Way> {
        self.release.manifest.endpoint.iter().filter_map(|endpoint| {
            let category = Category::parse(endpoint.reply.as_deref()?).ok()?;
            let label = Label { category, origin: Origin::Partner(Arc::from(self.partner.name.as_str())) };
            let text = format!("{} answers of {} ({label})", self.plugin, endpoint.name);
            Some(Way { label, text })
        })
    }

    /// Notes the records of all partners: who made something on the brand's behalf may be any of them.
    pub fn note_partners(&self, partners: &Arc<Partners>) {
        self.partners.store(Arc::clone(partners));
    }

    /// [`PolicyBook::besides`], by the partners' contracts as they stand.
    pub(super) fn besides(&self, book: &PolicyBook, conditions: &Conditions, moment: Moment) -> LabelSet {
        let partners = self.partners.load();
        book.besides(conditions, |name| partners.get(name).map(|record| &**record), moment)
    }

    /// Whether what was returned for a slot counts as promotional: as the brand marks it now, or because the plugin
    /// does not fill it any more, so that nothing says what it is.
    pub fn may_be_promotional(&self, slot: &str) -> bool {
        self.promotional.contains(slot) || self.decide_hook(slot).is_none()
    }

    /// What a decision about the brand's use of a leaf that a release returned knows of the integration.
    fn integration_of_leaf(&self, release: &Release, leaf: &str) -> Integration<'_> {
        Integration {
            plugin: &self.plugin,
            purpose: release.purpose,
            partner: &self.partner,
            switched_on: true,
            promotional: release.slots_of(leaf).any(|slot| self.may_be_promotional(slot)),
            by_sms: false,
        }
    }
}

/// Puts what was returned under [`manifest::RETURNED`], by plugin: a name that no event type has.
pub(super) fn insert(data: &mut Map<String, Value>, onward: &[Onward<'_>]) {
    let by_plugin: Map<String, Value> =
        onward.iter().map(|one| (one.from.plugin.to_string(), one.returned.value.clone())).collect();
    if by_plugin.is_empty() {
        return;
    }
    data.insert(manifest::RETURNED.trim_start_matches('/').to_owned(), Value::Object(by_plugin));
}

/// The releases that returned what a hook is given of other plugins, by field.
pub(super) fn releases(hook: &Hook, onward: &[Onward<'_>]) -> BTreeMap<Arc<str>, [u8; 32]> {
    let of = |one: &Onward<'_>| {
        let fields = hook.fields.iter().filter_map(|field| {
            let (plugin, leaf) = manifest::returned_by(&field.name)?;
            let release = one.returned.releases.get(leaf).filter(|_| *plugin == *one.from.plugin)?;
            Some((Arc::clone(&field.name), *release))
        });
        fields.collect::<Vec<_>>()
    };
    onward.iter().flat_map(of).collect()
}

/// A call, as far as what it reads of other plugins is decided about.
pub(super) struct Reader<'a> {
    pub(super) book: &'a PolicyBook,
    pub(super) connection: &'a Connection,
    pub(super) hook_index: usize,
    pub(super) hook: &'a Hook,
    pub(super) subject: Subject<'a>,
    pub(super) moment: Moment,
}

impl Reader<'_> {
    /// Decides about the fields that another plugin returned: by the labels that they were returned with, under
    /// the stricter of what held for them and what holds for the event, and only where the brand itself may use
    /// them still. What then holds for the call, where any of them may go.
    pub(super) fn judge<'o>(
        &self,
        one: Onward<'o>,
        decided: &mut [Option<(Recipient, Verdict)>],
        labels: &mut [Arc<[Label]>],
        rests: &mut [Rests<'o>],
    ) -> Option<Conditions> {
        let Self { connection, hook, subject, moment, .. } = self;
        let mut conditions = subject.conditions.clone();
        conditions.join(&one.returned.conditions);
        conditions.through.insert(one.from.plugin.to_string());
        let subject = Subject { conditions: &conditions, ..*subject };
        let facts = base_facts(subject, connection.integration(hook));
        let question = Question {
            flow: hook.flow,
            purpose: connection.release.purpose,
            partner: &connection.partner,
            to_brand: false,
        };
        let besides = connection.besides(self.book, &one.returned.conditions, *moment);
        let mut any = false;
        let fields = hook.fields.iter().zip(decided).zip(labels).zip(rests);
        for (at, (((field, decided), labels), rests)) in fields.enumerate() {
            let of = manifest::returned_by(&field.name).filter(|(from, _)| *from == &*one.from.plugin);
            let Some((_, leaf)) = of else { continue };
            if !one.from.release.returns(leaf) {
                // The release that is on now returns no such thing.
                *decided = None;
            }
            let Some((stands, verdict)) = decided.as_mut() else { continue };
            // A value whose labels are lost has no origin (clause collect.sources).
            let Some(stored) = one.returned.labels.get(leaf).filter(|stored| !stored.is_empty()) else {
                *verdict = Verdict::withhold(Reason::Undeclared);
                continue;
            };
            let mut all = stored.clone();
            all.join(&besides);
            // The brand's use of it is that for which it was returned.
            let release = one.returned.releases.get(leaf).and_then(|digest| one.releases.get(digest));
            let returner = Returner { from: one.from, release: release.map(|release| &**release) };
            let moment = self.book.also(*moment, &conditions);
            let kept = returner.verdict(self.book, leaf, all.iter(), subject, moment);
            let decided = self.book.decide_all(&question, all.iter(), facts, moment);
            let (to, onward) =
                decided.unwrap_or((Recipient::ThirdParty, Verdict::withhold(Reason::Undeclared)));
            let judged = onward.strictest(kept);
            *rests = Rests {
                facts,
                within: Some(&one.returned.conditions),
                elsewhere: onward.allows() && !kept.allows(),
            };
            (*stands, *verdict) = match connection.grants(self.hook_index, at) {
                true => (to, judged),
                false => (to, Verdict::withhold(Reason::NotGranted)),
            };
            any |= verdict.allows();
            *labels = all.iter().cloned().collect();
        }
        any.then_some(conditions)
    }
}

/// A label that a value may have, and how it gets there.
pub(super) struct Way {
    pub(super) label: Label,
    /// `PLUGIN HOOK FIELD (LABEL)`, after the fields by which it came.
    pub(super) text: String,
}

/// The labels that a returned field may have.
struct Came {
    /// Of what it may be made of.
    made_of: Vec<Way>,
    /// One of these is its own.
    own: Vec<Way>,
}

/// All connections of a brand, under the facts that allow most.
#[derive(Clone, Copy)]
pub(super) struct Brand<'a> {
    pub(super) book: &'a PolicyBook,
    pub(super) connections: &'a [&'a Connection],
    pub(super) facts: Facts,
    pub(super) moment: Moment,
}

impl<'a> Brand<'a> {
    fn connection(&self, plugin: &str) -> Option<&'a Connection> {
        self.connections.iter().copied().find(|connection| *connection.plugin == *plugin)
    }

    /// How labels reach what plugins return, as far as it matters for what goes to a partner.
    pub(super) fn ways(self, toward: &'a str) -> Ways<'a> {
        let mut ways = Ways { brand: self, made_of: BTreeMap::new() };
        for from in self.connections.iter().filter(|from| *from.partner.name == *toward) {
            // Any call may ask the partner; to whom else the answer may not go, it need not be looked at.
            for Way { label, text } in from.answers() {
                for hook in 0..from.release.hooks.len() {
                    ways.add((&from.plugin, hook), Way { label: label.clone(), text: text.clone() });
                }
            }
        }
        // Labels are finite and only added, so this ends.
        while self.connections.iter().any(|from| ways.pass_on(from)) {}
        ways
    }
}

/// A hook of one of the brand's plugins.
type HookOf<'a> = (&'a str, usize);

/// Which labels what a hook returns may be made of, each with one way by which it gets there.
pub(super) struct Ways<'a> {
    brand: Brand<'a>,
    made_of: BTreeMap<HookOf<'a>, BTreeMap<Label, String>>,
}

impl<'a> Ways<'a> {
    fn add(&mut self, hook: HookOf<'a>, way: Way) -> bool {
        match self.made_of.entry(hook).or_default().entry(way.label) {
            Entry::Occupied(_) => false,
            Entry::Vacant(free) => {
                free.insert(way.text);
                true
            }
        }
    }

    /// Adds what a plugin's inputs give its hooks; whether there was anything new.
    fn pass_on(&mut self, from: &'a Connection) -> bool {
        let asks = from.release.manifest.endpoint.iter().any(|endpoint| endpoint.reply.is_some());
        let mut more = false;
        for (index, hook) in from.release.hooks.iter().enumerate() {
            for (at, field) in hook.fields.iter().enumerate() {
                // What is placed in a question comes back with the answer.
                if field.access == Access::Read || asks {
                    for way in self.inputs(from, index, at) {
                        more |= self.add((&from.plugin, index), way);
                    }
                }
            }
        }
        more
    }

    /// What reaches a plugin's partner by a field that the brand grants it. A sealed one meets what else is in the
    /// request where it is placed, and that it can be.
    pub(super) fn inputs(&self, connection: &Connection, hook_index: usize, at: usize) -> Vec<Way> {
        let Some(hook) = connection.release.hooks.get(hook_index) else { return Vec::new() };
        let Some(field) = hook.fields.get(at) else { return Vec::new() };
        if !connection.grants(hook_index, at) {
            return Vec::new();
        }
        let question = Question {
            flow: hook.flow,
            purpose: connection.release.purpose,
            partner: &connection.partner,
            to_brand: false,
        };
        let Brand { book, facts, moment, .. } = self.brand;
        let may = |label: &Label| book.decide(&question, label, facts, moment).1.allows();
        let here = format!("{} `{}` {}", connection.plugin, grant_key(&hook.trigger), field.name);
        if field.source == Source::Returned {
            let Came { made_of, mut own } = self.of_returned(&field.name);
            own.retain(|way| may(&way.label));
            // Of what it is made of anything may be missing in a call; its own label never is.
            if own.is_empty() {
                return Vec::new();
            }
            let made_of = made_of.into_iter().filter(|way| may(&way.label));
            let from = |Way { label, text }| Way { label, text: format!("{here} from {text}") };
            return made_of.chain(own).map(from).collect();
        }
        let labels = connection.labels_at(hook_index, at, moment).iter().filter(|label| may(label));
        labels.map(|label| Way { label: label.clone(), text: format!("{here} ({label})") }).collect()
    }

    /// The labels that a field under [`manifest::RETURNED`] may have.
    fn of_returned(&self, field: &str) -> Came {
        let (mut made_of, mut own) = (Vec::new(), Vec::new());
        let Some((plugin, leaf)) = manifest::returned_by(field) else { return Came { made_of, own } };
        let Some(from) = self.brand.connection(plugin) else { return Came { made_of, own } };
        for (index, hook) in from.release.hooks.iter().enumerate() {
            let label = from.labels_of_leaf(leaf).find(|(of, _)| std::ptr::eq(*of, hook));
            let Some((_, label)) = label else { continue };
            // The partner's, or the brand's where it was made on its behalf.
            let brands = from.serves(std::iter::once(label), self.brand.moment.now_ms);
            let brands = brands.then(|| Label::first_party(label.category));
            own.extend(brands.into_iter().chain([label.clone()]).map(|label| Way {
                text: format!("{plugin} `{}` {leaf} ({label})", grant_key(&hook.trigger)),
                label,
            }));
            let ways = self.made_of.get(&(plugin, index)).into_iter().flatten();
            made_of.extend(ways.map(|(label, text)| Way { label: label.clone(), text: text.clone() }));
        }
        Came { made_of, own }
    }
}

/// The labels that a field may have that another plugin returns, as the brand's connections stand; empty for any
/// other field, and where that plugin is not on.
pub fn labels_of_returned(
    book: &PolicyBook,
    connection: &Connection,
    connections: &[&Connection],
    field: &str,
    moment: Moment,
) -> LabelSet {
    if manifest::returned_by(field).is_none() {
        return LabelSet::default();
    }
    let brand = Brand { book, connections, facts: super::combine::most(), moment };
    let Came { made_of, own } = brand.ways(&connection.partner.name).of_returned(field);
    made_of.into_iter().chain(own).map(|way| way.label).collect()
}

/// The category that a plugin of the brand gives a field that it returns to others; none: it is no such field, or
/// there is none that returns it.
pub fn returned_category(connections: &[&Connection], field: &str) -> Option<Category> {
    let (plugin, leaf) = manifest::returned_by(field)?;
    let from = connections.iter().find(|known| *known.plugin == *plugin)?;
    from.labels_of_leaf(leaf).next().map(|(_, label)| label.category)
}

impl Connection {
    /// Notes which labels may come with what other plugins return to it. It is asked of what it keeps: a memory, a
    /// request that waits. What a plugin that is on and cannot be used now might return is not known, and so nor is
    /// what derives from it.
    pub fn note_derivable(
        &self,
        book: &PolicyBook,
        connections: &[&Connection],
        unusable: impl Fn(&str) -> bool,
    ) {
        let mut unknown = false;
        let mut by_version = vec![LabelSet::default(); book.versions()];
        let mut seen = BTreeSet::new();
        let mut next = self.returned_inputs();
        while let Some(plugin) = next.pop() {
            if !seen.insert(Arc::clone(&plugin)) {
                continue;
            }
            let Some(from) = connections.iter().find(|known| known.plugin == plugin) else {
                unknown |= unusable(&plugin);
                continue;
            };
            for (index, hook) in from.release.hooks.iter().enumerate() {
                for (version, labels) in by_version.iter_mut().enumerate() {
                    let moment = Moment::under(Some(version));
                    let granted = (0..hook.fields.len()).filter(|at| from.grants(index, *at));
                    labels.extend(granted.flat_map(|at| from.labels_at(index, at, moment).iter().cloned()));
                    labels.extend(hook.return_labels.iter().map(|label| Label::first_party(label.category)));
                    labels.extend(hook.return_labels.iter().map(|label| from.own_label(label.category)));
                }
            }
            let answers = from.release.manifest.endpoint.iter();
            let answers = answers.filter_map(|asked| Category::parse(asked.reply.as_deref()?).ok());
            let answers: Vec<Label> = answers.map(|category| from.own_label(category)).collect();
            by_version.iter_mut().for_each(|labels| labels.extend(answers.iter().cloned()));
            next.extend(from.returned_inputs());
        }
        if seen.is_empty() {
            by_version.clear();
        }
        self.derivable.store(Arc::new(by_version));
        self.derivable_unknown.store(unknown, std::sync::atomic::Ordering::Release);
    }

    /// A label of what the partner itself gives.
    fn own_label(&self, category: Category) -> Label {
        Label { category, origin: Origin::Partner(self.partner.name.as_str().into()) }
    }

    /// Plugins of which the brand grants it what they return.
    fn returned_inputs(&self) -> Vec<Arc<str>> {
        let hooks = self.release.hooks.iter().enumerate();
        let granted = hooks.flat_map(|(index, hook)| {
            hook.fields
                .iter()
                .enumerate()
                .filter(move |(at, _)| self.grants(index, *at))
                .map(|(_, field)| field)
        });
        granted.filter_map(|field| Some(manifest::returned_by(&field.name)?.0.into())).collect()
    }

    /// Whether it reads what `plugin` returns, itself or by way of another of `connections`.
    pub fn reads_from(&self, plugin: &str, connections: &[&Connection]) -> bool {
        let mut seen = BTreeSet::new();
        let mut next = self.returned_inputs();
        while let Some(from) = next.pop() {
            if *from == *plugin {
                return true;
            }
            if let Some(known) = connections.iter().find(|known| known.plugin == from)
                && seen.insert(from)
            {
                next.extend(known.returned_inputs());
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_made_on_the_brands_behalf_is_first_party_only_where_its_contract_can_be_asked_for() {
        let made = json!({ "clerk": { "essential.service.operations.support": {
            "made": ["user.telemetry"], "of": ["user.name.first"],
        } } });
        for (on_behalf, conditions, origin) in [
            (true, json!({ "region": "US", "on_behalf": made }), "first-party"),
            // Stored before that was noted.
            (true, json!({ "region": "US" }), "partner:clerk"),
            // Of something else that was read in the call.
            (false, json!({ "region": "US", "on_behalf": made }), "partner:clerk"),
        ] {
            let labels = ["first-party:user.name.first", "partner:clerk:user.telemetry"];
            let stored = json!({
                "value": { "score": 1 },
                "fields": [{ "field": "/score", "labels": labels }],
                "conditions": conditions,
                "on_behalf": on_behalf,
            });
            let returned: Returned = serde_json::from_value(stored).unwrap();
            assert_eq!(json!(returned.conditions), conditions, "as it was stored");
            let received = Received::from_returned(returned, [7; 32]);
            let expected = [labels[0].to_owned(), format!("{origin}:user.telemetry")];
            assert_eq!(
                received.labels["/score"],
                expected.iter().map(|label| label.parse().unwrap()).collect()
            );
            assert_eq!(received.releases["/score"], [7; 32]);
        }
    }
}
