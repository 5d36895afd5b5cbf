//! Combinations, rules and verdicts in words.

use gateway_policy::{Effect, Example, Fact, Relabelled, Size, Verdict};
use serde_json::{Value, json};

pub(super) fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::Permit => "permit",
        Effect::Forbid => "forbid",
    }
}

/// `engaged` must hold, `not opt-out.sms` must not.
pub(super) fn fact((fact, value): (Fact, bool)) -> String {
    if value { fact.to_string() } else { format!("not {fact}") }
}

/// The facts that hold in a combination. That no other does is always one of those that it stands for.
pub(super) fn facts(facts: &[(Fact, bool)]) -> String {
    let holding: Vec<&str> =
        facts.iter().filter(|(_, value)| *value).map(|(fact, _)| fact.as_str()).collect();
    if holding.is_empty() { "none".to_owned() } else { holding.join(", ") }
}

/// `share to third-party for essential (and 3 alike): user.name (and 2 alike)`.
pub(super) fn example(example: &Example) -> String {
    let alike = |members: usize| match members.saturating_sub(1) {
        0 => String::new(),
        others => format!(" (and {others} alike)"),
    };
    let with = example.with.map(|with| format!(" with {with}")).unwrap_or_default();
    format!(
        "{} to {} for {}{}: {}{}{with}",
        example.flow.as_str(),
        example.recipient.as_str(),
        example.purpose,
        alike(example.purposes),
        example.category,
        alike(example.categories),
    )
}

pub(super) fn example_json(example: &Example) -> Value {
    let of = |wanted: bool| -> Vec<&str> {
        example.facts.iter().filter(|(_, value)| *value == wanted).map(|(fact, _)| fact.as_str()).collect()
    };
    json!({
        "flow": example.flow,
        "recipient": example.recipient,
        "purpose": example.purpose,
        "purposes_alike": example.purposes,
        "category": example.category,
        "categories_alike": example.categories,
        "with": example.with,
        "true": of(true),
        "false": of(false),
    })
}

/// `user.name as pseudonym: user.unique_id.pseudonymous (name-to-pseudonym)`.
pub(super) fn relabelled(one: &Relabelled) -> String {
    format!("{} as {}: {}", one.from, one.form.as_str(), leaves(one))
}

/// What a form makes of a label: `user.unique_id.pseudonymous (name-to-pseudonym)`.
pub(super) fn leaves(one: &Relabelled) -> String {
    one.by.as_ref().map_or_else(|| "keeps its label".to_owned(), |name| format!("{} ({name})", one.to))
}

pub(super) fn relabelled_json(one: &Relabelled) -> Value {
    json!({ "form": one.form, "from": one.from.as_str(), "to": one.to.as_str(), "declassification": one.by })
}

/// `withhold: clause:share.content`.
pub(super) fn verdict(verdict: Verdict) -> String {
    format!("{}: {}", verdict.decision.as_str(), verdict.reason)
}

/// How much was covered, by visiting how much.
pub(super) fn size(size: &Size, seconds: f64) -> String {
    format!(
        "visited {} cases, which cover all {} combinations of {} decisions ({} classes of purposes, {} of \
         categories), in {seconds:.2} s",
        size.visited, size.combinations, size.decisions, size.purposes, size.categories,
    )
}

pub(super) fn size_json(size: &Size, seconds: f64) -> Value {
    json!({
        "visited": size.visited,
        // JSON numbers end at 2^53.
        "combinations": size.combinations.to_string(),
        "decisions": size.decisions,
        "purpose_classes": size.purposes,
        "category_classes": size.categories,
        "seconds": seconds,
    })
}
