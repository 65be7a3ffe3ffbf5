//! Two posts that keep a device busy for longer than their deadline, each time, beside forty that do not, through all of
//! the boxes, on the in-process cluster with stand-in networks.

use std::fmt::Write as _;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jtav_feed_processor::{Networks, Worker};
use jtav_inference::{Backend, BackendError, BatchLimits, BoxedBackend, FatalHook, InferenceParams};
use jtav_kafka::{InProcessCluster, OutboundRecord, Producer, ProducerSettings, Record, read_all};
use jtav_media::{DecodeParams, DecodePool};
use jtav_pipeline::{AttentionPart, Embedding, Encoded, NoObserver, Pcm, Stage, StageError};
use jtav_schemas::DeadLetterHeaders;
use jtav_settings::{Loader, Settings};
use jtav_store::EmbeddedStore;

const PATIENCE: Duration = Duration::from_secs(20);
/// All of it: deadlines and trials of a second each, some of them on a device that is still busy.
const ALL_OF_IT: Duration = Duration::from_secs(240);
const POST_DEADLINE: Duration = Duration::from_secs(3);
/// Samples of the clip that takes so long.
const SLOW_SAMPLES: usize = 3_000;

/// An audio network that one clip keeps busy beyond its post's deadline.
struct Device;

impl Backend for Device {
    type Item = Pcm;
    type Output = Result<Encoded, StageError>;

    fn cost(&self, _: &Pcm) -> u64 {
        1
    }

    fn forward(&mut self, items: &[Pcm]) -> Result<Vec<Self::Output>, BackendError> {
        let answer = |pcm: &Pcm| {
            if pcm.samples.len() == SLOW_SAMPLES {
                std::thread::sleep(POST_DEADLINE + Duration::from_millis(500));
            }
            let vector = Embedding::new(vec![0.5; 8]).map_err(|error| {
                StageError::permanent(Stage::AudioEncoder, jtav_schemas::DeadLetterReason::NonFiniteOutput, error)
            })?;
            Ok(Encoded { vector, attention: AttentionPart::Spans(Vec::new()) })
        };
        Ok(items.iter().map(answer).collect())
    }
}

fn networks(settings: &Settings) -> Networks {
    let on_fatal: FatalHook = Arc::new(|message: &str| panic!("{message}"));
    let params = InferenceParams {
        model: "audio",
        stage: Stage::AudioEncoder,
        streams: 1,
        limits: BatchLimits { max_items: 4, max_cost: 100, max_wait: Duration::ZERO },
        queue_capacity: 256,
        on_fatal: Arc::clone(&on_fatal),
    };
    let device = || -> Result<BoxedBackend<_, _>, BackendError> { Ok(Box::new(Device)) };
    let audio = jtav_inference::spawn(params, device).unwrap();
    Networks { audio, ..Networks::load(settings, on_fatal).unwrap() }
}

/// A WAV file of so many samples of a tone, as a URL.
fn clip(samples: usize) -> String {
    let data_bytes = samples as u32 * 2;
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + data_bytes).to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    bytes.extend(16_u32.to_le_bytes());
    bytes.extend([1, 0, 1, 0]);
    bytes.extend(22_050_u32.to_le_bytes());
    bytes.extend(44_100_u32.to_le_bytes());
    bytes.extend([2, 0, 16, 0]);
    bytes.extend(b"data");
    bytes.extend(data_bytes.to_le_bytes());
    bytes.extend((0..samples).flat_map(|at| (((at % 100) as i16 - 50) * 200).to_le_bytes()));
    bytes.iter().fold("data:audio/wav,".to_owned(), |mut url, byte| {
        let _ = write!(url, "%{byte:02X}");
        url
    })
}

fn post(id: &str, samples: Option<usize>) -> OutboundRecord {
    let audio = samples.map_or(String::new(), |samples| format!(r#","audio":{{"url":"{}"}}"#, clip(samples)));
    let value = format!(r#"{{"id":"{id}","texts":[{{"role":"body","text":"a fine day {id}"}}]{audio}}}"#);
    OutboundRecord::keyed("posts", id.to_owned(), value)
}

fn records(cluster: &InProcessCluster, topic: &str) -> Vec<Record> {
    read_all(&cluster.client("look"), topic, PATIENCE).unwrap()
}

fn header<'a>(record: &'a Record, name: &str) -> &'a str {
    let (_, value) = record.headers.iter().rfind(|(found, _)| found == name).unwrap();
    std::str::from_utf8(value.as_deref().unwrap()).unwrap()
}

#[actix_rt::test]
async fn two_posts_that_hang_in_an_encoder_are_set_aside_and_forty_beside_them_are_published() {
    let cluster = InProcessCluster::create(1).unwrap();
    cluster.create_topic("posts", 2).unwrap();
    for topic in ["sentiment", "embeddings", "dead-letters", "erasures"] {
        cluster.create_topic(topic, 1).unwrap();
    }
    let settings = Loader::new()
        .set(format!("kafka.brokers={}", cluster.bootstrap()))
        .set("model.stub=true")
        .set("store.kind=embedded")
        .set("media.sources=[\"data\"]")
        .set("media.connect_timeout_ms=300")
        .set("media.total_timeout_ms=500")
        .set("media.decode_processes=false")
        .set(format!("router.post_deadline_ms={}", POST_DEADLINE.as_millis()))
        .set("router.trial_deadline_ms=1000")
        .set("publish.deadline_ms=2500")
        .set("store.command_timeout_ms=1000")
        .set("ingest.commit_interval_ms=100")
        .set("ingest.session_timeout_ms=6000")
        .set("ingest.drain_timeout_ms=2000")
        // One seek back without progress would restart the pipeline.
        .set("ingest.rewind_attempts=0")
        .load()
        .unwrap()
        .settings;
    let settings = Arc::new(settings);
    let producer = Producer::new(&cluster.client("producer"), &ProducerSettings::default()).unwrap();
    for number in 0..42 {
        let record = match number {
            3 | 25 => post(&format!("slow{number}"), Some(SLOW_SAMPLES)),
            // Some must pass the same device.
            _ if number % 5 == 0 => post(&format!("p{number}"), Some(2_205 + number)),
            _ => post(&format!("p{number}"), None),
        };
        producer.send(record).await.unwrap();
    }

    let worker = Worker::new(
        Arc::clone(&settings),
        cluster.client("worker"),
        Arc::new(EmbeddedStore::new()),
        networks(&settings),
        DecodePool::start(&DecodeParams::for_tests()).unwrap(),
        Arc::new(NoObserver),
    );
    let running = worker.clone();
    let run = actix_rt::spawn(async move { running.run(pending()).await.map(drop) });
    let started = Instant::now();
    while records(&cluster, "dead-letters").len() < 2 || records(&cluster, "sentiment").len() < 40 {
        let state = worker.running().map(|running| running.ingest.status.snapshot());
        assert!(!run.is_finished(), "the worker has ended");
        assert!(started.elapsed() < ALL_OF_IT, "{state:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let seconds = started.elapsed().as_secs_f64();
    let letters = records(&cluster, "dead-letters");
    for letter in &letters {
        assert_eq!(header(letter, DeadLetterHeaders::REASON), "deadline_exceeded");
        assert_eq!(header(letter, DeadLetterHeaders::STAGE), "audio_encoder");
        assert!(letter.key.as_deref().is_some_and(|key| key.starts_with(b"slow")), "{:?}", letter.key);
    }
    assert_eq!(letters.len(), 2);
    assert_eq!(records(&cluster, "sentiment").len(), 40, "nobody is published twice");
    assert_eq!(worker.generation(), 1, "nothing was restarted");
    let ingest = worker.running().unwrap().ingest;
    assert!(ingest.status.snapshot().paused_by.is_empty(), "the breaker is closed");
    eprintln!("two posts set aside and forty published after {seconds:.1} s");
    run.abort();
}
