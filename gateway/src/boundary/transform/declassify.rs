//! Declassification: the only place where a label gives way to another. Each is a named rule with the clause
//! that it rests on; whatever has no rule keeps its label, however coarse it became. The decision is about
//! the label of what leaves, so a rule lifts no more than the difference between both: `lifts` names it, and
//! a test holds it against the shipped policy.
//!
//! Why these and no others, from fideslang's definitions:
//! - user.location.imprecise is a location "more than 500M" precise. A tenth of a degree is 11 km of latitude,
//!   and of longitude more than 500 m up to 87 degrees, beyond which nobody lives.
//! - A country calling code says what user.contact.address.country says ("country level address data"). It is
//!   not user.location.imprecise, which is "derived from sensors"; and so it stays Identifying.
//! - user.unique_id.pseudonymous is an "identifier generated from other subject data". Names, contacts,
//!   accounts and ids become one, and stay Identifying. Identifiers of devices do not: a stable name for a
//!   device is what clause signals.dnt is about. Content and sensitive data do not: what derives from them
//!   is as they are (clause share.content).

use std::sync::LazyLock;

use gateway_policy::{Category, Clause, Label};

use super::Transform;

/// A named rule.
pub(super) struct Declassification {
    pub(super) name: &'static str,
    pub(super) form: Transform,
    /// This and all below it.
    pub(super) from: &'static str,
    pub(super) to: &'static str,
    /// The clause that it rests on.
    pub(super) clause: &'static str,
    /// The clauses that may withhold the original and not what leaves.
    #[cfg_attr(not(test), expect(dead_code, reason = "a statement that the tests hold"))]
    pub(super) lifts: &'static [&'static str],
}

/// Where the brand directs that less goes than was asked for (clause use.brand-directed).
const DIRECTED: &str = "use.brand-directed";

pub(super) const RULES: &[Declassification] = &[
    Declassification {
        name: "coordinate-to-place",
        form: Transform::Rounded,
        from: "user.location.precise",
        to: "user.location.imprecise",
        clause: DIRECTED,
        lifts: &["cookies.functionality", "cookies.third-party-analytics"],
    },
    Declassification {
        name: "number-to-country",
        form: Transform::CountryCode,
        from: "user.contact.phone_number",
        to: "user.contact.address.country",
        clause: DIRECTED,
        lifts: &["choice.sms"],
    },
    Declassification {
        name: "name-to-pseudonym",
        form: Transform::Pseudonym,
        from: "user.name",
        to: "user.unique_id.pseudonymous",
        clause: DIRECTED,
        lifts: &[],
    },
    Declassification {
        name: "contact-to-pseudonym",
        form: Transform::Pseudonym,
        from: "user.contact",
        to: "user.unique_id.pseudonymous",
        clause: DIRECTED,
        lifts: &["choice.sms"],
    },
    Declassification {
        name: "account-to-pseudonym",
        form: Transform::Pseudonym,
        from: "user.account",
        to: "user.unique_id.pseudonymous",
        clause: DIRECTED,
        lifts: &[],
    },
    Declassification {
        name: "id-to-pseudonym",
        form: Transform::Pseudonym,
        from: "user.unique_id",
        to: "user.unique_id.pseudonymous",
        clause: DIRECTED,
        lifts: &[],
    },
];

type Ready = (&'static str, Transform, Category, Category);

/// The rules that name known categories and a known clause (a test holds that all do).
static READY: LazyLock<Vec<Ready>> = LazyLock::new(|| {
    RULES
        .iter()
        .filter(|rule| !rule.name.is_empty() && Clause::parse(rule.clause).is_some())
        .filter_map(|rule| {
            Some((rule.name, rule.form, Category::parse(rule.from).ok()?, Category::parse(rule.to).ok()?))
        })
        .collect()
});

/// The label of what leaves in this form, of the same origin, and the name of the rule that gave it; none: it is the
/// label of what there was.
pub(super) fn label(form: Transform, label: &Label) -> (Label, Option<&'static str>) {
    let rule = READY.iter().find(|(_, of, from, _)| *of == form && label.category.is_under(*from));
    match rule {
        Some((name, _, _, to)) => (Label { category: *to, origin: label.origin.clone() }, Some(name)),
        None => (label.clone(), None),
    }
}

#[cfg(test)]
pub(super) fn ready() -> usize {
    READY.len()
}
