//! The partner's endpoint of the demo: it keeps what it got, and answers as the sample plugins' partners would.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;
use tokio_util::sync::CancellationToken;

use super::record::Record;
use crate::cli::CliError;
use crate::cli::endpoint::{Answer, Endpoint, Received};

/// The running endpoint.
pub(super) struct Partner {
    pub(super) address: SocketAddr,
    endpoint: Endpoint,
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
        let shared = Arc::new(Shared { received: AtomicU64::new(0), members: Mutex::default(), record });
        let kept = Arc::clone(&shared);
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let endpoint = Endpoint::start(free, move |request| answer(&request, &kept), stop).await?;
        Ok(Self { address: endpoint.address, endpoint, shared })
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
        self.endpoint.end().await;
    }
}

/// Keeps the request, then says so: what was answered with 200 is in the record.
fn answer(request: &Received, shared: &Shared) -> Answer {
    if let Some(record) = &shared.record
        && record.received(request).is_err()
    {
        return (StatusCode::INSUFFICIENT_STORAGE, "{\"received\":false}");
    }
    let document: serde_json::Value = serde_json::from_str(&request.body).unwrap_or_default();
    if let Some(member) = document.pointer("/member/ref").and_then(serde_json::Value::as_str) {
        shared.members.lock().unwrap_or_else(PoisonError::into_inner).push(member.to_owned());
    }
    shared.received.fetch_add(1, Ordering::SeqCst);
    // The identity service is asked, and knows everybody.
    let path = request.path.split('?').next().unwrap_or_default();
    let is_question = path.ends_with("/lookup");
    (StatusCode::OK, if is_question { "{\"match\":\"known\"}" } else { "{\"received\":true}" })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

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
