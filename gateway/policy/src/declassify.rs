//! Forms of a value, and the only rules by which its label then gives way to another. Whatever has no such rule
//! keeps its label, however coarse it became.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::policy::Policy;
use crate::{Category, Clause, Label};

/// The form in which a granted field goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transform {
    /// A coordinate to one decimal.
    Rounded,
    /// The country calling code of a telephone number.
    CountryCode,
    /// The day of a time.
    Day,
    /// The coarsest part of an address.
    Region,
    /// A pseudonym for (brand, partner).
    Pseudonym,
}

impl Transform {
    /// Every form.
    pub const ALL: [Self; 5] = [Self::Rounded, Self::CountryCode, Self::Day, Self::Region, Self::Pseudonym];

    /// The word of policy files, of grants and of the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rounded => "rounded",
            Self::CountryCode => "country-code",
            Self::Day => "day",
            Self::Region => "region",
            Self::Pseudonym => "pseudonym",
        }
    }

    /// The form with this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|form| form.as_str() == word)
    }

    /// What a partner gets, in plain words, after the field's name.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Rounded => "rounded to one decimal, some 11 km, which is not the name of a city",
            Self::CountryCode => "cut to the country calling code",
            Self::Day => "cut to the day",
            Self::Region => "replaced by the coarsest part of the address that the event has",
            Self::Pseudonym => "as a pseudonym that only this partner gets for this brand",
        }
    }
}

/// A named rule by which what leaves in a form has another label than what there was.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Declassification {
    /// Unique in its policy; what a row of the ledger names.
    pub name: Arc<str>,
    /// The form.
    pub form: Transform,
    /// What there was: this category and all below it.
    pub from: Category,
    /// What leaves.
    pub to: Category,
    /// The clause that it rests on.
    pub clause: Clause,
    /// The clauses that may withhold what there was and not what leaves: all that it lifts.
    pub lifts: Vec<Clause>,
}

impl Declassification {
    /// Whether it speaks of a value of this category that goes in this form.
    pub fn speaks_of(&self, form: Transform, category: Category) -> bool {
        self.form == form && category.is_under(self.from)
    }
}

impl Policy {
    /// The rule that gives what leaves in this form its label; none: it keeps its own.
    pub fn declassification(&self, form: Transform, category: Category) -> Option<&Declassification> {
        self.declassifications().iter().find(|rule| rule.speaks_of(form, category))
    }

    /// The label of what leaves in this form, of the same origin, and the rule that gave it.
    pub fn declassified(&self, form: Transform, label: &Label) -> (Label, Option<&Declassification>) {
        let rule = self.declassification(form, label.category);
        let category = rule.map_or(label.category, |rule| rule.to);
        (Label { category, origin: label.origin.clone() }, rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "name = 'test'\neffective = '2020-01-01'\n";
    const RULE: &str = "[[declassify]]\nname = 'number-to-country'\nform = 'country-code'\n\
                        from = 'user.contact.phone_number'\nto = 'user.contact.address.country'\n\
                        clause = 'use.brand-directed'\nlifts = ['choice.sms']\n";

    #[test]
    fn a_rule_gives_what_it_speaks_of_another_label_of_the_same_origin() {
        let policy = Policy::parse(&format!("{HEAD}{RULE}")).unwrap();
        for (form, label, expected) in [
            (
                Transform::CountryCode,
                "first-party:user.contact.phone_number",
                Some("first-party:user.contact.address.country"),
            ),
            (
                Transform::CountryCode,
                "partner:p:user.contact.phone_number",
                Some("partner:p:user.contact.address.country"),
            ),
            (Transform::Pseudonym, "first-party:user.contact.phone_number", None),
            (Transform::CountryCode, "first-party:user.contact", None),
        ] {
            let label: Label = label.parse().unwrap();
            let (leaves, rule) = policy.declassified(form, &label);
            assert_eq!(leaves, expected.map_or(label, |text| text.parse().unwrap()), "{form:?}");
            assert_eq!(rule.map(|rule| &*rule.name), expected.map(|_| "number-to-country"), "{form:?}");
        }
    }

    #[test]
    fn a_rule_that_says_what_it_may_not_is_refused_with_its_place() {
        let second = "declassification 2 (\"number-to-country\") of the policy: ";
        for (from, to, places) in [
            (
                "'country-code'",
                "'blurred'",
                &["unknown variant `blurred`", "line 12, column 8", "`rounded`"][..],
            ),
            ("'use.brand-directed'", "'use.brand'", &["unknown clause \"use.brand\"", "line 15"]),
            ("['choice.sms']", "['choice.mms']", &["unknown clause \"choice.mms\"", "line 16"]),
            (
                "'user.contact.phone_number'",
                "'user.phone'",
                &[second, "unknown data category \"user.phone\""],
            ),
            ("'user.contact.address.country'", "'country'", &[second, "unknown data category \"country\""]),
            ("'country-code'", "'region'", &[second, "has a label of its own"]),
            ("to = 'user.contact.address.country'\n", "", &["missing field `to`", "line 10"]),
            ("lifts = ['choice.sms']\n", "", &["missing field `lifts`", "line 10"]),
            ("form", "from_", &["unknown field `from_`", "line 12"]),
            ("'number-to-country'", "''", &["declassification 2 (\"\") of the policy: ", "needs a name"]),
            ("", "", &[second, "another declassification has this name"]),
        ] {
            let text = format!("{HEAD}{RULE}{}", RULE.replacen(from, to, 1));
            let error = Policy::parse(&text).unwrap_err().to_string();
            assert!(places.iter().all(|part| error.contains(part)), "{to}: {error}");
        }
    }
}
