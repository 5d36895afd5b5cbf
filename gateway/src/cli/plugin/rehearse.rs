//! What `test`, `run` and `replay` share: a component to call, and the rehearsal to call it in.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{BuildOptions, ToolchainArgs, build, builder, read_component};
use crate::boundary::PolicyBook;
use crate::catalogue::Catalogue;
use crate::cli::CliError;
use crate::cli::assemble::policies;
use crate::cli::progress::Progress;
use crate::clock::Clock;
use crate::pipeline::{CaseProblem, Rehearsal, RehearsedPlugin};
use crate::plugin_host::{COMPILE_THREADS, HostConfig, PluginHost, cores};

/// Compiled code to keep on this machine. Each build in JavaScript or Python is another component, of 40 MB of code.
const CACHE_BYTES: u64 = 256 * 1024 * 1024;

/// What is called, and by which catalogue and policies.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct RehearseArgs {
    /// The plugin's directory, or a component
    #[arg(default_value = ".")]
    pub(super) dir: PathBuf,
    /// A component to call instead of building the directory
    #[arg(long)]
    component: Option<PathBuf>,
    #[command(flatten)]
    rules: RulesArgs,
    #[command(flatten)]
    toolchain: ToolchainArgs,
}

/// By which catalogue and policies something is called.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct RulesArgs {
    /// A folder of event types beside the shipped ones
    #[arg(long)]
    catalogue_dir: Option<PathBuf>,
    /// A folder of policies beside the shipped one
    #[arg(long)]
    policies_dir: Option<PathBuf>,
}

impl RulesArgs {
    /// What calls components such as the one in `file`. Compiled code is kept for all plugins of this user, so that an
    /// interpreter is compiled once; where there is no place for that, beside the component.
    pub(super) fn rehearsal(&self, file: &Path) -> Result<Rehearsal, CliError> {
        let cache = builder::cache_dir().map(|dir| dir.join("compiled"));
        let beside = || file.parent().unwrap_or(Path::new(".")).join(".rehearsal-cache");
        let cache = cache.unwrap_or_else(|_| beside());
        let catalogue = match &self.catalogue_dir {
            Some(dir) => Catalogue::load(dir),
            None => Catalogue::embedded(),
        }
        .map_err(CliError::start("the catalogue"))?;
        let book = PolicyBook::new(&policies(self.policies_dir.as_deref())?)
            .map_err(CliError::start("the policy"))?;
        let mut host = HostConfig::new(cache);
        host.max_concurrent_calls = 1;
        host.cache_bytes = CACHE_BYTES;
        // Somebody waits, and there are no calls beside it.
        host.limits.compile_threads = cores().min(COMPILE_THREADS);
        host.limits.compile_niceness = 0;
        let host = PluginHost::new(host).map_err(CliError::start("the sandbox"))?;
        Ok(Rehearsal::new(catalogue, book, host, Clock::system()))
    }
}

impl RehearseArgs {
    /// Builds the plugin where no component is named, and makes it ready to be called.
    pub(super) async fn prepare(&self) -> Result<(Rehearsal, RehearsedPlugin), CliError> {
        let progress = Progress::spinner("building");
        let file = match &self.component {
            Some(file) => file.clone(),
            None if self.dir.is_file() => self.dir.clone(),
            None => {
                let options = BuildOptions {
                    dir: self.dir.clone(),
                    out: None,
                    install_toolchain: self.toolchain.install_toolchain,
                    version: None,
                };
                build(options, &progress).await?.path
            }
        };
        let component = read_component(&file)?;
        progress.say("compiling it for this machine");
        let rehearsal = self.rules.rehearsal(&file)?;
        let plugin =
            rehearsal.plugin(&component).await.map_err(|error| CliError::FellShort(error.to_string()))?;
        Ok((rehearsal, plugin))
    }
}

/// Everything wrong with a case, a line each.
pub(super) fn listed(problems: &[CaseProblem]) -> String {
    problems.iter().map(|problem| format!("  {problem}")).collect::<Vec<_>>().join("\n")
}

/// What came of a call as what a case expects: without what it cost, which another compiler changes, and the log.
pub(super) fn expectation(called: &Value) -> Value {
    let mut expected = called.clone();
    if let Value::Object(members) = &mut expected {
        for name in ["fuel", "memory-bytes", "log", "log-dropped", "log-cut"] {
            members.remove(name);
        }
    }
    expected
}

/// A document of a case as its file holds it.
pub(super) fn written(document: &Value) -> Result<String, CliError> {
    let text = serde_json::to_string_pretty(document);
    text.map(|text| text + "\n").map_err(|_| CliError::FellShort("a document is no JSON".into()))
}

/// A document as a value; it has no part that cannot be one.
pub(super) fn value(document: &impl serde::Serialize) -> Result<Value, CliError> {
    serde_json::to_value(document).map_err(|_| CliError::FellShort("the outcome is no JSON".into()))
}
