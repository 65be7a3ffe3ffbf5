//! Posts that somebody asks to have labelled, through all of the boxes.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use common::{Host, PATIENCE, png, settings, tone, until};
use futures::FutureExt as _;
use futures::future::join_all;
use jtav_feed_processor::{Networks, parameters};
use jtav_inference::{Backend, BackendError, BatchLimits, BoxedBackend, FatalHook, InferenceParams};
use jtav_pipeline::{AttentionPart, Embedding, Encoded, Pcm, Stage, StageError};
use jtav_query::judge::{Judge, JudgeError, Judged};
use jtav_schemas::{AbsentReason, DeadLetterReason, EmbeddingV1, Modality, ModalityStatus, SentimentV1, event_id};
use jtav_settings::Settings;
use serde_json::{Value, json};

mod common;

fn judge_of(settings: &Arc<Settings>, networks: Networks) -> Judge {
    let decoders = parameters::decoders(settings, parameters::this_program(settings)).unwrap();
    Judge::start(settings, networks, decoders).unwrap()
}

fn judge(settings: &Arc<Settings>) -> Judge {
    judge_of(settings, Networks::load(settings, fatal()).unwrap())
}

fn fatal() -> FatalHook {
    Arc::new(|message: &str| panic!("{message}"))
}

fn post(id: &str, image: Option<&str>) -> Bytes {
    let image = image.map_or(Value::Null, |url| json!({ "url": url }));
    json!({ "id": id, "revision": 3, "texts": [{ "role": "body", "text": "a fine day" }], "image": image })
        .to_string()
        .into()
}

async fn ask(judge: &Judge, post: Bytes) -> Result<Judged, JudgeError> {
    tokio::time::timeout(PATIENCE, judge.label(post)).await.expect("no answer")
}

fn labelled(answer: Result<Judged, JudgeError>) -> (Arc<SentimentV1>, Arc<EmbeddingV1>) {
    match answer {
        Ok(Judged::Labelled { sentiment, embedding }) => (sentiment, embedding),
        other => panic!("{other:?}"),
    }
}

#[actix_rt::test]
async fn a_label_has_the_callers_id_and_the_event_id_that_a_worker_would_give_it() {
    let judge = judge(&settings(&[], |_| {}));
    let (sentiment, embedding) = labelled(ask(&judge, post("a b/c?", None)).await);
    assert_eq!((sentiment.post_id.as_str(), embedding.post_id.as_str()), ("a b/c?", "a b/c?"));
    assert_eq!(sentiment.event_id, event_id("a b/c?", 3, &sentiment.model_version));
    assert_eq!((&embedding.event_id, embedding.revision), (&sentiment.event_id, 3));
    assert_eq!(judge.in_flight(), 0);
}

#[actix_rt::test]
async fn of_a_hundred_callers_four_have_a_place_and_the_rest_is_told_at_once() {
    let host = Host::start(vec![]);
    let settings = settings(&[host.address], |settings| {
        settings.serve.max_label_posts = 4;
        (settings.media.total_timeout_ms, settings.media.connect_timeout_ms) = (1_500, 1_000);
    });
    let judge = judge(&settings);
    let posts = (0..100).map(|n| post(&n.to_string(), Some(&host.url(&format!("/drip{n}")))));
    let answers = join_all(posts.map(|post| ask(&judge, post))).await;
    let (busy, judged): (Vec<_>, Vec<_>) = answers.into_iter().partition(|a| matches!(a, Err(JudgeError::Busy)));
    assert_eq!((busy.len(), judged.len()), (96, 4));
    for answer in judged {
        let (sentiment, _) = labelled(answer);
        assert_eq!(
            sentiment.modalities.image,
            ModalityStatus::Absent(AbsentReason::Timeout),
            "all four were asked for"
        );
    }
    assert_eq!(judge.in_flight(), 0, "a place is free before its answer is there");
    for _ in 0..20 {
        labelled(ask(&judge, post("next", None)).await);
    }
}

#[actix_rt::test]
async fn who_uses_the_id_of_another_does_not_wait_behind_his_slow_picture() {
    let host = Host::start(vec![]);
    let judge = judge(&settings(&[host.address], |_| {}));
    let mut slow = Box::pin(judge.label(post("same", Some(&host.url("/drip")))));
    assert!((&mut slow).now_or_never().is_none());
    until("a request", || host.dripping() == 1).await;
    labelled(ask(&judge, post("same", None)).await);
    assert!((&mut slow).now_or_never().is_none());
    assert_eq!(host.dripping(), 1, "the slow one is still under way");
}

#[actix_rt::test]
async fn the_place_of_a_caller_that_goes_is_free_when_his_post_has_settled_and_not_before() {
    let host = Host::start(vec![]);
    let settings = settings(&[host.address], |settings| {
        settings.serve.max_label_posts = 1;
        (settings.media.total_timeout_ms, settings.media.connect_timeout_ms) = (1_500, 1_000);
    });
    let judge = judge(&settings);
    for n in 0..3 {
        let mut asking = Box::pin(judge.label(post("gone", Some(&host.url(&format!("/drip{n}"))))));
        assert!((&mut asking).now_or_never().is_none());
        until("a request", || host.dripping() == 1).await;
        drop(asking);
        assert_eq!(judge.in_flight(), 1);
        assert!(matches!(ask(&judge, post("other", None)).await, Err(JudgeError::Busy)));
        until("a free place", || judge.in_flight() == 0).await;
        labelled(ask(&judge, post("other", None)).await);
    }
}

#[actix_rt::test]
async fn what_is_no_post_is_refused_with_the_reason_of_a_worker_and_takes_no_place() {
    let settings = settings(&[], |settings| settings.serve.max_label_posts = 1);
    let judge = judge(&settings);
    let most = settings.ingest.max_record_bytes;
    let large = format!(r#"{{"id":"a","pad":"{}"}}"#, "x".repeat(most));
    for (value, expected) in [
        (large, DeadLetterReason::RecordTooLarge),
        ("{".to_owned(), DeadLetterReason::InvalidJson),
        ("null".to_owned(), DeadLetterReason::InvalidPost),
        (r#"{"id":""}"#.to_owned(), DeadLetterReason::InvalidPost),
        (format!(r#"{{"id":"a","x":{}}}"#, "[".repeat(100_000)), DeadLetterReason::InvalidJson),
    ] {
        match ask(&judge, value.into()).await {
            Err(JudgeError::Invalid(rejection)) => assert_eq!(rejection.reason, expected),
            other => panic!("{other:?}"),
        }
    }
    for tombstone in [r#"{"id":"a","deleted":true}"#, r#"{"id":"a","deleted":true,"texts":7}"#] {
        assert!(matches!(ask(&judge, tombstone.into()).await, Err(JudgeError::Deletion)));
    }
    assert!(matches!(ask(&judge, r#"{"id":"a"}"#.into()).await, Ok(Judged::Skipped("nothing_to_label"))));
    let no_modality = json!({ "id": "a", "image": { "url": "http://169.254.169.254/" } }).to_string();
    match ask(&judge, no_modality.into()).await {
        Ok(Judged::NotLabelled { reason: "no_modality", modalities: Some(modalities), .. }) => {
            assert_eq!(modalities.image, ModalityStatus::Absent(AbsentReason::FetchDenied));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(judge.in_flight(), 0);
}

#[actix_rt::test]
async fn the_longest_text_that_a_record_can_hold_is_labelled_and_said_to_be_cut() {
    let settings = settings(&[], |_| {});
    let judge = judge(&settings);
    let text = "wonderful ".repeat(settings.ingest.max_record_bytes / 10 - 10);
    let value = json!({ "id": "a", "texts": [{ "role": "body", "text": text }] }).to_string();
    assert!(
        value.len() <= settings.ingest.max_record_bytes && value.len() > settings.ingest.max_record_bytes / 100 * 99
    );
    let (sentiment, _) = labelled(ask(&judge, value.into()).await);
    assert_eq!(sentiment.truncated, [Modality::Text]);
}

#[actix_rt::test]
async fn a_picture_that_is_sent_has_the_vector_that_it_has_in_a_post_and_the_same_limits() {
    let settings = settings(&[], |settings| settings.media.max_image_bytes = 1 << 20);
    let judge = judge(&settings);
    let picture = png(300, 200, 77);
    let url = format!("data:image/png;base64,{}", BASE64_STANDARD.encode(&picture));
    let (_, embedding) = labelled(ask(&judge, post("a", Some(&url))).await);
    let in_post = embedding.modalities.image.as_ref().unwrap().unpack().unwrap();
    let sent = judge.encode_image(picture.into()).await.unwrap();
    assert_eq!(sent.len(), in_post.len());
    // The record's are of 16 bits.
    assert!(sent.iter().zip(&in_post).all(|(sent, in_post)| (sent - in_post).abs() < 2e-3), "{sent:?} {in_post:?}");
    for (bytes, expected) in [
        (png(8_000, 8_000, 0), AbsentReason::TooLarge),
        (vec![0; (1 << 20) + 1], AbsentReason::TooLarge),
        (tone(22_050), AbsentReason::TypeMismatch),
        (Vec::new(), AbsentReason::DecodeError),
    ] {
        match judge.encode_image(bytes.into()).await {
            Err(JudgeError::Picture(reason)) => assert_eq!(reason, expected),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(judge.in_flight(), 0);
}

/// An audio network that never answers.
struct Hung;

impl Backend for Hung {
    type Item = Pcm;
    type Output = Result<Encoded, StageError>;

    fn cost(&self, _: &Pcm) -> u64 {
        1
    }

    fn forward(&mut self, items: &[Pcm]) -> Result<Vec<Self::Output>, BackendError> {
        // The warm-up, if there is one, must pass.
        if items.iter().any(|pcm| pcm.samples.len() == 22_050) {
            std::thread::sleep(Duration::from_secs(8));
        }
        let vector = Embedding::new(vec![0.5; 8]).unwrap();
        let encoded = Encoded { vector, attention: AttentionPart::Spans(Vec::new()) };
        Ok(items.iter().map(|_| Ok(encoded.clone())).collect())
    }
}

#[actix_rt::test]
async fn a_post_that_hangs_in_a_stage_ends_at_its_deadline_and_others_are_labelled_meanwhile() {
    let settings = settings(&[], |settings| {
        settings.serve.request_timeout_ms = 4_000;
        (settings.media.total_timeout_ms, settings.media.connect_timeout_ms) = (1_500, 1_000);
        settings.serve.max_label_posts = 2;
    });
    let params = InferenceParams {
        model: "audio",
        stage: Stage::AudioEncoder,
        streams: 1,
        limits: BatchLimits { max_items: 4, max_cost: 100, max_wait: Duration::ZERO },
        queue_capacity: 16,
        on_fatal: fatal(),
    };
    let device = || -> Result<BoxedBackend<_, _>, BackendError> { Ok(Box::new(Hung)) };
    let audio = jtav_inference::spawn(params, device).unwrap();
    let judge = judge_of(&settings, Networks { audio, ..Networks::load(&settings, fatal()).unwrap() });
    let url = format!("data:audio/wav;base64,{}", BASE64_STANDARD.encode(tone(22_050)));
    let hanging = json!({ "id": "hangs", "audio": { "url": url }, "texts": [{ "role": "body", "text": "a day" }] });
    let mut hanging = Box::pin(judge.label(hanging.to_string().into()));
    assert!((&mut hanging).now_or_never().is_none());
    for _ in 0..5 {
        labelled(ask(&judge, post("well", None)).await);
    }
    let answer = tokio::time::timeout(PATIENCE, hanging).await.expect("no answer");
    assert!(matches!(answer, Err(JudgeError::TimedOut)), "{answer:?}");
    assert_eq!(judge.in_flight(), 0);
}

#[actix_rt::test]
async fn a_judge_that_was_stopped_says_so() {
    let judge = judge(&settings(&[], |_| {}));
    judge.stop();
    assert!(matches!(ask(&judge, post("a", None)).await, Err(JudgeError::Failed(_))));
    assert_eq!(judge.in_flight(), 0);
}
