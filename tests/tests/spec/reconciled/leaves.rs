//! Given what the partners of the demo received and the rows that let it go; then each request is what the plugin's source
//! and the allowed fields of one event make together, leaf by leaf: a number, a flag or a word of two letters too. What
//! more, less or other than that would be there is a leak, or a row that says too much.

use std::collections::{BTreeMap, BTreeSet};

use gateway_tests::{events, paths};
use serde_json::{Value, json};

use super::{Run, arrived, id_of, runs};
use crate::demo::lead::take_apart;
use crate::leaks::values_of;
use crate::worked_out::values;

/// Where a leaf of a body comes from.
enum Source {
    /// The event's `time`.
    Time,
    /// A field's value, whole.
    Field(&'static str),
    /// A field's value, or the first text where it is not there, and the second text behind it.
    Before(&'static str, &'static str, &'static str),
    /// The consumer's, which only this partner has for this brand.
    Pseudonym,
}
use Source::{Before, Field, Pseudonym, Time};

/// What a plugin of the demo sends, as its source says.
struct Sends {
    plugin: &'static str,
    host: &'static str,
    /// `{day}`: of the event's time.
    path: &'static str,
    body: &'static [(&'static str, Source)],
}

const SENDS: &[Sends] = &[
    Sends {
        plugin: "adf-lead",
        host: "leads.acme.example",
        path: "/v1/dealers/4711/leads",
        // The elements by the fields that they are for; `take_apart` knows what is the lead's own.
        body: &[
            ("/contact/name/first", Field("/contact/name/first")),
            ("/contact/name/last", Field("/contact/name/last")),
            ("/conversation", Field("/conversation")),
            ("/visit/device_type", Field("/visit/device_type")),
            ("/contact/email", Field("/contact/email")),
            ("/contact/phone", Field("/contact/phone")),
            ("/requestdate", Time),
        ],
    },
    Sends {
        plugin: "visit-note",
        host: "api.front-desk.example",
        path: "/v1/notes/{day}",
        body: &[
            ("/note", Before("/contact/name/first", "a visitor", " left an address")),
            ("/at", Time),
            ("/email", Field("/contact/email")),
        ],
    },
    Sends {
        plugin: "identity-sync",
        host: "api.ident.example",
        path: "/v1/lookup",
        body: &[("/email", Field("/contact/email")), ("/phone", Field("/contact/phone"))],
    },
    Sends {
        plugin: "loyalty-offer",
        host: "api.gold-club.example",
        path: "/v1/members",
        body: &[("/member/ref", Pseudonym)],
    },
];

/// What the gateway puts on a request; none of it is of an event.
const HEADERS: &[&str] = &[
    "accept",
    "authorization",
    "content-length",
    "content-type",
    "host",
    "user-agent",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
];

/// The whole body by JSON Pointer: each leaf, and what is empty. A lead by the fields that its elements are for.
fn leaves(request: &Value) -> Result<BTreeMap<String, Value>, String> {
    let body = request["body"].as_str().unwrap();
    let mut found = BTreeMap::new();
    if request["headers"]["content-type"] == "application/xml" {
        for value in take_apart(body) {
            if found.insert(value.field.to_owned(), json!(value.value)).is_some() {
                return Err(format!("{} is there twice", value.field));
            }
        }
        return Ok(found);
    }
    let body: Value = serde_json::from_str(body).map_err(|error| error.to_string())?;
    walk(&body, String::new(), &mut found);
    Ok(found)
}

fn walk(value: &Value, at: String, found: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            members.iter().for_each(|(name, value)| walk(value, format!("{at}/{name}"), found));
        }
        Value::Array(items) if !items.is_empty() => {
            items.iter().zip(0..).for_each(|(value, index)| walk(value, format!("{at}/{index}"), found));
        }
        leaf => {
            found.insert(at, leaf.clone());
        }
    }
}

/// What the plugin and the row's fields make of the event.
fn leaves_of(
    sends: &Sends,
    allowed: &BTreeSet<&str>,
    event: &Value,
    pseudonym: &str,
) -> BTreeMap<String, Value> {
    let of = |field: &str| match values(&event["data"], field).as_slice() {
        [value] if allowed.contains(field) => Some((*value).clone()),
        _ => None,
    };
    let leaf = |source: &Source| match source {
        Time => Some(event["time"].clone()),
        Field(field) => of(field),
        Before(field, otherwise, behind) => {
            let text = of(field);
            let text = text.as_ref().map_or(Some(*otherwise), Value::as_str)?;
            Some(json!(format!("{text}{behind}")))
        }
        Pseudonym => allowed.contains("consumer").then(|| json!(pseudonym)),
    };
    let all = sends.body.iter().filter_map(|(at, source)| Some(((*at).to_owned(), leaf(source)?)));
    all.collect()
}

/// The names by which each side knows the consumers, in the order of the requests.
#[derive(Default)]
struct Names<'r> {
    /// By plugin and the ledger's name.
    subjects: BTreeMap<(&'r str, &'r str), &'r str>,
    pseudonyms: BTreeMap<(&'r str, &'r str), String>,
    /// Of each plugin, by the event's place in the input: an event is sent once.
    sent: BTreeSet<(&'r str, usize)>,
}

impl<'r> Names<'r> {
    /// Whether a subject may be this consumer of a plugin's: no other is.
    fn is_of(&self, (plugin, consumer): (&str, &str), subject: &str) -> bool {
        self.subjects
            .iter()
            .all(|((at, name), known)| *at != plugin || (*name == consumer) == (*known == subject))
    }

    /// Finds the event that the request and its row speak of.
    fn explain(&mut self, request: &Value, row: &'r Value, input: &'r [Value]) -> Result<(), String> {
        let text = |name: &str| row[name].as_str().unwrap();
        let (plugin, consumer) = (text("plugin"), text("consumer"));
        let sends = SENDS.iter().find(|sends| sends.plugin == plugin);
        let sends = sends.ok_or_else(|| format!("nothing says what {plugin} sends"))?;
        let allowed: BTreeSet<&str> = row["fields"]
            .as_array()
            .unwrap()
            .iter()
            .map(|field| if field["decision"] == "allow" { field["field"].as_str() } else { None })
            .collect::<Option<_>>()
            .ok_or("a field of the row is not allowed as it is")?;
        let known: BTreeSet<&str> = sends.body.iter().filter_map(|(_, source)| source.field()).collect();
        if let Some(field) = allowed.difference(&known).next() {
            return Err(format!("the row allows {field}, which {plugin} has no place for"));
        }
        let names: BTreeSet<&str> =
            request["headers"].as_object().unwrap().keys().map(String::as_str).collect();
        if let Some(name) = names.iter().find(|name| !HEADERS.contains(name)) {
            return Err(format!("nothing explains the header {name}"));
        }
        if request["headers"]["host"] != sends.host || request["method"] != "POST" {
            return Err(format!("it is not a request to {}", sends.host));
        }

        let found = leaves(request)?;
        let key = (plugin, consumer);
        let pseudonym = sends.body.iter().find(|(_, source)| matches!(source, Pseudonym));
        let pseudonym = pseudonym.and_then(|(at, _)| found.get(*at)?.as_str()).unwrap_or_default().to_owned();
        let mut of_its_kind = input
            .iter()
            .enumerate()
            .filter(|(_, event)| event["brand"] == row["brand"] && event["type"] == row["event_type"]);
        let subject = |event: &'r Value| event["subject"].as_str().unwrap();
        let event = of_its_kind.find(|(at, event)| {
            let day = event["time"].as_str().unwrap().get(..10).unwrap_or_default();
            // The scenes make a purchase three times more, and the pseudonym is all that is sent of it.
            let once = !pseudonym.is_empty() || !self.sent.contains(&(plugin, *at));
            once && self.is_of(key, subject(event))
                && request["path"] == sends.path.replace("{day}", day)
                && leaves_of(sends, &allowed, event, &pseudonym) == found
        });
        let (at, event) = event.ok_or_else(|| format!("no event has the leaves {found:?}"))?;
        self.sent.insert((plugin, at));
        self.subjects.insert(key, subject(event));
        if !pseudonym.is_empty() {
            let known = self.pseudonyms.entry(key).or_insert_with(|| pseudonym.clone());
            if *known != pseudonym {
                return Err(format!("one consumer has two pseudonyms, {known} and {pseudonym}"));
            }
        }
        Ok(())
    }
}

impl Source {
    fn field(&self) -> Option<&'static str> {
        match self {
            Time => None,
            Field(field) | Before(field, ..) => Some(field),
            Pseudonym => Some("consumer"),
        }
    }
}

/// Requests with their rows.
fn pairs(run: &Run) -> Vec<(&Value, &Value)> {
    let by_id: BTreeMap<&str, &Value> =
        arrived(run).into_iter().map(|row| (row["delivery"].as_str().unwrap(), row)).collect();
    run.received.iter().map(|request| (request, by_id[id_of(request)])).collect()
}

#[test]
fn each_request_is_what_its_plugin_and_the_allowed_fields_of_one_event_make_leaf_by_leaf() {
    for run in runs() {
        let mut names = Names::default();
        let mut faults = Vec::new();
        for (request, row) in pairs(run) {
            if let Err(fault) = names.explain(request, row, &run.input) {
                faults.push(format!("{fault}: {request}\n  by {row}"));
            }
        }
        assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));

        // A pseudonym is one consumer's, and says nothing of the consumer.
        let distinct: BTreeSet<&String> = names.pseudonyms.values().collect();
        assert_eq!(distinct.len(), names.pseudonyms.len(), "two consumers have one pseudonym");
        let values = values_of(&run.input, 1);
        assert!(!distinct.is_empty());
        for pseudonym in distinct {
            assert!(!values.contains_key(pseudonym), "{pseudonym} is a value of the input");
        }
    }
}

/// One request of the project's sample at a time, changed; and what is said of it.
#[test]
fn a_leaf_more_less_or_other_is_a_fault_however_short() {
    let input = events::read(&paths::sample());
    let run = runs().iter().find(|run| run.input == input).unwrap();
    let (request, row) = *pairs(run).iter().find(|(_, row)| row["plugin"] == "identity-sync").unwrap();
    let mut known = Names::default();
    assert_eq!(known.explain(request, row, &input), Ok(()));
    // Whose request it is stays known: another's value alone would be another's request.
    let explain = |request: &Value, row: &Value| {
        let mut names = Names { subjects: known.subjects.clone(), ..Names::default() };
        names.explain(request, row, &input)
    };
    assert_eq!(explain(request, row), Ok(()));

    let body: Value = serde_json::from_str(request["body"].as_str().unwrap()).unwrap();
    let other = |field: &str| {
        let own = &body["email"];
        let events = input.iter().filter(|event| event["type"] == "contact.provided");
        let other = events.filter(|event| event["data"]["contact"]["email"] != *own);
        other.flat_map(|event| values(&event["data"], field)).next().unwrap().clone()
    };
    let with = |member: &str, value: Value| {
        let mut body = body.clone();
        body[member] = value;
        body
    };
    for (why, body) in [
        ("a number", with("age", json!(7))),
        ("a flag", with("vip", json!(true))),
        ("nothing, under a name", with("more", json!({}))),
        ("a word of two letters", with("speaks", json!("de"))),
        ("a member below", with("phone", json!({ "1": body["phone"] }))),
        ("another consumer's value", with("email", other("/contact/email"))),
        ("a field that the row does not name", with("first", other("/contact/name/first"))),
        ("a value in another type", with("email", json!([body["email"]]))),
    ] {
        let mut changed = request.clone();
        changed["body"] = json!(body.to_string());
        assert!(explain(&changed, row).is_err(), "{why} is not found: {body}");
    }
    for (why, place, value) in
        [("a header", "/headers/x-tier", json!("1")), ("a query", "/path", json!("/v1/lookup?vip=1"))]
    {
        let (parent, name) = place.rsplit_once('/').unwrap();
        let mut changed = request.clone();
        changed.pointer_mut(parent).unwrap()[name] = value;
        assert!(explain(&changed, row).is_err(), "{why} is not found");
    }
    let mut more = row.clone();
    let one = json!({ "field": "/contact/name/first", "decision": "allow" });
    more["fields"].as_array_mut().unwrap().push(one);
    assert!(explain(request, &more).is_err(), "a row may not say more than is there");
}
