//! A gateway as a process of its own, which can be killed, and whose logs are kept.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use gateway::pipeline::Role;
use serde_json::Value;

use crate::builds::gateway_binary;
use crate::client::{Client, Keyed, scoped};
use crate::gateway::DOMAINS;
use crate::paths::scratch;

/// A directory with a configuration, a store and a key: what outlives a process.
pub struct ChildConfig {
    pub dir: tempfile::TempDir,
    keys: Mutex<HashMap<(Role, Option<String>), String>>,
}

impl ChildConfig {
    /// Writes a configuration whose partners' hosts lead to `partner`. `more` is TOML put at its front.
    pub fn new(partner: SocketAddr, more: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let cache = scratch("compiled");
        std::fs::create_dir_all(cache.parent().expect("the cache has a parent")).expect("the cache's parent");
        let bindings: String =
            DOMAINS.iter().map(|domain| format!("\"{domain}\" = \"{partner}\"\n")).collect();
        let text = format!(
            "{more}\nlisten = \"127.0.0.1:0\"\ndatabase = {:?}\ncache-dir = {:?}\nlog-format = \"json\"\n\n[endpoint-bindings]\n{bindings}",
            dir.path().join("gateway.db"),
            cache,
        );
        std::fs::write(dir.path().join("gateway.toml"), text).expect("a configuration is written");
        Self { dir, keys: Mutex::default() }
    }

    pub fn file(&self) -> PathBuf {
        self.dir.path().join("gateway.toml")
    }

    pub fn database(&self) -> PathBuf {
        self.dir.path().join("gateway.db")
    }

    /// The secret of a key, made by `gateway keys create` at the first call for its role and scope.
    pub fn key(&self, role: Role, scope: Option<&str>) -> String {
        let mut keys = self.keys.lock().unwrap();
        let key = keys.entry((role, scope.map(str::to_owned)));
        key.or_insert_with(|| self.new_key(role, scope)).clone()
    }

    fn new_key(&self, role: Role, scope: Option<&str>) -> String {
        let mut arguments = vec!["--role", role.as_str()];
        match (role, scope) {
            (Role::Partner, Some(partner)) => arguments.extend(["--partner", partner]),
            (_, Some(brand)) => arguments.extend(["--brand", brand]),
            (_, None) => {}
        }
        let output = command(self.dir.path())
            .args(["keys", "create", "--format", "json", "--config"])
            .arg(self.file())
            .args(arguments)
            .output()
            .expect("the gateway's binary runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let made: Value = serde_json::from_slice(&output.stdout).expect("a key as JSON");
        made["key"].as_str().expect("the key's secret").to_owned()
    }

    /// Runs `gateway serve` until it says where it listens.
    pub fn serve(&self) -> ChildGateway {
        ChildGateway::start(self)
    }

    /// Runs `gateway serve` where it must not come to serve: what it says on standard error.
    ///
    /// # Panics
    /// It serves.
    pub fn serve_refused(&self) -> String {
        let mut serve = command(self.dir.path());
        serve.args(["serve", "--config"]).arg(self.file()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = serve.spawn().expect("the gateway's binary runs");
        let mut first = String::new();
        let stdout = child.stdout.as_mut().expect("standard output is piped");
        BufReader::new(stdout).read_line(&mut first).expect("standard output can be read");
        let _ = child.kill();
        let output = child.wait_with_output().expect("the process ends");
        assert_eq!(first, "", "it serves");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// The process together with the keys of its store.
    pub fn with<'a>(&'a self, gateway: &'a ChildGateway) -> ChildKeys<'a> {
        ChildKeys { config: self, gateway }
    }
}

/// A running process and the keys of its store.
pub struct ChildKeys<'a> {
    config: &'a ChildConfig,
    gateway: &'a ChildGateway,
}

impl Keyed for ChildKeys<'_> {
    async fn client(&self, role: Role, scope: Option<&str>) -> Client {
        scoped(self.gateway.client(&self.config.key(role, scope)), role, scope)
    }
}

/// The binary in a directory, with nothing of this process's environment that would configure it.
pub fn command(dir: &Path) -> Command {
    let mut command = Command::new(gateway_binary());
    command.current_dir(dir).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("GATEWAY_"))
            && name != "GATEWAY_INSTALL_TOOLCHAIN"
        {
            command.env_remove(name);
        }
    }
    command
}

/// The running process.
pub struct ChildGateway {
    child: Child,
    /// `http://ADDRESS`
    pub url: String,
    log: Arc<Mutex<String>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl ChildGateway {
    fn start(config: &ChildConfig) -> Self {
        let mut child = command(config.dir.path())
            .args(["serve", "--config"])
            .arg(config.file())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the gateway's binary runs");
        let log = Arc::new(Mutex::new(String::new()));
        let mut stderr = child.stderr.take().expect("standard error is piped");
        let kept = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            let mut chunk = [0; 8192];
            while let Ok(read @ 1..) = stderr.read(&mut chunk) {
                kept.lock().unwrap().push_str(&String::from_utf8_lossy(&chunk[..read]));
            }
        });
        let mut first = String::new();
        let stdout = child.stdout.take().expect("standard output is piped");
        BufReader::new(stdout).read_line(&mut first).expect("standard output can be read");
        let url = match first.trim().strip_prefix("listening on ") {
            Some(url) => url.to_owned(),
            None => panic!("the gateway does not start: {first}{}", log.lock().unwrap()),
        };
        Self { child, url, log, reader: Some(reader) }
    }

    /// A client with this key.
    pub fn client(&self, key: &str) -> Client {
        Client::new(&self.url, Some(key))
    }

    /// Memory that is resident now, in KiB.
    pub fn resident_kib(&self) -> u64 {
        self.status_kib("VmRSS:")
    }

    /// From now on the highest that is resident is counted anew.
    pub fn forget_highest_resident(&self) {
        // `proc_pid_clear_refs(5)`: 5 resets the peak of the resident set.
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").expect("the peak is reset");
    }

    /// The most memory that was resident at any time since then, in KiB.
    pub fn highest_resident_kib(&self) -> u64 {
        self.status_kib("VmHWM:")
    }

    fn status_kib(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("/proc");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line of this name");
        line.trim().trim_end_matches("kB").trim().parse().expect("a number of KiB")
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(mut self) -> String {
        self.child.kill().expect("the process can be killed");
        self.ended()
    }

    /// SIGTERM, and waits for the end. The log.
    pub fn terminate(mut self) -> String {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
        assert!(sent.success());
        self.ended()
    }

    fn ended(&mut self) -> String {
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the log's reader");
        }
        std::mem::take(&mut *self.log.lock().unwrap())
    }
}

impl Drop for ChildGateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
