//! What may meet over several calls (clause integrations.combine): what is about to reach a partner, and what that
//! partner already received of the consumer, whichever of its plugins received it, and for whatever purpose.

use std::borrow::Cow;

use gateway_policy::{Label, LabelSet, Purpose};

use super::combine::{Meeting, Met, Pairs};
use super::received::{Exposed, is_of};
use super::subject::{Integration, Subject, base_facts};

/// Decides about one call's data and what the partner already received. What meets was collected partly then and
/// partly now, so the facts are those of the strictest of both; and it was received for one purpose and would be
/// for another, so both are asked.
pub(super) struct Across<'a> {
    /// For each purpose that counts: how pairs are decided about, and what the partner has.
    asked: Vec<(Pairs<'a>, Cow<'a, LabelSet>)>,
}

impl<'a> Across<'a> {
    /// For a call by `pairs`, whose facts came from `subject` and `integration`.
    pub(super) fn new(
        pairs: &Pairs<'a>,
        subject: Subject<'_>,
        integration: Integration<'_>,
        exposed: &'a Exposed,
    ) -> Self {
        let Some(earlier) = &exposed.conditions else { return Self { asked: Vec::new() } };
        let joined;
        let subject = if subject.conditions.includes_facts(earlier) {
            subject
        } else {
            let mut conditions = subject.conditions.clone();
            conditions.join(earlier);
            // That the consumer refused a plugin by which some of it came is no word about what comes now.
            conditions.through.clone_from(&subject.conditions.through);
            joined = conditions;
            Subject { conditions: &joined, ..subject }
        };
        let moment = pairs.book.also(pairs.moment, earlier);
        let asked = |purpose: Purpose| Pairs {
            purpose,
            moment,
            facts: base_facts(subject, Integration { purpose, ..integration }),
            ..*pairs
        };
        let has = |labels: &'a LabelSet| exposed.also(labels, pairs.book, pairs.moment);
        // For the purpose of the call all that the partner has counts, for another what it received for that.
        let others = exposed.by_purpose.iter().filter(|(purpose, _)| **purpose != pairs.purpose);
        let others = others.map(|(purpose, labels)| (asked(*purpose), has(labels)));
        Self { asked: std::iter::once((asked(pairs.purpose), has(&exposed.labels))).chain(others).collect() }
    }

    /// The strictest over every pair of one of these labels with one that the partner has; none where there is
    /// no pair. A partner knows what it sent itself: only what it gets from elsewhere can meet what it has. Nor
    /// does what `together` holds meet itself again.
    pub(super) fn meet<'l>(
        &'l self,
        labels: impl Iterator<Item = &'l Label> + Clone,
        together: &LabelSet,
    ) -> Option<Met<'l>> {
        let (first, _) = self.asked.first()?;
        let new = labels.filter(|label| !is_of(label, &first.partner.name));
        let decided = self.asked.iter().filter_map(|(pairs, received)| {
            let received = received.iter().filter(|label| !together.contains(label));
            if !pairs.matter(new.clone().chain(received.clone())) {
                return None;
            }
            pairs.strictest(new.clone(), received, Meeting::Instance)
        });
        decided.reduce(Met::strictest)
    }
}
