//! What came from a partner, and what a partner already received: kept between calls, with labels. It decides
//! nothing.

use std::collections::BTreeMap;

use gateway_policy::{Conditions, Label, LabelSet, Origin};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a plugin has received of a consumer from its partner (clause integrations.receive).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Received {
    /// In the shape of the `receive` hook's schema.
    pub value: Value,
    /// Each leaf that is there, as declared, with its labels.
    pub labels: BTreeMap<String, LabelSet>,
    /// What held when that was collected from which the partner may have made it.
    pub conditions: Conditions,
}

impl Received {
    /// Takes a newer message in: its leaves replace the ones of before, the others stay.
    pub fn update(&mut self, newer: Self) {
        merge(&mut self.value, newer.value);
        self.labels.extend(newer.labels);
        self.conditions.join(&newer.conditions);
    }
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
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exposed {
    /// Labels.
    pub labels: LabelSet,
    /// What held when that was collected; none: it received nothing.
    pub conditions: Option<Conditions>,
}

impl Exposed {
    /// From what the store keeps: labels as text, conditions as JSON. What does not read is a sign of damage.
    pub fn read<'w>(kept: impl Iterator<Item = &'w str>) -> Option<Self> {
        let mut exposed = Self::default();
        for what in kept {
            if what.starts_with('{') {
                exposed.meet(&serde_json::from_str(what).ok()?);
            } else {
                exposed.labels.insert(what.parse().ok()?);
            }
        }
        Some(exposed)
    }

    /// Takes in that the partner receives these labels, collected under these conditions; what of it is new, as
    /// the store keeps it. What a partner sent itself is nothing that it receives.
    pub fn add<'l>(
        &mut self,
        partner: &str,
        labels: impl Iterator<Item = &'l Label>,
        conditions: &Conditions,
    ) -> Vec<String> {
        let mut new = Vec::new();
        for label in labels.filter(|label| !is_of(label, partner)) {
            if self.labels.insert_new(label) {
                new.push(label.to_string());
            }
        }
        let before = self.conditions.clone();
        if !new.is_empty() || before.is_some() {
            self.meet(conditions);
        }
        if self.conditions != before
            && let Ok(text) = serde_json::to_string(conditions)
        {
            new.push(text);
        }
        new
    }

    /// Takes in what the partner received of another who is the same person.
    pub fn join(&mut self, other: &Self) {
        self.labels.extend(other.labels.iter().cloned());
        if let Some(conditions) = &other.conditions {
            self.meet(conditions);
        }
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
    fn a_newer_message_replaces_its_leaves_and_leaves_the_others() {
        let labels = |path: &str, label: &str| {
            (path.to_owned(), LabelSet::from_iter([label.parse::<Label>().unwrap()]))
        };
        let mut received = Received {
            value: json!({ "member": { "tier": "silver", "since": 2019 } }),
            labels: [
                labels("/member/tier", "partner:a:user.account"),
                labels("/member/since", "partner:a:user.account"),
            ]
            .into(),
            conditions: Conditions { region: Region::Us, ..Conditions::default() },
        };
        received.update(Received {
            value: json!({ "member": { "tier": "gold" } }),
            labels: [labels("/member/tier", "first-party:user.name")].into(),
            conditions: Conditions { region: Region::Us, dnt: true, ..Conditions::default() },
        });
        assert_eq!(received.value, json!({ "member": { "tier": "gold", "since": 2019 } }));
        assert_eq!(received.labels["/member/tier"], labels("", "first-party:user.name").1);
        assert_eq!(received.labels["/member/since"], labels("", "partner:a:user.account").1);
        assert!(received.conditions.dnt);
    }

    #[test]
    fn what_a_partner_received_only_grows_and_says_what_is_new() {
        let name: Label = "first-party:user.name.first".parse().unwrap();
        let own: Label = "partner:a:user.account".parse().unwrap();
        let us = Conditions { region: Region::Us, ..Conditions::default() };
        let eu = Conditions { region: Region::Eu, ..Conditions::default() };
        let mut exposed = Exposed::default();
        assert!(exposed.add("a", [&own].into_iter(), &us).is_empty(), "it sent that itself");
        assert_eq!(exposed.conditions, None);
        let mut kept = exposed.add("a", [&name, &own].into_iter(), &us);
        assert_eq!(kept.len(), 2);
        assert!(exposed.add("a", [&name].into_iter(), &us).is_empty());
        kept.extend(exposed.add("a", [&name].into_iter(), &eu));
        assert_eq!(exposed.conditions, Some(eu));
        assert_eq!(Exposed::read(kept.iter().map(String::as_str)), Some(exposed));
        assert_eq!(Exposed::read(["elsewhere"].into_iter()), None);
    }
}
