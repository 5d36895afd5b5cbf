//! `GET /problems/{code}`: what a code means and what to do, where `type` of a problem points.

use axum::extract::Path;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use utoipa_axum::routes;

use crate::http::problem::{Code, ProblemDetails};
use crate::http::routes::{Operation, Scope};

/// The reference of codes, as it is written.
const PAGE: &str = include_str!("../../../../plugin-sdk/docs/errors.md");
/// What a code's section begins with.
const SECTION: &str = "### ";

/// What a code means
///
/// A section of the reference of codes, in Markdown: of problems of this API, of a manifest or component, of what came
/// of a call or a delivery, of a verdict. It is the same for everybody, and no key is needed.
#[utoipa::path(
    get,
    path = "/problems/{code}",
    tag = "operation",
    params(("code" = String, Path, description = "As in the last part of a problem's `type`")),
    responses(
        (status = 200, description = "Cause and remedy", body = String, content_type = "text/markdown"),
        (status = 404, description = "There is no such code", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
async fn problem_page(Path(code): Path<String>) -> Result<impl IntoResponse, ProblemDetails> {
    let section =
        section(&code).ok_or_else(|| ProblemDetails::new(Code::NotFound, "there is no such code"))?;
    Ok(([(CONTENT_TYPE, "text/markdown; charset=utf-8")], section))
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_problem_page>(routes!(problem_page), &[], Scope::None)
}

/// The codes that have a section, in the page's order.
fn codes() -> impl Iterator<Item = &'static str> {
    PAGE.lines().filter_map(|line| line.strip_prefix(SECTION))
}

/// From a code's heading to the next one.
fn section(code: &str) -> Option<&'static str> {
    let known = codes().find(|known| *known == code)?;
    let heading = format!("{SECTION}{known}\n");
    let start =
        if PAGE.starts_with(&heading) { 0 } else { PAGE.find(&format!("\n{heading}"))?.saturating_add(1) };
    let section = PAGE.get(start..)?;
    let rest = section.get(heading.len()..)?;
    let end = ["\n### ", "\n## "].iter().filter_map(|next| rest.find(next)).min().unwrap_or(rest.len());
    section.get(..heading.len().saturating_add(end)).map(str::trim_end)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::*;

    fn sources(dir: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.extend(sources(&path));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
        found
    }

    fn is_code(text: &str) -> bool {
        let part = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        text.starts_with(|c: char| c.is_ascii_lowercase())
            && !text.starts_with("x-")
            && text.split('-').all(part)
    }

    /// The strings that a text holds, as it is written.
    fn strings(text: &str) -> impl Iterator<Item = &str> {
        text.split('"').skip(1).step_by(2)
    }

    /// What follows `mark`, up to `end`.
    fn each<'t>(text: &'t str, mark: &'t str, end: &'t str) -> impl Iterator<Item = &'t str> {
        text.split(mark).skip(1).map(move |rest| rest.split(end).next().unwrap_or_default())
    }

    /// Every code that the gateway's sources make, by the ways in which they make them.
    fn made() -> BTreeSet<String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut made: BTreeSet<String> =
            Code::ALL.into_iter().map(|code| code.type_reference().replace("/problems/", "")).collect();
        made.extend(["undeclared", "not-granted", "no-permit", "missing-fact", "clause"].map(str::to_owned));
        for path in sources(&root) {
            let text = std::fs::read_to_string(&path).unwrap();
            // The tests of a file stand at its end.
            let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
            if name.ends_with("tests.rs") {
                continue;
            }
            // The first argument, where it is a string.
            if name.starts_with("manifest") || name.starts_with("catalogue") {
                for mark in [
                    "Problem::new(",
                    "push(",
                    "duplicate(",
                    "refused(",
                    "problem(",
                    "fault(",
                    "code: ",
                    "=> (",
                    "{ ",
                    "        (",
                ] {
                    for rest in text.split(mark).skip(1) {
                        let rest = rest.trim_start().strip_prefix('"').unwrap_or_default();
                        let code = rest.split('"').next().unwrap_or_default();
                        if is_code(code) && code.contains('-') || code == "unreadable" {
                            made.insert(code.to_owned());
                        }
                    }
                }
            }
            for function in ["fn code(", "fn outcome_code("] {
                for body in each(text, function, "\n    }\n") {
                    made.extend(strings(body).filter(|code| is_code(code)).map(str::to_owned));
                }
            }
            for string in strings(text) {
                for prefix in ["failed:", "refused:", "not-run:", "not-kept:"] {
                    made.extend(string.strip_prefix(prefix).filter(|code| is_code(code)).map(str::to_owned));
                }
            }
            if name.starts_with("pipeline") {
                for mark in ["DecisionView::none(\"", "Some(\"decision", "Some(\"reply", "Err(\"endpoint"] {
                    let begins = mark.split('"').nth(1).unwrap_or_default();
                    for code in each(text, mark, "\"") {
                        made.insert(format!("{begins}{code}"));
                    }
                }
            }
        }
        made
    }

    #[test]
    fn each_code_has_its_section_and_each_section_its_code() {
        let made = made();
        assert!(made.len() > 100, "the sources are not read: {made:?}");
        let written: Vec<&str> = codes().collect();
        let documented: BTreeSet<String> = written.iter().map(|code| (*code).to_owned()).collect();
        assert_eq!(written.len(), documented.len(), "a code has two sections");
        let missing: Vec<_> = made.difference(&documented).collect();
        let orphaned: Vec<_> = documented.difference(&made).collect();
        assert!(missing.is_empty() && orphaned.is_empty(), "missing: {missing:?}; orphaned: {orphaned:?}");
        for code in written {
            let section = section(code).unwrap();
            assert!(section.contains("Remedy: "), "{code} has no remedy");
            assert!(section.len() > 45 && !section[4..].contains("###"), "{code}: {section}");
        }
    }
}
