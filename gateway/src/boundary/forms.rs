//! How the fields of a hook go: in the form that the grant asks for, with the labels of what then leaves. Which
//! labels give way, the policy says, and so its versions (clause policy.version): what leaves has another label only
//! where every version that counts gives it the same, by the same rule. Where two of them differ about any field of
//! a hook, all of its fields keep their labels.

use std::sync::Arc;

use gateway_policy::{Declassified, Label, Partner, Policy, Purpose, Transform};

use super::book::{Moment, PolicyBook};
use super::connection::{Hook, HookField};
use super::prepared::Prepared;

/// How a field goes under a grant.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Form {
    /// None: as it is.
    pub(super) transform: Option<Transform>,
    /// Of what leaves: the field's own, or those that a declassification gives it.
    pub(super) labels: Arc<[Label]>,
    /// The declassification's name, where there is one.
    pub(super) declassified: Option<Arc<str>>,
}

impl Form {
    /// By one version of the policy; by none, what leaves keeps its labels.
    fn of(field: &HookField, transform: Option<Transform>, policy: Option<&Policy>) -> Self {
        let keeps = || Self { transform, labels: Arc::clone(&field.labels), declassified: None };
        match (transform, &field.region, policy) {
            // Another part of the event goes in its place, with its own label.
            (Some(Transform::Region), Some(region), _) => {
                Self { labels: [region.label.clone()].into(), ..keeps() }
            }
            (Some(form), _, Some(policy)) => {
                let labelled: Vec<_> =
                    field.labels.iter().map(|label| policy.declassified(form, label)).collect();
                let declassified = labelled.iter().find_map(|(_, rule)| *rule);
                let declassified = declassified.map(|rule| Arc::clone(&rule.name));
                let labels = labelled.into_iter().map(|(label, _)| label).collect();
                Self { transform, labels, declassified }
            }
            _ => keeps(),
        }
    }

    /// The labels that gave way in a field that went so and was accepted at this moment.
    pub(super) fn gave_way(
        &self,
        field: &HookField,
        book: &PolicyBook,
        accepted_ms: i64,
    ) -> Vec<Declassified> {
        let (Some(form), Some(rule)) = (self.transform, &self.declassified) else { return Vec::new() };
        let under = book.accepted_under(book.moment(accepted_ms, accepted_ms));
        let gave_way = field.labels.iter().zip(&*self.labels).filter(|(from, to)| from != to);
        let of_field = gave_way.map(|(from, to)| Declassified {
            rule: Arc::clone(rule),
            form,
            from: from.clone(),
            to: to.category,
            under: under.to_owned(),
        });
        of_field.collect()
    }

    /// Whether every version that counts at this moment says so.
    pub(super) fn holds(&self, field: &HookField, book: &PolicyBook, moment: Moment) -> bool {
        let says = |policy: &Policy| Self::of(field, self.transform, Some(policy)) == *self;
        moment.versions().is_some_and(|counting| book.among(counting).all(says))
    }
}

/// The fields of a hook in their forms, made ready for decisions.
pub(super) struct Ready {
    /// Versions that say so: a bit for each.
    versions: u64,
    pub(super) fields: Arc<[Form]>,
    pub(super) prepared: Prepared,
}

/// The same, whichever versions of the policy count.
pub(super) struct Forms {
    /// Empty where all versions say the same.
    by_version: Vec<Ready>,
    otherwise: Ready,
}

impl Forms {
    pub(super) fn of(
        book: &PolicyBook,
        hook: &Hook,
        purpose: Purpose,
        partner: &Partner,
        form: impl Fn(&HookField) -> Option<Transform>,
    ) -> Self {
        let by = |policy: Option<&Policy>| -> Arc<[Form]> {
            hook.fields.iter().map(|field| Form::of(field, form(field), policy)).collect()
        };
        let ready = |versions: u64, fields: Arc<[Form]>| {
            let labels = fields.iter().map(|form| &*form.labels);
            let prepared = Prepared::new(book, hook.flow, purpose, partner, labels);
            Ready { versions, fields, prepared }
        };
        let mut said: Vec<(u64, Arc<[Form]>)> = Vec::new();
        for (bit, policy) in book.each() {
            let fields = by(Some(policy));
            match said.iter_mut().find(|(_, known)| *known == fields) {
                Some((versions, _)) => *versions |= bit,
                None => said.push((bit, fields)),
            }
        }
        match said.as_slice() {
            [(_, fields)] => Self { by_version: Vec::new(), otherwise: ready(0, Arc::clone(fields)) },
            _ => Self {
                otherwise: ready(0, by(None)),
                by_version: said.into_iter().map(|(versions, fields)| ready(versions, fields)).collect(),
            },
        }
    }

    /// By the versions that count at this moment.
    pub(super) fn at(&self, moment: Moment) -> &Ready {
        let say = |counting: u64| self.by_version.iter().find(|ready| counting & !ready.versions == 0);
        moment.versions().and_then(say).unwrap_or(&self.otherwise)
    }

    /// The form in which a field goes; none: as it is.
    pub(super) fn transform(&self, field: usize) -> Option<Transform> {
        self.otherwise.fields.get(field)?.transform
    }

    /// The labels that what leaves of a field may have, whichever versions count.
    pub(super) fn labels(&self, field: usize) -> impl Iterator<Item = &Label> {
        let all = self.by_version.iter().chain([&self.otherwise]);
        all.filter_map(move |ready| ready.fields.get(field)).flat_map(|form| form.labels.iter())
    }
}
