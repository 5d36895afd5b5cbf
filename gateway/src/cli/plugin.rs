//! `gateway plugin`: builds, checks and publishes plugins. Building and checking are local; publishing
//! goes through the API of a running gateway.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::CliError;
use super::client::{ClientArgs, WASM};
use super::output::{self, FormatArgs, Table};
use super::plugin_build::{self, BuildOptions, BuiltPlugin};
use super::progress::Progress;
use crate::catalogue::Catalogue;
use crate::manifest;

/// Plugins: build, check, publish
#[derive(Debug, clap::Subcommand)]
pub(super) enum Plugin {
    /// Build a Rust plugin to a component with its manifest inside
    #[command(after_help = "\
It needs a compiler for WebAssembly, and says how to get one where there is none.

Example:
  gateway plugin build plugins/adf-lead --out adf-lead.wasm")]
    Build(Build),
    /// Say everything that keeps a component, or a plugin's source, from being published
    #[command(after_help = "\
Example:
  gateway plugin check adf-lead.wasm")]
    Check(Check),
    /// Publish a release of a plugin; the key is the partner's
    #[command(after_help = "\
Example:
  gateway plugin publish adf-lead.wasm")]
    Publish(Publish),
}

#[derive(Debug, clap::Args)]
pub(super) struct Build {
    /// The plugin's directory, with `plugin.toml` and `Cargo.toml`
    dir: PathBuf,
    /// The file to write; left out: `components/NAME.wasm` in cargo's target directory
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    toolchain: ToolchainArgs,
    #[command(flatten)]
    format: FormatArgs,
}

/// Whether a system package may be installed.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct ToolchainArgs {
    /// Install the compiler for WebAssembly where there is none: Debian's packages, as root
    #[arg(long, env = "GATEWAY_INSTALL_TOOLCHAIN", value_parser = clap::builder::FalseyValueParser::new())]
    pub(super) install_toolchain: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// A component, or a plugin's directory
    path: PathBuf,
    /// A folder of event types beside the shipped ones
    #[arg(long)]
    catalogue_dir: Option<PathBuf>,
    #[command(flatten)]
    format: FormatArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct Publish {
    /// The component
    file: PathBuf,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    format: FormatArgs,
}

impl Plugin {
    pub(super) async fn run(self) -> Result<(), CliError> {
        match self {
            Self::Build(build) => build.run().await,
            Self::Check(check) => check.run(),
            Self::Publish(publish) => publish.run().await,
        }
    }
}

/// Builds one plugin, telling each step to `progress`.
pub(super) async fn build(options: BuildOptions, progress: &Progress) -> Result<BuiltPlugin, CliError> {
    let progress = progress.clone();
    tokio::task::spawn_blocking(move || plugin_build::build(&options, &mut |line| progress.say(line)))
        .await
        .map_err(CliError::start("the build"))?
        .map_err(|error| CliError::FellShort(with_causes(&error)))
}

fn with_causes(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) if !error.to_string().contains(&cause.to_string()) => format!("{error}: {cause}"),
        _ => error.to_string(),
    }
}

impl Build {
    async fn run(self) -> Result<(), CliError> {
        let options = BuildOptions {
            dir: self.dir,
            out: self.out,
            install_toolchain: self.toolchain.install_toolchain,
        };
        let progress = Progress::spinner("building");
        let built = build(options, &progress).await?;
        drop(progress);
        if self.format.json() {
            return output::json(&json!({
                "plugin": built.name,
                "version": built.version.to_string(),
                "file": built.path,
                "release": built.digest,
                "size": built.size,
            }));
        }
        let mut table = Table::new(&["plugin", "version", "bytes", "release", "file"]);
        let file = built.path.display().to_string();
        table.row([built.name, built.version.to_string(), built.size.to_string(), built.digest, file]);
        output::line(&table.render())
    }
}

impl Check {
    fn run(self) -> Result<(), CliError> {
        let catalogue = match &self.catalogue_dir {
            Some(dir) => Catalogue::load(dir),
            None => Catalogue::embedded(),
        }
        .map_err(CliError::start("the catalogue"))?;
        let problems = problems(&self.path, &catalogue)?;
        let path = self.path.display();
        if self.format.json() {
            output::json(&json!({ "path": path.to_string(), "problems": problems }))?;
        } else if problems.is_empty() {
            output::line(&format!("{path}: nothing is wrong with it"))?;
        } else {
            let listed: Vec<String> = problems.iter().map(|problem| format!("- {problem}")).collect();
            let count = problems.len();
            let things = if count == 1 { "problem" } else { "problems" };
            output::line(&format!("{path}: {count} {things}\n{}", listed.join("\n")))?;
        }
        if problems.is_empty() { Ok(()) } else { Err(CliError::Told) }
    }
}

/// Everything wrong with a component's file, or with the manifest in a directory.
fn problems(path: &Path, catalogue: &Catalogue) -> Result<Vec<manifest::Problem>, CliError> {
    if path.is_dir() {
        return Ok(match manifest::load_dir(path) {
            Ok(found) => manifest::check(&found, catalogue),
            Err(errors) => errors.0,
        });
    }
    let component = read_component(path)?;
    Ok(manifest::review(&component, catalogue).err().unwrap_or_default())
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

impl Publish {
    async fn run(self) -> Result<(), CliError> {
        let component = read_component(&self.file)?;
        let client = self.client.connect()?;
        let progress = Progress::spinner("publishing; the gateway checks and compiles it");
        let answer = client.post("/v1/plugins", WASM, component).await;
        drop(progress);
        let answer = answer?;
        if self.format.json() {
            return output::json(&answer);
        }
        let text = |key: &str| answer.get(key).and_then(Value::as_str).unwrap_or("-").to_owned();
        let mut table = Table::new(&["plugin", "version", "partner", "release"]);
        table.row([text("plugin"), text("version"), text("partner"), text("release")]);
        output::line(&table.render())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_finds_everything_at_once_in_a_file_and_in_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let catalogue = Catalogue::embedded().unwrap();
        let manifest = r#"
            [plugin]
            name = "Bad Name"
            version = "1.0.0"
            partner = "p"
            api = "0.1"
            summary = "s"
            privacy-policy = "http://p.example/privacy"
            purpose = "no.such.purpose"
        "#;
        std::fs::write(dir.path().join("plugin.toml"), manifest).unwrap();
        assert!(problems(dir.path(), &catalogue).unwrap().len() >= 3);

        let file = dir.path().join("plugin.wasm");
        std::fs::write(&file, b"no component").unwrap();
        assert!(!problems(&file, &catalogue).unwrap().is_empty());
        assert!(matches!(problems(&dir.path().join("none.wasm"), &catalogue), Err(CliError::File { .. })));
    }
}
