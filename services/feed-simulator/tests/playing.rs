//! What a feed contains and how it is paced.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jtav_feed_simulator::{
    BROKEN_IMAGE_ID, FORBIDDEN_ADDRESS_ID, FORBIDDEN_URL, FeedRecord, FeedSink, KafkaSink, MemorySink, NOT_JSON_KEY,
    Pack, PlayError, PlayOptions, demo_feed, feed, play,
};
use jtav_schemas::PostV1;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

const BASE: &str = "http://127.0.0.1:1";

fn sample() -> Pack {
    Pack::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("sample-feed")).unwrap()
}

fn post(record: &FeedRecord) -> PostV1 {
    serde_json::from_slice(&record.value).unwrap()
}

fn key(record: &FeedRecord) -> &str {
    std::str::from_utf8(&record.key).unwrap()
}

#[test]
fn the_feed_is_in_the_order_of_writing_and_keyed_by_post_id() {
    let records = feed(&sample(), BASE);
    assert_eq!(records.len(), 64);
    let posts: Vec<PostV1> = records.iter().map(post).collect();
    assert!(posts.windows(2).all(|pair| pair[0].created_at <= pair[1].created_at));
    assert!(records.iter().zip(&posts).all(|(record, post)| key(record) == post.id));
}

#[test]
fn labels_stay_out_of_the_feed_and_media_become_addresses() {
    let pack = sample();
    for record in feed(&pack, BASE) {
        let value: serde_json::Value = serde_json::from_slice(&record.value).unwrap();
        for name in ["labels", "split", "groups"] {
            assert!(value.get(name).is_none(), "{name} in {value}");
        }
        let post = post(&record);
        let original = pack.posts().iter().find(|original| original.id == post.id).unwrap();
        assert_eq!(post.image.map(|image| image.url), original.image.as_ref().map(|i| format!("{BASE}/{}", i.path)));
        assert_eq!(post.audio.map(|audio| audio.url), original.audio.as_ref().map(|a| format!("{BASE}/{}", a.path)));
    }
}

#[test]
fn the_demo_feed_adds_three_records_that_go_wrong_and_leaves_the_rest() {
    let pack = sample();
    let records = demo_feed(&pack, BASE);
    assert_eq!(records.len(), 67);
    let place = |id: &str| records.iter().position(|record| key(record) == id).unwrap();
    let (broken, forbidden, not_json) = (place(BROKEN_IMAGE_ID), place(FORBIDDEN_ADDRESS_ID), place(NOT_JSON_KEY));
    assert_eq!((broken, forbidden, not_json), (16, 33, 50));

    let broken = post(&records[broken]);
    assert_eq!(broken.image.unwrap().url, format!("{BASE}/broken.jpg"));
    let forbidden = post(&records[forbidden]);
    assert_eq!(forbidden.image.unwrap().url, FORBIDDEN_URL);
    assert!(!broken.texts.is_empty() && !forbidden.texts.is_empty(), "both can still be labelled");
    assert!(serde_json::from_slice::<serde_json::Value>(&records[not_json].value).is_err());

    let rest: Vec<&FeedRecord> = records.iter().filter(|record| !key(record).starts_with("demo-")).collect();
    assert_eq!(rest, feed(&pack, BASE).iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn without_a_rate_everything_is_sent_in_order() {
    let records = demo_feed(&sample(), BASE);
    let sink = MemorySink::default();
    let mut calls = 0;
    let counts = play(&records, &sink, &PlayOptions::default(), |_| calls += 1).await.unwrap();
    assert_eq!((counts.total, counts.sent, counts.acknowledged, counts.failed), (67, 67, 67, 0));
    assert_eq!(sink.records(), records);
    assert_eq!(calls, 68, "once for each record and once at the end");
}

#[tokio::test]
async fn a_repeated_feed_consists_of_new_posts() {
    let records = demo_feed(&sample(), BASE);
    let sink = MemorySink::default();
    let options = PlayOptions { loops: 3, ..PlayOptions::default() };
    let counts = play(&records, &sink, &options, |_| {}).await.unwrap();
    assert_eq!((counts.total, counts.sent), (201, 201));
    let sent = sink.records();
    let mut keys: Vec<&str> = sent.iter().map(key).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 201);
    let again = post(&sent[67]);
    assert_eq!((again.id.as_str(), key(&sent[67])), (format!("{}~2", key(&records[0])).as_str(), again.id.as_str()));
    assert_eq!(PostV1 { id: key(&records[0]).to_owned(), ..again }, post(&records[0]));
}

/// Notes when each record was handed over; acknowledges after a delay, and not before `gate` records are there.
struct SlowSink {
    delay: Duration,
    gate: usize,
    sent_at: Mutex<Vec<(Instant, FeedRecord)>>,
    arrived: watch::Sender<usize>,
    in_flight: AtomicUsize,
    most_in_flight: AtomicUsize,
}

impl SlowSink {
    fn new(delay: Duration, gate: usize) -> Self {
        Self {
            delay,
            gate,
            sent_at: Mutex::default(),
            arrived: watch::Sender::new(0),
            in_flight: AtomicUsize::new(0),
            most_in_flight: AtomicUsize::new(0),
        }
    }
}

impl FeedSink for SlowSink {
    fn send(&self, record: FeedRecord) -> BoxFuture<'_, anyhow::Result<()>> {
        async move {
            self.sent_at.lock().unwrap().push((Instant::now(), record));
            let now = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_in_flight.fetch_max(now, Ordering::SeqCst);
            self.arrived.send_modify(|arrived| *arrived += 1);
            self.arrived.subscribe().wait_for(|arrived| *arrived >= self.gate).await?;
            sleep(self.delay).await;
            self.in_flight.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        }
        .boxed()
    }
}

#[tokio::test]
async fn a_sink_that_does_not_answer_does_not_hold_an_open_loop_back() {
    let records = feed(&sample(), BASE);
    // Nothing is acknowledged until everything was sent: a feed that waited for an answer would wait for ever.
    let sink = SlowSink::new(Duration::ZERO, 64);
    let options = PlayOptions { rate_per_second: Some(250.0), ..PlayOptions::default() };
    let start = Instant::now();
    let playing = play(&records, &sink, &options, |_| {});
    let counts = timeout(Duration::from_secs(60), playing).await.expect("the feed waits for its sink").unwrap();
    assert_eq!((counts.acknowledged, sink.most_in_flight.load(Ordering::SeqCst)), (64, 64));
    let sent = sink.sent_at.lock().unwrap();
    let mut latest = Duration::ZERO;
    for (index, (at, record)) in sent.iter().enumerate() {
        let due = Duration::from_millis(4) * index as u32;
        assert!(*at - start >= due, "record {index} was sent before its time");
        latest = latest.max(*at - start - due);
        let stamp = record.timestamp_ms.unwrap() - sent[0].1.timestamp_ms.unwrap();
        assert!((stamp - 4 * index as i64).abs() <= 1, "stamped with the time it was due");
    }
    assert_eq!(
        sent.iter().map(|(_, record)| key(record)).collect::<Vec<_>>(),
        records.iter().map(key).collect::<Vec<_>>()
    );
    assert!(counts.max_lateness <= latest && counts.elapsed >= Duration::from_millis(4 * 63));
}

#[tokio::test]
async fn the_number_in_flight_is_bounded_and_the_wait_counts_as_lateness() {
    let records = feed(&sample(), BASE);
    let sink = SlowSink::new(Duration::from_millis(20), 0);
    let options = PlayOptions { rate_per_second: Some(1000.0), max_in_flight: 8, ..PlayOptions::default() };
    let counts = play(&records, &sink, &options, |_| {}).await.unwrap();
    assert_eq!((counts.acknowledged, sink.most_in_flight.load(Ordering::SeqCst)), (64, 8));
    // Eight every 20 ms: the last eight go out after 140 ms at the soonest and were due after 63.
    assert!(counts.max_lateness >= Duration::from_millis(77), "{:?}", counts.max_lateness);
}

struct RefusingSink;

impl FeedSink for RefusingSink {
    fn send(&self, record: FeedRecord) -> BoxFuture<'_, anyhow::Result<()>> {
        let refused = key(&record).starts_with("demo-");
        async move { if refused { Err(anyhow::anyhow!("refused")) } else { Ok(()) } }.boxed()
    }
}

#[tokio::test]
async fn refused_records_are_counted_and_the_feed_goes_on() {
    let counts = play(&demo_feed(&sample(), BASE), &RefusingSink, &PlayOptions::default(), |_| {}).await.unwrap();
    assert_eq!((counts.sent, counts.acknowledged, counts.failed), (67, 64, 3));
    assert_eq!(counts.first_error.as_deref(), Some("refused"));
}

#[tokio::test]
async fn a_rate_that_is_no_rate_is_refused() {
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let options = PlayOptions { rate_per_second: Some(rate), ..PlayOptions::default() };
        let result = play(&[], &MemorySink::default(), &options, |_| {}).await;
        assert!(matches!(result, Err(PlayError::Rate(_))), "{rate}");
    }
}

#[tokio::test]
async fn an_empty_feed_ends_even_if_it_should_loop_for_ever() {
    let options = PlayOptions { loops: 0, ..PlayOptions::default() };
    assert_eq!(play(&[], &MemorySink::default(), &options, |_| {}).await.unwrap().sent, 0);
}

#[tokio::test]
async fn an_endless_feed_goes_on_until_it_is_dropped() {
    let records = feed(&sample(), BASE);
    let sink = MemorySink::default();
    let options = PlayOptions { loops: 0, rate_per_second: Some(2000.0), ..PlayOptions::default() };
    let mut sent = 0;
    let playing = play(&records, &sink, &options, |counts| {
        assert_eq!(counts.total, 0, "there is no end");
        sent = counts.sent;
    });
    assert!(timeout(Duration::from_millis(500), playing).await.is_err());
    assert_eq!(sink.records().len() as u64, sent);
    assert!(sent > 64, "only {sent}: less than a round");
}

#[tokio::test]
async fn through_kafka_every_record_arrives_as_it_was_sent() {
    let cluster = jtav_kafka::InProcessCluster::create(1).unwrap();
    cluster.create_topic("posts", 4).unwrap();
    let client = cluster.client("feed");
    let producer = jtav_kafka::Producer::new(&client, &jtav_kafka::ProducerSettings::default()).unwrap();
    let records = demo_feed(&sample(), BASE);
    let counts = play(&records, &KafkaSink::new(producer, "posts"), &PlayOptions::default(), |_| {}).await.unwrap();
    assert_eq!((counts.acknowledged, &counts.first_error), (67, &None));
    let arrived = tokio::task::spawn_blocking(move || jtav_kafka::read_all(&client, "posts", Duration::from_secs(30)));
    let arrived = arrived.await.unwrap().unwrap();
    assert_eq!(arrived.len(), 67);
    for record in &records {
        let same = arrived.iter().find(|arrived| arrived.key.as_ref() == Some(&record.key)).unwrap();
        assert_eq!((same.value.as_ref(), &same.headers), (Some(&record.value), &record.headers));
    }
}
