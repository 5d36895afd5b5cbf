//! A component's bytes: putting a manifest in, and looking at what a partner sent. It runs nothing
//! and compiles nothing; every byte of a component is untrusted.

use gateway_policy::{Aggregation, Purpose};
use serde_json::Value;
use sha2::{Digest, Sha256};
use wasmparser::{Parser, Payload, Validator, WasmFeatures};

use super::interface::{self, Api, Edge};
use super::problem::Problem;
use super::provenance::{self, PROVENANCE_SECTION, Provenance};
use super::{Manifest, SchemaSource, check};
use crate::catalogue::Catalogue;

/// The custom section of the outer component that holds the manifest.
pub const SECTION: &str = "integration-manifest";
/// Octets of a component. Python's interpreter makes 18 MB; this leaves room for a program.
pub const MAX_COMPONENT_BYTES: usize = 32 * 1024 * 1024;
/// Octets of an embedded manifest: a few schemas of at most 64 KiB each.
pub const MAX_MANIFEST_BYTES: usize = 512 * 1024;

/// What components from Rust, JavaScript and Python need (design: "The sandbox"), nothing else: no
/// threads, memory64, relaxed SIMD, exceptions, tail calls, GC or component-model async, and nothing of what is
/// made for GC (`externref`), which WebAssembly 2.0 has.
pub const FEATURES: WasmFeatures = WasmFeatures::WASM2
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::COMPONENT_MODEL)
    .difference(WasmFeatures::GC_TYPES);

/// Octets of one section of component types; the interface's own take less than 2 KiB. wasmparser
/// reads nested types by recursion, three octets a level, so this bounds its depth.
const MAX_TYPE_SECTION_BYTES: usize = 64 * 1024;
/// Octets of stack for reading a component: more than that depth needs. Only what is touched is
/// ever backed by memory.
const STACK_BYTES: usize = 256 * 1024 * 1024;

/// An interface that componentize-py adds to everything it makes.
const PYTHON_EXPORT: &str = "exports";
const HOOKS: [&str; 4] = ["share", "decide", "receive", "rights"];

/// Why a manifest was not embedded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmbedError {
    /// Not a component at all.
    #[error("the bytes are not a component; encode the compiled module as one first")]
    NotAComponent,
    /// Cut off or malformed.
    #[error("the component cannot be read to its end; build it again")]
    Malformed,
    /// One is there, outside or nested.
    #[error("the component holds a manifest already; embed into the component as it was encoded")]
    AlreadyEmbedded,
    /// A path where the schema itself belongs.
    #[error("a schema of the manifest is a path; read the manifest with its directory")]
    SchemaNotInlined,
    /// Larger than publication allows.
    #[error(
        "the component or its manifest is too large (at most {MAX_COMPONENT_BYTES} and {MAX_MANIFEST_BYTES} bytes); make it smaller"
    )]
    TooLarge,
}

/// A release as its bytes describe it.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// The one embedded manifest.
    pub manifest: Manifest,
    /// What its build says that it was built from, if anything.
    pub provenance: Option<Provenance>,
    /// SHA-256 of all bytes, by which the release is named.
    pub digest: [u8; 32],
    /// Octets.
    pub size: usize,
}

/// Appends the manifest to the outer component, as its only section of that name.
///
/// # Errors
/// See [`EmbedError`].
pub fn embed(component: &[u8], manifest: &Manifest) -> Result<Vec<u8>, EmbedError> {
    if !Parser::is_component(component) {
        return Err(EmbedError::NotAComponent);
    }
    let outline = Outline::read(component);
    if outline.malformed {
        return Err(EmbedError::Malformed);
    }
    if !outline.manifests.is_empty() || outline.nested > 0 {
        return Err(EmbedError::AlreadyEmbedded);
    }
    if schemas(manifest).any(|(_, source)| matches!(source, SchemaSource::Path(_))) {
        return Err(EmbedError::SchemaNotInlined);
    }
    let text = canonical(manifest).ok_or(EmbedError::TooLarge)?;
    let bytes = append_section(component, SECTION, &text);
    if text.len() > MAX_MANIFEST_BYTES || bytes.len() > MAX_COMPONENT_BYTES {
        return Err(EmbedError::TooLarge);
    }
    Ok(bytes)
}

/// The component with one more custom section: 0, its size, its name with a length, its content.
pub(super) fn append_section(component: &[u8], name: &str, text: &[u8]) -> Vec<u8> {
    let mut content = leb128(name.len());
    content.extend_from_slice(name.as_bytes());
    content.extend_from_slice(text);
    let mut bytes = component.to_vec();
    bytes.push(0);
    bytes.extend(leb128(content.len()));
    bytes.extend(content);
    bytes
}

/// JSON without spaces, keys sorted: one manifest has one text.
fn canonical(manifest: &Manifest) -> Option<Vec<u8>> {
    let mut value: Value = serde_json::to_value(manifest).ok()?;
    value.sort_all_objects();
    serde_json::to_vec(&value).ok()
}

/// Unsigned LEB128.
pub(super) fn leb128(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or(0);
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// Looks at a component: what it is, imports, exports, and its manifest against these.
///
/// # Errors
/// Everything that is wrong with it. What the manifest means is for [`check()`]; [`review`] does both.
pub fn inspect(component: &[u8]) -> Result<Inspected, Vec<Problem>> {
    let (read, problems) = examine(component);
    accept(component, read, problems)
}

/// [`inspect`] and [`check()`] in one pass: everything that keeps a component from being published.
///
/// # Errors
/// Everything that is wrong with it.
pub fn review(component: &[u8], catalogue: &Catalogue) -> Result<Inspected, Vec<Problem>> {
    let (read, mut problems) = examine(component);
    if let Some(read) = &read {
        problems.extend(check(&read.manifest, catalogue));
    }
    accept(component, read, problems)
}

/// What the sections of a component say.
struct Read {
    manifest: Manifest,
    provenance: Option<Provenance>,
}

fn accept(
    component: &[u8],
    read: Option<Read>,
    mut problems: Vec<Problem>,
) -> Result<Inspected, Vec<Problem>> {
    match read {
        Some(Read { manifest, provenance }) if problems.is_empty() => Ok(Inspected {
            manifest,
            provenance,
            digest: Sha256::digest(component).into(),
            size: component.len(),
        }),
        None if problems.is_empty() => Err(vec![no_manifest()]),
        _ => {
            problems.dedup();
            Err(super::load::capped(problems))
        }
    }
}

fn no_manifest() -> Problem {
    Problem::new(
        "no-manifest",
        "component",
        format!("the component has no `{SECTION}` section"),
        "build it with `gateway plugin build`, which embeds `plugin.toml`",
    )
}

fn examine(component: &[u8]) -> (Option<Read>, Vec<Problem>) {
    let refused =
        |code, message: String, remedy: &str| (None, vec![Problem::new(code, "component", message, remedy)]);
    if component.len() > MAX_COMPONENT_BYTES {
        let message = format!("the component is larger than {MAX_COMPONENT_BYTES} bytes");
        return refused("component-too-large", message, "strip it, or optimise for size");
    }
    if Parser::is_core_wasm(component) {
        let message = "this is a core WebAssembly module rather than a component".to_owned();
        return refused("core-module", message, "encode it with `gateway plugin build`");
    }
    if !Parser::is_component(component) {
        let message = "this is not WebAssembly".to_owned();
        return refused("not-wasm", message, "send the bytes of the component itself");
    }
    // A thread of its own, for the stack, and so that a panic in a parser ends that thread alone.
    std::thread::scope(|scope| {
        let reading =
            std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, || read(component));
        reading.ok().and_then(|reading| reading.join().ok())
    })
    .unwrap_or_else(|| {
        let message = "the component cannot be read".to_owned();
        refused("component-unreadable", message, "build it with `gateway plugin build`")
    })
}

fn read(component: &[u8]) -> (Option<Read>, Vec<Problem>) {
    let mut problems = Vec::new();
    let outline = Outline::read(component);
    if outline.largest_types > MAX_TYPE_SECTION_BYTES {
        problems.push(Problem::new(
            "types-too-large",
            "component",
            format!("a section of component types is larger than {MAX_TYPE_SECTION_BYTES} bytes"),
            "use the types of the interface only",
        ));
        return (None, problems);
    }
    let valid = match Validator::new_with_features(FEATURES).validate_all(component) {
        Ok(_) => true,
        Err(error) => {
            problems.push(Problem::new(
                "invalid-component",
                "component",
                format!("invalid at byte {}: {}", error.offset(), error.message()),
                "build for WebAssembly 2.0 with extended constants and no other proposals",
            ));
            false
        }
    };
    if outline.malformed && valid {
        problems.push(Problem::new(
            "invalid-component",
            "component",
            "the component cannot be read to its end",
            "build it again",
        ));
    }
    for name in &outline.imports {
        problems.extend(check_import(name));
    }
    for name in &outline.exports {
        problems.extend(check_export(name));
    }
    if valid {
        problems.extend(interface::compare(component));
    }
    let manifest = read_manifest(&outline, &mut problems);
    if let Some(manifest) = &manifest {
        compare_hooks(manifest, &outline.exports, &mut problems);
        problems.extend(compare_versions(manifest, &outline));
        problems.extend(check_exchange(manifest, &outline.imports));
        check_aggregates(manifest, &outline.imports, &mut problems);
    }
    let provenance = provenance::read_provenance(&outline).unwrap_or_else(|problem| {
        problems.push(problem);
        None
    });
    (manifest.map(|manifest| Read { manifest, provenance }), problems)
}

fn check_import(name: &str) -> Option<Problem> {
    let at = format!("component, import `{name}`");
    let problem = |code, message: &str, remedy: &str| Some(Problem::new(code, at.clone(), message, remedy));
    match interface::edge(name) {
        Edge::Ours(_, "log" | "memory" | "exchange" | "aggregates" | "budget" | "types") => None,
        Edge::Wasi => problem(
            "wasi-import",
            "a plugin has no WASI: no clock, randomness, files or network of its own",
            "build for `wasm32-unknown-unknown`, or with the language's WASI features switched off",
        ),
        Edge::OtherVersion(version) => Some(other_version("unknown-import", at, version)),
        Edge::Ours(..) | Edge::Foreign => problem(
            "unknown-import",
            "a plugin imports `log`, `memory`, `exchange`, `aggregates`, `types` and, from 0.2 on, `budget` of \
             `integration:plugin` only",
            "remove the import",
        ),
    }
}

fn check_export(name: &str) -> Option<Problem> {
    let at = format!("component, export `{name}`");
    match interface::edge(name) {
        Edge::Ours(_, "share" | "decide" | "receive") => None,
        Edge::Ours(_, "rights") => Some(Problem::not_served(at, &format!("the hook `{name}`"))),
        Edge::Foreign if name == PYTHON_EXPORT => None,
        Edge::OtherVersion(version) => Some(other_version("unknown-export", at, version)),
        _ => Some(Problem::new(
            "unknown-export",
            at,
            "a plugin exports hooks of `integration:plugin` only",
            "remove the export",
        )),
    }
}

fn other_version(code: &'static str, at: String, version: &str) -> Problem {
    Problem::new(
        code,
        at,
        format!("it is of version {version} of the interface; this gateway serves {}", Api::served()),
        "build against one of these, and name it as `api` in the manifest",
    )
}

/// A component is of one version, the one that its manifest names.
fn compare_versions(manifest: &Manifest, outline: &Outline<'_>) -> Option<Problem> {
    // One that is not served is a problem of its own.
    let declared = Api::of_manifest(&manifest.plugin.api)?;
    let edges = outline.imports.iter().chain(&outline.exports);
    let (other, name) = edges
        .filter_map(|name| Some((interface::edge(name).api()?, name)))
        .find(|(api, _)| *api != declared)?;
    let (declared, other) = (declared.as_str(), other.as_str());
    Some(Problem::new(
        "api-mismatch",
        "plugin.api",
        format!(
            "the manifest says version {declared} of the interface, and the component has `{name}`, of version {other}; \
             this gateway serves {}, one at a time",
            Api::served()
        ),
        format!(
            "write `api = \"{other}\"`, or build against `wit/{declared}` (with plugin-sdk: its feature `api-0-2` for 0.2)"
        ),
    ))
}

/// Exports against the manifest, both ways.
fn compare_hooks(manifest: &Manifest, exports: &[String], problems: &mut Vec<Problem>) {
    for hook in HOOKS {
        let declared = match hook {
            "share" => !manifest.share.is_empty(),
            "decide" => !manifest.decide.is_empty(),
            "receive" => !manifest.receive.is_empty(),
            _ => !manifest.rights.is_empty(),
        };
        let exported = exports.iter().any(|name| interface::edge(name).is(hook));
        match (declared, exported) {
            (true, false) => problems.push(Problem::new(
                "hook-not-exported",
                hook,
                format!("the manifest declares `{hook}`, which the component does not export"),
                format!("implement it, or remove `[[{hook}]]`"),
            )),
            (false, true) => problems.push(Problem::new(
                "hook-not-declared",
                hook,
                format!("the component exports `{hook}`, which the manifest does not declare"),
                format!("add `[[{hook}]]`, or do not export it"),
            )),
            _ => {}
        }
    }
}

/// A plugin that waits for its partner says what the partner answers: a reply without a category has no label. One that
/// gets messages may not ask: whether a message made it ask would tell the partner whether its consumer opted out
/// (clause integrations.opt-out).
fn check_exchange(manifest: &Manifest, imports: &[String]) -> Option<Problem> {
    let asks = imports.iter().any(|name| interface::edge(name).is("exchange"));
    if asks && !manifest.receive.is_empty() {
        return Some(Problem::new(
            "exchange-and-receive",
            "receive",
            "a plugin that gets messages may not import `exchange`: a message that makes it ask would tell the partner \
             what the consumer chose (clause integrations.opt-out)",
            "put what asks the partner into a plugin without `[[receive]]`",
        ));
    }
    let answered = manifest.endpoint.iter().any(|endpoint| endpoint.reply.is_some());
    (asks && !answered).then(|| {
        Problem::new(
            "exchange-without-reply",
            "endpoint",
            "the component imports `exchange`, and no endpoint declares what it answers",
            "add `reply = \"CATEGORY\"` to the endpoint that is asked, or remove the import",
        )
    })
}

/// Aggregates are for some purposes only (clause share.aggregate).
fn check_aggregates(manifest: &Manifest, imports: &[String], problems: &mut Vec<Problem>) {
    let Some(name) = imports.iter().find(|name| interface::edge(name).is("aggregates")) else {
        return;
    };
    // A purpose that is none is a problem of its own.
    let purpose = Purpose::parse(&manifest.plugin.purpose);
    if purpose.is_ok_and(|purpose| !Aggregation::serves(purpose)) {
        let served: Vec<_> = Aggregation::purposes().map(|purpose| format!("`{purpose}`")).collect();
        problems.push(Problem::new(
            "aggregates-not-for-purpose",
            format!("component, import `{name}`"),
            format!("aggregates are for purposes under {}", served.join(", ")),
            "declare such a purpose, if it is the plugin's, or remove the import",
        ));
    }
}

fn read_manifest(outline: &Outline<'_>, problems: &mut Vec<Problem>) -> Option<Manifest> {
    if outline.nested > 0 {
        problems.push(Problem::new(
            "nested-manifest",
            "component",
            format!("a module or component inside holds a `{SECTION}` section"),
            "keep one, of the outer component",
        ));
    }
    let [text] = outline.manifests.as_slice() else {
        problems.push(if outline.manifests.is_empty() {
            no_manifest()
        } else {
            Problem::new(
                "several-manifests",
                "component",
                format!("the component has more than one `{SECTION}` section"),
                "embed the manifest once",
            )
        });
        return None;
    };
    if text.len() > MAX_MANIFEST_BYTES {
        problems.push(Problem::new(
            "manifest-too-large",
            "component",
            format!("the manifest is larger than {MAX_MANIFEST_BYTES} bytes"),
            "shorten its schemas",
        ));
        return None;
    }
    match serde_json::from_slice::<Manifest>(text) {
        Ok(manifest) => Some(manifest),
        Err(error) => {
            problems.push(Problem::new(
                "bad-manifest",
                "component",
                format!("the embedded manifest does not read: {error}"),
                "embed it with `gateway plugin build`",
            ));
            None
        }
    }
}

/// Every schema of a manifest with its place.
fn schemas(manifest: &Manifest) -> impl Iterator<Item = (&'static str, &SchemaSource)> {
    let share = manifest.share.iter().filter_map(|hook| Some(("share", hook.returns.as_ref()?)));
    let decide = manifest.decide.iter().map(|hook| ("decide", &hook.returns));
    let receive = manifest.receive.iter().filter_map(|hook| Some(("receive", hook.returns.as_ref()?)));
    let settings =
        manifest.settings.iter().filter_map(|settings| Some(("settings", settings.schema.as_ref()?)));
    share.chain(decide).chain(receive).chain(settings)
}

/// What is seen of a component without understanding it.
#[derive(Default)]
pub(super) struct Outline<'b> {
    imports: Vec<String>,
    exports: Vec<String>,
    /// Contents of manifest sections of the outer component.
    manifests: Vec<&'b [u8]>,
    /// Manifest sections inside nested modules and components.
    nested: usize,
    /// Contents of provenance sections of the outer component.
    pub(super) provenances: Vec<&'b [u8]>,
    /// Provenance sections inside nested modules and components.
    pub(super) nested_provenances: usize,
    /// Octets of the largest section of component types, nested ones included.
    largest_types: usize,
    pub(super) malformed: bool,
}

impl<'b> Outline<'b> {
    pub(super) fn read(component: &'b [u8]) -> Self {
        let mut outline = Self::default();
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(component) {
            let Ok(payload) = payload else {
                outline.malformed = true;
                break;
            };
            match payload {
                Payload::Version { .. } => depth = depth.saturating_add(1),
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::CustomSection(section) if section.name() == SECTION => {
                    if depth == 1 {
                        outline.manifests.push(section.data());
                    } else {
                        outline.nested = outline.nested.saturating_add(1);
                    }
                }
                Payload::CustomSection(section) if section.name() == PROVENANCE_SECTION => {
                    if depth == 1 {
                        outline.provenances.push(section.data());
                    } else {
                        outline.nested_provenances = outline.nested_provenances.saturating_add(1);
                    }
                }
                Payload::ComponentTypeSection(section) => {
                    outline.largest_types = outline.largest_types.max(section.range().len());
                }
                Payload::ComponentImportSection(section) if depth == 1 => {
                    for import in section {
                        match import {
                            Ok(import) => outline.imports.push(import.name.name.to_owned()),
                            Err(_) => outline.malformed = true,
                        }
                    }
                }
                Payload::ComponentExportSection(section) if depth == 1 => {
                    for export in section {
                        match export {
                            Ok(export) => outline.exports.push(export.name.name.to_owned()),
                            Err(_) => outline.malformed = true,
                        }
                    }
                }
                _ => {}
            }
        }
        outline
    }
}

#[cfg(test)]
#[path = "component_tests.rs"]
pub(super) mod tests;
