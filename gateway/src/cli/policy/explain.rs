//! `gateway policy explain`: what the policy says about one case. For a question given by options it is
//! local and pure: no gateway is asked, no event is read.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::ValueEnum;
use gateway_policy::{
    Category, Clause, Decision, Effect, Explanation, Fact, Facts, Flow, Matched, Policy as Rules, Purpose,
    Recipient, Words,
};
use secrecy::SecretString;
use serde_json::{Value, json};
use time::OffsetDateTime;
use url::Url;

use super::super::CliError;
use super::super::client;
use super::super::output::{self, FormatArgs, Table};
use super::version::Version;
use super::{explain_flow, words};

/// How many rules that nearly matched are shown as text.
const NEARLY: usize = 5;

pub(super) const HELP: &str = "\
Of a case given by options, every fact that is not given is false. `brand-directed` (the brand
switched the integration on and granted the field) is given unless --not-granted is. Of a flow
of the ledger, each field is explained from what its row recorded; that asks a running gateway.

The policy is the one in force today by the configuration (the shipped one, and those of its
policies-dir); of a flow, the one in whose days its row was written, where the configuration has
it. Clauses are quoted in the policy's own words, from the file of its name and date in the folder
`wording` beside it; without one, in those of the shipped policy.

Examples:
  gateway policy explain --flow share --recipient third-party \\
    --purpose essential.service.operations.support --category user.contact.email --fact engaged
  gateway policy explain 0192f0c1d2e3f4a5b6c7d8e9f0a1b2c3 --field /contact/email";

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Explain {
    /// The id of a flow of the ledger, in place of a case given by options
    #[arg(conflicts_with_all = ["flow", "recipient", "purpose", "category", "facts", "not_granted", "with"])]
    id: Option<String>,
    /// Of a flow, this field only
    #[arg(long, requires = "id")]
    field: Option<String>,
    /// The kind of flow
    #[arg(long, value_enum, required_unless_present = "id")]
    flow: Option<FlowArg>,
    /// Who gets the data
    #[arg(long, value_enum, required_unless_present = "id")]
    recipient: Option<RecipientArg>,
    /// The fideslang data use, such as `personalize.content.limited`
    #[arg(long, required_unless_present = "id")]
    purpose: Option<String>,
    /// The fideslang data category, such as `user.contact.email`
    #[arg(long, required_unless_present = "id")]
    category: Option<String>,
    /// With `--flow combine`, the category that it meets
    #[arg(long)]
    with: Option<String>,
    /// A fact that holds; repeat for more
    #[arg(long = "fact")]
    facts: Vec<String>,
    /// The brand has not switched the integration on, or has not granted the field
    #[arg(long)]
    not_granted: bool,
    /// A policy file in place of the configuration's policies
    #[arg(long)]
    policy: Option<PathBuf>,
    /// The configuration of the gateway whose policies it explains
    #[arg(long, env = "GATEWAY_CONFIG")]
    config: Option<PathBuf>,
    /// Address of the gateway's API
    #[arg(long, env = "GATEWAY_URL", default_value = client::DEFAULT_URL, help_heading = "Gateway")]
    url: Url,
    /// API key; the environment keeps it out of the process list
    #[arg(long, env = "GATEWAY_KEY", hide_env_values = true, help_heading = "Gateway")]
    key: Option<SecretString>,
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

impl Explain {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let versions = match &self.policy {
            Some(file) => vec![Version::of_file(file)?],
            None => Version::of_config(self.config.as_deref())?,
        };
        if let Some(id) = &self.id {
            let key = self.key.clone().ok_or_else(|| {
                CliError::Usage("a flow is read from a gateway; give a key with --key or GATEWAY_KEY".into())
            })?;
            let path = format!("/v1/flows/{}", client::segment(id));
            let row = client::Client::new(&self.url, key)?.get(&path, &[]).await?;
            let wrote =
                Version::of_row(&versions, row.get("policy").and_then(Value::as_str).unwrap_or_default());
            let version = wrote.map_or_else(|| self.version(&versions), Ok)?;
            let told = explain_flow::Told::of(&version.rules, &row, self.field.as_deref())?;
            if self.format.json() {
                return output::json(&told.as_json(version));
            }
            return output::line(&told.as_text(version));
        }
        let version = self.version(&versions)?;
        let explanation = self.ask(&version.rules)?;
        if self.format.json() {
            return output::json(&as_json(version, &explanation));
        }
        output::line(&as_text(version, &explanation))
    }

    /// The version of the file, or the one in force today.
    fn version<'v>(&self, versions: &'v [Version]) -> Result<&'v Version, CliError> {
        match (&self.policy, versions) {
            (Some(_), [version]) => Ok(version),
            _ => Version::in_force(versions, &OffsetDateTime::now_utc().date().to_string()),
        }
    }

    fn ask(&self, rules: &Rules) -> Result<Explanation, CliError> {
        let (Some(flow), Some(recipient), Some(purpose), Some(category)) =
            (self.flow, self.recipient, &self.purpose, &self.category)
        else {
            return Err(CliError::Usage("give --flow, --recipient, --purpose and --category".into()));
        };
        let unknown = |error: gateway_policy::UnknownKey| CliError::Usage(error.to_string());
        let purpose = Purpose::parse(purpose).map_err(unknown)?;
        let category = Category::parse(category).map_err(unknown)?;
        let with = self.with.as_deref().map(Category::parse).transpose().map_err(unknown)?;
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
        let decision = match (Flow::from(flow), with) {
            (Flow::Combine, Some(with)) => {
                rules.compile_combination(recipient.into(), purpose, category, with)
            }
            (_, Some(_)) => {
                return Err(CliError::Usage("only --flow combine has something to meet --with".into()));
            }
            (Flow::Combine, None) => {
                return Err(CliError::Usage(
                    "--flow combine needs the category that it meets: --with".into(),
                ));
            }
            (flow, None) => rules.compile(flow, recipient.into(), purpose, category),
        };
        Ok(decision.explain(facts))
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
    explanation.rules.iter().filter(|rule| !rule.lacking.is_empty())
}

/// What of the facts would have to be other: `engaged` must hold, `not opt-out.sms` must not.
fn lacking(rule: &Matched) -> Vec<String> {
    let needs = rule.needs.iter().filter(|(fact, _)| rule.lacking.contains(fact));
    needs.copied().map(words::fact).collect()
}

/// What of the facts would keep a rule that matched from matching: each by itself.
fn exceptions(rule: &Matched) -> Vec<String> {
    // What must be false first: it is what a consumer, a brand or a contract can give.
    let of = |value: bool| rule.needs.iter().filter(move |need| need.1 == value);
    of(false).chain(of(true)).map(|(fact, value)| words::fact((*fact, !value))).collect()
}

/// A case: what decided and what nearly did, each with the clause's words.
fn as_text(version: &Version, explanation: &Explanation) -> String {
    let mut clauses = nearly_clauses(explanation);
    clauses.remove(&explanation.verdict.reason.clause().map_or("", Clause::as_str));
    let mut lines = vec![decision_text(version, explanation)];
    lines.extend(clauses_text(version, clauses.into_values()));
    lines.join("\n")
}

/// What decided, with its clause's words, and what nearly did.
pub(super) fn decision_text(version: &Version, explanation: &Explanation) -> String {
    let rules = &version.rules;
    let mut lines =
        vec![format!("{}: {}", explanation.verdict.decision.as_str(), explanation.verdict.reason)];
    if let Some(clause) = explanation.verdict.reason.clause() {
        lines.push(format!("  {}", clause.summary()));
        lines.extend(version.quoted(clause).map(|words| format!("  {words}")));
    }
    lines.push(match deciding(explanation) {
        Some(rule) => format!(
            "decided by rule {} ({}) of policy {} of {}",
            rule.rule,
            words::effect(rule.effect),
            rules.name(),
            rules.effective()
        ),
        None => format!("no rule of policy {} of {} permits it", rules.name(), rules.effective()),
    });
    if let Some(rule) = deciding(explanation).filter(|rule| rule.effect == Effect::Forbid) {
        let instead = exceptions(rule);
        if !instead.is_empty() {
            lines.push(format!("it would not apply with {}", instead.join(", or ")));
        }
    }
    let mut table = Table::new(&["nearly", "rule", "clause", "it would take"]);
    for rule in nearly(explanation).take(NEARLY) {
        table.row([
            words::effect(rule.effect).to_owned(),
            rule.rule.to_string(),
            rule.clause.to_string(),
            lacking(rule).join(", "),
        ]);
    }
    if !table.is_empty() {
        lines.push(String::new());
        lines.push(table.render());
    }
    match nearly(explanation).count().saturating_sub(NEARLY) {
        0 => {}
        more => lines.push(format!("and {more} more; --format json has them all")),
    }
    lines.join("\n")
}

/// The clauses of what nearly decided, by id.
pub(super) fn nearly_clauses(explanation: &Explanation) -> BTreeMap<&'static str, Clause> {
    nearly(explanation).take(NEARLY).map(|rule| (rule.clause.as_str(), rule.clause)).collect()
}

/// What these clauses say, after an empty line; nothing of none.
pub(super) fn clauses_text(version: &Version, clauses: impl Iterator<Item = Clause>) -> Vec<String> {
    let mut lines = Vec::new();
    for clause in clauses {
        lines.push(format!("{clause}: {}", clause.summary()));
        lines.extend(version.quoted(clause).map(|words| format!("  {words}")));
    }
    if !lines.is_empty() {
        lines.insert(0, String::new());
    }
    lines
}

/// The policy's words for a clause; none where it has none.
pub(super) fn text(version: &Version, clause: Clause) -> Option<&str> {
    match version.words(clause) {
        Some(Words::Quoted(text)) => Some(text),
        Some(Words::Unsaid(_)) | None => None,
    }
}

pub(super) fn as_json(version: &Version, explanation: &Explanation) -> Value {
    let rules = &version.rules;
    let rule = |rule: &Matched| {
        json!({
            "rule": rule.rule,
            "effect": words::effect(rule.effect),
            "clause": rule.clause,
            "says": rule.clause.summary(),
            "text": text(version, rule.clause),
            "lacking": lacking(rule),
        })
    };
    json!({
        "decision": explanation.verdict.decision,
        "reason": explanation.verdict.reason,
        "says": explanation.verdict.reason.clause().map(Clause::summary),
        "text": explanation.verdict.reason.clause().and_then(|clause| text(version, clause)),
        "text_of": version.text_of(),
        "policy": { "name": rules.name(), "effective": rules.effective() },
        "decided_by": deciding(explanation).map(rule),
        "would_not_apply_with": deciding(explanation)
            .filter(|rule| rule.effect == Effect::Forbid)
            .map(exceptions),
        "nearly": nearly(explanation).map(rule).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Asked {
        #[command(flatten)]
        explain: Explain,
    }

    fn explain(recipient: RecipientArg, category: &str, facts: &[&str]) -> Result<String, CliError> {
        let explain = Explain {
            id: None,
            field: None,
            flow: Some(FlowArg::Share),
            recipient: Some(recipient),
            purpose: Some("essential.service.operations.support".to_owned()),
            category: Some(category.to_owned()),
            with: None,
            facts: facts.iter().map(|fact| (*fact).to_owned()).collect(),
            not_granted: false,
            policy: None,
            config: None,
            url: client::DEFAULT_URL.parse().unwrap(),
            key: None,
            format: FormatArgs::default(),
        };
        let version = &Version::all(None).unwrap()[0];
        let explanation = explain.ask(&version.rules)?;
        Ok(as_text(version, &explanation))
    }

    #[test]
    fn the_verdict_comes_with_its_clause_and_what_nearly_decided() {
        for (recipient, category, facts, parts) in [
            (
                RecipientArg::ThirdParty,
                "user.contact.email",
                &["engaged"][..],
                &[
                    "allow: clause:integrations.share",
                    "  A brand's integration may receive the data of consumers who engaged with that brand.\n  \"If you engage with a brand that uses one of these integrations, [the platform] may share your data",
                    "decided by rule 3 (permit)",
                    // What nearly decided, once each, below the table.
                    "\nuse.brand-directed: Data is used on behalf of the brand and as it directs.\n  \"If you engage with a brand that uses our Services, we use",
                ][..],
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
                &[
                    "withhold: clause:share.content",
                    "only with the consumer's permission",
                    "\"[the platform] does not disclose the contents of transcripts, surveys or recordings",
                ],
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
    fn what_meets_something_is_asked_with_what_it_meets() {
        let of = |flow: &str, with: Option<&str>| {
            let mut arguments = vec!["explain", "--flow", flow, "--recipient", "service-provider"];
            arguments.extend(["--purpose", "analytics", "--category", "user.contact.email"]);
            arguments.extend(with.into_iter().flat_map(|with| ["--with", with]));
            Asked::try_parse_from(arguments)
                .unwrap()
                .explain
                .ask(&Rules::parse(crate::boundary::PolicyBook::SHIPPED).unwrap())
        };
        for (flow, with, is_asked) in [
            ("combine", None, false),
            ("combine", Some("user.behavior.browsing_history"), true),
            ("share", None, true),
            ("share", Some("user.behavior.browsing_history"), false),
        ] {
            assert_eq!(of(flow, with).is_ok(), is_asked, "{flow} {with:?}");
        }
    }

    #[test]
    fn all_that_nearly_decided_is_in_the_document_and_the_text_says_how_much_more_there_is() {
        let rules = Rules::parse(crate::boundary::PolicyBook::SHIPPED).unwrap();
        let asked = ["explain", "--flow", "share", "--recipient", "third-party", "--fact", "engaged"];
        let of = ["--purpose", "essential.service.operations.support", "--category", "user.contact.email"];
        let explanation =
            Asked::try_parse_from(asked.into_iter().chain(of)).unwrap().explain.ask(&rules).unwrap();
        let version = Version::of_config(None).unwrap().remove(0);
        let listed = as_json(&version, &explanation)["nearly"].as_array().unwrap().len();
        assert!(listed > NEARLY, "{listed}");
        let text = as_text(&version, &explanation);
        assert!(text.contains(&format!("and {} more", listed - NEARLY)), "{text}");
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
