//! What is known of a URL saves its download, and never more than that: posts through a lane whose media server is played
//! by a struct that says what may be remembered, and counts.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use actix::Actor as _;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use jtav_delivery::{AssignmentEpoch, DeliveryGuard, DeliveryTag, Outcome, PostPermits, Settlement};
use jtav_pipeline::*;
use jtav_router::{EncodingCache, RouterActor, RouterLanes, RouterParams};
use jtav_schemas::*;

/// Every stage. The URL of a medium says how its server behaves: `fresh`, `stale` (a tag and no time), `silent` (nothing
/// may be kept); `#slow` at its end makes the download take a while.
struct World {
    fetches: AtomicUsize,
    revalidations: AtomicUsize,
    encodes: AtomicUsize,
    /// The next questions are answered with other bytes.
    is_changed: AtomicBool,
    /// Downloads fail.
    is_down: AtomicBool,
    /// Whatever this names is forgotten while a server is being asked.
    forgets: Mutex<Option<&'static str>>,
    cache: EncodingCache,
}

impl World {
    fn content(&self, url: &str) -> Bytes {
        format!("{url} {}", self.is_changed.load(SeqCst)).into()
    }

    fn receipt(&self, request: &FetchRequest) -> Option<Arc<Receipt>> {
        let url = request.media.url.as_str();
        let lifetime = Duration::from_secs(if url.contains("fresh") { 60 } else { 0 });
        (!url.contains("silent")).then(|| {
            Arc::new(Receipt {
                content_hash: hash(&self.content(url)),
                sha256: request.media.sha256.clone(),
                location: url.to_owned(),
                etag: Some("\"1\"".into()),
                last_modified: None,
                lifetime,
                fresh_until: Instant::now() + lifetime,
            })
        })
    }
}

/// Enough for a test: no two of its contents share it.
fn hash(bytes: &[u8]) -> ContentHash {
    let mut hash = [0_u8; 32];
    for (index, byte) in bytes.iter().enumerate() {
        hash[index % 32] = hash[index % 32].wrapping_mul(31) ^ byte;
    }
    hash
}

#[derive(Clone)]
struct Stage0(Arc<World>);

impl MediaFetcher for Stage0 {
    fn fetch(&self, request: FetchRequest) -> BoxFuture<'static, Result<FetchedMedia, AbsentReason>> {
        let world = Arc::clone(&self.0);
        async move {
            world.fetches.fetch_add(1, SeqCst);
            if request.media.url.ends_with("#slow") {
                tokio::time::sleep(Duration::from_millis(40)).await;
            }
            if world.is_down.load(SeqCst) {
                return Err(AbsentReason::FetchFailed);
            }
            let bytes = world.content(&request.media.url);
            Ok(FetchedMedia {
                modality: request.modality,
                content_hash: hash(&bytes),
                bytes,
                media_type: None,
                reservation: None,
                receipt: world.receipt(&request),
                account: None,
            })
        }
        .boxed()
    }

    fn revalidate(
        &self,
        request: FetchRequest,
        earlier: Arc<Receipt>,
    ) -> BoxFuture<'static, Result<Revalidated, AbsentReason>> {
        let world = Arc::clone(&self.0);
        async move {
            world.revalidations.fetch_add(1, SeqCst);
            let forgets = world.forgets.lock().unwrap().take();
            if let Some(post) = forgets {
                world.cache.forget(post).await;
            }
            if hash(&world.content(&request.media.url)) == earlier.content_hash {
                return Ok(Revalidated::Unchanged(earlier));
            }
            let bytes = world.content(&request.media.url);
            let receipt = world.receipt(&request);
            let (content_hash, modality) = (hash(&bytes), request.modality);
            let media = FetchedMedia {
                modality,
                content_hash,
                bytes,
                media_type: None,
                reservation: None,
                receipt,
                account: None,
            };
            Ok(Revalidated::Changed(media))
        }
        .boxed()
    }
}

impl MediaDecoder for Stage0 {
    fn decode(&self, _: FetchedMedia) -> BoxFuture<'static, Result<Result<Decoded, AbsentReason>, StageError>> {
        async { Ok(Ok(Decoded::Image(RgbImage { width: 1, height: 1, pixels: vec![0; 3].into() }))) }.boxed()
    }
}

fn vector() -> Embedding {
    Embedding::new(vec![0.5, -0.5]).unwrap()
}

impl TextEncoder for Stage0 {
    fn encode(&self, _: Vec<TextPart>) -> BoxFuture<'static, Result<Option<EncodedText>, StageError>> {
        async {
            Ok(Some(EncodedText {
                encoded: Encoded { vector: vector(), attention: AttentionPart::Words(Vec::new()) },
                is_truncated: false,
                lang: None,
                semantic: None,
            }))
        }
        .boxed()
    }
}

impl AudioEncoder for Stage0 {
    fn encode(&self, _: Pcm) -> BoxFuture<'static, Result<Encoded, StageError>> {
        async { Ok(Encoded { vector: vector(), attention: AttentionPart::Spans(Vec::new()) }) }.boxed()
    }
}

impl ImageEncoder for Stage0 {
    fn encode(&self, _: RgbImage) -> BoxFuture<'static, Result<Encoded, StageError>> {
        self.0.encodes.fetch_add(1, SeqCst);
        async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            Ok(Encoded { vector: vector(), attention: AttentionPart::Cells(Vec::new()) })
        }
        .boxed()
    }
}

fn judgement() -> Judgement {
    let probabilities = Probabilities { negative: 0.15, neutral: 0.25, positive: 0.6 };
    Judgement { probabilities, polarity: 0.8, valence: 0.45, certain_from: 0.5 }
}

impl Fusion for Stage0 {
    fn fuse(&self, _: FuseRequest) -> BoxFuture<'static, Result<Fused, StageError>> {
        let fused = Fused { u: vector(), judgement: judgement(), moods: Vec::new(), contributions: None };
        async move { Ok(fused) }.boxed()
    }
}

impl Publisher for Stage0 {
    fn publish(&self, request: PublishRequest) -> BoxFuture<'static, Result<PublishOutcome, StageError>> {
        let status = request.sentiment.modalities.image;
        // A degraded post shows as one that is stale.
        let outcome = if status == ModalityStatus::Present { PublishOutcome::Published } else { PublishOutcome::Stale };
        async move { Ok(outcome) }.boxed()
    }

    fn erase(&self, request: EraseRequest) -> BoxFuture<'static, Result<ErasureV1, StageError>> {
        let receipt = ErasureV1 { post_id: request.post_id, revision: 0, erased_keys: 1, erased_at_ms: 0 };
        async move { Ok(receipt) }.boxed()
    }

    fn dead_letter(&self, _: DeadLetterRequest) -> BoxFuture<'static, Result<(), StageError>> {
        async { Ok(()) }.boxed()
    }
}

struct Lane {
    world: Arc<World>,
    lanes: RouterLanes,
    permits: PostPermits,
    sender: Arc<mpsc::Sender<Settlement>>,
    settlements: mpsc::Receiver<Settlement>,
}

fn lane(cache_bytes: u64) -> Lane {
    let cache = EncodingCache::new(cache_bytes, "model-1");
    let world = Arc::new(World {
        fetches: AtomicUsize::new(0),
        revalidations: AtomicUsize::new(0),
        encodes: AtomicUsize::new(0),
        is_changed: AtomicBool::new(false),
        is_down: AtomicBool::new(false),
        forgets: Mutex::new(None),
        cache: cache.clone(),
    });
    let stage = || Arc::new(Stage0(Arc::clone(&world)));
    let stages = Stages {
        fetch: stage(),
        decode: stage(),
        text_encoder: stage(),
        audio_encoder: stage(),
        image_encoder: stage(),
        fusion: stage(),
        publisher: stage(),
    };
    let params = RouterParams {
        stages,
        cache,
        model_version: "model-1".into(),
        languages: None,
        observer: Arc::new(NoObserver),
        flow: StageFlow::default(),
        post_deadline: Duration::from_secs(5),
        trial_deadline: Duration::from_millis(1_500),
        fetch_timeout: Duration::from_secs(2),
        parked_patience: Duration::from_secs(10),
        attempts: 1,
        max_text_chars: 1_000,
        decoded: jtav_router::DecodedRoom::new(jtav_delivery::FairQueue::new(64)),
    };
    let lanes = RouterLanes::new(vec![RouterActor::new(params).start()]).unwrap();
    let (sender, settlements) = mpsc::channel();
    Lane { world, lanes, permits: PostPermits::new(64), sender: Arc::new(sender), settlements }
}

impl Lane {
    async fn admit(&self, event: PostEvent) {
        let source = DeliveredFrom { topic: "posts".into(), partition: 0, offset: 1, timestamp_ms: Some(1) };
        let record = InboundRecord {
            source,
            key: None,
            value: Some(Bytes::from_static(b"raw")),
            headers: Vec::new(),
            cut: None,
        };
        let tag = DeliveryTag { partition: 0, offset: 1, epoch: AssignmentEpoch(1) };
        self.lanes.admit(Admitted {
            record: Arc::new(record),
            event: Ok(event),
            run: Run::Ordinary,
            guard: DeliveryGuard::new(tag, self.sender.clone()),
            permit: self.permits.acquire().await,
            received_at: Instant::now(),
            received_at_ms: now_ms(),
        });
    }

    async fn next(&self) -> Outcome {
        let started = Instant::now();
        loop {
            if let Ok(settlement) = self.settlements.try_recv() {
                return settlement.outcome;
            }
            assert!(started.elapsed() < Duration::from_secs(10), "no settlement");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn label(&self, id: &str, url: &str, sha256: Option<&str>) {
        self.admit(post(id, url, sha256)).await;
        assert_eq!(self.next().await, Outcome::Published, "{id}");
    }

    /// Downloads, questions, encodings.
    fn counts(&self) -> (usize, usize, usize) {
        let World { fetches, revalidations, encodes, .. } = &*self.world;
        (fetches.load(SeqCst), revalidations.load(SeqCst), encodes.load(SeqCst))
    }
}

fn post(id: &str, url: &str, sha256: Option<&str>) -> PostEvent {
    PostEvent::Upsert(Arc::new(PostV1 {
        id: id.into(),
        revision: 0,
        author_id: None,
        created_at: None,
        lang: None,
        texts: vec![TextPart { role: "body".into(), text: "hello".into() }],
        audio: None,
        image: Some(MediaRef { url: url.into(), media_type: None, sha256: sha256.map(str::to_owned), bytes: None }),
        deleted: false,
    }))
}

#[actix_rt::test]
async fn a_fresh_url_is_not_asked_for_again() {
    let lane = lane(1 << 20);
    for id in ["a", "b", "c"] {
        lane.label(id, "http://h/fresh", None).await;
    }
    assert_eq!(lane.counts(), (1, 0, 1));
}

#[actix_rt::test]
async fn a_stale_url_is_asked_about_and_only_a_change_is_downloaded_and_encoded() {
    let lane = lane(1 << 20);
    lane.label("a", "http://h/stale", None).await;
    lane.label("b", "http://h/stale", None).await;
    assert_eq!(lane.counts(), (1, 1, 1));
    lane.world.is_changed.store(true, SeqCst);
    lane.label("c", "http://h/stale", None).await;
    assert_eq!(lane.counts(), (1, 2, 2));
    lane.label("d", "http://h/stale", None).await;
    assert_eq!(lane.counts(), (1, 3, 2), "what was learnt of the change is remembered");
}

#[actix_rt::test]
async fn an_answer_that_may_not_be_kept_is_fetched_each_time_and_still_encoded_once() {
    let lane = lane(1 << 20);
    lane.label("a", "http://h/silent", None).await;
    lane.label("b", "http://h/silent", None).await;
    assert_eq!(lane.counts(), (2, 0, 1));
}

#[actix_rt::test]
async fn content_whose_encoding_is_gone_is_downloaded_again_though_it_has_not_changed() {
    let lane = lane(1 << 20);
    lane.label("a", "http://h/stale", None).await;
    *lane.world.forgets.lock().unwrap() = Some("a");
    lane.label("b", "http://h/stale", None).await;
    assert_eq!(lane.counts(), (2, 1, 2), "the 304 was of no use");
}

#[actix_rt::test]
async fn an_erased_post_takes_what_is_known_of_its_url_with_it() {
    let lane = lane(1 << 20);
    lane.label("a", "http://h/fresh", None).await;
    lane.admit(PostEvent::Tombstone { post_id: "a".into(), revision: 0 }).await;
    assert_eq!(lane.next().await, Outcome::Erased);
    lane.label("b", "http://h/fresh", None).await;
    assert_eq!(lane.counts(), (2, 0, 2), "no question either: nothing is left to ask with");
}

#[actix_rt::test]
async fn an_erased_post_that_never_asked_itself_takes_it_too() {
    let lane = lane(1 << 20);
    lane.label("a", "http://h/fresh", None).await;
    lane.label("b", "http://h/fresh", None).await;
    lane.admit(PostEvent::Tombstone { post_id: "b".into(), revision: 0 }).await;
    assert_eq!(lane.next().await, Outcome::Erased);
    lane.label("c", "http://h/fresh", None).await;
    assert_eq!(lane.counts(), (2, 0, 2));
}

#[actix_rt::test]
async fn a_post_that_declares_a_hash_is_not_answered_by_content_that_was_never_held_against_it() {
    let lane = lane(1 << 20);
    lane.label("a", "http://h/fresh", None).await;
    lane.label("b", "http://h/fresh", Some("aa")).await;
    assert_eq!(lane.counts().0, 2, "the download checks it");
    lane.label("c", "http://h/fresh", Some("AA")).await;
    assert_eq!(lane.counts().0, 2, "checked once, known");
    lane.label("d", "http://h/fresh", Some("bb")).await;
    assert_eq!(lane.counts().0, 3);
}

#[actix_rt::test]
async fn many_posts_with_one_url_at_once_download_and_encode_it_once() {
    for url in ["http://h/fresh#slow", "http://h/stale#slow"] {
        let lane = lane(1 << 20);
        for id in 0..10 {
            lane.admit(post(&id.to_string(), url, None)).await;
        }
        for _ in 0..10 {
            assert_eq!(lane.next().await, Outcome::Published);
        }
        assert_eq!(lane.counts(), (1, 0, 1), "{url}");
    }
}

#[actix_rt::test]
async fn posts_that_wait_for_a_url_whose_answers_are_not_to_be_shared_go_together_and_not_one_after_the_other() {
    let lane = lane(1 << 20);
    for id in 0..10 {
        lane.admit(post(&id.to_string(), "http://h/silent#slow", None)).await;
    }
    for _ in 0..10 {
        assert_eq!(lane.next().await, Outcome::Published);
    }
    assert_eq!(lane.counts(), (10, 0, 1));
}

#[actix_rt::test]
async fn a_download_that_fails_is_not_shared() {
    let lane = lane(1 << 20);
    lane.world.is_down.store(true, SeqCst);
    lane.admit(post("a", "http://h/fresh#slow", None)).await;
    lane.admit(post("b", "http://h/fresh#slow", None)).await;
    for _ in 0..2 {
        assert!(matches!(lane.next().await, Outcome::Skipped(_)), "degraded");
    }
    assert_eq!(lane.counts().0, 2, "each was told by the server itself");
    lane.world.is_down.store(false, SeqCst);
    lane.label("c", "http://h/fresh", None).await;
}

#[actix_rt::test]
async fn with_the_cache_off_every_post_is_worked_on_for_itself() {
    let lane = lane(0);
    for id in ["a", "b"] {
        lane.label(id, "http://h/fresh", None).await;
    }
    assert_eq!(lane.counts(), (2, 0, 2));
}
