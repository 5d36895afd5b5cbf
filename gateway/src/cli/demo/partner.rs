//! The partner's endpoint of the demo: a real HTTP server on loopback that takes every request and keeps
//! what it got. It knows nothing of the gateway.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::record::{Received, Record};
use crate::cli::CliError;

/// Octets of a request's body; the gateway's own limit is lower.
const MAX_BODY: usize = 4 * 1024 * 1024;
/// For the headers of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// After a fault of the listener, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The running endpoint.
pub(super) struct Partner {
    pub(super) address: SocketAddr,
    tasks: TaskTracker,
    shared: Arc<Shared>,
}

struct Shared {
    received: AtomicU64,
    /// Pseudonyms that the loyalty programme was told, in their order.
    members: Mutex<Vec<String>>,
    record: Option<Arc<Record>>,
}

impl Partner {
    /// Listens on a free port until `stop`.
    pub(super) async fn start(
        record: Option<Arc<Record>>,
        stop: CancellationToken,
    ) -> Result<Self, CliError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(CliError::start("the partner's endpoint"))?;
        let address = listener.local_addr().map_err(CliError::start("the partner's endpoint"))?;
        let shared = Arc::new(Shared { received: AtomicU64::new(0), members: Mutex::default(), record });
        let tasks = TaskTracker::new();
        tasks.spawn(accept(listener, Arc::clone(&shared), tasks.clone(), stop));
        Ok(Self { address, tasks, shared })
    }

    /// Requests so far.
    pub(super) fn received(&self) -> u64 {
        self.shared.received.load(Ordering::SeqCst)
    }

    /// Pseudonyms that the loyalty programme was told so far, in their order.
    pub(super) fn members(&self) -> Vec<String> {
        self.shared.members.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until every connection is closed; the token given to `start` must be cancelled.
    pub(super) async fn end(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, tasks: TaskTracker, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                tasks.spawn(serve(stream, Arc::clone(&shared), stop.clone()));
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>, stop: CancellationToken) {
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answer(request, &shared).await) }
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
            let _ = connection.await;
        }
    }
}

/// Keeps the request, then says so: what was answered with 200 is in the record.
async fn answer(request: Request<Incoming>, shared: &Shared) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
        return reply(StatusCode::BAD_REQUEST, "{\"received\":false}");
    };
    let body = body.to_bytes();
    if let Some(record) = &shared.record
        && record.received(&Received::new(&head, &body)).is_err()
    {
        return reply(StatusCode::INSUFFICIENT_STORAGE, "{\"received\":false}");
    }
    let document: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    if let Some(member) = document.pointer("/member/ref").and_then(serde_json::Value::as_str) {
        shared.members.lock().unwrap_or_else(PoisonError::into_inner).push(member.to_owned());
    }
    shared.received.fetch_add(1, Ordering::SeqCst);
    // The identity service is asked, and knows everybody.
    let is_question = head.uri.path().ends_with("/lookup");
    reply(StatusCode::OK, if is_question { "{\"match\":\"known\"}" } else { "{\"received\":true}" })
}

fn reply(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn what_was_answered_with_200_is_in_the_record() {
        let dir = tempfile::tempdir().unwrap();
        let record = Arc::new(Record::open(dir.path()).unwrap());
        let stop = CancellationToken::new();
        let partner = Partner::start(Some(record), stop.clone()).await.unwrap();

        let mut stream = TcpStream::connect(partner.address).await.unwrap();
        let request =
            "POST /v1/leads?x=1 HTTP/1.1\r\nHost: leads.acme.example\r\nContent-Length: 5\r\n\r\nhello";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = vec![0; 15];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, b"HTTP/1.1 200 OK");
        drop(stream);
        stop.cancel();
        partner.end().await;

        assert_eq!(partner.received(), 1);
        let text = std::fs::read_to_string(dir.path().join("received.jsonl")).unwrap();
        let line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!(line["method"], "POST");
        assert_eq!(line["path"], "/v1/leads?x=1");
        assert_eq!(line["headers"]["host"], "leads.acme.example");
        assert_eq!(line["body"], "hello");
    }
}
