//! Every part of the shipped policy is kept by something: take any rule, fact, exception, flow,
//! recipient or key away, turn a fact around, or let a permit reach further, and a property fails or the reference disagrees; take a
//! declassification away, let it reach further or elsewhere, and a property fails, or the check finds that it does not do what it says. And
//! every property is of use: some such change offends it.

use std::collections::{BTreeMap, BTreeSet};

use gateway_policy::{Flow, Policy, Properties, Recipient, Transform, check, diff};
use toml::{Table, Value};

use crate::SHIPPED;
use crate::compare::agree;
use crate::draw::Random;

const PROPERTIES: &str = include_str!("../../../policies/properties/platform-2017-03-01.toml");
const README: &str = include_str!("../../../policies/README.md");

/// Questions put to the reference where no property fails.
const CASES: usize = 200_000;

/// The permit for forum posts allows nothing that others do not allow too; it gives the reason, which
/// properties do not speak of and the reference does.
const REASON_ONLY: &str = "(choice.public)";

/// What mutants of a declassification are called.
const DECLASSIFICATION: &str = "declassification";

/// The lists of a rule or of an exception.
const LISTS: [&str; 7] = ["flow", "recipient", "category", "with", "purpose", "when", "unless"];

/// A policy with one thing taken away or turned around.
struct Mutant {
    what: String,
    /// `rule`, `scope`, `fact`, `exception`, `group`, `wider` for a permit of more, or `declassification`: what
    /// it is a change of.
    part: &'static str,
    text: String,
    /// A whole rule is gone, or one of its facts is otherwise: what a property must notice.
    of_a_rule: bool,
}

fn mutants() -> Vec<Mutant> {
    let whole: Table = SHIPPED.parse().unwrap();
    let mut mutants = Vec::new();
    let mut push = |what: String, part, of_a_rule, change: &dyn Fn(&mut Table)| {
        let mut changed = whole.clone();
        change(&mut changed);
        mutants.push(Mutant { what, part, text: toml::to_string(&changed).unwrap(), of_a_rule });
    };
    for groups in ["categories", "purposes"] {
        for (group, members) in whole[groups].as_table().unwrap() {
            for (index, member) in members.as_array().unwrap().iter().enumerate() {
                if members.as_array().unwrap().len() > 1 {
                    push(format!("@{group} without {member}"), "group", false, &|table| {
                        table[groups][group].as_array_mut().unwrap().remove(index);
                    });
                }
            }
        }
    }
    for (number, rule) in whole["rule"].as_array().unwrap().iter().enumerate() {
        let rule = rule.as_table().unwrap();
        let name = format!("rule {} ({})", number + 1, rule["clause"].as_str().unwrap());
        push(format!("{name} gone"), "rule", true, &|table| {
            table["rule"].as_array_mut().unwrap().remove(number);
        });
        for (key, wider) in wider(rule) {
            push(format!("{name} with {wider} as {key}"), "wider", false, &|table| {
                table["rule"][number][key].as_array_mut().unwrap().push(Value::String(wider.to_owned()));
            });
        }
        for (path, index, item) in items(rule) {
            let facts = path.iter().any(|key| key == "when" || key == "unless");
            let (key, last) = (path.join("."), path.len() == 1);
            let part = match (path.first().map(String::as_str), facts) {
                (Some("except"), _) => "exception",
                (_, true) => "fact",
                (_, false) => "scope",
            };
            push(format!("{name} without {item} of {key}"), part, facts && last, &|table| {
                remove(&mut table["rule"][number], &path, index);
            });
            if facts {
                push(format!("{name} with {item} of {key} the other way"), part, last, &|table| {
                    flip(&mut table["rule"][number], &path, index);
                });
            }
        }
    }
    for (number, rule) in whole["declassify"].as_array().unwrap().iter().enumerate() {
        let name = rule["name"].as_str().unwrap();
        push(format!("{name} gone"), DECLASSIFICATION, true, &|table| {
            table["declassify"].as_array_mut().unwrap().remove(number);
        });
        for (key, other) in otherwise(rule.as_table().unwrap()) {
            push(format!("{name} with {key} = {other}"), DECLASSIFICATION, false, &|table| {
                table["declassify"][number][key] = other.clone();
            });
        }
    }
    mutants
}

/// A declassification of more, into less, of another form, and one that names another clause or one less.
fn otherwise(rule: &Table) -> Vec<(&'static str, Value)> {
    let text = |key: &str| rule[key].as_str().unwrap();
    let above = |key: &str| text(key).rsplit_once('.').unwrap().0.to_owned();
    let mut changes = vec![
        ("from", Value::String(above("from"))),
        ("to", Value::String(above("to"))),
        ("to", Value::String(text("from").to_owned())),
        ("to", Value::String("user.telemetry".to_owned())),
    ];
    // Of the form `region` no rule may speak.
    let forms = Transform::ALL.map(Transform::as_str).into_iter().filter(|form| *form != "region");
    let others = forms.filter(|form| *form != text("form"));
    changes.extend(others.map(|form| ("form", Value::String(form.to_owned()))));
    let lifts = rule["lifts"].as_array().unwrap();
    for (index, _) in lifts.iter().enumerate() {
        let mut fewer = lifts.clone();
        fewer.remove(index);
        changes.push(("lifts", Value::Array(fewer)));
    }
    let more = [lifts.as_slice(), &[Value::String("share.content".to_owned())]].concat();
    changes.push(("lifts", Value::Array(more)));
    changes
}

/// Flows and recipients that a permit does not have: it would allow what nobody meant.
fn wider(rule: &Table) -> Vec<(&'static str, &'static str)> {
    let flows = Flow::ALL.map(|flow| ("flow", flow.as_str()));
    let recipients = Recipient::ALL.map(|recipient| ("recipient", recipient.as_str()));
    let missing = |(key, word): &(&str, &str)| {
        let list = rule[*key].as_array().unwrap();
        !list.iter().any(|listed| listed.as_str() == Some(word))
    };
    let permits = rule["effect"].as_str() == Some("permit");
    flows.into_iter().chain(recipients).filter(|one| permits && missing(one)).collect()
}

/// What can be taken away: where it stands, and what it is.
type Item = (Vec<String>, usize, String);

/// The members of a table's lists.
fn members(prefix: &[String], table: &Table) -> Vec<Item> {
    let lists = LISTS.iter().filter_map(|key| Some((*key, table.get(*key)?.as_array()?)));
    lists
        // Without its only flow or recipient, a rule is gone: that is a mutant of its own.
        .filter(|(key, list)| list.len() > 1 || !["flow", "recipient"].contains(key))
        .flat_map(|(key, list)| list.iter().enumerate().map(move |(index, item)| (key, index, item)))
        .map(|(key, index, item)| ([prefix, &[key.to_owned()]].concat(), index, item.to_string()))
        .collect()
}

/// Members of a rule's lists, its exceptions, and members of theirs.
fn items(rule: &Table) -> Vec<Item> {
    let mut items = members(&[], rule);
    let exceptions = rule.get("except").and_then(Value::as_array).cloned().unwrap_or_default();
    for (index, exception) in exceptions.iter().enumerate() {
        items.extend(members(&["except".to_owned(), index.to_string()], exception.as_table().unwrap()));
        items.push((vec!["except".to_owned()], index, exception.to_string()));
    }
    items
}

fn at<'v>(rule: &'v mut Value, path: &[String]) -> &'v mut Value {
    path.iter().fold(rule, |value, key| match key.parse::<usize>() {
        Ok(position) => &mut value[position],
        Err(_) => &mut value[key.as_str()],
    })
}

fn remove(rule: &mut Value, path: &[String], index: usize) -> Value {
    at(rule, path).as_array_mut().unwrap().remove(index)
}

/// A fact that must hold must not, or the reverse.
fn flip(rule: &mut Value, path: &[String], index: usize) {
    let fact = remove(rule, path, index);
    let (last, above) = path.split_last().unwrap();
    let other = if last == "when" { "unless" } else { "when" };
    let table = at(rule, above).as_table_mut().unwrap();
    let list = table.entry(other).or_insert_with(|| Value::Array(Vec::new()));
    list.as_array_mut().unwrap().push(fact);
}

#[test]
fn the_readme_counts_the_changes() {
    let said = format!("{} changes take", mutants().len());
    assert!(README.contains(&said), "policies/README.md must say: {said}");
}

#[test]
fn whatever_is_taken_away_or_turned_around_something_notices() {
    let properties = Properties::parse(PROPERTIES).unwrap();
    let shipped = Policy::parse(SHIPPED).unwrap();
    let mut random = Random::new(1);
    let questions: Vec<_> = (0..CASES).map(|_| random.draw()).collect();
    let started = std::time::Instant::now();
    let (mut unnoticed, mut without_property, mut all) = (BTreeSet::new(), BTreeSet::new(), 0);
    let (mut idle, mut of): (BTreeSet<&str>, BTreeMap<&str, usize>) =
        (properties.names().map(|(name, _)| name).collect(), BTreeMap::new());
    for mutant in mutants() {
        all += 1;
        *of.entry(mutant.part).or_default() += 1;
        let policy = Policy::parse(&mutant.text).unwrap();
        let report = check(&policy, &properties);
        for failure in &report.failures {
            idle.remove(failure.property.as_str());
        }
        if !report.failures.is_empty() {
            continue;
        }
        if mutant.of_a_rule && !mutant.what.contains(REASON_ONLY) {
            without_property.insert(mutant.what.clone());
        }
        // The clauses say nothing of forms.
        if mutant.part == DECLASSIFICATION {
            if report.idle.is_empty() {
                unnoticed.insert(mutant.what);
            }
            continue;
        }
        let disagrees = |(question, unknown): &(_, Vec<_>)| agree(&policy, question, unknown).is_err();
        // An earlier permit may allow already what a wider one would: then nothing is wider.
        let changes = mutant.part != "wider" || !diff(&shipped, &policy).flips.is_empty();
        if changes && !questions.iter().any(disagrees) {
            unnoticed.insert(mutant.what);
        }
    }
    println!("{all} mutants in {:.1} s: {of:?}", started.elapsed().as_secs_f64());
    let parts = ["rule", "scope", "fact", "exception", "group", "wider", DECLASSIFICATION];
    assert!(parts.iter().all(|part| of.contains_key(part)) && of.len() == parts.len(), "{of:?}");
    assert!(idle.is_empty(), "properties that no change of the policy offends: {idle:#?}");
    assert!(unnoticed.is_empty(), "nothing notices: {unnoticed:#?}");
    assert!(without_property.is_empty(), "only the reference notices: {without_property:#?}");
}
