//! The projects that `gateway plugin new` writes: files under `gateway/templates`, types made from the
//! catalogue and the interface, and for Rust the SDK itself. Nothing is read at run time.

mod python;
mod shape;
mod typescript;
mod vendor;
mod wit;

use crate::catalogue::{Catalogue, CatalogueError};

/// What a plugin is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Language {
    Rust,
    #[value(name = "javascript")]
    JavaScript,
    Python,
}

impl Language {
    /// Every one.
    #[cfg(test)]
    pub(super) const ALL: [Self; 3] = [Self::Rust, Self::JavaScript, Self::Python];

    /// For people.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::JavaScript => "JavaScript",
            Self::Python => "Python",
        }
    }
}

macro_rules! template {
    ($path:literal) => {
        include_str!(concat!("../../../../templates/", $path))
    };
}

/// Path in the project and text, placeholders still in it.
type Files = &'static [(&'static str, &'static str)];

const COMMON: Files = &[
    ("plugin.toml", template!("shared/plugin.toml")),
    ("schemas/returns.json", template!("shared/schemas/returns.json")),
    ("cases/lead/event.json", template!("shared/cases/lead/event.json")),
    ("cases/lead/expected.json", template!("shared/cases/lead/expected.json")),
];

const RUST: Files = &[
    ("Cargo.toml", template!("rust/Cargo.toml")),
    ("src/lib.rs", template!("rust/src/lib.rs")),
    ("README.md", template!("rust/README.md")),
    (".gitignore", template!("rust/gitignore")),
    ("vendor/README.md", template!("rust/vendor/README.md")),
];

const JAVASCRIPT: Files = &[
    ("package.json", template!("javascript/package.json")),
    ("package-lock.json", template!("javascript/package-lock.json")),
    ("jsconfig.json", template!("javascript/jsconfig.json")),
    ("src/plugin.js", template!("javascript/src/plugin.js")),
    ("src/gateway.js", template!("javascript/src/gateway.js")),
    ("README.md", template!("javascript/README.md")),
    (".gitignore", template!("javascript/gitignore")),
];

const PYTHON: Files = &[
    ("requirements.txt", template!("python/requirements.txt")),
    ("app.py", template!("python/app.py")),
    ("README.md", template!("python/README.md")),
    (".gitignore", template!("python/gitignore")),
];

/// Before the generated types of Python.
const PYTHON_HEAD: &str = template!("python/gateway_plugin.head.py");

/// The packages that a Rust plugin is locked to, without its own.
const RUST_LOCK: &str = template!("rust/Cargo.lock");

/// The files of a project, each with its path in it.
///
/// # Errors
/// Never in a released build: the catalogue that it is built with reads.
pub(super) fn files(lang: Language, name: &str) -> Result<Vec<(String, String)>, CatalogueError> {
    let catalogue = Catalogue::embedded()?;
    let own = match lang {
        Language::Rust => RUST,
        Language::JavaScript => JAVASCRIPT,
        Language::Python => PYTHON,
    };
    let mut files: Vec<(String, String)> =
        COMMON.iter().chain(own).map(|(path, text)| ((*path).to_owned(), filled(text, name))).collect();
    match lang {
        Language::Rust => {
            files.push(("Cargo.lock".to_owned(), lock(name)));
            files.extend(vendor::files());
        }
        Language::JavaScript => {
            files.push(("types/plugin.d.ts".to_owned(), typescript::types(&catalogue)));
        }
        Language::Python => {
            let text = format!("{PYTHON_HEAD}{}", python::types(&catalogue));
            files.push(("gateway_plugin.py".to_owned(), text));
        }
    }
    Ok(files)
}

/// The name, where a package that the plugin depends on has it already.
pub(super) fn taken_name(lang: Language, name: &str) -> Option<&str> {
    let taken = lang == Language::Rust
        && RUST_LOCK.lines().any(|line| line.strip_prefix("name = ") == Some(&*format!("\"{name}\"")));
    taken.then_some(name)
}

fn filled(text: &str, name: &str) -> String {
    text.replace("{{name}}", name)
        .replace("{{sdk_version}}", vendor::version())
        .replace("{{sdk_dependencies}}", &vendor::workspace_dependencies())
}

/// The lock file with the plugin's own package where cargo would put it.
fn lock(name: &str) -> String {
    const PACKAGE: &str = "\n[[package]]\n";
    let mut packages = RUST_LOCK.split(PACKAGE);
    let head = packages.next().unwrap_or_default();
    let own = format!(
        "name = \"{name}\"\nversion = \"0.1.0\"\ndependencies = [\n \"plugin-sdk\",\n \"serde\",\n]\n"
    );
    let mut packages: Vec<&str> = packages.chain([&*own]).collect();
    // Stable, so that two versions of one package stay in their order.
    packages.sort_by_key(|package| package.lines().next());
    packages.iter().fold(head.to_owned(), |lock, package| lock + PACKAGE + package)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_placeholder_is_left_and_no_file_is_there_twice() {
        for lang in Language::ALL {
            let files = files(lang, "first-lead").unwrap();
            let mut paths: Vec<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
            for (path, text) in &files {
                assert!(!text.contains("{{") || path.starts_with("vendor/"), "{path}");
                assert!(text.ends_with('\n'), "{path}");
            }
            paths.sort_unstable();
            let all = paths.len();
            paths.dedup();
            assert_eq!(paths.len(), all);
        }
    }

    #[test]
    fn the_plugin_stands_in_its_lock_where_cargo_puts_it() {
        let names = |lock: &str| -> Vec<String> {
            lock.lines().filter_map(|line| line.strip_prefix("name = ")).map(str::to_owned).collect()
        };
        for name in ["a", "first-lead", "zz"] {
            let names = names(&lock(name));
            assert!(names.is_sorted(), "{names:?}");
            assert!(names.contains(&format!("\"{name}\"")));
        }
    }
}
