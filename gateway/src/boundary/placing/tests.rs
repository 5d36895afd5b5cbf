//! Placing as a table of what plugins and consumers may try, and what comes of it.

use super::*;
use crate::manifest::{Auth, Endpoint};
use serde_json::json;

pub(super) fn endpoint(media_type: &str) -> Endpoint {
    Endpoint {
        name: "leads".into(),
        method: "POST".into(),
        url: "https://{host}.acme.example/v1/dealers/{dealer}/leads".into(),
        media_type: Some(media_type.into()),
        auth: Auth::None,
        channel: None,
        reply: None,
        headers: vec!["X-Dealer".into(), "x-trace".into()],
    }
}

/// Text is text; what begins with `§` is a field.
pub(super) fn parts(pieces: &[&str]) -> Vec<Part> {
    pieces
        .iter()
        .map(|piece| match piece.strip_prefix('§') {
            Some(path) => Part::Field(path.to_owned()),
            None => Part::Text((*piece).to_owned()),
        })
        .collect()
}

pub(super) fn request(body: &[&str]) -> PluginRequest {
    PluginRequest { endpoint: "leads".into(), path: vec![], headers: vec![], body: parts(body) }
}

/// What a consumer may have written.
fn field(path: &str) -> Option<Value> {
    Some(match path {
        "/email" => json!("ada@x.example"),
        "/quote" => json!("\"},\"admin\":true,\"x\":{\"y\":\""),
        "/markup" => json!("</b><admin a=\"1\" b='2'>]]><!--&lt;<![CDATA["),
        "/lines" => json!("a\r\nb\tc"),
        "/form" => json!("a=1&b=%41+c"),
        "/dots" => json!(".."),
        "/climb" => json!("a/../../admin"),
        "/slash" => json!("a/b?c#d%2e"),
        "/empty" => json!(""),
        "/number" => json!(12.5),
        "/flag" => json!(true),
        "/object" => json!({"a": [1]}),
        "/digits" => json!(65),
        _ => return None,
    })
}

fn with_values<T>(run: impl FnOnce(ValueLookup<'_, '_>) -> T) -> T {
    let paths = [
        "/email", "/quote", "/markup", "/lines", "/form", "/dots", "/climb", "/slash", "/empty", "/number",
        "/flag",
    ];
    let paths = paths.iter().chain(&["/object", "/digits"]);
    let values: Vec<(&str, Value)> = paths.filter_map(|path| Some((*path, field(path)?))).collect();
    let list = [json!("one"), json!("\"two\""), json!("<3>")];
    run(&|path: &str| match path {
        "/absent" => Some(FieldValue::One(None)),
        "/list/*/text" => Some(FieldValue::Many(list.iter().collect())),
        "/none/*/text" => Some(FieldValue::Many(vec![])),
        _ => values.iter().find(|(name, _)| *name == path).map(|(_, value)| FieldValue::One(Some(value))),
    })
}

fn assemble_at(endpoint: &Endpoint, request: &PluginRequest) -> Result<Assembled, PlacingError> {
    let settings = json!({"host": "crm", "dealer": "north"});
    let domains = ["acme.example".to_owned()];
    with_values(|values| {
        assemble(request, &Placement { endpoint, settings: &settings, domains: &domains, values })
    })
}

fn body_of(media_type: &str, pieces: &[&str]) -> Result<String, PlacingError> {
    assemble_at(&endpoint(media_type), &request(pieces))
        .map(|done| String::from_utf8(done.body).expect("UTF-8"))
}

#[test]
fn a_request_is_assembled_from_template_settings_and_fields() {
    let mut asked =
        request(&["{\"email\":", "§/email", ",\"again\":", "§/email", ",\"phone\":", "§/absent", "}"]);
    asked.path = vec![("dealer".into(), parts(&["n-", "§/number"]))];
    asked.headers = vec![("x-dealer".into(), parts(&["d ", "§/digits"]))];
    let done = assemble_at(&endpoint("application/json"), &asked).expect("assembled");
    assert_eq!(done.method, Method::POST);
    assert_eq!(done.url.as_str(), "https://crm.acme.example/v1/dealers/n-12.5/leads");
    assert_eq!(done.media_type.as_deref(), Some("application/json"));
    assert_eq!(done.headers, [(HeaderName::from_static("x-dealer"), HeaderValue::from_static("d 65"))]);
    assert_eq!(done.body, br#"{"email":"ada@x.example","again":"ada@x.example","phone":null}"#);
    assert_eq!(done.placed, ["/number", "/digits", "/email"], "absent fields do not count");
}

#[test]
fn a_field_is_rendered_as_its_media_type_has_it() {
    let (json, xml, form) =
        ("application/json; charset=utf-8", "application/atom+xml", "application/x-www-form-urlencoded");
    for (media_type, pieces, body) in [
        (json, &["§/quote"][..], r#""\"},\"admin\":true,\"x\":{\"y\":\"""#),
        (
            json,
            &[
                "[",
                "§/list/*/text",
                ",",
                "§/none/*/text",
                ",",
                "§/absent",
                ",",
                "§/number",
                ",",
                "§/flag",
                "]",
            ],
            r#"[["one","\"two\"","<3>"],[],null,12.5,true]"#,
        ),
        ("application/vnd.api+json", &[" { \"a\" : ", "§/object", " } "], " { \"a\" : {\"a\":[1]} } "),
        (
            xml,
            &["<a>", "§/markup", "</a>"],
            "<a>&lt;/b&gt;&lt;admin a=&quot;1&quot; b=&apos;2&apos;&gt;]]&gt;&lt;!--&amp;lt;&lt;![CDATA[</a>",
        ),
        (xml, &["<a b=\"", "§/lines", "\" c='x", "§/digits", "'/>"], "<a b=\"a&#13;&#10;b&#9;c\" c='x65'/>"),
        (xml, &["<a>", "§/list/*/text", "</a>"], "<a>one\n&quot;two&quot;\n&lt;3&gt;</a>"),
        (xml, &["<a b='", "§/absent", "'>", "§/absent", "§/none/*/text", "</a>"], "<a b=''></a>"),
        (
            form,
            &["e=", "§/form", "&n=x", "§/email", "&z=", "§/absent"],
            "e=a%3D1%26b%3D%2541%2Bc&n=xada%40x.example&z=",
        ),
        (form, &["l=", "§/list/*/text"], "l=one%0A%22two%22%0A%3C3%3E"),
        ("text/plain", &["§/markup"], "</b><admin a=\"1\" b='2'>]]><!--&lt;<![CDATA["),
        ("text/plain", &["§/list/*/text"], "one\n\"two\"\n<3>"),
        ("text/html", &["<p>", "no field"], "<p>no field"),
    ] {
        assert_eq!(body_of(media_type, pieces).as_deref(), Ok(body), "{pieces:?}");
    }
}

#[test]
fn text_cannot_make_a_field_into_something_else() {
    let (json, xml, form) = ("application/json", "application/xml", "application/x-www-form-urlencoded");
    let misplaced: &[(&str, &[&str])] = &[
        // Into a string, a name, a number, next to another token.
        (json, &["{\"a\":\"x\\", "§/email", "\"}"]),
        (json, &["{\"a\":\"", "§/number", "\"}"]),
        (json, &["{", "§/email", ":1}"]),
        (json, &["{\"a\":1", "§/number", "}"]),
        (json, &["{\"a\":-", "§/number", "}"]),
        (json, &["{\"a\":", "§/digits", "e3}"]),
        (json, &["{\"a\":", "§/digits", "§/digits", "}"]),
        // Into a start tag, a name, a declaration, an instruction, around the root.
        (xml, &["<a ", "§/absent", "/>"]),
        (xml, &["<a", "§/digits", "/>"]),
        (xml, &["<a><b", "§/absent", "/></a>"]),
        (xml, &["<?adf ", "§/email", "?><a/>"]),
        (xml, &["§/absent", "<a/>"]),
        (xml, &["<a/>", "§/absent"]),
        (xml, &["<a></a", "§/absent", ">"]),
        // Into a reference.
        (xml, &["<a>&#", "§/digits", ";</a>"]),
        (xml, &["<a>&am", "§/absent", "p;</a>"]),
        (xml, &["<a b='&#x", "§/digits", ";'/>"]),
        // Into a name, an escape.
        (form, &["§/email", "=1"]),
        (form, &["a=1&", "§/absent", "b=2"]),
        (form, &["a=%", "§/digits"]),
        (form, &["a=%4", "§/absent", "1"]),
        // Not the whole body.
        ("text/plain", &["Dear ", "§/email"]),
        ("multipart/form-data; boundary=x", &["--x\r\n", "§/email", "\r\n--x--"]),
    ];
    for (media_type, pieces) in misplaced {
        let error = body_of(media_type, pieces).expect_err("refused");
        let refused = matches!(error, PlacingError::Misplaced { .. } | PlacingError::Malformed { .. });
        assert!(refused, "{pieces:?}: {error}");
    }
    let malformed: &[(&str, &[&str], usize)] = &[
        (json, &["{\"a\":\"", "§/email", "\"}"], 2),
        (json, &["{\"a\":", "§/email", ",\"a\":2}"], 3),
        (json, &["{\"a\":", "§/email", "} {}"], 3),
        (json, &["{\"a\":", "§/email", ", // comment\n\"b\":1}"], 3),
        (json, &["{\"a\":", "§/email", ""], 3),
        (json, &["{'a':", "§/email", "}"], 1),
        (json, &["{\"a\":NaN,\"b\":", "§/email", "}"], 1),
        (json, &[""], 1),
        (xml, &["<a><!--", "§/email", "--></a>"], 1),
        (xml, &["<a><![CDATA[", "§/email", "]]></a>"], 1),
        (xml, &["<!DOCTYPE a [<!ENTITY x \"", "§/email", "\">]><a>&x;</a>"], 1),
        (xml, &["<a ", "§/digits", "='1'/>"], 2),
        (xml, &["<a b=", "§/email", "/>"], 2),
        (xml, &["<a b='", "§/email", "\"/>"], 3),
        (xml, &["<a>", "§/email", "</b>"], 3),
        (xml, &["<a>", "§/email", "<b></a>"], 3),
        (xml, &["<?xml version='1.0' encoding='UTF-16'?><a>", "§/email", "</a>"], 1),
        (form, &["a=", "§/email", "&b"], 3),
        (form, &["a=", "§/email", "&b=<x>"], 3),
        (form, &["a==", "§/email"], 1),
        (form, &["a=b c&d=", "§/email"], 1),
    ];
    for (media_type, pieces, part) in malformed {
        match body_of(media_type, pieces) {
            Err(PlacingError::Malformed { part: found, .. }) => assert_eq!(found, *part, "{pieces:?}"),
            other => panic!("{pieces:?}: {other:?}"),
        }
    }
}

#[test]
fn a_field_that_does_not_fit_its_place_is_named_by_position() {
    let body = |part| PlacingError::FieldNotGiven { place: Place::Body, part };
    assert_eq!(body_of("application/json", &["[1,", "§/secret", "]"]), Err(body(2)));
    assert_eq!(
        body_of("application/xml", &["<a>", "§/object", "</a>"]),
        Err(PlacingError::NotScalar { place: Place::Body, part: 2 })
    );
    for pieces in [&["<a b='", "§/list/*/text", "'/>"], &["<a b='", "§/none/*/text", "'/>"]] {
        assert_eq!(
            body_of("application/xml", pieces),
            Err(PlacingError::ListNotAllowed { place: Place::Body, part: 2 })
        );
    }
}

#[test]
fn method_endpoint_and_media_type_must_fit() {
    let mut get = endpoint("application/json");
    get.method = "GET".into();
    assert!(assemble_at(&get, &request(&[])).expect("no body").media_type.is_none());
    assert!(matches!(assemble_at(&get, &request(&["{}"])), Err(PlacingError::BodyNotAllowed { .. })));

    let mut untyped = endpoint("");
    untyped.media_type = None;
    assert!(matches!(assemble_at(&untyped, &request(&["x"])), Err(PlacingError::Manifest { .. })));
    for charset in ["utf-16", "\"utf-7\""] {
        let typed = endpoint(&format!("text/xml; charset={charset}"));
        assert!(
            matches!(assemble_at(&typed, &request(&["<a/>"])), Err(PlacingError::Manifest { .. })),
            "{charset}"
        );
    }
    let mut odd = endpoint("application/json");
    odd.method = "CONNECT".into();
    assert!(matches!(assemble_at(&odd, &request(&[])), Err(PlacingError::Manifest { .. })));

    let mut other = request(&["{}"]);
    other.endpoint = "elsewhere".into();
    let error = assemble_at(&endpoint("application/json"), &other).expect_err("refused");
    assert!(matches!(error, PlacingError::OtherEndpoint { .. }));
    assert!(!error.to_string().contains("elsewhere"), "{error}");
}

#[test]
fn a_path_slot_is_one_segment() {
    let slot = |pieces: &[&str]| {
        let mut asked = request(&["{}"]);
        asked.path = vec![("dealer".into(), parts(pieces))];
        assemble_at(&endpoint("application/json"), &asked).map(|done| done.url.path().to_owned())
    };
    for (pieces, segment) in [
        (&["a b"][..], "a%20b"),
        (&["§/slash"], "a%2Fb%3Fc%23d%252e"),
        (&["%2e%2e"], "%252e%252e"),
        (&["..."], "..."),
        (&["x", "§/dots"], "x.."),
        (&["é"], "%C3%A9"),
    ] {
        assert_eq!(slot(pieces), Ok(format!("/v1/dealers/{segment}/leads")), "{pieces:?}");
    }
    for pieces in [
        &[][..],
        &[""],
        &["§/empty"],
        &["§/absent"],
        &["."],
        &[".."],
        &["§/dots"],
        &[".", "."],
        &["§/climb"],
        &["../x"],
        &["x\\..\\y"],
        &["x/."],
        &["a\r\nb"],
        &["§/lines"],
        &["a\0"],
        &["\u{85}"],
    ] {
        assert!(matches!(slot(pieces), Err(PlacingError::Segment { .. })), "{pieces:?}");
    }
    assert!(matches!(slot(&["§/list/*/text"]), Err(PlacingError::ListNotAllowed { .. })));
    assert!(matches!(slot(&["§/secret"]), Err(PlacingError::FieldNotGiven { .. })));
    assert!(matches!(slot(&["x".repeat(MAX_SEGMENT_BYTES + 1).as_str()]), Err(PlacingError::TooLong { .. })));
}

#[test]
fn slots_are_the_templates_each_once() {
    let with = |names: &[&str]| {
        let mut asked = request(&["{}"]);
        asked.path = names.iter().map(|name| ((*name).to_owned(), parts(&["x"]))).collect();
        assemble_at(&endpoint("application/json"), &asked).map(|done| done.url.path().to_owned())
    };
    assert_eq!(
        with(&[]).as_deref(),
        Ok("/v1/dealers/north/leads"),
        "settings fill what the plugin leaves out"
    );
    for (names, bad) in
        [(&["host"][..], 1), (&["dealer", "dealer"], 1), (&["secret-name", "dealer", "host"], 2)]
    {
        let error = with(names).expect_err("refused");
        assert_eq!(error, PlacingError::SlotsNotDeclared { endpoint: "leads".into(), count: bad });
        assert!(!error.to_string().contains("secret-name"));
    }
}

#[test]
fn the_host_comes_from_settings_and_lies_under_a_registered_domain() {
    let url = |template: &str, settings: Value, domains: &[&str]| {
        let mut endpoint = endpoint("application/json");
        endpoint.url = template.into();
        let domains: Vec<String> = domains.iter().map(|domain| (*domain).to_owned()).collect();
        let placement =
            Placement { endpoint: &endpoint, settings: &settings, domains: &domains, values: &|_| None };
        assemble(&request(&["{}"]), &placement).map(|done| done.url.to_string())
    };
    let template = "https://{host}.acme.example/x";
    for domains in
        [&["acme.example"][..], &["crm.acme.example"], &["other.example", "ACME.example."], &["example"]]
    {
        let good = url(template, json!({"host": "crm"}), domains);
        assert_eq!(good.as_deref(), Ok("https://crm.acme.example/x"), "{domains:?}");
    }
    assert_eq!(
        url("https://acme.example", json!({}), &["acme.example"]).as_deref(),
        Ok("https://acme.example/")
    );
    for domains in
        [&[][..], &[""], &["."], &["me.example"], &["xcrm.acme.example"], &["evil.crm.acme.example"]]
    {
        let refused = url(template, json!({"host": "crm"}), domains);
        assert!(matches!(refused, Err(PlacingError::DomainNotRegistered { .. })), "{domains:?}");
    }
    for host in
        ["", "a.b", "evil.example/", "evil.example#", "a@b", "A", "-a", "a-", "é", "a:1", " a", "%61", "a\\"]
    {
        let refused = url(template, json!({"host": host}), &["acme.example"]);
        assert!(matches!(refused, Err(PlacingError::HostLabel { .. })), "{host}");
    }
    for settings in [json!({}), json!({"host": null}), json!({"host": ["a"]}), json!(null)] {
        assert!(matches!(url(template, settings, &["acme.example"]), Err(PlacingError::SlotMissing { .. })));
    }
    for template in
        ["http://acme.example/", "https://acme.example:8443/", "https://127.0.0.1/", "https://{x}/"]
    {
        let refused = url(template, json!({}), &["acme.example"]);
        assert!(matches!(refused, Err(PlacingError::Manifest { .. })), "{template}");
    }
}

#[test]
fn headers_are_the_endpoints_and_hold_no_control_characters() {
    let with = |declared: &[&str], auth: Auth, set: &[(&str, &[&str])]| {
        let mut endpoint = endpoint("application/json");
        endpoint.headers = declared.iter().map(|name| (*name).to_owned()).collect();
        endpoint.auth = auth;
        let mut asked = request(&["{}"]);
        asked.headers = set.iter().map(|(name, pieces)| ((*name).to_owned(), parts(pieces))).collect();
        assemble_at(&endpoint, &asked).map(|done| done.headers)
    };
    for name in [
        "Host",
        "Content-Type",
        "content-length",
        "Authorization",
        "webhook-id",
        "Webhook-Signature",
        "Connection",
        "Transfer-Encoding",
        "TE",
        "Trailer",
        "Upgrade",
        "Expect",
        "Cookie",
        "User-Agent",
        "Proxy-Authorization",
        "X-Forwarded-For",
        "Forwarded",
        "Via",
        "Keep-Alive",
    ] {
        let refused = with(&[name], Auth::None, &[(name, &["x"])]);
        assert!(matches!(refused, Err(PlacingError::HeadersNotDeclared { count: 1, .. })), "{name}");
    }
    let key = Auth::Header { name: "X-Api-Key".into(), value: "api-key".into() };
    assert!(
        with(&["x-api-key"], key, &[("X-API-KEY", &["x"])]).is_err(),
        "the authenticating header is the host's"
    );
    let twice = with(&["x-a"], Auth::None, &[("x-a", &["1"]), ("X-A", &["2"])]);
    assert!(matches!(twice, Err(PlacingError::HeadersNotDeclared { count: 1, .. })));
    let made_up =
        with(&["x-a"], Auth::None, &[("x-secret", &["1"]), ("x-a\r\nx-b", &["2"])]).expect_err("refused");
    assert!(!made_up.to_string().contains("secret"), "{made_up}");

    let value = |pieces: &[&str]| with(&["x-a"], Auth::None, &[("x-a", pieces)]);
    for pieces in [&["a\r\nx-b: 1"][..], &["a\n"], &["a\r"], &["a\0"], &["\u{1b}"], &["\u{7f}"], &["§/lines"]]
    {
        assert_eq!(value(pieces), Err(PlacingError::HeaderValue { name: "x-a".into() }), "{pieces:?}");
    }
    let fine = value(&["é ", "§/absent", "§/flag"]).expect("fine");
    assert_eq!(fine.first().map(|(_, value)| value.as_bytes()), Some("é true".as_bytes()));
    assert!(matches!(value(&["§/list/*/text"]), Err(PlacingError::ListNotAllowed { .. })));
    assert!(matches!(value(&["x".repeat(MAX_HEADER_BYTES + 1).as_str()]), Err(PlacingError::TooLong { .. })));
}

#[test]
fn a_body_is_limited_with_its_fields_in_place() {
    let long = json!("x".repeat(MAX_BODY_BYTES));
    let (endpoint, settings, domains) =
        (endpoint("text/plain"), json!({"host": "crm", "dealer": "d"}), ["acme.example".to_owned()]);
    let run = |values: ValueLookup<'_, '_>, pieces: &[&str]| {
        assemble(
            &request(pieces),
            &Placement { endpoint: &endpoint, settings: &settings, domains: &domains, values },
        )
        .map(|done| done.body.len())
    };
    assert_eq!(run(&|_| Some(FieldValue::One(Some(&long))), &["§/a"]), Ok(MAX_BODY_BYTES));
    let over = run(&|_| Some(FieldValue::Many(vec![&long, &long])), &["§/a/*/b"]);
    assert_eq!(over, Err(PlacingError::TooLong { place: Place::Body, limit: MAX_BODY_BYTES }));
}

#[test]
fn no_error_repeats_a_value_or_a_plugins_text() {
    for (media_type, pieces) in [
        ("application/json", &["{\"SECRET\":", "§/email", ",\"SECRET\":1}"][..]),
        ("application/json", &["SECRET", "§/email"]),
        ("application/xml", &["<SECRET>", "§/email", "</a>"]),
        ("application/x-www-form-urlencoded", &["SECRET", "§/email"]),
        ("text/plain", &["SECRET", "§/email"]),
        ("text/plain", &["§/SECRET"]),
    ] {
        let error = body_of(media_type, pieces).expect_err("refused");
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(!text.contains("SECRET") && !text.contains("ada@"), "{text}");
        }
    }
}
