//! The two actors behind the traits that the router knows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jtav_media::{DecodeParams, DecodePool, FetchParams, Fetcher, accept};
use jtav_pipeline::{Decoded, Ends, FetchRequest, FetchedMedia, MediaDecoder, MediaFetcher, StageActor};
use jtav_schemas::{AbsentReason, MediaRef, Modality};
use jtav_telemetry::{FetchResult, Metric};

const PHOTO: &[u8] = include_bytes!("../../../crates/media-codecs/tests/fixtures/photo.jpg");
const CLIP: &[u8] = include_bytes!("../../../crates/media-codecs/tests/fixtures/tone.ogg");
const PNG: &[u8] = include_bytes!("../../../crates/media-codecs/tests/fixtures/rgb.png");
const WEBP: &[u8] = include_bytes!("../../../crates/media-codecs/tests/fixtures/lossless.webp");

async fn medium(bytes: &'static [u8], modality: Modality) -> FetchedMedia {
    let media = MediaRef { url: String::new(), media_type: None, sha256: None, bytes: None };
    accept(modality, bytes.into(), None, &media).await.unwrap()
}

#[actix::test]
async fn the_decode_actor_answers_each_medium_with_its_own_result() {
    let pool = DecodePool::start(&DecodeParams { workers: 2, ..DecodeParams::for_tests() }).unwrap();
    let decoder = StageActor::<dyn MediaDecoder>::start(Arc::new(pool), &Ends::default());
    let photo = medium(PHOTO, Modality::Image).await;
    let clip = medium(CLIP, Modality::Audio).await;
    let broken = medium(b"broken", Modality::Image).await;
    let (photo, clip, broken) = futures::join!(decoder.decode(photo), decoder.decode(clip), decoder.decode(broken));
    assert!(matches!(photo.unwrap(), Ok(Decoded::Image(image)) if image.width == 224));
    assert!(matches!(clip.unwrap(), Ok(Decoded::Audio(pcm)) if pcm.seconds() > 0.9));
    assert_eq!(broken.unwrap().err(), Some(AbsentReason::DecodeError));
}

struct Token(Arc<std::sync::atomic::AtomicBool>);

impl Drop for Token {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::SeqCst);
    }
}

#[actix::test]
async fn the_reservation_is_back_when_the_answer_comes() {
    let pool = DecodePool::start(&DecodeParams { workers: 1, ..DecodeParams::for_tests() }).unwrap();
    let returned = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut media = medium(PNG, Modality::Image).await;
    media.reservation = Some(Arc::new(Token(returned.clone())));
    assert!(pool.decode(media).await.unwrap().is_ok());
    assert!(returned.load(std::sync::atomic::Ordering::SeqCst));
}

#[actix::test]
async fn a_full_queue_is_a_retryable_error_and_loses_nothing() {
    let pool = DecodePool::start(&DecodeParams { workers: 1, max_queued: 2, ..DecodeParams::for_tests() }).unwrap();
    let jobs = (0..40).map(|_| async { pool.decode(medium(WEBP, Modality::Image).await).await });
    let results = futures::future::join_all(jobs).await;
    let full =
        results.iter().filter(|result| result.as_ref().is_err_and(|e| e.is_retryable() && e.code == "queue_full"));
    let full = full.count();
    let done = results.iter().filter(|result| matches!(result, Ok(Ok(_)))).count();
    assert_eq!(full + done, 40);
    assert!(full > 0 && done >= 2, "{full} full, {done} done");
    let gauge = Metric::decode_queue().value();
    assert!(gauge >= 0.0, "{gauge}");
}

#[actix::test]
async fn the_fetch_actor_gives_reasons() {
    let fetcher = Fetcher::new(FetchParams::for_tests()).unwrap();
    let fetcher = StageActor::<dyn MediaFetcher>::start(Arc::new(fetcher), &Ends::default());
    let media = MediaRef { url: "http://169.254.169.254/".into(), media_type: None, sha256: None, bytes: None };
    let request = FetchRequest { modality: Modality::Image, media, deadline: Instant::now() + Duration::from_secs(5) };
    assert_eq!(fetcher.fetch(request).await.err(), Some(AbsentReason::FetchDenied));
    let denied = Metric::media_fetches(Modality::Image, FetchResult::Absent(AbsentReason::FetchDenied)).value();
    assert_eq!(denied, 1.0);
}
