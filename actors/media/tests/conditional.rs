//! Receipts of answers, and asking again with them, against a real HTTP server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use jtav_media::{AddressPolicy, FetchParams, Fetcher};
use jtav_pipeline::{FetchRequest, FetchedMedia, Receipt, Revalidated};
use jtav_schemas::{AbsentReason, MediaRef, Modality};

const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const ONE: &[u8] = b"the first content";
const OTHER: &[u8] = b"the second content";

/// What the server was asked, and what it holds now.
#[derive(Default)]
struct State {
    asked: Vec<(String, Option<String>, Option<String>)>,
    is_changed: bool,
}

type Shared = web::Data<Mutex<State>>;

fn note(request: &HttpRequest, state: &Shared) -> bool {
    let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let mut state = state.lock().unwrap();
    state.asked.push((request.path().to_owned(), header("if-none-match"), header("if-modified-since")));
    state.is_changed
}

/// A resource with both validators, as a careful server has it.
async fn tagged(request: HttpRequest, state: Shared) -> HttpResponse {
    let is_changed = note(&request, &state);
    let tag = if is_changed { "\"v2\"" } else { "\"v1\"" };
    if request.headers().get("if-none-match").is_some_and(|asked| asked == tag) {
        return HttpResponse::NotModified()
            .insert_header(("etag", tag))
            .insert_header(("cache-control", "max-age=60"))
            .finish();
    }
    HttpResponse::Ok().insert_header(("etag", tag)).insert_header(("cache-control", "max-age=0")).body(if is_changed {
        OTHER
    } else {
        ONE
    })
}

/// Only a date.
async fn dated(request: HttpRequest, state: Shared) -> HttpResponse {
    note(&request, &state);
    if request.headers().get("if-modified-since").is_some_and(|asked| asked == MODIFIED) {
        return HttpResponse::NotModified().finish();
    }
    HttpResponse::Ok().insert_header(("last-modified", MODIFIED)).insert_header(("cache-control", "no-cache")).body(ONE)
}

/// Says "not modified" of something else than what was asked about.
async fn confused(request: HttpRequest, state: Shared) -> HttpResponse {
    note(&request, &state);
    if request.headers().contains_key("if-none-match") {
        return HttpResponse::NotModified().insert_header(("etag", "\"of something else\"")).finish();
    }
    HttpResponse::Ok().insert_header(("etag", "\"v1\"")).body(ONE)
}

/// `/say/{cache_control}`: any `Cache-Control`, with a tag.
async fn say(request: HttpRequest, state: Shared, said: web::Path<String>) -> HttpResponse {
    note(&request, &state);
    HttpResponse::Ok().insert_header(("etag", "\"v1\"")).insert_header(("cache-control", said.into_inner())).body(ONE)
}

/// `/moved/{cache_control}`: to the tagged resource.
async fn moved(request: HttpRequest, state: Shared, said: web::Path<String>) -> HttpResponse {
    note(&request, &state);
    HttpResponse::Found()
        .insert_header(("location", "/say/max-age=600"))
        .insert_header(("cache-control", said.into_inner()))
        .finish()
}

fn serve() -> (SocketAddr, Shared) {
    let state: Shared = web::Data::new(Mutex::default());
    let data = state.clone();
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let server = HttpServer::new(move || {
                App::new()
                    .app_data(data.clone())
                    .route("/tagged", web::get().to(tagged))
                    .route("/dated", web::get().to(dated))
                    .route("/confused", web::get().to(confused))
                    .route("/say/{said}", web::get().to(say))
                    .route("/moved/{said}", web::get().to(moved))
                    .route(
                        "/to-tagged",
                        web::get()
                            .to(|| async { HttpResponse::Found().insert_header(("location", "/tagged")).finish() }),
                    )
            });
            let server = server.workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
            send.send(server.addrs()[0]).unwrap();
            server.run().await.unwrap();
        });
    });
    (receive.recv().unwrap(), state)
}

fn fetcher(server: SocketAddr) -> Fetcher {
    let policy = AddressPolicy { allow: vec![server], ..AddressPolicy::default() };
    Fetcher::new(FetchParams { policy, ..FetchParams::for_tests() }).unwrap()
}

fn request(url: &str, sha256: Option<String>) -> FetchRequest {
    FetchRequest {
        modality: Modality::Image,
        media: MediaRef { url: url.to_owned(), media_type: None, sha256, bytes: None },
        deadline: Instant::now() + Duration::from_secs(20),
    }
}

async fn get(fetcher: &Fetcher, url: &str) -> FetchedMedia {
    fetcher.fetch(request(url, None)).await.unwrap()
}

async fn again(fetcher: &Fetcher, url: &str, earlier: &Arc<Receipt>) -> Result<Revalidated, AbsentReason> {
    fetcher.revalidate(request(url, None), Arc::clone(earlier)).await
}

fn left(receipt: &Receipt) -> Duration {
    receipt.fresh_until.saturating_duration_since(Instant::now())
}

#[tokio::test]
async fn a_resource_that_has_not_changed_costs_no_body_and_one_that_has_comes_anew() {
    let (server, state) = serve();
    let (fetcher, url) = (fetcher(server), format!("http://{server}/tagged"));
    let receipt = get(&fetcher, &url).await.receipt.unwrap();
    assert_eq!(receipt.content_hash, *blake3::hash(ONE).as_bytes());
    assert!(!receipt.is_fresh(Instant::now()));

    let Ok(Revalidated::Unchanged(renewed)) = again(&fetcher, &url, &receipt).await else { panic!("unchanged") };
    assert_eq!(renewed.content_hash, receipt.content_hash);
    assert!(left(&renewed) > Duration::from_secs(30), "the 304 says for how long");
    assert_eq!(state.lock().unwrap().asked.last().unwrap().1.as_deref(), Some("\"v1\""));

    state.lock().unwrap().is_changed = true;
    let Ok(Revalidated::Changed(media)) = again(&fetcher, &url, &renewed).await else { panic!("changed") };
    assert_eq!(&media.bytes[..], OTHER);
    assert_eq!(media.receipt.unwrap().etag.as_deref(), Some("\"v2\""));
}

#[tokio::test]
async fn a_date_is_asked_with_where_there_is_no_tag() {
    let (server, state) = serve();
    let (fetcher, url) = (fetcher(server), format!("http://{server}/dated"));
    let receipt = get(&fetcher, &url).await.receipt.unwrap();
    assert!(!receipt.is_fresh(Instant::now()), "no-cache: asked for each time, however old it is");
    let Ok(Revalidated::Unchanged(renewed)) = again(&fetcher, &url, &receipt).await else { panic!("unchanged") };
    assert_eq!(state.lock().unwrap().asked.last().unwrap().2.as_deref(), Some(MODIFIED));
    assert!(!renewed.is_fresh(Instant::now()), "a 304 that says nothing leaves what was said");
}

#[tokio::test]
async fn a_receipt_is_only_of_what_its_server_lets_be_kept() {
    let (server, _) = serve();
    let fetcher = fetcher(server);
    for said in ["no-store", "private", "Private,max-age=60"] {
        assert!(get(&fetcher, &format!("http://{server}/say/{said}")).await.receipt.is_none(), "{said}");
    }
    for (said, least, most) in [("max-age=600", 500, 600), ("max-age=600,s-maxage=60", 30, 60), ("no-cache", 0, 0)] {
        let receipt = get(&fetcher, &format!("http://{server}/say/{said}")).await.receipt.unwrap();
        assert!((least..=most).contains(&left(&receipt).as_secs()), "{said}: {:?}", left(&receipt));
    }
}

#[tokio::test]
async fn a_chain_of_redirects_holds_no_longer_than_its_shortest_part() {
    let (server, _) = serve();
    let fetcher = fetcher(server);
    for (said, least, most) in [("public", 0, 0), ("max-age=60", 30, 60), ("max-age=9000", 500, 600)] {
        let receipt = get(&fetcher, &format!("http://{server}/moved/{said}")).await.receipt.unwrap();
        assert!((least..=most).contains(&left(&receipt).as_secs()), "{said}: {:?}", left(&receipt));
        assert_eq!(receipt.location, format!("http://{server}/say/max-age=600"));
    }
    assert!(get(&fetcher, &format!("http://{server}/moved/no-store")).await.receipt.is_none());
}

#[tokio::test]
async fn only_the_url_that_gave_the_content_is_asked_about_it() {
    let (server, state) = serve();
    let (fetcher, url) = (fetcher(server), format!("http://{server}/to-tagged"));
    let receipt = get(&fetcher, &url).await.receipt.unwrap();
    assert!(matches!(again(&fetcher, &url, &receipt).await, Ok(Revalidated::Unchanged(_))));
    let elsewhere = Arc::new(Receipt { location: format!("http://{server}/elsewhere"), ..(*receipt).clone() });
    assert!(matches!(again(&fetcher, &url, &elsewhere).await, Ok(Revalidated::Changed(_))));
    let asked: Vec<Option<String>> = state.lock().unwrap().asked.iter().map(|asked| asked.1.clone()).collect();
    assert_eq!(asked, [None, Some("\"v1\"".to_owned()), None]);
}

#[tokio::test]
async fn an_answer_about_something_else_is_asked_for_once_more() {
    let (server, state) = serve();
    let (fetcher, url) = (fetcher(server), format!("http://{server}/confused"));
    let receipt = get(&fetcher, &url).await.receipt.unwrap();
    let Ok(Revalidated::Changed(media)) = again(&fetcher, &url, &receipt).await else { panic!("its bytes") };
    assert_eq!(&media.bytes[..], ONE);
    assert_eq!(state.lock().unwrap().asked.len(), 3);
}

#[tokio::test]
async fn a_post_that_declares_another_hash_asks_without_conditions_and_is_told_the_truth() {
    let (server, state) = serve();
    let (fetcher, url) = (fetcher(server), format!("http://{server}/tagged"));
    let sha256 = |bytes: &[u8]| Some(hex::encode(<sha2::Sha256 as sha2::Digest>::digest(bytes)));
    let checked = fetcher.fetch(request(&url, sha256(ONE))).await.unwrap().receipt.unwrap();
    assert_eq!(checked.sha256, sha256(ONE));
    let same = fetcher.revalidate(request(&url, sha256(ONE)), Arc::clone(&checked)).await;
    assert!(matches!(same, Ok(Revalidated::Unchanged(_))));
    let other = fetcher.revalidate(request(&url, sha256(OTHER)), checked).await;
    assert_eq!(other.err(), Some(AbsentReason::HashMismatch));
    assert_eq!(state.lock().unwrap().asked.last().unwrap().1, None);
}
