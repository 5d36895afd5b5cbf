//! Verdicts: what is decided for one field, and why.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::facts::Facts;
use crate::{Clause, Conditions, Label, Purpose, Standing, Transform};

/// What happens to a field. The order is from loose to strict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// It goes as it is.
    Allow,
    /// It goes coarser or pseudonymised, because the brand's grant asks for that.
    Transform,
    /// It stays.
    Withhold,
}

impl Decision {
    /// `allow`, `transform` or `withhold`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Transform => "transform",
            Self::Withhold => "withhold",
        }
    }
}

/// Why. Partners see none of it; brands and auditors do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A rule of this clause decided.
    Clause(Clause),
    /// The plugin did not declare the field.
    Undeclared,
    /// The brand did not grant the field.
    NotGranted,
    /// No rule permits it.
    NoPermit,
    /// A fact that a rule needs is unknown.
    MissingFact,
}

impl Reason {
    /// The clause that decided, where one did.
    pub fn clause(self) -> Option<Clause> {
        match self {
            Self::Clause(clause) => Some(clause),
            _ => None,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clause(clause) => write!(f, "clause:{clause}"),
            Self::Undeclared => f.write_str("undeclared"),
            Self::NotGranted => f.write_str("not-granted"),
            Self::NoPermit => f.write_str("no-permit"),
            Self::MissingFact => f.write_str("missing-fact"),
        }
    }
}

impl FromStr for Reason {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "undeclared" => Self::Undeclared,
            "not-granted" => Self::NotGranted,
            "no-permit" => Self::NoPermit,
            "missing-fact" => Self::MissingFact,
            _ => text
                .strip_prefix("clause:")
                .and_then(Clause::parse)
                .map(Self::Clause)
                .ok_or_else(|| format!("unknown reason {text:?}"))?,
        })
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A decision with its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Verdict {
    /// What happens.
    pub decision: Decision,
    /// Why.
    pub reason: Reason,
}

impl Verdict {
    /// Allowed by a rule of `clause`.
    pub fn allow(clause: Clause) -> Self {
        Self { decision: Decision::Allow, reason: Reason::Clause(clause) }
    }

    /// Withheld.
    pub fn withhold(reason: Reason) -> Self {
        Self { decision: Decision::Withhold, reason }
    }

    /// Whether the value may go in some form.
    pub fn allows(self) -> bool {
        self.decision != Decision::Withhold
    }

    /// The stricter of the two; the first where they are equal.
    #[must_use]
    pub fn strictest(self, other: Self) -> Self {
        if other.decision > self.decision { other } else { self }
    }
}

/// How a field crosses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// The value enters the sandbox.
    Read,
    /// Only the path enters; the host fills the value in outside.
    Sealed,
    /// The plugin gave it back.
    Return,
    /// The plugin remembered it from calls before.
    Memory,
    /// The partner answered it during the call.
    Reply,
}

impl Access {
    /// `read`, `sealed`, `return`, `memory` or `reply`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Sealed => "sealed",
            Self::Return => "return",
            Self::Memory => "memory",
            Self::Reply => "reply",
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The verdict on one declared field: what a row of the ledger says of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldVerdict {
    /// As declared.
    pub field: Arc<str>,
    /// How it crosses.
    pub access: Access,
    /// Its labels; never empty.
    pub labels: Arc<[Label]>,
    /// What was decided, and why.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// What it was decided by, beside what held for the whole row.
    #[serde(flatten)]
    pub basis: Basis,
}

/// What a verdict on a field rests on, beside what held for the whole row: so that another policy can decide the
/// same again, and nothing about it has to be guessed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Basis {
    /// How whoever gets the value stood toward each label, in the labels' order.
    pub standing: Arc<[Standing]>,
    /// What held for this field, where that is not what held for the row: it derives from more than the event.
    #[serde(default, rename = "facts", skip_serializing_if = "Option::is_none")]
    pub own_facts: Option<Facts>,
    /// Not its own labels decided, but what it would have met (clause integrations.combine), or that the brand
    /// itself may not use what another plugin returned to it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub met: bool,
    /// The two labels whose meeting withheld it; of what was allowed into a call, those for which what the call asked
    /// for was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_apart: Option<Arc<KeptApart>>,
    /// The form in which the brand's grant lets it go; none: as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form: Option<Transform>,
    /// The declassification that gave it the labels which it left with; none: they are its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declassified: Option<Arc<str>>,
    /// The declassifications by which what it was made of got its labels, where it derives from more than the event.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub declassified_within: BTreeSet<Arc<str>>,
}

/// Two labels that may not meet, with all that it was decided by, beside what held for the whole row (clause
/// integrations.combine). There may have been others; it is the strictest, or the first of such.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptApart {
    /// The one of the field; of a field that was made of both, either.
    pub label: Label,
    /// The other: of what was in the call or request, or of what the partner had.
    pub with: Label,
    /// How the recipient stood toward both.
    #[serde(flatten)]
    pub standing: Standing,
    /// Whether the brand had granted that they meet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub granted: bool,
    /// The purpose that was asked about: the plugin's, or the one for which the partner received the other.
    pub purpose: Purpose,
    /// What held for both, where that is not what held for the row.
    #[serde(default, rename = "facts", skip_serializing_if = "Option::is_none")]
    pub own_facts: Option<Facts>,
}

impl KeptApart {
    /// In a row for which this held.
    #[must_use]
    pub fn under(self, of_row: Facts) -> Self {
        let own_facts = self.own_facts.filter(|own| own.to_bits() != of_row.to_bits());
        Self { own_facts, ..self }
    }
}

impl Basis {
    /// Of a value toward which its recipient stood so, label by label.
    pub fn of(standing: impl IntoIterator<Item = Standing>) -> Self {
        Self { standing: standing.into_iter().collect(), ..Self::default() }
    }

    /// Of a value that a meeting withheld.
    #[must_use]
    pub fn kept_apart(self, by: Option<Arc<KeptApart>>) -> Self {
        Self { met: self.met || by.is_some(), kept_apart: by, ..self }
    }

    /// Of a value that was made of what was collected under these conditions.
    #[must_use]
    pub fn within(self, conditions: &Conditions) -> Self {
        Self { declassified_within: conditions.declassifications(), ..self }
    }

    /// With the facts that held for the field, where the row's are others.
    #[must_use]
    pub fn under(self, own: Facts, of_row: Facts) -> Self {
        Self { own_facts: (own.to_bits() != of_row.to_bits()).then_some(own), ..self }
    }
}
