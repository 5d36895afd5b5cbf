//! Reading `plugin.toml` and the schemas beside it. It reads nothing outside the plugin's directory.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Component, Path};

use serde_json::{Map, Value};

use super::check::check;
use super::place::Place;
use super::problem::{ManifestErrors, Problem};
use super::text::{self, FILE, Text};
use super::{Manifest, SchemaSource, json_text};
use crate::catalogue::schema::MAX_SCHEMA_BYTES;
use crate::catalogue::{Catalogue, nearest};

/// Octets of `plugin.toml`; a manifest is read by people.
const MAX_TOML_BYTES: usize = 256 * 1024;

/// Problems that are told; a plugin's author corrects these first.
pub const MAX_PROBLEMS: usize = 100;

/// A plugin's source, as far as it reads.
#[derive(Debug)]
pub struct Reading {
    /// With its schemas in place of their paths; only where there is no problem.
    pub manifest: Option<Manifest>,
    /// Everything that is wrong, in the order of the files, at most [`MAX_PROBLEMS`] and one that counts the rest.
    pub problems: Vec<Problem>,
}

/// Reads `dir/plugin.toml` with its schemas, and checks what it means, in one pass.
pub fn read_dir(dir: &Path, catalogue: &Catalogue) -> Reading {
    read(dir, |manifest| check(manifest, catalogue))
}

/// Reads `dir/plugin.toml` and puts its schemas in place of their paths.
///
/// # Errors
/// Everything that does not read, in one pass. What the manifest means is for [`read_dir`] and [`check()`].
pub fn load_dir(dir: &Path) -> Result<Manifest, ManifestErrors> {
    let Reading { manifest, problems } = read(dir, |_| Vec::new());
    manifest.ok_or(ManifestErrors(problems))
}

/// Reads the text of a `plugin.toml`; schemas stay paths.
///
/// # Errors
/// Every unknown or missing key and every value of another type, with line and column, and with the
/// name that was meant where one is near.
pub fn parse_toml(text: &str) -> Result<Manifest, ManifestErrors> {
    let Text { manifest, problems, .. } = text::read(text);
    match manifest {
        Some(manifest) if problems.is_empty() => Ok(manifest),
        _ => Err(ManifestErrors(problems)),
    }
}

fn read(dir: &Path, check: impl FnOnce(&Manifest) -> Vec<Problem>) -> Reading {
    let source = match read_capped(&dir.join(FILE), MAX_TOML_BYTES) {
        Ok(source) => source,
        Err(fault) => return Reading { manifest: None, problems: vec![no_manifest(dir, fault)] },
    };
    let mut text = text::read(&source);
    let Some(mut manifest) = text.manifest.take() else {
        return Reading { manifest: None, problems: capped(text.problems) };
    };
    let mut problems = std::mem::take(&mut text.problems);
    let mut schemas = BTreeMap::new();
    for (at, source) in sources(&mut manifest) {
        let SchemaSource::Path(path) = source else { continue };
        // Where the path itself is no string, that is told already.
        if !text.stands(&Problem::new("unreadable", &*at, "", "")) {
            continue;
        }
        match SchemaFile::read(dir, path, &at) {
            Ok(file) => {
                problems.extend(file.repeated_key(&at));
                *source = SchemaSource::Inline(file.schema.clone());
                schemas.insert(at, file);
            }
            Err(problem) => {
                problems.push(problem);
                text.unsound.push(at);
            }
        }
    }
    problems.extend(check(&manifest).into_iter().filter(|problem| text.stands(problem)));
    for problem in &mut problems {
        if problem.place.is_none() {
            let (at, pointer) = problem.at.split_once('#').unwrap_or((&problem.at, ""));
            let place = match schemas.get(at).filter(|_| problem.at.contains('#')) {
                Some(file) => Place::of(&file.path, &file.text, &json_text::place_of(&file.text, pointer)),
                None => Place::of(FILE, &source, &text.span(at)),
            };
            problem.place = Some(Box::new(place));
        }
    }
    problems.sort_by_key(|problem| {
        problem.place.as_ref().map(|place| (place.file != FILE, place.file.clone(), place.line, place.column))
    });
    problems.dedup();
    Reading { manifest: problems.is_empty().then_some(manifest), problems: capped(problems) }
}

/// A list that somebody can read.
pub(super) fn capped(mut problems: Vec<Problem>) -> Vec<Problem> {
    let more = problems.len().saturating_sub(MAX_PROBLEMS);
    if more > 0 {
        problems.truncate(MAX_PROBLEMS);
        let message = format!("{more} more problems are not listed");
        problems.push(Problem::new("more-problems", FILE, message, "correct these first"));
    }
    problems
}

fn no_manifest(dir: &Path, fault: Fault) -> Problem {
    let remedy = match &fault {
        Fault::Io(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let entries = std::fs::read_dir(dir).into_iter().flatten().take(MAX_ENTRIES_LOOKED_AT);
            let names: Vec<String> =
                entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
            nearest(FILE, names.iter().map(String::as_str)).map_or_else(
                || "name the directory of a plugin, which has its manifest in a file of that name".to_owned(),
                |known| format!("rename `{known}` to `{FILE}`"),
            )
        }
        Fault::TooLarge(_) => "a manifest is read by people: split the plugin in two".to_owned(),
        Fault::NotText { .. } => "save it as UTF-8".to_owned(),
        _ => "write the manifest there".to_owned(),
    };
    let problem = Problem::new("unreadable", FILE, fault.message(FILE), remedy);
    match fault.place(FILE) {
        Some(place) => problem.at_place(place),
        None => problem,
    }
}

/// Entries of a directory among which a misnamed manifest is looked for.
const MAX_ENTRIES_LOOKED_AT: usize = 1_000;

/// Every schema of a manifest with its place.
fn sources(manifest: &mut Manifest) -> Vec<(String, &mut SchemaSource)> {
    let mut found: Vec<(String, &mut SchemaSource)> = Vec::new();
    for (index, hook) in manifest.share.iter_mut().enumerate() {
        found.extend(hook.returns.as_mut().map(|source| (format!("share[{index}].returns"), source)));
    }
    for (index, hook) in manifest.decide.iter_mut().enumerate() {
        found.push((format!("decide[{index}].returns"), &mut hook.returns));
    }
    for (index, hook) in manifest.receive.iter_mut().enumerate() {
        found.extend(hook.returns.as_mut().map(|source| (format!("receive[{index}].returns"), source)));
    }
    let settings = manifest.settings.as_mut().and_then(|settings| settings.schema.as_mut());
    found.extend(settings.map(|source| ("settings.schema".to_owned(), source)));
    found
}

/// A schema's file.
struct SchemaFile {
    path: String,
    text: String,
    schema: Map<String, Value>,
}

impl SchemaFile {
    fn read(dir: &Path, path: &str, at: &str) -> Result<Self, Problem> {
        let relative = Path::new(path);
        let plain =
            !path.is_empty() && relative.components().all(|part| matches!(part, Component::Normal(_)));
        let outside = || {
            Problem::new(
                "schema-outside",
                at,
                "a schema lies beside `plugin.toml` or below",
                "name it by a relative path without `..`, such as `schemas/returns.json`",
            )
        };
        if !plain {
            return Err(outside());
        }
        let unreadable = |fault: Fault| {
            let place = fault.place(path);
            let remedy = "put a JSON Schema of at most 64 KiB there";
            let problem = Problem::new("unreadable", at, fault.message(path), remedy);
            Problem { place: place.map(Box::new), ..problem }
        };
        // A symbolic link may lead anywhere, so what counts is where the file really is.
        let root = dir.canonicalize().map_err(|error| unreadable(Fault::Io(error)))?;
        let file = dir.join(relative).canonicalize().map_err(|error| unreadable(Fault::Io(error)))?;
        if !file.starts_with(&root) {
            return Err(outside());
        }
        let text = read_capped(&file, MAX_SCHEMA_BYTES).map_err(unreadable)?;
        match serde_json::from_str(&text) {
            Ok(schema) => Ok(Self { path: path.to_owned(), text, schema }),
            Err(error) => {
                let span = offset(&text, error.line(), error.column());
                let message = if error.is_data() {
                    format!("`{path}` is not a JSON object")
                } else {
                    // The position is the place's.
                    let words = error.to_string();
                    let words = words.split(" at line ").next().unwrap_or_default();
                    format!("`{path}` is not JSON: {words}")
                };
                Err(Problem::new("schema-invalid", at, message, "correct the JSON").at_place(Place::of(
                    path,
                    &text,
                    &(span..span.saturating_add(1)),
                )))
            }
        }
    }

    fn repeated_key(&self, at: &str) -> Option<Problem> {
        let (pointer, span) = json_text::repeated_key(&self.text)?;
        let place = Place::of(&self.path, &self.text, &span);
        let at = format!("{at}#{pointer}");
        let message = "this key stands there already, and only the last one would count";
        Some(Problem::new("schema-duplicate-key", at, message, "keep one of them").at_place(place))
    }
}

/// The octet at a line and column, both from 1, columns in octets, as serde_json counts them.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let before: usize =
        text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).fold(0, usize::saturating_add);
    before.saturating_add(column.saturating_sub(1))
}

enum Fault {
    Io(std::io::Error),
    NotAFile,
    TooLarge(usize),
    /// With the octets before the first that is none.
    NotText {
        good: String,
    },
}

impl Fault {
    fn message(&self, name: &str) -> String {
        match self {
            Self::Io(error) if error.kind() == std::io::ErrorKind::NotFound => {
                format!("there is no `{name}`")
            }
            Self::Io(error) => format!("`{name}` cannot be read: {error}"),
            Self::NotAFile => format!("`{name}` is not a file"),
            Self::TooLarge(limit) => format!("`{name}` is larger than {limit} bytes"),
            Self::NotText { .. } => format!("`{name}` is not UTF-8 text"),
        }
    }

    fn place(&self, name: &str) -> Option<Place> {
        match self {
            Self::NotText { good } => Some(Place::of(name, good, &(good.len()..good.len()))),
            _ => None,
        }
    }
}

/// Reads at most `limit` octets of a regular file; a pipe or device would never end.
fn read_capped(path: &Path, limit: usize) -> Result<String, Fault> {
    if !std::fs::metadata(path).map_err(Fault::Io)?.is_file() {
        return Err(Fault::NotAFile);
    }
    let file = std::fs::File::open(path).map_err(Fault::Io)?;
    let mut bytes = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    file.take(most).read_to_end(&mut bytes).map_err(Fault::Io)?;
    if bytes.len() > limit {
        return Err(Fault::TooLarge(limit));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let mut bytes = error.into_bytes();
        bytes.truncate(good);
        Fault::NotText { good: String::from_utf8(bytes).unwrap_or_default() }
    })
}
