//! Redis stands still for longer than every retry while large media arrive: the worker goes on polling, stays within its
//! memory and its group, and nothing is missing afterwards.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use jtav_feed_simulator::MediaServer;
use jtav_kafka::{Producer, ProducerSettings, read_all};
use jtav_schemas::{MediaRef, PostV1, TextPart};
use jtav_settings::Loader;
use jtav_testkit::{Oracle, RealKafka, RealRedis, Topics, Worker, WorkerConfig, jtav_binary, produce, require_real};

const POSTS: usize = 200;
const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than `publish.deadline_ms` below, so that posts are abandoned and come again.
const STANDSTILL: Duration = Duration::from_secs(8);
/// Close below `media.max_image_bytes` below.
const IMAGE_BYTES: usize = 4_900_000;

fn config(kafka: &RealKafka, redis: &RealRedis, media: SocketAddr) -> WorkerConfig {
    WorkerConfig::new(kafka.brokers())
        .redis(&redis.url(0))
        .stub_networks()
        .media_hosts(&[media])
        .set("media.max_image_bytes", 5_000_000)
        .set("media.max_audio_bytes", 5_000_000)
        .set("media.byte_budget_bytes", 50_000_000)
        .set("ingest.session_timeout_ms", 9_000)
        .set("ingest.drain_timeout_ms", 4_000)
        .set("ingest.rewind_attempts", 100)
        .set("publish.attempts", 3)
        .set("publish.deadline_ms", 2_000)
        .set("store.command_timeout_ms", 500)
        .set("shutdown.shutdown_timeout_ms", 15_000)
}

/// A picture that every decoder reads, with zeros behind its end up to `IMAGE_BYTES`: as much to fetch and to hold as the
/// largest photograph, and little to decode.
fn large_images(folder: &std::path::Path) -> Result<()> {
    let sample = jtav_testkit::workspace_root().join(jtav_feed_simulator::SAMPLE_FEED).join("media/image");
    let mut pictures = std::fs::read_dir(&sample)?.filter_map(|entry| Some(entry.ok()?.path()));
    let picture = pictures.find(|path| path.extension().is_some_and(|ending| ending == "jpg")).context("a picture")?;
    let mut bytes = std::fs::read(picture)?;
    bytes.resize(IMAGE_BYTES, 0);
    for number in 0..4 {
        // Different contents, so that they are not one entry of the cache.
        bytes[IMAGE_BYTES - 1] = number;
        std::fs::write(folder.join(format!("{number}.jpg")), &bytes)?;
    }
    Ok(())
}

fn post(number: usize, media: &MediaServer) -> PostV1 {
    let url = format!("{}/{}.jpg", media.base_url(), number % 4);
    PostV1 {
        id: format!("post-{number}"),
        revision: 0,
        author_id: None,
        created_at: None,
        lang: None,
        texts: vec![TextPart { role: "body".to_owned(), text: format!("words {number}") }],
        audio: None,
        image: Some(MediaRef { url, media_type: None, sha256: None, bytes: None }),
        deleted: false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_stands_still_stops_no_polling_fills_no_memory_and_costs_no_post() -> Result<()> {
    if !require_real("a_store_that_stands_still_stops_no_polling_fills_no_memory_and_costs_no_post") {
        return Ok(());
    }
    jtav_binary()?;
    let folder = tempfile::tempdir()?;
    large_images(folder.path())?;
    let media = MediaServer::on_loopback(folder.path())?;
    let (kafka, mut redis) = (RealKafka::start()?, RealRedis::start()?);
    kafka.create_topics(&[("posts", 4)]).await?;
    kafka.create_topics(&Topics::default().outputs().map(|name| (name, 1))).await?;
    let config = config(&kafka, &redis, media.address());
    let file = folder.path().join("worker.toml");
    std::fs::write(&file, config.to_toml())?;
    let ceiling_bytes = Loader::new().file(&file).load()?.settings.memory_ceiling().total_bytes() as f64;
    let mut worker = Worker::spawn("worker", &config)?;
    worker.wait_ready(PATIENCE)?;

    let mut oracle = Oracle::new("posts");
    let records = (0..POSTS).map(|number| oracle.post(&post(number, &media))).collect::<Result<Vec<_>>>()?;
    let producer = Producer::new(&kafka.client(), &ProducerSettings::default())?;
    redis.freeze()?;
    let stopped = Instant::now();
    // All at once: a burst far above what the worker can take even with its store.
    produce(&producer, records, 0).await?;
    let (mut paused, mut largest_bytes) = (0.0f64, 0.0f64);
    while stopped.elapsed() < STANDSTILL {
        paused = paused.max(worker.metric("jtav_ingest_paused_partitions")?.unwrap_or(0.0));
        largest_bytes = largest_bytes.max(worker.metric("process_resident_memory_bytes")?.unwrap_or(0.0));
        std::thread::sleep(Duration::from_millis(200));
    }
    redis.thaw()?;

    let started = Instant::now();
    while worker.metric("jtav_posts_total")?.unwrap_or(0.0) < POSTS as f64
        || worker.metric("jtav_consumer_lag_records")? != Some(0.0)
    {
        ensure!(started.elapsed() < PATIENCE, "posts or lag are left:\n{}", worker.log_tail());
        largest_bytes = largest_bytes.max(worker.metric("process_resident_memory_bytes")?.unwrap_or(0.0));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(paused >= 1.0, "no partition waited: the standstill was not felt");
    assert!(largest_bytes > 0.0 && largest_bytes < ceiling_bytes, "{largest_bytes} of {ceiling_bytes} bytes");
    // Expelled, it would have been assigned its partitions a second time.
    assert_eq!(worker.metric("jtav_ingest_rebalances_total")?, Some(1.0), "{}", worker.log_tail());
    assert_eq!(worker.gap_at_rest().await?, Some(0.0));

    let status = worker.terminate(Duration::from_secs(30))?;
    assert!(status.success(), "{status}:\n{}", worker.log_tail());
    let client = kafka.client();
    let [sentiment, dead_letters, erasures] =
        ["sentiment", "dead-letters", "erasures"].map(|topic| read_all(&client, topic, PATIENCE));
    let labels = oracle.check_topics(&sentiment?, &dead_letters?, &erasures?)?;
    oracle.check_store(&labels, &redis.store(0)?).await?;
    eprintln!("largest resident memory {:.0} MB of {:.0} MB", largest_bytes / 1e6, ceiling_bytes / 1e6);
    Ok(())
}
