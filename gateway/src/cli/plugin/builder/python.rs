//! Python: the plugin's modules and packages are read once, and the interpreter that has read them is kept.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::tools::{Kit, Program, succeed};
use super::{BuildError, Project, Snapshot, file_error, world};
use crate::cli::plugin::toolchain::clean;
use crate::manifest::Language;

/// Runs the tools.
const PYTHON: Program = Program {
    name: "python3",
    asked: &["python3", "--version"],
    language: "Python",
    least: (3, 10),
    needed: "3.10",
    remedy: "Install Python 3.10 or later with `venv` and pip; on Debian, as root: apt-get install -y --no-install-recommends python3 python3-venv",
};

/// Makes the environment of the tools; Debian has it in a package of its own.
const VENV: Program = Program {
    name: "python3 venv",
    // Prints the version of the pip that a new environment gets.
    asked: &["python3", "-m", "ensurepip", "--version"],
    language: "Python",
    least: (9, 0),
    needed: "9",
    remedy: "Install the module `venv` of Python; on Debian, as root: apt-get install -y --no-install-recommends python3-venv",
};

/// What must be there.
pub(super) const PROGRAMS: [Program; 2] = [PYTHON, VENV];

const REQUIREMENTS: &str = include_str!("../../../../tools/python/requirements.txt");
const KIT: Kit = Kit {
    language: "Python",
    files: &[
        ("requirements.txt", REQUIREMENTS),
        ("build.py", include_str!("../../../../tools/python/build.py")),
        ("integration_entry.py", include_str!("../../../../tools/python/integration_entry.py")),
        ("integration_frozen.py", include_str!("../../../../tools/python/integration_frozen.py")),
    ],
};

/// The module that is built; it reads `app`.
const ENTRY: &str = "integration_entry";

/// The language.
pub(super) struct Python;

impl Snapshot for Python {
    const LANGUAGE: Language = Language::Python;
    const LOCK: &'static str = "requirements.txt";

    fn versions(&self, _: &Project) -> Result<BTreeMap<String, String>, BuildError> {
        let mut versions = fixed_versions();
        versions.insert("python".to_owned(), PYTHON.required(Path::new("."))?);
        versions.insert("gateway-kit".to_owned(), KIT.digest());
        Ok(versions)
    }

    fn component(&self, project: &Project, progress: &mut dyn FnMut(&str)) -> Result<Vec<u8>, BuildError> {
        let dir = &project.dir;
        if !dir.join("app.py").is_file() {
            return Err(BuildError::NotAPlugin { dir: dir.clone(), file: "app.py" });
        }
        let lock = dir.join(Self::LOCK);
        let packages = pinned(&std::fs::read_to_string(&lock).map_err(file_error(&lock, "read"))?)?;
        let kit = installed(progress)?;
        let work = tempfile::tempdir().map_err(file_error(dir, "written"))?;
        let at = |name: &str| work.path().join(name);
        // In place of the interpreter's own packages, which no lock file of the plugin names.
        let nothing = at("environment");
        std::fs::create_dir_all(nothing.join("lib/site-packages"))
            .map_err(file_error(&nothing, "written"))?;
        let python = || python(dir, &kit, &nothing);
        let compile = |log| BuildError::Compile { dir: dir.clone(), log };

        let found = succeed(python().arg(kit.join("build.py")).arg("imports").arg(dir), progress)?;
        let imports: Vec<String> = serde_json::from_str(found.map_err(compile)?.trim()).unwrap_or_default();
        world::write(project, &imports, &at("wit"))?;

        let mut paths = vec![kit.clone(), dir.clone()];
        if let Some(hashes) = packages {
            paths.push(at("packages"));
            let mut pip = python();
            // Wheels without machine code only: no other runs in the sandbox, and nothing of theirs runs here.
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"])
                .args(["--only-binary=:all:", "--platform", "any", "--target"])
                .arg(at("packages"))
                .args(hashes.then_some("--require-hashes"))
                .arg("--requirement")
                .arg(&lock);
            let installed = succeed(&mut pip, progress)?;
            installed.map_err(|log| BuildError::Dependencies { dir: dir.clone(), log })?;
        }
        let component = at("component.wasm");
        let mut build = python();
        build.arg(kit.join("build.py")).arg("--quiet").arg("--wit-path").arg(at("wit"));
        build.args(["--world", world::WORLD, "componentize", "--stub-wasi"]);
        for path in paths {
            build.arg("--python-path").arg(path);
        }
        build.arg("--output").arg(&component).arg(ENTRY);
        succeed(&mut build, progress)?.map_err(compile)?;
        std::fs::read(&component).map_err(file_error(&component, "read"))
    }
}

/// The kit's interpreter in the plugin's directory, without what an outer one is told.
fn python(dir: &Path, kit: &Path, environment: &Path) -> Command {
    let mut command = clean(dir, kit.join("venv/bin/python"));
    command.env_remove("PYTHONPATH").env_remove("PYTHONHOME").env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("VIRTUAL_ENV", environment);
    command
}

/// Versions that the kit fixes.
fn fixed_versions() -> BTreeMap<String, String> {
    let line = |line: &str| {
        let (name, rest) = line.split_once("==")?;
        Some((name.to_owned(), rest.split_whitespace().next()?.to_owned()))
    };
    REQUIREMENTS.lines().filter_map(line).collect()
}

/// Whether there are packages to install, and whether with their hashes. Each names one version: pip takes none in
/// between, as nothing but what is listed is installed.
fn pinned(requirements: &str) -> Result<Option<bool>, BuildError> {
    let joined = requirements.replace("\\\n", " ");
    let listed = |line: &str| {
        let line = line.split(" #").next().unwrap_or_default().trim().to_owned();
        (!line.is_empty() && !line.starts_with('#')).then_some(line)
    };
    let lines: Vec<String> = joined.lines().filter_map(listed).collect();
    for line in &lines {
        let exact = line.split_whitespace().next().unwrap_or_default();
        let exact = exact.split(';').next().unwrap_or_default();
        let fixed = exact.split_once("==").is_some_and(|(name, version)| {
            !name.is_empty() && !name.starts_with('-') && !version.is_empty() && !version.contains(['*', ','])
        });
        if !fixed {
            return Err(BuildError::NotLocked {
                what: format!("requirements.txt has `{line}`, which fixes no version"),
                remedy: "write NAME==VERSION, best with --hash; `pip-compile --generate-hashes` writes all of them",
            });
        }
    }
    let hashes = lines.iter().any(|line| line.contains("--hash="));
    Ok((!lines.is_empty()).then_some(hashes))
}

/// An installation belongs to one version of the interpreter, which it refers to.
fn beside() -> Result<String, BuildError> {
    let version = PYTHON.required(Path::new("."))?;
    let short: Vec<_> = version.split('.').take(2).collect();
    Ok(format!("-{}", short.join(".")))
}

/// The kit with its packages, in an environment of its own.
fn installed(progress: &mut dyn FnMut(&str)) -> Result<PathBuf, BuildError> {
    Ok(KIT.installed(&beside()?, |dir| {
        VENV.required(Path::new("."))?;
        KIT.run(clean(dir, "python3").args(["-m", "venv", "venv"]), progress)?;
        let mut pip = clean(dir, dir.join("venv/bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]);
        KIT.run(
            pip.args(["--only-binary=:all:", "--require-hashes", "--requirement", "requirements.txt"]),
            progress,
        )
    })?)
}

/// What the kit fixes, and where it is or would be; for `gateway plugin doctor`.
pub(super) fn kit() -> (BTreeMap<String, String>, Option<PathBuf>) {
    let place = beside().ok().and_then(|beside| KIT.place(&beside).ok());
    (fixed_versions(), place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kit_fixes_its_versions() {
        assert_eq!(fixed_versions().keys().collect::<Vec<_>>(), ["componentize-py"]);
    }

    #[test]
    fn a_package_without_its_version_is_refused_by_its_line() {
        for (text, packages) in [
            ("", Some(None)),
            ("# nothing\n\n", Some(None)),
            ("a==1.0\n", Some(Some(false))),
            ("a==1.0 ; python_version >= \"3\"  # why\n", Some(Some(false))),
            ("a==1.0 \\\n    --hash=sha256:00\n", Some(Some(true))),
            ("a\n", None),
            ("a>=1.0\n", None),
            ("a==1.*\n", None),
            ("-r other.txt\n", None),
            ("--index-url==x\n", None),
            ("a @ file:///x\n", None),
        ] {
            let found = pinned(text);
            match packages {
                Some(packages) => assert_eq!(found.unwrap(), packages, "{text}"),
                None => {
                    let line = text.trim();
                    assert!(found.unwrap_err().to_string().contains(line), "{text}");
                }
            }
        }
    }
}
