//! Media of strangers for somebody who looks at a post, over real sockets.

use std::sync::Arc;
use std::time::Duration;

use common::{Host, PATIENCE, png, settings, tone, until};
use futures::FutureExt as _;
use futures::future::join_all;
use jtav_feed_processor::parameters;
use jtav_feed_simulator::MediaServer;
use jtav_media::DecodePool;
use jtav_query::media_room::{MediaRoom, MediumError};
use jtav_schemas::{AbsentReason, Decoded, Modality, PostV1};
use jtav_settings::Settings;
use serde_json::{Value, json};

mod common;

/// The same as above, inside its URL: a picture of one pixel.
const PIXEL: &str = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///ywAAAAAAQABAAACAUwAOw==";

fn decoders(settings: &Settings) -> DecodePool {
    parameters::decoders(settings, parameters::this_program(settings)).unwrap()
}

fn room(settings: &Settings) -> MediaRoom {
    MediaRoom::new(settings, decoders(settings)).unwrap()
}

fn post(id: &str, revision: u64, image: Value, audio: Value) -> Arc<PostV1> {
    let post = json!({ "id": id, "revision": revision, "image": image, "audio": audio });
    Arc::new(serde_json::from_value(post).unwrap())
}

fn with_image(id: &str, url: &str) -> Arc<PostV1> {
    post(id, 1, json!({ "url": url }), Value::Null)
}

async fn image(room: &MediaRoom, post: &Arc<PostV1>) -> Result<Decoded, MediumError> {
    tokio::time::timeout(PATIENCE, room.medium(post, Modality::Image)).await.expect("no answer")
}

fn reason(answer: Result<Decoded, MediumError>) -> AbsentReason {
    match answer {
        Err(MediumError::Absent(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

fn first_pixel(answer: Result<Decoded, MediumError>) -> u8 {
    match answer {
        Ok(Decoded::Image(picture)) => {
            assert_eq!((picture.width, picture.height), (224, 224));
            picture.pixels[0]
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_page_with_picture_spectrogram_and_player_asks_each_server_once_and_hears_one_rate() {
    let host = Host::start(vec![("/i", png(300, 200, 7)), ("/a", tone(44_100))]);
    let settings = settings(&[host.address], |_| {});
    let room = room(&settings);
    let post = post("p", 1, json!({ "url": host.url("/i") }), json!({ "url": host.url("/a") }));
    let asked = join_all((0..10).map(|_| image(&room, &post))).await;
    asked.into_iter().for_each(|answer| assert_eq!(first_pixel(answer), 7));
    for _ in 0..3 {
        let Ok(Decoded::Audio(pcm)) = room.medium(&post, Modality::Audio).await else { panic!("no sound") };
        assert_eq!((pcm.sample_rate_hz, pcm.samples.len()), (22_050, 22_050));
    }
    assert_eq!((host.asked_for("/i"), host.asked_for("/a"), room.in_flight()), (1, 1, 0));
    assert!(matches!(image(&room, &with_image("q", "")).await, Err(MediumError::Absent(AbsentReason::FetchDenied))));
    let bare: Arc<PostV1> = Arc::new(serde_json::from_value(json!({ "id": "bare" })).unwrap());
    assert!(matches!(image(&room, &bare).await, Err(MediumError::None)));
}

#[tokio::test]
async fn a_newer_revision_is_shown_with_its_own_picture_and_the_older_with_that_of_its() {
    let host = Host::start(vec![("/1", png(8, 8, 1)), ("/2", png(8, 8, 2))]);
    let settings = settings(&[host.address], |_| {});
    let room = room(&settings);
    let of = |revision: u64| post("p", revision, json!({ "url": host.url(&format!("/{revision}")) }), Value::Null);
    let (one, two) = (of(1), of(2));
    for _ in 0..2 {
        let (older, newer) = tokio::join!(image(&room, &one), image(&room, &two));
        assert_eq!((first_pixel(older), first_pixel(newer)), (1, 2));
    }
}

/// The dearest thing that whoever posts and whoever looks can do together: every place waits for a server that says nothing.
#[tokio::test]
async fn a_site_that_drips_leaves_a_place_to_others_and_gives_the_rest_back_at_its_deadline() {
    let host = Host::start(vec![]);
    let settings = settings(&[host.address], |settings| {
        settings.serve.max_media = 4;
        (settings.media.total_timeout_ms, settings.media.connect_timeout_ms) = (1_500, 1_000);
    });
    let room = room(&settings);
    let posts: Vec<_> = (0..100).map(|n| with_image(&n.to_string(), &host.url(&format!("/drip{n}")))).collect();
    let mut dripping = Box::pin(join_all(posts.iter().map(|post| image(&room, post))));
    assert!((&mut dripping).now_or_never().is_none());
    assert_eq!(room.in_flight(), 3, "three quarters of the places");
    assert_eq!(first_pixel(image(&room, &with_image("other", PIXEL)).await), 255);
    let answers = dripping.await;
    let busy = answers.iter().filter(|answer| matches!(answer, Err(MediumError::Busy))).count();
    let late = answers.into_iter().filter(|answer| !matches!(answer, Err(MediumError::Busy))).map(reason);
    assert_eq!((busy, late.collect::<Vec<_>>()), (97, vec![AbsentReason::Timeout; 3]));
    assert_eq!(room.in_flight(), 0);
    until("an end of every connection", || host.dripping() == 0).await;
}

#[tokio::test]
async fn a_reader_that_goes_frees_place_and_connection_at_once() {
    let host = Host::start(vec![]);
    let settings = settings(&[host.address], |settings| settings.serve.max_media = 1);
    let room = room(&settings);
    let post = with_image("p", &host.url("/drip"));
    let asking = tokio::spawn({
        let (room, post) = (room.clone(), Arc::clone(&post));
        async move { room.medium(&post, Modality::Image).await }
    });
    until("a request", || host.dripping() == 1).await;
    assert!(matches!(image(&room, &with_image("q", PIXEL)).await, Err(MediumError::Busy)));
    asking.abort();
    until("a free place", || room.in_flight() == 0).await;
    until("a closed connection", || host.dripping() == 0).await;
    assert_eq!(first_pixel(image(&room, &with_image("q", PIXEL)).await), 255);
}

#[tokio::test]
async fn an_erased_post_is_in_no_answer_whatever_is_kept_of_it() {
    let host = Host::start(vec![("/i", png(8, 8, 3))]);
    let settings = settings(&[host.address], |_| {});
    let room = room(&settings);
    let (erased, other) = (with_image("erased", &host.url("/i")), with_image("other", &host.url("/i")));
    assert_eq!(first_pixel(image(&room, &erased).await), 3);
    room.forget("erased").await;
    assert!(matches!(image(&room, &erased).await, Err(MediumError::Erased)));
    assert_eq!(first_pixel(image(&room, &other).await), 3);
    assert_eq!(host.asked_for("/i"), 2);
}

#[tokio::test]
async fn a_bomb_a_flood_a_lie_and_an_address_inside_are_absent_with_the_reason_of_a_worker() {
    let folder = tempfile::tempdir().unwrap();
    let server = MediaServer::on_loopback(folder.path()).unwrap();
    let host = Host::start(vec![
        // 64 million pixels in some 60 kB.
        ("/bomb", png(8_000, 8_000, 0)),
        ("/cut", png(64, 64, 5)[..60].to_vec()),
        ("/sound", tone(22_050)),
        ("/i", png(8, 8, 9)),
    ]);
    let settings = settings(&[host.address, server.address()], |_| {});
    let room = room(&settings);
    let wrong_hash = json!({ "url": host.url("/i"), "sha256": "00".repeat(32) });
    for (medium, expected) in [
        (json!({ "url": host.url("/bomb") }), AbsentReason::TooLarge),
        (json!({ "url": format!("{}/endless", server.base_url()) }), AbsentReason::TooLarge),
        (json!({ "url": host.url("/cut") }), AbsentReason::DecodeError),
        (json!({ "url": host.url("/sound") }), AbsentReason::TypeMismatch),
        (wrong_hash, AbsentReason::HashMismatch),
        (json!({ "url": host.url("/none") }), AbsentReason::NotFound),
        (json!({ "url": "http://169.254.169.254/latest/meta-data" }), AbsentReason::FetchDenied),
        (json!({ "url": format!("{}/redirect?to=http://127.0.0.1:1/", server.base_url()) }), AbsentReason::FetchDenied),
        (json!({ "url": "file:///etc/passwd" }), AbsentReason::FetchDenied),
    ] {
        let asked = post(&medium.to_string(), 1, medium.clone(), Value::Null);
        assert_eq!(reason(image(&room, &asked).await), expected, "{medium}");
    }
    assert_eq!(room.in_flight(), 0);
    for _ in 0..5 {
        reason(image(&room, &with_image("again", &host.url("/none"))).await);
    }
    assert_eq!(host.asked_for("/none"), 2, "a server that has not got it is not asked with every look");
    assert!(Duration::from_millis(settings.media.total_timeout_ms) < PATIENCE);
}
