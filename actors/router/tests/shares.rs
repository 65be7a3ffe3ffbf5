//! What posts that wait for slow media, or behind their own, take from the others.

use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use actix::Actor as _;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use jtav_delivery::{
    AssignmentEpoch, DeliveryGuard, DeliveryTag, Outcome, PostBounds, PostPermit, PostPermits, Settlement,
};
use jtav_pipeline::*;
use jtav_router::{EncodingCache, RouterActor, RouterLanes, RouterParams};
use jtav_schemas::*;

/// Every stage. Media come at once, but from hosts with `hangs` in their name never, and from `slow` ones after a while.
/// Texts take as many milliseconds as they say.
#[derive(Default)]
struct World {
    published: Mutex<Vec<SentimentV1>>,
}

struct Boxes(Arc<World>);

const SLOW: Duration = Duration::from_millis(300);

fn encoded(attention: AttentionPart) -> Encoded {
    Encoded { vector: Embedding::new(vec![0.5, -0.5]).unwrap(), attention }
}

impl MediaFetcher for Boxes {
    fn fetch(&self, request: FetchRequest) -> BoxFuture<'static, Result<FetchedMedia, AbsentReason>> {
        async move {
            let url = request.media.url;
            let wait = match url.as_str() {
                url if url.contains("hangs") => Duration::MAX,
                url if url.contains("slow") => SLOW,
                _ => Duration::ZERO,
            };
            let left = request.deadline.saturating_duration_since(Instant::now());
            tokio::time::sleep(wait.min(left)).await;
            if wait > left {
                return Err(AbsentReason::Timeout);
            }
            Ok(FetchedMedia {
                modality: request.modality,
                bytes: Bytes::copy_from_slice(url.as_bytes()),
                content_hash: std::array::from_fn(|at| {
                    url.as_bytes().get(url.len().wrapping_sub(at + 1)).copied().unwrap_or(0)
                }),
                media_type: None,
                reservation: None,
                receipt: None,
                account: None,
            })
        }
        .boxed()
    }
}

impl MediaDecoder for Boxes {
    fn decode(&self, media: FetchedMedia) -> BoxFuture<'static, Result<Result<Decoded, AbsentReason>, StageError>> {
        assert!(media.account.is_some(), "decoded on nobody's account");
        async { Ok(Ok(Decoded::Image(RgbImage { width: 1, height: 1, pixels: vec![0; 3].into() }))) }.boxed()
    }
}

impl TextEncoder for Boxes {
    fn encode(&self, texts: Vec<TextPart>) -> BoxFuture<'static, Result<Option<EncodedText>, StageError>> {
        async move {
            tokio::time::sleep(Duration::from_millis(texts[0].text.parse().unwrap())).await;
            let encoded = encoded(AttentionPart::Words(Vec::new()));
            Ok(Some(EncodedText { encoded, is_truncated: false, lang: None, semantic: None }))
        }
        .boxed()
    }
}

impl AudioEncoder for Boxes {
    fn encode(&self, _: Pcm) -> BoxFuture<'static, Result<Encoded, StageError>> {
        async { Ok(encoded(AttentionPart::Spans(Vec::new()))) }.boxed()
    }
}

impl ImageEncoder for Boxes {
    fn encode(&self, _: RgbImage) -> BoxFuture<'static, Result<Encoded, StageError>> {
        async { Ok(encoded(AttentionPart::Cells(Vec::new()))) }.boxed()
    }
}

fn judgement() -> Judgement {
    let probabilities = Probabilities { negative: 0.15, neutral: 0.25, positive: 0.6 };
    Judgement { probabilities, polarity: 0.8, valence: 0.45, certain_from: 0.5 }
}

impl Fusion for Boxes {
    fn fuse(&self, request: FuseRequest) -> BoxFuture<'static, Result<Fused, StageError>> {
        let moods = Vec::new();
        let u = request.vectors.text.unwrap();
        async { Ok(Fused { u, judgement: judgement(), moods, contributions: None }) }.boxed()
    }
}

impl Publisher for Boxes {
    fn publish(&self, request: PublishRequest) -> BoxFuture<'static, Result<PublishOutcome, StageError>> {
        self.0.published.lock().unwrap().push((*request.sentiment).clone());
        async { Ok(PublishOutcome::Published) }.boxed()
    }

    fn erase(&self, _: EraseRequest) -> BoxFuture<'static, Result<ErasureV1, StageError>> {
        unreachable!("nothing is erased here")
    }

    fn dead_letter(&self, _: DeadLetterRequest) -> BoxFuture<'static, Result<(), StageError>> {
        unreachable!("nothing is set aside here")
    }
}

struct Lane {
    world: Arc<World>,
    lanes: RouterLanes,
    permits: PostPermits,
    sender: Arc<mpsc::Sender<Settlement>>,
    settlements: mpsc::Receiver<Settlement>,
}

const BOUNDS: PostBounds =
    PostBounds { posts: 16, record_bytes: usize::MAX, media_posts: 12, parked_posts: 400, parked_bytes: 1 << 20 };

fn lane(fetch_timeout: Duration, parked_patience: Duration, bounds: PostBounds) -> Lane {
    let world = Arc::new(World::default());
    let boxes = || Arc::new(Boxes(Arc::clone(&world)));
    let params = RouterParams {
        stages: Stages {
            fetch: boxes(),
            decode: boxes(),
            text_encoder: boxes(),
            audio_encoder: boxes(),
            image_encoder: boxes(),
            fusion: boxes(),
            publisher: boxes(),
        },
        cache: EncodingCache::new(1 << 20, "model-1"),
        model_version: "model-1".into(),
        languages: None,
        observer: Arc::new(NoObserver),
        flow: StageFlow::default(),
        post_deadline: Duration::from_secs(60),
        trial_deadline: Duration::from_secs(60),
        fetch_timeout,
        parked_patience,
        attempts: 1,
        max_text_chars: 1_000,
        decoded: jtav_router::DecodedRoom::new(jtav_delivery::FairQueue::new(64)),
    };
    let lanes = RouterLanes::new(vec![RouterActor::new(params).start()]).unwrap();
    let (sender, settlements) = mpsc::channel();
    Lane { world, lanes, permits: PostPermits::with_bounds(bounds), sender: Arc::new(sender), settlements }
}

const FOREVER: Duration = Duration::from_secs(600);
const PATIENCE: Duration = Duration::from_secs(20);

impl Lane {
    /// Lets a post in as ingest does: when a permit is free.
    async fn admit(&self, offset: i64, id: &str, text_ms: u64, image: Option<String>) {
        let image = image.map(|url| MediaRef { url, media_type: None, sha256: None, bytes: None });
        let started = Instant::now();
        let permit = loop {
            if let Some(permit) = self.permits.try_acquire(1) {
                break permit;
            }
            assert!(started.elapsed() < PATIENCE, "{id} is not let in");
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        let texts = vec![TextPart { role: "body".into(), text: text_ms.to_string() }];
        let event = PostEvent::Upsert(Arc::new(PostV1 {
            id: id.into(),
            revision: offset as u64,
            author_id: None,
            created_at: None,
            lang: None,
            texts,
            audio: None,
            image,
            deleted: false,
        }));
        self.lanes.admit(self.admitted(offset, event, permit));
        // The lane takes it.
        tokio::task::yield_now().await;
    }

    fn admitted(&self, offset: i64, event: PostEvent, permit: PostPermit) -> Admitted {
        let source = DeliveredFrom { topic: "posts".into(), partition: 0, offset, timestamp_ms: Some(1) };
        let value = Some(Bytes::from_static(b"raw"));
        let tag = DeliveryTag { partition: 0, offset, epoch: AssignmentEpoch(1) };
        Admitted {
            record: Arc::new(InboundRecord { source, value, ..InboundRecord::default() }),
            event: Ok(event),
            run: Run::Ordinary,
            guard: DeliveryGuard::new(tag, self.sender.clone()),
            permit,
            received_at: Instant::now(),
            received_at_ms: now_ms(),
        }
    }

    /// Waits for so many more outcomes, and gives their offsets.
    async fn settled(&self, count: usize) -> Vec<i64> {
        let started = Instant::now();
        let mut offsets = Vec::new();
        while offsets.len() < count {
            match self.settlements.try_recv() {
                Ok(settlement) => {
                    assert_eq!(settlement.outcome, Outcome::Published);
                    offsets.push(settlement.tag.offset);
                }
                Err(_) => {
                    assert!(started.elapsed() < PATIENCE, "{} of {count} settled", offsets.len());
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
        }
        offsets
    }

    fn image_of(&self, id: &str) -> ModalityStatus {
        let published = self.world.published.lock().unwrap();
        published.iter().find(|sentiment| sentiment.post_id == id).unwrap().modalities.image
    }
}

#[actix_rt::test]
async fn posts_of_text_flow_while_two_hundred_posts_wait_for_a_site_that_hangs() {
    let lane = lane(FOREVER, FOREVER, BOUNDS);
    for number in 0..200 {
        lane.admit(number, &format!("hostile-{number}"), 0, Some(format!("http://h{number}.hangs.example/"))).await;
    }
    for number in 200..300 {
        lane.admit(number, &format!("text-{number}"), 0, None).await;
        // A medium inside its post waits for no server.
        lane.admit(number + 100, &format!("data-{number}"), 0, Some("data:image/png;base64,AA".into())).await;
    }
    assert!(lane.settled(200).await.into_iter().all(|offset| offset >= 200));
    assert_eq!(lane.permits.in_flight(), 200, "parked posts are inside");
    assert!(lane.permits.parked() >= 188);
}

#[actix_rt::test]
async fn pictures_of_a_known_site_flow_while_others_hang_by_name_and_by_domain() {
    for hanging in [|i: i64| format!("http://h{i}.hangs.example/"), |i: i64| format!("http://hangs{i}.example/")] {
        let lane = lane(FOREVER, FOREVER, BOUNDS);
        lane.admit(-1, "first", 0, Some("http://known.example/first".into())).await;
        lane.settled(1).await;
        for number in 0..200 {
            lane.admit(number, &format!("hostile-{number}"), 0, Some(hanging(number))).await;
        }
        for number in 200..400 {
            lane.admit(number, &format!("good-{number}"), 0, Some(format!("http://i.known.example/{number}"))).await;
        }
        lane.settled(200).await;
        assert_eq!(lane.image_of("good-399"), ModalityStatus::Present);
        assert_eq!(lane.permits.in_flight(), 200);
    }
}

#[actix_rt::test]
async fn revisions_of_one_post_that_wait_behind_each_other_let_others_work() {
    let lane = lane(FOREVER, FOREVER, BOUNDS);
    for number in 0..200 {
        lane.admit(number, "same", 0, Some("http://hangs.example/".into())).await;
    }
    lane.admit(200, "other", 0, None).await;
    assert_eq!(lane.settled(1).await, [200]);
    assert_eq!(lane.permits.parked(), 199);
}

#[actix_rt::test]
async fn the_time_for_media_begins_when_the_post_is_worked_on_and_not_behind_its_earlier_revision() {
    let lane = lane(SLOW * 3, FOREVER, BOUNDS);
    lane.admit(0, "same", 4 * SLOW.as_millis() as u64, None).await;
    lane.admit(1, "same", 0, Some("http://slow.example/".into())).await;
    assert_eq!(lane.settled(2).await, [0, 1]);
    let published = lane.world.published.lock().unwrap();
    assert_eq!(published[1].modalities.image, ModalityStatus::Present);
}

#[actix_rt::test]
async fn a_post_that_waits_too_long_for_its_place_is_labelled_from_its_text() {
    let lane = lane(FOREVER, Duration::from_millis(100), PostBounds { media_posts: 1, ..BOUNDS });
    lane.admit(0, "hostile", 0, Some("http://hangs.example/".into())).await;
    lane.admit(1, "late", 0, Some("http://known.example/".into())).await;
    assert_eq!(lane.settled(1).await, [1]);
    assert_eq!(lane.image_of("late"), ModalityStatus::Absent(AbsentReason::Timeout));
    assert_eq!(lane.permits.parked(), 0);
}

#[actix_rt::test]
async fn a_known_site_that_is_alone_has_every_place() {
    let lane = lane(FOREVER, FOREVER, BOUNDS);
    lane.admit(-1, "first", 0, Some("http://slow.example/first".into())).await;
    lane.settled(1).await;
    let started = Instant::now();
    for number in 0..48 {
        lane.admit(number, &format!("post-{number}"), 0, Some(format!("http://slow.example/{number}"))).await;
    }
    lane.settled(48).await;
    // Twelve at a time; with nine it would be six rounds.
    assert!(started.elapsed() < SLOW * 5, "{:?}", started.elapsed());
}
