//! `gateway plugin`: builds, checks and publishes plugins. Building and checking are local; publishing
//! goes through the API of a running gateway.

mod block;
mod build;
pub mod builder;
mod check;
mod dev;
mod diff;
mod doctor;
mod keygen;
mod listen;
mod logs;
mod new;
mod publish;
mod rehearse;
mod replay;
mod rollback;
mod rollout;
mod run;
mod status;
mod template;
mod test;
pub mod toolchain;
mod withdraw;

use std::path::Path;

use serde_json::Value;

use super::CliError;
use super::output::{self, FormatArgs, Table};
use super::progress::Progress;
use crate::manifest;
pub use builder::{BuildError, BuildOptions, BuiltPlugin};
pub(super) use keygen::new_key;

/// Plugins: build, check, publish
#[derive(Debug, clap::Subcommand)]
pub(super) enum Plugin {
    /// Write a plugin's project, with a case and types for its language
    #[command(after_help = "\
It builds, checks and passes its test as it is. A directory that is not empty is left alone.

Example:
  gateway plugin new first-lead --lang javascript")]
    New(new::New),
    /// Build a plugin in Rust, JavaScript or Python to a component with its manifest inside
    #[command(after_help = "\
The language is told by the file that is there: Cargo.toml, package.json or requirements.txt. A Rust plugin needs a
compiler for WebAssembly, the others Node or Python; where something is missing, it says how to get it.

Example:
  gateway plugin build plugins/adf-lead --out adf-lead.wasm")]
    Build(build::Build),
    /// Say everything that keeps a component, or a plugin's source, from being published
    #[command(after_help = "\
Of a directory each mistake has its file, line and column.

Examples:
  gateway plugin check plugins/adf-lead
  gateway plugin check adf-lead.wasm")]
    Check(check::Check),
    /// Say what building plugins needs on this machine, and how to get what is missing
    #[command(after_help = "\
It installs nothing, and exits 1 where something is missing.

Examples:
  gateway plugin doctor
  gateway plugin doctor plugins/visit-note --format json")]
    Doctor(doctor::Doctor),
    /// Make the key that a partner signs its releases with
    #[command(after_help = "\
Example:
  gateway plugin keygen acme-crm.key")]
    Keygen(keygen::Keygen),
    /// Publish a release of a plugin, signed; the API key is the partner's
    #[command(after_help = "\
Example:
  gateway plugin publish adf-lead.wasm --signing-key acme-crm.key")]
    Publish(publish::Publish),
    /// Say what a release changes: what it gets, returns, combines, and where it sends
    #[command(after_help = "\
Each line is wider, narrower or equal; the whole is wider where any line is.

Example:
  gateway plugin diff adf-lead@1.0.0 adf-lead.wasm")]
    Diff(diff::Diff),
    /// Give a release to some of a brand's consumers first; the API key is the brand's
    #[command(after_help = "\
It is taken back by itself where more than a few of its calls fail.

Example:
  gateway plugin rollout northside-motors adf-lead 1.1.0 --percent 10
  gateway plugin rollout northside-motors adf-lead 2.0.0 --percent 10 --grant grant.json")]
    Rollout(rollout::RolloutArgs),
    /// Return to an earlier release of the plugin, at once; the API key is the brand's
    #[command(after_help = "\
Any release will do that is neither withdrawn nor blocked and that the brand agreed to, or that gets no more than one that
it agreed to. It is granted what was agreed to, without what was taken away since. One that gets more is refused, and it is
said what that is: agree to it with `gateway plugin rollout … --percent 100 --grant grant.json`.

Examples:
  gateway plugin rollback northside-motors adf-lead
  gateway plugin rollback northside-motors adf-lead 1.0.0")]
    Rollback(rollback::Rollback),
    /// Take a release back, so that nothing switches to it any more; the API key is the partner's
    #[command(after_help = "\
Example:
  gateway plugin withdraw adf-lead 1.1.0 --reason 'it loses leads with an apostrophe'")]
    Withdraw(withdraw::Withdraw),
    /// Stop a release at every brand, or let it run again; the API key is the operator's
    #[command(after_help = "\
Example:
  gateway plugin block adf-lead 1.1.0 --reason 'it sends more than it declares'
  gateway plugin block adf-lead 1.1.0 --lift")]
    Block(block::Block),
    /// Run a plugin's cases through the boundary and the sandbox of production
    #[command(after_help = "\
A case is a folder under `cases/` with event.json and expected.json, and where they are needed
connection.json, choices.json and replies.json (plugin-sdk/docs/cases.md). Nothing is sent
and nothing is kept.

Examples:
  gateway plugin test plugins/adf-lead
  gateway plugin test plugins/adf-lead --update")]
    Test(test::Test),
    /// Run one event through a plugin, and say what came of it
    #[command(after_help = "\
Example:
  gateway plugin run plugins/adf-lead --event event.json --connection connection.json")]
    Run(run::Run),
    /// Build, try and reload into a running gateway with each change; the API key is the partner's
    #[command(after_help = "\
Each build is published as a pre-release, such as 1.2.0-dev.3, if its cases pass. A connection that follows
and runs a pre-release takes it over where it gets no more than the one before; --brand switches one connection to every
release. What does not build or pass is told, and the release before goes on. Use a gateway of your own.

Examples:
  gateway plugin dev plugins/adf-lead --signing-key acme-crm.key
  gateway plugin dev --signing-key acme-crm.key --brand northside-motors
  gateway plugin dev --signing-key acme-crm.key --once")]
    Dev(dev::Dev),
    /// Run a recorded call again, and say where another thing comes of it
    #[command(after_help = "\
FLOW is a row of the ledger of stage `call`. With a brand's key the call is replayed with its event, and with choices,
grant and settings of now; with a partner's key made-up values stand in place of the event's. The component is the one
that is given: a release's own is nowhere to be fetched, so it is said whether this is the one that ran. Nothing is sent
and nothing is kept.

It says what is compared and what is not. With a partner's key the hook and the outcome are compared with the call, whose
fuel and memory are shown beside the replay's and may differ, because values are made up; fields with their labels, what is
returned and requested, log, fuel and memory are compared with what the release that ran makes of the same made-up values.
What came of the call itself there, down to which fields came back, depends on its consumer and is not shown.

A case that --write makes with a brand's key holds a consumer's data: write it
outside of the project, so that it gets into no repository.

It exits 0 where the same comes of it, 1 where something differs, 2 where nothing could be compared.

Examples:
  gateway plugin replay 019af0c2d1e07a5d3f6b8c9d0e1f2a3b plugins/adf-lead
  gateway plugin replay 019af0c2d1e07a5d3f6b8c9d0e1f2a3b adf-lead.wasm --write ~/replayed/a-real-lead")]
    Replay(replay::Replay),
    /// Take requests as a partner's server would, and show them: for a first try
    #[command(after_help = "\
It listens on loopback, where a gateway's setting `endpoint-bindings` leads a partner's host.

Example:
  gateway plugin listen --port 9900")]
    Listen(listen::Listen),
    /// Show what your plugins wrote, calls that failed and what came near a limit; the key is the partner's
    #[command(after_help = "\
Example:
  gateway plugin logs adf-lead --brand northside-motors")]
    Logs(logs::Logs),
    /// Show how your plugins did over the last day, by brand; the key is the partner's
    #[command(after_help = "\
Example:
  gateway plugin status adf-lead")]
    Status(status::Status),
}

/// Whether a system package may be installed.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct ToolchainArgs {
    /// Install the compiler for WebAssembly where there is none: Debian's packages, as root
    #[arg(long, env = "GATEWAY_INSTALL_TOOLCHAIN", value_parser = clap::builder::FalseyValueParser::new())]
    pub(super) install_toolchain: bool,
}

impl Plugin {
    pub(super) async fn run(self) -> Result<(), CliError> {
        match self {
            Self::New(new) => new.run(),
            Self::Build(build) => build.run().await,
            Self::Check(check) => check.run(),
            Self::Doctor(doctor) => doctor.run().await,
            Self::Keygen(keygen) => keygen.run(),
            Self::Publish(publish) => publish.run().await,
            Self::Diff(diff) => diff.run().await,
            Self::Rollout(rollout) => rollout.run().await,
            Self::Rollback(rollback) => rollback.run().await,
            Self::Withdraw(withdraw) => withdraw.run().await,
            Self::Block(block) => block.run().await,
            Self::Test(test) => test.run().await,
            Self::Run(run) => run.run().await,
            Self::Dev(dev) => dev.run().await,
            Self::Replay(replay) => replay.run().await,
            Self::Listen(listen) => listen.run().await,
            Self::Logs(logs) => logs.run().await,
            Self::Status(status) => status.run().await,
        }
    }
}

/// What keeps the plugin in `dir` from being built, where its language's programs are missing.
pub(super) fn missing_tool(dir: &Path) -> Option<builder::ToolError> {
    builder::missing_tool(builder::language_of(dir).ok()?, dir)
}

/// Builds one plugin, telling each step to `progress`.
pub(super) async fn build(options: BuildOptions, progress: &Progress) -> Result<BuiltPlugin, CliError> {
    let progress = progress.clone();
    tokio::task::spawn_blocking(move || builder::build(&options, &mut |line| progress.say(line)))
        .await
        .map_err(CliError::start("the build"))?
        .map_err(|error| CliError::FellShort(with_reference(&error)))
}

/// With the reference of its code, if that is not among the problems that it lists.
fn with_reference(error: &BuildError) -> String {
    let text = with_causes(error);
    match error.code() {
        Some(code) => format!("{text} [{code}]\n  {}#{code}", manifest::ERRORS_PAGE),
        None => text,
    }
}

fn word(answer: &Value, pointer: &str) -> String {
    match answer.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => "-".to_owned(),
    }
}

/// A connection as the API shows it.
pub(super) fn connection_view(answer: &Value, format: FormatArgs) -> Result<(), CliError> {
    if format.json() {
        return output::json(answer);
    }
    let mut table = Table::new(&["brand", "plugin", "version", "state", "rollout", "percent"]);
    let cells = ["/brand", "/plugin", "/version", "/state", "/rollout/version", "/rollout/percent"];
    table.row(cells.map(|pointer| word(answer, pointer)));
    output::line(&table.render())
}

/// A release as the API shows it.
pub(super) fn release_view(answer: &Value, format: FormatArgs) -> Result<(), CliError> {
    if format.json() {
        return output::json(answer);
    }
    let mut table = Table::new(&["plugin", "version", "partner", "status", "reason"]);
    let cells = ["/plugin", "/version", "/partner", "/status", "/reason"];
    table.row(cells.map(|pointer| word(answer, pointer)));
    output::line(&table.render())
}

fn with_causes(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) if !error.to_string().contains(&cause.to_string()) => format!("{error}: {cause}"),
        _ => error.to_string(),
    }
}

/// A component's bytes; a file that is larger than any component may be is not read.
pub(super) fn read_component(path: &Path) -> Result<Vec<u8>, CliError> {
    let bytes = std::fs::metadata(path).map_err(CliError::file("reading", path))?.len();
    let limit = manifest::MAX_COMPONENT_BYTES as u64;
    if bytes > limit {
        return Err(CliError::FellShort(format!(
            "{} has {bytes} bytes, and a component has at most {limit}",
            path.display()
        )));
    }
    std::fs::read(path).map_err(CliError::file("reading", path))
}
