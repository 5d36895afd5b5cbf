//! The catalogue's rules, read as cases.

use serde_json::{Value, json};

use super::{Catalogue, CatalogueError, EventType, ProblemKind, is_type_name, nearest};

fn catalogue() -> Catalogue {
    Catalogue::embedded().expect("the embedded schemas keep the rules")
}

fn fault_of(schema: Value) -> Vec<(String, &'static str)> {
    let document = schema.as_object().expect("object").clone();
    match EventType::read("test.case", &document) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.into_iter().map(|fault| (fault.pointer, fault.code)).collect(),
    }
}

#[test]
fn the_types_of_the_design_are_there_with_their_fields_and_flags() {
    let catalogue = catalogue();
    let expected = [
        ("page.viewed", 10, "user.behavior.browsing_history", false, false, false),
        ("contact.provided", 5, "user.name.first", true, false, false),
        ("chat.message", 16, "user.unique_id.pseudonymous", true, true, false),
        ("chat.ended", 16, "user.unique_id.pseudonymous", true, true, false),
        ("sms.received", 2, "user.content.private.transcript", true, true, false),
        ("call.recorded", 3, "user.content.private.recording", true, true, false),
        ("survey.completed", 4, "user.unique_id.pseudonymous", true, true, false),
        ("purchase.completed", 5, "user.unique_id.pseudonymous", true, false, false),
        ("device.reported", 5, "user.device.device_id", false, false, false),
        ("media.shared", 2, "user.content.private.media", true, false, false),
        ("forum.posted", 1, "user.content.public", true, false, true),
        ("support.requested", 6, "user.name.first", true, false, true),
        ("promotion.entered", 6, "user.name.first", true, false, true),
        ("application.submitted", 6, "user.name.first", true, false, true),
    ];
    assert_eq!(catalogue.event_types().count(), expected.len());
    for (name, fields, first, engages, conversation, platform_only) in expected {
        let event_type = catalogue.event_type(name).expect(name);
        assert_eq!(event_type.fields.len(), fields, "{name}: {:?}", event_type.fields);
        assert_eq!(event_type.fields[0].category, first, "{name}");
        assert_eq!(
            (event_type.engages, event_type.conversation, event_type.platform_only),
            (engages, conversation, platform_only),
            "{name}"
        );
        assert_eq!(event_type.fields.iter().any(|field| field.public), name == "forum.posted", "{name}");
    }
}

#[test]
fn categories_are_those_of_the_design() {
    let catalogue = catalogue();
    for (event, path, category) in [
        ("page.viewed", "/url", "user.behavior.browsing_history"),
        ("page.viewed", "/ip", "user.device.ip_address"),
        ("page.viewed", "/location/city", "user.location.imprecise"),
        ("contact.provided", "/contact/company", "user.contact.organization"),
        ("chat.ended", "/transcript/*/text", "user.content.private.transcript"),
        ("chat.ended", "/transcript/*/at", "user.telemetry"),
        ("chat.ended", "/visit/device_type", "user.device"),
        ("chat.message", "/contact/email", "user.contact.email"),
        ("sms.received", "/phone", "user.contact.phone_number"),
        ("survey.completed", "/answers/*/answer", "user.content.private.survey"),
        ("purchase.completed", "/items/*/name", "user.behavior.purchase_history"),
        ("device.reported", "/location/lat", "user.location.precise"),
        ("application.submitted", "/text", "user.content.private"),
    ] {
        let field = catalogue.event_type(event).expect(event).field(path).expect(path);
        assert_eq!(field.category, category, "{event} {path}");
    }
}

/// Clause collect.consumer-decides: what a consumer gives is theirs to decide.
#[test]
fn an_event_needs_only_what_it_means_nothing_without() {
    let catalogue = catalogue();
    let needed = [
        ("page.viewed", json!({"url": "u"})),
        ("contact.provided", json!({"contact": {}})),
        ("chat.message", json!({"transcript": [{}]})),
        ("chat.ended", json!({"transcript": [{}]})),
        ("sms.received", json!({"text": "t"})),
        ("forum.posted", json!({"text": "t"})),
    ];
    for kind in catalogue.event_types() {
        let needs = needed.iter().find(|(name, _)| *name == &*kind.name).map(|(_, least)| least);
        let nothing = json!({});
        assert!(kind.validate(needs.unwrap_or(&nothing)).is_ok(), "{}", kind.name);
        assert_eq!(kind.validate(&nothing).is_err(), needs.is_some(), "{}", kind.name);
    }
}

#[test]
fn a_fault_has_the_pointer_of_its_value() {
    let catalogue = catalogue();
    use ProblemKind::{Constraint, MissingProperty, UnknownProperty, WrongType};
    let long = "x".repeat(400);
    for (event, data, pointer, ancestor, kind) in [
        ("page.viewed", json!({"url": "u", "urll": 1}), "/urll", "", UnknownProperty),
        ("page.viewed", json!({"title": "t"}), "/url", "", MissingProperty),
        ("page.viewed", json!({"url": 3}), "/url", "/url", WrongType),
        (
            "page.viewed",
            json!({"url": "u", "seconds_on_page": -1}),
            "/seconds_on_page",
            "/seconds_on_page",
            Constraint,
        ),
        ("page.viewed", json!([]), "", "", WrongType),
        (
            "chat.ended",
            json!({"transcript": [{}, {"text": "a", "mood/x": "b"}]}),
            "/transcript/1/mood~1x",
            "/transcript/*",
            UnknownProperty,
        ),
        (
            "chat.ended",
            json!({"transcript": [{"at": "noon"}]}),
            "/transcript/0/at",
            "/transcript/*/at",
            Constraint,
        ),
        ("chat.ended", json!({"transcript": [3]}), "/transcript/0", "/transcript/*", WrongType),
        (
            "chat.ended",
            json!({"transcript": [], "contact": {"email": long}}),
            "/contact/email",
            "/contact/email",
            Constraint,
        ),
        (
            "contact.provided",
            json!({"contact": {"name": "Ada"}}),
            "/contact/name",
            "/contact/name",
            WrongType,
        ),
    ] {
        let problems = catalogue.event_type(event).expect(event).validate(&data).expect_err("invalid");
        let first = &problems[0];
        assert_eq!(
            (first.pointer.as_str(), first.declared_ancestor.as_str(), first.kind),
            (pointer, ancestor, kind),
            "{data}"
        );
    }
}

#[test]
fn a_problem_repeats_no_value_and_suggests_a_name() {
    let page = catalogue();
    let page = page.event_type("page.viewed").expect("there");
    let data = json!({"url": {"s3cret": "s3cret"}, "title": ["s3cret"], "refferer": "s3cret", "os": "s3cret".repeat(99)});
    let problems = page.validate(&data).expect_err("invalid");
    assert_eq!(problems.len(), 4, "{problems:?}");
    assert!(!format!("{problems:?}").contains("s3cret"));
    assert!(problems.iter().any(|problem| problem.remedy == "did you mean `referrer`?"));
}

#[test]
fn a_schema_outside_the_rules_is_refused_with_its_pointer() {
    let with = |root: Value| {
        let mut schema = json!({
            "x-engages": true, "x-conversation": false, "x-platform-only": false,
            "type": "object", "additionalProperties": false,
            "properties": {"a": {"type": "string", "x-category": "user.device"}}
        });
        for (key, value) in root.as_object().expect("object") {
            schema[key] = value.clone();
        }
        schema
    };
    let leaf = |leaf: Value| with(json!({"properties": {"a": leaf}}));
    let mut deep = json!({"type": "string", "x-category": "user.device"});
    for _ in 0..20 {
        deep = json!({"type": "object", "additionalProperties": false, "properties": {"n": deep}});
    }
    let deep_at = format!("/properties/a{}", "/properties/n".repeat(15));
    assert_eq!(fault_of(with(json!({}))), []);
    for (schema, pointer, code) in [
        (leaf(json!({"type": "string"})), "/properties/a", "schema-no-category"),
        (
            leaf(json!({"type": "string", "x-category": "user.emial"})),
            "/properties/a/x-category",
            "schema-unknown-category",
        ),
        (
            leaf(json!({"type": "string", "x-category": 3})),
            "/properties/a/x-category",
            "schema-unknown-category",
        ),
        (with(json!({"additionalProperties": true})), "", "schema-open"),
        (leaf(json!({"type": "object", "properties": {}})), "/properties/a", "schema-open"),
        (leaf(json!({"type": "array"})), "/properties/a", "schema-open"),
        (
            leaf(json!({"type": "array", "items": {"type": "string"}})),
            "/properties/a/items",
            "schema-no-category",
        ),
        (leaf(json!({"x-category": "user.device"})), "/properties/a", "schema-type"),
        (leaf(json!({"type": "null", "x-category": "user.device"})), "/properties/a/type", "schema-type"),
        (
            leaf(json!({"type": ["string", "object"], "x-category": "user.device"})),
            "/properties/a/type",
            "schema-type",
        ),
        (leaf(json!(true)), "/properties/a", "schema-invalid"),
        (with(json!({"$ref": "https://evil.example/x"})), "/$ref", "schema-keyword"),
        (with(json!({"$id": "https://evil.example/x"})), "/$id", "schema-keyword"),
        (with(json!({"$defs": {}})), "/$defs", "schema-keyword"),
        (with(json!({"patternProperties": {}})), "/patternProperties", "schema-keyword"),
        (with(json!({"anyOf": []})), "/anyOf", "schema-keyword"),
        (with(json!({"$schema": "http://json-schema.org/draft-07/schema#"})), "/$schema", "schema-dialect"),
        (with(json!({"type": "string"})), "/type", "schema-root"),
        (with(json!({"required": ["b"]})), "/required/0", "schema-required"),
        (
            with(json!({"properties": {"*": {"type": "string", "x-category": "user.device"}}})),
            "/properties/*",
            "schema-property-name",
        ),
        (with(json!({"properties": {}})), "", "schema-empty"),
        (
            leaf(json!({"type": "string", "x-category": "user.device", "maxLength": "x"})),
            "/properties/a/maxLength",
            "schema-invalid",
        ),
        (
            leaf(json!({"type": "string", "x-category": "user.device", "pattern": "(a)\\1"})),
            "/properties/a/pattern",
            "schema-pattern",
        ),
        (
            leaf(json!({"type": "string", "x-category": "user.device", "pattern": "(?=a)b"})),
            "/properties/a/pattern",
            "schema-pattern",
        ),
        (
            leaf(json!({"type": "string", "x-category": "user.device", "pattern": "(a{1000}){1000}"})),
            "/properties/a/pattern",
            "schema-pattern",
        ),
        (
            leaf(json!({"type": "string", "x-category": "user.device", "format": "regex"})),
            "/properties/a/format",
            "schema-format",
        ),
        (
            leaf(json!({"type": "string", "x-category": "user.device", "x-origin": "partner"})),
            "/properties/a/x-origin",
            "schema-origin",
        ),
        (with(json!({"x-engages": "yes"})), "/x-engages", "schema-flag"),
        (
            leaf(json!({
                "type": "number", "x-category": "user.device",
                "x-measure": {"minimum": 0, "maximum": 1, "unit": "/a"},
            })),
            "/properties/a/x-measure/unit",
            "schema-statistic",
        ),
        (
            with(json!({ "properties": {
                "a": {"type": "string", "x-category": "user.device", "x-dimension": ["iOS"]},
                "b": {"type": "string", "x-category": "user.device", "x-dimension": ["phone"]},
            } })),
            "/properties/b/x-dimension",
            "schema-statistic",
        ),
        (leaf(deep), deep_at.as_str(), "schema-too-deep"),
        (with(json!({"title": "x".repeat(70_000)})), "", "schema-too-large"),
    ] {
        assert_eq!(fault_of(schema.clone()), [(pointer.to_owned(), code)], "{schema}");
    }
}

#[test]
fn operators_add_types_and_replace_none() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let schema = r#"{"x-engages":true,"x-conversation":false,"x-platform-only":false,"type":"object","additionalProperties":false,"properties":{"a":{"type":"string","x-category":"user.device"}}}"#;
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("written");
    write("visit.booked.json", schema);
    let catalogue = Catalogue::load(dir.path()).expect("loads");
    assert!(catalogue.event_type("visit.booked").is_some() && catalogue.event_type("chat.ended").is_some());

    write("chat.ended.json", schema);
    assert!(matches!(Catalogue::load(dir.path()), Err(CatalogueError::Duplicate { .. })));
    std::fs::remove_file(dir.path().join("chat.ended.json")).expect("removed");
    write("a.b.json", "{\"type\": \"object\"");
    assert!(matches!(Catalogue::load(dir.path()), Err(CatalogueError::NotJson { .. })));
    for reserved in ["\"partner\"", "\"returned\""] {
        write("a.b.json", &schema.replace("\"a\"", reserved));
        assert!(matches!(Catalogue::load(dir.path()), Err(CatalogueError::Reserved { .. })), "{reserved}");
    }
    write("a.b.json", &schema.replace("user.device", "user.devise"));
    let error = Catalogue::load(dir.path()).expect_err("unknown category").to_string();
    assert!(error.contains("a.b.json: at `/properties/a/x-category`"), "{error}");
    std::fs::remove_file(dir.path().join("a.b.json")).expect("removed");
    write("README.md", "x");
    assert!(matches!(Catalogue::load(dir.path()), Err(CatalogueError::Name { .. })));
}

#[test]
fn names_of_types_and_suggestions() {
    for (name, good) in [
        ("chat.ended", true),
        ("chat", false),
        ("Chat.ended", false),
        ("chat..ended", false),
        ("../chat.ended", false),
        ("a.1b", false),
    ] {
        assert_eq!(is_type_name(name), good, "{name}");
    }
    let known = ["/contact/email", "/contact/phone"];
    assert_eq!(nearest("/contact/emial", known.into_iter()), Some("/contact/email"));
    assert_eq!(nearest("/order", known.into_iter()), None);
}

/// The shared sample of events, where it lies beside the checkout.
#[test]
fn the_sample_events_are_valid() {
    let shared = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/events.jsonl");
    let Some(file) = [shared].into_iter().find(|file| std::path::Path::new(file).exists()) else {
        return;
    };
    let catalogue = catalogue();
    let text = std::fs::read_to_string(file).expect("readable");
    for line in text.lines() {
        let event: Value = serde_json::from_str(line).expect("JSON");
        let name = event["type"].as_str().expect("type");
        assert_eq!(catalogue.event_type(name).expect(name).validate(&event["data"]), Ok(()), "{name}");
    }
}
