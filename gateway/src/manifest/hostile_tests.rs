//! Manifests that are wrong in every way that we could think of, and what a partner is told of each: one good plugin,
//! spoiled by one change or several. The messages are snapshots, so that a change of one is seen and read.

use std::fmt::Write;
use std::path::Path;

use super::tests::{GOOD, schema};
use super::*;
use crate::catalogue::Catalogue;

/// What is done to the good plugin.
enum Change {
    /// In `plugin.toml`, the first of one text for another.
    Text(&'static str, &'static str),
    /// The same in a schema's file.
    Schema(&'static str, &'static str, &'static str),
    /// A file's bytes, written whole.
    File(&'static str, Vec<u8>),
    /// A file is taken away.
    Without(&'static str),
    /// A file is a link to another.
    Link(&'static str, &'static str),
}

use Change::{File, Link, Schema, Text, Without};

const RECEIPT: &str = "schemas/receipt.json";
const SETTINGS: &str = "schemas/settings.json";
const COMBINE: &str = "[[combine]]\nof = [\"first-party:user.behavior\", \"partner:user.account\"]\ninto = \"leads\"\nwhy = \"offers\"\n[settings]";

/// Keys, types and words.
fn shape() -> Vec<(&'static str, Vec<Change>)> {
    vec![
        ("a key is mistyped", vec![Text("purpose =", "purpos =")]),
        ("a key is in snake case", vec![Text("privacy-policy =", "privacy_policy =")]),
        ("a key is unknown", vec![Text("purpose =", "wasi = true\npurpose =")]),
        ("a key is missing", vec![Text("partner = \"acme-crm\"\n", "")]),
        ("a key of a field is missing", vec![Text(", why = \"greeting\"", "")]),
        ("a key stands twice", vec![Text("name = \"adf-lead\"", "name = \"adf-lead\"\nname = \"other\"")]),
        ("a table stands twice", vec![Text("[settings]", "[plugin]\n[settings]")]),
        ("a table is mistyped", vec![Text("[settings]", "[setings]")]),
        ("a table where a list belongs", vec![Text("[[decide]]", "[decide]")]),
        ("the plugin's table is missing", vec![Text("[plugin]", "[about]")]),
        ("a number for a text", vec![Text("\"adf-lead\"", "7")]),
        ("a text for a number", vec![Text("deadline-ms = 50", "deadline-ms = \"50\"")]),
        ("a negative number", vec![Text("deadline-ms = 50", "deadline-ms = -1")]),
        ("a fraction", vec![Text("deadline-ms = 50", "deadline-ms = 0.5")]),
        ("a text for a flag", vec![Text("required = true", "required = \"yes\"")]),
        ("a text for a list", vec![Text("[\"x-note\"]", "\"x-note\"")]),
        ("a number in a list", vec![Text("[\"x-note\"]", "[\"x-note\", 3]")]),
        ("an access in capitals", vec![Text("\"sealed\"", "\"SEALED\"")]),
        ("an access that is none", vec![Text("\"sealed\"", "\"encrypted\"")]),
        ("a channel that is none", vec![Text("channel = \"web\"", "channel = \"fax\"")]),
        ("a version of two numbers", vec![Text("\"1.2.0\"", "\"1.2\"")]),
        ("a version with a letter before it", vec![Text("\"1.2.0\"", "\"v1.2.0\"")]),
        ("an auth of an unknown kind", vec![Text("{ bearer =", "{ token =")]),
        ("an auth that is mistyped", vec![Text("{ bearer =", "{ baerer =")]),
        (
            "an auth of two kinds",
            vec![Text("{ bearer = \"api-key\" }", "{ bearer = \"api-key\", hmac = \"api-key\" }")],
        ),
        ("an empty auth", vec![Text("{ bearer = \"api-key\" }", "{}")]),
    ]
}

/// What it says about itself, its hooks and their fields.
fn meaning() -> Vec<(&'static str, Vec<Change>)> {
    vec![
        ("a name in capitals", vec![Text("\"adf-lead\"", "\"ADF\"")]),
        ("a name that is a path", vec![Text("\"adf-lead\"", "\"../adf\"")]),
        ("an interface from the future", vec![Text("api = \"0.1\"", "api = \"7.0\"")]),
        (
            "a purpose that is mistyped",
            vec![Text("essential.service.operations.support", "essential.service.operation.support")],
        ),
        ("a policy without TLS", vec![Text("https://acme.example/privacy", "http://acme.example/privacy")]),
        ("a policy that is a script", vec![Text("https://acme.example/privacy", "javascript:alert(1)")]),
        ("a summary that turns its line around", vec![Text("Sends a finished", "Sends \u{202e}a finished")]),
        ("an event that is mistyped", vec![Text("\"chat.ended\"", "\"chat.endet\"")]),
        ("an event that is none", vec![Text("\"chat.ended\"", "\"orders.everything\"")]),
        ("a field that is mistyped", vec![Text("/contact/email", "/contact/emial")]),
        ("a field that holds others", vec![Text("/contact/email", "/contact")]),
        ("a field of one entry", vec![Text("/transcript/*/text", "/transcript/0/text")]),
        ("a field that is no pointer", vec![Text("/contact/email", "contact.email")]),
        ("a field received twice", vec![Text("/contact/email", "/contact/name/first")]),
        ("a field without a reason", vec![Text("\"greeting\"", "\" \"")]),
        (
            "sealed for a decision",
            vec![Text("access = \"read\", why = \"offers", "access = \"sealed\", why = \"offers")],
        ),
        ("a partner's field without `receive`", vec![Text("/contact/email", "/partner/tier")]),
        ("its own returned field", vec![Text("/contact/email", "/returned/adf-lead/lead")]),
        (
            "a hook that receives nothing",
            vec![Text("[{ field = \"/url\", access = \"read\", why = \"offers fit the page\" }]", "[]")],
        ),
        (
            "one event in two hooks",
            vec![Text(
                "[[endpoint]]",
                "[[share]]\nevent = \"chat.ended\"\nreceives = [{ field = \"/channel\", access = \"read\", why = \"x\" }]\n[[endpoint]]",
            )],
        ),
        (
            "one slot in two hooks",
            vec![Text(
                "[[endpoint]]",
                "[[decide]]\nslot = \"coupon-banner\"\nevent = \"page.viewed\"\nreceives = [{ field = \"/url\", access = \"read\", why = \"x\" }]\nreturns = \"schemas/banner.json\"\n[[endpoint]]",
            )],
        ),
        ("a deadline of nothing", vec![Text("deadline-ms = 50", "deadline-ms = 0")]),
        ("a deadline of minutes", vec![Text("deadline-ms = 50", "deadline-ms = 60000")]),
        (
            "a message that brings nothing",
            vec![Text("[[endpoint]]", "[[receive]]\nconsumer = \"/member/ref\"\n[[endpoint]]")],
        ),
        (
            "a message about many consumers",
            vec![Text(
                "[[endpoint]]",
                "[[receive]]\nconsumer = \"/members/*/ref\"\nreturns = \"schemas/receipt.json\"\n[[endpoint]]",
            )],
        ),
        (
            "a hook that is not served",
            vec![Text("[[endpoint]]", "[[rights]]\nkinds = [\"delete\"]\n[[endpoint]]")],
        ),
        (
            "a combination of one kind",
            vec![
                Text("[settings]", COMBINE),
                Text("\"partner:user.account\"", "\"first-party:user.account\""),
            ],
        ),
        (
            "a combination of an unknown origin",
            vec![Text("[settings]", COMBINE), Text("\"partner:user", "\"third-party:user")],
        ),
        (
            "a combination of an unknown category",
            vec![Text("[settings]", COMBINE), Text("user.behavior\"", "user.behaviour\"")],
        ),
        (
            "a combination into nothing",
            vec![Text("[settings]", COMBINE), Text("into = \"leads\"", "into = \"/led\"")],
        ),
    ]
}

/// Where requests go, and the schemas.
fn endpoints() -> Vec<(&'static str, Vec<Change>)> {
    vec![
        ("a method in small letters", vec![Text("\"POST\"", "\"post\"")]),
        ("a method that is none of ours", vec![Text("\"POST\"", "\"CONNECT\"")]),
        ("no TLS", vec![Text("https://{host}", "http://{host}")]),
        ("credentials in the address", vec![Text("https://{host}", "https://user:pass@{host}")]),
        ("a port", vec![Text("acme.example/v1", "acme.example:8443/v1")]),
        ("an address of numbers", vec![Text("https://{host}.acme.example", "https://10.0.0.1")]),
        ("an IPv6 address", vec![Text("https://{host}.acme.example", "https://[::1]")]),
        (
            "a slot that chooses the domain",
            vec![Text("https://{host}.acme.example", "https://{host}.example")],
        ),
        ("a slot that no setting fills", vec![Text("https://{host}", "https://{tenant}")]),
        ("a slot twice", vec![Text("{dealer}/leads", "{dealer}/{dealer}")]),
        ("a slot that is half a segment", vec![Text("{dealer}/leads", "d-{dealer}/leads")]),
        ("a query", vec![Text("{dealer}/leads", "{dealer}/leads?key=1")]),
        ("a header of the gateway's", vec![Text("x-note", "Content-Length")]),
        ("a header that is no name", vec![Text("x-note", "x note")]),
        ("a header twice", vec![Text("[\"x-note\"]", "[\"x-note\", \"X-Note\"]")]),
        ("a media type of parts", vec![Text("application/xml", "multipart/form-data")]),
        ("a reply of an unknown category", vec![Text("channel = \"web\"", "reply = \"user.acount\"")]),
        (
            "an endpoint twice",
            vec![Text(
                "[settings]",
                "[[endpoint]]\nname = \"leads\"\nmethod = \"GET\"\nurl = \"https://a.acme.example/\"\n[settings]",
            )],
        ),
        ("a secret that is mistyped", vec![Text("{ bearer = \"api-key\" }", "{ bearer = \"api-kye\" }")]),
        ("a secret that nothing uses", vec![Text("[\"api-key\"]", "[\"api-key\", \"other-key\"]")]),
        ("a secret twice", vec![Text("[\"api-key\"]", "[\"api-key\", \"api-key\"]")]),
        ("a secret that is a setting", vec![Schema(SETTINGS, "\"limit\"", "\"api-key\"")]),
        (
            "a token from without TLS",
            vec![Text(
                "{ bearer = \"api-key\" }",
                "{ oauth2-client-credentials = { token-url = \"http://acme.example/t\", client-id = \"api-key\", client-secret = \"api-key\" } }",
            )],
        ),
        (
            "a sealed field and no endpoint",
            vec![Text(
                "[[endpoint]]\nname = \"leads\"\nmethod = \"POST\"\nurl = \"https://{host}.acme.example/v1/dealers/{dealer}/leads\"\nmedia-type = \"application/xml\"\nauth = { bearer = \"api-key\" }\nchannel = \"web\"\nheaders = [\"x-note\"]\n",
                "",
            )],
        ),
    ]
}

fn schemas() -> Vec<(&'static str, Vec<Change>)> {
    let deep = (0..20).fold(r#"{"type": "string", "x-category": "user"}"#.to_owned(), |inner, _| {
        format!(r#"{{"type": "object", "additionalProperties": false, "properties": {{"a": {inner}}}}}"#)
    });
    vec![
        ("a reference", vec![Schema(RECEIPT, "\"pattern\"", "\"$ref\"")]),
        ("a pattern that goes back", vec![Schema(RECEIPT, "^[a-z]+$", "(a+)+\\\\1")]),
        (
            "a field without a category",
            vec![Schema(RECEIPT, ",\n      \"x-category\": \"user.contact\"", "")],
        ),
        ("a category that is mistyped", vec![Schema(RECEIPT, "user.contact", "user.contcat")]),
        ("a keyword that is mistyped", vec![Schema(RECEIPT, "maxLength", "maxlength")]),
        (
            "an open object",
            vec![Schema(RECEIPT, "\"additionalProperties\": false", "\"additionalProperties\": true")],
        ),
        ("an unknown type", vec![Schema(RECEIPT, "\"string\"", "\"text\"")]),
        ("a requirement of nothing", vec![Schema(RECEIPT, "\"lead\"\n", "\"led\"\n")]),
        (
            "a key of a schema twice",
            vec![Schema(RECEIPT, "\"maxLength\": 20", "\"maxLength\": 20, \"maxLength\": 2000")],
        ),
        ("a schema that is too deep", vec![File(RECEIPT, deep.into_bytes())]),
        ("a schema that is no object", vec![File(RECEIPT, b"[]".to_vec())]),
        (
            "a schema that is cut off",
            vec![File(RECEIPT, b"{ \"type\": \"object\",\n  \"properties\": {".to_vec())],
        ),
        ("a schema of nested brackets", vec![File(RECEIPT, "[".repeat(60_000).into_bytes())]),
        ("a schema that is too large", vec![File(RECEIPT, " ".repeat(70_000).into_bytes())]),
        ("a schema in Latin-1", vec![File(RECEIPT, b"{ \"type\": \"obj\xe9t\" }".to_vec())]),
        ("a schema that is missing", vec![Without(RECEIPT)]),
        ("a schema above the directory", vec![Text(RECEIPT, "../receipt.json")]),
        ("a schema of the system's", vec![Text(RECEIPT, "/etc/passwd")]),
        (
            "a schema by a link that leads out",
            vec![Link("schemas/link.json", "/etc/passwd"), Text(RECEIPT, "schemas/link.json")],
        ),
        ("a schema that is a directory", vec![Text(RECEIPT, "schemas")]),
        (
            "settings that are faulty, with a slot of theirs",
            vec![Schema(SETTINGS, "\"type\": \"integer\"", "\"type\": \"int\"")],
        ),
    ]
}

fn files() -> Vec<(&'static str, Vec<Change>)> {
    let replaced = |from: &str, to: &str| GOOD.replace(from, to).into_bytes();
    vec![
        ("CRLF is read", vec![File("plugin.toml", replaced("\n", "\r\n"))]),
        ("a byte order mark is read", vec![File("plugin.toml", format!("\u{feff}{GOOD}").into_bytes())]),
        (
            "a mistake after CRLF",
            vec![File("plugin.toml", replaced("\n", "\r\n")), Text("/contact/email", "/contact/emial")],
        ),
        ("no end of a text", vec![Text("event = \"chat.ended\"", "event = \"chat.ended")]),
        ("no value", vec![Text("event = \"chat.ended\"", "event =")]),
        ("a NUL", vec![Text("adf-lead", "adf\u{0}lead")]),
        (
            "no UTF-8",
            vec![File("plugin.toml", b"[plugin]\nname = \"adf\"\nsummary = \"caf\xe9\"\n".to_vec())],
        ),
        ("an empty file", vec![File("plugin.toml", Vec::new())]),
        ("nested brackets", vec![File("plugin.toml", format!("a = {}", "[".repeat(50_000)).into_bytes())]),
        ("a huge file", vec![File("plugin.toml", "# \n".repeat(100_000).into_bytes())]),
        ("JSON", vec![File("plugin.toml", b"{ \"plugin\": { \"name\": \"adf-lead\" } }".to_vec())]),
        ("no manifest", vec![Without("plugin.toml")]),
        ("a manifest by another name", vec![Without("plugin.toml"), File("plugin.tml", GOOD.into())]),
        (
            "the package of a language and no manifest",
            vec![Without("plugin.toml"), File("package.json", b"{}".to_vec())],
        ),
        ("a key that moves the cursor", vec![Text("purpose =", "\"\u{9b}2J\\u001b[2J\" = 1\npurpose =")]),
        (
            "many mistakes at once",
            vec![
                Text("\"adf-lead\"", "\"ADF\""),
                Text("\"1.2.0\"", "\"1\""),
                Text("privacy-policy =", "privacy ="),
                Text("\"chat.ended\"", "\"chat.endet\""),
                Text("\"sealed\"", "\"seal\""),
                Text("required = true", "required = 1"),
                Text("slot =", "Slot ="),
                Text("https://{host}", "http://{host}"),
                Text("\"x-note\"", "\"cookie\""),
                Schema(RECEIPT, "user.contact", "user.contcat"),
                Schema(SETTINGS, "\"integer\"", "\"int\""),
                Text("[\"api-key\"]", "[7]"),
            ],
        ),
    ]
}

/// The good plugin in a directory, with the changes.
fn made(dir: &Path, changes: &[Change]) {
    let replace = |file: &str, from: &str, to: &str| {
        let text = std::fs::read_to_string(dir.join(file)).expect("a file of the plugin's");
        assert!(text.contains(from), "{file} does not hold {from:?}: {text}");
        std::fs::write(dir.join(file), text.replacen(from, to, 1)).expect("written");
    };
    std::fs::create_dir_all(dir.join("schemas")).expect("made");
    std::fs::write(dir.join("plugin.toml"), GOOD).expect("written");
    for path in [RECEIPT, "schemas/banner.json", SETTINGS] {
        let text = serde_json::to_string_pretty(&schema(path)).expect("serializes");
        std::fs::write(dir.join(path), text).expect("written");
    }
    for change in changes {
        match change {
            Text(from, to) => replace("plugin.toml", from, to),
            Schema(file, from, to) => replace(file, from, to),
            File(file, bytes) => std::fs::write(dir.join(file), bytes).expect("written"),
            Without(file) => std::fs::remove_file(dir.join(file)).expect("removed"),
            Link(file, to) => std::os::unix::fs::symlink(to, dir.join(file)).expect("linked"),
        }
    }
}

fn told(cases: &[(&'static str, Vec<Change>)]) -> String {
    let catalogue = Catalogue::embedded().expect("embedded");
    let mut told = String::new();
    for (name, changes) in cases {
        let dir = tempfile::tempdir().expect("a temporary directory");
        made(dir.path(), changes);
        let reading = read_dir(dir.path(), &catalogue);
        assert_eq!(reading.manifest.is_some(), reading.problems.is_empty(), "{name}");
        writeln!(told, "## {name}").expect("a string");
        for problem in &reading.problems {
            assert!(problem.remedy.is_some(), "{name}: {problem}");
            writeln!(told, "{}", problem.drawn()).expect("a string");
        }
        told.push('\n');
    }
    told
}

#[test]
fn each_hostile_manifest_is_told_what_is_wrong_with_it() {
    let groups = [
        ("shape", shape()),
        ("meaning", meaning()),
        ("endpoints", endpoints()),
        ("schemas", schemas()),
        ("files", files()),
    ];
    assert!(groups.iter().map(|(_, cases)| cases.len()).sum::<usize>() >= 60);
    for (name, cases) in groups {
        insta::assert_snapshot!(name, told(&cases));
    }
}

#[test]
fn a_thousand_mistakes_are_counted_and_a_hundred_are_told() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    made(dir.path(), &[]);
    let keys: String = (0..1_000).fold(String::new(), |text, index| format!("{text}x{index} = 1\n"));
    std::fs::write(dir.path().join("plugin.toml"), format!("{keys}{GOOD}")).expect("written");
    let problems = read_dir(dir.path(), &Catalogue::embedded().expect("embedded")).problems;
    assert_eq!(problems.len(), MAX_PROBLEMS + 1);
    let last = problems.last().expect("there are some");
    assert_eq!((last.code, &*last.message), ("more-problems", "900 more problems are not listed"));
}
