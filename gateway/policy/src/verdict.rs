//! Verdicts: what is decided for one field, and why.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Clause, Label};

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
}
