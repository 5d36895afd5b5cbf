//! A JSON document of a request, read into its type. It may not repeat a value of the document: serde's
//! own messages do, so only what they expected is kept, with the place.

use axum::extract::{FromRequest, Request};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_path_to_error::Segment;

use super::api::Api;
use super::body;
use super::problem::{Code, ProblemDetails, THE_BODY};
use crate::pipeline::Problem;

/// The body of a request with `application/json`, at most [`super::HttpOptions::max_body`] bytes.
pub(super) struct Document<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Api> for Document<T> {
    type Rejection = ProblemDetails;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Self::Rejection> {
        if !body::is_media_type(request.headers(), "application/json") {
            return Err(ProblemDetails::new(
                Code::UnsupportedMediaType,
                "this operation takes `application/json` in UTF-8; say so in `Content-Type`",
            ));
        }
        let bytes = body::read(request, api.options().max_body).await?;
        parse(&bytes).map(Self)
    }
}

/// Reads one JSON document, refusing what its type does not know.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ProblemDetails> {
    // serde takes an array for a struct too, its members by their place; a document is an object.
    if bytes.trim_ascii_start().starts_with(b"[") && serde_json::from_slice::<IgnoredAny>(bytes).is_ok() {
        let problem = Problem { pointer: String::new(), detail: "expected an object".into() };
        return Err(ProblemDetails::of_document(
            Code::Invalid,
            format!("the document is not valid: {problem}"),
            vec![problem],
        ));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let pointer = pointer(error.path());
        explain(error.inner(), pointer)
    })?;
    reader.end().map_err(|error| explain(&error, String::new()))?;
    Ok(value)
}

fn explain(error: &serde_json::Error, pointer: String) -> ProblemDetails {
    if !error.is_data() {
        let detail = format!("it is not JSON (RFC 8259): line {}, column {}", error.line(), error.column());
        let problem = Problem { pointer: String::new(), detail };
        return ProblemDetails::of_document(
            Code::Malformed,
            format!("{THE_BODY} is not valid: {problem}"),
            vec![problem],
        );
    }
    let message = error.to_string();
    let pointer = match message.strip_prefix("duplicate field `").and_then(|rest| rest.split_once('`')) {
        // The fault is found between the name and its value, where no path leads; the name is the type's own.
        Some((name, _)) if !pointer.ends_with(&format!("/{name}")) => format!("{pointer}/{name}"),
        _ => pointer,
    };
    let problem = Problem { pointer, detail: rule(&message) };
    ProblemDetails::of_document(Code::Invalid, format!("the document is not valid: {problem}"), vec![problem])
}

/// The rule that a message of serde is about, without what was found instead.
fn rule(message: &str) -> String {
    let message = message.rsplit_once(" at line ").map_or(message, |(message, _)| message);
    if let Some(field) = message.strip_prefix("missing field ") {
        return format!("the field {field} is required");
    }
    if message.starts_with("duplicate field ") {
        return "a field is there twice; keep one".into();
    }
    // What was found comes first and may contain anything; what was expected is the type's own word.
    let expected = message.rsplit_once(", expected ").map(|(_, expected)| expected);
    match expected {
        Some(expected) if message.starts_with("unknown field ") => {
            format!("there is no such field; expected {expected}")
        }
        Some(expected) if message.starts_with("unknown variant ") => format!("expected {expected}"),
        Some(expected) => format!("expected {}", json_word(expected)),
        None if message.starts_with("unknown field ") => "there is no such field; none is expected".into(),
        None => "it is not of the documented type".into(),
    }
}

/// serde's words for Rust's types in JSON's words.
fn json_word(expected: &str) -> &str {
    match expected {
        "a map" => "an object",
        "a sequence" => "an array",
        other if other.starts_with("struct ") => "an object",
        other if other.starts_with("enum ") => "one of the documented forms",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, not negative",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        other => other,
    }
}

/// A JSON Pointer (RFC 6901).
fn pointer(path: &serde_path_to_error::Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        let token = match segment {
            Segment::Seq { index } => index.to_string(),
            Segment::Map { key } => key.replace('~', "~0").replace('/', "~1"),
            Segment::Enum { variant } => variant.clone(),
            Segment::Unknown => continue,
        };
        pointer.push('/');
        pointer.push_str(&token);
    }
    pointer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::{BrandInput, ConnectionInput};
    use gateway_policy::Choices;

    fn refusal<T: DeserializeOwned>(text: &str) -> serde_json::Value {
        match parse::<T>(text.as_bytes()) {
            Ok(_) => panic!("{text} was taken"),
            Err(problem) => serde_json::to_value(problem).unwrap(),
        }
    }

    #[test]
    fn a_document_that_does_not_parse_is_400_and_says_where() {
        for text in ["", "{", "{\"display_name\": \"x\"} y", "{\"display_name\": nul}", "\u{feff}{}"] {
            let problem = refusal::<BrandInput>(text);
            assert_eq!(problem["status"], 400, "{text}");
            assert_eq!(problem["pointer"], "", "{text}");
            assert!(problem["detail"].as_str().unwrap().contains("line "), "{text}");
        }
    }

    #[test]
    fn a_document_that_says_what_it_may_not_is_422_with_pointer_and_rule() {
        for (problem, pointer, detail) in [
            (refusal::<BrandInput>("{}"), "", "the field `display_name` is required"),
            (refusal::<BrandInput>("[]"), "", "expected an object"),
            (refusal::<BrandInput>(" [\"a\", true]"), "", "expected an object"),
            (refusal::<BrandInput>("7"), "", "expected an object"),
            (refusal::<BrandInput>("{\"display_name\": 7}"), "/display_name", "expected a string"),
            (
                refusal::<BrandInput>("{\"display_name\": \"a\", \"x\": 1}"),
                "/x",
                "there is no such field; expected `display_name` or `platform`",
            ),
            (
                refusal::<BrandInput>("{\"display_name\": \"a\", \"display_name\": \"b\"}"),
                "/display_name",
                "a field is there twice; keep one",
            ),
            (
                refusal::<ConnectionInput>("{\"release\": \"1\", \"grant\": {\"share a/b\": 1}}"),
                "/grant/share a~1b",
                "expected an array",
            ),
            (refusal::<Choices>("{\"opt_out\": {\"sms\": \"x\"}}"), "/opt_out/sms", "expected a boolean"),
            (
                refusal::<Choices>("{\"permissions\": [{\"for\": {\"all\": 1}}]}"),
                "/permissions/0/for",
                "expected `integration` or `purpose`",
            ),
        ] {
            assert_eq!(problem["status"], 422, "{problem}");
            assert_eq!(problem["problems"][0]["pointer"], pointer, "{problem}");
            assert_eq!(problem["problems"][0]["detail"], detail, "{problem}");
        }
    }

    #[test]
    fn no_value_is_repeated() {
        let value = "jo@example.com, expected mischief at line 1";
        for problem in [
            refusal::<BrandInput>(&format!("\"{value}\"")),
            refusal::<BrandInput>(&format!("{{\"display_name\": \"a\", \"platform\": \"{value}\"}}")),
            refusal::<Choices>(&format!("{{\"opt_out\": {{\"all_integrations\": \"{value}\"}}}}")),
            refusal::<Choices>(&format!("{{\"permissions\": \"{value}\"}}")),
            refusal::<Choices>(&format!("{{\"permissions\": [{{\"for\": \"{value}\"}}]}}")),
            refusal::<Choices>(&format!("{{\"limit_pending\": true}} {value}")),
        ] {
            let text = problem.to_string();
            assert!(!text.contains("jo@") && !text.contains("mischief"), "{text}");
        }
    }
}
