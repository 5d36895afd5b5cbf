//! Placing as properties: what other readers find in an assembled request is the value, whole, or nothing is
//! sent. Tests only.

use super::tests::{endpoint, parts, request};
use super::*;
use proptest::prelude::*;
use serde_json::json;

/// Anything a consumer may write, the awkward characters often.
fn any_text() -> impl Strategy<Value = String> {
    let awkward = proptest::sample::select(
        "\"'\\/<>&;%=+#?.:-_~![]{}()\r\n\t\0\u{1}\u{7f}\u{85}\u{2028}\u{fffd}\u{fffe}\u{ffff}\u{10ffff}é€😀 a1"
            .chars()
            .collect::<Vec<_>>(),
    );
    proptest::collection::vec(prop_oneof![4 => awkward, 1 => any::<char>()], 0..24)
        .prop_map(|chars| chars.into_iter().collect())
}

fn assemble_one(
    media_type: &str,
    pieces: &[&str],
    path: &[&str],
    value: &Value,
) -> Result<Assembled, PlacingError> {
    let mut asked = request(pieces);
    asked.path = vec![("dealer".into(), parts(path))];
    let (settings, domains) = (json!({"host": "crm"}), ["acme.example".to_owned()]);
    let endpoint = endpoint(media_type);
    let values = |_: &str| Some(FieldValue::One(Some(value)));
    assemble(
        &asked,
        &Placement { endpoint: &endpoint, settings: &settings, domains: &domains, values: &values },
    )
}

proptest! {
    #[test]
    fn json_reads_back_the_value(text in any_text()) {
        let value = json!(text);
        let done = assemble_one("application/json", &["{\"a\":[", "§/x", ",1],\"b\":", "§/x", "}"], &["d"], &value);
        let read: Value = serde_json::from_slice(&done.expect("assembled").body).expect("JSON");
        prop_assert_eq!(read, json!({"a": [value, 1], "b": value}));
    }

    #[test]
    fn xml_reads_back_the_value_in_text_and_attributes(text in any_text()) {
        let value = json!(text);
        let pieces = ["<a b=\"", "§/x", "\" c='", "§/x", "'>", "§/x", "</a>"];
        let body = assemble_one("application/xml", &pieces, &["d"], &value).expect("assembled").body;
        let carried: String = text.chars().map(|c| if xml::is_char(c) { c } else { '\u{fffd}' }).collect();
        let (attributes, found) = read_xml(std::str::from_utf8(&body).expect("UTF-8"));
        prop_assert_eq!(attributes, vec![carried.clone(), carried.clone()]);
        prop_assert_eq!(found, carried);
    }

    #[test]
    fn forms_read_back_the_value(text in any_text()) {
        let value = json!(text);
        let pieces = ["a=", "§/x", "&b=%3D", "§/x", "x&c="];
        let body = assemble_one("application/x-www-form-urlencoded", &pieces, &["d"], &value).expect("assembled").body;
        let read: Vec<(String, String)> = ::url::form_urlencoded::parse(&body).into_owned().collect();
        let expected = [("a", text.clone()), ("b", format!("={text}x")), ("c", String::new())];
        prop_assert_eq!(read, expected.map(|(name, value)| (name.to_owned(), value)).to_vec());
    }

    #[test]
    fn a_path_slot_reads_back_the_value_or_is_refused(text in any_text()) {
        let value = json!(text);
        match assemble_one("application/json", &["{}"], &["§/x"], &value) {
            Ok(done) => {
                let segments: Vec<&str> = done.url.path_segments().expect("segments").collect();
                prop_assert_eq!(segments.len(), 4);
                let read = percent_encoding::percent_decode_str(segments[2]).decode_utf8().expect("UTF-8");
                prop_assert_eq!(read.as_ref(), text.as_str());
            }
            Err(error) => {
                let odd = text.is_empty() || text.contains('.') || text.chars().any(char::is_control);
                prop_assert!(odd, "{}", error);
            }
        }
    }

    /// Whatever text surrounds it, a sealed value is found whole by another reader, or nothing is sent.
    #[test]
    fn hostile_text_never_hides_a_field_in_json(
        before in proptest::collection::vec(proptest::sample::select(vec![
            "{", "}", "[", "]", "\"", "\\", ":", ",", "\"a\"", "1", "-", " ", "null"]), 0..6),
        after in proptest::collection::vec(proptest::sample::select(vec![
            "{", "}", "[", "]", "\"", "\\", ":", ",", "\"b\"", "1", "e5", " ", "null"]), 0..6),
    ) {
        let value = json!("zq\"zq");
        let (before, after) = (before.concat(), after.concat());
        if let Ok(done) = assemble_one("application/json", &[&before, "§/x", &after], &["d"], &value) {
            let read: Value = serde_json::from_slice(&done.body).expect("JSON");
            prop_assert_eq!(occurrences(&read, &value), 1);
        }
    }
}

fn occurrences(document: &Value, value: &Value) -> usize {
    let below = match document {
        Value::Array(items) => items.iter().map(|item| occurrences(item, value)).sum(),
        Value::Object(members) => members.values().map(|item| occurrences(item, value)).sum(),
        _ => 0,
    };
    below + usize::from(document == value)
}

/// Attribute values and text of a document, by an independent reader, as XML 1.0 §2.11 and §3.3.3 have them.
fn read_xml(document: &str) -> (Vec<String>, String) {
    use quick_xml::events::Event;
    let mut reader = quick_xml::Reader::from_str(document);
    let (mut attributes, mut text) = (Vec::new(), String::new());
    loop {
        match reader.read_event().expect("XML") {
            Event::Start(tag) => {
                for attribute in tag.attributes() {
                    let raw =
                        String::from_utf8(attribute.expect("attribute").value.into_owned()).expect("UTF-8");
                    assert!(!raw.contains(['\r', '\n', '\t', '<']), "a parser would normalise this");
                    attributes.push(quick_xml::escape::unescape(&raw).expect("references").into_owned());
                }
            }
            Event::Text(raw) => {
                let raw = raw.decode().expect("UTF-8").into_owned();
                assert!(!raw.contains('\r'), "a parser would normalise this");
                text.push_str(&raw);
            }
            Event::GeneralRef(name) => {
                let name = name.decode().expect("UTF-8").into_owned();
                text.push_str(&quick_xml::escape::unescape(&format!("&{name};")).expect("reference"));
            }
            Event::End(_) => {}
            Event::Eof => return (attributes, text),
            other => panic!("{other:?}"),
        }
    }
}
