//! What is wrong with a manifest or a component, for the partner who wrote it. It decides nothing.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use super::check::is_disguise;
use super::place::Place;
use crate::catalogue::schema::SchemaFault;

/// The page that has a section for each code.
pub const ERRORS_PAGE: &str = "plugin-sdk/docs/errors.md";

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
    /// Where in the source, with `file`, `line` and `column`; none for a component.
    #[serde(flatten)]
    pub place: Option<Box<Place>>,
}

impl Problem {
    pub(super) fn new(
        code: &'static str,
        at: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { code, at: at.into(), message: message.into(), remedy: Some(remedy.into()), place: None }
    }

    /// Something that the interface has and this gateway does not do yet.
    pub(super) fn not_served(at: impl Into<String>, what: &str) -> Self {
        Self {
            code: "not-served-yet",
            at: at.into(),
            message: format!("{what} is not served by this gateway yet"),
            remedy: Some("leave it out of this release".to_owned()),
            place: None,
        }
    }

    /// A fault of the schema that stands at `at`.
    pub(super) fn in_schema(at: &str, fault: SchemaFault) -> Self {
        Self {
            code: fault.code,
            at: format!("{at}#{}", fault.pointer),
            message: fault.message,
            remedy: Some(fault.remedy),
            place: None,
        }
    }

    /// The same, with its place in the source.
    pub(super) fn at_place(self, place: Place) -> Self {
        Self { place: Some(Box::new(place)), ..self }
    }

    /// In some lines, as compilers do: the rule, the place with its line, the remedy.
    pub fn drawn(&self) -> String {
        let Self { code, at, message, remedy, place } = self;
        let margin = " ".repeat(place.as_ref().map_or(1, |place| place.margin()));
        let mut lines = vec![format!("error[{code}]: {message}")];
        match place {
            Some(place) => {
                let Place { file, line, column, .. } = &**place;
                let path = if at == file { String::new() } else { format!(" ({at})") };
                lines.push(format!("{margin}--> {file}:{line}:{column}{path}"));
                lines.push(place.drawn());
            }
            None => lines.push(format!("{margin}--> {at}")),
        }
        lines.extend(remedy.as_ref().map(|remedy| format!("{margin} = {remedy}")));
        lines.iter().map(|line| visible(line)).collect::<Vec<_>>().join("\n")
    }
}

/// Without what a terminal would obey: a manifest's text is quoted, and may be anybody's.
fn visible(text: &str) -> String {
    text.chars().map(|c| if c != '\n' && is_disguise(c) { '\u{fffd}' } else { c }).collect()
}

/// Several problems, each drawn, and where more is said about their codes.
pub fn drawn(problems: &[Problem]) -> String {
    let mut parts: Vec<String> = problems.iter().map(Problem::drawn).collect();
    let codes: BTreeSet<&str> = problems.iter().map(|problem| problem.code).collect();
    let pages: Vec<String> = codes.iter().map(|code| format!("{ERRORS_PAGE}#{code}")).collect();
    parts.push(format!("More about each:\n  {}", pages.join("\n  ")));
    parts.join("\n\n")
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Place { file, line, column, .. }) = self.place.as_deref() {
            write!(f, "{file}:{line}:{column}: ")?;
        }
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
        f.write_str(&drawn(&self.0))
    }
}

impl std::error::Error for ManifestErrors {}
