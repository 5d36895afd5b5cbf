//! What the policy itself says, clause by clause: quotations, as data beside its rules. No decision reads them.

use std::collections::HashMap;

use serde::Deserialize;

use crate::{Clause, PolicyError};

/// A version's words for its clauses.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wording {
    name: String,
    effective: String,
    quoted: HashMap<Clause, String>,
    /// Why there are none.
    #[serde(default)]
    unsaid: HashMap<Clause, String>,
}

/// What there is to read of a clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words<'w> {
    /// The policy's own.
    Quoted(&'w str),
    /// The policy has none, for this reason.
    Unsaid(&'w str),
}

impl Wording {
    /// Reads a file of words.
    ///
    /// # Errors
    /// [`PolicyError`] where it is no TOML of this form, names no clause, or both quotes one and says that there is
    /// nothing to quote.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let wording: Self = toml::from_str(text)?;
        match wording.unsaid.keys().find(|clause| wording.quoted.contains_key(clause)) {
            Some(clause) => Err(PolicyError::Head(format!("{clause} is both quoted and unsaid; keep one"))),
            None => Ok(wording),
        }
    }

    /// Of which policy.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Of which version: its date.
    pub fn effective(&self) -> &str {
        &self.effective
    }

    /// Of a clause; none where the file has nothing about it.
    pub fn of(&self, clause: Clause) -> Option<Words<'_>> {
        let quoted = self.quoted.get(&clause).map(|text| Words::Quoted(text));
        quoted.or_else(|| self.unsaid.get(&clause).map(|why| Words::Unsaid(why)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clause_is_quoted_or_unsaid_and_what_is_none_is_refused() {
        let head = "name = 'p'\neffective = '2017-03-01'\n";
        let parse = |rest: &str| Wording::parse(&format!("{head}{rest}"));
        let wording =
            parse("[quoted]\n'share.content' = 'We do not.'\n[unsaid]\n'signals.gpc' = 'too young'\n")
                .unwrap();
        for (clause, expected) in [
            ("share.content", Some(Words::Quoted("We do not."))),
            ("signals.gpc", Some(Words::Unsaid("too young"))),
            ("share.brand", None),
        ] {
            assert_eq!(wording.of(Clause::parse(clause).unwrap()), expected, "{clause}");
        }
        for (rest, told) in [
            ("[quoted]\n'share.contents' = ''\n", "share.contents"),
            ("[quoted]\n'signals.gpc' = ''\n[unsaid]\n'signals.gpc' = ''\n", "both quoted and unsaid"),
            ("[quotes]\n", "quotes"),
        ] {
            let error = parse(rest).unwrap_err().to_string();
            assert!(error.contains(told), "{rest}: {error}");
        }
    }
}
