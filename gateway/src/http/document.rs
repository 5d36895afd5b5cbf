//! A JSON document of a request, read into its type.

use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;

use super::api::Api;
use super::body;
use super::problem::{Code, ProblemDetails, THE_BODY};
use crate::pipeline::{Unreadable, read_document};

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
    read_document(bytes).map_err(|Unreadable { malformed, problem }| {
        let (code, what) =
            if malformed { (Code::Malformed, THE_BODY) } else { (Code::Invalid, "the document") };
        ProblemDetails::of_document(code, format!("{what} is not valid: {problem}"), vec![problem])
    })
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
