//! The OpenAPI 3.1 document, put together from the operations' own descriptions. What holds for every
//! operation (keys, roles, problems) is added here once.

use serde_json::json;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::path::Operation as Described;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ContentBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, PathItem, Ref, RefOr, Response,
    ResponseBuilder, SecurityRequirement, Server,
};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use super::problem::{Code, PROBLEM_JSON, ProblemDetails};
use super::routes::{self, RouteInfo};

/// The name of the security scheme.
const API_KEY: &str = "api-key";

const DESCRIPTION: &str = "\
Partner plugins run in a sandbox and get exactly the fields that a brand granted and the privacy policy \
allows; every decision is on the ledger before anything leaves.

Bodies are JSON in UTF-8. Errors are `application/problem+json` (RFC 9457): decide by `type`, which is \
stable; `pointer` and `problems` say where a document is at fault. Send `Authorization: Bearer KEY`; each \
operation names the roles that it admits under `x-roles`, and a key of role source or brand reaches its own \
brand only. Each answer has an `X-Request-Id`, which the gateway's log repeats. Path segments are \
percent-encoded. Query parameters that an operation does not name are refused.";

/// The document.
pub fn openapi() -> OpenApi {
    let mut router = OpenApiRouter::with_openapi(
        OpenApiBuilder::new()
            .info(
                InfoBuilder::new()
                    .title("Integration gateway")
                    .version(env!("CARGO_PKG_VERSION"))
                    .description(Some(DESCRIPTION))
                    .license(Some(
                        LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build(),
                    )),
            )
            .servers(Some([Server::new("/")]))
            .build(),
    );
    let mut infos = Vec::new();
    for operation in routes::all() {
        infos.push(operation.route);
        router = router.routes(operation.handler);
    }
    let mut document = router.into_openapi();
    for route in &infos {
        let described = document.paths.paths.get_mut(&route.path).and_then(|item| operation_of(item, route));
        if let Some(described) = described {
            complete(described, route);
        }
    }
    let components = document.components.get_or_insert_default();
    let mut schemas = vec![(ProblemDetails::name().into_owned(), ProblemDetails::schema())];
    ProblemDetails::schemas(&mut schemas);
    components.schemas.extend(schemas);
    components.add_security_scheme(
        API_KEY,
        SecurityScheme::Http(
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .bearer_format("gwk_…")
                .description(Some("An API key: `gateway keys create` makes one, and shows it once."))
                .build(),
        ),
    );
    document
}

fn operation_of<'a>(item: &'a mut PathItem, route: &RouteInfo) -> Option<&'a mut Described> {
    match route.method.as_str() {
        "GET" => item.get.as_mut(),
        "PUT" => item.put.as_mut(),
        "POST" => item.post.as_mut(),
        "DELETE" => item.delete.as_mut(),
        _ => None,
    }
}

/// Adds what is the same for every operation.
fn complete(described: &mut Described, route: &RouteInfo) {
    let responses = &mut described.responses.responses;
    let mut add = |code: Code| {
        responses.entry(code.status().as_str().to_owned()).or_insert_with(|| RefOr::T(problem(code.title())));
    };
    if route.roles.is_empty() {
        // An empty list says that no key is needed.
        described.security = Some(vec![]);
    } else {
        add(Code::Unauthenticated);
        add(Code::Forbidden);
        described.security = Some(vec![SecurityRequirement::new::<_, [&str; 0], &str>(API_KEY, [])]);
        let roles: Vec<_> = route.roles.iter().map(|role| role.as_str()).collect();
        described.extensions = Some(ExtensionsBuilder::new().add("x-roles", json!(roles)).build());
    }
    if described.request_body.is_some() {
        for code in [Code::Malformed, Code::TooLarge, Code::UnsupportedMediaType, Code::Invalid] {
            add(code);
        }
    }
    responses.entry("default".into()).or_insert_with(|| RefOr::T(problem("Any other problem")));
}

fn problem(description: &str) -> Response {
    let schema = Ref::from_schema_name(ProblemDetails::name());
    ResponseBuilder::new()
        .description(description)
        .content(PROBLEM_JSON, ContentBuilder::new().schema(Some(schema)).build())
        .build()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use gateway_policy::Choices;
    use serde::de::DeserializeOwned;
    use serde_json::Value;

    use super::super::routes::Scope;
    use super::*;
    use crate::pipeline::{BrandInput, ConnectionInput, ContractInput, LinkInput, PartnerInput, Role};

    /// The methods and paths that a document describes.
    fn described(document: &Value) -> BTreeSet<(String, String)> {
        let paths = document["paths"].as_object().unwrap();
        paths
            .iter()
            .flat_map(|(path, item)| {
                item.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone()))
            })
            .collect()
    }

    fn document() -> Value {
        serde_json::to_value(openapi()).unwrap()
    }

    fn operation<'a>(document: &'a Value, method: &str, path: &str) -> &'a Value {
        &document["paths"][path][method.to_lowercase()]
    }

    #[test]
    fn routes_and_document_name_the_same_operations() {
        let served: BTreeSet<_> =
            routes::routes().into_iter().map(|route| (route.method.to_string(), route.path)).collect();
        assert_eq!(served, described(&document()));
        assert_eq!(served.len(), routes::routes().len(), "a route is in the table twice");
        assert_eq!(document()["openapi"], "3.1.0");
    }

    #[test]
    fn the_roles_are_those_of_the_design() {
        use Role::{Auditor, Brand, Operator, Partner, Source};
        let expected: &[(&str, &str, &[Role], Scope)] = &[
            ("PUT", "/v1/brands/{brand}", &[Operator], Scope::None),
            ("PUT", "/v1/partners/{partner}", &[Operator], Scope::None),
            ("PUT", "/v1/partners/{partner}/contracts/{contract}", &[Operator], Scope::None),
            ("POST", "/v1/brands/{brand}/events", &[Source], Scope::Brand),
            ("POST", "/v1/brands/{brand}/decisions/{slot}", &[Source], Scope::Brand),
            ("GET", "/v1/brands/{brand}/connections/{plugin}", &[Brand], Scope::Brand),
            ("PUT", "/v1/brands/{brand}/connections/{plugin}", &[Brand], Scope::Brand),
            ("DELETE", "/v1/brands/{brand}/connections/{plugin}", &[Brand], Scope::Brand),
            ("GET", "/v1/brands/{brand}/connections/{plugin}/preview", &[Brand], Scope::Brand),
            ("PUT", "/v1/brands/{brand}/connections/{plugin}/rollout", &[Brand], Scope::Brand),
            ("DELETE", "/v1/brands/{brand}/connections/{plugin}/rollout", &[Brand], Scope::Brand),
            ("POST", "/v1/brands/{brand}/connections/{plugin}/rollback", &[Brand], Scope::Brand),
            ("GET", "/v1/brands/{brand}/connections", &[Brand, Partner], Scope::Brand),
            ("GET", "/v1/plugins", &[Brand, Partner], Scope::None),
            ("GET", "/v1/plugins/{plugin}/releases", &[Brand, Partner], Scope::None),
            (
                "GET",
                "/v1/plugins/{plugin}/releases/{release}/declaration",
                &[Brand, Partner, Operator],
                Scope::None,
            ),
            ("GET", "/v1/plugins/{plugin}/releases/{release}/diff", &[Brand, Partner, Operator], Scope::None),
            ("POST", "/v1/plugins/{plugin}/releases/{release}/withdraw", &[Partner], Scope::Partner),
            ("PUT", "/v1/plugins/{plugin}/releases/{release}/block", &[Operator], Scope::None),
            ("DELETE", "/v1/plugins/{plugin}/releases/{release}/block", &[Operator], Scope::None),
            ("GET", "/v1/brands/{brand}/consumers/{consumer}/choices", &[Brand, Source], Scope::Brand),
            ("PUT", "/v1/brands/{brand}/consumers/{consumer}/choices", &[Brand, Source], Scope::Brand),
            ("POST", "/v1/brands/{brand}/consumers/{consumer}/links", &[Brand, Source], Scope::Brand),
            ("GET", "/v1/brands/{brand}/consumers/{consumer}", &[Brand], Scope::Brand),
            ("GET", "/v1/brands/{brand}/returns", &[Brand], Scope::Brand),
            ("GET", "/v1/brands/{brand}/aggregates", &[Auditor, Brand], Scope::Brand),
            ("POST", "/v1/brands/{brand}/disclosures", &[Operator], Scope::None),
            ("GET", "/v1/brands/{brand}/disclosures/{id}", &[Operator, Auditor], Scope::None),
            ("POST", "/v1/brands/{brand}/disclosures/{id}/approve", &[Operator], Scope::None),
            ("GET", "/v1/brands/{brand}/disclosures/{id}/export", &[Operator], Scope::None),
            ("POST", "/v1/plugins", &[Partner], Scope::Partner),
            ("POST", "/v1/inbound/{brand}/{plugin}", &[], Scope::None),
            ("GET", "/v1/partner/calls", &[Partner], Scope::Partner),
            ("GET", "/v1/partner/deliveries", &[Partner], Scope::Partner),
            ("GET", "/v1/partner/logs", &[Partner], Scope::Partner),
            ("GET", "/v1/partner/status", &[Partner], Scope::Partner),
            ("GET", "/v1/brands/{brand}/dead-letters", &[Brand], Scope::Brand),
            ("POST", "/v1/brands/{brand}/dead-letters/{id}/resend", &[Brand], Scope::Brand),
            ("GET", "/v1/flows", &[Auditor, Brand], Scope::None),
            ("GET", "/v1/flows/{id}", &[Auditor, Brand], Scope::None),
            ("GET", "/v1/flows/{id}/recording", &[Brand, Partner], Scope::None),
            ("GET", "/healthz", &[], Scope::None),
            ("GET", "/readyz", &[], Scope::None),
            ("GET", "/metrics", &[], Scope::None),
            ("GET", "/problems/{code}", &[], Scope::None),
            ("GET", "/openapi.json", &[], Scope::None),
        ];
        let served = routes::routes();
        let served: Vec<_> =
            served.iter().map(|r| (r.method.as_str(), r.path.as_str(), r.roles, r.scope)).collect();
        assert_eq!(served, expected);
    }

    #[test]
    fn every_operation_says_who_may_call_it_and_how_it_fails() {
        let document = document();
        for route in routes::routes() {
            let name = format!("{} {}", route.method, route.path);
            let described = operation(&document, route.method.as_str(), &route.path);
            let roles: Vec<_> = route.roles.iter().map(|role| role.as_str()).collect();
            if roles.is_empty() {
                assert_eq!(described["security"], json!([]), "{name}");
            } else {
                assert_eq!(described["security"], json!([{API_KEY: []}]), "{name}");
                assert_eq!(described["x-roles"], json!(roles), "{name}");
                assert!(described["responses"]["403"].is_object(), "{name}");
            }
            let problem = &described["responses"]["default"]["content"][PROBLEM_JSON]["schema"]["$ref"];
            assert_eq!(problem, "#/components/schemas/ProblemDetails", "{name}");
            assert!(described["summary"].is_string(), "{name}");
            assert!(described["tags"][0].is_string(), "{name}");
        }
    }

    #[test]
    fn path_templates_and_path_parameters_are_the_same() {
        let document = document();
        for route in routes::routes() {
            let described = operation(&document, route.method.as_str(), &route.path);
            let parameters: Vec<_> = described["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|parameter| parameter["in"] == "path")
                .map(|parameter| format!("{{{}}}", parameter["name"].as_str().unwrap()))
                .collect();
            let template: Vec<_> =
                route.path.split('/').filter(|segment| segment.starts_with('{')).map(str::to_owned).collect();
            assert_eq!(parameters, template, "{} {}", route.method, route.path);
        }
    }

    #[test]
    fn every_reference_resolves() {
        fn walk(value: &Value, document: &Value) {
            match value {
                Value::Object(members) => {
                    if let Some(Value::String(reference)) = members.get("$ref") {
                        let pointer = reference.trim_start_matches('#');
                        assert!(document.pointer(pointer).is_some(), "{reference}");
                    }
                    members.values().for_each(|member| walk(member, document));
                }
                Value::Array(items) => items.iter().for_each(|item| walk(item, document)),
                _ => {}
            }
        }
        let document = document();
        walk(&document, &document);
    }

    fn reads<T: DeserializeOwned>(example: &Value) -> Option<String> {
        serde_json::from_value::<T>(example.clone()).err().map(|error| error.to_string())
    }

    #[test]
    fn every_write_of_a_document_has_an_example_that_its_type_reads() {
        let document = document();
        for route in routes::routes() {
            let name = format!("{} {}", route.method, route.path);
            let described = operation(&document, route.method.as_str(), &route.path);
            let Some(content) = described["requestBody"]["content"].as_object() else { continue };
            for (media_type, body) in content {
                let example = &body["example"];
                let error = match route.path.as_str() {
                    "/v1/plugins" => None,
                    path if path.ends_with("/rollout") => reads::<crate::pipeline::RolloutInput>(example),
                    path if path.ends_with("/rollback") => reads::<crate::pipeline::RollbackInput>(example),
                    path if path.ends_with("/withdraw") || path.ends_with("/block") => {
                        reads::<crate::pipeline::ReasonInput>(example)
                    }
                    "/v1/brands/{brand}" => reads::<BrandInput>(example),
                    "/v1/partners/{partner}" => reads::<PartnerInput>(example),
                    "/v1/partners/{partner}/contracts/{contract}" => reads::<ContractInput>(example),
                    "/v1/brands/{brand}/connections/{plugin}" => reads::<ConnectionInput>(example),
                    "/v1/brands/{brand}/consumers/{consumer}/choices" => reads::<Choices>(example),
                    "/v1/brands/{brand}/consumers/{consumer}/links" => reads::<LinkInput>(example),
                    _ if media_type.contains("batch") => {
                        reads::<Vec<serde_json::Map<String, Value>>>(example)
                    }
                    _ => reads::<serde_json::Map<String, Value>>(example),
                };
                assert_eq!(error, None, "{name} {media_type}");
            }
        }
    }
}
