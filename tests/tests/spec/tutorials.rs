//! The tutorials do what they say: each is run line by line, from a new project to the request that it ends with.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use gateway_tests::builds::gateway_binary;
use gateway_tests::paths::root;

/// What a tutorial says that its reader types, and what is shown of the answer.
struct Step {
    commands: String,
    shown: Vec<String>,
}

/// The blocks marked `sh`, each with the `text` that follows it.
fn steps(tutorial: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut block: Option<&str> = None;
    for line in tutorial.lines() {
        match (block, line.strip_prefix("```")) {
            (None, Some(language)) => {
                block = Some(language);
                if language == "sh" {
                    steps.push(Step { commands: String::new(), shown: Vec::new() });
                }
            }
            (Some(_), Some("")) => block = None,
            (Some("sh"), _) => steps.last_mut().unwrap().commands.push_str(&format!("{line}\n")),
            (Some("text"), _) => steps.last_mut().unwrap().shown.push(line.to_owned()),
            _ => {}
        }
    }
    steps
}

/// True where a program is there that not every machine has. In CI they all are.
pub(crate) fn have(program: &str) -> bool {
    let ran = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let there = ran.is_ok_and(|status| status.success());
    assert!(there || std::env::var_os("CI").is_none_or(|ci| ci != "true"), "`{program}` is missing");
    if !there {
        eprintln!("skipped: `{program}` is not installed");
    }
    there
}

/// A port that was free a moment ago.
fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

/// Runs the lines in one shell, as a reader would, and tells the steps' outputs apart by a mark.
fn run(steps: &[Step], dir: &Path, substitute: impl Fn(&str) -> String) -> Output {
    let mut script = "set -euo pipefail\ntrap 'kill $(jobs -p) 2> end.log || true' EXIT\n".to_owned();
    for (index, step) in steps.iter().enumerate() {
        script.push_str(&substitute(&step.commands));
        script.push_str(&format!("echo '=== {index}'\n"));
    }
    let bin = dir.join("bin");
    std::fs::create_dir(&bin).expect("a directory");
    std::os::unix::fs::symlink(gateway_binary(), bin.join("gateway")).expect("a link");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::iter::once(bin).chain(std::env::split_paths(&path));
    let mut command = Command::new("timeout");
    command.args(["-k", "5", "900", "bash", "-c", &script]).current_dir(dir).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let ours = name.starts_with("GATEWAY_") && name != "GATEWAY_INSTALL_TOOLCHAIN";
        if ours || name.starts_with("CARGO_") && name != "CARGO_HOME" {
            command.env_remove(&*name);
        }
    }
    command.env("PATH", std::env::join_paths(paths).expect("a path")).process_group(0);
    command.output().expect("bash runs")
}

async fn tutorial(language: &'static str) {
    let file = root().join(format!("plugin-sdk/docs/tutorial-{language}.md"));
    let text = std::fs::read_to_string(&file).expect("the tutorial");
    let steps = steps(&text);
    assert!(steps.len() >= 6, "{}", file.display());
    let (endpoint, api) = (free_port(), free_port().to_string());
    let output = tokio::task::spawn_blocking({
        move || {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let output = run(&steps, dir.path(), |commands| {
                let commands = commands.replace("--port 9900", &format!("--port {}", endpoint.port()));
                commands.replace("127.0.0.1:9900", &endpoint.to_string()).replace("127.0.0.1:8080", &api)
            });
            let log = std::fs::read_to_string(dir.path().join("first-lead/serve.log")).unwrap_or_default();
            let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
            let told = format!("{stdout}\n{}\n{log}", String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success(), "{told}");
            let mut rest = stdout.as_str();
            for (index, step) in steps.iter().enumerate() {
                let (said, after) = rest.split_once(&format!("=== {index}\n")).expect("every step ends");
                for shown in &step.shown {
                    assert!(said.contains(shown), "step {index} does not say `{shown}`:\n{said}");
                }
                rest = after;
            }
        }
    });
    output.await.expect("the tutorial runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tutorial_of_rust_ends_with_a_lead() {
    tutorial("rust").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tutorial_of_javascript_ends_with_a_lead() {
    if have("npm") {
        tutorial("javascript").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tutorial_of_python_ends_with_a_lead() {
    if have("python3") {
        tutorial("python").await;
    }
}
