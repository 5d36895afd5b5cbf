//! `gateway policy diff`: local and pure; no gateway is asked.

use std::path::PathBuf;
use std::time::Instant;

use gateway_policy::{Aggregation, Difference, Relabelling, diff};
use serde_json::{Value, json};

use super::super::CliError;
use super::super::output::{self, FormatArgs, Table};
use super::{rules, words};

pub(super) const HELP: &str = "\
Every combination is covered. A line tells how many questions (purpose and category, or pair of categories) a
change concerns in some combination of facts, and the plainest of them. What goes in a form is decided by the
label that it then has; where that is another, or by another rule, a second table says so. A third tells
which numbers of `[aggregate]` differ.

Example:
  gateway policy diff policies/platform-2017-03-01.toml policies/platform-2027-01-01.toml";

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Diff {
    /// The policy as it is
    old: PathBuf,
    /// The policy as it would be
    new: PathBuf,
    #[command(flatten)]
    format: FormatArgs,
}

impl Diff {
    pub(super) fn run(self) -> Result<(), CliError> {
        let (old, new) = (rules(Some(&self.old))?, rules(Some(&self.new))?);
        let started = Instant::now();
        let difference = diff(&old, &new);
        let seconds = started.elapsed().as_secs_f64();
        if self.format.json() {
            return output::json(&as_json(&difference, seconds));
        }
        output::line(&as_text(&difference, seconds))
    }
}

fn as_text(difference: &Difference, seconds: f64) -> String {
    let mut lines = vec![words::size(&difference.size, seconds)];
    if difference.flips.is_empty() {
        lines.push("nothing flips".to_owned());
    }
    let mut table =
        Table::new(&["old", "new", "flow", "recipient", "questions", "for example", "facts that hold"]);
    for flip in &difference.flips {
        table.row([
            words::verdict(flip.old),
            words::verdict(flip.new),
            flip.flow.as_str().to_owned(),
            flip.recipient.as_str().to_owned(),
            flip.questions.to_string(),
            words::example(&flip.example),
            words::facts(&flip.example.facts),
        ]);
    }
    let mut labels = Table::new(&["form", "old", "new", "categories", "for example"]);
    for Relabelling { old, new, categories } in &difference.relabellings {
        labels.row([
            old.form.as_str().to_owned(),
            words::leaves(old),
            words::leaves(new),
            categories.to_string(),
            old.from.to_string(),
        ]);
    }
    let mut numbers = Table::new(&["aggregates", "old", "new"]);
    if let Some((old, new)) = &difference.aggregation {
        let written = |of: &Aggregation| [of.k, of.queries_per_day, of.clip];
        let names = ["k", "queries-per-day", "clip"].into_iter();
        for ((name, old), new) in
            names.zip(written(old)).zip(written(new)).filter(|((_, old), new)| old != new)
        {
            numbers.row([name.to_owned(), old.to_string(), new.to_string()]);
        }
    }
    lines.extend([table, labels, numbers].iter().filter(|table| !table.is_empty()).map(Table::render));
    lines.join("\n")
}

fn as_json(difference: &Difference, seconds: f64) -> Value {
    let flips: Vec<Value> = difference
        .flips
        .iter()
        .map(|flip| {
            json!({
                "old": flip.old,
                "new": flip.new,
                "flow": flip.flow,
                "recipient": flip.recipient,
                "questions": flip.questions,
                "example": words::example_json(&flip.example),
            })
        })
        .collect();
    let labels: Vec<Value> = difference
        .relabellings
        .iter()
        .map(|Relabelling { old, new, categories }| {
            json!({
                "old": words::relabelled_json(old),
                "new": words::relabelled_json(new),
                "categories": categories,
            })
        })
        .collect();
    let made =
        |of: &Aggregation| json!({ "k": of.k, "queries-per-day": of.queries_per_day, "clip": of.clip });
    let aggregates =
        difference.aggregation.as_ref().map(|(old, new)| json!({ "old": made(old), "new": made(new) }));
    json!({
        "space": words::size_json(&difference.size, seconds),
        "flips": flips,
        "relabelled": labels,
        "aggregates": aggregates,
    })
}

#[cfg(test)]
mod tests {
    use gateway_policy::Policy as Rules;

    use super::*;
    use crate::boundary::PolicyBook;

    #[test]
    fn a_looser_reading_flips_what_its_clause_withheld_and_nothing_else() {
        let old = Rules::parse(PolicyBook::SHIPPED).unwrap();
        let line = "content-needs-permission = \"strict\"";
        let loose = PolicyBook::SHIPPED.replace(line, "content-needs-permission = \"loose\"");
        let new = Rules::parse(&loose).unwrap();
        let there = as_json(&diff(&old, &new), 0.0);
        let flips = there["flips"].as_array().unwrap();
        assert_eq!(flips.len(), 2, "share and decide: {there}");
        for flip in flips {
            assert_eq!(flip["old"]["reason"], "clause:share.content");
            assert_eq!(flip["new"]["decision"], "allow");
            assert_eq!(flip["recipient"], "third-party");
        }
        let back = diff(&new, &old);
        assert!(back.flips.iter().all(|flip| flip.old.allows() && !flip.new.allows()));
        assert!(as_text(&back, 0.0).contains("withhold: clause:share.content"));
        assert!(as_text(&diff(&old, &old), 0.0).contains("nothing flips"));
    }

    #[test]
    fn the_numbers_by_which_aggregates_are_made_are_told_where_they_differ() {
        let old = Rules::parse(PolicyBook::SHIPPED).unwrap();
        let new = Rules::parse(&PolicyBook::SHIPPED.replace("k = 20 ", "k = 2 ")).unwrap();
        let difference = diff(&old, &new);
        let text = as_text(&difference, 0.0);
        assert!(text.ends_with("aggregates  old  new\nk           20   2"), "{text}");
        assert_eq!(as_json(&difference, 0.0)["aggregates"]["new"]["k"], 2);
        assert_eq!(as_json(&diff(&old, &old), 0.0)["aggregates"], Value::Null);
    }

    #[test]
    fn a_form_that_makes_something_else_of_labels_is_told_with_its_rules() {
        let old = Rules::parse(PolicyBook::SHIPPED).unwrap();
        let other = PolicyBook::SHIPPED.replace("name = \"number-to-country\"", "name = \"code-to-country\"");
        let without = other.replace("form = \"rounded\"", "form = \"day\"");
        let difference = diff(&old, &Rules::parse(&without).unwrap());
        let text = as_text(&difference, 0.0);
        for part in [
            "nothing flips",
            "user.contact.address.country (number-to-country)  user.contact.address.country (code-to-country)",
            "user.location.imprecise (coordinate-to-place)     keeps its label",
            "keeps its label                                   user.location.imprecise (coordinate-to-place)",
        ] {
            assert!(text.contains(part), "{text}");
        }
        let relabelled = &as_json(&difference, 0.0)["relabelled"];
        assert_eq!(relabelled.as_array().unwrap().len(), 3, "{relabelled}");
        assert_eq!(relabelled[0]["old"]["declassification"], "coordinate-to-place", "{relabelled}");
    }
}
