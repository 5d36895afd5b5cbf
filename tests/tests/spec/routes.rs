//! Every route of the real router, without a key, with each wrong role, and with a key of another scope. The
//! table is the design's (§8), written a second time.

use std::collections::BTreeSet;

use gateway::pipeline::Role;
use gateway_tests::world::{DENTAL, NORTHSIDE};
use gateway_tests::{Answer, Client, TestGateway};
use reqwest::Method;

use Role::{Auditor, Brand, Operator, Partner, Source};

/// Method, path and who may call. Nobody named: everybody.
const ROUTES: &[(&str, &str, &[Role])] = &[
    ("PUT", "/v1/brands/{brand}", &[Operator]),
    ("PUT", "/v1/partners/{partner}", &[Operator]),
    ("PUT", "/v1/partners/{partner}/contracts/{contract}", &[Operator]),
    ("POST", "/v1/brands/{brand}/events", &[Source]),
    ("POST", "/v1/brands/{brand}/decisions/{slot}", &[Source]),
    ("GET", "/v1/brands/{brand}/connections/{plugin}", &[Brand]),
    ("PUT", "/v1/brands/{brand}/connections/{plugin}", &[Brand]),
    ("DELETE", "/v1/brands/{brand}/connections/{plugin}", &[Brand]),
    ("GET", "/v1/brands/{brand}/connections/{plugin}/preview", &[Brand]),
    ("PUT", "/v1/brands/{brand}/connections/{plugin}/rollout", &[Brand]),
    ("DELETE", "/v1/brands/{brand}/connections/{plugin}/rollout", &[Brand]),
    ("POST", "/v1/brands/{brand}/connections/{plugin}/rollback", &[Brand]),
    ("GET", "/v1/brands/{brand}/connections", &[Brand, Partner]),
    ("GET", "/v1/plugins", &[Brand, Partner]),
    ("GET", "/v1/plugins/{plugin}/releases", &[Brand, Partner]),
    ("GET", "/v1/plugins/{plugin}/releases/{release}/declaration", &[Brand, Partner, Operator]),
    ("GET", "/v1/plugins/{plugin}/releases/{release}/diff", &[Brand, Partner, Operator]),
    ("POST", "/v1/plugins/{plugin}/releases/{release}/withdraw", &[Partner]),
    ("PUT", "/v1/plugins/{plugin}/releases/{release}/block", &[Operator]),
    ("DELETE", "/v1/plugins/{plugin}/releases/{release}/block", &[Operator]),
    // A source that tightens must know what it would replace.
    ("GET", "/v1/brands/{brand}/consumers/{consumer}/choices", &[Brand, Source]),
    ("PUT", "/v1/brands/{brand}/consumers/{consumer}/choices", &[Brand, Source]),
    ("POST", "/v1/brands/{brand}/consumers/{consumer}/links", &[Brand, Source]),
    ("GET", "/v1/brands/{brand}/consumers/{consumer}", &[Brand]),
    ("GET", "/v1/brands/{brand}/returns", &[Brand]),
    ("GET", "/v1/brands/{brand}/aggregates", &[Auditor, Brand]),
    ("POST", "/v1/brands/{brand}/disclosures", &[Operator]),
    ("GET", "/v1/brands/{brand}/disclosures/{id}", &[Operator, Auditor]),
    ("POST", "/v1/brands/{brand}/disclosures/{id}/approve", &[Operator]),
    ("GET", "/v1/brands/{brand}/disclosures/{id}/export", &[Operator]),
    ("POST", "/v1/plugins", &[Partner]),
    // Nobody's key: the partner signs.
    ("POST", "/v1/inbound/{brand}/{plugin}", &[]),
    ("GET", "/v1/partner/calls", &[Partner]),
    ("GET", "/v1/partner/deliveries", &[Partner]),
    ("GET", "/v1/partner/logs", &[Partner]),
    ("GET", "/v1/partner/status", &[Partner]),
    ("GET", "/v1/brands/{brand}/dead-letters", &[Brand]),
    ("POST", "/v1/brands/{brand}/dead-letters/{id}/resend", &[Brand]),
    ("GET", "/v1/flows", &[Auditor, Brand]),
    ("GET", "/v1/flows/{id}", &[Auditor, Brand]),
    ("GET", "/v1/flows/{id}/recording", &[Brand, Partner]),
    ("GET", "/healthz", &[]),
    ("GET", "/readyz", &[]),
    ("GET", "/metrics", &[]),
    ("GET", "/problems/{code}", &[]),
    ("GET", "/openapi.json", &[]),
];

/// The path with the names of things that are there.
fn filled(path: &str, brand: &str) -> String {
    path.replace("{brand}", brand)
        .replace("{partner}", "acme-crm")
        .replace("{contract}", "terms")
        .replace("{slot}", "chat-button")
        .replace("{plugin}", "adf-lead")
        .replace("{release}", "1.0.0")
        .replace("{consumer}", "someone")
        .replace("{code}", "conflict")
        .replace("{id}", "00000000000000000000000000000000")
}

async fn call(client: &Client, method: &str, path: &str) -> Answer {
    // Of no operation's form: what is admitted is refused for its body, if it has one, and changes nothing.
    let method: Method = method.parse().unwrap();
    client.send(method, path, Some("application/json"), b"{\"no\":\"such document\"}".to_vec()).await
}

/// A key of this role; `other` gives it the scope that does not own what the paths name.
async fn key(gateway: &TestGateway, role: Role, other: bool) -> Client {
    let scope = match role {
        Source | Brand => Some(if other { DENTAL } else { NORTHSIDE }),
        Partner => Some(if other { "clarity" } else { "acme-crm" }),
        Operator | Auditor => None,
    };
    gateway.client(role, scope).await
}

#[track_caller]
fn assert_problem(answer: &Answer, status: u16, name: &str) {
    assert_eq!(answer.status, status, "{name}: {}", answer.text);
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{name}");
    let problem = answer.json();
    assert!(problem["type"].is_string() && problem["title"].is_string(), "{name}: {problem}");
    assert_eq!(problem["status"], status, "{name}");
}

#[test]
fn the_routers_table_is_the_designs() {
    let sorted = |roles: &[Role]| roles.iter().map(|role| role.as_str()).collect::<BTreeSet<_>>();
    let expected: BTreeSet<_> = ROUTES
        .iter()
        .map(|(method, path, roles)| ((*method).to_owned(), (*path).to_owned(), sorted(roles)))
        .collect();
    let served: BTreeSet<_> = gateway::http::routes()
        .into_iter()
        .map(|route| (route.method.to_string(), route.path, sorted(route.roles)))
        .collect();
    assert_eq!(served, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_route_answers_without_a_key_that_it_needs() {
    let gateway = TestGateway::start(Default::default()).await;
    let unknown = format!("gwk_{}", "0".repeat(64));
    for (method, path, roles) in ROUTES {
        let path = filled(path, NORTHSIDE);
        let name = format!("{method} {path}");
        let anonymous = call(&gateway.anonymous(), method, &path).await;
        if path.contains("/inbound/") {
            assert_problem(&anonymous, 401, &name);
            continue;
        }
        if roles.is_empty() {
            assert_eq!(anonymous.status, 200, "{name}: {}", anonymous.text);
            continue;
        }
        assert_problem(&anonymous, 401, &name);
        assert!(
            anonymous.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer")),
            "{name}"
        );
        for wrong in [unknown.as_str(), "gwk_", "nonsense"] {
            let answer = call(&gateway.anonymous().with_key(Some(wrong)), method, &path).await;
            assert_problem(&answer, 401, &name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_opens_nothing_from_the_moment_it_is_revoked() {
    let gateway = TestGateway::start(Default::default()).await;
    let made = gateway.gateway.create_key(Auditor, None, None, "tests").await;
    let (id, secret) = made.unwrap();
    let client = gateway.anonymous().with_key(Some(&secret));
    client.get("/v1/flows").await.expect(200);
    gateway.gateway.revoke_key(&id, "tests").await.unwrap();
    assert_problem(&client.get("/v1/flows").await, 401, "a revoked key");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_route_admits_the_roles_of_the_table_and_no_other() {
    let gateway = TestGateway::demo().await;
    for (method, path, roles) in ROUTES.iter().filter(|(_, _, roles)| !roles.is_empty()) {
        let path = filled(path, NORTHSIDE);
        for role in Role::ALL {
            let name = format!("{method} {path} as {}", role.as_str());
            let answer = call(&key(&gateway, role, false).await, method, &path).await;
            if roles.contains(&role) {
                assert!(![401, 403, 405, 500].contains(&answer.status), "{name}: {}", answer.text);
            } else {
                assert_problem(&answer, 403, &name);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_another_brand_opens_no_path_of_a_brand() {
    let gateway = TestGateway::demo().await;
    for (method, template, roles) in ROUTES.iter().filter(|(_, path, _)| path.contains("{brand}")) {
        for role in [Source, Brand].into_iter().filter(|role| roles.contains(role)) {
            let client = key(&gateway, role, true).await;
            let there = call(&client, method, &filled(template, NORTHSIDE)).await;
            let not_there = call(&client, method, &filled(template, "no-such-brand")).await;
            let name = format!("{method} {template} as {}", role.as_str());
            assert_problem(&there, 403, &name);
            // Whether a brand is there is nobody else's business.
            assert_problem(&not_there, 403, &name);
            assert_eq!(there.json()["detail"], not_there.json()["detail"], "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_brand_reads_its_own_part_of_the_ledger_only() {
    let gateway = TestGateway::demo().await;
    let event = gateway_tests::events::chat_ended(NORTHSIDE, "someone");
    gateway.source(NORTHSIDE).await.post_event(&event).await.expect(202);
    gateway.settled().await;
    let own = gateway.brand(NORTHSIDE).await.flows("").await;
    assert!(!own.is_empty() && own.iter().all(|row| row["brand"] == NORTHSIDE));
    let other = gateway.brand(DENTAL).await;
    assert_eq!(other.flows("").await, Vec::<serde_json::Value>::new());
    assert_problem(&other.get(&format!("/v1/flows?brand={NORTHSIDE}")).await, 403, "another brand's flows");
    let row = own[0]["id"].as_str().unwrap();
    assert_problem(&other.get(&format!("/v1/flows/{row}")).await, 404, "another brand's row");
    let pseudonym = own[0]["consumer"].as_str().unwrap();
    assert_eq!(other.flows(&format!("consumer={pseudonym}")).await, Vec::<serde_json::Value>::new());
    assert_eq!(gateway.auditor().await.get(&format!("/v1/flows/{row}")).await.expect(200)["id"], row);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_sees_and_publishes_what_is_its_own() {
    let gateway = TestGateway::demo().await;
    let path = format!("/v1/brands/{NORTHSIDE}/connections");
    let plugins = async |partner: &str| {
        let list = gateway.partner_key(partner).await.get(&path).await.expect(200);
        let names: Vec<_> = list.as_array().unwrap().iter().map(|one| one["plugin"].clone()).collect();
        names
    };
    assert_eq!(plugins("acme-crm").await, ["adf-lead"]);
    assert_eq!(plugins("engage").await, ["chat-button"]);
    assert_eq!(plugins("clarity").await, Vec::<&str>::new());
    let component = &gateway_tests::components().adf_lead;
    let answer = gateway.partner_key("clarity").await.publish(&component.bytes).await;
    assert!([403, 409, 422].contains(&answer.status), "{}: {}", answer.status, answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_nowhere_is_a_problem_too() {
    let gateway = TestGateway::start(Default::default()).await;
    for path in ["/", "/v1", "/v1/brands", "/v2/flows", "/healthz/x"] {
        assert_problem(&gateway.anonymous().get(path).await, 404, path);
    }
    let answer = gateway.anonymous().post("/healthz").await;
    assert_problem(&answer, 405, "POST /healthz");
    assert!(answer.header("allow").is_some_and(|allow| allow.contains("GET")), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_openapi_document_describes_what_is_served() {
    let gateway = TestGateway::start(Default::default()).await;
    let document = gateway.anonymous().get("/openapi.json").await.expect(200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut described = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let roles = ROUTES
                .iter()
                .find(|route| route.1 == path && route.0.eq_ignore_ascii_case(method))
                .unwrap()
                .2;
            let secured = operation["security"].as_array().is_some_and(|list| !list.is_empty());
            assert_eq!(secured, !roles.is_empty(), "{method} {path}");
            for role in roles {
                assert!(operation.to_string().contains(role.as_str()), "{method} {path} names {role:?}");
            }
            assert!(
                operation["operationId"].is_string() && operation["summary"].is_string(),
                "{method} {path}"
            );
            described.insert((method.to_uppercase(), path.clone()));
        }
    }
    let served: BTreeSet<_> =
        gateway::http::routes().into_iter().map(|route| (route.method.to_string(), route.path)).collect();
    assert_eq!(described, served);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_problems_type_leads_to_what_it_means() {
    let gateway = TestGateway::start(Default::default()).await;
    for code in gateway::http::Code::ALL {
        let answer = gateway.anonymous().get(code.type_reference()).await;
        assert_eq!(answer.status, 200, "{}: {}", code.type_reference(), answer.text);
        assert_eq!(answer.header("content-type"), Some("text/markdown; charset=utf-8"));
        let name = code.type_reference().trim_start_matches("/problems/");
        assert!(answer.text.starts_with(&format!("### {name}\n")) && answer.text.contains("Remedy: "));
    }
    let answer = gateway.anonymous().get("/problems/unknown-field").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    for code in ["none", "..%2Fconflict", "Remedy", "conflict%0A", "%00"] {
        assert_problem(&gateway.anonymous().get(&format!("/problems/{code}")).await, 404, code);
    }
}

/// What clients depend on, a line each: a change of it is a change that somebody has to want.
/// `INSTA_UPDATE=always cargo test` writes it anew.
#[test]
fn the_surface_of_the_api_changes_only_on_purpose() {
    let document = serde_json::to_value(gateway::http::openapi()).unwrap();
    let names = |object: &serde_json::Value| -> Vec<String> {
        object.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
    };
    let mut lines = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            lines.push(format!("{} {path}", method.to_uppercase()));
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let need = if parameter["required"] == true { "" } else { "?" };
                let (place, name) = (parameter["in"].as_str().unwrap(), parameter["name"].as_str().unwrap());
                lines.push(format!("  {place} {name}{need}"));
            }
            let body = names(&operation["requestBody"]["content"]);
            if !body.is_empty() {
                lines.push(format!("  takes {}", body.join(", ")));
            }
            lines.push(format!("  answers {}", names(&operation["responses"]).join(" ")));
        }
    }
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        lines.push(format!("{name}: {}", names(&schema["properties"]).join(" ")));
    }
    insta::assert_snapshot!(lines.join("\n"));
}
