//! Whether the declared endpoints can be used safely. It resolves no name and opens no connection;
//! whether a host is under the partner's domains is judged against the partner's record elsewhere.

use std::collections::BTreeSet;

use gateway_policy::Category;

use super::check::{check_name, duplicate};
use super::problem::Problem;
use super::url_template::{UrlTemplate, UrlTemplateError};
use super::{Auth, Endpoint, Manifest};
use crate::catalogue::nearest;
use crate::catalogue::schema::Schema;

/// Methods that an endpoint may have.
const METHODS: [&str; 5] = ["POST", "PUT", "PATCH", "GET", "DELETE"];
/// Headers that an endpoint may declare.
const MAX_HEADERS: usize = 32;

/// Never a plugin's: what frames, routes or authenticates a request (RFC 9110, RFC 9112, RFC 6265).
const RESERVED_HEADERS: [&str; 16] = [
    "accept-encoding",
    "authorization",
    "connection",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];
/// Never a plugin's either: `Content-*`, proxy control, Standard Webhooks, and what proxies are
/// believed about.
const RESERVED_PREFIXES: [&str; 4] = ["content-", "proxy-", "webhook-", "x-forwarded-"];

/// Whether a header's name is one that only the gateway sets. Names are compared in lower case.
pub fn is_reserved_header(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    RESERVED_HEADERS.contains(&name.as_str())
        || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Checks the endpoints; `settings` is the schema, if there is one, and none where it has faults of its own.
pub(super) fn check(manifest: &Manifest, settings: Option<Option<&Schema>>, problems: &mut Vec<Problem>) {
    let secrets: Vec<&str> =
        manifest.settings.iter().flat_map(|settings| &settings.secrets).map(String::as_str).collect();
    let required = required_settings(manifest);
    let mut names = BTreeSet::new();
    for (index, endpoint) in manifest.endpoint.iter().enumerate() {
        let at = format!("endpoint[{index}]");
        check_name(&endpoint.name, &format!("{at}.name"), problems);
        if !names.insert(&endpoint.name) {
            problems.push(duplicate("duplicate-endpoint", &format!("{at}.name"), "endpoint"));
        }
        if !METHODS.contains(&endpoint.method.as_str()) {
            let upper = endpoint.method.to_ascii_uppercase();
            let remedy = nearest(&upper, METHODS.into_iter()).map_or_else(
                || format!("write one of {}", METHODS.join(", ")),
                |known| format!("did you mean `{known}`?"),
            );
            problems.push(Problem::new(
                "unknown-method",
                format!("{at}.method"),
                "an endpoint cannot have this method",
                remedy,
            ));
        }
        check_url(endpoint, &at, settings, &required, problems);
        if endpoint.media_type.as_deref().is_some_and(|media_type| !is_media_type(media_type)) {
            problems.push(Problem::new(
                "bad-media-type",
                format!("{at}.media-type"),
                "this is not a media type that a body can be assembled as",
                "write it as `application/json`, in lower case and without parameters other than `charset=utf-8`",
            ));
        }
        if let Some(Err(unknown)) = endpoint.reply.as_deref().map(Category::parse) {
            problems.push(Problem::new(
                "unknown-category",
                format!("{at}.reply"),
                "what the endpoint answers is not a fideslang data category",
                format!("the nearest known one is `{}`", unknown.nearest),
            ));
        }
        check_headers(endpoint, &at, problems);
        check_auth(endpoint, &at, &secrets, problems);
    }
}

fn check_url(
    endpoint: &Endpoint,
    at: &str,
    settings: Option<Option<&Schema>>,
    required: &[&str],
    problems: &mut Vec<Problem>,
) {
    let at = format!("{at}.url");
    let template = match UrlTemplate::parse(&endpoint.url) {
        Ok(template) => template,
        Err(error) => {
            let code =
                if error == UrlTemplateError::NotHttps { "endpoint-not-https" } else { "bad-url-template" };
            let text = error.to_string();
            let (message, remedy) = text.split_once("; ").unwrap_or((&text, "correct the template"));
            problems.push(Problem::new(code, at, message, remedy));
            return;
        }
    };
    let Some(settings) = settings else { return };
    for slot in template.host_slots() {
        let declared = settings.is_some_and(|schema| {
            schema.properties_at("").contains(&slot)
                && schema.leaves().iter().any(|leaf| leaf.path.as_str() == format!("/{slot}"))
        });
        if !declared || !required.contains(&slot) {
            problems.push(Problem::new(
                "slot-without-setting",
                at.clone(),
                format!(
                    "the host's slot `{slot}` is filled from the settings, where it is not a required string"
                ),
                format!("declare `{slot}` in the settings schema, as a string, and require it"),
            ));
        }
    }
}

/// Properties that the settings schema requires as strings.
fn required_settings(manifest: &Manifest) -> Vec<&str> {
    let Some(super::SchemaSource::Inline(schema)) =
        manifest.settings.as_ref().and_then(|settings| settings.schema.as_ref())
    else {
        return Vec::new();
    };
    let is_string = |name: &&str| {
        let property = schema.get("properties").and_then(|properties| properties.get(name));
        property.and_then(|property| property.get("type")).is_some_and(|kind| kind == "string")
    };
    let required = schema.get("required").and_then(|required| required.as_array());
    required.into_iter().flatten().filter_map(|name| name.as_str()).filter(is_string).collect()
}

fn check_headers(endpoint: &Endpoint, at: &str, problems: &mut Vec<Problem>) {
    if endpoint.headers.len() > MAX_HEADERS {
        let message = format!("there are more than {MAX_HEADERS} headers");
        problems.push(Problem::new(
            "too-many",
            format!("{at}.headers"),
            message,
            "put the values into the body",
        ));
    }
    let mut seen = BTreeSet::new();
    if let Auth::Header { name, .. } = &endpoint.auth {
        seen.insert(name.to_ascii_lowercase());
    }
    for (index, header) in endpoint.headers.iter().enumerate() {
        let here = format!("{at}.headers[{index}]");
        check_header(header, &here, problems);
        if !seen.insert(header.to_ascii_lowercase()) {
            problems.push(duplicate("duplicate-header", &here, "header"));
        }
    }
}

fn check_header(name: &str, at: &str, problems: &mut Vec<Problem>) {
    if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
        problems.push(Problem::new(
            "bad-header",
            at,
            "this is not the name of a header (RFC 9110 §5.1)",
            "write a name such as `x-note`",
        ));
    } else if is_reserved_header(name) {
        problems.push(Problem::new(
            "reserved-header",
            at,
            "the gateway alone sets this header",
            "remove it; `media-type` and `auth` set what they concern",
        ));
    }
}

fn check_auth(endpoint: &Endpoint, at: &str, secrets: &[&str], problems: &mut Vec<Problem>) {
    let at = format!("{at}.auth");
    let named: Vec<(&str, &str)> = match &endpoint.auth {
        Auth::None => Vec::new(),
        Auth::Bearer(secret) => vec![("bearer", secret)],
        Auth::Hmac(secret) => vec![("hmac", secret)],
        Auth::Basic { username, password } => {
            vec![("basic.username", username), ("basic.password", password)]
        }
        Auth::Header { name, value } => {
            check_header(name, &format!("{at}.header.name"), problems);
            vec![("header.value", value)]
        }
        Auth::Oauth2ClientCredentials { token_url, client_id, client_secret } => {
            check_token_url(token_url, &format!("{at}.oauth2-client-credentials.token-url"), problems);
            vec![
                ("oauth2-client-credentials.client-id", client_id),
                ("oauth2-client-credentials.client-secret", client_secret),
            ]
        }
    };
    for (part, secret) in named {
        if !secrets.contains(&secret) {
            let remedy = nearest(secret, secrets.iter().copied()).map_or_else(
                || format!("add `{secret}` to `secrets` of `[settings]`"),
                |known| format!("did you mean `{known}`?"),
            );
            problems.push(Problem::new(
                "undeclared-secret",
                format!("{at}.{part}"),
                "this names no secret of `[settings]`",
                remedy,
            ));
        }
    }
}

/// Where a token comes from is fixed: no setting and no plugin has a part in it.
fn check_token_url(text: &str, at: &str, problems: &mut Vec<Problem>) {
    let rule = match UrlTemplate::parse(text) {
        Ok(template) if template.host_slots().chain(template.path_slots()).next().is_none() => return,
        Ok(_) => "the token's URL has a slot; write it out".to_owned(),
        Err(error) => error.to_string(),
    };
    let (message, remedy) = rule.split_once("; ").unwrap_or((&rule, "correct the URL"));
    problems.push(Problem::new("bad-token-url", at, message, remedy));
}

/// `type/subtype` in lower case, with `charset=utf-8` at most. Multipart bodies cannot be assembled.
fn is_media_type(text: &str) -> bool {
    let (essence, parameter) = match text.split_once(';') {
        Some((essence, parameter)) => (essence, Some(parameter.trim())),
        None => (text, None),
    };
    let token = |token: &str| {
        !token.is_empty()
            && token.len() <= 127
            && token.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".+-_".contains(&b))
    };
    essence
        .split_once('/')
        .is_some_and(|(kind, subtype)| token(kind) && token(subtype) && kind != "multipart")
        && parameter.is_none_or(|parameter| parameter == "charset=utf-8")
}
