//! Reading `plugin.toml` and the schemas beside it. It reads nothing outside the plugin's directory.

use std::io::Read;
use std::path::{Component, Path};

use serde_json::{Map, Value};

use super::problem::{ManifestErrors, Problem};
use super::{Manifest, SchemaSource, shape};
use crate::catalogue::schema::MAX_SCHEMA_BYTES;

/// Octets of `plugin.toml`; a manifest is read by people.
const MAX_TOML_BYTES: usize = 256 * 1024;

/// Reads `dir/plugin.toml` and puts its schemas in place of their paths.
///
/// # Errors
/// Everything that does not read, in one pass. What the manifest means is for [`super::check`].
pub fn load_dir(dir: &Path) -> Result<Manifest, ManifestErrors> {
    let text = read_capped(&dir.join("plugin.toml"), MAX_TOML_BYTES).map_err(|fault| {
        ManifestErrors(vec![Problem::new(
            "unreadable",
            "plugin.toml",
            fault.message("plugin.toml"),
            "write the manifest there",
        )])
    })?;
    let mut manifest = parse_toml(&text)?;
    let mut problems = Vec::new();
    for (at, source) in sources(&mut manifest) {
        if let SchemaSource::Path(path) = source {
            match read_schema(dir, path, &at) {
                Ok(schema) => *source = SchemaSource::Inline(schema),
                Err(problem) => problems.push(problem),
            }
        }
    }
    if problems.is_empty() { Ok(manifest) } else { Err(ManifestErrors(problems)) }
}

/// Reads the text of a `plugin.toml`; schemas stay paths.
///
/// # Errors
/// Every unknown or missing key and every value of another type, with line and column, and with the
/// name that was meant where one is near.
pub fn parse_toml(text: &str) -> Result<Manifest, ManifestErrors> {
    let mut problems = shape::compare(text);
    if problems.is_empty() {
        match toml::from_str(text) {
            Ok(manifest) => return Ok(manifest),
            Err(error) => problems.push(Problem::new(
                "wrong-type",
                "plugin.toml",
                error.message(),
                "compare it with the documentation of the manifest",
            )),
        }
    }
    Err(ManifestErrors(problems))
}

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

fn read_schema(dir: &Path, path: &str, at: &str) -> Result<Map<String, Value>, Problem> {
    let relative = Path::new(path);
    let plain = !path.is_empty() && relative.components().all(|part| matches!(part, Component::Normal(_)));
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
        Problem::new("unreadable", at, fault.message(path), "put a JSON Schema of at most 64 KiB there")
    };
    // A symbolic link may lead anywhere, so what counts is where the file really is.
    let root = dir.canonicalize().map_err(|error| unreadable(Fault::Io(error)))?;
    let file = dir.join(relative).canonicalize().map_err(|error| unreadable(Fault::Io(error)))?;
    if !file.starts_with(&root) {
        return Err(outside());
    }
    let text = read_capped(&file, MAX_SCHEMA_BYTES).map_err(unreadable)?;
    serde_json::from_str(&text).map_err(|error| {
        Problem::new(
            "schema-invalid",
            at,
            format!("`{path}` is not a JSON object: line {}, column {}", error.line(), error.column()),
            "correct the JSON",
        )
    })
}

enum Fault {
    Io(std::io::Error),
    NotAFile,
    TooLarge(usize),
    NotText,
}

impl Fault {
    fn message(&self, name: &str) -> String {
        match self {
            Self::Io(error) => format!("`{name}` cannot be read: {error}"),
            Self::NotAFile => format!("`{name}` is not a file"),
            Self::TooLarge(limit) => format!("`{name}` is larger than {limit} bytes"),
            Self::NotText => format!("`{name}` is not UTF-8 text"),
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
    String::from_utf8(bytes).map_err(|_| Fault::NotText)
}
