//! Finds a compiler for WebAssembly and runs it. Installs a system package only when asked to; builds nothing itself.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Has no WASI at all: a plugin built for it imports nothing but what `wit/` gives it.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// Debian's compiler, its cargo, and the source of std with its dependencies.
const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
/// Debian's linker for WebAssembly, where no other is found.
const DEBIAN_LINKER_PACKAGE: &str = "lld";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_SYSROOT: &str = "/usr";

/// How long `rustup target add` may take, in seconds. It downloads some 20 MB; where there is no
/// way to the download, it would keep trying for minutes.
const RUSTUP_SECONDS: u64 = 90;

/// Lines of a program's output that its error repeats: the end is where the reason stands.
const LOG_LINES: usize = 120;

/// Beside the target directory's content: how the last build there was done, so that the next one
/// neither tries the network again nor builds std a second time.
const MEMO: &str = ".gateway-toolchain";

/// Why there is no compiler.
#[derive(Debug, thiserror::Error)]
pub enum ToolchainError {
    /// None is there, and installing was not asked for.
    #[error(
        "no Rust compiler for {TARGET} is installed. Install one with\n  rustup target add {TARGET}\nor on Debian, as root,\n  {command}\nor let `gateway plugin build --install-toolchain` (GATEWAY_INSTALL_TOOLCHAIN=1) do the latter"
    )]
    Missing {
        /// What installs it.
        command: String,
    },
    /// Installing was asked for and is not possible.
    #[error(
        "the Rust compiler for {TARGET} cannot be installed: {reason}. As root on Debian, run\n  {command}"
    )]
    CannotInstall {
        /// What is missing.
        reason: &'static str,
        /// What would install it.
        command: String,
    },
    /// Installing failed.
    #[error("installing the Rust compiler for {TARGET} failed:\n{log}\nThe command was\n  {command}")]
    Install {
        /// What was run.
        command: String,
        /// The end of its output.
        log: String,
    },
    /// A program could not be started.
    #[error("`{program}` could not be run; is it installed and on the PATH?")]
    Start {
        /// Its name.
        program: String,
        /// Why.
        source: std::io::Error,
    },
}

/// A compiler for [`TARGET`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Toolchain {
    /// The `cargo` on the PATH, which has the target installed.
    Installed,
    /// Debian's, which builds std from source the first time.
    Debian {
        /// Where the linker is.
        linker: Linker,
    },
}

/// A linker for WebAssembly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Linker {
    /// `rust-lld` of a rustup toolchain lies in this directory.
    RustLld(PathBuf),
    /// LLVM's `wasm-ld` is on the PATH.
    WasmLd,
}

impl Toolchain {
    /// The first of: an installed target; `rustup target add`; Debian's packages, which are
    /// installed only where `install` and by root. What worked in `target_dir` before is taken again.
    ///
    /// # Errors
    /// [`ToolchainError`], with the command that would help.
    pub fn find(
        dir: &Path,
        target_dir: &Path,
        install: bool,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Self, ToolchainError> {
        if target_is_installed(dir) {
            return Ok(Self::Installed);
        }
        let used_before =
            std::fs::read_to_string(target_dir.join(MEMO)).is_ok_and(|memo| memo.trim() == "debian");
        if used_before && let Some(found) = debian(dir) {
            return Ok(found);
        }
        if add_rustup_target(dir, progress) && target_is_installed(dir) {
            return Ok(Self::Installed);
        }
        let found = match debian(dir) {
            Some(found) => found,
            None => {
                install_debian(dir, install, progress)?;
                debian(dir).ok_or_else(|| ToolchainError::Missing { command: debian_command(dir) })?
            }
        };
        progress("std is built from source, once for all plugins of this workspace: about two minutes");
        // Only a saving of time: the next build finds the same without it.
        let _ = std::fs::create_dir_all(target_dir)
            .and_then(|()| std::fs::write(target_dir.join(MEMO), "debian\n"));
        Ok(found)
    }

    /// What is there, without installing anything.
    ///
    /// # Errors
    /// [`ToolchainError::Missing`], with the command that would help.
    pub fn look(dir: &Path) -> Result<Self, ToolchainError> {
        if target_is_installed(dir) {
            return Ok(Self::Installed);
        }
        debian(dir).ok_or_else(|| ToolchainError::Missing { command: debian_command(dir) })
    }

    /// In a few words, for the progress lines.
    pub fn describe(&self) -> &'static str {
        match self {
            Self::Installed => "the installed target",
            Self::Debian { .. } => "Debian's compiler",
        }
    }

    /// The compiler's version, such as `1.95.0`.
    pub fn rustc_version(&self, dir: &Path) -> String {
        let rustc = match self {
            Self::Installed => "rustc",
            Self::Debian { .. } => DEBIAN_RUSTC,
        };
        let said = stdout_of(clean(dir, rustc).arg("--version")).unwrap_or_default();
        said.split_whitespace().nth(1).unwrap_or("unknown").to_owned()
    }

    /// `cargo build` for [`TARGET`] in `dir`, in an environment that owes nothing to a cargo that
    /// may have started this process.
    pub fn cargo_build(&self, dir: &Path) -> Command {
        let mut command = match self {
            Self::Installed => clean(dir, "cargo"),
            Self::Debian { .. } => clean(dir, DEBIAN_CARGO),
        };
        command.args(["build", "--release", "--target", TARGET]);
        if let Self::Debian { linker } = self {
            command.args(["-Z", "build-std=std,panic_abort"]);
            // build-std is unstable; the variable lets a released compiler do it.
            command.env("RUSTC_BOOTSTRAP", "1").env("RUSTC", DEBIAN_RUSTC);
            match linker {
                Linker::RustLld(bin) => command.env("PATH", path_with(bin)),
                Linker::WasmLd => command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", "wasm-ld"),
            };
        }
        command
    }
}

/// `/usr/bin` first, so that Debian's cargo finds its own; then the linker's directory.
fn path_with(linker: &Path) -> std::ffi::OsString {
    let before = std::env::var_os("PATH").unwrap_or_default();
    let entries =
        [PathBuf::from("/usr/bin"), linker.to_path_buf()].into_iter().chain(std::env::split_paths(&before));
    std::env::join_paths(entries).unwrap_or(before)
}

/// Asks the compiler on the PATH for its target's directory, and looks whether std is in it.
fn target_is_installed(dir: &Path) -> bool {
    let asked = stdout_of(clean(dir, "rustc").args(["--print", "target-libdir", "--target", TARGET]));
    asked.and_then(|libdir| std::fs::read_dir(libdir).ok()).is_some_and(|files| {
        files.flatten().any(|file| {
            let name = file.file_name();
            let name = name.to_string_lossy();
            name.starts_with("libstd-") && name.ends_with(".rlib")
        })
    })
}

/// True where rustup has added the target. Its failure is no error: there are other ways.
fn add_rustup_target(dir: &Path, progress: &mut dyn FnMut(&str)) -> bool {
    if stdout_of(clean(dir, "rustup").arg("--version")).is_none() {
        return false;
    }
    progress(&format!("rustup target add {TARGET} (at most {RUSTUP_SECONDS} s)"));
    let limit = Some(Duration::from_secs(RUSTUP_SECONDS));
    match run(
        clean(dir, "rustup").args(["target", "add", TARGET]).env("RUST_BACKTRACE", "0"),
        limit,
        progress,
    ) {
        Ok(Ran { status: Some(status), .. }) if status.success() => true,
        Ok(_) | Err(_) => {
            progress("rustup could not add the target; looking for Debian's packages");
            false
        }
    }
}

/// Debian's toolchain, if all of it is there.
fn debian(dir: &Path) -> Option<Toolchain> {
    if !debian_compiler_is_installed(dir) {
        return None;
    }
    linker(dir).map(|linker| Toolchain::Debian { linker })
}

fn debian_compiler_is_installed(dir: &Path) -> bool {
    // Where rustup itself comes from Debian, these names are rustup's, with another sysroot.
    stdout_of(clean(dir, DEBIAN_RUSTC).args(["--print", "sysroot"])).as_deref() == Some(DEBIAN_SYSROOT)
        && Path::new(DEBIAN_CARGO).is_file()
        && Path::new(DEBIAN_SYSROOT).join("lib/rustlib/src/rust/library/std/Cargo.toml").is_file()
}

/// `rust-lld` of the compiler on the PATH or of Debian's, else LLVM's.
fn linker(dir: &Path) -> Option<Linker> {
    for rustc in ["rustc", DEBIAN_RUSTC] {
        let sysroot = stdout_of(clean(dir, rustc).args(["--print", "sysroot"]));
        let host = stdout_of(clean(dir, rustc).args(["--print", "host-tuple"]));
        if let (Some(sysroot), Some(host)) = (sysroot, host) {
            let bin = Path::new(&sysroot).join("lib/rustlib").join(host).join("bin");
            if bin.join("rust-lld").is_file() {
                return Some(Linker::RustLld(bin));
            }
        }
    }
    stdout_of(clean(dir, "wasm-ld").arg("--version")).map(|_| Linker::WasmLd)
}

fn debian_packages(dir: &Path) -> Vec<&'static str> {
    let linker = linker(dir).is_none().then_some(DEBIAN_LINKER_PACKAGE);
    DEBIAN_PACKAGES.into_iter().chain(linker).collect()
}

fn debian_command(dir: &Path) -> String {
    format!("apt-get update && apt-get install -y --no-install-recommends {}", debian_packages(dir).join(" "))
}

fn install_debian(dir: &Path, install: bool, progress: &mut dyn FnMut(&str)) -> Result<(), ToolchainError> {
    let command = debian_command(dir);
    if !install {
        return Err(ToolchainError::Missing { command });
    }
    if stdout_of(clean(dir, "apt-get").arg("--version")).is_none() {
        return Err(ToolchainError::CannotInstall { reason: "this system has no apt-get", command });
    }
    if !rustix::process::geteuid().is_root() {
        return Err(ToolchainError::CannotInstall { reason: "that takes root", command });
    }
    progress(&format!("installing Debian's packages: {command}"));
    let packages = debian_packages(dir);
    let update: &[&str] = &["update"];
    // Another apt may be at work: wait for it, in seconds.
    let fixed = ["-o", "DPkg::Lock::Timeout=300", "install", "-y", "--no-install-recommends"];
    let install: Vec<&str> = fixed.into_iter().chain(packages).collect();
    for arguments in [update, &install] {
        let ran = run(
            clean(dir, "apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive"),
            None,
            progress,
        )?;
        if !ran.succeeded() {
            return Err(ToolchainError::Install { command, log: ran.log() });
        }
    }
    Ok(())
}

/// Variables of cargo that say where crates come from, and so must stay.
const KEPT: [&str; 8] = [
    "CARGO_HOME",
    "CARGO_HTTP_",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_SOURCE_",
    "CARGO_TERM_",
    "CARGO_LOG",
];
/// What else an outer cargo, its build scripts or its user's settings leave behind.
const REMOVED: [&str; 10] = [
    "CARGO",
    "RUSTC",
    "RUSTC_BOOTSTRAP",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
    "RUST_RECURSION_COUNT",
    "MAKEFLAGS",
    "MFLAGS",
];

fn is_inherited(name: &str) -> bool {
    REMOVED.contains(&name) || (name.starts_with("CARGO_") && !KEPT.iter().any(|kept| name.starts_with(kept)))
}

/// A command in `dir` that inherits nothing of a cargo above it: the same plugin gives the same
/// digest, however `gateway` was started.
pub fn clean(dir: &Path, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(dir).stdin(Stdio::null());
    let inside_cargo = std::env::var_os("CARGO").is_some();
    for (name, _) in std::env::vars_os() {
        let inherited = name.to_str().is_some_and(is_inherited);
        // `cargo run` puts its own libraries first, and the inner compiler must not load those.
        if inherited || (inside_cargo && name == "LD_LIBRARY_PATH") {
            command.env_remove(&name);
        }
    }
    command
}

/// What a program wrote, trimmed; `None` where it is not there or failed.
pub(super) fn stdout_of(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// How a program went.
#[derive(Debug)]
pub struct Ran {
    /// `None` where it ran out of time and was ended.
    pub status: Option<ExitStatus>,
    /// All of its standard output.
    pub stdout: String,
    lines: Vec<String>,
}

impl Ran {
    /// Did it end by itself, with success?
    pub fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// The end of what it wrote to standard error.
    pub fn log(&self) -> String {
        let skipped = self.lines.len().saturating_sub(LOG_LINES);
        self.lines.iter().skip(skipped).map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

/// Runs a program and tells each line of its standard error as it comes.
///
/// # Errors
/// [`ToolchainError::Start`] where it is not there.
pub fn run(
    command: &mut Command,
    limit: Option<Duration>,
    progress: &mut dyn FnMut(&str),
) -> Result<Ran, ToolchainError> {
    let start = |source, command: &Command| ToolchainError::Start {
        program: command.get_program().to_string_lossy().into_owned(),
        source,
    };
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| start(source, command))?;
    let stdout = child.stdout.take().map(|mut pipe| {
        std::thread::spawn(move || {
            let mut text = String::new();
            // What is not UTF-8 is of no use to anyone here.
            let _ = pipe.read_to_string(&mut text);
            text
        })
    });
    let mut lines = Vec::new();
    let mut in_time = true;
    if let Some(pipe) = child.stderr.take() {
        in_time = follow(&lines_of(pipe), limit.map(|limit| Instant::now() + limit), &mut |line| {
            progress(&line);
            lines.push(line);
        });
    }
    if !in_time {
        let _ = child.kill();
    }
    let status = child.wait().map_err(|source| start(source, command))?;
    let stdout = stdout.and_then(|reader| reader.join().ok()).unwrap_or_default();
    Ok(Ran { status: in_time.then_some(status), stdout, lines })
}

fn lines_of(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// False where `deadline` comes before the end.
fn follow(lines: &Receiver<String>, deadline: Option<Instant>, each: &mut dyn FnMut(String)) -> bool {
    loop {
        let next = match deadline {
            Some(deadline) => lines.recv_timeout(deadline.saturating_duration_since(Instant::now())),
            None => lines.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match next {
            Ok(line) => each(line),
            Err(RecvTimeoutError::Disconnected) => return true,
            Err(RecvTimeoutError::Timeout) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outer_cargo_leaves_nothing_behind_but_the_way_to_crates() {
        let cases = [
            ("CARGO", true),
            ("CARGO_TARGET_DIR", true),
            ("CARGO_ENCODED_RUSTFLAGS", true),
            ("CARGO_MAKEFLAGS", true),
            ("CARGO_BUILD_TARGET", true),
            ("CARGO_PROFILE_RELEASE_LTO", true),
            ("RUSTFLAGS", true),
            ("RUSTUP_TOOLCHAIN", true),
            ("CARGO_HOME", false),
            ("CARGO_HTTP_PROXY", false),
            ("CARGO_NET_OFFLINE", false),
            ("CARGO_SOURCE_X_REPLACE_WITH", false),
            ("RUSTUP_HOME", false),
            ("PATH", false),
        ];
        for (name, inherited) in cases {
            assert_eq!(is_inherited(name), inherited, "{name}");
        }
    }

    #[test]
    fn a_program_is_followed_line_by_line_and_its_end_is_kept() {
        let mut told = Vec::new();
        let mut command = clean(Path::new("/"), "sh");
        command.args(["-c", "echo out; seq 1 300 >&2; exit 3"]);
        let ran = run(&mut command, None, &mut |line| told.push(line.to_owned())).unwrap();
        assert!(!ran.succeeded());
        assert_eq!(ran.stdout, "out\n");
        assert_eq!(told.len(), 300);
        assert!(ran.log().ends_with("\n300") && ran.log().starts_with("181\n"));
    }

    #[test]
    fn a_program_that_takes_too_long_is_ended() {
        let mut command = clean(Path::new("/"), "sleep");
        command.arg("30");
        let started = Instant::now();
        let ran = run(&mut command, Some(Duration::from_millis(50)), &mut |_| {}).unwrap();
        assert!(ran.status.is_none() && started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = run(&mut clean(Path::new("/"), "no-such-program"), None, &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains("`no-such-program`"));
    }

    #[test]
    fn what_is_missing_comes_with_its_command() {
        let error = install_debian(Path::new("/"), false, &mut |_| {}).unwrap_err().to_string();
        assert!(
            error.contains("apt-get install -y --no-install-recommends rustc-web cargo-web rust-web-src")
        );
        assert!(error.contains("rustup target add wasm32-unknown-unknown"));
    }
}
