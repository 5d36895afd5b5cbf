//! Rules reduced to masks: once for each (flow, recipient, purpose, category), so that a decision at
//! run time is a few integer operations.

use crate::facts::Facts;
use crate::policy::{Effect, Flow, Policy, Recipient};
use crate::residual::Residual;
use crate::{Category, Clause, Fact, Purpose, Reason, Verdict};

/// The decision for one (flow, recipient, purpose, category), waiting for facts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CompiledDecision {
    pub(crate) forbids: Box<[Residual]>,
    pub(crate) permits: Box<[Residual]>,
}

/// A rule that an explanation speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matched {
    /// The rule's number in its file, from 1.
    pub rule: usize,
    /// What it does.
    pub effect: Effect,
    /// Its clause.
    pub clause: Clause,
    /// The facts that it hangs on, each with the value that it needs.
    pub needs: Vec<(Fact, bool)>,
    /// Those of them that are not as it needs them; empty: it matched.
    pub lacking: Vec<Fact>,
}

/// What decided, and what nearly did.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The verdict.
    pub verdict: Verdict,
    /// Rules whose flow, recipient, purpose and category fit, those that matched first, then by how little they lack.
    pub rules: Vec<Matched>,
}

impl Policy {
    /// Reduces the rules to those that speak of this flow, recipient, purpose and category. For
    /// [`Flow::Combine`] that is the category meeting itself; see [`Policy::compile_combination`].
    pub fn compile(
        &self,
        flow: Flow,
        recipient: Recipient,
        purpose: Purpose,
        category: Category,
    ) -> CompiledDecision {
        self.reduce(flow, recipient, purpose, (category, category))
    }

    /// Reduces the rules about `combine` to those that speak of two labels with these categories, in
    /// whichever order (clause integrations.combine). [`Fact::SamePartner`] and [`Fact::OtherPartner`]
    /// are to hold where they hold for either label, [`Fact::Public`] where it holds for both.
    pub fn compile_combination(
        &self,
        recipient: Recipient,
        purpose: Purpose,
        a: Category,
        b: Category,
    ) -> CompiledDecision {
        self.reduce(Flow::Combine, recipient, purpose, (a, b))
    }

    pub(crate) fn reduce(
        &self,
        flow: Flow,
        recipient: Recipient,
        purpose: Purpose,
        pair: (Category, Category),
    ) -> CompiledDecision {
        let of = |effect| {
            let rules = self.rules().iter().filter(|rule| rule.effect == effect);
            rules
                .filter(|rule| rule.scope.speaks_of(flow, recipient, purpose, pair))
                .flat_map(|rule| Residual::of(rule, purpose, pair))
                .collect()
        };
        CompiledDecision { forbids: of(Effect::Forbid), permits: of(Effect::Permit) }
    }
}

impl CompiledDecision {
    /// Decides. `forbid` wins; a forbid that hangs on an unknown fact withholds; nothing matches: withheld.
    pub fn decide(&self, facts: Facts) -> Verdict {
        let mut in_doubt = false;
        for rule in &self.forbids {
            if rule.matches(facts) {
                return Verdict::withhold(Reason::Clause(rule.clause));
            }
            in_doubt |= facts.unknown & rule.case.mask != 0 && rule.may_match(facts);
        }
        if in_doubt {
            return Verdict::withhold(Reason::MissingFact);
        }
        match self.permits.iter().find(|rule| rule.matches(facts)) {
            Some(rule) => Verdict::allow(rule.clause),
            None => Verdict::withhold(Reason::NoPermit),
        }
    }

    /// Decides and says what decided and what nearly did.
    pub fn explain(&self, facts: Facts) -> Explanation {
        let matched = |rule: &Residual, effect| Matched {
            rule: usize::from(rule.rule),
            effect,
            clause: rule.clause,
            needs: rule.case.facts(),
            lacking: rule.lacking(facts),
        };
        let mut rules: Vec<Matched> = self.forbids.iter().map(|rule| matched(rule, Effect::Forbid)).collect();
        rules.extend(self.permits.iter().map(|rule| matched(rule, Effect::Permit)));
        rules.sort_by_key(|rule| rule.lacking.len());
        // A rule with an exception may stand for several; the nearest speaks for it.
        let mut seen = std::collections::HashSet::new();
        rules.retain(|rule| seen.insert(rule.rule));
        Explanation { verdict: self.decide(facts), rules }
    }

    /// The facts that it hangs on; no other fact can change the verdict.
    pub fn hangs_on(&self) -> impl Iterator<Item = Fact> + '_ {
        let mask = self.hangs_on_bits();
        Fact::ALL.iter().copied().filter(move |fact| mask & fact.bit() != 0)
    }

    pub(crate) fn hangs_on_bits(&self) -> u64 {
        self.forbids.iter().chain(&self.permits).fold(0, |mask, rule| mask | rule.case.mask)
    }

    /// The clauses that could forbid under some facts; what a brand reads before it switches on.
    pub fn forbidding_clauses(&self) -> impl Iterator<Item = Clause> + '_ {
        self.forbids.iter().map(|rule| rule.clause)
    }

    /// The clauses that could permit.
    pub fn permitting_clauses(&self) -> impl Iterator<Item = Clause> + '_ {
        self.permits.iter().map(|rule| rule.clause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Decision;

    const RULES: &str = r#"
        name = "test"
        effective = "2020-01-01"
        [readings]
        engaged = "strict"
        [categories]
        content = ["user.content.private"]
        [[rule]]
        effect = "permit"
        flow = ["share"]
        recipient = ["third-party"]
        when = ["brand-directed"]
        clause = "integrations.share"
        [[rule]]
        effect = "forbid"
        flow = ["share"]
        recipient = ["third-party"]
        category = ["@content"]
        unless = ["permission.integration"]
        clause = "share.content"
        [[rule]]
        effect = "forbid"
        flow = ["share"]
        recipient = ["third-party"]
        unless = ["engaged"]
        reading = "engaged"
        clause = "integrations.share"
    "#;

    fn decide(rules: &str, category: &str, facts: Facts) -> Verdict {
        Policy::parse(rules)
            .unwrap()
            .compile(
                Flow::Share,
                Recipient::ThirdParty,
                Purpose::parse("essential").unwrap(),
                Category::parse(category).unwrap(),
            )
            .decide(facts)
    }

    fn directed() -> Facts {
        Facts::none().with(Fact::BrandDirected, true).with(Fact::Engaged, true)
    }

    #[test]
    fn a_forbid_wins_over_a_permit_and_names_its_clause() {
        let verdict = decide(RULES, "user.content.private.transcript", directed());
        assert_eq!(verdict, Verdict::withhold(Reason::Clause(Clause::parse("share.content").unwrap())));
    }

    #[test]
    fn a_forbid_gives_way_to_its_exception() {
        let facts = directed().with(Fact::PermissionIntegration, true);
        assert_eq!(decide(RULES, "user.content.private.transcript", facts).decision, Decision::Allow);
    }

    #[test]
    fn what_no_rule_permits_is_withheld() {
        let facts = Facts::none().with(Fact::Engaged, true);
        assert_eq!(decide(RULES, "user.name.first", facts), Verdict::withhold(Reason::NoPermit));
    }

    #[test]
    fn a_fact_that_a_forbid_hangs_on_and_nobody_knows_withholds() {
        let facts = directed().without_knowing(Fact::Engaged);
        assert_eq!(decide(RULES, "user.name.first", facts), Verdict::withhold(Reason::MissingFact));
    }

    #[test]
    fn an_unknown_fact_that_no_rule_hangs_on_changes_nothing() {
        let facts = directed().without_knowing(Fact::Dnt);
        assert_eq!(decide(RULES, "user.name.first", facts).decision, Decision::Allow);
    }

    #[test]
    fn the_loose_reading_is_one_line() {
        let facts = Facts::none().with(Fact::BrandDirected, true);
        assert_eq!(decide(RULES, "user.name.first", facts).decision, Decision::Withhold);
        let loose = RULES.replace(r#"engaged = "strict""#, r#"engaged = "loose""#);
        assert_eq!(decide(&loose, "user.name.first", facts).decision, Decision::Allow);
    }

    #[test]
    fn a_rule_about_a_pair_asks_for_neither_order() {
        let policy = Policy::parse(
            r#"
            name = "test"
            effective = "2020-01-01"
            [[rule]]
            effect = "permit"
            flow = ["combine"]
            recipient = ["third-party"]
            clause = "integrations.combine"
            [[rule]]
            effect = "forbid"
            flow = ["combine"]
            recipient = ["third-party"]
            category = ["user.contact"]
            with = ["user.behavior"]
            clause = "cookies.third-party-analytics"
            "#,
        )
        .unwrap();
        let category = |key| Category::parse(key).unwrap();
        for (a, b, expected) in [
            ("user.contact.email", "user.behavior.purchase_history", Decision::Withhold),
            ("user.behavior.purchase_history", "user.contact.email", Decision::Withhold),
            ("user.contact.email", "user.name.first", Decision::Allow),
            ("user.behavior", "user.behavior", Decision::Allow),
            ("user.contact", "user.contact", Decision::Allow),
        ] {
            let decision = policy
                .compile_combination(
                    Recipient::ThirdParty,
                    Purpose::parse("analytics").unwrap(),
                    category(a),
                    category(b),
                )
                .decide(Facts::none());
            assert_eq!(decision.decision, expected, "{a} with {b}");
        }
    }

    #[test]
    fn a_policy_that_says_what_it_may_not_is_refused_with_the_rule_and_the_remedy() {
        for (from, to, says) in [
            ("brand-directed", "brand-direct", "unknown fact \"brand-direct\"; known: opt-out.integration"),
            ("@content", "@contents", "group @contents is not defined"),
            ("user.content.private", "user.content.secret", "unknown data category"),
            ("reading = \"engaged\"", "reading = \"other\"", "is not among [readings]"),
            ("clause = \"share.content\"", "clause = \"share.contents\"", "unknown clause"),
            ("2020-01-01", "soon", "write it as YYYY-MM-DD"),
            ("2020-01-01", "2020-31-10", "is no date of the calendar"),
            ("2020-01-01", "2021-02-29", "is no date of the calendar"),
            ("2020-01-01", "2020-04-00", "is no date of the calendar"),
            ("2020-01-01", "1900-02-29", "is no date of the calendar"),
            ("effect = \"permit\"", "effect = \"permit\"\npriority = 1", "unknown field"),
            (
                "clause = \"share.content\"",
                "with = [\"user\"]\nclause = \"share.content\"",
                "speaks of a pair",
            ),
        ] {
            let error = Policy::parse(&RULES.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.contains(says), "{to}: {error}");
        }
    }
}
