//! What came from a partner, and what a partner already received: kept between calls, with labels. It decides
//! nothing.

use std::borrow::Cow;
use std::collections::BTreeMap;

use gateway_policy::{Conditions, Label, LabelSet, Origin, Purpose};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::book::{Moment, PolicyBook};
use crate::catalogue::{FieldPath, project};

/// Bytes of JSON that a document put together of many messages or calls may have: as many as one of them may bring
/// (`MAX_RETURNS_BYTES`). One such document stays in the store and in memory for each consumer and connection.
pub const MAX_MERGED_BYTES: usize = 64 * 1024;

/// With the message, the document would have more than [`MAX_MERGED_BYTES`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the document would have more than {MAX_MERGED_BYTES} bytes with the message; the older one stays")]
pub struct TooLarge;

/// What a plugin has received of a consumer from its partner (clause integrations.receive).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Received {
    /// In the shape of the `receive` hook's schema.
    pub value: Value,
    /// Each leaf that is there, as declared, with its labels.
    pub labels: BTreeMap<String, LabelSet>,
    /// When the message was taken that brought each leaf.
    pub taken_ms: BTreeMap<String, i64>,
    /// What held when that was collected from which the partner may have made it.
    pub conditions: Conditions,
    /// Of what a plugin returned: the SHA-256 of the release that each leaf is of.
    #[serde(skip)]
    pub releases: BTreeMap<String, [u8; 32]>,
}

impl Received {
    /// The same without the leaves of such releases.
    #[must_use]
    pub fn without(&self, is_out: impl Fn(&[u8; 32]) -> bool) -> Self {
        let mut kept = self.clone();
        kept.releases.retain(|_, release| !is_out(release));
        if kept.releases.len() == self.releases.len() {
            return kept;
        }
        kept.labels.retain(|leaf, _| kept.releases.contains_key(leaf));
        kept.value = only(&kept.labels, &self.value);
        kept
    }

    /// Takes a message in: its leaves replace the ones of before, the others stay. A leaf that a later message brought
    /// stays too: messages are not always done in the order in which they came.
    ///
    /// # Errors
    /// [`TooLarge`]; then nothing of the message is taken in.
    pub fn update(&mut self, message: Self) -> Result<(), TooLarge> {
        let Self { mut value, mut labels, mut taken_ms, conditions, mut releases } = message;
        let brought = labels.len();
        labels.retain(|leaf, _| self.taken_ms.get(leaf) <= taken_ms.get(leaf));
        if labels.is_empty() {
            return Ok(());
        }
        if labels.len() < brought {
            value = only(&labels, &value);
            taken_ms.retain(|leaf, _| labels.contains_key(leaf));
            releases.retain(|leaf, _| labels.contains_key(leaf));
        }
        let mut merged = self.value.clone();
        merge(&mut merged, value);
        if serde_json::to_vec(&merged).map_or(usize::MAX, |text| text.len()) > MAX_MERGED_BYTES {
            return Err(TooLarge);
        }
        if self.labels.is_empty() {
            self.conditions = conditions;
        } else {
            self.conditions.join(&conditions);
        }
        self.value = merged;
        self.labels.extend(labels);
        self.taken_ms.extend(taken_ms);
        self.releases.extend(releases);
        Ok(())
    }
}

/// These leaves of a value.
fn only(leaves: &BTreeMap<String, LabelSet>, value: &Value) -> Value {
    let paths: Vec<FieldPath> = leaves.keys().filter_map(|leaf| FieldPath::parse(leaf).ok()).collect();
    project(&paths.iter().collect::<Vec<_>>(), value)
}

fn merge(older: &mut Value, newer: Value) {
    match (older, newer) {
        (Value::Object(older), Value::Object(newer)) => {
            for (key, value) in newer {
                merge(older.entry(key).or_insert(Value::Null), value);
            }
        }
        (older, newer) => *older = newer,
    }
}

/// What a partner already received of a consumer, in whatever call or request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exposed {
    /// Labels.
    pub labels: LabelSet,
    /// The same, by the purposes for which it received them.
    pub by_purpose: BTreeMap<Purpose, LabelSet>,
    /// What held when that was collected; none: it received nothing.
    pub conditions: Option<Conditions>,
}

/// What stands between purpose and label in the store: in neither of them.
const FOR: char = ' ';

impl Exposed {
    /// From what the store keeps, in lines: `PURPOSE LABEL`, or conditions as JSON. What does not read is a sign of
    /// damage.
    pub fn read<'w>(kept: impl Iterator<Item = &'w str>) -> Option<Self> {
        let mut exposed = Self::default();
        for what in kept.flat_map(str::lines) {
            if what.starts_with('{') {
                exposed.meet(&serde_json::from_str(what).ok()?);
            } else {
                let (purpose, label) = what.split_once(FOR)?;
                exposed.insert(Purpose::parse(purpose).ok()?, label.parse().ok()?);
            }
        }
        Some(exposed)
    }

    /// These labels of what the partner has, with those that gave way to one of them and are back
    /// ([`PolicyBook::regained`]).
    pub(super) fn also<'l>(
        &self,
        labels: &'l LabelSet,
        book: &PolicyBook,
        moment: Moment,
    ) -> Cow<'l, LabelSet> {
        let regained = self.conditions.iter().flat_map(|earlier| book.regained(earlier, moment));
        let back = regained.filter(|one| labels.contains(&one.gave_way_to())).map(|one| one.from.clone());
        let mut all = Cow::Borrowed(labels);
        back.for_each(|label| all.to_mut().insert(label));
        all
    }

    /// With what the partner receives by these labels, for this purpose, collected under these conditions; and
    /// what of it is new, in lines as the store keeps it. None: nothing is. What a partner sent itself is nothing that
    /// it receives.
    pub fn with<'l>(
        &self,
        partner: &str,
        purpose: Purpose,
        labels: impl Iterator<Item = &'l Label> + Clone,
        conditions: &Conditions,
    ) -> Option<(Self, Vec<String>)> {
        let known = self.by_purpose.get(&purpose);
        let is_new = |label: &&Label| !is_of(label, partner) && !known.is_some_and(|all| all.contains(label));
        let has_new = labels.clone().any(|label| is_new(&label));
        let tightens = match &self.conditions {
            None => has_new,
            Some(known) if known.includes(conditions) => false,
            Some(known) => {
                let mut joined = known.clone();
                joined.join(conditions);
                joined != *known
            }
        };
        if !has_new && !tightens {
            return None;
        }
        let (mut next, mut new) = (self.clone(), Vec::new());
        for label in labels.filter(is_new) {
            let text = format!("{purpose}{FOR}{label}");
            if !new.contains(&text) {
                new.push(text);
                next.insert(purpose, label.clone());
            }
        }
        if tightens {
            next.meet(conditions);
            // Invariant: conditions always serialise.
            new.extend(serde_json::to_string(conditions).ok());
        }
        Some((next, new))
    }

    /// Takes in what the partner received of another who is the same person.
    pub fn join(&mut self, other: &Self) {
        for (purpose, labels) in &other.by_purpose {
            labels.iter().for_each(|label| self.insert(*purpose, label.clone()));
        }
        if let Some(conditions) = &other.conditions {
            self.meet(conditions);
        }
    }

    fn insert(&mut self, purpose: Purpose, label: Label) {
        self.labels.insert(label.clone());
        self.by_purpose.entry(purpose).or_default().insert(label);
    }

    fn meet(&mut self, conditions: &Conditions) {
        match &mut self.conditions {
            None => self.conditions = Some(conditions.clone()),
            Some(known) => known.join(conditions),
        }
    }
}

/// Whether a label's origin is this partner.
pub(super) fn is_of(label: &Label, partner: &str) -> bool {
    matches!(&label.origin, Origin::Partner(name) if **name == *partner)
}

#[cfg(test)]
mod tests {
    use gateway_policy::Region;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_newer_message_replaces_its_leaves_and_leaves_the_others_and_an_older_one_nothing() {
        let region = |dnt| Conditions { region: Region::Us, dnt, ..Conditions::default() };
        let message = |value: Value, at_ms: i64, label: &str, dnt| {
            let label: Label = label.parse().unwrap();
            let leaves = value["member"].as_object().unwrap().keys().map(|key| format!("/member/{key}"));
            let leaves: Vec<String> = leaves.collect();
            Received {
                labels: leaves
                    .iter()
                    .map(|leaf| (leaf.clone(), LabelSet::from_iter([label.clone()])))
                    .collect(),
                taken_ms: leaves.into_iter().map(|leaf| (leaf, at_ms)).collect(),
                conditions: region(dnt),
                value,
                ..Received::default()
            }
        };
        let (own, name) = ("partner:a:user.account", "first-party:user.name");
        let labels = |label: &str| LabelSet::from_iter([label.parse::<Label>().unwrap()]);
        let mut received = Received::default();
        received
            .update(message(json!({ "member": { "tier": "silver", "since": 2019 } }), 5, own, false))
            .unwrap();
        assert_eq!(received.conditions, region(false), "of what is there alone");
        received.update(message(json!({ "member": { "tier": "gold" } }), 7, name, true)).unwrap();
        assert_eq!(received.value, json!({ "member": { "tier": "gold", "since": 2019 } }));
        assert_eq!(received.labels["/member/tier"], labels(name));
        assert_eq!(received.labels["/member/since"], labels(own));
        assert_eq!(received.conditions, region(true));
        received
            .update(message(json!({ "member": { "tier": "bronze", "since": 2020 } }), 6, own, false))
            .unwrap();
        assert_eq!(received.value, json!({ "member": { "tier": "gold", "since": 2020 } }));
        assert_eq!(received.labels["/member/tier"], labels(name));
        received.update(message(json!({ "member": { "tier": "bronze" } }), 6, own, false)).unwrap();
        assert_eq!(received.value, json!({ "member": { "tier": "gold", "since": 2020 } }));
    }

    #[test]
    fn a_document_that_would_grow_too_large_stays_as_it_was() {
        let message = |leaf: &str, bytes: usize, at_ms: i64, dnt| Received {
            value: json!({ leaf: "x".repeat(bytes) }),
            labels: [(format!("/{leaf}"), LabelSet::default())].into(),
            taken_ms: [(format!("/{leaf}"), at_ms)].into(),
            conditions: Conditions { dnt, ..Conditions::default() },
            ..Received::default()
        };
        let wrapped = |leaves: usize| leaves * r#","a":"""#.len() + 1;
        let fits = MAX_MERGED_BYTES - wrapped(1);
        assert_eq!(Received::default().update(message("a", fits + 1, 1, false)), Err(TooLarge), "by itself");
        let mut received = Received::default();
        received.update(message("a", fits, 1, false)).unwrap();
        let before = received.value.clone();
        assert_eq!(received.update(message("b", 0, 2, true)), Err(TooLarge));
        assert_eq!((&received.value, received.labels.len(), received.taken_ms.len()), (&before, 1, 1));
        assert!(!received.conditions.dnt, "of what is there alone");
        // A leaf that is replaced makes room.
        received.update(message("a", 0, 3, false)).unwrap();
        let rest = MAX_MERGED_BYTES - wrapped(2);
        received.update(message("b", rest, 4, false)).unwrap();
        assert_eq!(received.update(message("a", 1, 5, false)), Err(TooLarge));
        assert_eq!(serde_json::to_vec(&received.value).unwrap().len(), MAX_MERGED_BYTES);
    }

    #[test]
    fn what_a_partner_received_only_grows_and_says_what_is_new() {
        let name: Label = "first-party:user.name.first".parse().unwrap();
        let own: Label = "partner:a:user.account".parse().unwrap();
        let us = Conditions { region: Region::Us, ..Conditions::default() };
        let eu = Conditions { region: Region::Eu, ..Conditions::default() };
        let [support, analytics] = ["essential.service.operations.support", "analytics"]
            .map(|purpose| Purpose::parse(purpose).unwrap());
        let nothing = Exposed::default();
        assert_eq!(nothing.with("a", support, [&own].into_iter(), &us), None, "it sent that itself");
        let (exposed, mut kept) = nothing.with("a", support, [&name, &own, &name].into_iter(), &us).unwrap();
        assert_eq!(kept.len(), 2, "a label and what held: {kept:?}");
        assert_eq!(exposed.with("a", support, [&name].into_iter(), &us), None);
        let (exposed, new) = exposed.with("a", analytics, [&name].into_iter(), &us).unwrap();
        assert_eq!(new, ["analytics first-party:user.name.first"]);
        kept.extend(new);
        let (exposed, new) = exposed.with("a", analytics, [&name].into_iter(), &eu).unwrap();
        kept.extend(new);
        assert_eq!(exposed.conditions, Some(eu));
        assert!(exposed.by_purpose.keys().eq([&analytics, &support]));
        assert_eq!(Exposed::read(kept.iter().map(String::as_str)), Some(exposed));
        for damaged in ["elsewhere", "first-party:user.name", "nowhere first-party:user.name", "{"] {
            assert_eq!(Exposed::read([damaged].into_iter()), None, "{damaged}");
        }
    }
}
