//! Connections: taking them, bounding how long they may stall, and ending them without losing what was
//! accepted. It knows no route.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::serve::Listener;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::HttpOptions;
use crate::pipeline::Gateway;

/// How long a connection may take to send a request's head, and so how long it may idle between two.
/// Long enough for a client's pool to be of use.
const HEAD: Duration = Duration::from_secs(60);

/// How long shutdown waits for requests under way. Above the time that a body may take to arrive and a
/// component to compile, so that only a client that does not read its answer is cut off.
const DRAIN: Duration = Duration::from_secs(90);

/// How often the metrics' samples are folded into their histograms; without that they would pile up
/// where nobody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// Resolves where no request came in time. hyper's own limit begins once a connection has said which version of HTTP it
/// speaks; one that says nothing would stay.
async fn silent(begun: &AtomicBool, within: Duration) {
    tokio::time::sleep(within).await;
    if begun.load(Ordering::Relaxed) {
        std::future::pending().await
    }
}

/// Serves the API until `shutdown` resolves; then takes no new connection, finishes the requests and
/// writes that it accepted, and returns. The caller shuts the gateway down afterwards.
///
/// # Errors
/// Where the listener has no address, and so cannot be listening.
pub async fn serve(
    listener: TcpListener,
    gateway: Arc<Gateway>,
    options: HttpOptions,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let address = TcpListener::local_addr(&listener)?;
    tracing::info!(%address, "the API is served");
    let upkeep = options.metrics.clone();
    let writes = TaskTracker::new();
    let router = super::assemble(gateway, options, writes.clone());
    let service = router.map_request(|request: axum::http::Request<_>| request.map(Body::new));

    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(HEAD);

    let connections = TaskTracker::new();
    let closing = CancellationToken::new();
    let mut listener = listener;
    let mut shutdown = pin!(shutdown);
    let mut tick = tokio::time::interval(UPKEEP);
    loop {
        let stream: TcpStream = tokio::select! {
            () = &mut shutdown => break,
            // This also waits out a lack of file descriptors, rather than spin.
            (stream, _) = Listener::accept(&mut listener) => stream,
            _ = tick.tick() => {
                if let Some(metrics) = &upkeep {
                    metrics.run_upkeep();
                }
                continue;
            }
        };
        // Answers are small and whole: nothing is gained by waiting to fill a segment.
        if stream.set_nodelay(true).is_err() {
            continue; // The peer has gone.
        }
        let begun = Arc::new(AtomicBool::new(false));
        let first = Arc::clone(&begun);
        let service = service.clone().map_request(move |request| {
            first.store(true, Ordering::Relaxed);
            request
        });
        let connection =
            builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).into_owned();
        let closing = closing.clone();
        connections.spawn(async move {
            let mut connection = pin!(connection);
            let ended = tokio::select! {
                ended = &mut connection => ended,
                () = silent(&begun, HEAD) => return,
                () = closing.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if ended.is_err() {
                // Its text can quote what was sent.
                tracing::debug!("a connection ended with an error");
            }
        });
    }

    drop(listener);
    closing.cancel();
    connections.close();
    tracing::info!(
        connections = connections.len(),
        "no new connection is taken; finishing what was accepted"
    );
    let drained = tokio::time::timeout(DRAIN, async {
        connections.wait().await;
        writes.close();
        writes.wait().await;
    });
    if drained.await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            writes = writes.len(),
            "not all of it was finished in time"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_without_a_request_ends_and_one_with_a_request_does_not() {
        silent(&AtomicBool::new(false), Duration::ZERO).await;
        let busy = AtomicBool::new(true);
        let stays = tokio::time::timeout(Duration::from_millis(50), silent(&busy, Duration::ZERO));
        assert!(stays.await.is_err());
    }
}
