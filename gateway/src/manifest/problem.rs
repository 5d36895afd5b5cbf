//! What is wrong with a manifest or a component, for the partner who wrote it. It decides nothing.

use std::fmt;

use serde::Serialize;

use crate::catalogue::schema::SchemaFault;

/// One thing that is wrong. Manifests and components are published by their partner, so they may be
/// quoted; a brand's settings may not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Stable, kebab-case.
    pub code: &'static str,
    /// Where: a path in `plugin.toml` such as `share[0].receives[2].field`, with `#` and a JSON
    /// Pointer where it is in a schema; or `component`.
    pub at: String,
    /// The rule that is broken.
    pub message: String,
    /// What to do.
    pub remedy: Option<String>,
}

impl Problem {
    pub(super) fn new(
        code: &'static str,
        at: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { code, at: at.into(), message: message.into(), remedy: Some(remedy.into()) }
    }

    /// Something that the interface has and this gateway does not do yet.
    pub(super) fn not_served(at: impl Into<String>, what: &str) -> Self {
        Self {
            code: "not-served-yet",
            at: at.into(),
            message: format!("{what} is not served by this gateway yet"),
            remedy: Some("leave it out of this release".to_owned()),
        }
    }

    /// A fault of the schema that stands at `at`.
    pub(super) fn in_schema(at: &str, fault: SchemaFault) -> Self {
        Self {
            code: fault.code,
            at: format!("{at}#{}", fault.pointer),
            message: fault.message,
            remedy: Some(fault.remedy),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.message)?;
        match &self.remedy {
            Some(remedy) => write!(f, "; {remedy} [{}]", self.code),
            None => write!(f, " [{}]", self.code),
        }
    }
}

/// Everything that is wrong with a manifest; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestErrors(pub Vec<Problem>);

impl fmt::Display for ManifestErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ManifestErrors {}
