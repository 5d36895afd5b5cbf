//! `GET /v1/brands/{brand}/connections`.

use axum::extract::State;
use utoipa_axum::routes;

use crate::http::api::Api;
use crate::http::extract::{Identity, Json, Segments};
use crate::http::problem::ProblemDetails;
use crate::http::routes::{Operation, Scope};
use crate::pipeline::{Caller, ConnectionView, Refusal, Role};

/// List what is switched on
///
/// A brand sees all of its connections. A partner sees those of its own plugins; whether a brand has
/// others, or is there at all, it cannot tell.
#[utoipa::path(
    get,
    path = "/v1/brands/{brand}/connections",
    tag = "connections",
    params(("brand" = String, Path, description = "The brand's name")),
    responses((status = 200, description = "The connections", body = Vec<ConnectionView>)),
)]
async fn list_connections(
    State(api): State<Api>,
    Identity(caller): Identity,
    Segments(brand): Segments<String>,
) -> Result<Json<Vec<ConnectionView>>, ProblemDetails> {
    Ok(Json(visible(api.gateway().connections(&brand), &caller)?))
}

fn visible(
    connections: Result<Vec<ConnectionView>, Refusal>,
    caller: &Caller,
) -> Result<Vec<ConnectionView>, Refusal> {
    match (caller.role, connections) {
        (Role::Brand, connections) => connections,
        (Role::Partner, Ok(mut connections)) => {
            connections.retain(|connection| caller.partner.as_ref() == Some(&connection.partner));
            Ok(connections)
        }
        (Role::Partner, Err(Refusal::NotFound { .. })) => Ok(Vec::new()),
        (Role::Partner, Err(refusal)) => Err(refusal),
        _ => Err(Refusal::Forbidden { message: "only brands and partners list connections".into() }),
    }
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_list_connections>(
        routes!(list_connections),
        &[Role::Brand, Role::Partner],
        Scope::Brand,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(plugin: &str, partner: &str) -> ConnectionView {
        ConnectionView {
            brand: "b".into(),
            plugin: plugin.into(),
            partner: partner.into(),
            ..ConnectionView::default()
        }
    }

    fn plugins(role: Role, partner: Option<&str>, missing: bool) -> Option<Vec<String>> {
        let caller =
            Caller { key: "k".into(), role, brand: Some("b".into()), partner: partner.map(Into::into) };
        let connections = if missing {
            Err(Refusal::NotFound { what: "brand".into() })
        } else {
            Ok(vec![connection("one", "p"), connection("two", "q")])
        };
        let visible = visible(connections, &caller).ok()?;
        Some(visible.into_iter().map(|connection| connection.plugin).collect())
    }

    #[test]
    fn a_partner_sees_its_own_and_not_whether_the_brand_is_there() {
        for (role, partner, missing, expected) in [
            (Role::Brand, None, false, Some(vec!["one", "two"])),
            (Role::Brand, None, true, None),
            (Role::Partner, Some("p"), false, Some(vec!["one"])),
            (Role::Partner, Some("x"), false, Some(vec![])),
            (Role::Partner, Some("p"), true, Some(vec![])),
            (Role::Partner, None, false, Some(vec![])),
            (Role::Operator, None, false, None),
        ] {
            let expected = expected.map(|names| names.into_iter().map(str::to_owned).collect());
            assert_eq!(plugins(role, partner, missing), expected, "{role:?} {partner:?} {missing}");
        }
    }
}
