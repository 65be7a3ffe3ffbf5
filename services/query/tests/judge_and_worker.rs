//! What is labelled on request is what a worker publishes: the sample feed with its hostile records, by the bundled networks.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jtav_feed_processor::{Networks, Worker, parameters};
use jtav_feed_simulator::{BROKEN_IMAGE_ID, FORBIDDEN_ADDRESS_ID, FeedRecord, MediaServer, Pack, demo_feed};
use jtav_kafka::{InProcessCluster, OutboundRecord, Producer, ProducerSettings, read_all};
use jtav_pipeline::NoObserver;
use jtav_query::judge::{Judge, JudgeError, Judged};
use jtav_schemas::{EmbeddingV1, SentimentV1, Vector};
use jtav_settings::{Device, Loader, Settings};
use jtav_store::EmbeddedStore;

const PATIENCE: Duration = Duration::from_secs(120);
/// What two batches of different size may move a probability by.
const TOLERANCE: f32 = 0.02;
/// Posts of the sample feed that are compared.
const POSTS: usize = 24;

fn records(server: &MediaServer, pack: &Pack) -> Vec<FeedRecord> {
    let all = demo_feed(pack, &server.base_url());
    let is_hostile = |record: &FeedRecord| record.key.starts_with(b"demo-");
    let hostile = all.iter().filter(|record| is_hostile(record)).cloned();
    let mut some: Vec<_> = all.iter().filter(|record| !is_hostile(record)).take(POSTS).cloned().collect();
    some.extend(hostile);
    some
}

fn settings(cluster: &InProcessCluster, server: &MediaServer) -> Arc<Settings> {
    let loader = Loader::new()
        .set(format!("kafka.brokers={}", cluster.bootstrap()))
        .set("store.kind=embedded")
        .set("media.decode_processes=false")
        .set("ingest.commit_interval_ms=100")
        .set("ingest.session_timeout_ms=6000")
        .set("ingest.drain_timeout_ms=2000");
    let mut settings = loader.load().unwrap().settings;
    settings.media.allow = vec![server.address()];
    settings.model.device = Device::Cpu;
    // The comparison takes what time it takes.
    settings.serve.request_timeout_ms = 60_000;
    Arc::new(settings)
}

type Published = BTreeMap<String, (SentimentV1, EmbeddingV1)>;

async fn by_a_worker(worker: &Worker, cluster: &InProcessCluster, records: &[FeedRecord]) -> Published {
    let producer = Producer::new(&cluster.client("producer"), &ProducerSettings::default()).unwrap();
    for record in records {
        let key = String::from_utf8(record.key.to_vec()).unwrap();
        producer.send(OutboundRecord::keyed("posts", key, record.value.to_vec())).await.unwrap();
    }
    let since = Instant::now();
    let read = |topic: &str| read_all(&cluster.client("look"), topic, PATIENCE).unwrap();
    while read("embeddings").len() + read("dead-letters").len() < records.len() {
        assert!(since.elapsed() < PATIENCE, "{:?}", worker.ailment());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let mut published = Published::new();
    // Of one post both topics have the same order; posts of two lanes may pass each other.
    let embeddings = read("embeddings").into_iter().filter_map(|record| {
        let embedding: EmbeddingV1 = serde_json::from_slice(&record.value?).ok()?;
        Some((embedding.event_id.clone(), embedding))
    });
    let embeddings: BTreeMap<String, EmbeddingV1> = embeddings.collect();
    for record in read("sentiment") {
        let sentiment: SentimentV1 = serde_json::from_slice(&record.value.unwrap()).unwrap();
        let embedding = embeddings[&sentiment.event_id].clone();
        published.insert(sentiment.post_id.clone(), (sentiment, embedding));
    }
    published
}

fn cosine(one: &Vector, other: &Vector) -> f32 {
    let (one, other) = (one.unpack().unwrap(), other.unpack().unwrap());
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(&one, &other) / (dot(&one, &one) * dot(&other, &other)).sqrt()
}

fn assert_alike(asked: (&SentimentV1, &EmbeddingV1), published: &(SentimentV1, EmbeddingV1)) {
    let ((asked, asked_vectors), (published, vectors)) = (asked, published);
    let id = &published.post_id;
    assert_eq!((&asked.event_id, &asked.post_id), (&published.event_id, id));
    assert_eq!((asked.revision, &asked.model_version), (published.revision, &published.model_version), "{id}");
    assert_eq!((asked.label, asked.modalities), (published.label, published.modalities), "{id}");
    assert_eq!((&asked.lang, &asked.truncated), (&published.lang, &published.truncated), "{id}");
    assert!((asked.valence - published.valence).abs() < 2.0 * TOLERANCE, "{id}");
    assert!((asked.probability - published.probability).abs() < TOLERANCE, "{id}");
    let words = |sentiment: &SentimentV1| sentiment.attention.words.len();
    assert_eq!(words(asked), words(published), "{id}");
    assert_eq!(asked_vectors.event_id, vectors.event_id);
    assert!(cosine(&asked_vectors.fused, &vectors.fused) > 0.995, "{id}");
    assert_eq!(asked_vectors.semantic.is_some(), vectors.semantic.is_some(), "{id}");
}

#[actix_rt::test]
async fn the_sample_feed_and_its_hostile_records_are_judged_as_by_a_worker() {
    let pack = Pack::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("../feed-simulator/sample-feed")).unwrap();
    let server = MediaServer::on_loopback(pack.folder()).unwrap();
    let cluster = InProcessCluster::create(1).unwrap();
    for topic in ["posts", "sentiment", "embeddings", "dead-letters", "erasures"] {
        // Of one partition: both outputs of a post are in its order.
        cluster.create_topic(topic, 1).unwrap();
    }
    let settings = settings(&cluster, &server);
    let decoders = parameters::decoders(&settings, parameters::this_program(&settings)).unwrap();
    let networks = Networks::load(&settings, Arc::new(|message: &str| panic!("{message}"))).unwrap();
    let worker = Worker::new(
        Arc::clone(&settings),
        cluster.client("worker"),
        Arc::new(EmbeddedStore::new()),
        networks.clone(),
        decoders.clone(),
        Arc::new(NoObserver),
    );
    let running = worker.clone();
    let run = actix_rt::spawn(async move { running.run(std::future::pending()).await.map(drop) });
    let records = records(&server, &pack);
    let published = by_a_worker(&worker, &cluster, &records).await;
    let before = read_all(&cluster.client("look"), "sentiment", PATIENCE).unwrap().len();

    // On the same networks and decoders, while the worker runs.
    let judge = Judge::start(&settings, networks, decoders).unwrap();
    let mut labelled = 0;
    for record in &records {
        let id = String::from_utf8(record.key.to_vec()).unwrap();
        match (judge.label(record.value.clone()).await, published.get(&id)) {
            (Ok(Judged::Labelled { sentiment, embedding }), Some(published)) => {
                assert_alike((&sentiment, &embedding), published);
                labelled += 1;
            }
            (Err(JudgeError::Invalid(_)), None) => {}
            (asked, published) => panic!("{id}: {asked:?}, but of a worker {published:?}"),
        }
    }
    assert!(
        labelled >= POSTS && published.contains_key(BROKEN_IMAGE_ID) && published.contains_key(FORBIDDEN_ADDRESS_ID)
    );
    assert_eq!(labelled, published.len());
    let after = read_all(&cluster.client("look"), "sentiment", PATIENCE).unwrap().len();
    assert_eq!(before, after, "nothing is published of what was asked");
    judge.stop();
    run.abort();
}
