//! A real store refuses every write: intake stops, says so, and nothing is missing once the store is well again.

use std::time::Duration;

use anyhow::Result;
use jtav_kafka::{Producer, ProducerSettings, read_all};
use jtav_schemas::{PostV1, TextPart};
use jtav_testkit::{Oracle, RealKafka, RealRedis, Topics, Worker, WorkerConfig, jtav_binary, produce, require_real};

const POSTS: usize = 300;
const PATIENCE: Duration = Duration::from_secs(60);

fn config(kafka: &RealKafka, redis: &RealRedis) -> WorkerConfig {
    WorkerConfig::new(kafka.brokers())
        .redis(&redis.url(0))
        .stub_networks()
        .set("ingest.session_timeout_ms", 9_000)
        .set("ingest.drain_timeout_ms", 4_000)
        // The breaker is to act, not the restart of the pipeline.
        .set("ingest.rewind_attempts", 100)
        .set("publish.attempts", 1)
        .set("publish.deadline_ms", 500)
        .set("store.command_timeout_ms", 400)
        .set("shutdown.shutdown_timeout_ms", 15_000)
}

/// `maxmemory` in bytes; beyond it Redis answers every write with `OOM`. 0 is no bound.
fn limit_memory(redis: &RealRedis, bytes: usize) -> Result<()> {
    redis.command(&["config", "set", "maxmemory", &bytes.to_string()]).map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_refuses_writes_stops_intake_and_costs_no_post() -> Result<()> {
    if !require_real("a_store_that_refuses_writes_stops_intake_and_costs_no_post") {
        return Ok(());
    }
    jtav_binary()?;
    let (kafka, redis) = (RealKafka::start()?, RealRedis::start()?);
    kafka.create_topics(&[("posts", 4)]).await?;
    kafka.create_topics(&Topics::default().outputs().map(|name| (name, 1))).await?;
    let mut worker = Worker::spawn("worker", &config(&kafka, &redis))?;
    worker.wait_ready(PATIENCE)?;

    limit_memory(&redis, 1)?;
    let mut oracle = Oracle::new("posts");
    let post = |number: usize| PostV1 {
        id: format!("post-{number}"),
        revision: 0,
        author_id: None,
        created_at: None,
        lang: None,
        texts: vec![TextPart { role: "body".to_owned(), text: format!("words {number}") }],
        audio: None,
        image: None,
        deleted: false,
    };
    let records = (0..POSTS).map(|number| oracle.post(&post(number))).collect::<Result<Vec<_>>>()?;
    let producer = Producer::new(&kafka.client(), &ProducerSettings::default())?;
    produce(&producer, records, POSTS).await?;
    worker.wait_until("a breaker that says so", PATIENCE, |worker| {
        let (status, reason) = worker.get("/readyz")?;
        Ok(status == 503 && reason.contains("breaker"))
    })?;
    assert!(worker.metric("jtav_intake_paused")?.is_some_and(|paused| paused >= 1.0));
    assert!(worker.log()?.contains("the breaker stops intake"), "{}", worker.log_tail());

    limit_memory(&redis, 0)?;
    worker.wait_ready(Duration::from_secs(120))?;
    let client = kafka.client();
    worker.wait_until("all labels", PATIENCE, |_| Ok(read_all(&client, "sentiment", PATIENCE)?.len() >= POSTS))?;
    worker.wait_until("no post inside", PATIENCE, |worker| {
        Ok(worker.metric("jtav_delivery_in_flight_posts")? == Some(0.0))
    })?;
    assert_eq!(worker.gap_at_rest().await?, Some(0.0));
    let status = worker.terminate(Duration::from_secs(30))?;
    assert!(status.success(), "{status}:\n{}", worker.log_tail());
    let [sentiment, dead_letters, erasures] =
        ["sentiment", "dead-letters", "erasures"].map(|topic| read_all(&client, topic, PATIENCE));
    let labels = oracle.check_topics(&sentiment?, &dead_letters?, &erasures?)?;
    oracle.check_store(&labels, &redis.store(0)?).await?;
    Ok(())
}
