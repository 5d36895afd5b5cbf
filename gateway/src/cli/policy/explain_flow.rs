//! A flow of the ledger explained from what its row recorded: what decided, and what nearly did.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gateway_policy::{
    Access, Basis, Clause, Declassification, Explanation, Fact, Facts, FieldVerdict, Flow, KeptApart, Label,
    Policy as Rules, Purpose, Reason, Recorded, Transform, Verdict,
};
use serde_json::{Value, json};

use super::super::CliError;
use super::super::flows;
use super::version::Version;
use super::{explain, words};
use crate::manifest::returned_by;

/// A row's fields, each explained.
pub(super) struct Told {
    fields: Vec<Field>,
    /// In how many labels these rules do not say what the row says: another version of the policy decided.
    otherwise: usize,
}

struct Field {
    name: String,
    access: Access,
    recorded: Verdict,
    /// Whether something else than its own labels decided.
    met: bool,
    /// The two labels whose meeting decided, and what these rules say of it.
    kept_apart: Option<(Arc<KeptApart>, Explanation)>,
    /// In which form it goes.
    form: Option<Transform>,
    /// The declassification that gave it its labels.
    declassified: Option<Arc<str>>,
    /// Those that gave theirs to what it was made of.
    declassified_within: BTreeSet<Arc<str>>,
    /// Empty where the rules were not asked.
    labels: Vec<(Label, Explanation)>,
}

fn unreadable(what: &str) -> CliError {
    CliError::FellShort(format!("the gateway's answer has no {what} that this version knows"))
}

impl Told {
    /// Explains a row as `GET /v1/flows/{id}` gives it.
    pub(super) fn of(rules: &Rules, row: &Value, only: Option<&str>) -> Result<Self, CliError> {
        let text = |key: &str| row.get(key).and_then(Value::as_str).ok_or_else(|| unreadable(key));
        let held = row.get("facts").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let facts = held.map(|key| Fact::parse(key).ok_or_else(|| unreadable("fact")));
        let recorded = Recorded {
            request: false,
            flow: Flow::parse(text("flow")?).ok_or_else(|| unreadable("flow"))?,
            partner: text("partner")?,
            purpose: Purpose::parse(text("purpose")?).map_err(|_| unreadable("purpose"))?,
            facts: facts
                .collect::<Result<Vec<_>, _>>()?
                .into_iter()
                .fold(Facts::none(), |facts, fact| facts.with(fact, true)),
        };
        let mut told = Self { fields: Vec::new(), otherwise: 0 };
        for field in flows::fields(row) {
            let field: FieldVerdict =
                serde_json::from_value(field.clone()).map_err(|_| unreadable("field with a verdict"))?;
            if only.is_none_or(|only| only == &*field.field) {
                told.add(rules, &recorded, field)?;
            }
        }
        match only {
            Some(name) if told.fields.is_empty() => {
                Err(CliError::FellShort(format!("that flow says nothing of a field {name}")))
            }
            _ => Ok(told),
        }
    }

    fn add(&mut self, rules: &Rules, recorded: &Recorded<'_>, field: FieldVerdict) -> Result<(), CliError> {
        let asked = matches!(field.verdict.reason, Reason::Clause(_) | Reason::NoPermit);
        let explained =
            recorded.explain(rules, &field).map_err(|error| CliError::FellShort(error.to_string()))?;
        let labels: Vec<(Label, Explanation)> =
            field.labels.iter().cloned().zip(explained).filter(|_| asked).collect();
        let allowed = labels.iter().all(|(_, explanation)| explanation.verdict.allows());
        let kept_apart = field.basis.kept_apart.as_ref();
        let kept_apart = kept_apart.map(|pair| (Arc::clone(pair), recorded.explain_meeting(rules, pair)));
        let meets_otherwise =
            kept_apart.as_ref().is_some_and(|(_, explanation)| explanation.verdict.allows());
        if meets_otherwise || (asked && allowed != field.verdict.allows() && !field.basis.met) {
            self.otherwise += 1;
        }
        let Basis { met, form, declassified, declassified_within, .. } = field.basis;
        self.fields.push(Field {
            name: field.field.to_string(),
            access: field.access,
            recorded: field.verdict,
            met: met && asked,
            kept_apart,
            form,
            declassified,
            declassified_within,
            labels,
        });
        Ok(())
    }

    pub(super) fn as_text(&self, version: &Version) -> String {
        let mut lines = Vec::new();
        // What nearly decided, and what else is cited: once each, at the end.
        let (mut cited, mut told_of) = (BTreeMap::new(), BTreeSet::new());
        for field in &self.fields {
            lines.push(format!("{} ({}) {}", field.name, field.access, words::verdict(field.recorded)));
            if let Some(form) = field.form {
                lines.push(format!("  {}", form.in_words()));
            }
            let own = field.declassified.iter().map(|name| ("its labels are", name));
            let within =
                field.declassified_within.iter().map(|name| ("it was made of what has labels", name));
            for (what, name) in own.chain(within) {
                let says = match rule(&version.rules, name) {
                    Some(rule) => {
                        cited.insert(rule.clause.as_str(), rule.clause);
                        format!("clause:{}: {}", rule.clause, rule.clause.summary())
                    }
                    None => "these rules have none of this name".to_owned(),
                };
                lines.push(format!("  {what} by declassification {name} ({says})"));
            }
            cited.extend(field.recorded.reason.clause().map(|clause| (clause.as_str(), clause)));
            let mut explained = |lines: &mut Vec<String>, head: String, explanation: &Explanation| {
                lines.push(head);
                let told = explain::decision_text(version, explanation);
                cited.extend(explain::nearly_clauses(explanation));
                told_of.extend(explanation.verdict.reason.clause().map(Clause::as_str));
                lines.extend(told.lines().map(|line| format!("    {line}").trim_end().to_owned()));
            };
            match &field.kept_apart {
                Some((pair, explanation)) => explained(
                    &mut lines,
                    format!(
                        "  as {} it would have met {} (toward a {}, for {})",
                        pair.label,
                        pair.with,
                        pair.standing.recipient.as_str(),
                        pair.purpose
                    ),
                    explanation,
                ),
                None if field.met => lines.push(format!("  {}", besides(&field.name, field.recorded.reason))),
                None => {}
            }
            if field.labels.is_empty() {
                lines.push(format!("  {}", unasked(field.recorded.reason)));
            }
            let by_itself = if field.met { "by itself, as" } else { "as" };
            for (label, explanation) in &field.labels {
                explained(&mut lines, format!("  {by_itself} {label}"), explanation);
            }
            lines.push(String::new());
        }
        if self.otherwise > 0 {
            lines.push(format!(
                "{} of these fields were decided otherwise than these rules would: by another version; give its \
                 file with --policy, or the gateway's configuration with --config",
                self.otherwise
            ));
        }
        lines.pop_if(|line| line.is_empty());
        cited.retain(|id, _| !told_of.contains(id));
        lines.extend(explain::clauses_text(version, cited.into_values()));
        lines.join("\n").trim_end().to_owned()
    }

    pub(super) fn as_json(&self, version: &Version) -> Value {
        let fields: Vec<Value> = self
            .fields
            .iter()
            .map(|field| {
                let labels: Vec<Value> = field
                    .labels
                    .iter()
                    .map(|(label, explanation)| {
                        json!({ "label": label, "explanation": explain::as_json(version, explanation) })
                    })
                    .collect();
                json!({
                    "field": field.name,
                    "access": field.access,
                    "decision": field.recorded.decision,
                    "reason": field.recorded.reason,
                    "text": field.recorded.reason.clause().and_then(|clause| explain::text(version, clause)),
                    "form": field.form,
                    "declassified": field.declassified,
                    "declassified_under": field.declassified.as_ref()
                        .and_then(|name| rule(&version.rules, name))
                        .map(|rule| json!({
                            "clause": rule.clause,
                            "says": rule.clause.summary(),
                            "text": explain::text(version, rule.clause),
                        })),
                    "declassified_within": field.declassified_within,
                    "met": field.met,
                    "kept_apart": field.kept_apart.as_ref().map(|(pair, explanation)| json!({
                        "label": pair.label,
                        "with": pair.with,
                        "recipient": pair.standing.recipient,
                        "purpose": pair.purpose,
                        "explanation": explain::as_json(version, explanation),
                    })),
                    "labels": labels,
                })
            })
            .collect();
        json!({
            "policy": { "name": version.rules.name(), "effective": version.rules.effective() },
            "fields": fields,
            "decided_otherwise": self.otherwise,
        })
    }
}

/// The declassification of this name.
fn rule<'r>(rules: &'r Rules, name: &str) -> Option<&'r Declassification> {
    rules.declassifications().iter().find(|rule| *rule.name == *name)
}

/// What withheld it where neither its own labels did nor something that it would have met.
fn besides(name: &str, reason: Reason) -> &'static str {
    match reason.clause().map(Clause::as_str) {
        Some("policy.version") => {
            "the versions that count do not give it the labels that it was planned with"
        }
        _ if returned_by(name).is_some() => "the brand itself may not use what was returned to it",
        _ => "it would have met something that the row does not name",
    }
}

/// Why no rule was asked.
fn unasked(reason: Reason) -> &'static str {
    match reason {
        Reason::Undeclared => "the plugin did not declare it, so no rule was asked",
        Reason::NotGranted => "the brand did not grant it, so no rule was asked",
        Reason::MissingFact => "a fact that a rule needs was unknown, so it was withheld",
        Reason::Clause(_) | Reason::NoPermit => "it has no label",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boundary::PolicyBook;

    fn shipped() -> Version {
        Version::all(None).unwrap().remove(0)
    }

    fn row() -> Value {
        let field = |name: &str, category: &str, standing: &str, decision: &str, reason: &str| {
            json!({
                "field": name, "access": "read", "labels": [format!("first-party:{category}")],
                "decision": decision, "reason": reason, "standing": [{ "recipient": standing }],
            })
        };
        json!({
            "flow": "share", "recipient": "third-party", "partner": "acme-crm",
            "purpose": "essential.service.operations.support", "facts": ["brand-directed", "engaged"],
            "fields": [
                field("/contact/email", "user.contact.email", "service-provider", "allow", "clause:share.brand"),
                field("/transcript/*/text", "user.content.private.transcript", "third-party", "withhold", "clause:share.content"),
                field("/visit/ip", "user.device.ip_address", "third-party", "withhold", "not-granted"),
            ],
        })
    }

    #[test]
    fn each_field_is_explained_as_the_partner_stood_toward_it() {
        let version = shipped();
        let text = Told::of(&version.rules, &row(), None).unwrap().as_text(&version);
        for part in [
            // A service provider for this field, a third party for the next.
            "/contact/email (read) allow: clause:share.brand\n  as first-party:user.contact.email",
            "/transcript/*/text (read) withhold: clause:share.content",
            "it would not apply with permission.integration",
            "/visit/ip (read) withhold: not-granted\n  the brand did not grant it",
            // In the policy's words: what decided where it did, and what nearly did at the end.
            "\n      \"[the platform] does not disclose the contents of transcripts, surveys or recordings",
            "\nintegrations.opt-out: The consumer opted out of this integration.\n  \"If you do not wish",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("by another version"), "{text}");
        let only = Told::of(&version.rules, &row(), Some("/visit/ip")).unwrap();
        assert_eq!(only.as_json(&version)["fields"].as_array().unwrap().len(), 1);
        assert!(Told::of(&version.rules, &row(), Some("/nothing")).is_err());
    }

    #[test]
    fn a_declassification_and_a_meeting_are_named() {
        let version = shipped();
        let mut row = row();
        row["fields"][0]["decision"] = json!("transform");
        row["fields"][0]["form"] = json!("pseudonym");
        row["fields"][0]["declassified"] = json!("contact-to-pseudonym");
        row["fields"][1]["reason"] = json!("clause:integrations.combine");
        row["fields"][1]["met"] = json!(true);
        row["fields"][1]["kept_apart"] = json!({
            "label": "first-party:user.content.private.transcript", "with": "partner:acme-crm:user.account",
            "recipient": "third-party", "purpose": "essential.service.operations.support",
        });
        // Made of what left as a pseudonym; the brand may not use it.
        row["fields"][2]["field"] = json!("/returned/scores/visit");
        row["fields"][2]["reason"] = json!("clause:integrations.opt-out");
        row["fields"][2]["met"] = json!(true);
        row["fields"][2]["declassified_within"] = json!(["contact-to-pseudonym"]);
        let told = Told::of(&version.rules, &row, None).unwrap();
        let text = told.as_text(&version);
        for part in [
            "  as a pseudonym that only this partner gets for this brand\n",
            "its labels are by declassification contact-to-pseudonym (clause:use.brand-directed: Data is used",
            "withhold: clause:integrations.combine\n  as first-party:user.content.private.transcript it would have met \
             partner:acme-crm:user.account (toward a third-party, for essential.service.operations.support)\n    \
             withhold: clause:integrations.combine",
            "decided by rule 23 (forbid)",
            "it would not apply with combine.granted",
            "\n  by itself, as first-party:user.content.private.transcript\n    withhold: clause:share.content",
            "withhold: clause:integrations.opt-out\n  it was made of what has labels by declassification \
             contact-to-pseudonym (clause:use.brand-directed",
            "\n  the brand itself may not use what was returned to it\n  by itself, as first-party:user.device.ip_address",
        ] {
            assert!(text.contains(part), "{text}");
        }
        let fields = &told.as_json(&version)["fields"];
        assert_eq!(fields[0]["declassified_under"]["clause"], "use.brand-directed");
        let without = PolicyBook::SHIPPED.replace("contact-to-pseudonym", "contact-to-id");
        let mut other = shipped();
        other.rules = Rules::parse(&without).unwrap();
        let text = told.as_text(&other);
        assert!(text.contains("contact-to-pseudonym (these rules have none of this name)"), "{text}");
        assert_eq!(fields[0]["declassified"], "contact-to-pseudonym");
        assert_eq!(fields[2]["declassified_within"], json!(["contact-to-pseudonym"]));
        assert_eq!(fields[1]["kept_apart"]["explanation"]["decided_by"]["rule"], 23);
    }

    #[test]
    fn a_meeting_that_another_version_withheld_is_said_to_be_that() {
        let version = shipped();
        let mut row = row();
        row["fields"][0]["decision"] = json!("withhold");
        row["fields"][0]["reason"] = json!("clause:integrations.combine");
        row["fields"][0]["met"] = json!(true);
        row["fields"][0]["kept_apart"] = json!({
            "label": "first-party:user.contact.email", "with": "first-party:user.name",
            "recipient": "service-provider", "purpose": "essential.service.operations.support", "granted": true,
        });
        let told = Told::of(&version.rules, &row, Some("/contact/email")).unwrap();
        assert_eq!(told.otherwise, 1);
        assert!(told.as_text(&version).contains("by another version"));
    }

    #[test]
    fn a_row_that_does_not_say_how_its_recipient_stood_is_an_error() {
        let version = shipped();
        let mut row = row();
        row["fields"][0]["standing"] = json!([]);
        let error = Told::of(&version.rules, &row, None).err().unwrap().to_string();
        assert!(error.contains("does not record how its recipient stood"), "{error}");
    }

    #[test]
    fn what_another_version_decided_is_said_to_be_that() {
        let version = shipped();
        let mut row = row();
        row["fields"][1]["decision"] = json!("allow");
        row["fields"][1]["reason"] = json!("clause:integrations.share");
        let told = Told::of(&version.rules, &row, None).unwrap();
        assert_eq!(told.otherwise, 1);
        assert!(told.as_text(&version).contains("by another version"));
    }
}
