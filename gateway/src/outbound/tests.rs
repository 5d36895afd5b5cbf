//! Sending, against real servers on loopback that answer as partners may.

use super::*;
use http::Method;
use secrecy::SecretString;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const HOST: &str = "crm.acme.example";

/// One request as a server saw it.
#[derive(Clone, Debug, Default)]
struct Seen {
    line: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

#[derive(Default)]
struct Server {
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
}

/// A server that answers every request with `answer`, byte for byte.
async fn serve(answer: impl Into<Vec<u8>>) -> (SocketAddr, Arc<Server>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bind");
    let address = listener.local_addr().expect("address");
    let (server, answer) = (Arc::new(Server::default()), Arc::new(answer.into()));
    let shared = server.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            shared.connections.fetch_add(1, Ordering::SeqCst);
            let (server, answer) = (shared.clone(), answer.clone());
            tokio::spawn(async move {
                while let Some(seen) = read_request(&mut stream).await {
                    server.seen.lock().expect("lock").push(seen);
                    // Nothing to say means: be slow.
                    if answer.is_empty() {
                        tokio::time::sleep(Duration::from_secs(60)).await;
                    }
                    if stream.write_all(&answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, server)
}

async fn read_request(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        // A TLS hello begins with 0x16: answer it as a server would that knows no TLS.
        if stream.read_buf(&mut bytes).await.ok()? == 0 || bytes.first() == Some(&0x16) {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad\r\n\r\n").await;
            return None;
        }
    };
    let text = String::from_utf8(bytes[..head].to_vec()).expect("ASCII");
    let mut lines = text.split("\r\n");
    let mut seen = Seen { line: lines.next()?.to_owned(), ..Seen::default() };
    for line in lines {
        let (name, value) = line.split_once(':').expect("header");
        seen.headers.append(name.parse::<HeaderName>().expect("name"), value.trim().parse().expect("value"));
    }
    let length =
        seen.headers.get("content-length").map_or(0, |v| v.to_str().expect("text").parse().expect("number"));
    seen.body = bytes[head + 4..].to_vec();
    while seen.body.len() < length {
        if stream.read_buf(&mut seen.body).await.ok()? == 0 {
            return None;
        }
    }
    Some(seen)
}

fn outbound(address: SocketAddr) -> Outbound {
    let bindings = HashMap::from([("acme.example".to_owned(), address)]);
    let request_timeout = Duration::from_millis(400);
    Outbound::new(OutboundConfig { bindings, request_timeout, ..OutboundConfig::default() }).expect("set up")
}

fn request() -> OutboundRequest {
    OutboundRequest {
        method: Method::POST,
        url: Url::parse(&format!("https://{HOST}/v1/leads?x=1")).expect("URL"),
        media_type: Some("application/json".into()),
        headers: vec![(HeaderName::from_static("x-dealer"), HeaderValue::from_static("north"))],
        body: b"{\"email\":\"ada@x.example\"}".to_vec(),
        webhook_id: "msg_1".into(),
    }
}

const KEY: &[u8] = b"a key of more than twenty-four bytes";

fn credentials(auth: ResolvedAuth) -> Credentials {
    Credentials { auth, signing_key: SigningKey::from_bytes(KEY.to_vec()).expect("key") }
}

async fn send(outbound: &Outbound, request: OutboundRequest) -> Result<Reply, SendError> {
    outbound.transmit(request, &credentials(ResolvedAuth::None), OffsetDateTime::now_utc()).await
}

fn only(server: &Server) -> Seen {
    let seen = server.seen.lock().expect("lock");
    assert_eq!(seen.len(), 1, "one request");
    seen[0].clone()
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";

#[tokio::test]
async fn a_request_arrives_as_permitted_and_its_signature_verifies() {
    let (address, server) = serve(OK).await;
    let mut asked = request();
    // Had any of these got past placing, the host's own would still win.
    for name in ["webhook-id", "authorization", "content-type", "user-agent"] {
        asked.headers.push((HeaderName::from_static(name), HeaderValue::from_static("forged")));
    }
    let reply = send(&outbound(address), asked).await.expect("reply");
    assert_eq!((reply.status, reply.body.as_slice(), reply.truncated), (200, &b"hi"[..], false));
    let seen = only(&server);
    assert_eq!(seen.line, "POST /v1/leads?x=1 HTTP/1.1");
    assert_eq!(seen.body, request().body);
    for (name, value) in [
        ("host", HOST),
        ("content-type", "application/json"),
        ("user-agent", AGENT),
        ("webhook-id", "msg_1"),
        ("x-dealer", "north"),
    ] {
        let found: Vec<_> = seen.headers.get_all(name).iter().collect();
        assert_eq!(found, [value], "{name}");
    }
    assert!(!seen.headers.contains_key("authorization"));
    let webhook = standardwebhooks::Webhook::from_bytes(KEY.to_vec()).expect("key");
    webhook.verify(&seen.body, &seen.headers).expect("signature");
    assert!(webhook.verify(b"{}", &seen.headers).is_err());
}

#[tokio::test]
async fn each_kind_of_auth_is_sent_and_hmac_signs_with_its_own_key() {
    let secret = |text: &str| SecretString::from(text.to_owned());
    let key_text = secret("whsec_c2l4dGVlbiBieXRlcyBwbHVzIGVpZ2h0ISEh");
    let cases = [
        (ResolvedAuth::Bearer(secret("t0k")), "authorization", "Bearer t0k"),
        (
            ResolvedAuth::Basic { username: secret("u"), password: secret("p:w") },
            "authorization",
            "Basic dTpwOnc=",
        ),
        (
            ResolvedAuth::Header { name: HeaderName::from_static("x-api-key"), value: secret("k") },
            "x-api-key",
            "k",
        ),
        (ResolvedAuth::Hmac(SigningKey::from_text(&key_text).expect("key")), "webhook-id", "msg_1"),
    ];
    for (auth, name, value) in cases {
        let hmac = matches!(auth, ResolvedAuth::Hmac(_));
        assert!(!format!("{auth:?}").contains("t0k"));
        let (address, server) = serve(OK).await;
        let now = OffsetDateTime::now_utc();
        outbound(address).transmit(request(), &credentials(auth), now).await.expect("reply");
        let seen = only(&server);
        assert_eq!(seen.headers.get(name).map(HeaderValue::as_bytes), Some(value.as_bytes()));
        let connections = standardwebhooks::Webhook::from_bytes(KEY.to_vec()).expect("key");
        assert_eq!(connections.verify(&seen.body, &seen.headers).is_ok(), !hmac);
        let own = standardwebhooks::Webhook::new("whsec_c2l4dGVlbiBieXRlcyBwbHVzIGVpZ2h0ISEh").expect("key");
        assert_eq!(own.verify(&seen.body, &seen.headers).is_ok(), hmac);
    }
}

#[tokio::test]
async fn a_get_has_no_body_and_signs_the_empty_one() {
    let (address, server) = serve(OK).await;
    let asked = OutboundRequest { method: Method::GET, body: vec![], ..request() };
    send(&outbound(address), asked).await.expect("reply");
    let seen = only(&server);
    assert!(!seen.headers.contains_key("content-type") && seen.body.is_empty());
    standardwebhooks::Webhook::from_bytes(KEY.to_vec())
        .expect("key")
        .verify(b"", &seen.headers)
        .expect("signature");
}

#[tokio::test]
async fn a_redirect_is_a_reply_and_is_not_followed() {
    let (elsewhere, other) = serve(OK).await;
    let (address, server) =
        serve(format!("HTTP/1.1 307 Go\r\nlocation: http://{elsewhere}/\r\ncontent-length: 0\r\n\r\n")).await;
    let result = send(&outbound(address), request()).await;
    assert_eq!(result.as_ref().map(|reply| reply.status), Ok(307));
    assert_eq!(classify(&result), Disposition::Retry { after: None });
    assert_eq!(outcome_code(&result), "redirect");
    assert_eq!(only(&server).line, "POST /v1/leads?x=1 HTTP/1.1");
    assert_eq!(other.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn gone_throttled_and_garbage_are_told_apart() {
    for (answer, disposition, code) in [
        ("HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n", Disposition::EndpointGone, "gone"),
        (
            "HTTP/1.1 429 Slow\r\nretry-after: 30\r\ncontent-length: 0\r\n\r\n",
            Disposition::Retry { after: Some(Duration::from_secs(30)) },
            "throttled",
        ),
        ("\u{1}\u{2}not http at all\r\n\r\n", Disposition::Retry { after: None }, "protocol"),
        ("HTTP/1.1 xyz OK\r\n\r\n", Disposition::Retry { after: None }, "protocol"),
    ] {
        let (address, _server) = serve(answer).await;
        let result = send(&outbound(address), request()).await;
        assert_eq!((classify(&result), outcome_code(&result)), (disposition, code), "{answer:?}");
    }
}

#[tokio::test]
async fn a_slow_partner_times_out_and_a_dead_one_refuses() {
    let (address, _server) = serve("").await;
    let start = Instant::now();
    assert_eq!(send(&outbound(address), request()).await, Err(SendError::Timeout));
    assert!(start.elapsed() < Duration::from_secs(5));

    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bind");
    let closed = listener.local_addr().expect("address");
    drop(listener);
    assert_eq!(send(&outbound(closed), request()).await, Err(SendError::Connect));
}

#[tokio::test]
async fn a_huge_endless_or_broken_body_does_not_undo_the_status() {
    let length = 100 * 1024 * 1024;
    let mut huge = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").into_bytes();
    huge.resize(huge.len() + length, b'x');
    let (address, _server) = serve(huge).await;
    let reply = send(&outbound(address), request()).await.expect("reply");
    assert_eq!((reply.status, reply.body.len(), reply.truncated), (200, 64 * 1024, true));

    // The promised rest never comes: the request's own limit ends the waiting.
    let (address, _server) = serve("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhi").await;
    let reply = send(&outbound(address), request()).await.expect("reply");
    assert_eq!((reply.status, reply.body.as_slice(), reply.truncated), (200, &b"hi"[..], true));
}

#[tokio::test]
async fn connections_are_kept_alive() {
    let (address, server) = serve(OK).await;
    let outbound = outbound(address);
    for _ in 0..5 {
        send(&outbound, request()).await.expect("reply");
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_is_not_a_public_https_name_is_refused_before_a_byte_is_sent() {
    let (address, server) = serve(OK).await;
    let outbound = outbound(address);
    for (url, refusal) in [
        ("http://crm.acme.example/", Refusal::NotHttps),
        ("https://127.0.0.1/", Refusal::IpLiteral),
        ("https://2130706433/", Refusal::IpLiteral),
        ("https://0x7f.1/", Refusal::IpLiteral),
        ("https://[::1]/", Refusal::IpLiteral),
        ("https://8.8.8.8/", Refusal::IpLiteral),
        ("https://[::ffff:10.0.0.1]/", Refusal::IpLiteral),
        ("https://user:pw@crm.acme.example/", Refusal::UserInfo),
        ("https://crm.acme.example:8443/", Refusal::Port),
        ("https://localhost/", Refusal::AddressNotPublic),
    ] {
        let asked = OutboundRequest { url: Url::parse(url).expect(url), ..request() };
        let result = send(&outbound, asked).await;
        // Without trust roots nothing gets as far as a resolver; that is a refusal as well.
        if refusal == Refusal::AddressNotPublic && result == Err(SendError::NoTrustRoots) {
            continue;
        }
        assert_eq!(result, Err(SendError::Refused(refusal)), "{url}");
        assert!(matches!(classify(&result), Disposition::Failed(_)), "{url}");
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn over_tls_nothing_is_said_to_a_server_that_cannot_prove_its_name() {
    let (address, server) = serve(OK).await;
    // The public client, but for its resolver, which would refuse a loopback address.
    let bindings = Arc::new(HashMap::from([("acme.example".to_owned(), address)]));
    let config = OutboundConfig { request_timeout: Duration::from_millis(400), ..OutboundConfig::default() };
    let client = builder(&config)
        .https_only(true)
        .dns_resolver(Arc::new(BoundResolver::new(bindings)))
        .tls_certs_only([])
        .build();
    let outbound = Outbound { tls: Some(client.expect("client")), ..outbound(address) };
    let outbound = Outbound { bindings: Arc::default(), ..outbound };
    assert_eq!(send(&outbound, request()).await, Err(SendError::Tls));
    assert!(server.seen.lock().expect("lock").is_empty());
}

/// What the client is given to connect to.
async fn given_out(lookup: Lookup) -> Result<Vec<IpAddr>, Refusal> {
    use reqwest::dns::Resolve;
    let resolver = PublicResolver::new(lookup, Addresses::default());
    match resolver.resolve(HOST.parse().expect("name")).await {
        Ok(addresses) => Ok(addresses.map(|address| address.ip()).collect()),
        Err(error) => Err(*error.downcast_ref().expect("a refusal")),
    }
}

fn finds(addresses: &[&str]) -> Lookup {
    let found: Vec<IpAddr> = addresses.iter().map(|address| address.parse().expect("an address")).collect();
    Lookup::from_fn(move |_| found.clone())
}

#[tokio::test]
async fn of_what_a_name_leads_to_only_public_addresses_are_given_out() {
    const PUBLIC: &str = "93.184.215.14";
    const PUBLIC_6: &str = "2606:2800:21f:cb07:6820:80da:af6b:8b2c";
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("public ones", &[PUBLIC, PUBLIC_6], &[PUBLIC, PUBLIC_6]),
        ("none", &[], &[]),
        ("a private one", &["10.0.0.1"], &[]),
        ("private ones", &["192.168.1.10", "172.16.0.1"], &[]),
        ("loopback", &["127.0.0.1"], &[]),
        ("loopback of IPv6", &["::1"], &[]),
        ("link-local, where clouds tell of themselves", &["169.254.169.254"], &[]),
        ("link-local of IPv6", &["fe80::1"], &[]),
        ("unique local", &["fd00:ec2::254"], &[]),
        ("mapped private", &["::ffff:10.0.0.1"], &[]),
        ("mapped loopback", &["::ffff:127.0.0.1"], &[]),
        // A public address in this form would reach a host of the other family, whatever the table says of it there.
        ("mapped public", &["::ffff:93.184.215.14"], &[]),
        ("private behind NAT64", &["64:ff9b::10.0.0.1"], &[]),
        ("this host", &["0.0.0.0"], &[]),
        ("a private one first", &["10.0.0.1", PUBLIC], &[PUBLIC]),
        ("a private one last", &[PUBLIC, "127.0.0.1"], &[PUBLIC]),
        ("one of each family", &["fd00::1", PUBLIC, "::1", PUBLIC_6], &[PUBLIC, PUBLIC_6]),
    ];
    for (what, found, public) in cases {
        let public: Vec<IpAddr> = public.iter().map(|address| address.parse().expect("an address")).collect();
        let expected = if public.is_empty() { Err(Refusal::AddressNotPublic) } else { Ok(public) };
        assert_eq!(given_out(finds(found)).await, expected, "{what}");
    }
}

#[tokio::test]
async fn a_request_to_a_name_that_leads_inside_is_not_sent_and_not_tried_again() {
    let config = OutboundConfig { lookup: finds(&["10.0.0.1"]), ..OutboundConfig::default() };
    let resolver = PublicResolver::new(config.lookup.clone(), Addresses::default());
    // The public client, but that it exists also where the system has no trust roots.
    let client =
        builder(&config).https_only(true).dns_resolver(Arc::new(resolver)).tls_certs_only([]).build();
    let outbound = Outbound { tls: Some(client.expect("client")), ..Outbound::new(config).expect("set up") };
    let result = send(&outbound, request()).await;
    assert_eq!(result, Err(SendError::Refused(Refusal::AddressNotPublic)));
    assert_eq!(classify(&result), Disposition::Failed("address-not-public"));
    assert_eq!(outcome_code(&result), "address-not-public");
}

#[tokio::test]
async fn the_gateways_own_addresses_are_given_out_to_nobody() {
    use reqwest::dns::Resolve;
    let own: IpAddr = "93.184.215.14".parse().expect("an address");
    let resolver = PublicResolver::new(finds(&["93.184.215.14"]), Addresses::new([own]));
    let refused = resolver.resolve(HOST.parse().expect("name")).await.err().expect("refused");
    assert_eq!(refused.downcast_ref(), Some(&Refusal::AddressNotPublic));
}

#[tokio::test]
async fn without_another_lookup_the_system_is_asked() {
    use reqwest::dns::Resolve;
    let lookup = OutboundConfig::default().lookup;
    let resolver = PublicResolver::new(lookup, Addresses::default());
    // In any system's table of hosts.
    let error = resolver.resolve("localhost".parse().expect("name")).await.err().expect("refused");
    assert_eq!(error.downcast_ref::<Refusal>(), Some(&Refusal::AddressNotPublic));
}

#[test]
fn bindings_hold_for_a_name_and_all_below_it_and_stay_on_the_machine() {
    let address: SocketAddr = "127.0.0.1:9".parse().expect("address");
    let bindings = HashMap::from([("acme.example".to_owned(), address)]);
    for (host, bound) in [
        ("acme.example", true),
        ("a.b.acme.example", true),
        ("xacme.example", false),
        ("example", false),
        ("", false),
    ] {
        assert_eq!(resolver::binding(&bindings, host).is_some(), bound, "{host}");
    }
    for outside in ["10.0.0.1:80", "0.0.0.0:80", "8.8.8.8:80", "[2600::1]:80"] {
        let bindings = HashMap::from([("acme.example".to_owned(), outside.parse().expect("address"))]);
        let refused = Outbound::new(OutboundConfig { bindings, ..OutboundConfig::default() });
        assert!(matches!(refused, Err(OutboundError::BindingNotLoopback { .. })), "{outside}");
    }
}

#[test]
fn secrets_that_do_not_fit_are_refused() {
    let secret = |text: &str| SecretString::from(text.to_owned());
    assert_eq!(SigningKey::from_text(&secret("whsec_***")).err(), Some(KeyError::Encoding));
    assert_eq!(SigningKey::from_text(&secret("c2hvcnQ=")).err(), Some(KeyError::Short));
    for auth in [
        ResolvedAuth::Bearer(secret("a\r\nx: y")),
        ResolvedAuth::Basic { username: secret("a:b"), password: secret("c") },
    ] {
        assert_eq!(auth.header().err(), Some(SendError::Header("authorization")));
    }
}
