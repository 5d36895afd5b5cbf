//! The repository's own rules, read from its files: which room may use which, where `unsafe` and permissions
//! are made, how long a file is. It runs none of the code.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use gateway_tests::paths::root;

/// What each room may use of the others. `policy` is a crate of its own: see [`the_policy_crate_is_pure`].
const ROOMS: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("catalogue", &[]),
    ("store", &[]),
    ("manifest", &["catalogue"]),
    ("boundary", &["catalogue", "manifest"]),
    ("plugin_host", &["boundary"]),
    ("outbound", &["boundary"]),
    ("pipeline", &["boundary", "catalogue", "clock", "manifest", "outbound", "plugin_host", "store"]),
    ("config", &["catalogue", "pipeline"]),
    ("http", &["pipeline"]),
    (
        "cli",
        &[
            "boundary",
            "catalogue",
            "clock",
            "config",
            "http",
            "manifest",
            "outbound",
            "pipeline",
            "plugin_host",
            "store",
        ],
    ),
];

/// Crates that belong to one room, or a few.
const CRATES: &[(&str, &[&str])] = &[
    ("wasmtime", &["plugin_host"]),
    ("sqlx", &["store"]),
    ("libsqlite3_sys", &["store"]),
    ("axum", &["http"]),
    ("utoipa_axum", &["http"]),
    ("tower", &["http"]),
    ("tower_http", &["http"]),
    ("reqwest", &["outbound", "cli"]),
    ("wasmparser", &["manifest", "plugin_host"]),
    ("wasm_encoder", &["plugin_host"]),
    ("clap", &["cli"]),
    ("figment", &["config"]),
];

/// A path that code names, with the file it stands in.
struct Use {
    file: PathBuf,
    /// Where the file belongs: its room, or `lib` and `main`.
    room: String,
    path: Vec<String>,
}

#[test]
fn no_arrow_between_rooms_turns() {
    let allowed: BTreeMap<&str, &[&str]> = ROOMS.iter().copied().collect();
    let mut wrong = BTreeSet::new();
    let mut seen = 0;
    for used in uses_of_the_gateway() {
        let Some(other) = room_of(&used) else { continue };
        // A `super` out of an inline module can end at the crate's root and mean the file: no room then.
        if other == used.room || used.room == "lib" || !allowed.contains_key(other.as_str()) {
            continue;
        }
        seen += 1;
        let fine = match used.room.as_str() {
            "main" => other == "cli",
            room => allowed
                .get(room)
                .unwrap_or_else(|| panic!("room {room} is not in the table"))
                .contains(&other.as_str()),
        };
        if !fine {
            wrong.insert(format!("{} uses {other}: {}", used.room, used.file.display()));
        }
    }
    assert!(seen > 100, "the test finds the rooms' imports: {seen}");
    assert_eq!(wrong, BTreeSet::new());
}

#[test]
fn every_room_has_its_arrows_written_down() {
    let known: BTreeSet<&str> = ROOMS.iter().map(|(room, _)| *room).collect();
    for used in uses_of_the_gateway() {
        assert!(
            known.contains(used.room.as_str()) || ["lib", "main"].contains(&used.room.as_str()),
            "{} belongs to a room that the table does not have",
            used.file.display()
        );
    }
}

#[test]
fn a_crate_of_one_room_is_used_in_no_other() {
    let mut wrong = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for used in uses_of_the_gateway() {
        let Some((name, rooms)) = CRATES.iter().find(|(name, _)| used.path[0] == *name) else { continue };
        seen.insert(*name);
        if !rooms.contains(&used.room.as_str()) {
            wrong.insert(format!("{} uses {name}: {}", used.room, used.file.display()));
        }
    }
    assert_eq!(wrong, BTreeSet::new());
    for needed in ["wasmtime", "sqlx", "axum", "reqwest"] {
        assert!(seen.contains(needed), "the test finds who uses {needed}");
    }
}

#[test]
fn the_policy_crate_is_pure() {
    let text = std::fs::read_to_string(root().join("gateway/policy/Cargo.toml")).unwrap();
    let manifest: toml::Table = text.parse().unwrap();
    let dependencies: BTreeSet<&str> =
        manifest["dependencies"].as_table().unwrap().keys().map(String::as_str).collect();
    let pure = BTreeSet::from(["serde", "thiserror", "toml"]);
    let more: Vec<_> = dependencies.difference(&pure).collect();
    assert!(more.is_empty(), "the policy crate depends on {more:?}: it may do no I/O and hold no clock");
    for file in rust_files(&root().join("gateway/policy/src")) {
        for path in paths_in(&tokens(&read(&file))) {
            let path = path.join("::");
            for forbidden in ["std::fs", "std::net", "std::process", "std::time", "std::env", "tokio"] {
                assert!(!path.starts_with(forbidden), "{} uses {path}", file.display());
            }
        }
    }
}

#[test]
fn only_the_boundary_makes_a_permission() {
    let makers = [
        "toward_plugin.rs",
        "from_plugin.rs",
        "toward_partner.rs",
        "toward_receive.rs",
        "toward_authority.rs",
        "exchange.rs",
    ];
    let mut made = 0;
    for file in rust_files(&root().join("gateway/src")) {
        let tokens = tokens(&read(&file));
        let boundary = file.parent().is_some_and(|parent| parent.ends_with("boundary"));
        let maker = boundary && makers.iter().any(|name| file.ends_with(name));
        for window in tokens.windows(4) {
            let [a, b, c, d] = window else { unreachable!() };
            if a == "Permitted" && b == ":" && c == ":" && d != "<" {
                assert!(d == "grant" && maker, "{} says Permitted::{d}", file.display());
                made += 1;
            }
            // Neither a trait's method nor a literal makes one behind the boundary's back.
            if a == "for" && b == "Permitted" {
                assert!(
                    file.ends_with("boundary/permitted.rs"),
                    "{} implements a trait for it",
                    file.display()
                );
            }
        }
    }
    assert_eq!(made, makers.len());
    let type_file = read(&root().join("gateway/src/boundary/permitted.rs"));
    assert!(type_file.contains("pub(super) fn grant"), "the maker is the boundary's own");
    assert!(
        !type_file.contains("pub value") && !type_file.contains("(pub "),
        "what is permitted cannot be put in"
    );
}

#[test]
fn unsafe_stands_in_one_place_of_the_host_and_one_of_its_guests() {
    let count = |file: &Path| tokens(&read(file)).iter().filter(|token| *token == "unsafe").count();
    let mut places = BTreeMap::new();
    for file in repository_files().into_iter().filter(|file| is_rust(file)) {
        let times = count(&file);
        if times > 0 {
            places.insert(relative(&file), times);
        }
    }
    let expected = BTreeMap::from([
        // Maps compiled code, and names the type of what does; reasoned beside it.
        ("gateway/src/plugin_host/cache.rs".to_owned(), 2),
        // A guest that lies about its text, for the tests.
        ("plugins/hostile/src/returns.rs".to_owned(), 1),
        // The allocator of plugins, within the sandbox; reasoned beside it.
        ("plugin-sdk/src/allocator.rs".to_owned(), 10),
    ]);
    assert_eq!(places, expected);
}

#[test]
fn only_generated_code_and_these_places_may_allow_unsafe() {
    let allowing: BTreeSet<String> = repository_files()
        .into_iter()
        .filter(|file| is_rust(file))
        .filter(|file| tokens(&read(file)).iter().any(|token| token == "unsafe_code"))
        .map(|file| relative(&file))
        .collect();
    let expected = [
        "gateway/src/plugin_host/cache.rs",
        "plugin-sdk/src/allocator.rs",
        "plugin-sdk/src/bindings.rs",
        "plugin-sdk/src/bindings/v0_2.rs",
        "plugins/hostile/src/lib.rs",
        "plugins/hostile/src/returns.rs",
    ];
    let more: Vec<_> = allowing.iter().filter(|file| !expected.contains(&file.as_str())).collect();
    assert!(more.is_empty(), "{more:?}");
}

#[test]
fn no_file_is_longer_than_can_be_read_at_once() {
    const MOST: usize = 600;
    let long: Vec<String> = repository_files()
        .into_iter()
        .filter(|file| is_rust(file))
        .map(|file| (read(&file).lines().count(), relative(&file)))
        .filter(|(lines, _)| *lines > MOST)
        .map(|(lines, file)| format!("{file}: {lines}"))
        .collect();
    assert_eq!(long, Vec::<String>::new(), "over {MOST} lines");
}

#[test]
fn every_file_says_first_what_it_is_about() {
    let silent: Vec<String> = repository_files()
        .into_iter()
        .filter(|file| is_rust(file) && !read(file).starts_with("//! "))
        .map(|file| relative(&file))
        .collect();
    assert_eq!(silent, Vec::<String>::new());
}

#[test]
fn every_sample_plugin_says_what_it_does() {
    let plugins: Vec<PathBuf> = std::fs::read_dir(root().join("plugins"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|directory| directory.join("plugin.toml").is_file())
        .collect();
    assert!(plugins.len() > 5, "the test finds the sample plugins: {plugins:?}");
    for plugin in plugins {
        let name = plugin.file_name().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(plugin.join("README.md")).unwrap_or_default();
        assert!(text.starts_with(&format!("# {name}\n")), "{name} has no README.md under its name");
    }
}

#[test]
fn no_module_is_a_bag() {
    let bags: Vec<String> = repository_files()
        .into_iter()
        .filter(|file| {
            file.components().any(|part| {
                let name = part.as_os_str().to_string_lossy();
                ["utils", "util", "helpers", "misc", "common"]
                    .iter()
                    .any(|bag| name.strip_suffix(".rs").unwrap_or(&name) == *bag)
            })
        })
        .map(|file| relative(&file))
        .collect();
    assert_eq!(bags, Vec::<String>::new());
}

#[test]
fn no_text_names_a_place_on_one_machine() {
    // Put together here, so that this file does not name them.
    let mut places: Vec<String> =
        ["work", "root", "Users"].iter().map(|directory| format!("/{directory}/")).collect();
    places.push(format!("{}/", root().display()));
    let mut found = Vec::new();
    for file in repository_files() {
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        for place in &places {
            for (at, _) in text.match_indices(place.as_str()) {
                let before = text[..at].chars().next_back();
                // In the middle of a longer path it is the repository's own; only what begins there is a machine's.
                if !before.is_some_and(|before| before.is_alphanumeric() || "._-/}*".contains(before)) {
                    let line = text[..at].lines().count().max(1);
                    found.push(format!("{}:{line}: {place}", relative(&file)));
                }
            }
        }
    }
    assert_eq!(found, Vec::<String>::new());
}

// ---- reading Rust ----

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn is_rust(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "rs")
}

fn relative(file: &Path) -> String {
    file.strip_prefix(root()).unwrap_or(file).display().to_string()
}

/// Files of the checkout, without what builds leave there.
fn repository_files() -> Vec<PathBuf> {
    walkdir::WalkDir::new(root())
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| {
            let name = entry.file_name().to_string_lossy();
            !(entry.depth() > 0
                && (name == "target" || name == ".git" || name == "Cargo.lock" || name == "node_modules"))
        })
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().is_file())
        .map(walkdir::DirEntry::into_path)
        .collect()
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    repository_files().into_iter().filter(|file| file.starts_with(directory) && is_rust(file)).collect()
}

/// Every path that the gateway's own sources name.
fn uses_of_the_gateway() -> Vec<Use> {
    let source = root().join("gateway/src");
    let mut uses = Vec::new();
    for file in rust_files(&source) {
        let inside = file.strip_prefix(&source).unwrap();
        let first = inside.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
        let room = first.strip_suffix(".rs").unwrap_or(&first).to_owned();
        let module = module_of(inside);
        for path in paths_in(&tokens(&read(&file))) {
            uses.push(Use { file: file.clone(), room: room.clone(), path: absolute(&module, path) });
        }
    }
    uses
}

/// The module that a file of `src` is.
fn module_of(file: &Path) -> Vec<String> {
    let mut module: Vec<String> = file
        .components()
        .map(|part| part.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned())
        .collect();
    if module.last().is_some_and(|last| last == "mod" || last == "lib" || last == "main") {
        module.pop();
    }
    module
}

/// `super::…` as `crate::…`. Inside an inline module it names less than it may, which errs toward a
/// path that leaves the room, never toward hiding one.
fn absolute(module: &[String], path: Vec<String>) -> Vec<String> {
    let supers = path.iter().take_while(|part| *part == "super").count();
    if supers == 0 {
        return path;
    }
    let keep = module.len().saturating_sub(supers);
    // An inline `mod tests` has one `super` more than its file; then the file itself is meant.
    let base = if keep == 0 && module.len() == 1 { module } else { &module[..keep] };
    std::iter::once("crate".to_owned())
        .chain(base.iter().cloned())
        .chain(path.into_iter().skip(supers))
        .collect()
}

/// The room that a path leads into.
fn room_of(used: &Use) -> Option<String> {
    (used.path[0] == "crate").then(|| used.path.get(1).cloned()).flatten()
}

/// Paths in a stream of tokens: what `use` trees name, each spelt out, and what stands in expressions.
fn paths_in(tokens: &[String]) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at] == "use" {
            at = use_tree(tokens, at + 1, &[], &mut paths);
        } else if is_name(&tokens[at]) && !(at > 0 && [":", "."].contains(&tokens[at - 1].as_str())) {
            let mut path = vec![tokens[at].clone()];
            at += 1;
            while at + 2 < tokens.len()
                && tokens[at] == ":"
                && tokens[at + 1] == ":"
                && is_name(&tokens[at + 2])
            {
                path.push(tokens[at + 2].clone());
                at += 3;
            }
            if path.len() > 1 {
                paths.push(path);
            }
        } else {
            at += 1;
        }
    }
    paths
}

/// Reads a tree that begins at `at`; returns where it ends.
fn use_tree(tokens: &[String], mut at: usize, before: &[String], paths: &mut Vec<Vec<String>>) -> usize {
    let mut path = before.to_vec();
    while at < tokens.len() {
        match tokens[at].as_str() {
            ":" => at += 1,
            "{" => {
                at += 1;
                while at < tokens.len() && tokens[at] != "}" {
                    at = use_tree(tokens, at, &path, paths);
                    if at < tokens.len() && tokens[at] == "," {
                        at += 1;
                    }
                }
                return at + 1;
            }
            ";" | "," | "}" => break,
            "as" => at += 2,
            name => {
                path.push(name.to_owned());
                at += 1;
            }
        }
    }
    if path.len() > before.len() {
        paths.push(path);
    }
    at
}

fn is_name(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Names and single punctuation marks; without comments, texts, characters and lifetimes.
fn tokens(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&first) = chars.get(at) {
        let next = chars.get(at + 1).copied().unwrap_or(' ');
        if first == '/' && next == '/' {
            while chars.get(at).is_some_and(|&c| c != '\n') {
                at += 1;
            }
        } else if first == '/' && next == '*' {
            let mut depth = 0;
            loop {
                match (chars.get(at), chars.get(at + 1)) {
                    (Some('/'), Some('*')) => (depth, at) = (depth + 1, at + 2),
                    (Some('*'), Some('/')) => (depth, at) = (depth - 1, at + 2),
                    (None, _) => break,
                    _ => at += 1,
                }
                if depth == 0 {
                    break;
                }
            }
        } else if first == '"' {
            at = after_text(&chars, at);
        } else if first == '\'' {
            at = after_quote(&chars, at);
        } else if first.is_alphabetic() || first == '_' {
            let start = at;
            while chars.get(at).is_some_and(|&c| c.is_alphanumeric() || c == '_') {
                at += 1;
            }
            let name: String = chars[start..at].iter().collect();
            match (name.as_str(), chars.get(at)) {
                ("r" | "br" | "cr", Some('"' | '#')) => match after_raw_text(&chars, at) {
                    Some(after) => at = after,
                    // r#name
                    None => at += 1,
                },
                ("b" | "c", Some('"')) => at = after_text(&chars, at),
                ("b", Some('\'')) => at = after_quote(&chars, at),
                _ => tokens.push(name),
            }
        } else {
            if !first.is_whitespace() {
                tokens.push(first.to_string());
            }
            at += 1;
        }
    }
    tokens
}

fn after_text(chars: &[char], mut at: usize) -> usize {
    at += 1;
    while let Some(&c) = chars.get(at) {
        match c {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    at
}

/// After a character; after the quote alone where it begins a lifetime.
fn after_quote(chars: &[char], at: usize) -> usize {
    match (chars.get(at + 1), chars.get(at + 2)) {
        (Some('\\'), _) => {
            let mut end = at + 3;
            while chars.get(end).is_some_and(|&c| c != '\'') {
                end += 1;
            }
            end + 1
        }
        (Some(_), Some('\'')) => at + 3,
        _ => {
            let mut end = at + 1;
            while chars.get(end).is_some_and(|&c| c.is_alphanumeric() || c == '_') {
                end += 1;
            }
            end
        }
    }
}

/// `at` is at the first `#` or the quote; `None` where it is no text.
fn after_raw_text(chars: &[char], mut at: usize) -> Option<usize> {
    let mut hashes = 0;
    while chars.get(at) == Some(&'#') {
        (hashes, at) = (hashes + 1, at + 1);
    }
    if chars.get(at) != Some(&'"') {
        return None;
    }
    loop {
        at += 1;
        match chars.get(at) {
            None => return Some(at),
            Some('"') if (1..=hashes).all(|n| chars.get(at + n) == Some(&'#')) => {
                return Some(at + 1 + hashes);
            }
            Some(_) => {}
        }
    }
}

#[test]
fn the_reader_sees_paths_and_not_texts() {
    let source = r##"
        use crate::store::{Store, sqlite::{self, x as y}};
        // use crate::wrong;
        /* crate::wrong /* nested */ */
        fn f<'a>(x: &'a str) -> char { let _ = "crate::wrong"; let _ = r#"crate::wrong"#; '"' }
        #[derive(sqlx::FromRow)] struct S(axum::Router<'static>);
        super::super::pipeline::Gateway::new();
    "##;
    let paths: Vec<String> = paths_in(&tokens(source))
        .into_iter()
        .map(|path| absolute(&["http".to_owned(), "api".to_owned()], path).join("::"))
        .collect();
    assert_eq!(
        paths,
        [
            "crate::store::Store",
            "crate::store::sqlite::self",
            "crate::store::sqlite::x",
            "sqlx::FromRow",
            "axum::Router",
            "crate::pipeline::Gateway::new",
        ]
    );
}
