//! Collection conditions: what held when a value was collected. They travel with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Category, Label, LabelSet, Origin, Partner, Policy, Purpose, Recipient, Transform};

/// Where a consumer or a partner is, as far as the policy cares (clause transfer.onward).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Region {
    /// The United States.
    Us,
    /// Switzerland.
    Ch,
    /// The United Kingdom.
    Gb,
    /// The European Economic Area.
    Eu,
    /// Not given, or a country that the policy does not name.
    #[default]
    Unknown,
}

/// ISO 3166-1 alpha-2 codes of the European Economic Area.
const EEA: [&str; 30] = [
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IS", "IT",
    "LI", "LT", "LU", "LV", "MT", "NL", "NO", "PL", "PT", "RO", "SE", "SI", "SK",
];

impl Region {
    /// Reads `US`, `CH`, `GB`, `EU` or an ISO 3166-1 alpha-2 country code. A country of the EEA is `EU`;
    /// any other is unknown, which every rule treats the strict way.
    pub fn parse(code: &str) -> Self {
        match code {
            "US" => Self::Us,
            "CH" => Self::Ch,
            "GB" => Self::Gb,
            "EU" => Self::Eu,
            country if EEA.contains(&country) => Self::Eu,
            _ => Self::Unknown,
        }
    }

    /// The code, or `unknown`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Us => "US",
            Self::Ch => "CH",
            Self::Gb => "GB",
            Self::Eu => "EU",
            Self::Unknown => "unknown",
        }
    }

    /// A consumer whose region is unknown counts as inside the area of EU, GB and CH.
    pub fn consumer_in_area(self) -> bool {
        self != Self::Us
    }

    /// A partner whose region is unknown counts as outside it.
    pub fn partner_in_area(self) -> bool {
        matches!(self, Self::Eu | Self::Gb | Self::Ch)
    }
}

/// The class of cookies that the consumer allowed when the value was collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CookieClass {
    /// Clause cookies.strictly-necessary.
    StrictlyNecessary,
    /// Clause cookies.performance.
    Performance,
    /// Clause cookies.functionality.
    Functionality,
}

impl CookieClass {
    /// Reads the value of the CloudEvents extension `cookies`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "strictly-necessary" => Some(Self::StrictlyNecessary),
            "performance" => Some(Self::Performance),
            "functionality" => Some(Self::Functionality),
            _ => None,
        }
    }
}

/// What a service provider made on a brand's behalf.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnBehalf {
    /// Categories of what it made.
    pub made: BTreeSet<Category>,
    /// Categories of the first-party data that it made that of.
    pub of: BTreeSet<Category>,
}

/// A label that gave way to another by a rule of the policy, where a value left in a form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declassified {
    /// The rule's name.
    pub rule: Arc<str>,
    /// The form in which the value left.
    pub form: Transform,
    /// Of what there was.
    pub from: Label,
    /// Of what left, of the same origin.
    pub to: Category,
    /// The version of the policy that was in force when it was accepted, as in [`Conditions::under`].
    pub under: String,
}

impl Declassified {
    /// The label of what left.
    pub fn gave_way_to(&self) -> Label {
        Label { category: self.to, origin: self.from.origin.clone() }
    }

    /// Whether this version of the policy has it so.
    pub fn is_by(&self, policy: &Policy) -> bool {
        let (label, rule) = policy.declassified(self.form, &self.from);
        label.category == self.to && rule.is_some_and(|rule| rule.name == self.rule)
    }
}

/// What held at collection. An absent signal means that the consumer sent none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conditions {
    /// Do Not Track.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dnt: bool,
    /// Global Privacy Control.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gpc: bool,
    /// Cookie classes; several where values of several events met.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cookies: Vec<CookieClass>,
    /// Of the consumer; the strictest where values met.
    pub region: Region,
    /// Given in a conversation (clause share.no-sale).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_conversation: bool,
    /// Purposes collected for, each with all below it (clause principles.purpose). None given: whatever the brand
    /// directs. A set without one: none, which is what two values have in common that were collected for purposes
    /// that exclude each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collected_for: Option<BTreeSet<Purpose>>,
    /// Plugins by which it came: what they returned is in it, so an opt-out of one of them reaches it (clause
    /// integrations.opt-out).
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub through: BTreeSet<String>,
    /// What service providers made of it on the brand's behalf, by the provider's name and the purpose: it counts as
    /// first-party for as long as a contract covers it (clause transfer.contract).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub on_behalf: BTreeMap<String, BTreeMap<Purpose, OnBehalf>>,
    /// Versions of the policy that were in force when it was accepted, each by the first day on which it was
    /// (`YYYY-MM-DD`; empty text: none was in force). All of them hold for what is made of it (clause
    /// policy.version). Of an event itself none is given: when it was accepted says it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub under: BTreeSet<String>,
    /// Labels that gave way to others in what it was made of: for as long as the policy has that rule.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub declassified: BTreeSet<Declassified>,
}

impl Conditions {
    /// The strictest of both, for a value that derives from both.
    pub fn join(&mut self, other: &Self) {
        self.dnt |= other.dnt;
        self.gpc |= other.gpc;
        for class in &other.cookies {
            if !self.cookies.contains(class) {
                self.cookies.push(*class);
            }
        }
        // Of regions inside the area the first stays, so that joining the same again changes nothing.
        if !self.region.consumer_in_area() {
            self.region = other.region;
        }
        self.in_conversation |= other.in_conversation;
        self.collected_for = match (self.collected_for.take(), &other.collected_for) {
            (Some(own), Some(others)) => Some(in_both(&own, others)),
            (own, others) => own.or_else(|| others.clone()),
        };
        self.through.extend(other.through.iter().cloned());
        for (partner, by_purpose) in &other.on_behalf {
            for (purpose, more) in by_purpose {
                self.note_on_behalf(partner, *purpose, more);
            }
        }
        self.under.extend(other.under.iter().cloned());
        self.declassified.extend(other.declassified.iter().cloned());
    }

    /// Whether joining `other` changes nothing. False also where telling is as dear as joining.
    pub fn includes(&self, other: &Self) -> bool {
        self.includes_facts(other)
            && other.through.is_subset(&self.through)
            && other.under.is_subset(&self.under)
            && other.declassified.is_subset(&self.declassified)
    }

    /// The same but for the plugins by which it came, the versions of the policy and what they declassified.
    pub fn includes_facts(&self, other: &Self) -> bool {
        let Self {
            dnt,
            gpc,
            cookies,
            region,
            in_conversation,
            collected_for,
            through: _,
            on_behalf,
            under: _,
            declassified: _,
        } = other;
        self.dnt >= *dnt
            && self.gpc >= *gpc
            && cookies.iter().all(|class| self.cookies.contains(class))
            && (self.region.consumer_in_area() || self.region == *region)
            && self.in_conversation >= *in_conversation
            && (collected_for.is_none() || self.collected_for == *collected_for)
            && on_behalf.is_empty()
    }

    /// Notes what a service provider made of it on the brand's behalf.
    pub fn note_on_behalf(&mut self, partner: &str, purpose: Purpose, more: &OnBehalf) {
        let by_purpose = self.on_behalf.entry(partner.to_owned()).or_default();
        let known = by_purpose.entry(purpose).or_default();
        known.made.extend(&more.made);
        known.of.extend(&more.of);
    }

    /// The labels that the value has besides, because no contract covers now what was made on the brand's behalf: then
    /// it is its maker's data, as that of any third party. `partner` finds a record; without one nothing is covered.
    /// What it was made of has the `regained` labels too.
    pub fn lapsed<'p>(
        &self,
        partner: impl Fn(&str) -> Option<&'p Partner>,
        now_ms: i64,
        regained: &LabelSet,
    ) -> LabelSet {
        let mut labels = LabelSet::default();
        for (name, by_purpose) in &self.on_behalf {
            let record = partner(name);
            for (purpose, OnBehalf { made, of }) in by_purpose {
                let covered = |category: &Category| {
                    let standing = record.map(|record| record.standing(*purpose, *category, now_ms));
                    standing.is_some_and(|standing| standing.recipient == Recipient::ServiceProvider)
                };
                let also = regained.iter().map(|label| &label.category);
                if !made.iter().chain(of).chain(also).all(covered) {
                    let origin = Origin::Partner(name.as_str().into());
                    let label = |category: &Category| Label { category: *category, origin: origin.clone() };
                    labels.extend(made.iter().map(label));
                }
            }
        }
        labels
    }

    /// The rules by which labels gave way in what it was made of.
    pub fn declassifications(&self) -> BTreeSet<Arc<str>> {
        self.declassified.iter().map(|one| Arc::clone(&one.rule)).collect()
    }

    /// Whether what was collected may be used for a purpose, as far as that depends on what it was collected for.
    pub fn is_for(&self, purpose: Purpose) -> bool {
        self.collected_for.as_ref().is_none_or(|purposes| covers(purposes, purpose))
    }
}

fn covers(purposes: &BTreeSet<Purpose>, purpose: Purpose) -> bool {
    purposes.iter().any(|above| purpose.is_under(*above))
}

/// The purposes that both cover: of two of which one is below the other, the one below.
fn in_both(a: &BTreeSet<Purpose>, b: &BTreeSet<Purpose>) -> BTreeSet<Purpose> {
    let of_a = a.iter().filter(|purpose| covers(b, **purpose));
    let of_b = b.iter().filter(|purpose| covers(a, **purpose));
    of_a.chain(of_b).copied().collect()
}

#[cfg(test)]
mod tests {
    use proptest::strategy::Strategy;

    use super::*;
    use crate::Contract;

    #[test]
    fn an_unknown_region_is_inside_for_a_consumer_and_outside_for_a_partner() {
        for code in ["", "XX", "us", "California"] {
            assert!(Region::parse(code).consumer_in_area(), "{code}");
            assert!(!Region::parse(code).partner_in_area(), "{code}");
        }
    }

    #[test]
    fn a_country_of_the_eea_counts_as_eu() {
        for code in ["DE", "NO", "IS", "LI", "FR"] {
            assert_eq!(Region::parse(code), Region::Eu, "{code}");
        }
    }

    #[test]
    fn joining_keeps_the_strictest() {
        let mut us = Conditions { region: Region::Us, ..Conditions::default() };
        let eu = Conditions { region: Region::Eu, dnt: true, in_conversation: true, ..Conditions::default() };
        us.join(&eu);
        assert_eq!(us, eu);

        let through = |plugin: &str| Conditions { through: [plugin.to_owned()].into(), ..eu.clone() };
        us.join(&through("a"));
        us.join(&through("b"));
        us.join(&eu);
        assert_eq!(us.through, ["a".to_owned(), "b".to_owned()].into());
    }

    fn country() -> Declassified {
        Declassified {
            rule: "number-to-country".into(),
            form: Transform::CountryCode,
            from: "first-party:user.contact.phone_number".parse().unwrap(),
            to: Category::parse("user.contact.address.country").unwrap(),
            under: "2017-03-01".into(),
        }
    }

    #[test]
    fn a_label_gave_way_by_a_version_that_has_the_same_rule() {
        let shipped = include_str!("../../policies/platform-2017-03-01.toml");
        let with = |from: &str, to: &str| {
            assert!(shipped.contains(from));
            Policy::parse(&shipped.replacen(from, to, 1)).unwrap()
        };
        let to = "to = \"user.contact.address.country\"";
        for (policy, is_by) in [
            (Policy::parse(shipped).unwrap(), true),
            // What else the rule speaks of is no matter of this label.
            (with("from = \"user.contact.phone_number\"", "from = \"user.contact\""), true),
            (with("\"number-to-country\"", "\"code-to-country\""), false),
            (with("form = \"country-code\"", "form = \"pseudonym\""), false),
            (with(to, "to = \"user.contact.address\""), false),
        ] {
            assert_eq!(country().is_by(&policy), is_by);
        }
    }

    fn category(key: &str) -> Category {
        Category::parse(key).unwrap()
    }

    /// Partner `a`, with a contract for a purpose.
    fn partner(purpose: Purpose, categories: &[&str], expires_ms: Option<i64>) -> Partner {
        let contract = Contract {
            purposes: vec![purpose],
            categories: categories.iter().map(|key| category(key)).collect(),
            onward_transfer: false,
            consideration: false,
            expires_ms,
        };
        Partner {
            name: "a".into(),
            display_name: "A".into(),
            region: Region::Us,
            domains: vec![],
            consideration: false,
            contracts: [("terms".to_owned(), contract)].into(),
        }
    }

    #[test]
    fn what_was_made_on_the_brands_behalf_is_its_makers_where_no_contract_covers_it_any_more() {
        let purpose = Purpose::parse("essential.service.operations.support").unwrap();
        let made = |made: &str, of: &str| {
            let mut conditions = Conditions::default();
            let one = OnBehalf { made: [category(made)].into(), of: [category(of)].into() };
            conditions.note_on_behalf("a", purpose, &one);
            conditions
        };
        let mut both = made("user.telemetry", "user.name.first");
        both.join(&made("user.account", "user.name.first"));
        let joined = both.clone();
        both.join(&joined);
        assert_eq!(both, joined, "the same again changes nothing");
        let all = "partner:a:user.account partner:a:user.telemetry";
        for (categories, expires_ms, lapsed) in [
            (&["user"][..], None, ""),
            (&["user"], Some(1_001), ""),
            (&["user"], Some(1_000), all),
            // Narrower than what it was made of, and than one thing that was made.
            (&["user.telemetry", "user.account"], None, all),
            (&["user.telemetry", "user.name"], None, all),
        ] {
            let partner = partner(purpose, categories, expires_ms);
            let none = LabelSet::default();
            let labels = both.lapsed(|name| (name == "a").then_some(&partner), 1_000, &none);
            let labels: Vec<String> = labels.iter().map(Label::to_string).collect();
            assert_eq!(labels.join(" "), lapsed);
            assert!(!both.lapsed(|_| None, 1_000, &none).is_empty(), "of nobody who is known");
            assert!(Conditions::default().lapsed(|_| None, 1_000, &none).is_empty());
        }
    }

    #[test]
    fn what_was_made_of_a_label_that_is_back_is_its_makers_where_no_contract_covers_that_one() {
        let purpose = Purpose::parse("essential").unwrap();
        let mut made = Conditions::default();
        let of = OnBehalf {
            made: [category("user.telemetry")].into(),
            of: [category("user.contact.address.country")].into(),
        };
        made.note_on_behalf("a", purpose, &of);
        let number = LabelSet::from_iter(["first-party:user.contact.phone_number".parse().unwrap()]);
        for (categories, lapsed) in
            [(&["user"][..], false), (&["user.telemetry", "user.contact.address"][..], true)]
        {
            let partner = partner(purpose, categories, None);
            let besides = |regained: &LabelSet| made.lapsed(|_| Some(&partner), 1_000, regained);
            assert!(besides(&LabelSet::default()).is_empty(), "{categories:?}");
            assert_eq!(!besides(&number).is_empty(), lapsed, "{categories:?}");
        }
    }

    #[test]
    fn every_version_under_which_any_of_it_was_collected_stays() {
        let under = |days: &[&str]| Conditions {
            under: days.iter().map(|day| (*day).to_owned()).collect(),
            ..Conditions::default()
        };
        for (one, other, joined) in [
            (under(&[]), under(&["2017-03-01"]), under(&["2017-03-01"])),
            (under(&["2017-03-01"]), under(&["2017-03-01"]), under(&["2017-03-01"])),
            // The one between is not lost where an older one joins it.
            (under(&["2018-03-01"]), under(&["2017-03-01"]), under(&["2017-03-01", "2018-03-01"])),
        ] {
            for (a, b) in [(&one, &other), (&other, &one)] {
                let mut both = a.clone();
                both.join(b);
                both.join(b);
                assert_eq!(both, joined, "{a:?} with {b:?}");
            }
        }
    }

    #[test]
    fn what_was_collected_for_purposes_that_exclude_each_other_is_for_none() {
        let of = |keys: &[&str]| Conditions {
            collected_for: Some(keys.iter().map(|key| Purpose::parse(key).unwrap()).collect()),
            ..Conditions::default()
        };
        for (one, other, joined) in [
            (of(&["essential"]), of(&["marketing"]), of(&[])),
            (of(&[]), of(&["marketing"]), of(&[])),
            (of(&[]), Conditions::default(), of(&[])),
            (of(&["essential"]), Conditions::default(), of(&["essential"])),
            (of(&["essential"]), of(&["essential.service"]), of(&["essential.service"])),
            (Conditions::default(), Conditions::default(), Conditions::default()),
        ] {
            for (a, b) in [(&one, &other), (&other, &one)] {
                let mut both = a.clone();
                both.join(b);
                assert_eq!(both.collected_for, joined.collected_for, "{a:?} with {b:?}");
            }
        }
        assert!(Purpose::all().all(|purpose| !of(&[]).is_for(purpose)), "none is not any");
    }

    fn conditions() -> impl Strategy<Value = Conditions> {
        let class = proptest::sample::select(vec![CookieClass::Performance, CookieClass::Functionality]);
        let region = proptest::sample::select(vec![Region::Us, Region::Gb, Region::Unknown]);
        let cookies = proptest::collection::vec(class, 0..2);
        let purpose = proptest::sample::select(Purpose::all().take(2).collect::<Vec<_>>());
        let collected_for = proptest::option::of(proptest::collection::btree_set(purpose, 0..2));
        let bits = proptest::array::uniform7(proptest::bool::ANY);
        (bits, region, cookies, collected_for).prop_map(|(bits, region, cookies, collected_for)| {
            let [dnt, gpc, in_conversation, is_made, is_through, is_dated, gave_way] = bits;
            let through = is_through.then(|| "a".to_owned()).into_iter().collect();
            let under = is_dated.then(|| "2017-03-01".to_owned()).into_iter().collect();
            let mut conditions = Conditions {
                dnt,
                gpc,
                in_conversation,
                region,
                cookies,
                collected_for,
                through,
                under,
                declassified: gave_way.then(country).into_iter().collect(),
                ..Conditions::default()
            };
            if is_made {
                let purpose = Purpose::parse("essential").unwrap();
                conditions.note_on_behalf("a", purpose, &OnBehalf::default());
            }
            conditions
        })
    }

    fn purposes() -> impl Strategy<Value = Option<BTreeSet<Purpose>>> {
        let all: Vec<Purpose> = Purpose::all().collect();
        proptest::option::of(proptest::collection::btree_set(proptest::sample::select(all), 0..4))
    }

    proptest::proptest! {
        #[test]
        fn what_is_included_changes_nothing_where_it_is_joined(one in conditions(), other in conditions()) {
            let mut joined = one.clone();
            joined.join(&other);
            if one.includes(&other) {
                proptest::prop_assert_eq!(&joined, &one);
            }
            if one.includes_facts(&other) {
                let facts = Conditions {
                    through: one.through.clone(),
                    under: one.under.clone(),
                    declassified: one.declassified.clone(),
                    ..joined
                };
                proptest::prop_assert_eq!(&facts, &one);
            }
            proptest::prop_assert!(one.includes(&one) || !one.on_behalf.is_empty());
        }

        #[test]
        fn what_derives_from_several_is_for_what_all_of_them_are_for(
            sets in proptest::collection::vec(purposes(), 1..5),
        ) {
            let mut joined = Conditions::default();
            let all: Vec<Conditions> = sets
                .into_iter()
                .map(|collected_for| Conditions { collected_for, ..Conditions::default() })
                .collect();
            all.iter().for_each(|one| joined.join(one));
            for purpose in Purpose::all() {
                let by_all = all.iter().all(|one| one.is_for(purpose));
                proptest::prop_assert_eq!(joined.is_for(purpose), by_all, "{}", purpose);
            }
        }
    }
}
