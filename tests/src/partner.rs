//! A partner's endpoint: a real HTTP/1.1 server on loopback that keeps what it gets and answers as it is told,
//! also with what is no HTTP. Written on the socket, because a server library would not send garbage.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Received {
    pub at: OffsetDateTime,
    pub method: String,
    /// With the query.
    pub path: String,
    /// In the order of the request, names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Received {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The `Host` header.
    pub fn host(&self) -> &str {
        self.header("host").unwrap_or_default()
    }

    /// The `webhook-id` header.
    pub fn webhook_id(&self) -> &str {
        self.header("webhook-id").unwrap_or_default()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What the endpoint does with a request, after it has kept it.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// Answers with this status and an empty JSON object.
    Status(u16),
    /// Answers with this status, these headers and this body.
    Answer(u16, Vec<(String, String)>, Vec<u8>),
    /// Waits, then does the other.
    Delay(Duration, Box<Behaviour>),
    /// Waits until it is told to, then does the other.
    Held(Arc<Notify>, Box<Behaviour>),
    /// Says where else to go.
    Redirect(String),
    /// Sends these bytes, whatever they are, and closes.
    Garbage(Vec<u8>),
    /// Announces and sends a body of so many bytes.
    HugeBody(u64),
    /// Closes without an answer.
    Close,
    /// Never answers; keeps the connection.
    Hang,
}

impl Behaviour {
    /// An answer with one header.
    pub fn with_header(status: u16, name: &str, value: &str) -> Self {
        Self::Answer(status, vec![(name.to_owned(), value.to_owned())], b"{}".to_vec())
    }
}

#[derive(Default)]
struct State {
    received: Mutex<Vec<Received>>,
    /// What comes first; then `usual`.
    script: Mutex<VecDeque<Behaviour>>,
    usual: Mutex<Option<Behaviour>>,
}

/// The running endpoint. Dropping the last handle ends it.
#[derive(Clone)]
pub struct Partner {
    pub address: SocketAddr,
    state: Arc<State>,
    _task: Arc<Abort>,
}

struct Abort(JoinHandle<()>);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Partner {
    /// Listens on a free port; answers 200 until told otherwise.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { address, state, _task: Arc::new(Abort(task)) }
    }

    /// What it does from now on, once the script is over.
    pub fn behave(&self, behaviour: Behaviour) {
        *self.state.usual.lock().unwrap() = Some(behaviour);
    }

    /// What it does with the next requests, one each.
    pub fn script(&self, behaviours: impl IntoIterator<Item = Behaviour>) {
        self.state.script.lock().unwrap().extend(behaviours);
    }

    /// All that it got so far.
    pub fn received(&self) -> Vec<Received> {
        self.state.received.lock().unwrap().clone()
    }

    /// Waits until it has got so many.
    pub async fn wait_for(&self, count: usize) -> Vec<Received> {
        crate::eventually(&format!("{count} requests at the partner"), || async {
            let received = self.received();
            (received.len() >= count).then_some(received)
        })
        .await
    }
}

async fn serve(mut stream: TcpStream, state: Arc<State>) {
    let mut buffer = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut buffer).await {
        state.received.lock().unwrap().push(request);
        let scripted = state.script.lock().unwrap().pop_front();
        let usual = || state.usual.lock().unwrap().clone();
        let behaviour = scripted.or_else(usual).unwrap_or(Behaviour::Status(200));
        if !answer(&mut stream, behaviour).await {
            return;
        }
    }
}

/// `None` where the connection ended.
async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Received> {
    let head = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break buffer.drain(..end + 4).collect::<Vec<u8>>();
        }
        more(stream, buffer).await?;
    };
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    while buffer.len() < length {
        more(stream, buffer).await?;
    }
    let body = buffer.drain(..length).collect();
    Some(Received { at: OffsetDateTime::now_utc(), method, path, headers, body })
}

async fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    let mut chunk = [0; 16 * 1024];
    match stream.read(&mut chunk).await {
        Ok(0) | Err(_) => None,
        Ok(read) => {
            buffer.extend_from_slice(&chunk[..read]);
            Some(())
        }
    }
}

/// False where the connection is to end.
async fn answer(stream: &mut TcpStream, behaviour: Behaviour) -> bool {
    match behaviour {
        Behaviour::Status(status) => write(stream, status, &[], b"{}").await,
        Behaviour::Answer(status, headers, body) => write(stream, status, &headers, &body).await,
        Behaviour::Delay(wait, then) => {
            tokio::time::sleep(wait).await;
            Box::pin(answer(stream, *then)).await
        }
        Behaviour::Held(told, then) => {
            told.notified().await;
            Box::pin(answer(stream, *then)).await
        }
        Behaviour::Redirect(to) => write(stream, 302, &[("location".to_owned(), to)], b"").await,
        Behaviour::Garbage(bytes) => {
            let _ = stream.write_all(&bytes).await;
            false
        }
        Behaviour::HugeBody(bytes) => huge(stream, bytes).await,
        Behaviour::Close => false,
        Behaviour::Hang => std::future::pending().await,
    }
}

async fn write(stream: &mut TcpStream, status: u16, headers: &[(String, String)], body: &[u8]) -> bool {
    let mut head = format!("HTTP/1.1 {status} Told\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("content-type: application/json\r\n\r\n");
    stream.write_all(head.as_bytes()).await.is_ok() && stream.write_all(body).await.is_ok()
}

async fn huge(stream: &mut TcpStream, bytes: u64) -> bool {
    let head = format!("HTTP/1.1 200 Told\r\ncontent-length: {bytes}\r\n\r\n");
    if stream.write_all(head.as_bytes()).await.is_err() {
        return false;
    }
    let chunk = vec![b'x'; 64 * 1024];
    let mut left = bytes;
    while left > 0 {
        let size = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
        if stream.write_all(&chunk[..size]).await.is_err() {
            return false;
        }
        left -= size as u64;
    }
    true
}
