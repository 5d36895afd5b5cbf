//! Given a demo that stays; when the commands that it prints are typed as they stand there; then each does what the
//! text above it says, and SIGTERM ends the demo and deletes its data.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use gateway_tests::child;
use serde_json::{Value, json};

use crate::tutorials::have;

/// The text's last line.
const LAST: &str = "ctrl-c ends the demo and deletes its data.";

struct Demo {
    child: Child,
    dir: tempfile::TempDir,
    /// Kept open, as a terminal is.
    _stdout: BufReader<ChildStdout>,
    /// All that it printed until it waits.
    text: String,
}

impl Demo {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("tmp")).unwrap();
        let said = File::create(dir.path().join("stderr")).unwrap();
        let mut command = child::command(dir.path());
        command.arg("demo").env("TMPDIR", dir.path().join("tmp")).stdout(Stdio::piped()).stderr(said);
        let mut child = command.spawn().expect("the gateway's binary runs");
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut text = String::new();
        while !text.trim_end().ends_with(LAST) {
            let read = stdout.read_line(&mut text).expect("standard output can be read");
            let said = || std::fs::read_to_string(dir.path().join("stderr")).unwrap_or_default();
            assert!(read > 0, "the demo ended: {text}\n{}", said());
        }
        Self { child, dir, _stdout: stdout, text }
    }

    /// The blocks of the text that are commands.
    fn commands(&self) -> Vec<&str> {
        self.text.split("\n\n").filter(|block| block.starts_with("curl ")).collect()
    }

    /// Types a command: the status of the answer, and the answer.
    fn types(&self, command: &str) -> (u16, Value) {
        // What curl does not print by itself is asked for where it keeps a user's settings.
        std::fs::write(self.dir.path().join(".curlrc"), "write-out = \"\\n%{http_code}\"\n").unwrap();
        let output = Command::new("sh")
            .args(["-c", command])
            .env("CURL_HOME", self.dir.path())
            .env("no_proxy", "127.0.0.1")
            .stdin(Stdio::null())
            .output()
            .expect("sh runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{command}\n{text}{}", String::from_utf8_lossy(&output.stderr));
        let (body, status) = text.rsplit_once('\n').expect("a status");
        let answer = if body.is_empty() { Ok(Value::Null) } else { serde_json::from_str(body) };
        (status.parse().expect("a status"), answer.unwrap_or_else(|_| panic!("no JSON: {body}")))
    }

    /// SIGTERM, and waits for the end.
    fn terminate(&mut self) -> ExitStatus {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
        self.child.wait().expect("it ends")
    }

    fn temporary(&self) -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(self.dir.path().join("tmp")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_three_commands_work_as_printed_and_sigterm_ends_it_well() {
    if !have("curl") {
        return;
    }
    let mut demo = Demo::start();
    let commands = demo.commands();
    let [ask, turn_off, see] = commands[..] else { panic!("not three commands: {}", demo.text) };

    let (status, asked) = demo.types(ask);
    assert_eq!((status, &asked["plugin"]), (200, &json!("chat-button")), "{asked}");
    assert!(asked["decision"].is_object(), "{asked}");

    let (status, answer) = demo.types(turn_off);
    assert!((200..300).contains(&status), "{status}: {answer}");
    let (status, asked) = demo.types(ask);
    assert_eq!((status, &asked["decision"]), (200, &Value::Null), "{asked}");
    assert!(asked["reason"].is_string(), "{asked}");

    let (status, flows) = demo.types(see);
    let rows = flows["items"].as_array().unwrap_or_else(|| panic!("{status}: {flows}"));
    assert_eq!((status, rows.len()), (200, 5), "{flows}");
    for row in rows {
        assert_eq!(row["brand"], "northside-motors");
        assert!(row["partner"].is_string(), "with whom: {row}");
        assert!(
            row["fields"].as_array().is_some_and(|all| all.iter().all(|it| it["reason"].is_string())),
            "why: {row}"
        );
    }

    assert_eq!(demo.temporary().len(), 1, "its data, while it runs");
    assert_eq!(demo.terminate().code(), Some(0));
    assert_eq!(demo.temporary(), [] as [&Path; 0]);
}
