//! The versions of the interface package that this gateway serves, and whether a component's own idea of it is the
//! same. It runs nothing; types are compared by structure, never by the component's names for them.

use std::sync::LazyLock;

use wit_component::DecodedWasm;
use wit_parser::{
    Function, FunctionKind, Interface, InterfaceId, Resolve, Type, TypeDefKind, WorldItem, WorldKey,
};

use super::problem::Problem;

/// A version of the package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// Released, so frozen: a test holds its digest.
    V0_1,
    /// With `budget`, and a failure that says when to try again.
    V0_2,
}

impl Api {
    /// Every version that is served, oldest first.
    pub const SERVED: [Self; 2] = [Self::V0_1, Self::V0_2];

    /// As a manifest names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V0_1 => "0.1",
            Self::V0_2 => "0.2",
        }
    }

    /// As a component's imports and exports name it.
    pub fn version(self) -> &'static str {
        match self {
            Self::V0_1 => "0.1.0",
            Self::V0_2 => "0.2.0",
        }
    }

    /// The text of the package.
    pub fn wit(self) -> &'static str {
        match self {
            Self::V0_1 => include_str!("../../../wit/0.1/plugin.wit"),
            Self::V0_2 => include_str!("../../../wit/0.2/plugin.wit"),
        }
    }

    /// The version that a manifest names.
    pub fn of_manifest(name: &str) -> Option<Self> {
        Self::SERVED.into_iter().find(|api| api.as_str() == name)
    }

    /// All of them, for a message: `0.1 and 0.2`.
    pub fn served() -> String {
        Self::SERVED.map(Self::as_str).join(" and ")
    }
}

const PACKAGE: &str = "integration:plugin";
/// Levels of a type; those of the interface are far shallower.
const MAX_TYPE_DEPTH: usize = 32;

/// The package, and its interfaces by name.
type Served = (Resolve, Vec<(String, InterfaceId)>);

/// Parsed once. A test holds that it parses; where it does not, nothing is accepted.
static SERVED: LazyLock<[Option<Served>; 2]> = LazyLock::new(|| {
    Api::SERVED.map(|api| {
        let mut resolve = Resolve::default();
        let package = resolve.push_source("plugin.wit", api.wit()).ok()?;
        let interfaces =
            resolve.packages.get(package)?.interfaces.iter().map(|(name, id)| (name.clone(), *id)).collect();
        Some((resolve, interfaces))
    })
});

fn served(api: Api) -> Option<&'static Served> {
    let [v0_1, v0_2] = &*SERVED;
    match api {
        Api::V0_1 => v0_1.as_ref(),
        Api::V0_2 => v0_2.as_ref(),
    }
}

/// What a name at a component's edge stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edge<'a> {
    /// An interface of the package, in a version that is served.
    Ours(Api, &'a str),
    /// Of the package, in another version, or without one.
    OtherVersion(&'a str),
    /// WASI.
    Wasi,
    /// Something else.
    Foreign,
}

impl Edge<'_> {
    /// Whether it is this interface of the package, in any version that is served.
    pub(super) fn is(self, interface: &str) -> bool {
        matches!(self, Self::Ours(_, ours) if ours == interface)
    }

    /// The version that it is of, where that is served.
    pub(super) fn api(self) -> Option<Api> {
        match self {
            Self::Ours(api, _) => Some(api),
            _ => None,
        }
    }
}

pub(super) fn edge(name: &str) -> Edge<'_> {
    if let Some(rest) = name.strip_prefix(PACKAGE).and_then(|rest| rest.strip_prefix('/')) {
        let (interface, version) = rest.split_once('@').unwrap_or((rest, "none"));
        return match Api::SERVED.into_iter().find(|api| api.version() == version) {
            Some(api) if is_known(api, interface) => Edge::Ours(api, interface),
            Some(_) => Edge::Foreign,
            None => Edge::OtherVersion(version),
        };
    }
    if name.starts_with("wasi:") || name.starts_with("wasi_") { Edge::Wasi } else { Edge::Foreign }
}

fn is_known(api: Api, interface: &str) -> bool {
    served(api).is_some_and(|(_, known)| known.iter().any(|(name, _)| name == interface))
}

/// Compares every interface of the package that the component imports or exports with the served one.
/// `component` is valid WebAssembly already.
pub(super) fn compare(component: &[u8]) -> Vec<Problem> {
    // The decoder is written for components of one's own tools and may panic on others; a panic is
    // caught and refuses the component.
    let compared = std::panic::catch_unwind(|| compare_decoded(component));
    compared.unwrap_or_else(|_| vec![undecodable()])
}

fn undecodable() -> Problem {
    Problem::new(
        "component-unreadable",
        "component",
        "the component's interface cannot be decoded",
        "build it with `gateway plugin build`, or another encoder of components",
    )
}

fn compare_decoded(component: &[u8]) -> Vec<Problem> {
    let (resolve, world) = match wit_component::decode(component) {
        Ok(DecodedWasm::Component(resolve, world)) => (resolve, world),
        Ok(DecodedWasm::WitPackage(..)) => {
            return vec![Problem::new(
                "component-without-code",
                "component",
                "this is an encoded WIT package, a description without code",
                "encode the compiled module as a component",
            )];
        }
        Err(_) => return vec![undecodable()],
    };
    let Some(world) = resolve.worlds.get(world) else {
        return vec![undecodable()];
    };
    let mut problems = Vec::new();
    let edges =
        world.imports.iter().map(|item| (item, false)).chain(world.exports.iter().map(|item| (item, true)));
    for ((key, item), exported) in edges {
        let (WorldKey::Interface(_), WorldItem::Interface { id, .. }) = (key, item) else {
            continue;
        };
        let Some(name) = resolve.id_of(*id) else {
            continue;
        };
        let Edge::Ours(api, short) = edge(&name) else {
            continue;
        };
        let Some((served, known)) = served(api) else {
            problems.push(undecodable());
            continue;
        };
        let expected = known.iter().find(|(known, _)| known == short);
        let expected = expected.and_then(|(_, id)| served.interfaces.get(*id));
        let (Some(expected), Some(actual)) = (expected, resolve.interfaces.get(*id)) else {
            problems.push(undecodable());
            continue;
        };
        let pair = Pair { actual: &resolve, expected: served };
        for difference in pair.interfaces(actual, expected, exported) {
            problems.push(Problem::new(
                "signature-differs",
                format!("component, {} `{name}`", if exported { "export" } else { "import" }),
                difference,
                format!("build against the unchanged `wit/{}/plugin.wit`", api.as_str()),
            ));
        }
    }
    problems
}

/// The two sides of a comparison.
struct Pair<'r> {
    actual: &'r Resolve,
    expected: &'r Resolve,
}

impl Pair<'_> {
    /// An exported interface is there in full; of an imported one, a component may use a part.
    fn interfaces(&self, actual: &Interface, expected: &Interface, exported: bool) -> Vec<String> {
        let mut differences = Vec::new();
        for (name, function) in &actual.functions {
            match expected.functions.get(name) {
                None => differences.push(format!("the interface has no function `{name}`")),
                Some(known) => {
                    if let Some(place) = self.functions(function, known) {
                        differences.push(format!("function `{name}` differs at {place}"));
                    }
                }
            }
        }
        for name in expected.functions.keys().filter(|name| exported && !actual.functions.contains_key(*name))
        {
            differences.push(format!("function `{name}` is missing"));
        }
        for (name, id) in &actual.types {
            match expected.types.get(name) {
                None => differences.push(format!("the interface has no type `{name}`")),
                Some(known) => {
                    if let Some(place) = self.types(&Type::Id(*id), &Type::Id(*known), 0) {
                        differences.push(format!("type `{name}` differs{place}"));
                    }
                }
            }
        }
        differences
    }

    /// `None` where they are the same, else the place where they differ.
    fn functions(&self, actual: &Function, expected: &Function) -> Option<String> {
        if actual.kind != FunctionKind::Freestanding || expected.kind != FunctionKind::Freestanding {
            return Some("its kind".to_owned());
        }
        if actual.params.len() != expected.params.len() {
            return Some("the number of parameters".to_owned());
        }
        for (actual, expected) in actual.params.iter().zip(&expected.params) {
            if actual.name != expected.name {
                return Some(format!("the name of parameter `{}`", expected.name));
            }
            if let Some(place) = self.types(&actual.ty, &expected.ty, 0) {
                return Some(format!("parameter `{}`{place}", expected.name));
            }
        }
        self.options(actual.result.as_ref(), expected.result.as_ref(), 0)
            .map(|place| format!("the result{place}"))
    }

    fn options(&self, actual: Option<&Type>, expected: Option<&Type>, depth: usize) -> Option<String> {
        match (actual, expected) {
            (None, None) => None,
            (Some(actual), Some(expected)) => self.types(actual, expected, depth),
            _ => Some(String::new()),
        }
    }

    /// Walks both types at once, so the work is bounded by the expected one, however the actual one
    /// is written.
    fn types(&self, actual: &Type, expected: &Type, depth: usize) -> Option<String> {
        let differs = Some(String::new());
        if depth > MAX_TYPE_DEPTH {
            return differs;
        }
        let (actual, expected) = match (kind(self.actual, actual), kind(self.expected, expected)) {
            (Some(Kind::Plain(actual)), Some(Kind::Plain(expected))) if actual == expected => return None,
            (Some(Kind::Defined(actual)), Some(Kind::Defined(expected))) => (actual, expected),
            _ => return differs,
        };
        let below = depth.saturating_add(1);
        match (actual, expected) {
            (TypeDefKind::Record(a), TypeDefKind::Record(e)) if a.fields.len() == e.fields.len() => {
                a.fields.iter().zip(&e.fields).find_map(|(a, e)| {
                    let place =
                        if a.name == e.name { self.types(&a.ty, &e.ty, below) } else { Some(String::new()) };
                    place.map(|place| format!(", field `{}`{place}", e.name))
                })
            }
            (TypeDefKind::Variant(a), TypeDefKind::Variant(e)) if a.cases.len() == e.cases.len() => {
                a.cases.iter().zip(&e.cases).find_map(|(a, e)| {
                    let place = if a.name == e.name {
                        self.options(a.ty.as_ref(), e.ty.as_ref(), below)
                    } else {
                        Some(String::new())
                    };
                    place.map(|place| format!(", case `{}`{place}", e.name))
                })
            }
            (TypeDefKind::Enum(a), TypeDefKind::Enum(e)) => {
                let same = a.cases.len() == e.cases.len()
                    && a.cases.iter().zip(&e.cases).all(|(a, e)| a.name == e.name);
                if same { None } else { differs }
            }
            (TypeDefKind::Tuple(a), TypeDefKind::Tuple(e)) if a.types.len() == e.types.len() => {
                a.types.iter().zip(&e.types).find_map(|(a, e)| self.types(a, e, below))
            }
            (TypeDefKind::Option(a), TypeDefKind::Option(e))
            | (TypeDefKind::List(a), TypeDefKind::List(e)) => self.types(a, e, below),
            (TypeDefKind::Result(a), TypeDefKind::Result(e)) => self
                .options(a.ok.as_ref(), e.ok.as_ref(), below)
                .or_else(|| self.options(a.err.as_ref(), e.err.as_ref(), below)),
            _ => differs,
        }
    }
}

enum Kind<'r> {
    Plain(Type),
    Defined(&'r TypeDefKind),
}

/// Looks through aliases; `None` where they lead nowhere.
fn kind<'r>(resolve: &'r Resolve, ty: &Type) -> Option<Kind<'r>> {
    let mut ty = *ty;
    for _ in 0..MAX_TYPE_DEPTH {
        let Type::Id(id) = ty else {
            return Some(Kind::Plain(ty));
        };
        match &resolve.types.get(id)?.kind {
            TypeDefKind::Type(aliased) => ty = *aliased,
            defined => return Some(Kind::Defined(defined)),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::{Api, Edge, edge, served};

    #[test]
    fn each_version_parses() {
        let names = |api| {
            let (_, known) = served(api).expect("parses");
            known.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>()
        };
        let hooks = ["share", "decide", "receive", "rights"];
        let imports = ["types", "log", "exchange", "memory", "aggregates"];
        assert_eq!(names(Api::V0_1), [&imports[..], &hooks].concat());
        let imports = ["types", "log", "budget", "exchange", "memory", "aggregates"];
        assert_eq!(names(Api::V0_2), [&imports[..], &hooks].concat());
    }

    #[test]
    fn a_released_version_stays_as_it_is() {
        let digest = Sha256::digest(Api::V0_1.wit());
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            digest, "d494180eaf2c40fb44e817b1a885b159b00d9b7db7d3a58e812e66116bfd05bb",
            "what has been built against 0.1 relies on every byte of it"
        );
    }

    #[test]
    fn edges_are_told_apart() {
        for (name, expected) in [
            ("integration:plugin/log@0.1.0", Edge::Ours(Api::V0_1, "log")),
            ("integration:plugin/log@0.2.0", Edge::Ours(Api::V0_2, "log")),
            ("integration:plugin/log@0.3.0", Edge::OtherVersion("0.3.0")),
            ("integration:plugin/log", Edge::OtherVersion("none")),
            ("integration:plugin/budget@0.1.0", Edge::Foreign),
            ("integration:plugin/budget@0.2.0", Edge::Ours(Api::V0_2, "budget")),
            ("integration:plugin/clock@0.1.0", Edge::Foreign),
            ("integration:plugins/log@0.1.0", Edge::Foreign),
            ("wasi:io/streams@0.2.0", Edge::Wasi),
            ("wasi_snapshot_preview1", Edge::Wasi),
            ("exports", Edge::Foreign),
        ] {
            assert_eq!(edge(name), expected, "{name}");
        }
    }
}
