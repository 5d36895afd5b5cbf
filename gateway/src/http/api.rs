//! What handlers share. It decides nothing.

use std::future::Future;
use std::sync::Arc;

use axum::body::Bytes;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::HttpOptions;
use super::problem::ProblemDetails;
use crate::pipeline::{Gateway, Refusal};

/// The state of the router. Cheap to clone.
#[derive(Clone)]
pub(super) struct Api(Arc<Shared>);

struct Shared {
    gateway: Arc<Gateway>,
    options: HttpOptions,
    /// The OpenAPI document, as it is sent.
    document: Bytes,
    tasks: TaskTracker,
}

impl Api {
    pub(super) fn new(
        gateway: Arc<Gateway>,
        options: HttpOptions,
        document: Bytes,
        tasks: TaskTracker,
    ) -> Self {
        Self(Arc::new(Shared { gateway, options, document, tasks }))
    }

    pub(super) fn gateway(&self) -> &Arc<Gateway> {
        &self.0.gateway
    }

    pub(super) fn options(&self) -> &HttpOptions {
        &self.0.options
    }

    pub(super) fn document(&self) -> Bytes {
        self.0.document.clone()
    }

    /// Runs a write to its end, even where the caller hangs up meanwhile: a write that is half done (stored,
    /// not yet in effect) would be worse than either. [`super::serve`] waits for it at shutdown.
    pub(super) async fn complete<T, F>(
        &self,
        write: impl FnOnce(Arc<Gateway>) -> F,
    ) -> Result<T, ProblemDetails>
    where
        F: Future<Output = Result<T, Refusal>> + Send + 'static,
        T: Send + 'static,
    {
        let write = write(Arc::clone(self.gateway())).in_current_span();
        match self.0.tasks.spawn(write).await {
            Ok(answer) => answer.map_err(ProblemDetails::from),
            Err(_) => {
                // The payload of a panic may hold anything, so it is not looked at.
                tracing::error!("a write panicked");
                Err(ProblemDetails::internal())
            }
        }
    }
}
