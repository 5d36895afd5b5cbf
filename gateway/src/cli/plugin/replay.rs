//! `gateway plugin replay`: a recorded call, run again through the boundary and the sandbox of production, and where
//! something else comes of it.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::rehearse::{RehearseArgs, expectation, listed, value, written};
use crate::cli::CliError;
use crate::cli::client::{ClientArgs, otherwise, read, segment};
use crate::cli::output::{self, FormatArgs};
use crate::pipeline::{Comparison, MAY_DIFFER, RecordedInput, RecordingView};
use crate::store::crypto::format_digest;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Replay {
    /// The call's row in the ledger
    flow: String,
    #[command(flatten)]
    rehearse: RehearseArgs,
    /// A new folder for the call as a case, with what came of the replay as what it expects
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    format: FormatArgs,
}

/// A call and its replay.
struct Replayed {
    recording: RecordingView,
    /// Name, version and digest of the component that was called.
    component: (String, String, String),
    called: Value,
    comparison: Comparison,
}

impl Replay {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let replayed = self.compare().await.map_err(|error| CliError::NotCompared(Box::new(error)))?;
        if self.format.json() {
            output::json(&replayed.document())?;
        } else {
            output::line(&replayed.render())?;
        }
        if let Some(dir) = self.write.as_ref().filter(|_| !replayed.recording.redacted) {
            // Not on standard output, which may be JSON.
            eprintln!("warning: {} holds a consumer's data; keep it out of every repository", dir.display());
        }
        if replayed.comparison.differences.is_empty() { Ok(()) } else { Err(CliError::Told) }
    }

    async fn compare(&self) -> Result<Replayed, CliError> {
        if let Some(dir) = self.write.as_deref() {
            beside(dir)?;
            if dir.symlink_metadata().is_ok() {
                return Err(CliError::Usage(format!(
                    "{} is there already; name a new folder",
                    dir.display()
                )));
            }
        }
        let path = format!("/v1/flows/{}/recording", segment(&self.flow));
        let recording: RecordingView = read(self.client.connect()?.get(&path, &[]).await?)?;
        let mut case = recording.case().map_err(|_| otherwise())?;
        let (rehearsal, plugin) = self.rehearse.prepare().await?;
        let (name, version) = plugin.named();
        if name != recording.release.plugin {
            return Err(CliError::Usage(format!(
                "the call is one of {}, and the component is {name}; give that plugin's directory or component",
                recording.release.plugin
            )));
        }
        plugin.keep_declared(&mut case.connection);
        let connection = value(&case.connection)?;
        let component = (name.to_owned(), version, format_digest(&plugin.digest()));
        let called = rehearsal.run(&plugin, case, "").await.map_err(|problems| {
            CliError::FellShort(format!("the call cannot be made:\n{}", listed(&problems)))
        })?;
        let called = value(&called)?;
        if let Some(dir) = &self.write {
            write_case(dir, &recording, &connection, &called)?;
        }
        let comparison = recording.compare(&called);
        Ok(Replayed { recording, component, called, comparison })
    }
}

impl Replayed {
    fn is_same_component(&self) -> bool {
        self.component.2 == self.recording.release.sha256
    }

    fn cost(&self, name: &str) -> u64 {
        self.called.get(name).and_then(Value::as_u64).unwrap_or(0)
    }

    fn document(&self) -> Value {
        let Self { recording, component, called, comparison } = self;
        json!({
            "flow": recording.flow,
            "redacted": recording.redacted,
            "release": recording.release,
            "replayed": { "plugin": component.0, "version": component.1, "sha256": component.2 },
            "same_component": self.is_same_component(),
            "input": recording.input,
            "not_repeated": recording.not_repeated,
            "compared": comparison.compared,
            "compared_made_up": comparison.compared_made_up,
            "not_compared": comparison.not_compared,
            "differences": comparison.differences,
            "fuel": { "recorded": recording.fuel, "replayed": self.cost("fuel") },
            "memory": { "recorded": recording.memory, "replayed": self.cost("memory-bytes") },
            "recorded": recording.recorded,
            "made_up": recording.made_up,
            "outcome": called,
        })
    }

    fn render(&self) -> String {
        let Self { recording, component, comparison, .. } = self;
        let Comparison { compared, compared_made_up, not_compared, differences } = comparison;
        let release = &recording.release;
        let mut lines = vec![format!(
            "{} of {} {}, replayed with {}",
            recording.hook,
            release.plugin,
            release.version,
            if self.is_same_component() {
                "the component that ran".to_owned()
            } else {
                format!("another component: {} {}", component.1, component.2)
            },
        )];
        lines.push(if recording.redacted {
            "with made-up values for what the plugin declares and the brand grants now".to_owned()
        } else {
            "with choices, grant, settings and contracts of now".to_owned()
        });
        lines.extend(recording.input.map(|input| {
            match input {
                RecordedInput::Same => "input: fields and settings are the same as then".to_owned(),
                RecordedInput::Changed => {
                    "input: changed since, or not known to be the same: choices, the grant, settings, contracts, the \
                     policy, what was received, or what the partner already had"
                        .to_owned()
                }
            }
        }));
        if !recording.not_repeated.is_empty() {
            let names: Vec<&str> = recording.not_repeated.iter().map(|of| of.as_str()).collect();
            lines.push(format!("not repeated, where the call used it: {}", names.join(", ")));
        }
        lines.push(format!(
            "fuel {} then, {} now; memory {} bytes then, {} now{}",
            recording.fuel,
            self.cost("fuel"),
            recording.memory,
            self.cost("memory-bytes"),
            if recording.redacted { format!(" ({MAY_DIFFER})") } else { String::new() },
        ));
        if recording.redacted {
            lines.push(format!(
                "compared with the call: {}; all else of it depends on values",
                compared.join(", ")
            ));
            lines.push(if compared_made_up.is_empty() {
                "the release that ran is blocked, or did not run in time: what it makes of these values is not known"
                    .to_owned()
            } else {
                format!(
                    "compared with what the release that ran makes of these values: {}",
                    compared_made_up.join(", ")
                )
            });
        }
        if !not_compared.is_empty() {
            lines.push(format!("not compared: {}", not_compared.join(", ")));
        }
        let compared = [&**compared, &**compared_made_up].concat().join(", ");
        lines.push(match differences.len() {
            0 => format!("no difference in {compared}"),
            1 => format!("1 difference in {compared}:"),
            many => format!("{many} differences in {compared}:"),
        });
        lines.extend(differences.iter().map(|difference| format!("  {difference}")));
        lines.join("\n")
    }
}

/// Where the folder of a case is filled before it gets its name.
fn beside(dir: &Path) -> Result<PathBuf, CliError> {
    let name = dir.file_name().ok_or_else(|| {
        CliError::Usage(format!("{} names no folder; end --write with a new folder's name", dir.display()))
    })?;
    Ok(dir.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id())))
}

/// Writes the folder of a case: all of it or nothing, never over another, and for its owner alone, because a brand's
/// recording is a consumer's data.
fn write_case(
    dir: &Path,
    recording: &RecordingView,
    connection: &Value,
    called: &Value,
) -> Result<(), CliError> {
    let expected = expectation(called);
    let files = [
        ("event.json", Some(&recording.event)),
        ("connection.json", Some(connection)),
        ("choices.json", Some(&recording.choices)),
        ("replies.json", recording.replies.as_ref()),
        ("expected.json", Some(&expected)),
    ];
    let beside = beside(dir)?;
    let parents = beside.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parents).map_err(CliError::file("making the folder", parents))?;
    DirBuilder::new().mode(0o700).create(&beside).map_err(CliError::file("making the folder", &beside))?;
    let filled = || {
        for (name, document) in files {
            let Some(document) = document else { continue };
            let (path, text) = (beside.join(name), written(document)?);
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
            file.and_then(|mut file| file.write_all(text.as_bytes()))
                .map_err(CliError::file("writing", &path))?;
        }
        std::fs::rename(&beside, dir).map_err(CliError::file("writing", dir))
    };
    filled().inspect_err(|_| {
        // What is left of it is of no use to anyone.
        let _ = std::fs::remove_dir_all(&beside);
    })
}
