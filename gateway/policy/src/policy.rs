//! The rule file: what it may say, and the refusal of everything else.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{Aggregation, Category, Clause, Declassification, Fact, Purpose, file};

/// One kind of decision at the boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flow {
    /// An event handed on to a partner's plugin, and what that plugin sends.
    Share,
    /// An answer that the brand waits for.
    Decide,
    /// A message from a partner.
    Receive,
    /// Fields of different origin meeting.
    Combine,
    /// Fields going back to the brand.
    Return,
    /// A recorded export to an authority.
    Disclose,
    /// A statistic over consumers.
    Aggregate,
    /// A consumer's request passed on.
    Rights,
}

impl Flow {
    /// Every flow.
    pub const ALL: [Self; 8] = [
        Self::Share,
        Self::Decide,
        Self::Receive,
        Self::Combine,
        Self::Return,
        Self::Disclose,
        Self::Aggregate,
        Self::Rights,
    ];

    /// The key that policy files and the ledger use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Share => "share",
            Self::Decide => "decide",
            Self::Receive => "receive",
            Self::Combine => "combine",
            Self::Return => "return",
            Self::Disclose => "disclose",
            Self::Aggregate => "aggregate",
            Self::Rights => "rights",
        }
    }

    /// The flow with this key.
    pub fn parse(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|flow| flow.as_str() == key)
    }
}

/// Who gets the data, in relation to the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recipient {
    /// The brand whose consumer it is.
    Brand,
    /// A partner, for what a valid contract covers.
    ServiceProvider,
    /// A partner otherwise; a brand's own vendor too.
    ThirdParty,
    /// A public authority.
    Authority,
    /// The consumer.
    Consumer,
}

impl Recipient {
    /// Every recipient.
    pub const ALL: [Self; 5] =
        [Self::Brand, Self::ServiceProvider, Self::ThirdParty, Self::Authority, Self::Consumer];

    /// The key that policy files and the ledger use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Brand => "brand",
            Self::ServiceProvider => "service-provider",
            Self::ThirdParty => "third-party",
            Self::Authority => "authority",
            Self::Consumer => "consumer",
        }
    }

    /// The recipient with this key.
    pub fn parse(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|recipient| recipient.as_str() == key)
    }
}

/// What a matching rule does. `forbid` wins over `permit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Allows, where nothing forbids.
    Permit,
    /// Withholds.
    Forbid,
}

/// A rule file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Not TOML, or a key that a policy does not have.
    #[error("the policy does not parse: {0}")]
    Syntax(#[from] toml::de::Error),
    /// A rule that names something unknown.
    #[error("rule {rule} of the policy: {problem}")]
    Rule {
        /// Counted from 1, in the order of the file.
        rule: usize,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// A rule of declassification that names something unknown, or that another has the name of.
    #[error("declassification {number} ({name:?}) of the policy: {problem}")]
    Declassification {
        /// Counted from 1, in the order of the file.
        number: usize,
        /// Its name.
        name: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// A property that names something unknown.
    #[error("property {property:?}: {problem}")]
    Property {
        /// Its name.
        property: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// A problem outside the rules.
    #[error("the policy: {0}")]
    Head(String),
}

/// How a clause is read where its text allows two readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reading {
    /// The default.
    Strict,
    /// Its rule is absent.
    Loose,
}

/// One rule, its names resolved.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Counted from 1, in the order of the file.
    pub number: usize,
    /// What it does.
    pub effect: Effect,
    /// Where.
    pub scope: Scope,
    /// The clause it keeps.
    pub clause: Clause,
}

/// Where a rule speaks, or a property holds. An empty list of categories or purposes means any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Flows.
    pub flow: Vec<Flow>,
    /// Recipients.
    pub recipient: Vec<Recipient>,
    /// Categories, each with all below it.
    pub category: Vec<Category>,
    /// With `combine` alone: what a pair's other category is under; the pair has no order.
    pub with: Vec<Category>,
    /// Purposes, each with all below it.
    pub purpose: Vec<Purpose>,
    /// Facts that must all be true.
    pub when: Vec<Fact>,
    /// Facts that must all be false.
    pub unless: Vec<Fact>,
    /// What is left out; each by itself is enough.
    pub except: Vec<Exception>,
}

/// What a scope leaves out. An empty list of categories or purposes means any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Categories, each with all below it. Of a pair, both must be among them.
    pub category: Vec<Category>,
    /// Purposes, each with all below it.
    pub purpose: Vec<Purpose>,
    /// Facts that must all be true.
    pub when: Vec<Fact>,
    /// Facts that must all be false.
    pub unless: Vec<Fact>,
}

/// Whether it is `YYYY-MM-DD` (RFC 3339 `full-date`). Dates are compared as texts: one that never comes, such as a day and
/// a month swapped, would be in force from another day than was meant.
fn is_date(text: &str) -> bool {
    let number = |part: &str, length: usize| {
        let digits = part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<u16>().ok().filter(|_| digits)
    };
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts.as_slice() else { return false };
    let (Some(year), Some(month), Some(day)) = (number(year, 4), number(month, 2), number(day, 2)) else {
        return false;
    };
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => 0,
    };
    (1..=days).contains(&day)
}

/// A policy: its rules in the order of the file, ready to be compiled.
#[derive(Debug)]
pub struct Policy {
    name: String,
    effective: String,
    aggregation: Aggregation,
    readings: BTreeMap<String, Reading>,
    rules: Vec<Rule>,
    declassifications: Vec<Declassification>,
}

impl Policy {
    /// Reads a policy file (TOML).
    ///
    /// # Errors
    /// [`PolicyError`] for the first thing that the file may not say.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let file: file::Policy = toml::from_str(text)?;
        if !is_date(&file.effective) {
            return Err(PolicyError::Head(format!(
                "effective = {:?} is no date of the calendar; write it as YYYY-MM-DD",
                file.effective
            )));
        }
        if let Some(fault) = file.aggregate.fault() {
            return Err(PolicyError::Head(fault.into()));
        }
        let groups = file::Groups { categories: &file.categories, purposes: &file.purposes };
        let mut rules = Vec::with_capacity(file.rule.len());
        for (index, rule) in file.rule.iter().enumerate() {
            let number = index + 1;
            let refused = |problem| PolicyError::Rule { rule: number, problem };
            let reading = rule.reading.as_ref().map(|name| {
                let known = file.readings.get(name).copied();
                known.ok_or_else(|| refused(format!("reading {name:?} is not among [readings]")))
            });
            let scope = rule.scope().resolve(&groups).map_err(refused)?;
            // A rule that stands for the strict reading of a clause is absent under the loose one.
            if reading.transpose()? != Some(Reading::Loose) {
                rules.push(Rule { number, effect: rule.effect, scope, clause: rule.clause });
            }
        }
        Ok(Self {
            declassifications: declassifications(&file)?,
            name: file.name,
            effective: file.effective,
            aggregation: file.aggregate,
            readings: file.readings,
            rules,
        })
    }

    /// The policy's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `YYYY-MM-DD`: the first day (UTC) on which it is in force.
    pub fn effective(&self) -> &str {
        &self.effective
    }

    /// How statistics over consumers are made.
    pub fn aggregation(&self) -> &Aggregation {
        &self.aggregation
    }

    /// The rules that apply under the file's readings.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rules by which labels give way where values go in a form; of two that fit, the first.
    pub fn declassifications(&self) -> &[Declassification] {
        &self.declassifications
    }

    /// How the file reads a clause that allows two readings; none: it has no such reading.
    pub fn reading(&self, name: &str) -> Option<Reading> {
        self.readings.get(name).copied()
    }
}

fn declassifications(file: &file::Policy) -> Result<Vec<Declassification>, PolicyError> {
    let mut rules: Vec<Declassification> = Vec::with_capacity(file.declassify.len());
    for (index, written) in file.declassify.iter().enumerate() {
        let name = || written.name.clone();
        let refused = |problem| PolicyError::Declassification { number: index + 1, name: name(), problem };
        let rule = written.resolve().map_err(refused)?;
        if rules.iter().any(|known| known.name == rule.name) {
            return Err(refused(
                "another declassification has this name; rows of the ledger tell them by it".into(),
            ));
        }
        rules.push(rule);
    }
    Ok(rules)
}

/// Several versions of the policy, by effective date (clause policy.version).
#[derive(Debug)]
pub struct PolicySet(Vec<Policy>);

impl PolicySet {
    /// Takes at least one policy; no two of one date.
    ///
    /// # Errors
    /// [`PolicyError::Head`] where there is none, or two of one date.
    pub fn new(mut policies: Vec<Policy>) -> Result<Self, PolicyError> {
        policies.sort_by(|a, b| a.effective.cmp(&b.effective));
        if policies.is_empty() {
            return Err(PolicyError::Head("there is none; nothing could be allowed".into()));
        }
        if let Some(pair) =
            policies.windows(2).find(|pair| matches!(pair, [a, b] if a.effective == b.effective))
        {
            let date = pair.first().map_or("", Policy::effective);
            return Err(PolicyError::Head(format!("two versions are effective on {date}; keep one")));
        }
        Ok(Self(policies))
    }

    /// The index of the version in force on `date` (`YYYY-MM-DD`, UTC); none before the first.
    pub fn in_force(&self, date: &str) -> Option<usize> {
        self.0.iter().rposition(|policy| policy.effective.as_str() <= date)
    }

    /// The version with this index.
    pub fn get(&self, index: usize) -> Option<&Policy> {
        self.0.get(index)
    }

    /// All versions, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Policy> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_policy_parses_and_is_in_force_from_its_day_on() {
        let policy = Policy::parse(include_str!("../../policies/platform-2017-03-01.toml")).unwrap();
        let set = PolicySet::new(vec![policy]).unwrap();
        for (date, expected) in [("2017-02-28", None), ("2017-03-01", Some(0)), ("2026-01-01", Some(0))] {
            assert_eq!(set.in_force(date), expected, "{date}");
        }
    }
}
