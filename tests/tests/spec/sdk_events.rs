//! The SDK's types of events against the catalogue, read from the files of both: each type is there, and of an event
//! that has everything the SDK's type keeps every leaf under its name, and has none of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::PathBuf;

use gateway::catalogue::Catalogue;
use gateway_tests::paths::root;
use plugin_sdk::EventType;
use plugin_sdk::events::{
    ApplicationSubmitted, CallRecorded, ChatEnded, ChatMessage, ContactProvided, DeviceReported, ForumPosted,
    MediaShared, PageViewed, PromotionEntered, PurchaseCompleted, SmsReceived, SupportRequested,
    SurveyCompleted,
};
use serde_json::{Map, Value, json};

/// What a plugin gets of this data, as `Debug` writes it.
type Read = fn(&Value) -> String;

fn of<T: EventType + Debug>() -> (&'static str, Read) {
    (T::TYPE, |data| {
        let read: T =
            serde_json::from_value(data.clone()).unwrap_or_else(|error| panic!("{}: {error}", T::TYPE));
        format!("{read:?}")
    })
}

fn types_of_the_sdk() -> BTreeMap<&'static str, Read> {
    BTreeMap::from([
        of::<ApplicationSubmitted>(),
        of::<CallRecorded>(),
        of::<ChatEnded>(),
        of::<ChatMessage>(),
        of::<ContactProvided>(),
        of::<DeviceReported>(),
        of::<ForumPosted>(),
        of::<MediaShared>(),
        of::<PageViewed>(),
        of::<PromotionEntered>(),
        of::<PurchaseCompleted>(),
        of::<SmsReceived>(),
        of::<SupportRequested>(),
        of::<SurveyCompleted>(),
    ])
}

/// Schemas by type.
fn catalogue() -> BTreeMap<String, Value> {
    let files = std::fs::read_dir(root().join("gateway/catalogue")).unwrap();
    let schema = |file: PathBuf| {
        let text = std::fs::read_to_string(&file).unwrap();
        (file.file_stem().unwrap().to_str().unwrap().to_owned(), serde_json::from_str(&text).unwrap())
    };
    files.map(|file| schema(file.unwrap().path())).collect()
}

/// A document that has everything which a schema allows, each leaf with a value that no other has; `told` gets each leaf
/// as `Debug` writes what the SDK's type holds, such as `email: Some("contact/email")`.
fn whole(schema: &Value, place: &str, name: &str, told: &mut Vec<String>) -> Value {
    match schema["type"].as_str().expect("one type") {
        "object" => {
            let properties = schema["properties"].as_object().expect("properties");
            let member = |(name, of): (&String, &Value)| {
                (name.clone(), whole(of, &format!("{place}/{name}"), name, told))
            };
            properties.iter().map(member).collect::<Map<String, Value>>().into()
        }
        "array" => json!([whole(&schema["items"], place, name, told)]),
        "string" => {
            // The catalogue has one format, and one leaf of a type is in it.
            let text = if schema["format"] == "date-time" { "2026-03-02T08:58:00Z" } else { &place[1..] };
            told.push(format!("{name}: Some({text:?})"));
            json!(text)
        }
        "integer" => {
            let number = told.len();
            told.push(format!("{name}: Some({number}.0)"));
            json!(number)
        }
        "number" => {
            let number = told.len();
            told.push(format!("{name}: Some({number}.5)"));
            json!(number as f64 + 0.5)
        }
        other => panic!("{place}: the SDK has no field for {other}"),
    }
}

#[test]
fn the_sdk_has_each_type_of_the_catalogue_and_no_other() {
    let catalogue = catalogue();
    let known: BTreeSet<&str> = catalogue.keys().map(String::as_str).collect();
    assert_eq!(types_of_the_sdk().into_keys().collect::<BTreeSet<_>>(), known, "as the list above has them");
    // As the source has them.
    let source = std::fs::read_to_string(root().join("plugin-sdk/src/events.rs")).unwrap();
    let declared = source.lines().filter_map(|line| line.split_once(" = \"")?.1.strip_suffix("\" {"));
    assert_eq!(declared.collect::<BTreeSet<_>>(), known);
}

#[test]
fn each_type_of_the_sdk_holds_every_leaf_of_its_schema_and_has_no_other() {
    let (known, read) = (Catalogue::embedded().unwrap(), types_of_the_sdk());
    let mut wrong = Vec::new();
    for (kind, schema) in catalogue() {
        let mut told = Vec::new();
        let data = whole(&schema, "", "", &mut told);
        let event_type = known.event_type(&kind).expect("a type of the gateway");
        assert_eq!(event_type.validate(&data), Ok(()), "{kind}: the gateway takes {data}");
        assert_eq!(told.len(), event_type.fields.len(), "{kind}: every leaf is there");
        let held = read[kind.as_str()](&data);
        let lost = told.iter().filter(|leaf| !held.contains(leaf.as_str()));
        wrong.extend(lost.map(|leaf| format!("{kind}: {leaf} is lost in {held}")));
        if held.contains("None") {
            wrong.push(format!("{kind}: the SDK has what no event has: {held}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
