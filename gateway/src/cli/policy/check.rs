//! `gateway policy check`: local and pure; no gateway is asked.

use std::path::{Path, PathBuf};
use std::time::Instant;

use gateway_policy::{Failure, Idle, Policy as Rules, Properties, Report, check};
use serde_json::{Value, json};

use super::super::CliError;
use super::super::output::{self, FormatArgs, Table};
use super::{rules, words};

pub(super) const HELP: &str = "\
The properties of FILE stand in a file of the same name in the folder `properties` beside it. Every flow,
recipient, purpose, category (for `combine`: pair of categories) and combination of facts is covered. A
property that fails comes with the combination that offends, and a rule that decides nothing with one that it
matches; then the exit status is 1. So is it for a declassification that changes no label, or names a clause
that it does not lift, and for a file without properties. What is said of rules:
  dead           no combination matches it
  shadowed       it matches, but other rules decide wherever it does
  contradiction  a permit that a forbid beats wherever it matches
  reason-only    a forbid without which every verdict would be the same, for another reason: it decides the reason

Examples:
  gateway policy check
  gateway policy check policies/platform-2027-01-01.toml --format json";

/// What must hold of the shipped policy.
const SHIPPED: &str = include_str!("../../../policies/properties/platform-2017-03-01.toml");

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Check {
    /// A policy file in place of the shipped one
    file: Option<PathBuf>,
    #[command(flatten)]
    format: FormatArgs,
}

impl Check {
    pub(super) fn run(self) -> Result<(), CliError> {
        let policy = rules(self.file.as_deref())?;
        let properties = properties(self.file.as_deref())?;
        let started = Instant::now();
        let report = check(&policy, &properties);
        let seconds = started.elapsed().as_secs_f64();
        if self.format.json() {
            output::json(&as_json(&policy, &report, seconds))?;
        } else {
            output::line(&as_text(&policy, &report, seconds))?;
        }
        let idle = report.findings.iter().any(|finding| !finding.kind.decides()) || !report.idle.is_empty();
        let proved = report.proved > 0 && report.failures.is_empty();
        if proved && !idle { Ok(()) } else { Err(CliError::Told) }
    }
}

/// Those beside the file; none where no file of that name is there.
fn properties(policy: Option<&Path>) -> Result<Properties, CliError> {
    let text = match policy.map(|path| (path.parent(), path.file_name())) {
        None => SHIPPED.to_owned(),
        Some((parent, name)) => {
            let beside = parent.unwrap_or(Path::new("")).join("properties").join(name.unwrap_or_default());
            match std::fs::read_to_string(&beside) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
                Err(error) => return Err(CliError::file("reading", &beside)(error)),
            }
        }
    };
    Properties::parse(&text).map_err(|error| CliError::FellShort(error.to_string()))
}

fn as_text(policy: &Rules, report: &Report, seconds: f64) -> String {
    let mut lines = vec![
        format!(
            "policy {} of {}: {} rules, {} declassifications",
            policy.name(),
            policy.effective(),
            policy.rules().len(),
            policy.declassifications().len()
        ),
        words::size(&report.size, seconds),
    ];
    lines.push(match (report.proved, report.failures.len()) {
        (0, 0) => {
            "no properties stand beside it, so nothing is proved; write them in properties/ under its name"
                .to_owned()
        }
        (proved, 0) => format!("{proved} properties proved"),
        (proved, failed) => format!("{proved} properties proved, {failed} failed"),
    });
    if !report.left_out.is_empty() {
        let names = report.left_out.join(", ");
        lines.push(format!("left out, since they speak of the strict reading: {names}"));
    }
    for failure in &report.failures {
        lines.push(String::new());
        lines.push(format!("FAILED {} ({}): {}", failure.property, failure.clause, failure.says));
        lines.extend(offence(failure));
    }
    let mut table =
        Table::new(&["finding", "rule", "effect", "clause", "decided by", "for example", "facts that hold"]);
    for finding in &report.findings {
        let by: Vec<String> = finding.by.iter().map(ToString::to_string).collect();
        table.row([
            finding.kind.as_str().to_owned(),
            finding.rule.to_string(),
            words::effect(finding.effect).to_owned(),
            finding.clause.to_string(),
            if by.is_empty() { "-".to_owned() } else { by.join(", ") },
            finding.example.as_ref().map_or_else(|| "-".to_owned(), words::example),
            finding.example.as_ref().map_or_else(|| "-".to_owned(), |example| words::facts(&example.facts)),
        ]);
    }
    let mut idle = Table::new(&["finding", "declassification", "clause", "lifts nowhere", "spoken for by"]);
    for Idle { kind, declassification, clause, lift, by } in &report.idle {
        idle.row([
            kind.as_str().to_owned(),
            declassification.to_string(),
            clause.to_string(),
            lift.map_or_else(|| "-".to_owned(), |clause| clause.to_string()),
            if by.is_empty() { "-".to_owned() } else { by.join(", ") },
        ]);
    }
    for table in [table, idle].iter().filter(|table| !table.is_empty()) {
        lines.push(String::new());
        lines.push(table.render());
    }
    lines.join("\n")
}

fn offence(failure: &Failure) -> Vec<String> {
    let (example, relabelled) =
        (failure.example.as_ref(), failure.relabelled.as_ref().map(words::relabelled));
    let (example, at_fault) = match (example, relabelled, failure.rule) {
        (None, Some(relabelled), _) => return vec![format!("  {relabelled}")],
        (None, None, _) => return vec!["  its scope holds no combination, so it says nothing".to_owned()],
        (Some(example), Some(relabelled), _) => {
            (example, format!("  withheld there, and allowed once it left: {relabelled}"))
        }
        (Some(example), None, Some((rule, effect))) => {
            (example, format!("  rule {rule} ({}) matches there", words::effect(effect)))
        }
        (Some(example), None, None) => (example, "  no rule matches where one should".to_owned()),
    };
    vec![
        format!("  {}", words::example(example)),
        format!("  facts that hold: {}", words::facts(&example.facts)),
        at_fault,
    ]
}

fn as_json(policy: &Rules, report: &Report, seconds: f64) -> Value {
    let failures: Vec<Value> = report
        .failures
        .iter()
        .map(|failure| {
            json!({
                "property": failure.property,
                "clause": failure.clause,
                "says": failure.says,
                "combination": failure.example.as_ref().map(words::example_json),
                "rule": failure.rule.map(|(rule, _)| rule),
                "effect": failure.rule.map(|(_, effect)| words::effect(effect)),
                "relabelled": failure.relabelled.as_ref().map(words::relabelled_json),
            })
        })
        .collect();
    let findings: Vec<Value> = report
        .findings
        .iter()
        .map(|finding| {
            json!({
                "finding": finding.kind.as_str(),
                "rule": finding.rule,
                "effect": words::effect(finding.effect),
                "clause": finding.clause,
                "decided_by": finding.by,
                "combination": finding.example.as_ref().map(words::example_json),
            })
        })
        .collect();
    let idle: Vec<Value> = report
        .idle
        .iter()
        .map(|Idle { kind, declassification, clause, lift, by }| {
            json!({
                "finding": kind.as_str(),
                "declassification": declassification,
                "clause": clause,
                "lifts_nowhere": lift,
                "spoken_for_by": by,
            })
        })
        .collect();
    json!({
        "policy": {
            "name": policy.name(),
            "effective": policy.effective(),
            "rules": policy.rules().len(),
            "declassifications": policy.declassifications().len(),
        },
        "space": words::size_json(&report.size, seconds),
        "proved": report.proved,
        "failed": failures,
        "left_out": report.left_out,
        "findings": findings,
        "declassifications": idle,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_policy_holds_what_stands_beside_it_and_says_how_much_that_covers() {
        let policy = rules(None).unwrap();
        let report = check(&policy, &properties(None).unwrap());
        let text = as_text(&policy, &report, 0.5);
        for part in [
            "2017-03-01: 50 rules, 6 declassifications",
            "77 properties proved\n",
            "in 0.50 s",
            "reason-only",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("FAILED") && !text.contains("dead"), "{text}");
        assert_eq!(as_json(&policy, &report, 0.5)["failed"], json!([]));
    }

    #[test]
    fn a_rule_that_decides_nothing_is_told_with_the_combination_and_the_exit_status() {
        const PERMIT: &str = "effect = 'permit'\nwhen = ['engaged']\n";
        const FORBID: &str = "effect = 'forbid'\nwhen = ['signal.dnt']\n";
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("small.toml");
        std::fs::create_dir(dir.path().join("properties")).unwrap();
        let beside = "[[property]]\nname = 'p'\nclause = 'share.content'\nsays = 's'\nnever = 'permit'\n\
                      flow = ['decide']\nrecipient = ['third-party']\n";
        std::fs::write(dir.path().join("properties/small.toml"), beside).unwrap();
        for (name, rules, idle, says) in [
            ("nothing the matter", &[PERMIT, FORBID][..], false, &[][..]),
            (
                "dead",
                &[PERMIT, "effect = 'permit'\nwhen = ['engaged']\nunless = ['engaged']\n"],
                true,
                &["dead", "  -  "],
            ),
            (
                "shadowed",
                &[PERMIT, FORBID, "effect = 'forbid'\nwhen = ['signal.dnt', 'engaged']\n"],
                true,
                &["shadowed", "3", "share to third-party for", "signal.dnt"],
            ),
            (
                "contradiction",
                &[PERMIT, "effect = 'forbid'\nwhen = ['engaged']\n"],
                true,
                &["contradiction", "share to third-party for", "engaged"],
            ),
            // It gives the reason, which is something.
            (
                "reason-only",
                &[PERMIT, "effect = 'forbid'\nunless = ['engaged']\n"],
                false,
                &["reason-only", "share to third-party for"],
            ),
        ] {
            let table = |rule: &&str| {
                format!(
                    "[[rule]]\nflow = ['share']\nrecipient = ['third-party']\nclause = 'share.content'\n{rule}"
                )
            };
            let text: String = rules.iter().map(table).collect();
            std::fs::write(&file, format!("name = 'small'\neffective = '2020-01-01'\n{text}")).unwrap();
            let run = Check { file: Some(file.clone()), format: FormatArgs::default() }.run();
            assert_eq!(matches!(run, Err(CliError::Told)), idle, "{name}");
            let policy = rules_of(&file);
            let told = as_text(&policy, &check(&policy, &Properties::default()), 0.0);
            assert!(says.iter().all(|part| told.contains(part)), "{name}: {told}");
        }
    }

    #[test]
    fn a_declassification_that_does_not_do_what_it_says_is_told_with_the_exit_status() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("forms.toml");
        std::fs::create_dir(dir.path().join("properties")).unwrap();
        let beside = "[[property]]\nname = 'p'\nclause = 'choice.sms'\nsays = 's'\nnever = 'lift'\n\
                      flow = ['share']\nrecipient = ['third-party']\n\
                      [[form]]\nname = 'f'\nclause = 'choice.sms'\nsays = 't'\nform = ['country-code']\n\
                      category = ['user.contact.phone_number']\nbecomes = 'user.contact.address.country'\n";
        std::fs::write(dir.path().join("properties/forms.toml"), beside).unwrap();
        let shipped = crate::boundary::PolicyBook::SHIPPED;
        let place = "to = \"user.contact.address.country\"\nclause = \"use.brand-directed\"\nlifts = [\"choice.sms\"]";
        assert!(shipped.contains(place));
        for (with, fails, says) in [
            (place.to_owned(), false, &["2 properties proved\n"][..]),
            (
                place.replace("[\"choice.sms\"]", "[]"),
                true,
                &[
                    "FAILED p (choice.sms): s\n  share to third-party for",
                    "facts that hold: opt-out.sms, ",
                    "withheld there, and allowed once it left: user.contact.phone_number as country-code: \
                     user.contact.address.country (number-to-country)",
                ],
            ),
            (
                place.replace("address.country", "address"),
                true,
                &[
                    "FAILED f (choice.sms): t\n  user.contact.phone_number as country-code: user.contact.address (number",
                ],
            ),
            (
                place.replace("choice.sms", "share.content\", \"choice.sms"),
                true,
                &["dead", "number-to-country", "share.content"],
            ),
        ] {
            std::fs::write(&file, shipped.replace(place, &with)).unwrap();
            let run = Check { file: Some(file.clone()), format: FormatArgs::default() }.run();
            assert_eq!(matches!(run, Err(CliError::Told)), fails, "{with}: {run:?}");
            let policy = rules_of(&file);
            let told = as_text(&policy, &check(&policy, &properties(Some(&file)).unwrap()), 0.0);
            assert!(says.iter().all(|part| told.contains(part)), "{with}: {told}");
        }
    }

    fn rules_of(file: &Path) -> Rules {
        rules(Some(file)).unwrap()
    }

    #[test]
    fn a_property_that_fails_is_told_with_the_combination_and_the_exit_status() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("open.toml");
        // Content goes to third parties whatever the consumer says.
        let open = crate::boundary::PolicyBook::SHIPPED.replace("unless = [\"permission.integration\"]", "");
        std::fs::write(&file, open).unwrap();
        let run = || Check { file: Some(file.clone()), format: FormatArgs::default() }.run();
        assert!(matches!(run(), Err(CliError::Told)), "no properties stand beside it: nothing is proved");
        std::fs::create_dir(dir.path().join("properties")).unwrap();
        let beside = "[[property]]\nname = 'p'\nclause = 'share.content'\nsays = 's'\nalways = 'allow'\n\
                      flow = ['share']\nrecipient = ['third-party']\ncategory = ['user.content.private']\n";
        std::fs::write(dir.path().join("properties/open.toml"), beside).unwrap();
        assert!(matches!(run(), Err(CliError::Told)));
        let report = check(&rules(Some(&file)).unwrap(), &properties(Some(&file)).unwrap());
        let text = as_text(&rules(Some(&file)).unwrap(), &report, 0.0);
        for part in ["FAILED p (share.content): s", "share to third-party for", "(forbid) matches there"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
