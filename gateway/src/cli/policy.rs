//! `gateway policy explain`: what the policy says about one case. Local and pure: no gateway is asked,
//! no event is read.

use std::path::PathBuf;

use clap::ValueEnum;
use gateway_policy::{
    Category, Clause, Decision, Effect, Explanation, Fact, Facts, Flow, Matched, Policy as Rules, Purpose,
    Reason, Recipient,
};
use serde_json::{Value, json};

use super::CliError;
use super::output::{self, FormatArgs, Table};
use crate::boundary::PolicyBook;

/// How many rules that nearly matched are shown.
const NEARLY: usize = 5;

/// The privacy policy
#[derive(Debug, clap::Subcommand)]
pub(super) enum Policy {
    /// Say what the policy decides in one case, by which rule, and what nearly decided
    #[command(after_help = "\
Every fact that is not given is false. `brand-directed` (the brand switched the integration on and
granted the field) is given unless --not-granted is.

Example:
  gateway policy explain --flow share --recipient third-party \\
    --purpose essential.service.operations.support --category user.contact.email --fact engaged")]
    Explain(Explain),
}

#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    /// The kind of flow
    #[arg(long, value_enum)]
    flow: FlowArg,
    /// Who gets the data
    #[arg(long, value_enum)]
    recipient: RecipientArg,
    /// The fideslang data use, such as `personalize.content.limited`
    #[arg(long)]
    purpose: String,
    /// The fideslang data category, such as `user.contact.email`
    #[arg(long)]
    category: String,
    /// A fact that holds; repeat for more
    #[arg(long = "fact")]
    facts: Vec<String>,
    /// The brand has not switched the integration on, or has not granted the field
    #[arg(long)]
    not_granted: bool,
    /// A policy file in place of the shipped one
    #[arg(long)]
    policy: Option<PathBuf>,
    #[command(flatten)]
    format: FormatArgs,
}

macro_rules! choices {
    ($name:ident of $of:ident: $($variant:ident),+) => {
        #[derive(Clone, Copy, Debug, ValueEnum)]
        enum $name { $($variant,)+ }

        impl From<$name> for $of {
            fn from(given: $name) -> Self {
                match given { $($name::$variant => Self::$variant,)+ }
            }
        }
    };
}
choices!(FlowArg of Flow: Share, Decide, Receive, Combine, Return, Disclose, Aggregate, Rights);
choices!(RecipientArg of Recipient: Brand, ServiceProvider, ThirdParty, Authority, Consumer);

impl Policy {
    pub(super) fn run(self) -> Result<(), CliError> {
        let Self::Explain(explain) = self;
        let text = match &explain.policy {
            Some(path) => std::fs::read_to_string(path).map_err(CliError::file("reading", path))?,
            None => PolicyBook::SHIPPED.to_owned(),
        };
        let rules = Rules::parse(&text).map_err(|error| CliError::FellShort(error.to_string()))?;
        let explanation = explain.ask(&rules)?;
        if explain.format.json() {
            return output::json(&as_json(&rules, &explanation));
        }
        output::line(&as_text(&rules, &explanation))
    }
}

impl Explain {
    fn ask(&self, rules: &Rules) -> Result<Explanation, CliError> {
        let purpose = Purpose::parse(&self.purpose).map_err(|error| CliError::Usage(error.to_string()))?;
        let category = Category::parse(&self.category).map_err(|error| CliError::Usage(error.to_string()))?;
        let mut facts = Facts::none().with(Fact::BrandDirected, !self.not_granted);
        for key in &self.facts {
            let fact = Fact::parse(key).ok_or_else(|| {
                let known: Vec<_> = Fact::ALL.iter().map(|fact| fact.as_str()).collect();
                CliError::Usage(format!("there is no fact `{key}`; there are {}", known.join(", ")))
            })?;
            if fact == Fact::BrandDirected && self.not_granted {
                return Err(CliError::Usage(
                    "--not-granted and --fact brand-directed contradict each other".into(),
                ));
            }
            facts = facts.with(fact, true);
        }
        Ok(rules.compile(self.flow.into(), self.recipient.into(), purpose, category).explain(facts))
    }
}

/// The rule that decided, where one did: the first forbid that matched, else the first permit.
fn deciding(explanation: &Explanation) -> Option<&Matched> {
    let effect = match explanation.verdict.decision {
        Decision::Withhold => Effect::Forbid,
        Decision::Allow | Decision::Transform => Effect::Permit,
    };
    explanation.rules.iter().find(|rule| rule.lacking.is_empty() && rule.effect == effect)
}

/// Rules that would have matched with other facts, those that lack least first.
fn nearly(explanation: &Explanation) -> impl Iterator<Item = &Matched> {
    explanation.rules.iter().filter(|rule| !rule.lacking.is_empty()).take(NEARLY)
}

fn clause(explanation: &Explanation) -> Option<Clause> {
    match explanation.verdict.reason {
        Reason::Clause(clause) => Some(clause),
        _ => None,
    }
}

fn effect(rule: &Matched) -> &'static str {
    match rule.effect {
        Effect::Permit => "permit",
        Effect::Forbid => "forbid",
    }
}

/// What of the facts would have to be other: `engaged` must hold, `not opt-out.sms` must not.
fn lacking(rules: &Rules, rule: &Matched) -> Vec<String> {
    let source = rules.rules().iter().find(|candidate| candidate.number == rule.rule);
    rule.lacking
        .iter()
        .map(|fact| {
            let must_be_false = source.is_some_and(|source| source.scope.unless.contains(fact));
            if must_be_false { format!("not {fact}") } else { fact.to_string() }
        })
        .collect()
}

/// What of the facts would keep a rule that matched from matching: each by itself.
fn exceptions(rules: &Rules, rule: &Matched) -> Vec<String> {
    let source = rules.rules().iter().find(|candidate| candidate.number == rule.rule);
    source.map_or_else(Vec::new, |source| {
        let holds = source.scope.unless.iter().map(ToString::to_string);
        holds.chain(source.scope.when.iter().map(|fact| format!("not {fact}"))).collect()
    })
}

fn as_text(rules: &Rules, explanation: &Explanation) -> String {
    let mut lines =
        vec![format!("{}: {}", explanation.verdict.decision.as_str(), explanation.verdict.reason)];
    if let Some(clause) = clause(explanation) {
        lines.push(format!("  {}", clause.summary()));
    }
    lines.push(match deciding(explanation) {
        Some(rule) => format!(
            "decided by rule {} ({}) of policy {} of {}",
            rule.rule,
            effect(rule),
            rules.name(),
            rules.effective()
        ),
        None => format!("no rule of policy {} of {} permits it", rules.name(), rules.effective()),
    });
    if let Some(rule) = deciding(explanation).filter(|rule| rule.effect == Effect::Forbid) {
        let instead = exceptions(rules, rule);
        if !instead.is_empty() {
            lines.push(format!("it would not apply with {}", instead.join(", or ")));
        }
    }
    let mut table = Table::new(&["nearly", "rule", "clause", "it would take"]);
    for rule in nearly(explanation) {
        table.row([
            effect(rule).to_owned(),
            rule.rule.to_string(),
            rule.clause.to_string(),
            lacking(rules, rule).join(", "),
        ]);
    }
    if !table.is_empty() {
        lines.push(String::new());
        lines.push(table.render());
    }
    lines.join("\n")
}

fn as_json(rules: &Rules, explanation: &Explanation) -> Value {
    let rule = |rule: &Matched| {
        json!({
            "rule": rule.rule,
            "effect": effect(rule),
            "clause": rule.clause,
            "says": rule.clause.summary(),
            "lacking": lacking(rules, rule),
        })
    };
    json!({
        "decision": explanation.verdict.decision,
        "reason": explanation.verdict.reason,
        "says": clause(explanation).map(Clause::summary),
        "policy": { "name": rules.name(), "effective": rules.effective() },
        "decided_by": deciding(explanation).map(rule),
        "would_not_apply_with": deciding(explanation)
            .filter(|rule| rule.effect == Effect::Forbid)
            .map(|rule| exceptions(rules, rule)),
        "nearly": nearly(explanation).map(rule).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explain(recipient: RecipientArg, category: &str, facts: &[&str]) -> Result<String, CliError> {
        let explain = Explain {
            flow: FlowArg::Share,
            recipient,
            purpose: "essential.service.operations.support".to_owned(),
            category: category.to_owned(),
            facts: facts.iter().map(|fact| (*fact).to_owned()).collect(),
            not_granted: false,
            policy: None,
            format: FormatArgs::default(),
        };
        let rules = Rules::parse(PolicyBook::SHIPPED).unwrap();
        let explanation = explain.ask(&rules)?;
        Ok(as_text(&rules, &explanation))
    }

    #[test]
    fn the_verdict_comes_with_its_clause_and_what_nearly_decided() {
        for (recipient, category, facts, parts) in [
            (
                RecipientArg::ThirdParty,
                "user.contact.email",
                &["engaged"][..],
                &["allow: clause:integrations.share", "(permit)", "A brand's integration may receive"][..],
            ),
            (
                RecipientArg::ThirdParty,
                "user.contact.email",
                &[],
                &["withhold: clause:integrations.share", "(forbid)"],
            ),
            (
                RecipientArg::ThirdParty,
                "user.content.private.transcript",
                &["engaged"],
                &["withhold: clause:share.content", "only with the consumer's permission"],
            ),
            (
                RecipientArg::ServiceProvider,
                "user.contact.email",
                &["consumer.in-area"],
                &[
                    "withhold: clause:transfer.onward",
                    "it would not apply with partner.in-area, or contract.onward",
                ],
            ),
            (
                RecipientArg::Authority,
                "user.contact.email",
                &[],
                &["withhold: no-permit", "no rule of policy"],
            ),
        ] {
            let text = explain(recipient, category, facts).unwrap();
            for part in parts {
                assert!(text.contains(part), "{recipient:?} {category} {facts:?}: {text}");
            }
        }
    }

    #[test]
    fn unknown_words_are_named_with_what_is_known() {
        for (category, facts, named) in [
            ("user.contact.emial", &[][..], "user.contact.email"),
            ("user.contact.email", &["engagd"][..], "there is no fact `engagd`"),
        ] {
            let error = explain(RecipientArg::Brand, category, facts).unwrap_err();
            assert!(matches!(error, CliError::Usage(_)) && error.to_string().contains(named), "{error}");
        }
    }
}
