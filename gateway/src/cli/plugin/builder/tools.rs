//! The tools of JavaScript and Python, in the versions that this gateway fixes: installed once for each user, whole
//! or not at all.

use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use super::super::toolchain::{self, Ran, ToolchainError};
use super::hex;

/// Why a tool is not there.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// A program is not installed.
    #[error("{program} is not installed, and {language} plugins are built with it. {remedy}")]
    Missing {
        /// Its name.
        program: &'static str,
        /// For what.
        language: &'static str,
        /// How to get it.
        remedy: &'static str,
    },
    /// A program is older than the tools need.
    #[error(
        "{program} {found} is installed, and the tools of {language} plugins need {needed} or later. {remedy}"
    )]
    TooOld {
        /// Its name.
        program: &'static str,
        /// Its version.
        found: String,
        /// The least that is needed.
        needed: &'static str,
        /// For what.
        language: &'static str,
        /// How to get it.
        remedy: &'static str,
    },
    /// There is no place for them.
    #[error("there is no directory for the tools of plugins: set HOME or XDG_CACHE_HOME")]
    NoCache,
    /// Installing failed; nothing is left of it.
    #[error(
        "the tools of {language} plugins cannot be installed:\n{log}\nThe command was\n  {command}\nIs the package registry within reach?"
    )]
    Install {
        /// For what.
        language: &'static str,
        /// What was run.
        command: String,
        /// The end of its output.
        log: String,
    },
    /// Their directory cannot be written.
    #[error("the tools of plugins cannot be written to `{}`", path.display())]
    Write {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// A program that a language's tools need.
#[derive(Debug)]
pub(in crate::cli::plugin) struct Program {
    /// Its name for people.
    pub(in crate::cli::plugin) name: &'static str,
    /// What makes it say its version.
    pub(in crate::cli::plugin) asked: &'static [&'static str],
    /// The plugins that it is for.
    pub(in crate::cli::plugin) language: &'static str,
    /// The least version, as two numbers.
    pub(in crate::cli::plugin) least: (u64, u64),
    /// The same, to read.
    pub(in crate::cli::plugin) needed: &'static str,
    /// How to get it.
    pub(in crate::cli::plugin) remedy: &'static str,
}

impl Program {
    /// Its version in a directory, where it runs: the first number with a point in what it says to `--version`.
    pub(in crate::cli::plugin) fn version(&self, dir: &Path) -> Option<String> {
        let (program, arguments) = self.asked.split_first()?;
        let said = toolchain::stdout_of(toolchain::clean(dir, program).args(arguments))?;
        version_in(&said)
    }

    /// Whether a version is late enough.
    pub(in crate::cli::plugin) fn suffices(&self, version: &str) -> bool {
        let mut numbers = version.split('.').map(|number| number.parse::<u64>().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= self.least
    }

    /// Its version, or why it cannot be used.
    pub(super) fn required(&self, dir: &Path) -> Result<String, ToolError> {
        self.judged(self.version(dir))
    }

    /// The version that was found, or why that cannot be used.
    pub(super) fn judged(&self, found: Option<String>) -> Result<String, ToolError> {
        let (program, language, remedy) = (self.name, self.language, self.remedy);
        let found = found.ok_or(ToolError::Missing { program, language, remedy })?;
        if self.suffices(&found) {
            return Ok(found);
        }
        Err(ToolError::TooOld { program, found, needed: self.needed, language, remedy })
    }
}

fn version_in(said: &str) -> Option<String> {
    let words = said.split_whitespace().map(|word| word.trim_start_matches('v'));
    let mut versions =
        words.filter(|word| word.contains('.') && word.starts_with(|first: char| first.is_ascii_digit()));
    versions.next().map(str::to_owned)
}

/// Files that the gateway brings, by which an installation is named: another text is another installation.
pub(super) struct Kit {
    /// The plugins that it is for.
    pub(super) language: &'static str,
    /// Names and texts.
    pub(super) files: &'static [(&'static str, &'static str)],
}

impl Kit {
    /// Names the kit and what it fixes: 16 digits of SHA-256.
    pub(super) fn digest(&self) -> String {
        let mut whole = Sha256::new();
        for (name, text) in self.files {
            whole.update(Sha256::digest(name));
            whole.update(Sha256::digest(text));
        }
        let mut digest = hex(&whole.finalize());
        digest.truncate(16);
        digest
    }

    /// Where this kit is installed, or would be. `beside` tells installations apart that differ by more than the
    /// kit's files, such as by an interpreter's version.
    pub(super) fn place(&self, beside: &str) -> Result<PathBuf, ToolError> {
        let name = format!("{}-{}{beside}", self.language.to_lowercase(), self.digest());
        Ok(cache_dir()?.join("tools").join(name))
    }

    /// The directory of the installed kit. Where it is not there, `install` fills a directory beside its place, which
    /// is then renamed: no other process sees a part of it.
    pub(super) fn installed(
        &self,
        beside: &str,
        install: impl FnOnce(&Path) -> Result<(), ToolError>,
    ) -> Result<PathBuf, ToolError> {
        let place = self.place(beside)?;
        if place.is_dir() {
            return Ok(place);
        }
        let write = |path: &Path| {
            let path = path.to_path_buf();
            move |source| ToolError::Write { path, source }
        };
        let parent = place.parent().unwrap_or(&place);
        std::fs::create_dir_all(parent).map_err(write(parent))?;
        let making = tempfile::Builder::new().prefix(".making-").tempdir_in(parent).map_err(write(parent))?;
        for (name, text) in self.files {
            std::fs::write(making.path().join(name), text).map_err(write(making.path()))?;
        }
        install(making.path())?;
        match std::fs::rename(making.path(), &place) {
            Ok(()) => Ok(place),
            // Another process was quicker.
            Err(_) if place.is_dir() => Ok(place),
            Err(source) => Err(write(&place)(source)),
        }
    }

    /// Runs one step of an installation.
    pub(super) fn run(&self, command: &mut Command, progress: &mut dyn FnMut(&str)) -> Result<(), ToolError> {
        let text = spelled(command);
        progress(&format!("installing the tools of {} plugins, once: {text}", self.language));
        let failed = |log| ToolError::Install { language: self.language, command: text.clone(), log };
        let ran = toolchain::run(command, None, progress).map_err(|error| failed(error.to_string()))?;
        if ran.succeeded() { Ok(()) } else { Err(failed(said(&ran))) }
    }
}

/// Where the gateway's command keeps what can be had again.
pub(in crate::cli::plugin) fn cache_dir() -> Result<PathBuf, ToolError> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    base.map(|base| base.join("integration-gateway")).ok_or(ToolError::NoCache)
}

/// All that a program said: some write their errors to standard output.
pub(super) fn said(ran: &Ran) -> String {
    [ran.log().trim(), ran.stdout.trim()]
        .into_iter()
        .filter(|text| !text.is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}

/// A command's program and arguments, for people.
pub(super) fn spelled(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// A program of a build that must run and succeed; what it said otherwise.
pub(super) fn succeed(
    command: &mut Command,
    progress: &mut dyn FnMut(&str),
) -> Result<Result<String, String>, ToolchainError> {
    progress(&spelled(command));
    let ran = toolchain::run(command, None, progress)?;
    Ok(if ran.succeeded() { Ok(ran.stdout) } else { Err(said(&ran)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_what_a_program_says() {
        for (said, version) in [
            ("v20.20.2", Some("20.20.2")),
            ("Python 3.11.2", Some("3.11.2")),
            ("pip 23.0.1 from x (python 3.11)", Some("23.0.1")),
            ("rustc 1.95.0 (abc 2026-01-01)", Some("1.95.0")),
            ("9", None),
            ("", None),
        ] {
            assert_eq!(version_in(said).as_deref(), version, "{said}");
        }
    }

    #[test]
    fn an_older_program_does_not_suffice() {
        let program =
            Program { name: "x", asked: &["x"], language: "X", least: (20, 1), needed: "20.1", remedy: "" };
        for (version, suffices) in
            [("20.1.0", true), ("21.0.0", true), ("20.0.9", false), ("9.9.9", false), ("odd", false)]
        {
            assert_eq!(program.suffices(version), suffices, "{version}");
        }
    }

    #[test]
    fn a_program_that_is_not_there_is_named_with_its_remedy() {
        let program = Program {
            name: "no-such-program",
            asked: &["no-such-program", "--version"],
            language: "JavaScript",
            least: (1, 0),
            needed: "1.0",
            remedy: "Get it there.",
        };
        let error = program.required(Path::new(".")).unwrap_err().to_string();
        assert!(
            error.contains("no-such-program is not installed") && error.contains("Get it there."),
            "{error}"
        );
    }
}
