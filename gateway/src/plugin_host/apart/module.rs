//! A core module as far as it has to be known to compile it on its own: its type, and whether its memory can be another
//! module's.

use wasm_encoder::reencode::{Reencode, RoundtripReencoder};
use wasm_encoder::{
    EntityType, ExportKind, ExportSection, ImportSection, MemoryType, Module, ModuleType, RawSection,
    SectionId,
};
use wasmparser::{
    DataKind, DataSectionReader, Export, ExternalKind, FuncType, Import, ImportSectionReader, Operator,
    Parser, Payload, TypeRef,
};

/// The import by which code gets its memory. No compiler of a language writes such a name.
pub(super) const MEMORY: (&str, &str) = ("gateway:apart", "memory");

/// A module with much code.
pub(super) struct Large {
    /// To be compiled on its own.
    pub(super) code: Vec<u8>,
    /// What it imports and exports.
    pub(super) ty: ModuleType,
    /// A module that has its memory and the data in it, where it came with both; then `code` imports it as [`MEMORY`].
    pub(super) memory: Option<Vec<u8>>,
}

/// What a module's sections say.
#[derive(Default)]
pub(super) struct Read<'a> {
    sections: Vec<(u8, &'a [u8])>,
    code: usize,
    types: Vec<FuncType>,
    imports: Vec<Import<'a>>,
    import_section: Option<ImportSectionReader<'a>>,
    exports: Vec<Export<'a>>,
    functions: Vec<u32>,
    tables: Vec<EntityType>,
    memories: Vec<EntityType>,
    globals: Vec<EntityType>,
    /// Those that it does not import.
    pub(super) own_tables: u32,
    pub(super) own_memories: u32,
    data: Option<DataSectionReader<'a>>,
}

impl Large {
    /// None: it has fewer bytes of code than `least`, or something that is not known here.
    pub(super) fn of(read: &Read<'_>, least: usize) -> Option<Self> {
        if read.code < least {
            return None;
        }
        let memory = read.own_memory();
        let code = read.code(memory)?;
        let ty = read.module_type(memory.is_some())?;
        let memory = match memory {
            Some(_) => Some(read.memory_alone()?),
            None => None,
        };
        Some(Self { code, ty, memory })
    }
}

impl<'a> Read<'a> {
    /// None: it is none, or has something that is not known here.
    pub(super) fn of(module: &'a [u8]) -> Option<Self> {
        let mut read = Self::default();
        let mut encoder = RoundtripReencoder;
        for payload in Parser::new(0).parse_all(module) {
            let payload = payload.ok()?;
            match payload.as_section() {
                // Names of functions and the like change nothing.
                None | Some((0, _)) => {}
                Some((id, range)) => read.sections.push((id, module.get(range)?)),
            }
            match payload {
                Payload::TypeSection(types) => {
                    read.types = types.into_iter_err_on_gc_types().collect::<Result<_, _>>().ok()?;
                }
                Payload::ImportSection(imports) => {
                    read.import_section = Some(imports.clone());
                    for import in imports.into_imports() {
                        let import = import.ok()?;
                        match import.ty {
                            TypeRef::Func(ty) => read.functions.push(ty),
                            TypeRef::Tag(_) | TypeRef::FuncExact(_) => return None,
                            other => read.other(encoder.entity_type(other).ok()?),
                        }
                        read.imports.push(import);
                    }
                }
                Payload::FunctionSection(functions) => {
                    for function in functions {
                        read.functions.push(function.ok()?);
                    }
                }
                Payload::TableSection(tables) => {
                    for table in tables {
                        read.own_tables = read.own_tables.saturating_add(1);
                        read.other(EntityType::Table(encoder.table_type(table.ok()?.ty).ok()?));
                    }
                }
                Payload::MemorySection(memories) => {
                    for memory in memories {
                        read.own_memories = read.own_memories.saturating_add(1);
                        read.other(EntityType::Memory(encoder.memory_type(memory.ok()?).ok()?));
                    }
                }
                Payload::GlobalSection(globals) => {
                    for global in globals {
                        read.other(EntityType::Global(encoder.global_type(global.ok()?.ty).ok()?));
                    }
                }
                Payload::ExportSection(exports) => {
                    read.exports = exports.into_iter().collect::<Result<_, _>>().ok()?;
                }
                Payload::CodeSectionStart { size, .. } => read.code = usize::try_from(size).ok()?,
                Payload::DataSection(data) => read.data = Some(data),
                Payload::TagSection(_) => return None,
                _ => {}
            }
        }
        Some(read)
    }

    fn other(&mut self, ty: EntityType) {
        match ty {
            EntityType::Table(_) => self.tables.push(ty),
            EntityType::Memory(_) => self.memories.push(ty),
            _ => self.globals.push(ty),
        }
    }

    /// Its memory, where it has one and no other, and data that is laid out in it at known places before anything runs:
    /// then it makes no difference who has them.
    fn own_memory(&self) -> Option<MemoryType> {
        let is_laid_out = |data: &DataSectionReader<'_>| {
            data.clone().into_iter().all(|data| match data.map(|data| data.kind) {
                Ok(DataKind::Active { memory_index: 0, offset_expr }) => {
                    let mut operators = offset_expr.get_operators_reader();
                    matches!(operators.read(), Ok(Operator::I32Const { .. }))
                        && matches!(operators.read(), Ok(Operator::End))
                }
                _ => false,
            })
        };
        let is_named = self.imports.iter().any(|import| import.module == MEMORY.0);
        match (self.memories.as_slice(), self.own_memories, &self.data) {
            ([EntityType::Memory(memory)], 1, Some(data)) if !is_named && is_laid_out(data) => Some(*memory),
            _ => None,
        }
    }

    /// The module without `memory`, which it imports then.
    fn code(&self, memory: Option<MemoryType>) -> Option<Vec<u8>> {
        let mut imports = ImportSection::new();
        if let Some(section) = &self.import_section {
            RoundtripReencoder.parse_import_section(&mut imports, section.clone()).ok()?;
        }
        let mut left_out = vec![SectionId::Import];
        if let Some(memory) = memory {
            imports.import(MEMORY.0, MEMORY.1, memory);
            left_out.extend([SectionId::Memory, SectionId::Data, SectionId::DataCount]);
        }
        let mut imports = Some(imports);
        let mut code = Module::new();
        for &(id, data) in &self.sections {
            if id != SectionId::Type as u8
                && let Some(imports) = imports.take()
            {
                code.section(&imports);
            }
            if !left_out.iter().any(|out| *out as u8 == id) {
                code.section(&RawSection { id, data });
            }
        }
        Some(code.finish())
    }

    fn memory_alone(&self) -> Option<Vec<u8>> {
        let section = |id: SectionId| {
            let (id, data) = self.sections.iter().find(|(known, _)| *known == id as u8)?;
            Some(RawSection { id: *id, data })
        };
        let mut exports = ExportSection::new();
        exports.export(MEMORY.1, ExportKind::Memory, 0);
        let mut alone = Module::new();
        alone.section(&section(SectionId::Memory)?).section(&exports).section(&section(SectionId::Data)?);
        Some(alone.finish())
    }

    fn module_type(&self, imports_memory: bool) -> Option<ModuleType> {
        let mut module = ModuleType::new();
        for ty in &self.types {
            module.ty().func_type(&RoundtripReencoder.func_type(ty.clone()).ok()?);
        }
        for import in &self.imports {
            module.import(import.module, import.name, RoundtripReencoder.entity_type(import.ty).ok()?);
        }
        if imports_memory {
            module.import(MEMORY.0, MEMORY.1, *self.memories.first()?);
        }
        for export in &self.exports {
            let index = usize::try_from(export.index).ok()?;
            let ty = match export.kind {
                ExternalKind::Func => EntityType::Function(*self.functions.get(index)?),
                ExternalKind::Table => *self.tables.get(index)?,
                ExternalKind::Memory => *self.memories.get(index)?,
                ExternalKind::Global => *self.globals.get(index)?,
                _ => return None,
            };
            module.export(export.name, ty);
        }
        Some(module)
    }
}
