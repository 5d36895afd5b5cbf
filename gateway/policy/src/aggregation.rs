//! How statistics over consumers are made (clause share.aggregate).

use serde::Deserialize;

use crate::Purpose;

/// The table `[aggregate]` of a policy file. What is left out has the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Aggregation {
    /// Distinct consumers behind each number, at least; 20 where not given, never below 2.
    pub k: u32,
    /// Questions of one asker about one brand on one day (UTC), refused ones included; 100 where not given.
    pub queries_per_day: u32,
    /// Events of one consumer that count in one bucket, at most; 20 where not given.
    pub clip: u32,
}

impl Default for Aggregation {
    fn default() -> Self {
        Self { k: 20, queries_per_day: 100, clip: 20 }
    }
}

/// Training, quality and improvement: what the clause names; and the metrics of clause
/// cookies.third-party-analytics.
const PURPOSES: [&str; 4] =
    ["analytics", "essential.service.operations.improve", "functional.service.improve", "train_ai_system"];

impl Aggregation {
    /// The purposes that aggregates are for, each with all below it.
    pub fn purposes() -> impl Iterator<Item = Purpose> {
        // Invariant: the vocabulary has every one of them (a test holds it).
        PURPOSES.into_iter().filter_map(|key| Purpose::parse(key).ok())
    }

    /// Whether aggregates are for this purpose.
    pub fn serves(purpose: Purpose) -> bool {
        Self::purposes().any(|above| purpose.is_under(above))
    }

    /// What is wrong with the numbers, and what would be right.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        match self {
            Self { k: 0 | 1, .. } => Some("[aggregate] k is below 2; one consumer is no aggregate"),
            Self { clip: 0, .. } => {
                Some("[aggregate] clip is 0, so that nothing would count; write 1 or more")
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Policy;

    #[test]
    fn a_policy_says_how_aggregates_are_made_or_gets_the_defaults() {
        let policy = |table: &str| {
            Policy::parse(&format!("name = \"t\"\neffective = \"2020-01-01\"\n{table}"))
                .map(|policy| *policy.aggregation())
                .map_err(|error| error.to_string())
        };
        let numbers = |k, queries_per_day, clip| Ok(Aggregation { k, queries_per_day, clip });
        assert_eq!(policy(""), numbers(20, 100, 20));
        assert_eq!(policy("[aggregate]\nk = 50"), numbers(50, 100, 20));
        assert_eq!(policy("[aggregate]\nk = 2\nqueries-per-day = 0\nclip = 1"), numbers(2, 0, 1));
        for (table, says) in [
            ("k = 1", "one consumer is no aggregate"),
            ("clip = 0", "write 1 or more"),
            ("noise = 1", "unknown field"),
        ] {
            let error = policy(&format!("[aggregate]\n{table}")).unwrap_err();
            assert!(error.contains(says), "{table}: {error}");
        }
    }

    #[test]
    fn aggregates_are_for_metrics_training_and_improvement() {
        assert_eq!(Aggregation::purposes().count(), PURPOSES.len());
        for (purpose, expected) in [
            ("analytics.reporting.content_performance", true),
            ("train_ai_system", true),
            ("essential.service.operations.improve", true),
            ("essential.service.operations", false),
            ("marketing.advertising", false),
        ] {
            assert_eq!(Aggregation::serves(Purpose::parse(purpose).unwrap()), expected, "{purpose}");
        }
    }
}
