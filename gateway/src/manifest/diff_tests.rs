//! A table of changes, each with the lines that it must give.

use serde_json::{Value, json};

use super::*;

fn declaration(interfaces: &[&str], change: impl FnOnce(&mut Value)) -> Declaration {
    let mut manifest = json!({
        "plugin": {
            "name": "p", "version": "1.0.0", "partner": "acme", "api": "0.1", "summary": "s",
            "privacy-policy": "https://acme.example/privacy", "purpose": "essential.service",
        },
        "share": [{
            "event": "chat.ended",
            "receives": [
                { "field": "/contact/email", "access": "sealed", "required": true, "why": "w" },
                { "field": "/contact/phone", "access": "read", "required": false, "why": "w" },
            ],
        }],
        "decide": [{
            "slot": "banner", "event": "page.viewed", "deadline-ms": 100, "receives": [],
            "returns": {
                "type": "object", "additionalProperties": false,
                "properties": { "text": { "type": "string", "maxLength": 9, "x-category": "user.content" } },
            },
        }],
        "combine": [{ "of": ["first-party:user", "partner:user"], "into": "leads", "why": "w" }],
        "endpoint": [{ "name": "leads", "method": "POST", "url": "https://crm.acme.example/v1", "auth": { "bearer": "key" } }],
        "settings": { "secrets": ["key"] },
    });
    change(&mut manifest);
    Declaration {
        manifest: serde_json::from_value(manifest).expect("a manifest"),
        interfaces: interfaces.iter().map(|name| (*name).to_owned()).collect(),
    }
}

type Edit = fn(&mut Value);

/// (what is edited, where it is told, the words, in one direction, in the other).
const CASES: &[(Edit, &str, &str, Reach, Reach)] = {
    use Reach::{Equal, Narrower, Wider};
    &[
        (
            |m| drop(m["share"][0]["receives"].as_array_mut().unwrap().remove(1)),
            "share chat.ended",
            "/contact/phone",
            Narrower,
            Wider,
        ),
        (
            |m| m["share"][0]["receives"][0]["access"] = json!("read"),
            "share chat.ended",
            "/contact/email",
            Wider,
            Narrower,
        ),
        (
            |m| m["share"][0]["receives"][0]["required"] = json!(false),
            "share chat.ended",
            "/contact/email",
            Wider,
            Narrower,
        ),
        (|m| m["share"][0]["receives"][0]["why"] = json!("x"), "share chat.ended", "reason", Equal, Equal),
        (|m| m["share"] = json!([]), "share chat.ended", "hook", Narrower, Wider),
        (
            |m| m["decide"][0]["deadline-ms"] = json!(200),
            "decide banner on page.viewed",
            "200 ms",
            Wider,
            Narrower,
        ),
        (
            |m| m["decide"][0]["event"] = json!("chat.ended"),
            "decide banner on chat.ended",
            "hook",
            Wider,
            Wider,
        ),
        (
            |m| {
                m["decide"][0]["returns"]["properties"]["more"] =
                    json!({ "type": "string", "maxLength": 9, "x-category": "user.content" })
            },
            "decide banner on page.viewed",
            "/more",
            Wider,
            Narrower,
        ),
        (
            |m| m["decide"][0]["returns"]["properties"]["text"]["x-category"] = json!("user.contact.email"),
            "decide banner on page.viewed",
            "/text",
            Wider,
            Wider,
        ),
        (
            |m| m["decide"][0]["returns"]["properties"]["text"]["maxLength"] = json!(99),
            "decide banner on page.viewed",
            "other rules",
            Wider,
            Wider,
        ),
        (
            |m| {
                m["decide"][0]["returns"]["properties"] =
                    json!({ "more": { "type": "string", "maxLength": 9, "x-category": "user.content" } })
            },
            "decide banner on page.viewed",
            "no longer returns /text",
            Wider,
            Wider,
        ),
        (
            |m| {
                let text = json!({ "type": "string", "maxLength": 9, "x-category": "user.content" });
                m["decide"][0]["returns"]["maxProperties"] = json!(1);
                m["decide"][0]["returns"]["properties"]["text"] = text;
            },
            "decide banner on page.viewed",
            "/text under other rules",
            Wider,
            Wider,
        ),
        (|m| m["combine"] = json!([]), "combine leads", "combines", Narrower, Wider),
        (
            |m| m["endpoint"][0]["url"] = json!("https://other.acme.example/v1"),
            "endpoint leads",
            "host",
            Wider,
            Wider,
        ),
        (
            |m| m["endpoint"][0]["url"] = json!("https://crm.acme.example/v2"),
            "endpoint leads",
            "path",
            Equal,
            Equal,
        ),
        (|m| m["endpoint"][0]["channel"] = json!("sms"), "endpoint leads", "channel", Wider, Wider),
        (
            |m| m["endpoint"][0]["auth"] = json!({ "hmac": "key" }),
            "endpoint leads",
            "authenticated",
            Wider,
            Wider,
        ),
        (
            |m| m["endpoint"][0]["media-type"] = json!("text/plain"),
            "endpoint leads",
            "media type",
            Equal,
            Equal,
        ),
        (|m| m["endpoint"][0]["method"] = json!("PUT"), "endpoint leads", "PUT", Wider, Wider),
        (|m| m["endpoint"][0]["headers"] = json!(["x-a"]), "endpoint leads", "headers", Wider, Narrower),
        (|m| m["endpoint"][0]["reply"] = json!("user.content"), "endpoint leads", "answers", Wider, Narrower),
        (|m| m["endpoint"] = json!([]), "endpoint leads", "no longer", Narrower, Wider),
        (
            |m| m["plugin"]["purpose"] = json!("essential.service.operations"),
            "plugin",
            "purpose",
            Narrower,
            Wider,
        ),
        (|m| m["plugin"]["purpose"] = json!("marketing"), "plugin", "purpose", Wider, Wider),
        (
            |m| m["plugin"]["privacy-policy"] = json!("https://acme.example/other"),
            "plugin",
            "privacy policy",
            Wider,
            Wider,
        ),
        (|m| m["plugin"]["api"] = json!("0.2"), "plugin", "0.2", Equal, Equal),
        (|m| m["plugin"]["summary"] = json!("t"), "plugin", "words", Equal, Equal),
        (|m| m["settings"]["secrets"] = json!(["key", "more"]), "settings", "more", Wider, Narrower),
        (
            |m| m["settings"]["schema"] = json!({ "type": "object" }),
            "settings",
            "other settings",
            Equal,
            Equal,
        ),
        (|m| m["plugin"]["version"] = json!("1.0.1"), "", "", Equal, Equal),
    ]
};

#[test]
fn each_change_is_told_in_plain_words_with_its_reach() {
    for (number, (edit, at, words, there, back)) in CASES.iter().enumerate() {
        let (old, new) = (declaration(&[], |_| {}), declaration(&[], edit));
        let found = difference(&old, &new);
        assert_eq!(found.reach, *there, "{number}: {found:?}");
        assert_eq!(difference(&new, &old).reach, *back, "{number}, the other way");
        let told = found.changes.iter().any(|change| change.at == *at && change.what.contains(words));
        assert!(told || at.is_empty() && found.changes.is_empty(), "{number}: {found:?}");
    }
}

#[test]
fn what_a_component_imports_is_part_of_it() {
    for (name, there, back) in [
        ("memory", Reach::Wider, Reach::Narrower),
        ("exchange", Reach::Wider, Reach::Narrower),
        ("aggregates", Reach::Wider, Reach::Narrower),
        ("log", Reach::Equal, Reach::Equal),
    ] {
        let (old, new) = (declaration(&[], |_| {}), declaration(&[name], |_| {}));
        assert_eq!(difference(&old, &new).reach, there, "{name}");
        assert_eq!(difference(&new, &old).reach, back, "{name}");
    }
}

#[test]
fn one_wider_line_makes_the_whole_wider() {
    let new = declaration(&[], |manifest| {
        manifest["combine"] = json!([]);
        manifest["share"][0]["receives"][0]["access"] = json!("read");
    });
    let found = difference(&declaration(&[], |_| {}), &new);
    assert_eq!((found.reach, found.changes.len()), (Reach::Wider, 2));
}
