//! A hook's fields made ready for decisions: rules compiled, contracts looked up, and fields on which
//! every rule says the same put into one class, so that an event costs one decision a class.

use std::sync::Arc;

use gateway_policy::{CompiledDecision, Facts, Flow, Label, Partner, Purpose, Reason, Recipient, Verdict};

use super::book::{Moment, PolicyBook, origin_facts};

/// The classes of a hook's fields.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    classes: Vec<Class>,
    /// For each field, the class of each of its labels.
    fields: Vec<Box<[u16]>>,
}

#[derive(Debug, PartialEq)]
struct Class {
    /// Contracts that cover the category for the purpose, while they are valid.
    covers: Vec<Cover>,
    /// The label, for the facts about its origin; where origins are alike, so is the class.
    origin: gateway_policy::Origin,
    /// By version of the policy.
    versions: Vec<Pair>,
}

#[derive(Debug, PartialEq)]
struct Cover {
    expires_ms: Option<i64>,
    onward: bool,
}

#[derive(Debug, PartialEq)]
struct Pair {
    service_provider: Arc<CompiledDecision>,
    third_party: Arc<CompiledDecision>,
}

/// What was decided for each class.
pub(super) struct Decided<'p> {
    prepared: &'p Prepared,
    of_class: Vec<(Recipient, Verdict)>,
}

impl Prepared {
    /// Prepares `fields`, each by its labels.
    pub(super) fn new<'l>(
        book: &PolicyBook,
        flow: Flow,
        purpose: Purpose,
        partner: &Partner,
        fields: impl Iterator<Item = &'l [Label]>,
    ) -> Self {
        let mut prepared = Self::default();
        for labels in fields {
            let classes =
                labels.iter().map(|label| prepared.class(book, flow, purpose, partner, label)).collect();
            prepared.fields.push(classes);
        }
        prepared
    }

    fn class(
        &mut self,
        book: &PolicyBook,
        flow: Flow,
        purpose: Purpose,
        partner: &Partner,
        label: &Label,
    ) -> u16 {
        let compiled = |version, recipient| book.compiled(version, flow, recipient, purpose, label.category);
        let class = Class {
            // Validity in time is left to the moment of the decision.
            covers: partner
                .contracts
                .values()
                .filter(|contract| contract.covers(purpose, label.category, i64::MIN))
                .map(|contract| Cover { expires_ms: contract.expires_ms, onward: contract.onward_transfer })
                .collect(),
            origin: label.origin.clone(),
            versions: (0..book.versions())
                .filter_map(|version| {
                    Some(Pair {
                        service_provider: compiled(version, Recipient::ServiceProvider)?,
                        third_party: compiled(version, Recipient::ThirdParty)?,
                    })
                })
                .collect(),
        };
        let index = self.classes.iter().position(|known| *known == class).unwrap_or_else(|| {
            self.classes.push(class);
            self.classes.len() - 1
        });
        u16::try_from(index).unwrap_or(u16::MAX)
    }

    /// Decides for every class.
    pub(super) fn decide(&self, partner: &Partner, base: Facts, moment: Moment) -> Decided<'_> {
        let of_class = self
            .classes
            .iter()
            .map(|class| {
                let (mut recipient, mut onward) = (Recipient::ThirdParty, false);
                for cover in
                    class.covers.iter().filter(|cover| cover.expires_ms.is_none_or(|end| moment.now_ms < end))
                {
                    recipient = Recipient::ServiceProvider;
                    onward |= cover.onward;
                }
                let facts = origin_facts(base, &class.origin, partner, onward);
                let one = |version: Option<usize>| {
                    let Some(pair) = version.and_then(|version| class.versions.get(version)) else {
                        return Verdict::withhold(Reason::NoPermit);
                    };
                    match recipient {
                        Recipient::ServiceProvider => pair.service_provider.decide(facts),
                        _ => pair.third_party.decide(facts),
                    }
                };
                (recipient, moment.strictest(one))
            })
            .collect();
        Decided { prepared: self, of_class }
    }
}

impl Decided<'_> {
    /// The strictest over a field's labels. A field without a label has no origin, and is withheld.
    pub(super) fn field(&self, index: usize) -> (Recipient, Verdict) {
        let classes = self.prepared.fields.get(index).map(|classes| &**classes).unwrap_or_default();
        let mut found: Option<(Recipient, Verdict)> = None;
        for class in classes {
            let Some((recipient, verdict)) = self.of_class.get(usize::from(*class)).copied() else {
                return (Recipient::ThirdParty, Verdict::withhold(Reason::Undeclared));
            };
            found = Some(match found {
                None => (recipient, verdict),
                Some((first, strictest)) => (stricter(first, recipient), strictest.strictest(verdict)),
            });
        }
        found.unwrap_or((Recipient::ThirdParty, Verdict::withhold(Reason::Undeclared)))
    }
}

/// Third party, where either is.
pub(super) fn stricter(a: Recipient, b: Recipient) -> Recipient {
    if a == Recipient::ThirdParty || b == Recipient::ThirdParty { Recipient::ThirdParty } else { a }
}
