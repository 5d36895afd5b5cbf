//! Builds what the tests run, once for each process: the sample plugins and the gateway's binary.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};

use gateway::cli::plugin::builder::{BuildOptions, build};
use serde_json::Value;

use crate::paths::{root, scratch};

/// A built plugin.
#[derive(Clone, Debug)]
pub struct Component {
    /// The manifest's name.
    pub name: String,
    /// SHA-256 of its bytes in hexadecimal.
    pub digest: String,
    pub path: PathBuf,
    pub bytes: Arc<Vec<u8>>,
}

/// The sample plugins, and those that try what a plugin may not: one for most of it, one that asks for statistics, one
/// that is written to.
#[derive(Debug)]
pub struct Components {
    pub adf_lead: Component,
    pub chat_button: Component,
    pub loyalty_offer: Component,
    pub transcript_quality: Component,
    pub page_metrics: Component,
    pub identity_sync: Component,
    pub hostile: Component,
    pub nosy: Component,
    pub pen_pal: Component,
}

/// Built from source, as `gateway plugin build` does it. The first time in a checkout takes minutes.
pub fn components() -> &'static Components {
    static BUILT: OnceLock<Components> = OnceLock::new();
    BUILT.get_or_init(|| Components {
        adf_lead: component("adf-lead"),
        chat_button: component("chat-button"),
        loyalty_offer: component("loyalty-offer"),
        transcript_quality: component("transcript-quality"),
        page_metrics: component("page-metrics"),
        identity_sync: component("identity-sync"),
        hostile: component("hostile"),
        nosy: component("nosy"),
        pen_pal: component("pen-pal"),
    })
}

fn component(name: &str) -> Component {
    built_at(&root().join("plugins").join(name))
}

/// Builds the plugin in a directory.
pub fn built_at(dir: &Path) -> Component {
    let options = BuildOptions {
        dir: dir.to_owned(),
        out: None,
        install_toolchain: std::env::var_os("GATEWAY_INSTALL_TOOLCHAIN").is_some_and(|value| value == "1"),
        version: None,
    };
    let built = build(&options, &mut |line| eprintln!("{line}")).unwrap_or_else(|error| panic!("{error}"));
    let bytes = Arc::new(std::fs::read(&built.path).expect("a built component can be read"));
    Component { name: built.name, digest: built.digest, path: built.path, bytes }
}

/// The gateway's binary, in the profile that the demo and the tests share. A copy, because a build during the
/// tests would replace the file while they run it.
pub fn gateway_binary() -> &'static PathBuf {
    binary("release", None)
}

/// For a benchmark, which begins with it: the gateway as it is deployed, optimised as what measures it is. Built
/// together with the benchmark, because what either asks of the crates that they share is then the same.
pub fn measured_binary(bench: &str) {
    binary("bench", Some(bench));
}

fn binary(profile: &str, beside: Option<&str>) -> &'static PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command
            // Of the whole workspace, so that features are those of `cargo run` and `cargo test`.
            .args(["build", "--profile", profile, "--bin", "gateway"])
            .args(beside.iter().flat_map(|bench| ["--bench", bench]))
            .args(["--message-format", "json-render-diagnostics"])
            .current_dir(root())
            .stdin(Stdio::null())
            .stderr(Stdio::inherit());
        clean(&mut command);
        let output = command.output().expect("cargo can be run");
        assert!(output.status.success(), "the gateway's binary does not build");
        let built = String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|message| message["target"]["name"] == "gateway")
            .find_map(|message| message["executable"].as_str().map(PathBuf::from))
            .expect("cargo names the binary that it built");
        let directory = scratch("bin");
        std::fs::create_dir_all(&directory).expect("a directory for the copy");
        // Checkouts that share a target directory have each their own, and profiles too.
        let mut checkout = DefaultHasher::new();
        root().hash(&mut checkout);
        profile.hash(&mut checkout);
        let copy = directory.join(format!("gateway-{:016x}", checkout.finish()));
        // Renamed into place: another run of the tests may be executing the one that is there.
        let beside = directory.join(format!("copying-{}", std::process::id()));
        std::fs::copy(&built, &beside).and_then(|_| std::fs::rename(&beside, &copy)).expect("a copy");
        copy
    })
}

/// Takes away what the cargo that runs this test has set for the package under test: build scripts would see
/// other values than in a build by hand, and compile again.
fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let of_this_package = name.to_str().is_some_and(|name| {
            ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"]
                .iter()
                .any(|prefix| name.starts_with(prefix))
        });
        if of_this_package || name == "LD_LIBRARY_PATH" {
            command.env_remove(&name);
        }
    }
}
