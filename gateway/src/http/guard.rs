//! Who may call a route: the key, its role, its scope, and the query parameters that the operation takes.
//! It decides before the body is read, and without knowing what there is: a brand that does not exist and
//! another's brand are refused alike.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::RequestExt;
use axum::extract::{RawPathParams, Request};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::response::{IntoResponse, Response};
use tower::{Layer, Service};

use super::extract::undecodable_path;
use super::problem::{Code, ProblemDetails};
use super::routes::{RouteInfo, Scope};
use super::watch::Watch;
use crate::pipeline::{Caller, Gateway, Role};

/// The layer around one route's handler.
#[derive(Clone)]
pub(super) struct Guard(Arc<Inner>);

struct Inner {
    gateway: Arc<Gateway>,
    route: RouteInfo,
    /// Names of the query parameters that the operation documents.
    query: Vec<String>,
    watch: Watch,
}

impl Guard {
    pub(super) fn new(gateway: Arc<Gateway>, route: RouteInfo, query: Vec<String>) -> Self {
        let watch = Watch::new(route.method.as_str(), &route.path);
        Self(Arc::new(Inner { gateway, route, query, watch }))
    }
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { guard: self.clone(), inner }
    }
}

/// A handler behind its guard.
#[derive(Clone)]
pub(super) struct Guarded<S> {
    guard: Guard,
    inner: S,
}

impl<S> Service<Request> for Guarded<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        // The service that was polled ready is the one that is called.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let guard = self.guard.clone();
        Box::pin(async move {
            let answer = async {
                match guard.0.admit(&mut request).await {
                    Ok(()) => inner.call(request).await.unwrap_or_else(|never| match never {}),
                    Err(problem) => problem.into_response(),
                }
            };
            Ok(guard.0.watch.around(answer).await)
        })
    }
}

impl Inner {
    async fn admit(&self, request: &mut Request) -> Result<(), ProblemDetails> {
        if !self.route.roles.is_empty() {
            let secret = bearer(request.headers())?;
            let caller = self.gateway.authenticate(secret).await.ok_or_else(|| {
                ProblemDetails::new(
                    Code::Unauthenticated,
                    "the API key is not known, or revoked; ask the operator for one",
                )
            })?;
            let brand = match self.route.scope {
                Scope::Brand => path_brand(request).await?,
                Scope::None | Scope::Partner => None,
            };
            permit(&self.route, &caller, brand.as_deref())?;
            request.extensions_mut().insert(Arc::new(caller));
        }
        match request.uri().query() {
            Some(query) => check_query(query, &self.query),
            None => Ok(()),
        }
    }
}

/// The secret of the one `Authorization: Bearer` header (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Result<&str, ProblemDetails> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let secret = match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok().and_then(|value| {
            let (scheme, secret) = value.split_once(' ')?;
            let secret = secret.trim();
            (scheme.eq_ignore_ascii_case("bearer") && !secret.is_empty()).then_some(secret)
        }),
        _ => None,
    };
    secret.ok_or_else(|| {
        ProblemDetails::new(
            Code::Unauthenticated,
            "send one header `Authorization: Bearer KEY` with an API key",
        )
    })
}

/// The brand that the path names, percent-decoded.
async fn path_brand(request: &mut Request) -> Result<Option<String>, ProblemDetails> {
    let segments = request.extract_parts::<RawPathParams>().await.map_err(|_| undecodable_path())?;
    Ok(segments.iter().find(|(name, _)| *name == "brand").map(|(_, brand)| brand.to_owned()))
}

/// Whether this caller may call this route; `brand` is the one in the path.
fn permit(route: &RouteInfo, caller: &Caller, brand: Option<&str>) -> Result<(), ProblemDetails> {
    if !route.roles.contains(&caller.role) {
        let roles: Vec<_> = route.roles.iter().map(|role| role.as_str()).collect();
        let detail = format!(
            "this needs a key of role {}; this key's is {}",
            roles.join(" or "),
            caller.role.as_str()
        );
        return Err(ProblemDetails::new(Code::Forbidden, detail));
    }
    // Each role has exactly one kind of scope; a key that lacks its own may do nothing.
    let (holds, covers) = match caller.role {
        Role::Source | Role::Brand => (
            caller.brand.is_some(),
            route.scope != Scope::Brand || (brand.is_some() && caller.brand.as_deref() == brand),
        ),
        // Under a brand's path a partner sees what is its own; the handler narrows to it.
        Role::Partner => (caller.partner.is_some(), true),
        // A brand's path that admits them is open to them for every brand.
        Role::Operator | Role::Auditor => (true, route.scope != Scope::Partner),
    };
    if holds && covers {
        Ok(())
    } else {
        Err(ProblemDetails::new(Code::Forbidden, "this key's scope does not cover this; use a key for it"))
    }
}

/// Refuses parameters that the operation does not document, and ones that are there twice.
fn check_query(query: &str, known: &[String]) -> Result<(), ProblemDetails> {
    let refuse = |rule: &str| {
        let remedy = match known {
            [] => "this operation takes none".to_owned(),
            names => format!("this operation takes `{}`", names.join("`, `")),
        };
        Err(ProblemDetails::new(Code::InvalidQuery, format!("{rule}; {remedy}, each at most once")))
    };
    let mut seen: Vec<&str> = Vec::new();
    for (name, _) in url::form_urlencoded::parse(query.as_bytes()) {
        match known.iter().find(|known| **known == name) {
            None if is_plain(&name) => return refuse(&format!("there is no query parameter `{name}`")),
            None => return refuse("there is a query parameter that is not known"),
            Some(name) if seen.contains(&name.as_str()) => {
                return refuse(&format!("the query parameter `{name}` is there twice"));
            }
            Some(name) => seen.push(name),
        }
    }
    Ok(())
}

/// Whether a name is a word that can be repeated, and not a value that slipped into the name's place.
fn is_plain(name: &str) -> bool {
    name.len() <= 32 && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::super::routes::routes;
    use super::*;

    #[test]
    fn a_key_is_the_one_bearer_of_the_one_header() {
        for (values, expected) in [
            (&["Bearer gwk_1"][..], Some("gwk_1")),
            (&["bearer  gwk_1 "], Some("gwk_1")),
            (&["Bearer"], None),
            (&["Bearer "], None),
            (&["Basic gwk_1"], None),
            (&["gwk_1"], None),
            (&["Bearer gwk_1", "Bearer gwk_2"], None),
            (&[], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, value.parse().unwrap());
            }
            assert_eq!(bearer(&headers).ok(), expected, "{values:?}");
        }
    }

    fn caller(role: Role, brand: Option<&str>, partner: Option<&str>) -> Caller {
        Caller { key: "k".into(), role, brand: brand.map(Into::into), partner: partner.map(Into::into) }
    }

    #[test]
    fn a_route_admits_its_roles_within_their_scope_and_nobody_else() {
        for route in routes().into_iter().filter(|route| !route.roles.is_empty()) {
            for role in Role::ALL {
                let admits =
                    |brand, partner, path| permit(&route, &caller(role, brand, partner), path).is_ok();
                let named = route.path.contains("{brand}");
                let name = format!("{} {} {role:?}", route.method, route.path);
                let listed = route.roles.contains(&role);
                let own = admits(Some("a"), Some("p"), named.then_some("a"));
                assert_eq!(own, listed, "{name}");
                if matches!(role, Role::Brand | Role::Source) {
                    let other = admits(Some("a"), None, named.then_some("b"));
                    assert_eq!(other, listed && !named, "{name}");
                    assert!(!admits(None, None, named.then_some("a")), "{name}");
                }
                if role == Role::Partner {
                    assert!(!admits(None, None, named.then_some("a")), "{name}");
                }
            }
        }
    }

    #[test]
    fn a_refusal_for_scope_is_the_same_whatever_the_brand() {
        let route = routes().into_iter().find(|route| route.scope == Scope::Brand).unwrap();
        let key = caller(Role::Source, Some("a"), None);
        assert_eq!(
            permit(&route, &key, Some("b")).unwrap_err(),
            permit(&route, &key, Some("c")).unwrap_err()
        );
    }

    #[test]
    fn a_query_has_known_names_once_each() {
        let known = ["after".to_owned(), "limit".to_owned()];
        for (query, known, expected) in [
            ("", &known[..], None),
            ("after=1&limit=2", &known, None),
            ("limit=", &known, None),
            ("limit=1&limit=2", &known, Some("the query parameter `limit` is there twice")),
            ("offset=1", &known, Some("there is no query parameter `offset`")),
            ("jo%40example.com=1", &known, Some("there is a query parameter that is not known")),
            ("a=1", &[], Some("there is no query parameter `a`; this operation takes none")),
        ] {
            let answer =
                check_query(query, known).err().map(|p| serde_json::to_value(p).unwrap().to_string());
            match expected {
                None => assert_eq!(answer, None, "{query}"),
                Some(detail) => {
                    let answer = answer.unwrap();
                    assert!(answer.contains(detail) && !answer.contains("jo@"), "{query}: {answer}");
                }
            }
        }
    }
}
