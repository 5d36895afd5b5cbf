//! Turning a component into machine code: in a process of its own, with limits of memory and time.
//! It may not load what it compiled.

use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, nice, setrlimit};
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use wasmtime::Engine;

use super::apart::{Apart, ImportsModule, LARGE, apart};
use super::cache::{Workspace, code_file, has_module};
use super::engine::{Allocation, engine};
use super::error::{HostError, describe, one_line};
use super::limits::{COMPILER_MESSAGE_BYTES, Limits};

/// The hidden subcommand that runs [`compile_component_child`]: `<program> compile-component IN OUT COMPILED`, with an
/// option for each limit that it sets itself. It exits 0 if OUT is there, else with the error on
/// standard error: 1 for a fault of the component, 2 for one of the machine.
pub const COMPILE_SUBCOMMAND: &str = "compile-component";

/// How the compiling process exits where it says what is wrong with the component.
const REFUSED: i32 = 1;
/// How it exits where it cannot say whether the component is good.
const UNABLE: i32 = 2;

/// The entry of the compiling process. Limits the process it runs in, stands back behind calls, compiles `input`
/// with the very settings that the host loads with, and writes `output` in one step; beside it the large modules that
/// are not in the directory `compiled`. Of `limits`, those of compiling are the host's, which it is told; the others are
/// the defaults, because none of them changes the code that comes out.
///
/// # Errors
/// [`HostError::Invalid`] for a component that is none or uses what is not served; others where
/// the system refuses something. A process that meets its limits ends by a signal instead.
pub fn compile_component_child(
    input: &Path,
    output: &Path,
    compiled: &Path,
    limits: &Limits,
) -> Result<(), HostError> {
    limit_this_process(limits)?;
    // Before it has threads, which take it over.
    nice(limits.compile_niceness).map_err(|_| HostError::Internal { doing: "standing back behind calls" })?;
    compile_file(limits, input, output, compiled)
}

/// Compiles in this process, without limits.
pub(super) fn compile_file(
    limits: &Limits,
    input: &Path,
    output: &Path,
    compiled: &Path,
) -> Result<(), HostError> {
    let failed = |doing, path: &Path, source| HostError::Io { doing, path: path.to_owned(), source };

    let component = fs::read(input).map_err(|source| failed("reading", input, source))?;
    // Text and core modules are refused by what comes first in a component: magic, version, layer.
    if component.get(..8) != Some(b"\0asm\x0d\0\x01\0".as_slice()) {
        let reason = "the file is not a WebAssembly component in binary form".to_owned();
        return Err(HostError::Invalid { reason });
    }
    let engine = engine(limits, Allocation::None)?;
    let invalid = |error: wasmtime::Error| HostError::Invalid { reason: describe(&error) };

    let directory = output.parent().unwrap_or(Path::new("."));
    let write = |code: &[u8], path: &Path| {
        let written = || -> io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(directory)?;
            io::Write::write_all(&mut file, code)?;
            file.persist(path)?;
            Ok(())
        };
        written().map_err(|source| failed("writing", path, source))
    };
    let apart = apart(&component, limits, LARGE).map_err(|ImportsModule| {
        let reason = "it imports a core module; a plugin has its modules within".to_owned();
        HostError::Invalid { reason }
    })?;
    if let Some(parts) = apart
        // Were it not to fit, the whole says better why, or does.
        && let Ok(code) = compiled_apart(&engine, &parts, compiled)
    {
        for (digest, module) in &code.modules {
            write(module, &code_file(directory, digest))?;
        }
        return write(&code.component, output);
    }
    write(&engine.precompile_component(&component).map_err(invalid)?, output)
}

/// Code of a component in parts, and of those of its modules that are not in the directory `compiled`.
fn compiled_apart(engine: &Engine, parts: &Apart, compiled: &Path) -> wasmtime::Result<Apart> {
    let component = engine.precompile_component(&parts.component)?;
    let new = parts.modules.iter().filter(|(digest, _)| !has_module(compiled, digest));
    let modules = new.map(|(digest, module)| Ok((*digest, engine.precompile_module(module)?)));
    Ok(Apart { component, modules: modules.collect::<wasmtime::Result<_>>()? })
}

/// Runs `program` on a workspace's input, and waits until its output is there or the time is over.
/// Dropping the future ends the process.
pub(super) async fn compile_in_child(
    program: &Path,
    limits: &Limits,
    workspace: &Workspace,
) -> Result<(), HostError> {
    let mut child = Command::new(program)
        .arg(COMPILE_SUBCOMMAND)
        .arg(workspace.input())
        .arg(workspace.output())
        .arg(workspace.compiled())
        .args(told(limits))
        // No secret of the gateway's environment goes to where untrusted code is read.
        .env_clear()
        .env("RAYON_NUM_THREADS", limits.compile_threads.to_string())
        // The allocator takes a GiB at a time, which would all count as used before anything is.
        .env("MIMALLOC_ARENA_EAGER_COMMIT", "0")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| HostError::CompilerStart { program: program.to_owned(), source })?;
    let stderr = child.stderr.take();

    let run = async {
        let mut message = Vec::new();
        if let Some(stderr) = stderr {
            // What cannot be read does not change how the process ended; closing the pipe after
            // this many bytes ends a process that goes on writing.
            let _ = stderr.take(COMPILER_MESSAGE_BYTES as u64).read_to_end(&mut message).await;
        }
        (child.wait().await, message)
    };
    let begun = Instant::now();
    let (status, message) = tokio::time::timeout(limits.compile_time, run)
        .await
        .map_err(|_| HostError::CompileTime { used: begun.elapsed(), allowed: limits.compile_time })?;
    let status = status.map_err(|_| HostError::Internal { doing: "waiting for the compiling process" })?;

    if let Some(signal) = status.signal() {
        let (budget, allowed) = ran_out(signal, limits);
        return Err(HostError::CompileLimit { signal, budget, allowed });
    }
    let said = one_line(&String::from_utf8_lossy(&message));
    let reason = match status.code() {
        Some(0) => return Ok(()),
        Some(REFUSED) if !said.is_empty() => said,
        Some(REFUSED) => "the compiling process gave no reason".to_owned(),
        // What it says then, and a panic, speaks of this program and its machine.
        Some(UNABLE) => {
            tracing::error!(said, "a component cannot be compiled here");
            return Err(HostError::Internal { doing: "compiling" });
        }
        _ => {
            tracing::error!(%status, said, "the compiling process fails");
            "the compiler fails on it, which the operator's log tells more of".to_owned()
        }
    };
    Err(HostError::Invalid { reason })
}

/// The limits that the compiling process sets itself, as it is told them.
fn told(limits: &Limits) -> [String; 5] {
    [
        format!("--niceness={}", limits.compile_niceness),
        format!("--cpu-seconds={}", limits.compile_cpu_seconds),
        format!("--memory={}", limits.compile_memory),
        format!("--address-space={}", limits.compile_address_space),
        format!("--artifact-bytes={}", limits.artifact_bytes),
    ]
}

/// Which limit of the compiling process a signal stands for.
fn ran_out(signal: i32, limits: &Limits) -> (&'static str, u64) {
    match Signal::from_named_raw(signal) {
        // Its soft and its hard limit of processor time are one, and Linux looks at the hard one first.
        Some(Signal::KILL | Signal::XCPU) => ("seconds of processor time", limits.compile_cpu_seconds),
        Some(Signal::XFSZ) => ("bytes of compiled code", limits.artifact_bytes),
        // An allocation that is refused aborts.
        _ => ("bytes of memory", limits.compile_memory),
    }
}

/// What Linux calls the program of the process that asks, also where its file was replaced or deleted since,
/// as an upgrade does. A child is that program until it starts another.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// The program that compiles: `program`, or this one.
pub(super) fn program_or_self(program: Option<&PathBuf>) -> Result<PathBuf, HostError> {
    match program {
        Some(program) => Ok(program.clone()),
        None if Path::new(THIS_PROGRAM).exists() => Ok(PathBuf::from(THIS_PROGRAM)),
        None => std::env::current_exe()
            .map_err(|source| HostError::CompilerStart { program: PathBuf::from("(this program)"), source }),
    }
}

fn limit_this_process(limits: &Limits) -> Result<(), HostError> {
    let resources = [
        (Resource::As, limits.compile_address_space),
        (Resource::Data, limits.compile_memory),
        (Resource::Cpu, limits.compile_cpu_seconds),
        (Resource::Fsize, limits.artifact_bytes),
        // A core dump would hold the component.
        (Resource::Core, 0),
    ];
    for (resource, limit) in resources {
        // An operator's own may be lower, and cannot be raised.
        let limit = getrlimit(resource).maximum.map_or(limit, |most| limit.min(most));
        let limit = Rlimit { current: Some(limit), maximum: Some(limit) };
        setrlimit(resource, limit)
            .map_err(|_| HostError::Internal { doing: "limiting the compiling process" })?;
    }
    Ok(())
}
