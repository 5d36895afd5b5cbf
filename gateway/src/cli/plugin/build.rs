//! `gateway plugin build`: from a plugin's source to a component.

use std::path::PathBuf;

use serde_json::json;

use super::{BuildOptions, ToolchainArgs, build};
use crate::cli::CliError;
use crate::cli::output::{self, FormatArgs, Table};
use crate::cli::progress::Progress;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Build {
    /// The plugin's directory, with `plugin.toml` and `Cargo.toml`, `package.json` or `requirements.txt`
    dir: PathBuf,
    /// The file to write; left out: `components/NAME.wasm` in cargo's target directory, or `build/NAME.wasm`
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    toolchain: ToolchainArgs,
    #[command(flatten)]
    format: FormatArgs,
}

impl Build {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let options = BuildOptions {
            dir: self.dir,
            out: self.out,
            install_toolchain: self.toolchain.install_toolchain,
            version: None,
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
                "provenance": built.provenance,
            }));
        }
        let mut table = Table::new(&["plugin", "version", "bytes", "release", "file"]);
        let file = built.path.display().to_string();
        table.row([built.name, built.version.to_string(), built.size.to_string(), built.digest, file]);
        output::line(&table.render())
    }
}
