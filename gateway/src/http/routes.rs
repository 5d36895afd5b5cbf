//! The table of operations: what the router serves, what the OpenAPI document describes, and whom each
//! admits are one list, so that no route can exist without its roles. It holds no handler.

use axum::http::Method;
use utoipa::openapi::HttpMethod;
use utoipa::openapi::path::ParameterIn;
use utoipa_axum::router::UtoipaMethodRouter;

use super::api::Api;
use super::operations;
use crate::pipeline::Role;

/// What a key must be scoped to, beside having one of the roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// To nothing that the path names. What is answered may still depend on the key.
    None,
    /// To the path's `{brand}`, for keys of the roles brand and source; other roles have no brand.
    Brand,
    /// To a partner; what is done is done for that one.
    Partner,
}

/// One route of the API.
#[derive(Clone, Debug)]
pub struct RouteInfo {
    /// HTTP method.
    pub method: Method,
    /// Path template; `{name}` is one percent-encoded segment.
    pub path: String,
    /// Roles whose keys are admitted. Empty: no key is needed.
    pub roles: &'static [Role],
    /// What the key must be scoped to.
    pub scope: Scope,
}

/// Every route of the API.
pub fn routes() -> Vec<RouteInfo> {
    all().into_iter().map(|operation| operation.route).collect()
}

/// An operation: its handler, what describes it, and whom it admits.
pub(super) struct Operation {
    pub(super) route: RouteInfo,
    /// Names of the query parameters that it takes.
    pub(super) query: Vec<String>,
    pub(super) handler: UtoipaMethodRouter<Api>,
}

impl Operation {
    /// `D` is what describes the handler: `utoipa::path` makes it, under the handler's name with `__path_`
    /// before it. Method, path and query parameters are read from it.
    pub(super) fn new<D: utoipa::Path>(
        handler: UtoipaMethodRouter<Api>,
        roles: &'static [Role],
        scope: Scope,
    ) -> Self {
        let method = D::methods().first().map_or(Method::GET, method);
        let query = D::operation()
            .parameters
            .into_iter()
            .flatten()
            .filter(|parameter| matches!(parameter.parameter_in, ParameterIn::Query))
            .map(|parameter| parameter.name)
            .collect();
        Self { route: RouteInfo { method, path: D::path(), roles, scope }, query, handler }
    }
}

fn method(method: &HttpMethod) -> Method {
    match method {
        HttpMethod::Get => Method::GET,
        HttpMethod::Post => Method::POST,
        HttpMethod::Put => Method::PUT,
        HttpMethod::Delete => Method::DELETE,
        HttpMethod::Options => Method::OPTIONS,
        HttpMethod::Head => Method::HEAD,
        HttpMethod::Patch => Method::PATCH,
        HttpMethod::Trace => Method::TRACE,
    }
}

/// The operations, in the order of the design's table.
pub(super) fn all() -> Vec<Operation> {
    vec![
        operations::put_brand::operation(),
        operations::put_partner::operation(),
        operations::put_contract::operation(),
        operations::accept_events::operation(),
        operations::decide::operation(),
        operations::get_connection::operation(),
        operations::put_connection::operation(),
        operations::delete_connection::operation(),
        operations::preview_connection::operation(),
        operations::put_rollout::operation(),
        operations::end_rollout::operation(),
        operations::roll_back::operation(),
        operations::list_connections::operation(),
        operations::list_plugins::operation(),
        operations::list_releases::operation(),
        operations::get_declaration::operation(),
        operations::diff_release::operation(),
        operations::withdraw_release::operation(),
        operations::block_release::operation(),
        operations::unblock_release::operation(),
        operations::get_choices::operation(),
        operations::put_choices::operation(),
        operations::link_consumers::operation(),
        operations::get_consumer::operation(),
        operations::list_returns::operation(),
        operations::get_aggregate::operation(),
        operations::request_disclosure::operation(),
        operations::get_disclosure::operation(),
        operations::approve_disclosure::operation(),
        operations::export_disclosure::operation(),
        operations::publish_release::operation(),
        operations::receive_message::operation(),
        operations::list_partner_calls::operation(),
        operations::list_partner_deliveries::operation(),
        operations::list_partner_logs::operation(),
        operations::get_partner_status::operation(),
        operations::list_dead_letters::operation(),
        operations::resend_dead_letter::operation(),
        operations::list_flows::operation(),
        operations::get_flow::operation(),
        operations::get_recording::operation(),
        operations::healthz::operation(),
        operations::readyz::operation(),
        operations::metrics::operation(),
        operations::problem_page::operation(),
        operations::openapi_document::operation(),
    ]
}
