//! What is wrong with a document, in words that hold none of its values. It accepts nothing.

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind as Kind;
use jsonschema::paths::LocationSegment;
use serde::Serialize;
use serde_json::Value;

use super::path::escape;
use super::schema::{Schema, Step};

/// Problems reported for one document; more help nobody.
const MAX_PROBLEMS: usize = 32;
/// Characters of an undeclared key that are repeated to a trusted source.
const MAX_NAME_CHARS: usize = 64;

/// One rule that a document breaks. Never a value; `pointer` may hold the name of an undeclared key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// JSON Pointer to the value at fault. For audiences that may not learn names of undeclared
    /// keys, use `declared_ancestor` instead.
    pub pointer: String,
    /// The deepest declared path at or above the fault, indices as `*`; empty for the root.
    pub declared_ancestor: String,
    /// What sort of problem it is.
    pub kind: ProblemKind,
    /// The schema's keyword that is broken.
    pub rule: String,
    /// What to do.
    pub remedy: String,
}

/// The sorts of problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// A key that the schema does not declare.
    UnknownProperty,
    /// A required property is not there.
    MissingProperty,
    /// A value of another type.
    WrongType,
    /// A value of the right type that breaks another rule.
    Constraint,
}

/// What is wrong with a document; `None` where it is valid, which is the fast way out.
pub(crate) fn explain_invalid(schema: &Schema, document: &Value) -> Option<Vec<Problem>> {
    (!schema.validator().is_valid(document)).then(|| explain(schema, document))
}

/// Everything that is wrong with an invalid document, at most [`MAX_PROBLEMS`] of it, never nothing.
fn explain(schema: &Schema, document: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    for error in schema.validator().iter_errors(document) {
        push(&mut problems, schema, &error);
        if problems.len() >= MAX_PROBLEMS {
            problems.truncate(MAX_PROBLEMS);
            break;
        }
    }
    if problems.is_empty() {
        // Fail closed: refused by `is_valid`, so refused, whatever the detailed pass says.
        problems.push(Problem {
            pointer: String::new(),
            declared_ancestor: String::new(),
            kind: ProblemKind::Constraint,
            rule: "schema".to_owned(),
            remedy: "compare the document with its schema".to_owned(),
        });
    }
    problems
}

/// The nearest declared path of the first problem, and how many problems there are.
pub(crate) fn nearest_and_count(schema: &Schema, document: &Value) -> (String, usize) {
    let mut first = None;
    let mut count = 0_usize;
    for error in schema.validator().iter_errors(document) {
        first.get_or_insert_with(|| declared(schema, &error));
        count = count.saturating_add(match error.kind() {
            Kind::AdditionalProperties { unexpected } => unexpected.len(),
            _ => 1,
        });
    }
    (first.unwrap_or_default(), count.max(1))
}

fn declared(schema: &Schema, error: &ValidationError<'_>) -> String {
    let location = error.instance_path();
    let segments: Vec<LocationSegment<'_>> = location.segments().collect();
    schema.nearest_declared(segments.iter().map(|segment| match segment {
        LocationSegment::Property(name) => Step::Key(name),
        LocationSegment::Index(_) => Step::Index,
    }))
}

fn push(problems: &mut Vec<Problem>, schema: &Schema, error: &ValidationError<'_>) {
    let ancestor = declared(schema, error);
    let at = error.instance_path().as_str();
    let mut add = |pointer: String, kind: ProblemKind, remedy: String| {
        problems.push(Problem {
            pointer,
            declared_ancestor: ancestor.clone(),
            kind,
            rule: error.kind().keyword().to_owned(),
            remedy,
        });
    };
    match error.kind() {
        Kind::AdditionalProperties { unexpected } => {
            for name in unexpected {
                let known = schema.properties_at(&ancestor);
                let remedy = super::nearest(name, known.into_iter()).map_or_else(
                    || "remove it, or add it to the event type's schema".to_owned(),
                    |known| format!("did you mean `{known}`?"),
                );
                add(format!("{at}/{}", escape(&shorten(name))), ProblemKind::UnknownProperty, remedy);
            }
        }
        Kind::Required { property } => {
            // The name comes from the schema's `required`, not from the document.
            let name = property.as_str().unwrap_or_default();
            let pointer = format!("{at}/{}", escape(name));
            add(pointer, ProblemKind::MissingProperty, "add it; it is required".to_owned());
        }
        Kind::Type { .. } => {
            add(at.to_owned(), ProblemKind::WrongType, "give the type that the schema names".to_owned());
        }
        kind => {
            let remedy = match kind {
                Kind::MaxLength { limit } => format!("at most {limit} characters"),
                Kind::MinLength { limit } => format!("at least {limit} characters"),
                Kind::MaxItems { limit } => format!("at most {limit} items"),
                Kind::MinItems { limit } => format!("at least {limit} items"),
                Kind::MaxProperties { limit } => format!("at most {limit} properties"),
                Kind::MinProperties { limit } => format!("at least {limit} properties"),
                Kind::Maximum { limit } => format!("at most {limit}"),
                Kind::Minimum { limit } => format!("at least {limit}"),
                Kind::ExclusiveMaximum { limit } => format!("less than {limit}"),
                Kind::ExclusiveMinimum { limit } => format!("more than {limit}"),
                Kind::Format { format } => format!("write it in the format `{format}`"),
                Kind::Enum { .. } | Kind::Constant { .. } => "use a value that the schema lists".to_owned(),
                Kind::Pattern { .. } => "match the schema's pattern".to_owned(),
                _ => "keep the schema's rule".to_owned(),
            };
            add(at.to_owned(), ProblemKind::Constraint, remedy);
        }
    }
}

fn shorten(name: &str) -> String {
    if name.chars().count() <= MAX_NAME_CHARS {
        return name.to_owned();
    }
    let mut short: String = name.chars().take(MAX_NAME_CHARS).collect();
    short.push('…');
    short
}
