//! Calls that fail, and what their rows say of it.

use std::sync::Arc;

use gateway_policy::{Facts, FieldVerdict, KeptApart};

use crate::boundary::Violation;
use crate::plugin_host::CallError;
use crate::store::FlowRecord;

/// A call of which nothing is kept.
pub(super) struct Failed {
    /// The ledger's code.
    pub(super) code: String,
    /// Whether it says that the plugin is broken: a trap, an overrun, an outcome refused. A rejection is an
    /// answer to one event, and wrong settings or records are not the plugin's fault.
    pub(super) broken: bool,
    /// Whether the same call would be decided otherwise now.
    pub(super) again: bool,
    /// What it would have brought together.
    kept_apart: Option<Arc<KeptApart>>,
}

impl Failed {
    pub(super) fn of_violation(violation: Violation) -> Self {
        let again = matches!(violation, Violation::Meanwhile(_));
        let kept_apart = violation.kept_apart().cloned();
        Self { code: violation.code(), broken: violation.is_plugins_fault(), again, kept_apart }
    }

    pub(super) fn of_call(error: &CallError) -> Self {
        // Rejected and unavailable are answers; busy, internal and an event too large are not the plugin's doing.
        let broken = !matches!(
            error,
            CallError::Rejected(_)
                | CallError::Unavailable(_)
                | CallError::Later { .. }
                | CallError::Busy { .. }
                | CallError::InputTooLarge { .. }
                | CallError::Internal
        );
        Self { code: format!("failed:{}", error.code()), broken, again: false, kept_apart: None }
    }

    /// Says it in the call's row.
    pub(super) fn tell(&self, flow: &mut FlowRecord) {
        flow.outcome.clone_from(&self.code);
        note_kept_apart(flow, self.kept_apart.as_ref());
    }
}

/// Names in a call's row, with the fields that have the one, labels that a request of it would have brought together.
pub(super) fn note_kept_apart(flow: &mut FlowRecord, pair: Option<&Arc<KeptApart>>) {
    let Some(pair) = pair else { return };
    let of_row = Facts::from_bits(flow.facts);
    name_pair(&mut flow.verdicts, &KeptApart::clone(pair).under(of_row));
}

fn name_pair(fields: &mut [FieldVerdict], pair: &KeptApart) {
    if !note(fields, pair) {
        // The one came into the call while it ran: an answer, say, which is no field of it.
        let KeptApart { label, with, .. } = pair.clone();
        note(fields, &KeptApart { label: with, with: label, ..pair.clone() });
    }
}

/// Whether any of these fields has the label.
fn note(fields: &mut [FieldVerdict], pair: &KeptApart) -> bool {
    let pair = Arc::new(pair.clone());
    let mut any = false;
    for field in
        fields.iter_mut().filter(|field| field.verdict.allows() && field.labels.contains(&pair.label))
    {
        field.basis.kept_apart = Some(Arc::clone(&pair));
        any = true;
    }
    any
}

#[cfg(test)]
mod tests {
    use gateway_policy::{Access, Basis, Clause, Label, Purpose, Recipient, Standing, Verdict};

    use super::*;

    const EMAIL: &str = "first-party:user.contact.email";
    const ANSWER: &str = "partner:acme-crm:user.account";

    #[test]
    fn the_field_that_has_one_of_the_labels_names_the_other_whichever_came_first() {
        let label = |text: &str| text.parse::<Label>().unwrap();
        for (one, other) in [(EMAIL, ANSWER), (ANSWER, EMAIL)] {
            let mut fields = [EMAIL, "first-party:user.name"].map(|of| FieldVerdict {
                field: "/f".into(),
                access: Access::Sealed,
                labels: [label(of)].into(),
                verdict: Verdict::allow(Clause::parse("integrations.share").unwrap()),
                basis: Basis::default(),
            });
            let pair = KeptApart {
                label: label(one),
                with: label(other),
                standing: Standing { recipient: Recipient::ThirdParty, onward: false },
                granted: false,
                purpose: Purpose::parse("essential").unwrap(),
                own_facts: None,
            };
            name_pair(&mut fields, &pair);
            let named = fields[0].basis.kept_apart.as_ref().expect("it has one of the labels");
            assert_eq!((&named.label, &named.with), (&label(EMAIL), &label(ANSWER)));
            assert_eq!(fields[1].basis.kept_apart, None);
        }
    }
}
