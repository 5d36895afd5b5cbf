//! A plugin's schemas at run time: what it may return, what a brand may set. They fetch nothing, and
//! what they say about a plugin's output is made of declared names and a count.

use serde_json::{Map, Value};

use super::problem::Problem;
use super::{Manifest, SchemaSource};
use crate::catalogue::schema::{Schema, SchemaKind};
use crate::catalogue::{self, FieldPath};

/// What a hook may return, compiled once for each release.
#[derive(Debug)]
pub struct ReturnSchema {
    schema: Schema,
    leaves: Vec<(FieldPath, String)>,
}

/// An output that breaks its schema. Neither keys nor values of the output are in it: both can carry
/// a consumer's data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the output breaks its schema {count} time(s), first at or below {nearest_declared_path:?}; return only what the manifest declares"
)]
pub struct SchemaViolation {
    /// JSON Pointer with `*` for indices, empty for the root: the deepest path of the schema at or
    /// above the first fault.
    pub nearest_declared_path: String,
    /// Undeclared keys and broken rules, together; at least 1.
    pub count: usize,
}

impl ReturnSchema {
    /// Compiles a schema that the manifest's check has accepted.
    ///
    /// # Errors
    /// The first rule of the subset that it breaks; `at` is a JSON Pointer behind `#`.
    pub fn compile(document: &Map<String, Value>) -> Result<Self, Problem> {
        let schema = Schema::compile(document, SchemaKind::Returns).map_err(|faults| {
            faults.into_iter().next().map_or_else(
                || Problem::new("schema-invalid", "#", "the schema is refused", "correct it"),
                |fault| Problem::in_schema("", fault),
            )
        })?;
        let leaves = schema
            .leaves()
            .iter()
            // Invariant: `SchemaKind::Returns` refuses a leaf without a category.
            .filter_map(|leaf| Some((leaf.path.clone(), leaf.category?.to_string())))
            .collect();
        Ok(Self { schema, leaves })
    }

    /// Checks an output.
    ///
    /// # Errors
    /// Where the first fault is, in declared names, and how many there are.
    pub fn validate(&self, output: &Value) -> Result<(), SchemaViolation> {
        if self.schema.validator().is_valid(output) {
            return Ok(());
        }
        let (nearest_declared_path, count) = catalogue::nearest_and_count(&self.schema, output);
        Err(SchemaViolation { nearest_declared_path, count })
    }

    /// Every field that can be returned, with its category (a key of `gateway_policy::Category`).
    pub fn leaves(&self) -> &[(FieldPath, String)] {
        &self.leaves
    }
}

/// Checks a connection's settings. A plugin without a settings schema takes `{}` only.
///
/// # Errors
/// What is wrong and where, `at` as `settings` with a JSON Pointer; no value is repeated.
pub fn validate_settings(manifest: &Manifest, settings: &Value) -> Result<(), Vec<Problem>> {
    let source = manifest.settings.as_ref().and_then(|settings| settings.schema.as_ref());
    let document = match source {
        Some(SchemaSource::Inline(document)) => document,
        Some(SchemaSource::Path(_)) => return Err(vec![not_inlined("settings.schema")]),
        None if settings.as_object().is_some_and(Map::is_empty) => return Ok(()),
        None => {
            return Err(vec![Problem::new(
                "settings-invalid",
                "settings",
                "this plugin has no settings",
                "send an empty object",
            )]);
        }
    };
    let schema = Schema::compile(document, SchemaKind::Settings).map_err(|faults| {
        faults.into_iter().map(|fault| Problem::in_schema("settings.schema", fault)).collect::<Vec<_>>()
    })?;
    catalogue::explain_invalid(&schema, settings).map_or(Ok(()), |problems| {
        Err(problems
            .into_iter()
            .map(|problem| {
                let at = format!("settings{}", problem.pointer);
                let message = format!("the setting breaks its schema (`{}`)", problem.rule);
                Problem::new("settings-invalid", at, message, problem.remedy)
            })
            .collect())
    })
}

/// A path where an embedded manifest holds the schema itself.
pub(super) fn not_inlined(at: &str) -> Problem {
    Problem::new(
        "schema-not-inlined",
        at,
        "the schema is a path rather than the schema itself",
        "build the plugin with `gateway plugin build`, which puts it in place",
    )
}
