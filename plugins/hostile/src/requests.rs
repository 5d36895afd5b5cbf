//! Behaviours about requests: to where they may not go, with what they may not hold.

use plugin_sdk::bindings::types::{Part, Request};

pub(crate) const EMAIL: &str = "/contact/email";

pub(crate) fn text(text: &str) -> Part {
    Part::Text(text.to_owned())
}

pub(crate) fn field(path: &str) -> Part {
    Part::Field(path.to_owned())
}

fn to(endpoint: &str, body: Vec<Part>) -> Request {
    let path = if endpoint == "json" { vec![("slot".to_owned(), vec![text("s-1")])] } else { Vec::new() };
    Request { endpoint: endpoint.to_owned(), path, headers: Vec::new(), body }
}

/// Nothing is wrong with this one.
pub(crate) fn valid() -> Request {
    let body = vec![
        text(r#"{"first":"#),
        field("/contact/name/first"),
        text(r#","email":"#),
        field(EMAIL),
        text("}"),
    ];
    Request { headers: vec![("x-note".to_owned(), vec![text("hello")])], ..to("json", body) }
}

/// A valid request whose text passes for a checksum of the address.
pub(crate) fn with_checksum(checksum: &str) -> Request {
    around("json", r#"{"email":"#, &format!(r#","checksum":"{checksum}"}}"#))
}

/// A valid request whose only slot is filled with `value`.
fn with_slot(value: &str) -> Request {
    Request { path: vec![("slot".to_owned(), vec![text(value)])], ..valid() }
}

/// A valid request with one header.
fn with_header(name: &str, value: &str) -> Request {
    Request { headers: vec![(name.to_owned(), vec![text(value)])], ..valid() }
}

/// A body with the e-mail address between two texts.
fn around(endpoint: &str, before: &str, after: &str) -> Request {
    to(endpoint, vec![text(before), field(EMAIL), text(after)])
}

/// `None` where the behaviour is not about requests.
pub(crate) fn deliveries(behaviour: &str) -> Option<Vec<Request>> {
    let request = match behaviour {
        "undeclared-endpoint" => to("elsewhere", vec![text("{}")]),
        "ungranted-field" => to("json", vec![field("/contact/phone")]),
        "misspelt-field" => to("json", vec![field("/contact/email/")]),
        "undeclared-slot" => {
            let mut request = valid();
            request.path.push(("other".to_owned(), vec![text("x")]));
            request
        }
        "undeclared-header" => with_header("x-other", "x"),
        "host-header" => with_header("host", "internal.example"),
        "authorization-header" => with_header("authorization", "Bearer x"),
        "signature-header" => with_header("webhook-id", "x"),
        "many-requests" => return Some(vec![valid(); 10_000]),
        "huge-request" => to("json", vec![text(&format!("\"{}\"", "x".repeat(50_000_000)))]),

        "json-field-in-string" => around("json", r#"{"a":"mail: "#, r#""}"#),
        "json-field-as-key" => around("json", "{", ":1}"),
        "json-unbalanced" => around("json", r#"{"a":"#, ""),
        "json-two-values" => around("json", r#"{"a":1}"#, ""),
        "json-duplicate-keys" => around("json", r#"{"a":1,"a":"#, "}"),

        "xml-field-as-name" => around("xml", "<a><", "/></a>"),
        "xml-field-in-tag" => around("xml", "<a b=", "/>"),
        "xml-field-in-cdata" => around("xml", "<a><![CDATA[", "]]></a>"),
        "xml-field-in-comment" => around("xml", "<a><!--", "--></a>"),
        "xml-field-in-instruction" => around("xml", "<?x ", "?><a/>"),
        "xml-doctype" => {
            around("xml", r#"<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;"#, "</a>")
        }
        "xml-unbalanced" => around("xml", "<a><b>", "</a>"),
        "xml-two-roots" => around("xml", "<a/><a>", "</a>"),

        "form-broken-escape" => around("form", "a=%4", "&b=%zz"),

        "path-empty" => with_slot(""),
        "path-dot-dot" => with_slot(".."),
        "path-missing" => Request { path: Vec::new(), ..valid() },
        "path-slash" => with_slot("../../admin"),
        "path-query" => with_slot("x?admin=1#y"),
        "sealed-in-path" => Request { path: vec![("slot".to_owned(), vec![field(EMAIL)])], ..valid() },
        "sealed-in-header" => Request { headers: vec![("x-note".to_owned(), vec![field(EMAIL)])], ..valid() },
        "header-line-break" => with_header("x-note", "a\r\nx-other: b"),
        "header-nul" => with_header("x-note", "a\0b"),
        _ => return None,
    };
    Some(vec![request])
}
