//! The manifest's rules, read as cases: each takes a good manifest, spoils one thing, and names the
//! one problem that it makes.

use serde_json::{Map, Value, json};

use super::*;
use crate::catalogue::Catalogue;

pub(super) const GOOD: &str = r#"
[plugin]
name = "adf-lead"
version = "1.2.0"
partner = "acme-crm"
api = "0.1"
summary = "Sends a finished chat to the dealer's CRM as an ADF lead."
privacy-policy = "https://acme.example/privacy"
purpose = "essential.service.operations.support"

[[share]]
event = "chat.ended"
receives = [
  { field = "/contact/email", access = "sealed", why = "the dealer answers by e-mail" },
  { field = "/contact/name/first", access = "read", required = true, why = "greeting" },
  { field = "/transcript/*/text", access = "read", why = "the dealer reads what was asked" },
  { field = "consumer", access = "read", why = "finds the lead again" },
]
returns = "schemas/receipt.json"

[[decide]]
slot = "coupon-banner"
event = "page.viewed"
deadline-ms = 50
receives = [{ field = "/url", access = "read", why = "offers fit the page" }]
returns = "schemas/banner.json"

[[endpoint]]
name = "leads"
method = "POST"
url = "https://{host}.acme.example/v1/dealers/{dealer}/leads"
media-type = "application/xml"
auth = { bearer = "api-key" }
channel = "web"
headers = ["x-note"]

[settings]
schema = "schemas/settings.json"
secrets = ["api-key"]
"#;

/// Stands for the files beside the manifest.
pub(super) fn schema(path: &str) -> Map<String, Value> {
    let document = match path {
        "schemas/receipt.json" => json!({
            "type": "object", "additionalProperties": false, "required": ["lead"],
            "properties": {
                "lead": {"type": "string", "maxLength": 20, "pattern": "^[a-z]+$", "x-category": "user.contact"},
                "tags": {"type": "array", "items": {
                    "type": "object", "additionalProperties": false,
                    "properties": {"name": {"type": "string", "x-category": "user.behavior"}}
                }}
            }
        }),
        "schemas/banner.json" => json!({
            "type": "object", "additionalProperties": false,
            "properties": {"show": {"type": "boolean", "x-category": "user.behavior"}}
        }),
        "schemas/settings.json" => json!({
            "type": "object", "additionalProperties": false, "required": ["host"],
            "properties": {"host": {"type": "string", "maxLength": 63}, "limit": {"type": "integer"}}
        }),
        other => panic!("no such schema: {other}"),
    };
    document.as_object().expect("object").clone()
}

/// The text as a manifest with its schemas inlined.
pub(super) fn inlined(text: &str) -> Manifest {
    let mut manifest = parse_toml(text).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    let inline = |source: &mut SchemaSource| {
        if let SchemaSource::Path(path) = source {
            *source = SchemaSource::Inline(schema(path));
        }
    };
    manifest.share.iter_mut().filter_map(|hook| hook.returns.as_mut()).for_each(inline);
    manifest.decide.iter_mut().map(|hook| &mut hook.returns).for_each(inline);
    manifest.settings.iter_mut().filter_map(|settings| settings.schema.as_mut()).for_each(inline);
    manifest
}

fn catalogue() -> Catalogue {
    Catalogue::embedded().expect("embedded")
}

fn found(problems: &[Problem]) -> Vec<(&str, &str)> {
    problems.iter().map(|problem| (problem.code, problem.at.as_str())).collect()
}

/// Replaces the first occurrence; a case whose text is not there would test nothing.
fn spoiled(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "not in the good manifest: {from}");
    GOOD.replacen(from, to, 1)
}

#[test]
fn the_good_manifest_is_good() {
    assert_eq!(check(&inlined(GOOD), &catalogue()), []);
}

#[test]
fn each_rule_names_its_problem() {
    let catalogue = catalogue();
    let long = format!("summary = \"{}\"", "x".repeat(301));
    let cases: &[(&str, &str, &str, &str)] = &[
        // What the plugin says about itself.
        (r#"name = "adf-lead""#, r#"name = "ADF""#, "bad-name", "plugin.name"),
        (r#"name = "adf-lead""#, r#"name = "../x""#, "bad-name", "plugin.name"),
        (r#"name = "adf-lead""#, r#"name = """#, "bad-name", "plugin.name"),
        (r#""acme-crm""#, r#""acme crm""#, "bad-name", "plugin.partner"),
        (r#"api = "0.1""#, r#"api = "0.3""#, "api-not-served", "plugin.api"),
        (
            r#"summary = "Sends a finished chat to the dealer's CRM as an ADF lead.""#,
            &long,
            "bad-text",
            "plugin.summary",
        ),
        ("Sends a finished", r"Sends\u202Ea finished", "bad-text", "plugin.summary"),
        ("Sends a finished", r"Sends\na finished", "bad-text", "plugin.summary"),
        (
            "https://acme.example/privacy",
            "http://acme.example/privacy",
            "privacy-policy-not-https",
            "plugin.privacy-policy",
        ),
        (
            "https://acme.example/privacy",
            "javascript:alert(1)",
            "privacy-policy-not-https",
            "plugin.privacy-policy",
        ),
        (
            "https://acme.example/privacy",
            "https://a:b@acme.example/",
            "privacy-policy-not-https",
            "plugin.privacy-policy",
        ),
        ("essential.service.operations.support", "essential.anything", "unknown-purpose", "plugin.purpose"),
        // Hooks.
        (r#"event = "chat.ended""#, r#"event = "chat.endet""#, "unknown-event", "share[0].event"),
        (
            "[[endpoint]]",
            "[[share]]\nevent = \"chat.ended\"\nreceives = [{ field = \"/channel\", access = \"read\", why = \"x\" }]\n[[endpoint]]",
            "duplicate-hook",
            "share[1].event",
        ),
        (
            "[[endpoint]]",
            "[[decide]]\nslot = \"coupon-banner\"\nevent = \"page.viewed\"\nreceives = [{ field = \"/url\", access = \"read\", why = \"x\" }]\nreturns = \"schemas/banner.json\"\n[[endpoint]]",
            "duplicate-hook",
            "decide[1].slot",
        ),
        (r#"slot = "coupon-banner""#, r#"slot = "Coupon""#, "bad-name", "decide[0].slot"),
        ("deadline-ms = 50", "deadline-ms = 0", "deadline-out-of-bounds", "decide[0].deadline-ms"),
        ("deadline-ms = 50", "deadline-ms = 2001", "deadline-out-of-bounds", "decide[0].deadline-ms"),
        (
            r#"receives = [{ field = "/url", access = "read", why = "offers fit the page" }]"#,
            "receives = []",
            "receives-nothing",
            "decide[0].receives",
        ),
        // Fields.
        ("/contact/email", "/contact/emial", "unknown-field", "share[0].receives[0].field"),
        ("/contact/email", "/contact", "unknown-field", "share[0].receives[0].field"),
        ("/transcript/*/text", "/transcript/0/text", "unknown-field", "share[0].receives[2].field"),
        ("/contact/email", "contact.email", "bad-path", "share[0].receives[0].field"),
        ("/contact/email", "/contact/~email", "bad-path", "share[0].receives[0].field"),
        ("/contact/email", "/contact/name/first", "duplicate-field", "share[0].receives[1].field"),
        (
            r#"access = "read", why = "offers"#,
            r#"access = "sealed", why = "offers"#,
            "sealed-under-decide",
            "decide[0].receives[0].access",
        ),
        (r#"why = "greeting""#, r#"why = " ""#, "bad-text", "share[0].receives[1].why"),
        // What is not served.
        (
            "[[endpoint]]",
            "[[receive]]\nconsumer = \"/member/ref\"\n[[endpoint]]",
            "missing-key",
            "receive[0].returns",
        ),
        ("[[endpoint]]", "[[rights]]\nkinds = [\"delete\"]\n[[endpoint]]", "not-served-yet", "rights[0]"),
        (
            "[[endpoint]]",
            "[[combine]]\nof = [\"first-party:user.behavior\"]\ninto = \"leads\"\nwhy = \"x\"\n[[endpoint]]",
            "combines-nothing",
            "combine[0].of",
        ),
        (
            "[[endpoint]]",
            "[[combine]]\nof = [\"first-party:user.behavior\", \"partner:user.account\"]\ninto = \"/nowhere\"\nwhy = \"x\"\n[[endpoint]]",
            "unknown-into",
            "combine[0].into",
        ),
        (
            "[[endpoint]]",
            "[[combine]]\nof = [\"first-party:user.behavior\", \"partner:user.account\", \"elsewhere:user\"]\ninto = \"leads\"\nwhy = \"x\"\n[[endpoint]]",
            "bad-label",
            "combine[0].of[2]",
        ),
        (
            r#"{ bearer = "api-key" }"#,
            r#"{ oauth2-client-credentials = { token-url = "https://a.example/t", client-id = "a", client-secret = "api-key" } }"#,
            "undeclared-secret",
            "endpoint[0].auth.oauth2-client-credentials.client-id",
        ),
        (
            r#"{ bearer = "api-key" }"#,
            r#"{ oauth2-client-credentials = { token-url = "http://a.example/t", client-id = "api-key", client-secret = "api-key" } }"#,
            "bad-token-url",
            "endpoint[0].auth.oauth2-client-credentials.token-url",
        ),
        (
            r#"{ bearer = "api-key" }"#,
            r#"{ oauth2-client-credentials = { token-url = "https://{host}.acme.example/t", client-id = "api-key", client-secret = "api-key" } }"#,
            "bad-token-url",
            "endpoint[0].auth.oauth2-client-credentials.token-url",
        ),
        // Endpoints.
        (r#"name = "leads""#, r#"name = "Leads""#, "bad-name", "endpoint[0].name"),
        (
            "[settings]",
            "[[endpoint]]\nname = \"leads\"\nmethod = \"GET\"\nurl = \"https://a.acme.example/\"\n[settings]",
            "duplicate-endpoint",
            "endpoint[1].name",
        ),
        (r#"method = "POST""#, r#"method = "post""#, "unknown-method", "endpoint[0].method"),
        (r#"method = "POST""#, r#"method = "CONNECT""#, "unknown-method", "endpoint[0].method"),
        ("https://{host}", "http://{host}", "endpoint-not-https", "endpoint[0].url"),
        ("https://{host}.acme.example", "https://{host}", "bad-url-template", "endpoint[0].url"),
        (
            "https://{host}.acme.example",
            "https://u@{host}.acme.example",
            "bad-url-template",
            "endpoint[0].url",
        ),
        (
            "https://{host}.acme.example",
            "https://{host}.acme.example:444",
            "bad-url-template",
            "endpoint[0].url",
        ),
        ("https://{host}.acme.example", "https://10.0.0.1", "bad-url-template", "endpoint[0].url"),
        ("{dealer}/leads", "d-{dealer}/leads", "bad-url-template", "endpoint[0].url"),
        ("{dealer}/leads", "{dealer}/leads#x", "bad-url-template", "endpoint[0].url"),
        ("https://{host}", "https://{tenant}", "slot-without-setting", "endpoint[0].url"),
        ("https://{host}", "https://{limit}", "slot-without-setting", "endpoint[0].url"),
        (r#""application/xml""#, r#""xml""#, "bad-media-type", "endpoint[0].media-type"),
        (r#""application/xml""#, r#""multipart/form-data""#, "bad-media-type", "endpoint[0].media-type"),
        (r#""application/xml""#, r#""text/plain\r\nx: y""#, "bad-media-type", "endpoint[0].media-type"),
        (r#"["x-note"]"#, r#"["Host"]"#, "reserved-header", "endpoint[0].headers[0]"),
        (r#"["x-note"]"#, r#"["Content-Length"]"#, "reserved-header", "endpoint[0].headers[0]"),
        (r#"["x-note"]"#, r#"["authorization"]"#, "reserved-header", "endpoint[0].headers[0]"),
        (r#"["x-note"]"#, r#"["webhook-id"]"#, "reserved-header", "endpoint[0].headers[0]"),
        (r#"["x-note"]"#, r#"["transfer-encoding"]"#, "reserved-header", "endpoint[0].headers[0]"),
        (r#"["x-note"]"#, r#"["x note"]"#, "bad-header", "endpoint[0].headers[0]"),
        (r#"["x-note"]"#, r#"["x-note", "X-Note"]"#, "duplicate-header", "endpoint[0].headers[1]"),
        (
            r#"{ bearer = "api-key" }"#,
            r#"{ bearer = "api-kye" }"#,
            "undeclared-secret",
            "endpoint[0].auth.bearer",
        ),
        (r#"{ bearer = "api-key" }"#, r#"{ hmac = "other" }"#, "undeclared-secret", "endpoint[0].auth.hmac"),
        (
            r#"{ bearer = "api-key" }"#,
            r#"{ basic = { username = "api-key", password = "no" } }"#,
            "undeclared-secret",
            "endpoint[0].auth.basic.password",
        ),
        (
            r#"{ bearer = "api-key" }"#,
            r#"{ header = { name = "host", value = "api-key" } }"#,
            "reserved-header",
            "endpoint[0].auth.header.name",
        ),
        (
            r#"{ bearer = "api-key" }"#,
            r#"{ header = { name = "x-note", value = "api-key" } }"#,
            "duplicate-header",
            "endpoint[0].headers[0]",
        ),
        // Settings.
        (r#"["api-key"]"#, r#"["api-key", "api-key"]"#, "duplicate-secret", "settings.secrets[1]"),
        (r#"["api-key"]"#, r#"["api-key", "other"]"#, "unused-secret", "settings.secrets[1]"),
        (
            r#"auth = { bearer = "api-key" }"#,
            r#"auth = { basic = { username = "api-key", password = "Api" } }"#,
            "undeclared-secret",
            "endpoint[0].auth.basic.password",
        ),
    ];
    for (from, to, code, at) in cases {
        let problems = check(&inlined(&spoiled(from, to)), &catalogue);
        assert_eq!(found(&problems), [(*code, *at)], "{from} → {to}: {problems:#?}");
    }
}

proptest::proptest! {
    /// Clause integrations.no-control: what brands and consumers are shown is an https link with a host, and with nobody's
    /// credentials.
    #[test]
    fn a_manifest_without_a_link_to_its_partners_privacy_policy_is_refused(
        scheme in "(https?|ftp|javascript|data|)", between in "(://|:/|:|)", who in "(a@|a:b@|)",
        host in "(a\\.example|)", path in "(/privacy|)",
    ) {
        let mut manifest = inlined(GOOD);
        manifest.plugin.privacy_policy = format!("{scheme}{between}{who}{host}{path}");
        let link = url::Url::parse(&manifest.plugin.privacy_policy);
        let is_link = link.is_ok_and(|link| {
            link.as_str().starts_with("https://") && link.has_host() && !link.authority().contains('@')
        });
        let problems = check(&manifest, &catalogue());
        let expected = if is_link { vec![] } else { vec![("privacy-policy-not-https", "plugin.privacy-policy")] };
        proptest::prop_assert_eq!(found(&problems), expected);
    }
}

#[test]
fn each_rule_of_the_schemas_names_its_problem() {
    let catalogue = catalogue();
    let leaf = |keyword: &str, value: Value| {
        let mut leaf = json!({"type": "string", "x-category": "user.contact"});
        leaf[keyword] = value;
        leaf
    };
    for (pointer, value, code, at) in [
        ("/properties/lead", json!({"type": "string"}), "schema-no-category", "#/properties/lead"),
        (
            "/properties/lead",
            leaf("x-category", json!("user.contcat")),
            "schema-unknown-category",
            "#/properties/lead/x-category",
        ),
        (
            "/properties/lead",
            leaf("$ref", json!("file:///etc/passwd")),
            "schema-keyword",
            "#/properties/lead/$ref",
        ),
        (
            "/properties/lead",
            leaf("$dynamicRef", json!("#x")),
            "schema-keyword",
            "#/properties/lead/$dynamicRef",
        ),
        ("/properties/lead", leaf("$id", json!("x")), "schema-keyword", "#/properties/lead/$id"),
        (
            "/properties/lead",
            leaf("pattern", json!("(a+)+\\1")),
            "schema-pattern",
            "#/properties/lead/pattern",
        ),
        (
            "/properties/lead",
            leaf("pattern", json!("(?<=a)b")),
            "schema-pattern",
            "#/properties/lead/pattern",
        ),
        (
            "/properties/lead",
            leaf("x-origin", json!("public")),
            "schema-origin",
            "#/properties/lead/x-origin",
        ),
        ("/additionalProperties", json!(true), "schema-open", "#"),
        ("/additionalProperties", json!({"type": "string"}), "schema-open", "#"),
        (
            "/properties/tags/items/additionalProperties",
            json!(null),
            "schema-open",
            "#/properties/tags/items",
        ),
        ("/type", json!("array"), "schema-root", "#/type"),
    ] {
        let mut manifest = inlined(GOOD);
        let mut document = Value::Object(schema("schemas/receipt.json"));
        *document.pointer_mut(pointer).expect(pointer) = value.clone();
        manifest.share[0].returns = Some(SchemaSource::Inline(document.as_object().expect("object").clone()));
        let problems = check(&manifest, &catalogue);
        assert_eq!(
            found(&problems),
            [(code, format!("share[0].returns{at}").as_str())],
            "{pointer} = {value}"
        );
    }
    let mut manifest = inlined(GOOD);
    manifest.decide[0].returns = SchemaSource::Path("schemas/banner.json".to_owned());
    assert_eq!(found(&check(&manifest, &catalogue)), [("schema-not-inlined", "decide[0].returns")]);
}

#[test]
fn what_no_hook_can_use_is_a_problem() {
    let catalogue = catalogue();
    let mut manifest = inlined(GOOD);
    manifest.share.clear();
    manifest.decide.clear();
    assert_eq!(found(&check(&manifest, &catalogue)), [("no-hook", "plugin.toml")]);

    let mut manifest = inlined(GOOD);
    manifest.endpoint.clear();
    assert_eq!(
        found(&check(&manifest, &catalogue)),
        [("sealed-nowhere", "share[0].receives[0].access"), ("unused-secret", "settings.secrets[0]")]
    );

    let mut manifest = inlined(GOOD);
    let endpoint = manifest.endpoint[0].clone();
    manifest.endpoint =
        (0..65).map(|index| Endpoint { name: format!("e{index}"), ..endpoint.clone() }).collect();
    assert_eq!(found(&check(&manifest, &catalogue)), [("too-many", "endpoint")]);

    // One more could not be looked for in an event.
    let mut manifest = inlined(GOOD);
    let field = manifest.share[0].receives[0].clone();
    manifest.share[0].receives = vec![field; 65];
    assert!(found(&check(&manifest, &catalogue)).contains(&("too-many", "share[0].receives")));
}

#[test]
fn the_text_is_held_against_its_shape() {
    for (from, to, code, at, place) in [
        ("purpose =", "purpos =", "unknown-key", "plugin.purpos", (9, 1)),
        ("required = true", "require = true", "unknown-key", "share[0].receives[1].require", (15, 53)),
        ("[settings]", "[setings]", "unknown-key", "setings", (37, 2)),
        ("partner = \"acme-crm\"\n", "", "missing-key", "plugin.partner", (2, 1)),
        (r#", why = "greeting""#, "", "missing-key", "share[0].receives[1].why", (15, 3)),
        ("required = true", "required = 1", "wrong-type", "share[0].receives[1].required", (15, 64)),
        ("deadline-ms = 50", "deadline-ms = \"50\"", "wrong-type", "decide[0].deadline-ms", (24, 15)),
        ("deadline-ms = 50", "deadline-ms = -1", "wrong-type", "decide[0].deadline-ms", (24, 15)),
        ("[[decide]]", "[decide]", "wrong-type", "decide", (21, 1)),
        (
            r#"access = "sealed""#,
            r#"access = "seal""#,
            "unknown-word",
            "share[0].receives[0].access",
            (14, 40),
        ),
        (r#"channel = "web""#, r#"channel = "fax""#, "unknown-word", "endpoint[0].channel", (34, 11)),
        (r#"version = "1.2.0""#, r#"version = "1.2""#, "bad-version", "plugin.version", (4, 11)),
        (
            r#"{ bearer = "api-key" }"#,
            r#"{ baerer = "api-key" }"#,
            "unknown-key",
            "endpoint[0].auth.baerer",
            (33, 10),
        ),
        (
            r#"{ bearer = "api-key" }"#,
            r#"{ bearer = "api-key", hmac = "api-key" }"#,
            "not-one-of",
            "endpoint[0].auth",
            (33, 8),
        ),
        ("event = \"chat.ended\"", "event = ", "toml-syntax", "plugin.toml", (12, 9)),
    ] {
        let ManifestErrors(problems) = parse_toml(&spoiled(from, to)).expect_err(to);
        let concerned: Vec<_> = problems.iter().filter(|problem| problem.at == at).collect();
        assert_eq!(concerned.first().map(|problem| problem.code), Some(code), "{to}: {problems:#?}");
        let found = concerned[0].place.as_ref().map(|place| (place.line, place.column));
        assert_eq!(found, Some(place), "{to}: {}", concerned[0]);
    }
}

#[test]
fn all_problems_of_a_text_are_told_at_once_with_what_was_meant() {
    let text =
        GOOD.replace("purpose =", "purpos =").replace("channel =", "chanel =").replace("slot =", "Slot =");
    let ManifestErrors(problems) = parse_toml(&text).expect_err("three keys are mistyped");
    let told = found(&problems);
    let expected = [
        ("unknown-key", "plugin.purpos"),
        ("unknown-key", "decide[0].Slot"),
        ("unknown-key", "endpoint[0].chanel"),
    ];
    assert_eq!(told, expected);
    let remedies: Vec<_> = problems.iter().filter_map(|problem| problem.remedy.as_deref()).collect();
    assert!(remedies.contains(&"did you mean `purpose`?") && remedies.contains(&"did you mean `channel`?"));
}

#[test]
fn a_manifest_reads_the_same_from_toml_and_from_json() {
    let manifest = inlined(GOOD);
    let text = serde_json::to_string(&manifest).expect("serializes");
    let again: Manifest = serde_json::from_str(&text).expect("reads");
    assert_eq!(serde_json::to_string(&again).expect("serializes"), text);
    for auth in [
        r#"{ basic = { username = "a", password = "b" } }"#,
        r#"{ header = { name = "x-key", value = "a" } }"#,
        r#"{ oauth2-client-credentials = { token-url = "https://a.example/t", client-id = "a", client-secret = "b" } }"#,
    ] {
        let manifest = parse_toml(&spoiled(r#"{ bearer = "api-key" }"#, auth)).expect(auth);
        let text = serde_json::to_string(&manifest).expect("serializes");
        let again: Manifest = serde_json::from_str(&text).expect("reads");
        assert_eq!(again.endpoint[0].auth, manifest.endpoint[0].auth);
    }
}

#[test]
fn schemas_are_read_from_the_plugins_directory_only() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let plugin = dir.path().join("plugin");
    std::fs::create_dir_all(plugin.join("schemas")).expect("made");
    for path in ["schemas/receipt.json", "schemas/banner.json", "schemas/settings.json"] {
        std::fs::write(plugin.join(path), Value::Object(schema(path)).to_string()).expect("written");
    }
    let load = |text: &str| {
        std::fs::write(plugin.join("plugin.toml"), text).expect("written");
        load_dir(&plugin)
    };
    assert_eq!(check(&load(GOOD).expect("loads"), &catalogue()), []);

    std::fs::write(dir.path().join("outside.json"), "{}").expect("written");
    std::os::unix::fs::symlink(dir.path().join("outside.json"), plugin.join("link.json")).expect("linked");
    std::fs::write(plugin.join("large.json"), " ".repeat(70_000)).expect("written");
    std::fs::write(plugin.join("list.json"), "[]").expect("written");
    for (path, code) in [
        ("../outside.json", "schema-outside"),
        ("/etc/passwd", "schema-outside"),
        ("schemas/../../outside.json", "schema-outside"),
        ("", "schema-outside"),
        ("link.json", "schema-outside"),
        ("missing.json", "unreadable"),
        ("schemas", "unreadable"),
        ("large.json", "unreadable"),
        ("list.json", "schema-invalid"),
    ] {
        let ManifestErrors(problems) = load(&spoiled("schemas/receipt.json", path)).expect_err(path);
        assert_eq!(found(&problems), [(code, "share[0].returns")], "{path}");
    }
    let ManifestErrors(problems) = load_dir(dir.path()).expect_err("no manifest there");
    assert_eq!(found(&problems), [("unreadable", "plugin.toml")]);
}

#[test]
fn a_violation_is_told_in_declared_names_and_a_count() {
    let schema = ReturnSchema::compile(&schema("schemas/receipt.json")).expect("compiles");
    let leaves: Vec<_> =
        schema.leaves().iter().map(|(path, category)| (path.as_str(), category.as_str())).collect();
    assert_eq!(leaves, [("/lead", "user.contact"), ("/tags/*/name", "user.behavior")]);
    for good in [json!({"lead": "abc"}), json!({"lead": "abc", "tags": [{"name": "x"}, {}]})] {
        assert_eq!(schema.validate(&good), Ok(()), "{good}");
    }
    for (output, nearest, count) in [
        (json!({"lead": "abc", "ada@example.com": 1, "x": 2}), "", 2),
        (json!({"lead": "abc", "tags": [{}, {"name": "x", "ada@example.com": "x"}]}), "/tags/*", 1),
        (json!({"lead": "Ada!"}), "/lead", 1),
        (json!({"lead": 3}), "/lead", 1),
        (json!({}), "", 1),
        (json!("Ada"), "", 1),
        (json!({"lead": "abc", "tags": [{"name": 1}, {"name": 2}]}), "/tags/*/name", 2),
    ] {
        let violation = schema.validate(&output).expect_err("violates");
        assert_eq!(
            violation,
            SchemaViolation { nearest_declared_path: nearest.to_owned(), count },
            "{output}"
        );
        assert!(!violation.to_string().to_lowercase().contains("ada"), "{violation}");
    }
}

#[test]
fn settings_are_checked_without_repeating_them() {
    let manifest = inlined(GOOD);
    assert_eq!(validate_settings(&manifest, &json!({"host": "eu1", "limit": 3})), Ok(()));
    for (settings, at) in [
        (json!({}), "settings/host"),
        (json!({"host": "eu1", "hots": "s3cret"}), "settings/hots"),
        (json!({"host": ["s3cret"]}), "settings/host"),
        (json!(null), "settings"),
    ] {
        let problems = validate_settings(&manifest, &settings).expect_err("invalid");
        assert_eq!(found(&problems), [("settings-invalid", at)], "{settings}");
        assert!(!format!("{problems:?}").contains("s3cret"));
    }
    let mut without = manifest;
    without.settings = None;
    assert_eq!(validate_settings(&without, &json!({})), Ok(()));
    assert!(validate_settings(&without, &json!({"host": "x"})).is_err());
}
