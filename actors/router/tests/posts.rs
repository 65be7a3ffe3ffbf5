//! A lane with plain structs for stages: what becomes of a post in each case.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use actix::Actor as _;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use jtav_delivery::{
    AbandonCause, AssignmentEpoch, DeliveryGuard, DeliveryTag, Hang, Outcome, PostPermits, Settlement, SkipReason,
};
use jtav_pipeline::*;
use jtav_router::{EncodingCache, RouterActor, RouterLanes, RouterParams};
use jtav_schemas::*;

/// One struct plays every stage; the text of a post says how it behaves.
#[derive(Default)]
struct Fakes {
    published: Mutex<Vec<SentimentV1>>,
    dead_letters: Mutex<Vec<DeadLetterRequest>>,
    erased: Mutex<Vec<String>>,
    encodes: AtomicUsize,
    decodes: AtomicUsize,
    running: Mutex<Vec<String>>,
    overlapped: AtomicUsize,
    read_chars: Mutex<Vec<usize>>,
}

fn vector() -> Embedding {
    Embedding::new(vec![0.5, -0.5]).unwrap()
}

struct Stage1(Arc<Fakes>);

impl MediaFetcher for Stage1 {
    fn fetch(&self, request: FetchRequest) -> BoxFuture<'static, Result<FetchedMedia, AbsentReason>> {
        let result = match request.media.url.as_str() {
            "denied" => Err(AbsentReason::FetchDenied),
            "gone" => Err(AbsentReason::NotFound),
            url => Ok(FetchedMedia {
                modality: request.modality,
                bytes: Bytes::copy_from_slice(url.as_bytes()),
                content_hash: [url.len() as u8; 32],
                media_type: None,
                reservation: None,
                receipt: None,
                account: None,
            }),
        };
        async move { result }.boxed()
    }
}

impl MediaDecoder for Stage1 {
    fn decode(&self, media: FetchedMedia) -> BoxFuture<'static, Result<Result<Decoded, AbsentReason>, StageError>> {
        self.0.decodes.fetch_add(1, Ordering::SeqCst);
        let decoded = match &media.bytes[..] {
            b"broken" => Err(AbsentReason::DecodeError),
            _ if media.modality == Modality::Audio => {
                Ok(Decoded::Audio(Pcm { samples: vec![0.0; 10].into(), sample_rate_hz: 22_050 }))
            }
            b"stuck" => Ok(Decoded::Image(RgbImage { width: 2, height: 1, pixels: vec![0; 6].into() })),
            _ => Ok(Decoded::Image(RgbImage { width: 1, height: 1, pixels: vec![0; 3].into() })),
        };
        async move { Ok(decoded) }.boxed()
    }
}

impl TextEncoder for Stage1 {
    fn encode(&self, texts: Vec<TextPart>) -> BoxFuture<'static, Result<Option<EncodedText>, StageError>> {
        let fakes = Arc::clone(&self.0);
        async move {
            let text = texts[0].text.clone();
            fakes.read_chars.lock().unwrap().push(texts.iter().map(|part| part.text.chars().count()).sum());
            let count = fakes.encodes.fetch_add(1, Ordering::SeqCst);
            match text.as_str() {
                "panic" => panic!("encoder"),
                "panic once" if count == 0 => panic!("encoder"),
                "poison" => {
                    return Err(StageError::permanent(Stage::TextEncoder, DeadLetterReason::PoisonPill, "bad item"));
                }
                "busy" => return Err(StageError::retryable(Stage::TextEncoder, "queue_full", "full")),
                "dead device" => return Err(StageError::fatal(Stage::TextEncoder, "device_fault", "gone")),
                "slow" => tokio::time::sleep(Duration::from_secs(60)).await,
                "links only" => return Ok(None),
                "takes a moment" => {
                    {
                        let mut running = fakes.running.lock().unwrap();
                        if !running.is_empty() {
                            fakes.overlapped.fetch_add(1, Ordering::SeqCst);
                        }
                        running.push(text.clone());
                    }
                    tokio::time::sleep(Duration::from_millis(15)).await;
                    fakes.running.lock().unwrap().clear();
                }
                _ => {}
            }
            // As long as the text encoder's words can be.
            let word = || WordWeight { word: "字".repeat(80), position: 99, weight: 0.123_456_78 };
            let words = if text == "longest words" { (0..5).map(|_| word()).collect() } else { Vec::new() };
            let language = |code: &str| Language { code: code.to_owned(), probability: 0.9 };
            Ok(Some(EncodedText {
                encoded: Encoded { vector: vector(), attention: AttentionPart::Words(words) },
                is_truncated: text.starts_with("more words"),
                lang: text.strip_prefix("in ").map(language),
                semantic: text.strip_prefix("in ").map(|_| vector()),
            }))
        }
        .boxed()
    }
}

impl AudioEncoder for Stage1 {
    fn encode(&self, _: Pcm) -> BoxFuture<'static, Result<Encoded, StageError>> {
        async { Ok(Encoded { vector: vector(), attention: AttentionPart::Spans(Vec::new()) }) }.boxed()
    }
}

impl ImageEncoder for Stage1 {
    fn encode(&self, image: RgbImage) -> BoxFuture<'static, Result<Encoded, StageError>> {
        async move {
            if image.width == 2 {
                std::future::pending::<()>().await;
            }
            Ok(Encoded { vector: vector(), attention: AttentionPart::Cells(Vec::new()) })
        }
        .boxed()
    }
}

fn judgement() -> Judgement {
    let probabilities = Probabilities { negative: 0.15, neutral: 0.25, positive: 0.6 };
    Judgement { probabilities, polarity: 0.8, valence: 0.45, certain_from: 0.5 }
}

impl Fusion for Stage1 {
    fn fuse(&self, _: FuseRequest) -> BoxFuture<'static, Result<Fused, StageError>> {
        let moods = vec![MoodTag { tag: "Q1".into(), probability: 0.9 }];
        async { Ok(Fused { u: vector(), judgement: judgement(), moods, contributions: None }) }.boxed()
    }
}

impl Publisher for Stage1 {
    fn publish(&self, request: PublishRequest) -> BoxFuture<'static, Result<PublishOutcome, StageError>> {
        let fakes = Arc::clone(&self.0);
        async move {
            match request.sentiment.post_id.as_str() {
                "stale" => return Ok(PublishOutcome::Stale),
                "stuck sink" => tokio::time::sleep(Duration::from_secs(60)).await,
                _ => {}
            }
            fakes.published.lock().unwrap().push((*request.sentiment).clone());
            Ok(PublishOutcome::Published)
        }
        .boxed()
    }

    fn erase(&self, request: EraseRequest) -> BoxFuture<'static, Result<ErasureV1, StageError>> {
        self.0.erased.lock().unwrap().push(request.post_id.clone());
        let receipt = ErasureV1 { post_id: request.post_id, revision: 0, erased_keys: 1, erased_at_ms: 0 };
        async move { Ok(receipt) }.boxed()
    }

    fn dead_letter(&self, request: DeadLetterRequest) -> BoxFuture<'static, Result<(), StageError>> {
        let fakes = Arc::clone(&self.0);
        async move {
            if request.message.contains("topic down") {
                return Err(StageError::retryable(Stage::Publisher, "timeout", "no acknowledgement"));
            }
            fakes.dead_letters.lock().unwrap().push(request);
            Ok(())
        }
        .boxed()
    }
}

struct Lane {
    fakes: Arc<Fakes>,
    lanes: RouterLanes,
    permits: PostPermits,
    sender: Arc<mpsc::Sender<Settlement>>,
    settlements: mpsc::Receiver<Settlement>,
}

fn lane() -> Lane {
    lane_of_a_model_of(None)
}

/// With a model that was measured on these languages.
fn lane_of_a_model_of(languages: Option<CoveredLanguages>) -> Lane {
    let fakes = Arc::new(Fakes::default());
    let stage = || Arc::new(Stage1(Arc::clone(&fakes)));
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
        cache: EncodingCache::new(1 << 20, "model-1"),
        model_version: "model-1".into(),
        languages: languages.map(Arc::new),
        observer: Arc::new(NoObserver),
        // Long enough for a panic that prints its backtrace on a busy machine.
        flow: StageFlow::default(),
        post_deadline: Duration::from_secs(3),
        trial_deadline: Duration::from_millis(1_500),
        fetch_timeout: Duration::from_millis(500),
        parked_patience: Duration::from_secs(10),
        attempts: 3,
        max_text_chars: 1_000,
        decoded: jtav_router::DecodedRoom::new(jtav_delivery::FairQueue::new(64)),
    };
    let lanes = RouterLanes::new(vec![RouterActor::new(params).start()]).unwrap();
    let (sender, settlements) = mpsc::channel();
    Lane { fakes, lanes, permits: PostPermits::new(64), sender: Arc::new(sender), settlements }
}

impl Lane {
    async fn admit(&self, offset: i64, event: Result<PostEvent, Rejection>) {
        self.admit_as(offset, event, Run::Ordinary).await;
    }

    async fn admit_as(&self, offset: i64, event: Result<PostEvent, Rejection>, run: Run) {
        let source = DeliveredFrom { topic: "posts".into(), partition: 0, offset, timestamp_ms: Some(1) };
        let record = InboundRecord {
            source,
            key: None,
            value: Some(Bytes::from_static(b"raw")),
            headers: Vec::new(),
            cut: None,
        };
        let tag = DeliveryTag { partition: 0, offset, epoch: AssignmentEpoch(1) };
        self.lanes.admit(Admitted {
            record: Arc::new(record),
            event,
            run,
            guard: DeliveryGuard::new(tag, self.sender.clone()),
            permit: self.permits.acquire().await,
            received_at: Instant::now(),
            received_at_ms: now_ms(),
        });
    }

    async fn next(&self) -> Settlement {
        let started = Instant::now();
        loop {
            if let Ok(settlement) = self.settlements.try_recv() {
                return settlement;
            }
            assert!(started.elapsed() < Duration::from_secs(10), "no settlement");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn outcome_of(&self, post: PostV1) -> Outcome {
        self.admit(1, Ok(PostEvent::Upsert(Arc::new(post)))).await;
        let outcome = self.next().await.outcome;
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(self.permits.in_flight(), 0, "settling gives the permit back");
        outcome
    }
}

fn post(id: &str, text: Option<&str>, audio: Option<&str>, image: Option<&str>) -> PostV1 {
    let media = |url: &str| MediaRef { url: url.into(), media_type: None, sha256: None, bytes: None };
    PostV1 {
        id: id.into(),
        revision: 0,
        author_id: None,
        created_at: None,
        lang: None,
        texts: text.map(|text| TextPart { role: "body".into(), text: text.into() }).into_iter().collect(),
        audio: audio.map(media),
        image: image.map(media),
        deleted: false,
    }
}

#[actix_rt::test]
async fn a_post_with_a_part_that_cannot_be_used_is_published_with_the_reason() {
    let lane = lane();
    let outcome = lane.outcome_of(post("a", Some("fine"), Some("denied"), Some("broken"))).await;
    assert_eq!(outcome, Outcome::Published);
    let published = lane.fakes.published.lock().unwrap();
    let sentiment = &published[0];
    assert_eq!(sentiment.modalities.text, ModalityStatus::Present);
    assert_eq!(sentiment.modalities.audio, ModalityStatus::Absent(AbsentReason::FetchDenied));
    assert_eq!(sentiment.modalities.image, ModalityStatus::Absent(AbsentReason::DecodeError));
    assert!(sentiment.moods.is_empty(), "moods come from audio alone");
    assert_eq!(sentiment.label, Label::Positive);
    assert!((sentiment.confidence - 0.6).abs() < 1e-6);
}

#[actix_rt::test]
async fn a_label_is_certain_in_the_languages_of_the_model_and_names_the_one_of_its_text() {
    let covered = CoveredLanguages { codes: vec!["en".to_owned()], least_probability: 0.7 };
    let lane = lane_of_a_model_of(Some(covered));
    for (id, text, image) in
        [("a", Some("in en"), None), ("b", Some("in pt"), None), ("c", Some("fine"), None), ("d", None, Some("fine"))]
    {
        assert_eq!(lane.outcome_of(post(id, text, None, image)).await, Outcome::Published, "{id}");
    }
    let published = lane.fakes.published.lock().unwrap();
    let said: Vec<_> = published.iter().map(|s| (s.lang.as_deref(), s.certain, s.uncertain_because)).collect();
    let foreign = Some(UncertainBecause::LanguageNotCovered);
    let unclear = Some(UncertainBecause::LanguageUnclear);
    let expected = [(Some("en"), true, None), (Some("pt"), false, foreign), (None, false, unclear), (None, true, None)];
    assert_eq!(said, expected);
    assert!(published.iter().all(|s| s.label == Label::Positive && s.threshold == 0.5 && s.probability == 0.8));
}

#[actix_rt::test]
async fn a_post_with_nothing_to_label_is_skipped_and_one_whose_media_failed_is_not() {
    for texts in [None, Some("  "), Some("links only")] {
        let lane = lane();
        let outcome = lane.outcome_of(post("a", texts, None, None)).await;
        assert_eq!(outcome, Outcome::Skipped(SkipReason::NothingToLabel), "{texts:?}");
        assert!(lane.fakes.dead_letters.lock().unwrap().is_empty() && lane.fakes.published.lock().unwrap().is_empty());
    }
    for media in ["gone", "denied", "broken"] {
        let outcome = lane().outcome_of(post("a", Some("links only"), None, Some(media))).await;
        assert_eq!(outcome, Outcome::DeadLettered(DeadLetterReason::NoModality), "{media}");
    }
}

#[actix_rt::test]
async fn a_text_beyond_the_caps_is_cut_labelled_and_marked() {
    let part = |text: String| TextPart { role: "body".into(), text };
    let of = |texts: Vec<TextPart>| PostV1 { texts, ..post("a", None, None, None) };
    let lane = lane();
    for (texts, expected) in [
        (vec![part("字".repeat(1_000))], vec![]),
        (vec![part("字".repeat(1_001))], vec![Modality::Text]),
        (vec![part("字".repeat(500)); 3], vec![Modality::Text]),
        (vec![part("hi".into()); MAX_TEXT_PARTS], vec![]),
        (vec![part("hi".into()); MAX_TEXT_PARTS + 1], vec![Modality::Text]),
        (vec![part("more words than the network reads".into())], vec![Modality::Text]),
    ] {
        assert_eq!(lane.outcome_of(of(texts)).await, Outcome::Published);
        let label = lane.fakes.published.lock().unwrap().pop().unwrap();
        assert_eq!((label.truncated, label.modalities.text), (expected, ModalityStatus::Present));
    }
    let read = lane.fakes.read_chars.lock().unwrap();
    assert_eq!(read[..3], [1_000, 1_000, 999], "characters that reach the encoder");
}

/// The topics' limits are far above it: no post can make a label that is refused.
#[actix_rt::test]
async fn a_label_is_small_whatever_the_post() {
    let lane = lane();
    let part = |role: &str, text: String| TextPart { role: role.repeat(100_000), text };
    let hostile = PostV1 {
        // The longest that an id can be in JSON: each character is an escape of six bytes.
        id: "\u{1}".repeat(256),
        author_id: Some("a".repeat(500_000)),
        lang: Some("l".repeat(500_000)),
        texts: vec![part("r", "longest words".into()), part("r", "x".repeat(500_000))],
        ..post("a", None, None, None)
    };
    assert_eq!(lane.outcome_of(hostile).await, Outcome::Published);
    let label = serde_json::to_vec(&lane.fakes.published.lock().unwrap()[0]).unwrap();
    assert!((3_000..6_000).contains(&label.len()), "{} bytes", label.len());
}

#[actix_rt::test]
async fn a_post_of_which_nothing_can_be_used_is_set_aside_with_the_original_record() {
    let lane = lane();
    let outcome = lane.outcome_of(post("a", Some("links only"), Some("gone"), None)).await;
    assert_eq!(outcome, Outcome::DeadLettered(DeadLetterReason::NoModality));
    let letters = lane.fakes.dead_letters.lock().unwrap();
    assert_eq!(letters[0].record.value.as_deref(), Some(&b"raw"[..]));
    assert_eq!(letters[0].modalities.unwrap().audio, ModalityStatus::Absent(AbsentReason::NotFound));
}

#[actix_rt::test]
async fn the_same_medium_is_decoded_once_also_when_it_is_broken() {
    let lane = lane();
    for image in ["picture", "picture", "broken", "broken"] {
        lane.outcome_of(post(image, Some("x"), None, Some(image))).await;
    }
    assert_eq!(lane.fakes.decodes.load(Ordering::SeqCst), 2);
}

#[actix_rt::test]
async fn a_post_that_panics_twice_is_set_aside_and_one_that_panics_once_is_published() {
    let lane = lane();
    let outcome = lane.outcome_of(post("a", Some("panic once"), None, None)).await;
    assert_eq!(outcome, Outcome::Published);
    let outcome = lane.outcome_of(post("b", Some("panic"), None, None)).await;
    assert_eq!(outcome, Outcome::DeadLettered(DeadLetterReason::PoisonPill));
}

#[actix_rt::test]
async fn a_poison_pill_is_set_aside_at_once() {
    let lane = lane();
    let outcome = lane.outcome_of(post("a", Some("poison"), None, None)).await;
    assert_eq!(outcome, Outcome::DeadLettered(DeadLetterReason::PoisonPill));
    assert_eq!(lane.fakes.encodes.load(Ordering::SeqCst), 1);
}

#[actix_rt::test]
async fn a_fault_of_the_system_abandons_the_post_and_never_dead_letters_it() {
    for text in ["busy", "dead device", "slow"] {
        let lane = lane();
        let outcome = lane.outcome_of(post("a", Some(text), None, None)).await;
        assert_eq!(outcome, Outcome::Abandoned, "{text}");
        assert!(lane.fakes.dead_letters.lock().unwrap().is_empty());
    }
}

#[actix_rt::test]
async fn a_deadline_tells_the_encoder_in_which_it_passed_and_whether_later_posts_got_through_there() {
    let lane = lane();
    let slow = post("slow", Some("slow"), None, Some("picture"));
    lane.admit_as(1, Ok(PostEvent::Upsert(Arc::new(slow.clone()))), Run::Trial).await;
    let settlement = lane.next().await;
    assert_eq!(settlement.outcome, Outcome::Abandoned);
    let alone = Hang { stage: Stage::TextEncoder, was_overtaken: false };
    assert_eq!(settlement.cause, AbandonCause::Hung(alone));

    lane.admit_as(2, Ok(PostEvent::Upsert(Arc::new(slow))), Run::Trial).await;
    // Beyond half of the trial's time, so that it counts as later.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    lane.admit(3, Ok(PostEvent::Upsert(Arc::new(post("quick", Some("fine"), None, None))))).await;
    assert_eq!(lane.next().await.outcome, Outcome::Published);
    assert_eq!(lane.next().await.cause, AbandonCause::Hung(Hang { was_overtaken: true, ..alone }));
}

#[actix_rt::test]
async fn a_deadline_while_another_post_has_the_medium_in_hand_is_that_ones_fault() {
    let lane = lane();
    for (offset, id) in [(1, "first"), (2, "second")] {
        let post = post(id, Some("fine"), None, Some("stuck"));
        lane.admit_as(offset, Ok(PostEvent::Upsert(Arc::new(post))), Run::Trial).await;
    }
    let mut causes = [lane.next().await, lane.next().await].map(|settlement| (settlement.tag.offset, settlement.cause));
    causes.sort_by_key(|(offset, _)| *offset);
    let hang = Hang { stage: Stage::ImageEncoder, was_overtaken: false };
    assert_eq!(causes, [(1, AbandonCause::Hung(hang)), (2, AbandonCause::Waited)]);
}

#[actix_rt::test]
async fn a_deadline_at_a_sink_is_nobodys_fault() {
    let lane = lane();
    lane.admit_as(1, Ok(PostEvent::Upsert(Arc::new(post("stuck sink", Some("fine"), None, None)))), Run::Trial).await;
    let settlement = lane.next().await;
    assert_eq!((settlement.outcome, settlement.cause), (Outcome::Abandoned, AbandonCause::NotTheRecord));
}

#[actix_rt::test]
async fn a_record_found_guilty_is_set_aside_with_the_stage_that_it_hung_in_and_not_run() {
    let lane = lane();
    let rejection = Rejection { reason: DeadLetterReason::DeadlineExceeded, message: "hung".into() };
    let run = Run::SetAside { stage: Stage::ImageEncoder, deadlines: 3 };
    lane.admit_as(1, Err(rejection), run).await;
    assert_eq!(lane.next().await.outcome, Outcome::DeadLettered(DeadLetterReason::DeadlineExceeded));
    let letters = lane.fakes.dead_letters.lock().unwrap();
    assert_eq!((letters[0].stage, letters[0].attempts), (Stage::ImageEncoder, 3));
}

#[actix_rt::test]
async fn a_dead_letter_that_the_broker_does_not_take_holds_the_offset() {
    let lane = lane();
    let rejection = Rejection { reason: DeadLetterReason::InvalidJson, message: "topic down".into() };
    lane.admit(1, Err(rejection)).await;
    assert_eq!(lane.next().await.outcome, Outcome::Abandoned);
}

#[actix_rt::test]
async fn an_unreadable_record_is_set_aside_and_a_tombstone_erases() {
    let lane = lane();
    let rejection = Rejection { reason: DeadLetterReason::InvalidJson, message: "not JSON".into() };
    lane.admit(1, Err(rejection)).await;
    assert_eq!(lane.next().await.outcome, Outcome::DeadLettered(DeadLetterReason::InvalidJson));
    lane.admit(2, Ok(PostEvent::Tombstone { post_id: "a".into(), revision: 0 })).await;
    assert_eq!(lane.next().await.outcome, Outcome::Erased);
    assert_eq!(*lane.fakes.erased.lock().unwrap(), vec!["a".to_owned()]);
}

#[actix_rt::test]
async fn a_revision_that_the_store_finds_old_is_skipped() {
    let lane = lane();
    let outcome = lane.outcome_of(post("stale", Some("x"), None, None)).await;
    assert_eq!(outcome, Outcome::Skipped(SkipReason::Stale));
}

#[actix_rt::test]
async fn records_of_one_post_run_one_after_the_other_in_order_of_arrival() {
    let lane = lane();
    for offset in 0..6 {
        let post = post("same", Some("takes a moment"), None, None);
        lane.admit(offset, Ok(PostEvent::Upsert(Arc::new(PostV1 { revision: offset as u64, ..post })))).await;
    }
    let mut offsets = Vec::new();
    for _ in 0..6 {
        offsets.push(lane.next().await.tag.offset);
    }
    assert_eq!(offsets, (0..6).collect::<Vec<_>>());
    assert_eq!(lane.fakes.overlapped.load(Ordering::SeqCst), 0);
    let published = lane.fakes.published.lock().unwrap();
    assert!(published.iter().map(|sentiment| sentiment.revision).is_sorted());
}
