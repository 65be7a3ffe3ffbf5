//! A worker is killed in the middle of a feed, on a real broker and a real store, and nobody can tell afterwards.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use jtav_feed_simulator::{MediaServer, Pack, SAMPLE_FEED, feed};
use jtav_kafka::{ClientSettings, OutboundRecord, Producer, ProducerSettings, read_all, watermarks};
use jtav_schemas::{DeadLetterReason, PostV1, TextPart};
use jtav_store::StoredLabel;
use jtav_testkit::{
    Labels, Oracle, RealKafka, RealRedis, Topics, Worker, WorkerConfig, is_through, jtav_binary, produce, require_real,
    workspace_root,
};

const PARTITIONS: i32 = 4;
const TEXT_POSTS: usize = 2_000;
const MEDIA_POSTS: usize = 6;
const EDITS: usize = 20;
const ERASURES: usize = 5;
/// Posts with nothing to label.
const NOTHING: usize = 3;
const PER_SECOND: usize = 400;
const KILL_AFTER: i64 = 800;
const PATIENCE: Duration = Duration::from_secs(30);

/// One way to process the feed: a consumer group with output topics and a database of its own.
struct Run {
    name: &'static str,
    database: u8,
}

impl Run {
    fn topics(&self) -> Topics {
        let name = |what: &str| format!("{what}-{}", self.name);
        // Both runs read the same posts.
        Topics { input: "posts".to_owned(), ..Topics::named(name("group"), name) }
    }

    fn config(&self, kafka: &RealKafka, redis: &RealRedis, media: SocketAddr) -> WorkerConfig {
        WorkerConfig::new(kafka.brokers())
            .topics(&self.topics())
            .redis(&redis.url(self.database))
            .cpu()
            .set("model.image_streams", 1)
            .set("model.text_streams", 1)
            .media_hosts(&[media])
            // The broker's least is 6 s: how long the group waits for a worker that was killed.
            .set("ingest.session_timeout_ms", 9_000)
            .set("ingest.drain_timeout_ms", 4_000)
            .set("ingest.commit_interval_ms", 200)
            .set("shutdown.shutdown_timeout_ms", 15_000)
    }

    async fn create_topics(&self, kafka: &RealKafka) -> Result<()> {
        kafka.create_topics(&self.topics().outputs().map(|name| (name, PARTITIONS))).await
    }

    fn published(&self, client: &ClientSettings) -> Result<i64> {
        Ok(watermarks(client, &self.topics().sentiment, PATIENCE)?.values().map(|(_, high)| high).sum())
    }

    /// Blocks until the group has committed the end of every partition.
    fn wait_for_the_end(&self, client: &ClientSettings, worker: &mut Worker, timeout: Duration) -> Result<()> {
        let what = format!("the end of `{}`", self.name);
        worker.wait_until(&what, timeout, |_| is_through(client, &self.topics().group, "posts", PATIENCE))
    }

    async fn check(&self, kafka: &RealKafka, redis: &RealRedis, oracle: &Oracle) -> Result<RunOutput> {
        let client = kafka.client();
        let topics = self.topics();
        let [sentiment, dead_letters, erasures] = [&topics.sentiment, &topics.dead_letters, &topics.erasures]
            .map(|topic| read_all(&client, topic, PATIENCE).with_context(|| topic.clone()));
        let labels = oracle.check_topics(&sentiment?, &dead_letters?, &erasures?).context(self.name)?;
        let stored = oracle.check_store(&labels, &redis.store(self.database)?).await.context(self.name)?;
        Ok(RunOutput { labels, stored })
    }
}

fn owns_partitions(worker: &Worker) -> Result<bool> {
    Ok(worker.metric("jtav_ingest_assigned_partitions")?.is_some_and(|owned| owned >= 1.0))
}

struct RunOutput {
    labels: Labels,
    stored: BTreeMap<String, StoredLabel>,
}

fn text_post(id: String, revision: u64, text: String) -> PostV1 {
    PostV1 {
        id,
        revision,
        author_id: None,
        created_at: None,
        lang: Some("en".to_owned()),
        texts: vec![TextPart { role: "body".to_owned(), text }],
        audio: None,
        image: None,
        deleted: false,
    }
}

/// Texts of 4 to 13 words, each with its number, so that no two are equal.
fn text(number: usize) -> String {
    const WORDS: [&str; 12] = [
        "great", "awful", "evening", "service", "lovely", "broken", "camera", "never", "again", "love", "waste",
        "holiday",
    ];
    let words: Vec<&str> = (0..3 + number % 10).map(|i| WORDS[(number * 7 + i * 5 + number / 12) % 12]).collect();
    format!("{} {number}", words.join(" "))
}

/// The feed in its order: texts, with edits, erasures, posts with media and poison among them.
fn make_feed(oracle: &mut Oracle, base_url: &str) -> Result<Vec<OutboundRecord>> {
    let pack = Pack::open(workspace_root().join(SAMPLE_FEED))?;
    let media = feed(&pack, base_url)
        .into_iter()
        .map(|record| Ok(serde_json::from_slice::<PostV1>(&record.value)?))
        .collect::<Result<Vec<_>>>()?;
    let mut media = media.into_iter().filter(|post| post.image.is_some() || post.audio.is_some()).take(MEDIA_POSTS);
    let mut poison = [
        ("poison-not-json", r#"{"id": "poison-not-json", "texts": ["#, DeadLetterReason::InvalidJson),
        ("poison-key", r#"{"id": "some-other-id"}"#, DeadLetterReason::KeyMismatch),
        (
            "poison-unusable",
            r#"{"id": "poison-unusable", "image": {"url": "http://10.1.2.3/x.jpg"}}"#,
            DeadLetterReason::NoModality,
        ),
    ]
    .into_iter();

    let mut records = Vec::new();
    for number in 0..TEXT_POSTS {
        let id = format!("post-{number:04}");
        records.push(oracle.post(&text_post(id.clone(), 0, text(number)))?);
        if number % (TEXT_POSTS / EDITS) == 17 {
            records.push(oracle.post(&text_post(id.clone(), 1, format!("edited {}", text(number + 3))))?);
        }
        if number % (TEXT_POSTS / ERASURES) == 40 {
            records.push(oracle.tombstone(&id));
        }
        if number % 300 == 5
            && let Some(post) = media.next()
        {
            records.push(oracle.post(&post)?);
        }
        if number % 600 == 400 {
            records.push(oracle.post(&text_post(format!("nothing-{number}"), 0, "@somebody ...".to_owned()))?);
        }
        if number % 600 == 300
            && let Some((key, value, reason)) = poison.next()
        {
            records.push(oracle.poison(key, value, reason));
        }
    }
    ensure!(media.next().is_none() && poison.next().is_none(), "the feed is too short for its specials");
    Ok(records)
}

/// Ready is not assigned: a worker that the group has not let in yet would have nothing to lose.
async fn until_both_own_partitions(first: &Worker, second: &Worker, started: Instant) -> Result<()> {
    while !(owns_partitions(first)? && owns_partitions(second)?) {
        ensure!(started.elapsed() < Duration::from_secs(120), "no share:\n{}\n{}", first.log_tail(), second.log_tail());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_killed_in_the_middle_of_a_feed_leaves_no_trace_but_repetitions() -> Result<()> {
    if !require_real("a_worker_killed_in_the_middle_of_a_feed_leaves_no_trace_but_repetitions") {
        return Ok(());
    }
    // Building it first may take minutes that are not the system's.
    jtav_binary()?;
    let started = Instant::now();
    let (kafka, redis) = (RealKafka::start()?, RealRedis::start()?);
    let client = kafka.client();
    let pack_folder = workspace_root().join(SAMPLE_FEED);
    let media = MediaServer::on_loopback(&pack_folder)?;
    let [faulty, reference] = [Run { name: "faulty", database: 0 }, Run { name: "reference", database: 1 }];
    kafka.create_topics(&[("posts", PARTITIONS)]).await?;
    faulty.create_topics(&kafka).await?;
    reference.create_topics(&kafka).await?;

    let mut oracle = Oracle::new("posts");
    let records = make_feed(&mut oracle, &media.base_url())?;
    assert_eq!(records.len(), TEXT_POSTS + MEDIA_POSTS + EDITS + ERASURES + 3 + NOTHING);
    let produced = records.len();

    let config = faulty.config(&kafka, &redis, media.address());
    let mut first = Worker::spawn("worker 1", &config)?;
    let mut second = Worker::spawn("worker 2", &config)?;
    first.wait_ready(Duration::from_secs(60))?;
    second.wait_ready(Duration::from_secs(60))?;
    until_both_own_partitions(&first, &second, started).await?;
    let producer = Producer::new(&client, &ProducerSettings::default())?;
    let producing = tokio::spawn(async move { produce(&producer, records, PER_SECOND).await });

    // SIGKILL while both have work.
    while faulty.published(&client)? < KILL_AFTER {
        ensure!(first.is_running() && second.is_running(), "{}\n{}", first.log_tail(), second.log_tail());
        ensure!(started.elapsed() < Duration::from_secs(180), "too slow:\n{}", first.log_tail());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for worker in [&first, &second] {
        assert!(owns_partitions(worker)?, "a worker owns no partition: nobody would miss it");
    }
    first.kill9()?;
    let at_the_kill = faulty.published(&client)?;
    assert!((at_the_kill as usize) < oracle.expected_labels(), "all was done before the kill");
    producing.await??;
    faulty.wait_for_the_end(&client, &mut second, Duration::from_secs(90))?;
    assert_eq!(second.gap_at_rest().await?, Some(0.0), "posts were lost or counted twice");
    let status = second.terminate(Duration::from_secs(30))?;
    assert!(status.success(), "the drained worker ended with {status}:\n{}", second.log_tail());
    let crashed = faulty.check(&kafka, &redis, &oracle).await?;

    // The same input without a fault, by one worker, into another database.
    let mut alone = Worker::spawn("worker of the reference", &reference.config(&kafka, &redis, media.address()))?;
    alone.wait_ready(Duration::from_secs(60))?;
    reference.wait_for_the_end(&client, &mut alone, Duration::from_secs(90))?;
    let status = alone.terminate(Duration::from_secs(30))?;
    assert!(status.success(), "the worker of the reference ended with {status}:\n{}", alone.log_tail());
    let calm = reference.check(&kafka, &redis, &oracle).await?;
    assert_eq!(calm.labels.repeated, 0, "without a fault nothing is repeated");
    let identical = compare(&crashed, &calm)?;
    eprintln!(
        "{produced} records, {at_the_kill} labels at the kill, {} repeated after it; {identical} of {} stored labels \
         equal the fault-free run's bit for bit; {:.1} s",
        crashed.labels.repeated,
        calm.stored.len(),
        started.elapsed().as_secs_f64()
    );
    assert!(started.elapsed() < Duration::from_secs(240), "it took {:?}", started.elapsed());
    Ok(())
}

/// Holds one store against the other and counts what agrees to the last bit.
///
/// Which posts share a batch hangs on timing, and a matrix product over another number of rows rounds differently in
/// the last bits of an f32. So numbers are compared with a tolerance; identity, revision, source and label are not.
fn compare(crashed: &RunOutput, calm: &RunOutput) -> Result<usize> {
    // Which posts share a batch moves what the sentence encoder says, in bf16 by up to a hundredth of a vector's largest value.
    const TOLERANCE: f32 = 0.02;
    assert_eq!(crashed.labels.model_version, calm.labels.model_version);
    assert_eq!(crashed.stored.keys().collect::<Vec<_>>(), calm.stored.keys().collect::<Vec<_>>());
    let mut identical = 0;
    for (id, left) in &crashed.stored {
        let right = &calm.stored[id];
        assert_eq!(
            (left.revision, left.source, &left.event_id),
            (right.revision, right.source, &right.event_id),
            "{id}"
        );
        let lead = left.probabilities.of(left.label) - left.probabilities.of(right.label);
        assert!(lead <= 2.0 * TOLERANCE, "{id}: {:?} and {:?}, {lead} apart", left.label, right.label);
        let distance = (left.probability - right.probability).abs();
        assert!(distance <= TOLERANCE, "{id}: {} and {}", left.probability, right.probability);
        let (u, v) = (left.embedding()?, right.embedding()?);
        assert_eq!(u.len(), v.len(), "{id}");
        let length = |values: &mut dyn Iterator<Item = f32>| values.map(|value| value * value).sum::<f32>().sqrt();
        let apart = length(&mut u.iter().zip(&v).map(|(a, b)| a - b)) / length(&mut u.iter().copied());
        // CMF-AP's weights follow the vectors, so their differences add up.
        assert!(apart <= 5.0 * TOLERANCE, "{id}: embeddings {apart} of their length apart");
        identical += usize::from(left.probability == right.probability && left.u == right.u);
    }
    Ok(identical)
}
