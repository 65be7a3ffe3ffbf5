//! Lists of hosts, and media that lie elsewhere than on the web.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use jtav_media::{AddressPolicy, FetchLimits, FetchParams, Fetcher, HostRule, HostRules, Lookup, MediaSources};
use jtav_pipeline::{FetchRequest, FetchedMedia};
use jtav_schemas::{AbsentReason, MediaRef, Modality};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Redirects `/to/URL` to URL, answers everything else, and counts what it answers, by requests.
async fn serve() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, answered) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&answered);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let counter = Arc::clone(&counter);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.is_ok_and(|n| n > 0) {
                    if head.starts_with(&[22]) {
                        // A TLS handshake, which this server does not speak.
                        return;
                    }
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let path = head.split(' ').nth(1).unwrap_or_default();
                let answer = match path.strip_prefix("/to/") {
                    Some(to) => format!(
                        "HTTP/1.1 302 Found\r\nconnection: close\r\ncontent-length: 0\r\nlocation: {to}\r\n\r\n"
                    ),
                    None => {
                        counter.fetch_add(1, SeqCst);
                        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx".to_owned()
                    }
                };
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    (address, answered)
}

/// Every name is this machine.
struct Here;

impl Lookup for Here {
    fn lookup(&self, _: String, port: u16) -> BoxFuture<'static, std::io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))]) })
    }
}

fn fetcher(allow: &[SocketAddr], hosts: HostRules, sources: MediaSources) -> Fetcher {
    let params = FetchParams {
        policy: AddressPolicy { allow: allow.to_vec(), hosts, ..AddressPolicy::default() },
        limits: FetchLimits {
            max_image_bytes: 100,
            max_audio_bytes: 100,
            budget_bytes: 200,
            ..FetchLimits::for_tests()
        },
        sources,
        ..FetchParams::for_tests()
    };
    Fetcher::with_lookup(params, Arc::new(Here)).unwrap()
}

async fn get(fetcher: &Fetcher, url: String) -> Result<FetchedMedia, AbsentReason> {
    let media = MediaRef { url, media_type: None, sha256: None, bytes: None };
    let deadline = Instant::now() + Duration::from_secs(20);
    fetcher.fetch(FetchRequest { modality: Modality::Image, media, deadline }).await
}

fn rules(texts: &[&str]) -> Vec<HostRule> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[tokio::test]
async fn a_host_that_is_not_let_through_is_not_connected_to_by_name_by_address_or_by_a_redirect() {
    let (server, answered) = serve().await;
    let port = server.port();
    let lists = [
        HostRules { allow: rules(&["good.example", "*.cdn.example"]), deny: Vec::new() },
        HostRules { allow: Vec::new(), deny: rules(&["bad.example", "*.bad.example", "127.0.0.1", "bücher.example"]) },
    ];
    for hosts in lists {
        let fetcher = fetcher(&[server], hosts, MediaSources::default());
        for host in ["good.example", "a.cdn.example"] {
            assert!(get(&fetcher, format!("http://{host}:{port}/")).await.is_ok(), "{host}");
        }
        let before = answered.load(SeqCst);
        for host in ["bad.example", "BAD.example", "a.bad.example", "127.0.0.1", "127.1", "xn--bcher-kva.example"] {
            let direct = get(&fetcher, format!("http://{host}:{port}/")).await;
            assert_eq!(direct.err(), Some(AbsentReason::FetchDenied), "{host}");
            let by_redirect = get(&fetcher, format!("http://good.example:{port}/to/http://{host}:{port}/")).await;
            assert_eq!(by_redirect.err(), Some(AbsentReason::FetchDenied), "redirect to {host}");
        }
        assert_eq!(answered.load(SeqCst), before);
    }
}

#[tokio::test]
async fn a_source_that_is_not_switched_on_gives_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jpg");
    std::fs::write(&path, "x").unwrap();
    let fetcher = fetcher(&[], HostRules::default(), MediaSources::default());
    for url in
        ["data:image/png;base64,AAAA".to_owned(), format!("file://{}", path.display()), "s3://bucket/key".to_owned()]
    {
        assert_eq!(get(&fetcher, url.clone()).await.err(), Some(AbsentReason::FetchDenied), "{url}");
    }
}

#[tokio::test]
async fn media_in_their_url_are_taken_up_to_the_cap() {
    let sources = MediaSources { data: true, ..MediaSources::default() };
    let fetcher = fetcher(&[], HostRules::default(), sources);
    let media = get(&fetcher, "data:image/png;base64,AAEC".to_owned()).await.unwrap();
    assert_eq!((&media.bytes[..], media.media_type.as_deref()), (&[0, 1, 2][..], Some("image/png")));
    assert!(media.receipt.is_none() && media.reservation.is_some());
    assert_eq!(get(&fetcher, format!("data:,{}", "x".repeat(100))).await.unwrap().bytes.len(), 100);
    assert_eq!(get(&fetcher, format!("data:,{}", "x".repeat(101))).await.err(), Some(AbsentReason::TooLarge));
    assert_eq!(get(&fetcher, "data:;base64,***".to_owned()).await.err(), Some(AbsentReason::DecodeError));
    let declared = MediaRef { url: "data:,x".into(), media_type: None, sha256: Some("00".repeat(32)), bytes: None };
    let deadline = Instant::now() + Duration::from_secs(20);
    let verdict = fetcher.fetch(FetchRequest { modality: Modality::Image, media: declared, deadline }).await;
    assert_eq!(verdict.err(), Some(AbsentReason::HashMismatch));
}

#[tokio::test]
async fn only_files_below_the_folders_are_read_whatever_links_say() {
    let folder = tempfile::tempdir().unwrap();
    let (root, outside) = (folder.path().join("root"), folder.path().join("outside"));
    std::fs::create_dir_all(root.join("sub")).unwrap();
    std::fs::create_dir_all(&outside).unwrap();
    std::fs::create_dir_all(folder.path().join("root-of-another")).unwrap();
    for path in
        [root.join("a b.jpg"), root.join("sub/b.jpg"), outside.join("secret"), folder.path().join("root-of-another/c")]
    {
        std::fs::write(path, "x").unwrap();
    }
    std::fs::write(root.join("large"), "x".repeat(101)).unwrap();
    let link = |to: &Path, from: &str| std::os::unix::fs::symlink(to, root.join(from)).unwrap();
    link(&outside.join("secret"), "link");
    link(&outside, "linked-folder");
    link(Path::new("../outside/secret"), "relative-link");
    link(&root.join("sub/b.jpg"), "inner-link");
    link(Path::new("loop"), "loop");
    let pipe = std::process::Command::new("mkfifo").arg(root.join("pipe")).status().unwrap();
    assert!(pipe.success());

    let sources = MediaSources { file_roots: vec![root.clone()], ..MediaSources::default() };
    let fetcher = fetcher(&[], HostRules::default(), sources);
    let at = |path: &str| format!("file://{}/{path}", root.display());
    for path in ["a%20b.jpg", "sub/b.jpg", "inner-link", "sub/../a%20b.jpg"] {
        assert_eq!(&get(&fetcher, at(path)).await.unwrap().bytes[..], b"x", "{path}");
    }
    for path in [
        "link",
        "linked-folder/secret",
        "relative-link",
        "loop",
        "pipe",
        "sub",
        "",
        "../outside/secret",
        "%2e%2e/outside/secret",
        "sub/..%2f..%2foutside/secret",
        "../root-of-another/c",
        "../outside/not-there",
    ] {
        assert_eq!(get(&fetcher, at(path)).await.err(), Some(AbsentReason::FetchDenied), "{path}");
    }
    for url in ["file:///etc/passwd", "file://elsewhere/etc/passwd", "file:///proc/self/environ"] {
        assert_eq!(get(&fetcher, url.to_owned()).await.err(), Some(AbsentReason::FetchDenied), "{url}");
    }
    assert_eq!(get(&fetcher, at("not-there")).await.err(), Some(AbsentReason::NotFound));
    assert_eq!(get(&fetcher, at("large")).await.err(), Some(AbsentReason::TooLarge));
}

#[tokio::test]
async fn a_redirect_never_leads_off_the_web() {
    let (server, _) = serve().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a"), "x").unwrap();
    let sources = MediaSources {
        data: true,
        file_roots: vec![folder.path().to_owned()],
        s3: Some("https://{bucket}.s3.example/{key}".parse().unwrap()),
    };
    let fetcher = fetcher(&[server], HostRules::default(), sources);
    for to in ["data:,x".to_owned(), format!("file://{}/a", folder.path().display()), "s3://bucket/key".to_owned()] {
        let verdict = get(&fetcher, format!("http://{server}/to/{to}")).await;
        assert_eq!(verdict.err(), Some(AbsentReason::FetchDenied), "{to}");
    }
}

#[tokio::test]
async fn an_object_is_asked_for_where_the_endpoint_says_and_under_the_same_policy() {
    let (server, answered) = serve().await;
    let endpoint = format!("https://{{bucket}}.s3.example:{}/{{key}}", server.port());
    let sources = MediaSources { s3: Some(endpoint.parse().unwrap()), ..MediaSources::default() };
    // The server speaks no TLS: a failure of the connection, not a refusal, is what shows that it was tried.
    let open = fetcher(&[server], HostRules::default(), sources.clone());
    assert_eq!(get(&open, "s3://pictures/a.jpg".to_owned()).await.err(), Some(AbsentReason::FetchFailed));
    let closed = fetcher(&[], HostRules::default(), sources.clone());
    assert_eq!(get(&closed, "s3://pictures/a.jpg".to_owned()).await.err(), Some(AbsentReason::FetchDenied));
    let hosts = HostRules { allow: Vec::new(), deny: rules(&["private.s3.example"]) };
    let denied = fetcher(&[server], hosts, sources);
    assert_eq!(get(&denied, "s3://private/a.jpg".to_owned()).await.err(), Some(AbsentReason::FetchDenied));
    assert_eq!(answered.load(SeqCst), 0);
}
