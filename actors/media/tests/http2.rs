//! HTTP/2 from a real TLS server on this machine, which offers it in the handshake and speaks nothing else.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use jtav_media::{AddressPolicy, FetchLimits, FetchParams, Fetcher, Lookup};
use jtav_pipeline::FetchRequest;
use jtav_schemas::{AbsentReason, MediaRef, Modality};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const AUTHORITY: &[u8] = include_bytes!("fixtures/tls/authority.pem");
const PICTURE: &[u8] = include_bytes!("../../../crates/media-codecs/tests/fixtures/photo.jpg");

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: AtomicUsize,
    now: AtomicUsize,
    most_at_once: AtomicUsize,
}

fn acceptor() -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("fixtures/tls/server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("fixtures/tls/server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// Answers every request with the picture after a moment.
async fn serve() -> (SocketAddr, Arc<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, seen, acceptor) = (listener.local_addr().unwrap(), Arc::new(Seen::default()), acceptor());
    let counted = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (seen, acceptor) = (Arc::clone(&counted), acceptor.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                seen.connections.fetch_add(1, SeqCst);
                let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                while let Some(Ok((request, respond))) = connection.accept().await {
                    assert_eq!(request.version(), http::Version::HTTP_2);
                    tokio::spawn(answer(respond, Arc::clone(&seen)));
                }
            });
        }
    });
    (address, seen)
}

async fn answer(mut respond: h2::server::SendResponse<bytes::Bytes>, seen: Arc<Seen>) {
    seen.requests.fetch_add(1, SeqCst);
    let now = seen.now.fetch_add(1, SeqCst) + 1;
    seen.most_at_once.fetch_max(now, SeqCst);
    tokio::time::sleep(Duration::from_millis(50)).await;
    seen.now.fetch_sub(1, SeqCst);
    let head = http::Response::builder().header("content-type", "image/jpeg").body(()).unwrap();
    if let Ok(mut body) = respond.send_response(head, false) {
        let _ = body.send_data(PICTURE.into(), true);
    }
}

/// Every name is this machine.
struct Here;

impl Lookup for Here {
    fn lookup(&self, _: String, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))]) })
    }
}

fn fetcher(server: SocketAddr, trusted: bool) -> Fetcher {
    let params = FetchParams {
        policy: AddressPolicy { allow: vec![server], ..AddressPolicy::default() },
        limits: FetchLimits { max_per_host: 2, max_attempts: 1, ..FetchLimits::for_tests() },
        extra_authorities_pem: if trusted { vec![AUTHORITY.to_vec()] } else { Vec::new() },
        ..FetchParams::for_tests()
    };
    Fetcher::with_lookup(params, Arc::new(Here)).unwrap()
}

async fn get(fetcher: &Fetcher, url: String) -> Result<usize, AbsentReason> {
    let media = MediaRef { url, media_type: None, sha256: None, bytes: None };
    let deadline = Instant::now() + Duration::from_secs(20);
    fetcher.fetch(FetchRequest { modality: Modality::Image, media, deadline }).await.map(|media| media.bytes.len())
}

#[tokio::test]
async fn a_server_that_offers_http2_gets_it_and_no_more_requests_at_once_than_a_host_may_have() {
    let (server, seen) = serve().await;
    let fetcher = fetcher(server, true);
    let url = || format!("https://media.example:{}/a.jpg", server.port());
    assert_eq!(get(&fetcher, url()).await, Ok(PICTURE.len()));
    let all = futures::future::join_all((0..8).map(|_| get(&fetcher, url()))).await;
    assert!(all.iter().all(|result| *result == Ok(PICTURE.len())), "{all:?}");
    assert_eq!((seen.requests.load(SeqCst), seen.connections.load(SeqCst)), (9, 1), "many requests, one connection");
    assert_eq!(seen.most_at_once.load(SeqCst), 2, "though one connection could carry all");
}

#[tokio::test]
async fn a_certificate_of_nobody_known_or_of_another_name_is_refused() {
    let (server, seen) = serve().await;
    let url = format!("https://media.example:{}/a.jpg", server.port());
    assert_eq!(get(&fetcher(server, false), url).await, Err(AbsentReason::FetchFailed));
    let url = format!("https://other.example:{}/a.jpg", server.port());
    assert_eq!(get(&fetcher(server, true), url).await, Err(AbsentReason::FetchFailed));
    assert_eq!(seen.requests.load(SeqCst), 0);
}
