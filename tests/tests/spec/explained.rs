//! `gateway policy explain`: by the policies that the configuration puts in force, in the policy's own words.

use gateway::boundary::PolicyBook;
use gateway_policy::{Clause, Wording, Words};
use gateway_tests::{Options, TestGateway, child, events, paths, world};
use serde_json::{Value, json};

use crate::versions::loose;

const TRANSCRIPT: &str = "/transcript/*/text";
const WORDING: &str = "gateway/policies/wording/platform-2017-03-01.toml";

/// A directory with a configuration whose policies are these, by file name.
pub fn configured(policies: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("policies")).unwrap();
    for (name, text) in policies {
        std::fs::write(dir.path().join("policies").join(name), text).unwrap();
    }
    let policies = dir.path().join("policies");
    std::fs::write(dir.path().join("own.toml"), format!("policies-dir = {policies:?}\n")).unwrap();
    dir
}

/// What `gateway policy explain` says.
pub async fn explain(dir: &tempfile::TempDir, arguments: &[&str], environment: &[(&str, &str)]) -> Value {
    let mut command = tokio::process::Command::from(child::command(dir.path()));
    command.args(["policy", "explain", "--format", "json"]).args(arguments).envs(environment.iter().copied());
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_case_is_explained_by_the_policy_that_the_configuration_puts_in_force() {
    const CASE: [&str; 10] = [
        "--flow",
        "share",
        "--recipient",
        "third-party",
        "--purpose",
        "essential.service.operations.support",
        "--category",
        "user.content.private.transcript",
        "--fact",
        "engaged",
    ];
    let later = PolicyBook::SHIPPED.replace("2017-03-01", "9000-01-01");
    let dir = configured(&[("a.toml", loose().as_str()), ("b.toml", later.as_str())]);
    let own = dir.path().join("own.toml").display().to_string();
    let later = dir.path().join("policies/b.toml").display().to_string();
    let (allowed, withheld) = ("clause:integrations.share", "clause:share.content");
    for (why, arguments, environment, reason, effective) in [
        ("the shipped one without a configuration", vec![], vec![], withheld, "2017-03-01"),
        ("a reading of the operator's", vec!["--config", own.as_str()], vec![], allowed, "2017-03-01"),
        ("the same by the environment", vec![], vec![("GATEWAY_CONFIG", &*own)], allowed, "2017-03-01"),
        (
            "a named file, whatever its day",
            vec!["--config", own.as_str(), "--policy", later.as_str()],
            vec![],
            withheld,
            "9000-01-01",
        ),
    ] {
        let told = explain(&dir, &[&CASE[..], &arguments[..]].concat(), &environment).await;
        assert_eq!(
            (&told["reason"], &told["policy"]["effective"]),
            (&json!(reason), &json!(effective)),
            "{why}"
        );
        let clause = Clause::parse(reason.strip_prefix("clause:").unwrap()).unwrap();
        let wording = Wording::parse(&std::fs::read_to_string(paths::root().join(WORDING)).unwrap()).unwrap();
        let Some(Words::Quoted(text)) = wording.of(clause) else { panic!("{clause} is quoted") };
        assert_eq!((&told["text"], &told["decided_by"]["text"]), (&json!(text), &json!(text)), "{why}");
        let nearly = told["nearly"].as_array().unwrap();
        assert!(!nearly.is_empty(), "{why}: {told}");
        for rule in nearly {
            let clause = Clause::parse(rule["clause"].as_str().unwrap()).unwrap();
            let is_quoted = matches!(wording.of(clause), Some(Words::Quoted(_)));
            assert_eq!(rule["text"].is_string(), is_quoted, "{why}: {rule}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_is_explained_by_the_version_that_wrote_its_row() {
    let policies = Some(vec![loose()]);
    let gateway = TestGateway::demo_with(Options { policies, ..Options::default() }).await;
    let event = events::chat_ended(world::NORTHSIDE, "ada");
    gateway.source(world::NORTHSIDE).await.post_event(&event).await.expect(202);
    gateway.settled().await;
    let brand = gateway.brand(world::NORTHSIDE).await;
    let row = brand.flows("stage=call").await.remove(0);

    // In force now is a later one, which withholds again.
    let later = PolicyBook::SHIPPED.replace("2017-03-01", "2017-03-02");
    let dir = configured(&[("a.toml", loose().as_str()), ("b.toml", later.as_str())]);
    let own = dir.path().join("own.toml").display().to_string();
    let environment = [("GATEWAY_URL", &*gateway.url), ("GATEWAY_KEY", brand.key())];
    let flow = [row["id"].as_str().unwrap(), "--field", TRANSCRIPT];
    for (arguments, otherwise, effective) in
        [(&["--config", own.as_str()][..], 0, "2017-03-01"), (&[][..], 1, "2017-03-01")]
    {
        let told = explain(&dir, &[&flow[..], arguments].concat(), &environment).await;
        assert_eq!(told["fields"][0]["reason"], "clause:integrations.share", "{told}");
        assert_eq!(
            (&told["decided_otherwise"], &told["policy"]["effective"]),
            (&json!(otherwise), &json!(effective)),
            "{arguments:?}"
        );
    }
}

/// As one line.
fn plain(text: &str) -> String {
    text.replace('\u{2019}', "'").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn what_is_quoted_is_in_the_policy_word_for_word() {
    let Some(policy) = paths::shared("privacy-policy-2017-03-01.md") else { return };
    let policy = plain(&std::fs::read_to_string(policy).unwrap());
    let (before, _) = policy.split_once(" Privacy Policy **Privacy Policy**").expect("the heading");
    let owner = before.rsplit_once("# ").expect("whose it is").1;
    let policy = policy.replace(owner, "[the platform]");
    let wording = Wording::parse(&std::fs::read_to_string(paths::root().join(WORDING)).unwrap()).unwrap();
    for clause in Clause::all() {
        let Some(Words::Quoted(text)) = wording.of(clause) else { continue };
        for piece in text.split(" \u{2026} ") {
            assert!(policy.contains(&plain(piece)), "{clause}: {piece:?} is not in the policy");
        }
    }
}
