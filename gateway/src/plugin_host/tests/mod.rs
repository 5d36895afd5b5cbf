//! What the sandbox's tests share: a sandbox of their own, an input, a compiling process.

mod aggregates;
mod calling;
mod loading;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::boundary::PluginInput;

use super::guests::{self, Guest};
use super::*;

const FIELDS: &str = r#"{"contact":{"name":{"first":"Jane"}}}"#;

fn input() -> PluginInput {
    PluginInput {
        id: "9f2c".to_owned(),
        kind: "chat.ended".to_owned(),
        time: "2017-03-01T12:00:00Z".to_owned(),
        consumer: Some("p-1".to_owned()),
        fields: FIELDS.to_owned(),
        sealed: vec!["/contact/email".to_owned()],
        settings: "{}".to_owned(),
        memory: None,
        aggregates: None,
    }
}

struct Sandbox {
    host: PluginHost,
    cache: tempfile::TempDir,
}

impl Sandbox {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut HostConfig)) -> Self {
        let cache = tempfile::tempdir().unwrap();
        let mut config = HostConfig::new(cache.path().join("code"));
        config.compiler = Compiler::InProcess;
        config.max_concurrent_calls = 2;
        change(&mut config);
        Self { host: PluginHost::new(config).unwrap(), cache }
    }

    async fn load(&self, guest: &Guest) -> LoadedRelease {
        self.host.load(guest.digest, &guest.component).await.unwrap()
    }

    async fn refusal(&self, guest: &Guest) -> HostError {
        self.host.load(guest.digest, &guest.component).await.unwrap_err()
    }

    async fn call(&self, guest: &Guest) -> Call<crate::boundary::PluginOutcome> {
        self.call_within(guest, Budget::default()).await
    }

    async fn call_within(&self, guest: &Guest, budget: Budget) -> Call<crate::boundary::PluginOutcome> {
        let release = self.load(guest).await;
        self.host.share_released(&release, input(), budget, None).await
    }

    /// The promise after every hostile call.
    async fn still_works(&self) {
        let call = self.call(&guests::echo()).await;
        assert_eq!(call.result.unwrap().returns, FIELDS);
    }

    fn artifact(&self) -> std::path::PathBuf {
        let version = std::fs::read_dir(self.cache.path().join("code")).unwrap().next().unwrap().unwrap();
        let mut files = std::fs::read_dir(version.path()).unwrap().map(|file| file.unwrap().path());
        files.find(|path| path.extension().is_some_and(|extension| extension == "cwasm")).unwrap()
    }
}

/// The compiling process of the tests: this test binary, started by a script that passes the
/// paths on and runs [`loading::compiling_process`] only.
fn compiler_of_tests(directory: &Path) -> std::path::PathBuf {
    let program = directory.join("compiler");
    let this = std::env::current_exe().unwrap();
    let script = format!(
        "#!/bin/sh\nIN=\"$2\" OUT=\"$3\" COMPILED=\"$4\" exec '{}' --ignored --exact plugin_host::tests::loading::compiling_process\n",
        this.display()
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    program
}
