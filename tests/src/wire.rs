//! Both ends of the wire, as cheap as can be: a keep-alive client, and an endpoint that only counts. Written on
//! the socket, because they share the cores with what is measured.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use httparse::{EMPTY_HEADER, Header, Status};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const HEADERS: usize = 32;
/// More than any message here has.
const BUFFER: usize = 16 * 1024;

/// One keep-alive connection.
pub struct Wire {
    stream: TcpStream,
    authorization: String,
    buffer: Vec<u8>,
}

impl Wire {
    /// `address` is HOST:PORT.
    pub async fn connect(address: &str, key: Option<&str>) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let authorization = format!("Bearer {}", key.unwrap_or("none"));
        Self { stream, authorization, buffer: Vec::with_capacity(BUFFER) }
    }

    /// The status and the body of the answer.
    pub async fn post(&mut self, path: &str, content_type: &str, body: Vec<u8>) -> (u16, Vec<u8>) {
        self.buffer.clear();
        write!(
            self.buffer,
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: {}\r\ncontent-type: {content_type}\r\n\
             content-length: {}\r\n\r\n",
            self.authorization,
            body.len()
        )
        .unwrap();
        self.buffer.extend_from_slice(&body);
        self.stream.write_all(&self.buffer).await.unwrap();
        self.buffer.clear();
        let answer = read(&mut self.stream, &mut self.buffer, |bytes| {
            let mut headers = [EMPTY_HEADER; HEADERS];
            let mut answer = httparse::Response::new(&mut headers);
            let Status::Complete(head) = answer.parse(bytes).unwrap() else { return None };
            Some((answer.code.unwrap(), head, length(answer.headers).expect("an answer says how long it is")))
        });
        let (status, body) = answer.await.expect("an answer comes whole");
        (status, body.to_vec())
    }
}

/// So many connections with one key.
pub async fn wires(address: &str, key: &str, count: usize) -> Vec<Wire> {
    let mut wires = Vec::new();
    for _ in 0..count {
        wires.push(Wire::connect(address, Some(key)).await);
    }
    wires
}

/// A partner's endpoint that reads each request and counts it.
pub struct Sink {
    pub address: SocketAddr,
    count: Arc<AtomicUsize>,
}

impl Sink {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                tokio::spawn(swallow(stream, Arc::clone(&counted)));
            }
        });
        Self { address, count }
    }

    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

async fn swallow(mut stream: TcpStream, counted: Arc<AtomicUsize>) {
    let mut buffer = Vec::with_capacity(BUFFER);
    loop {
        let request = read(&mut stream, &mut buffer, |bytes| {
            let mut headers = [EMPTY_HEADER; HEADERS];
            let mut request = httparse::Request::new(&mut headers);
            let Status::Complete(head) = request.parse(bytes).unwrap() else { return None };
            Some(((), head, length(request.headers).expect("a request says how long it is")))
        });
        if request.await.is_none() {
            return;
        }
        buffer.clear();
        counted.fetch_add(1, Ordering::Relaxed);
        if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.is_err() {
            return;
        }
    }
}

/// What `parse` makes of a head, with its length and that of the body, and the body, once both are there; `None`
/// where the connection ends before. One message at a time: nothing follows it before it is answered.
async fn read<'a, T>(
    stream: &mut TcpStream,
    buffer: &'a mut Vec<u8>,
    parse: impl Fn(&[u8]) -> Option<(T, usize, usize)>,
) -> Option<(T, &'a [u8])> {
    loop {
        if let Some((told, head, body)) = parse(buffer)
            && buffer.len() >= head + body
        {
            assert_eq!(buffer.len(), head + body, "one message at a time");
            return Some((told, &buffer[head..head + body]));
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

fn length(headers: &[Header]) -> Option<usize> {
    let header = headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"))?;
    std::str::from_utf8(header.value).ok()?.parse().ok()
}
