//! An event as it arrives: CloudEvents 1.0 in JSON, structured mode, or a batch. Read, checked against
//! the catalogue, and put into the form in which it is stored. It decides nothing.

use gateway_policy::{Conditions, CookieClass, Region};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::error::{Problem, Refusal};
use super::registry::rfc3339;
use crate::catalogue::path::escape;
use crate::catalogue::{Catalogue, EventType};

/// How far ahead of the gateway's clock an event's `time` may be.
const MAX_AHEAD_MS: i64 = 5 * 60 * 1000;
/// Characters of an attribute; far above any real one.
pub(super) const MAX_ATTRIBUTE: usize = 512;
/// Characters of an unknown attribute's name that are repeated to whoever sent it.
const MAX_NAME_CHARS: usize = 64;
/// Events of one batch.
pub const MAX_BATCH: usize = 1000;

/// The attributes that this gateway takes. `brand`, `region`, `dnt`, `gpc` and `cookies` are extensions;
/// `traceparent`, `tracestate` and `dataschema` are taken and not kept.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Attributes {
    specversion: String,
    id: String,
    source: String,
    r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(default, skip_serializing)]
    datacontenttype: Option<String>,
    #[serde(default, skip_serializing, rename = "dataschema")]
    _dataschema: IgnoredAny,
    #[serde(default, skip_serializing, rename = "traceparent")]
    _traceparent: IgnoredAny,
    #[serde(default, skip_serializing, rename = "tracestate")]
    _tracestate: IgnoredAny,
    #[serde(skip_serializing_if = "Option::is_none")]
    brand: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dnt: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gpc: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cookies: Option<String>,
    data: Option<Value>,
}

/// A checked event.
#[derive(Debug)]
pub struct Event {
    pub source: String,
    pub id: String,
    pub kind: String,
    pub subject: String,
    /// RFC 3339; the moment of acceptance where the event gives none.
    pub time: String,
    pub conditions: Conditions,
    pub data: Value,
    /// Whether the event engages the consumer with the brand.
    pub engages: bool,
    /// The event as it is stored and compared.
    pub body: Vec<u8>,
}

/// Reads one event or a batch.
///
/// # Errors
/// [`Refusal::Invalid`]; for a batch the pointers begin with the event's index.
pub fn parse(
    body: &[u8],
    batch: bool,
    brand: &str,
    platform: bool,
    catalogue: &Catalogue,
    now_ms: i64,
) -> Result<Vec<Event>, Refusal> {
    if !batch {
        let attributes = match serde_json::from_slice::<Attributes>(body) {
            // serde takes an array for a struct too, its members by their place.
            Ok(attributes) if begins_object(body) => Ok(attributes),
            Ok(_) => Err(faults(&Value::Null)),
            // Read again for the place of each fault: serde's message has none, and can repeat a value.
            Err(_) => Err(faults(&parse_json(body)?)),
        };
        return attributes
            .and_then(|attributes| check(attributes, brand, platform, catalogue, now_ms))
            .map(|event| vec![event])
            .map_err(|problems| Refusal::Invalid { what: "the event".into(), problems });
    }
    // Read apart first, so that one malformed event can be named.
    let Value::Array(items) = parse_json(body)? else {
        return Err(Refusal::invalid(
            "the batch",
            "",
            "must be an array of events in CloudEvents' JSON format",
        ));
    };
    if items.len() > MAX_BATCH {
        return Err(Refusal::invalid(
            "the batch",
            "",
            format!("it holds {} events; send at most {MAX_BATCH}", items.len()),
        ));
    }
    let mut events = Vec::with_capacity(items.len());
    let mut problems = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        let read =
            from_value(item).and_then(|attributes| check(attributes, brand, platform, catalogue, now_ms));
        match read {
            Ok(event) => events.push(event),
            Err(found) => problems.extend(
                found
                    .into_iter()
                    .map(|problem| Problem { pointer: format!("/{index}{}", problem.pointer), ..problem }),
            ),
        }
    }
    if problems.is_empty() {
        Ok(events)
    } else {
        Err(Refusal::Invalid { what: "the batch".into(), problems })
    }
}

/// Reads the stored form again.
pub fn reread(body: &[u8], accepted_ms: i64, catalogue: &Catalogue) -> Option<Event> {
    let attributes: Attributes = serde_json::from_slice(body).ok()?;
    let kind = catalogue.event_type(&attributes.r#type)?;
    let conditions = conditions(&attributes, kind).ok()?;
    Some(Event {
        time: attributes.time.unwrap_or_else(|| rfc3339(accepted_ms)),
        source: attributes.source,
        id: attributes.id,
        kind: attributes.r#type,
        subject: attributes.subject?,
        engages: kind.engages,
        conditions,
        data: attributes.data?,
        body: Vec::new(),
    })
}

fn parse_json(body: &[u8]) -> Result<Value, Refusal> {
    serde_json::from_slice(body)
        .map_err(|error| Refusal::invalid("the body", "", format!("it is not JSON: {}", position(&error))))
}

fn begins_object(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"{")
}

fn from_value(item: Value) -> Result<Attributes, Vec<Problem>> {
    let found = shape(&item);
    if !found.is_empty() {
        return Err(found);
    }
    serde_json::from_value(item).map_err(|_| faults(&Value::Null))
}

/// What is wrong with an event that serde does not take; never nothing.
fn faults(item: &Value) -> Vec<Problem> {
    let found = shape(item);
    if found.is_empty() {
        let detail = "an attribute is there twice; keep one".to_owned();
        return vec![Problem { pointer: String::new(), detail }];
    }
    found
}

/// Everything wrong with the attributes' names and types. It repeats names, and no value.
fn shape(item: &Value) -> Vec<Problem> {
    const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];
    let problem = |name: &str, detail: &str| {
        let name: String = name.chars().take(MAX_NAME_CHARS).collect();
        let pointer = format!("/{}", escape(&name));
        Problem { pointer, detail: detail.to_owned() }
    };
    let Value::Object(members) = item else {
        let detail = "must be an object: one event in CloudEvents' JSON format".to_owned();
        return vec![Problem { pointer: String::new(), detail }];
    };
    let wrong = members.iter().filter_map(|(name, value)| match name.as_str() {
        name if REQUIRED.contains(&name) => (!value.is_string()).then(|| problem(name, "must be a string")),
        "subject" | "time" | "datacontenttype" | "brand" | "region" | "cookies" => {
            (!value.is_string() && !value.is_null()).then(|| problem(name, "must be a string"))
        }
        "dnt" | "gpc" => {
            (!value.is_boolean() && !value.is_null()).then(|| problem(name, "must be true or false"))
        }
        "data" | "dataschema" | "traceparent" | "tracestate" => None,
        _ => Some(problem(name, "is not an attribute that this gateway takes; remove it")),
    });
    let missing = REQUIRED
        .into_iter()
        .filter(|name| !members.contains_key(*name))
        .map(|name| problem(name, "is missing; CloudEvents 1.0 requires it"));
    wrong.chain(missing).collect()
}

fn position(error: &serde_json::Error) -> String {
    format!("line {}, column {}", error.line(), error.column())
}

fn check(
    attributes: Attributes,
    brand: &str,
    platform: bool,
    catalogue: &Catalogue,
    now_ms: i64,
) -> Result<Event, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut wrong =
        |pointer: &str, detail: String| problems.push(Problem { pointer: pointer.into(), detail });
    if attributes.specversion != "1.0" {
        wrong("/specversion", "must be \"1.0\" (CloudEvents 1.0)".into());
    }
    for (pointer, value) in [("/id", &attributes.id), ("/source", &attributes.source)] {
        if value.is_empty() || value.len() > MAX_ATTRIBUTE {
            wrong(pointer, format!("must have 1 to {MAX_ATTRIBUTE} bytes"));
        }
    }
    match &attributes.subject {
        None => wrong(
            "/subject",
            "is missing: every event is about one consumer, by the brand's id for them".into(),
        ),
        Some(subject) if subject.is_empty() || subject.len() > MAX_ATTRIBUTE => {
            wrong("/subject", format!("must have 1 to {MAX_ATTRIBUTE} bytes"));
        }
        Some(_) => {}
    }
    if let Some(named) = &attributes.brand
        && named != brand
    {
        wrong("/brand", "is not the brand of this path; send the event to its own brand's path".into());
    }
    if let Some(kind) = &attributes.datacontenttype
        && kind != "application/json"
    {
        wrong("/datacontenttype", "must be application/json".into());
    }
    if let Some(text) = &attributes.time {
        match OffsetDateTime::parse(text, &Rfc3339) {
            Err(_) => wrong("/time", "is not an RFC 3339 time".into()),
            Ok(at) if at.unix_timestamp_nanos() / 1_000_000 > i128::from(now_ms + MAX_AHEAD_MS) => {
                wrong("/time", "is more than 5 minutes ahead of the gateway's clock".into());
            }
            Ok(_) => {}
        }
    }
    let kind = catalogue.event_type(&attributes.r#type);
    match kind {
        None => wrong(
            "/type",
            format!(
                "is not in the catalogue; known types: {}",
                catalogue.event_types().map(|kind| kind.name.as_str()).collect::<Vec<_>>().join(", ")
            ),
        ),
        Some(kind) if kind.platform_only && !platform => {
            wrong(
                "/type",
                format!("{} is accepted for the platform's own brand only (clause use.own-sites)", kind.name),
            );
        }
        Some(_) => {}
    }
    match (&attributes.data, kind) {
        (None, _) => wrong("/data", "is missing".into()),
        (Some(data), Some(kind)) => {
            for problem in kind.validate(data).err().unwrap_or_default() {
                wrong(
                    &format!("/data{}", problem.pointer),
                    format!("breaks the rule `{}`; {}", problem.rule, problem.remedy),
                );
            }
        }
        (Some(_), None) => {}
    }
    let conditions = match kind.map(|kind| conditions(&attributes, kind)) {
        Some(Ok(conditions)) => conditions,
        Some(Err(problem)) => {
            problems.push(problem);
            Conditions::default()
        }
        None => Conditions::default(),
    };
    if !problems.is_empty() {
        return Err(problems);
    }
    let body = serde_json::to_vec(&attributes)
        .map_err(|_| vec![Problem { pointer: String::new(), detail: "cannot be written as JSON".into() }])?;
    Ok(Event {
        time: attributes.time.unwrap_or_else(|| rfc3339(now_ms)),
        source: attributes.source,
        id: attributes.id,
        kind: attributes.r#type,
        subject: attributes.subject.unwrap_or_default(),
        engages: kind.is_some_and(|kind| kind.engages),
        conditions,
        data: attributes.data.unwrap_or_default(),
        body,
    })
}

fn conditions(attributes: &Attributes, kind: &EventType) -> Result<Conditions, Problem> {
    let cookies = match attributes.cookies.as_deref() {
        None => Vec::new(),
        Some(text) => vec![CookieClass::parse(text).ok_or_else(|| Problem {
            pointer: "/cookies".into(),
            detail: "must be strictly-necessary, performance or functionality".into(),
        })?],
    };
    Ok(Conditions {
        dnt: attributes.dnt.unwrap_or(false),
        gpc: attributes.gpc.unwrap_or(false),
        cookies,
        region: attributes.region.as_deref().map(Region::parse).unwrap_or_default(),
        in_conversation: kind.conversation,
        collected_for: kind.purpose.map(|purpose| [purpose].into()),
        through: Default::default(),
        on_behalf: Default::default(),
        under: Default::default(),
        declassified: Default::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(body: &str, batch: bool) -> Vec<String> {
        let catalogue = Catalogue::embedded().unwrap();
        match parse(body.as_bytes(), batch, "b", false, &catalogue, 0) {
            Ok(_) => Vec::new(),
            Err(Refusal::Invalid { what, problems }) => {
                assert!(problems.iter().all(|problem| !problem.detail.contains("canary")), "{problems:?}");
                problems.into_iter().map(|problem| format!("{what} {}", problem.pointer)).collect()
            }
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn each_fault_of_an_event_is_named_by_its_place_and_no_value_is_repeated() {
        let good = r#""specversion":"1.0","id":"i","source":"s","subject":"c","type":"page.viewed","data":{"url":"u"}"#;
        for (body, expected) in [
            (format!("{{{good}}}"), &[][..]),
            ("{".into(), &["the body "]),
            ("\"canary\"".into(), &["the event "]),
            ("[]".into(), &["the event "]),
            (
                r#"["1.0","i","s","page.viewed","c",null,null,null,null,null,null,{"url":"u"}]"#.into(),
                &["the event "],
            ),
            (format!("{{{good},\"dnt\":\"canary\"}}"), &["the event /dnt"]),
            (format!("{{{good},\"region\":[\"canary\"]}}"), &["the event /region"]),
            (format!("{{{good},\"a/b\":\"canary\"}}"), &["the event /a~1b"]),
            (format!("{{{good},\"id\":\"canary\"}}"), &["the event "]),
            (
                r#"{"id":7}"#.into(),
                &["the event /id", "the event /specversion", "the event /source", "the event /type"],
            ),
        ] {
            assert_eq!(problems(&body, false), expected, "{body}");
        }
        let batch = format!("[{{{good}}},{{{good},\"gpc\":\"canary\"}},7]");
        assert_eq!(problems(&batch, true), ["the batch /1/gpc", "the batch /2"]);
        assert_eq!(problems(&format!("{{{good}}}"), true), ["the batch "]);
    }
}
