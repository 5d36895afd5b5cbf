//! A component's large modules apart from it. A component of JavaScript or Python is an interpreter with a plugin in its
//! memory: the interpreter's code is the same in each build, and is most of it. So a module with much code is taken out
//! and compiled under its own digest, once, whichever component it came with; the component that is left imports it. A
//! module that also has the plugin's memory is parted into the two.
//!
//! Invariant: what the parts do together is what the component does, within the limits of the whole. Where that is not
//! plain, nothing is taken out. wasmtime checks each part; limits over all of them are counted here.

mod module;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::iter;

use sha2::{Digest, Sha256};
use wasm_encoder::reencode::{Reencode, ReencodeComponent};
use wasm_encoder::{
    Component, ComponentAliasSection, ComponentImportSection, ComponentTypeRef, CoreTypeSection,
    InstanceSection, ModuleArg, RawSection,
};
use wasmparser::{
    Chunk, ComponentAlias, ComponentAliasSectionReader, ComponentExternalKind, ComponentOuterAliasKind,
    Instance, InstanceSectionReader, Parser, Payload,
};

use super::cache::hex;
use super::limits::Limits;
use module::{Large, MEMORY, Read};

/// The id of a section with a module, in the binary form of a component.
const MODULE: u8 = 1;
/// What the name of an import that is a module begins with; its SHA-256 follows in hexadecimal.
const PREFIX: char = 'm';

/// Bytes of code from which on a module is worth a file of its own. Less is compiled in a moment, and each module costs a
/// call the more to instantiate.
pub(super) const LARGE: usize = 192 * 1024;
/// Modules that are taken out of one component, at most. wasmtime limits what a component's instances take of the host's
/// memory over those that are in it, and for each of the others by itself.
const MOST: usize = 4;
/// Part of the name of the cache: to be counted up where other parts come out than before.
pub(super) const FORM: u32 = 1;

/// A component in parts.
pub(super) struct Apart {
    /// The component without its large modules, each of which it imports as [`import_name`].
    pub(super) component: Vec<u8>,
    /// The modules, by their SHA-256.
    pub(super) modules: BTreeMap<[u8; 32], Vec<u8>>,
}

/// The name under which a component imports a module that was taken out of it.
pub(super) fn import_name(digest: &[u8; 32]) -> String {
    format!("{PREFIX}{}", hex(digest))
}

/// Which module such a name stands for; none: it is no such name.
pub(super) fn imported(name: &str) -> Option<[u8; 32]> {
    let name = name.strip_prefix(PREFIX)?;
    let digits = |at: usize| u8::from_str_radix(name.get(at..at + 2)?, 16).ok();
    let digest: Option<Vec<u8>> = (0..name.len()).step_by(2).map(digits).collect();
    digest?.try_into().ok()
}

/// The component imports a core module. A plugin has its modules within; and what was compiled of others under the name
/// of such an import is none of its business.
pub(super) struct ImportsModule;

/// Sections of a component, as far as they matter here.
enum Section<'a> {
    Module(&'a [u8]),
    Instances(InstanceSectionReader<'a>),
    Aliases(ComponentAliasSectionReader<'a>),
    Other(RawSection<'a>),
}

/// Takes out a component's modules with at least so many bytes of code; none: it has none, or something that is not
/// known here, or it is beyond `limits` and wasmtime is to say so.
///
/// # Errors
/// [`ImportsModule`].
pub(super) fn apart(component: &[u8], limits: &Limits, least: usize) -> Result<Option<Apart>, ImportsModule> {
    Ok(match sections(component)? {
        Some(sections) => parts(sections, limits, least),
        None => None,
    })
}

fn parts(sections: Vec<Section<'_>>, limits: &Limits, least: usize) -> Option<Apart> {
    let mut large: BTreeMap<usize, ([u8; 32], Large)> = BTreeMap::new();
    let mut modules = Vec::new();
    for section in &sections {
        let Section::Module(module) = section else { continue };
        let read = Read::of(module)?;
        if large.len() < MOST
            && let Some(module) = Large::of(&read, least)
        {
            let digest = Sha256::digest(&module.code).into();
            // An import's name stands for one module.
            if large.values().all(|(known, _)| *known != digest) {
                large.insert(modules.len(), (digest, module));
            }
        }
        modules.push(read);
    }
    if large.is_empty() {
        return None;
    }

    let memories: Vec<(u32, &[u8])> = large
        .iter()
        .filter_map(|(index, (_, large))| Some((u32::try_from(*index).ok()?, large.memory.as_deref()?)))
        .collect();
    let mut shift = Shift(u32::try_from(memories.len()).ok()?);
    let (mut index, mut types) = (0, 0);
    // Memories are instantiated first: each other instance comes that much later.
    let mut waiting = (!memories.is_empty()).then_some(&memories);
    let mut instantiated = vec![0_u32; modules.len()];
    let mut out = Component::new();
    for section in sections {
        match section {
            Section::Module(data) => {
                // The modules of memories come behind all others.
                if waiting.is_none() && !memories.is_empty() {
                    return None;
                }
                match large.get(&index) {
                    Some((digest, large)) => {
                        let mut ty = CoreTypeSection::new();
                        ty.ty().module(&large.ty);
                        let mut import = ComponentImportSection::new();
                        import.import(import_name(digest).as_str(), ComponentTypeRef::Module(types));
                        types += 1;
                        out.section(&ty).section(&import);
                    }
                    None => {
                        out.section(&RawSection { id: MODULE, data });
                    }
                }
                index += 1;
            }
            Section::Instances(reader) => {
                let mut instances = InstanceSection::new();
                if let Some(memories) = waiting.take() {
                    for (at, (_, data)) in memories.iter().enumerate() {
                        out.section(&RawSection { id: MODULE, data });
                        instances.instantiate(
                            u32::try_from(modules.len() + at).ok()?,
                            iter::empty::<(&str, ModuleArg)>(),
                        );
                    }
                }
                for instance in reader {
                    if let Some(module) = shift.instantiate(&mut instances, instance.ok()?, &memories)? {
                        *instantiated.get_mut(module)? += 1;
                    }
                }
                out.section(&instances);
            }
            Section::Aliases(reader) => {
                let mut aliases = ComponentAliasSection::new();
                shift.parse_component_alias_section(&mut aliases, reader).ok()?;
                out.section(&aliases);
            }
            Section::Other(section) => {
                out.section(&section);
            }
        }
    }
    // Two instances would share what each had for itself.
    let is_parted = |index: usize| large.get(&index).is_some_and(|(_, large)| large.memory.is_some());
    if instantiated.iter().enumerate().any(|(index, times)| is_parted(index) && *times != 1) {
        return None;
    }
    // Of modules that are not in the component wasmtime does not count along what they have.
    let all = |of: fn(&Read<'_>) -> u32| -> u32 {
        let each = modules.iter().zip(&instantiated).map(|(module, times)| of(module).saturating_mul(*times));
        each.fold(0, u32::saturating_add)
    };
    if all(|_| 1).saturating_add(shift.0) > limits.core_instances
        || all(|module| module.own_tables) > limits.tables
        || all(|module| module.own_memories) > limits.memories
    {
        return None;
    }
    let modules = large.into_values().map(|(digest, large)| (digest, large.code)).collect();
    Some(Apart { component: out.finish(), modules })
}

/// The sections of a component; none: it is none, or has a module, or a core type, that does not stand in it.
fn sections(component: &[u8]) -> Result<Option<Vec<Section<'_>>>, ImportsModule> {
    let (mut sections, mut is_plain_so_far) = (Vec::new(), true);
    let (mut parser, mut at) = (Parser::new(0), 0);
    while let Some(rest) = component.get(at..).filter(|rest| !rest.is_empty()) {
        let Ok(Chunk::Parsed { consumed, payload }) = parser.parse(rest, true) else { return Ok(None) };
        at += consumed;
        let raw = |id: u8, range| Some(Section::Other(RawSection { id, data: component.get(range)? }));
        let section = match payload {
            Payload::Version { encoding: wasmparser::Encoding::Component, .. } | Payload::End(_) => continue,
            Payload::CustomSection(_) => continue,
            Payload::ModuleSection { unchecked_range, .. } => {
                at = unchecked_range.end;
                component.get(unchecked_range).map(Section::Module)
            }
            Payload::ComponentSection { unchecked_range, .. } => {
                at = unchecked_range.end;
                raw(wasm_encoder::ComponentSectionId::Component.into(), unchecked_range)
            }
            Payload::InstanceSection(reader) => Some(Section::Instances(reader)),
            Payload::ComponentAliasSection(reader) => {
                is_plain_so_far &= reader.clone().into_iter().all(|alias| alias.is_ok_and(is_plain));
                Some(Section::Aliases(reader))
            }
            Payload::ComponentImportSection(reader) => {
                let is_module = |ty| matches!(ty, wasmparser::ComponentTypeRef::Module(_));
                if reader.clone().into_iter().any(|import| import.is_ok_and(|import| is_module(import.ty))) {
                    return Err(ImportsModule);
                }
                raw(wasm_encoder::ComponentSectionId::Import.into(), reader.range())
            }
            Payload::Version { .. } => return Ok(None),
            Payload::CoreTypeSection(_) => {
                is_plain_so_far = false;
                continue;
            }
            other => other.as_section().and_then(|(id, range)| raw(id, range)),
        };
        let Some(section) = section else { return Ok(None) };
        sections.push(section);
    }
    Ok(is_plain_so_far.then_some(sections))
}

/// Whether an alias brings neither a module nor a core type, which would count among those of the component itself.
fn is_plain(alias: ComponentAlias<'_>) -> bool {
    match alias {
        ComponentAlias::InstanceExport { kind, .. } => kind != ComponentExternalKind::Module,
        ComponentAlias::Outer { kind, .. } => {
            !matches!(kind, ComponentOuterAliasKind::CoreModule | ComponentOuterAliasKind::CoreType)
        }
        ComponentAlias::CoreInstanceExport { .. } => true,
    }
}

/// Core instances behind so many new ones.
struct Shift(u32);

impl Shift {
    /// The instance, which also gets the memory that was its module's; its module, where it is one's.
    fn instantiate(
        &mut self,
        instances: &mut InstanceSection,
        instance: Instance<'_>,
        memories: &[(u32, &[u8])],
    ) -> Option<Option<usize>> {
        let Instance::Instantiate { module_index, args } = &instance else {
            self.parse_instance(instances, instance).ok()?;
            return Some(None);
        };
        let mut given: Vec<_> =
            args.iter().map(|arg| (arg.name, ModuleArg::Instance(self.instance_index(arg.index)))).collect();
        if let Some(at) = memories.iter().position(|(of, _)| of == module_index) {
            given.push((MEMORY.0, ModuleArg::Instance(u32::try_from(at).ok()?)));
        }
        instances.instantiate(*module_index, given);
        Some(Some(usize::try_from(*module_index).ok()?))
    }
}

impl Reencode for Shift {
    type Error = Infallible;
}

impl ReencodeComponent for Shift {
    fn instance_index(&mut self, instance: u32) -> u32 {
        instance.saturating_add(self.0)
    }
}
