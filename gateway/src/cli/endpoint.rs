//! A partner's endpoint on loopback: a real HTTP server that takes every request whole. It knows nothing of the gateway.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::CliError;

/// Octets of a request's body; the gateway's own limit is lower.
const MAX_BODY: usize = 4 * 1024 * 1024;
/// For the headers of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// For an open connection to end, once all is to end.
const END_TIMEOUT: Duration = Duration::from_secs(2);
/// After a fault of the listener, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A request as the partner got it.
#[derive(Debug, Serialize)]
pub(super) struct Received {
    pub(super) method: String,
    /// With the query.
    pub(super) path: String,
    /// By lower-case name; several of one name are joined by commas, as RFC 9110 has it.
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: String,
}

/// What is answered to a request: a status, and a JSON document.
pub(super) type Answer = (StatusCode, &'static str);

/// The running endpoint.
pub(super) struct Endpoint {
    pub(super) address: SocketAddr,
    tasks: TaskTracker,
}

impl Endpoint {
    /// Listens until `stop`; port 0 takes a free one. A request is answered with what `answer` makes of it.
    pub(super) async fn start(
        address: SocketAddr,
        answer: impl Fn(Received) -> Answer + Send + Sync + 'static,
        stop: CancellationToken,
    ) -> Result<Self, CliError> {
        let taken = CliError::listen(address, "with --port");
        let listener = TcpListener::bind(address).await.map_err(taken)?;
        let address = listener.local_addr().map_err(CliError::start("the partner's endpoint"))?;
        let tasks = TaskTracker::new();
        tasks.spawn(accept(listener, Arc::new(answer), tasks.clone(), stop));
        Ok(Self { address, tasks })
    }

    /// Waits until every connection is closed; the token given to `start` must be cancelled.
    pub(super) async fn end(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn accept<A>(listener: TcpListener, answer: Arc<A>, tasks: TaskTracker, stop: CancellationToken)
where
    A: Fn(Received) -> Answer + Send + Sync + 'static,
{
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                tasks.spawn(serve(stream, Arc::clone(&answer), stop.clone()));
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn serve<A>(stream: TcpStream, answer: Arc<A>, stop: CancellationToken)
where
    A: Fn(Received) -> Answer + Send + Sync + 'static,
{
    let service = service_fn(move |request| {
        let answer = Arc::clone(&answer);
        async move { Ok::<_, Infallible>(take(request, answer.as_ref()).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // A connection that breaks is the client's to repeat.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(END_TIMEOUT, connection).await;
        }
    }
}

async fn take(request: Request<Incoming>, answer: &impl Fn(Received) -> Answer) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let (status, body) = match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => answer(received(&head, &body.to_bytes())),
        Err(_) => (StatusCode::BAD_REQUEST, "{\"received\":false}"),
    };
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, json);
    response
}

fn received(head: &http::request::Parts, body: &[u8]) -> Received {
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in &head.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        headers
            .entry(name.as_str().to_owned())
            .and_modify(|known| {
                known.push_str(", ");
                known.push_str(&value);
            })
            .or_insert_with(|| value.clone().into_owned());
    }
    Received {
        method: head.method.to_string(),
        path: head.uri.path_and_query().map_or_else(String::new, ToString::to_string),
        headers,
        body: String::from_utf8_lossy(body).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_is_taken_is_named_with_the_way_to_another() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let answer = |_| (StatusCode::OK, "{}");
        let Err(told) = Endpoint::start(address, answer, CancellationToken::new()).await else {
            panic!("{address} is listened on twice")
        };
        let told = told.to_string();
        assert!(told.contains(&address.to_string()) && told.contains("--port"), "{told}");
    }
}
