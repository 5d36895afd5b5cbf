//! The HTTP API: the only room with axum. It says who may call what, turns requests into calls of the
//! pipeline and its answers into responses; it decides nothing about data and reads no store.

mod api;
mod body;
mod document;
mod extract;
mod guard;
mod meter;
mod openapi;
mod operations;
mod problem;
mod routes;
mod serve;
mod watch;

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::response::IntoResponse;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::task::TaskTracker;

pub use meter::install_metrics;
pub use openapi::openapi;
pub use problem::{Code, ProblemDetails};
pub use routes::{RouteInfo, Scope, routes};
pub use serve::serve;

use crate::pipeline::Gateway;
use api::Api;
use guard::Guard;
use watch::{Watch, method_label};

/// What an operator can set.
#[derive(Clone)]
pub struct HttpOptions {
    /// Largest body of events and documents, in bytes.
    pub max_body: usize,
    /// Largest component that can be published, in bytes.
    pub max_component: usize,
    /// What `/metrics` shows; without it, there is no such page. See [`install_metrics`].
    pub metrics: Option<PrometheusHandle>,
}

impl Default for HttpOptions {
    /// 1 MiB for bodies (a batch of several hundred chats), 32 MiB for components (a Python plugin has 18 MB).
    fn default() -> Self {
        Self { max_body: 1 << 20, max_component: 32 << 20, metrics: None }
    }
}

/// The API of a gateway.
pub fn router(gateway: Arc<Gateway>, options: HttpOptions) -> Router {
    assemble(gateway, options, TaskTracker::new())
}

/// The API; `tasks` are its writes under way.
fn assemble(gateway: Arc<Gateway>, options: HttpOptions, tasks: TaskTracker) -> Router {
    let document = serde_json::to_vec(&openapi()).unwrap_or_default();
    let api = Api::new(Arc::clone(&gateway), options, Bytes::from(document), tasks);
    let mut router = Router::new();
    for operation in routes::all() {
        let path = operation.route.path.clone();
        let (_, _, handler) = operation.handler;
        let guard = Guard::new(Arc::clone(&gateway), operation.route, operation.query);
        // Around the route only: a method that is not allowed there is answered without looking at a key.
        router = router.route(&path, handler.route_layer(guard));
    }
    router
        .method_not_allowed_fallback(elsewhere(|| {
            ProblemDetails::new(Code::MethodNotAllowed, "this path has other methods; `Allow` names them")
        }))
        .fallback(elsewhere(|| {
            ProblemDetails::new(
                Code::NotFound,
                "there is no such path; `/openapi.json` has those that there are",
            )
        }))
        .with_state(api)
}

/// Answers what no route answers; in metrics and logs, one route for all of it.
fn elsewhere(
    problem: fn() -> ProblemDetails,
) -> impl Fn(Request) -> std::pin::Pin<Box<dyn Future<Output = axum::response::Response> + Send>> + Clone {
    let watches: Arc<[Watch]> =
        watch::METHOD_LABELS.iter().map(|method| Watch::new(method, "unmatched")).collect();
    move |request| {
        let watches = Arc::clone(&watches);
        Box::pin(async move {
            let label = method_label(request.method());
            let answer = async { problem().into_response() };
            match watches.get(label) {
                Some(watch) => watch.around(answer).await,
                None => answer.await,
            }
        })
    }
}
