//! The interface's types for JavaScript, read from `wit/`: as its component tools lay them out.

use wit_parser::{Resolve, Type, TypeDefKind};

use super::shape::type_name;

/// The version that a new plugin is written for.
const PACKAGE: &str = include_str!("../../../../../wit/0.1/plugin.wit");

/// Declarations of every record, variant and enum, two blanks in.
pub(super) fn typescript() -> String {
    let mut resolve = Resolve::default();
    if resolve.push_str("plugin.wit", PACKAGE).is_err() {
        return String::new();
    }
    let mut out = String::new();
    for (_, def) in resolve.types.iter() {
        let Some(name) = &def.name else { continue };
        let name = type_name(name);
        match &def.kind {
            TypeDefKind::Record(record) => {
                out.push_str(&format!("  interface {name} {{\n"));
                for field in &record.fields {
                    let (optional, ty) = match inner_option(&resolve, &field.ty) {
                        Some(inner) => ("?", inner),
                        None => ("", field.ty),
                    };
                    let field = camel(&field.name);
                    out.push_str(&format!("    {field}{optional}: {};\n", written(&resolve, &ty)));
                }
                out.push_str("  }\n");
            }
            TypeDefKind::Variant(variant) => {
                let cases: Vec<String> = variant
                    .cases
                    .iter()
                    .map(|case| match &case.ty {
                        Some(ty) => format!("{{ tag: '{}'; val: {} }}", case.name, written(&resolve, ty)),
                        None => format!("{{ tag: '{}' }}", case.name),
                    })
                    .collect();
                out.push_str(&format!("  type {name} =\n    | {};\n", cases.join("\n    | ")));
            }
            TypeDefKind::Enum(cases) => {
                let cases: Vec<String> = cases.cases.iter().map(|case| format!("'{}'", case.name)).collect();
                out.push_str(&format!("  type {name} = {};\n", cases.join(" | ")));
            }
            _ => {}
        }
    }
    out
}

fn inner_option(resolve: &Resolve, ty: &Type) -> Option<Type> {
    let Type::Id(id) = ty else { return None };
    match resolve.types.get(*id)?.kind {
        TypeDefKind::Option(inner) => Some(inner),
        _ => None,
    }
}

fn written(resolve: &Resolve, ty: &Type) -> String {
    match ty {
        Type::Bool => "boolean".to_owned(),
        Type::U64 | Type::S64 => "bigint".to_owned(),
        Type::String | Type::Char => "string".to_owned(),
        Type::Id(id) => match resolve.types.get(*id) {
            Some(def) => match &def.kind {
                TypeDefKind::Type(alias) => written(resolve, alias),
                TypeDefKind::List(item) => format!("{}[]", written(resolve, item)),
                TypeDefKind::Option(inner) => format!("{} | undefined", written(resolve, inner)),
                TypeDefKind::Tuple(tuple) => {
                    let types: Vec<String> = tuple.types.iter().map(|ty| written(resolve, ty)).collect();
                    format!("[{}]", types.join(", "))
                }
                _ => def.name.as_deref().map_or_else(|| "unknown".to_owned(), type_name),
            },
            None => "unknown".to_owned(),
        },
        _ => "number".to_owned(),
    }
}

/// `on-event` as `onEvent`.
fn camel(name: &str) -> String {
    let name = type_name(name);
    let mut letters = name.chars();
    let first = letters.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}
