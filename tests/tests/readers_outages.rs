//! The readers' side on a real broker and a real store, when one of them goes, when the server is killed, and when a post is
//! erased on the feed.

#[path = "serve/rig.rs"]
#[expect(dead_code, reason = "the tests of the answers use the rest")]
mod rig;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use jtav_kafka::{OutboundRecord, Producer, ProducerSettings};
use jtav_schemas::{EmbeddingV1, Label, SentimentV1, Vector};
use jtav_store::{Source, Store as _};
use jtav_testkit::{
    RealKafka, RealRedis, Topics, Worker, WorkerConfig, embedding_of, jtav_binary, require_real, write_of,
};
use rig::{Reading, post, sentiment};
use serde_json::{Value, json};

const PARTITIONS: i32 = 3;
/// Until a worker, a server or a broker is there.
const START: Duration = Duration::from_secs(60);
/// Until something that is on its way has arrived.
const SOON: Duration = Duration::from_secs(40);

/// A worker with stub networks and a server without any. Fields are dropped in this order.
struct Real {
    server: Worker,
    worker: Worker,
    producer: Producer,
    redis: RealRedis,
    kafka: RealKafka,
    topics: Topics,
    http: reqwest::Client,
}

impl Real {
    async fn start() -> Result<Self> {
        let (kafka, redis) = (RealKafka::start()?, RealRedis::start_durable()?);
        let topics = Topics::of("readers");
        kafka.create_topics(&topics.all().map(|name| (name, PARTITIONS))).await?;
        let config = WorkerConfig::new(kafka.brokers())
            .topics(&topics)
            .redis(&redis.url(0))
            .stub_networks()
            .set("store.command_timeout_ms", 500)
            .set("serve.networks", false);
        let mut worker = Worker::spawn("the worker", &config)?;
        let mut server = Worker::spawn_server(&jtav_binary()?, "the server", &config)?;
        worker.wait_ready(START)?;
        server.wait_ready(START)?;
        let producer = Producer::new(&kafka.client(), &ProducerSettings::default())?;
        let http = reqwest::Client::builder().timeout(Duration::from_secs(20)).build()?;
        Ok(Self { server, worker, producer, redis, kafka, topics, http })
    }

    fn url(&self) -> String {
        format!("http://{}", self.server.admin())
    }

    /// Sends posts and waits until each has its label.
    async fn label(&self, ids: &[String]) -> Result<()> {
        for id in ids {
            let value = serde_json::to_vec(&post(id, &format!("what a lovely evening, {id}")))?;
            self.producer.send(OutboundRecord::keyed(&self.topics.input, id.clone(), value)).await?;
        }
        for id in ids {
            self.until(&format!("/v1/posts/{id}"), |status, _| status == 200).await?;
        }
        // The topic is read a moment later than the store.
        let is_told = |id: &String, feed: &Value| feed.to_string().contains(&format!("\"post_id\":\"{id}\""));
        self.until("/v1/feed?limit=1000", |_, feed| ids.iter().all(|id| is_told(id, feed))).await.map(drop)
    }

    /// A label with a vector like no other, as a worker would leave it.
    async fn publish(&self, number: usize) -> Result<()> {
        let post = post(&format!("post-{number}"), "");
        let components: Vec<f32> = (1..9).map(|k| ((number + 1) as f32 * k as f32).sin()).collect();
        let sentiment = SentimentV1 { labelled_at_ms: jtav_pipeline::now_ms(), ..sentiment(&post, Label::Positive) };
        let embedding = EmbeddingV1 { event_time_ms: None, ..embedding_of(&sentiment, Vector::pack(&components)?) };
        let source = Source { partition: 0, offset: number as i64 };
        self.redis.store(0)?.apply(&write_of(&sentiment, &embedding, source)?).await?;
        let topics = &self.topics;
        for (topic, value) in [
            (&topics.sentiment, serde_json::to_vec(&sentiment)?),
            (&topics.embeddings, serde_json::to_vec(&embedding)?),
        ] {
            self.producer.send(OutboundRecord::keyed(topic, post.id.clone(), value)).await?;
        }
        Ok(())
    }

    /// Whether a stream would be opened; one that is, is left.
    async fn stream_status(&self) -> Result<reqwest::Response> {
        Ok(self.http.get(format!("{}/v1/stream", self.url())).send().await?)
    }

    async fn get(&self, path: &str) -> Result<(u16, Value)> {
        let answer = self.http.get(format!("{}{path}", self.url())).send().await?;
        let status = answer.status().as_u16();
        Ok((status, serde_json::from_slice(&answer.bytes().await?).unwrap_or_default()))
    }

    /// Asks until the answer is as wanted.
    async fn until(&self, path: &str, is_wanted: impl Fn(u16, &Value) -> bool) -> Result<Value> {
        let begin = Instant::now();
        loop {
            let (status, body) = self.get(path).await?;
            if is_wanted(status, &body) {
                return Ok(body);
            }
            ensure!(begin.elapsed() < SOON, "{path} is still {status} {body}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn reading(&self, query: &str, last: Option<&str>) -> impl Future<Output = Result<Reading>> {
        let (http, url, query, last) = (self.http.clone(), self.url(), query.to_owned(), last.map(str::to_owned));
        async move { Reading::at(&http, &url, &query, last.as_deref()).await }
    }
}

fn ids(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}-{number}")).collect()
}

/// The posts that the next `count` events tell of, and the position after them.
async fn told(reading: &mut Reading, count: usize) -> Result<(Vec<String>, String)> {
    let events = reading.take(count).await?;
    let position = events.last().context("events")?.id.clone();
    let post = |data: &Value| data["sentiment"]["post_id"].as_str().unwrap_or_default().to_owned();
    Ok((events.iter().map(|event| post(&event.data)).collect(), position))
}

fn as_set(ids: &[String]) -> BTreeSet<&str> {
    ids.iter().map(String::as_str).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_store_a_lookup_is_refused_with_why_and_answered_when_it_is_back() -> Result<()> {
    if !require_real("without_the_store_a_lookup_is_refused_with_why_and_answered_when_it_is_back") {
        return Ok(());
    }
    let mut real = Real::start().await?;
    real.label(&ids("post", 3)).await?;
    let mut reading = real.reading("", None).await?;
    real.redis.stop()?;
    let problem = real.until("/v1/posts/post-0", |status, _| status == 503).await?;
    assert_eq!(problem["reason"], "store_unavailable", "{problem}");
    let unready = real.until("/readyz", |status, _| status == 503).await?;
    assert!(unready["detail"].as_str().is_some_and(|detail| detail.contains("store")), "{unready}");
    real.redis.restart(&[])?;
    real.until("/v1/posts/post-0", |status, _| status == 200).await?;
    real.until("/readyz", |status, _| status == 200).await?;
    // One that takes the question and never answers is no better than none, and no question waits for it without end.
    real.redis.freeze()?;
    let problem = real.until("/v1/posts/post-0", |status, _| status == 503).await?;
    assert_eq!(problem["reason"], "store_unavailable", "{problem}");
    real.redis.thaw()?;
    // The stream needs no store: whoever followed it is still there.
    let more = ids("more", 2);
    real.label(&more).await?;
    assert_eq!(as_set(&told(&mut reading, 2).await?.0), as_set(&more));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_broker_lookups_go_on_and_a_stream_is_whole_when_it_is_back() -> Result<()> {
    if !require_real("without_the_broker_lookups_go_on_and_a_stream_is_whole_when_it_is_back") {
        return Ok(());
    }
    let mut real = Real::start().await?;
    let (mut stays, mut leaves) = (real.reading("", None).await?, real.reading("", None).await?);
    let before = ids("before", 20);
    real.label(&before).await?;
    let (seen, position) = told(&mut leaves, 12).await?;
    drop(leaves);
    assert_eq!(as_set(&told(&mut stays, 20).await?.0), as_set(&before));
    real.kafka.stop()?;
    let unready = real.until("/readyz", |status, _| status == 503).await?;
    assert!(unready["detail"].as_str().is_some_and(|detail| detail.contains("topic")), "{unready}");
    // The two topics are found out of reach one after the other.
    let begin = Instant::now();
    let refused = loop {
        let answer = real.stream_status().await?;
        if answer.status() == 503 {
            break answer.json::<Value>().await?;
        }
        ensure!(begin.elapsed() < SOON, "streams are still opened");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(refused["reason"], "sentiment_topic_unreachable", "{refused}");
    let (status, found) = real.get("/v1/posts/before-1?content=true").await?;
    assert_eq!((status, &found["content"]["reason"]), (200, &json!("input_topic_unreachable")), "{found}");
    real.kafka.restart()?;
    real.until("/readyz", |status, _| status == 200).await?;
    let after = ids("after", 20);
    real.label(&after).await?;
    assert_eq!(as_set(&told(&mut stays, 20).await?.0), as_set(&after), "to whom the stream was kept");
    let mut back = real.reading("", Some(&position)).await?;
    let (rest, _) = told(&mut back, 8 + 20).await?;
    let all: Vec<String> = seen.into_iter().chain(rest).collect();
    let wanted: Vec<String> = before.into_iter().chain(after).collect();
    assert_eq!((all.len(), as_set(&all)), (40, as_set(&wanted)), "who came back, each label once");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_killed_finds_the_same_neighbours_again() -> Result<()> {
    if !require_real("a_server_that_was_killed_finds_the_same_neighbours_again") {
        return Ok(());
    }
    let mut real = Real::start().await?;
    for number in 0..40 {
        real.publish(number).await?;
    }
    let path = "/v1/posts/post-3/neighbours?by=u&k=10";
    let full =
        |status: u16, body: &Value| status == 200 && body["neighbours"].as_array().is_some_and(|n| n.len() == 10);
    real.until("/v1/status", |_, body| body["index"]["posts"] == 40).await?;
    let before = real.until(path, full).await?;
    let (erased, position) = ("post-5", told(&mut real.reading("?recent=40", None).await?, 40).await?.1);
    real.producer.send(OutboundRecord::tombstone(&real.topics.input, erased.to_owned())).await?;
    real.until(&format!("/v1/posts/{erased}"), |status, _| status == 410).await?;
    let begin = Instant::now();
    real.server.restart()?;
    real.server.wait_ready(START)?;
    let status = real.until("/v1/status", |_, body| body["index"]["complete"] == true).await?;
    eprintln!("killed; ready with its index after {:.2} s", begin.elapsed().as_secs_f64());
    assert_eq!(status["index"]["posts"], 39, "what was erased does not come back: {status}");
    let after = real.until(path, full).await?;
    let found = |body: &Value| -> Vec<String> {
        let all = body["neighbours"].as_array().into_iter().flatten();
        all.filter_map(|one| one["post_id"].as_str()).filter(|id| *id != erased).map(str::to_owned).collect()
    };
    let (before, after) = (found(&before), found(&after));
    assert_eq!(before, after[..before.len()], "the same neighbours, but for the erased one");
    // A reader that was cut off goes on where it was, from the new process's point of view too.
    let mut back = real.reading("", Some(&position)).await?;
    let next = back.next().await?.context("an event")?;
    assert_eq!((next.event.as_str(), &next.data["post_id"]), ("erasure", &json!(erased)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_that_is_erased_on_the_feed_is_gone_from_every_route() -> Result<()> {
    if !require_real("a_post_that_is_erased_on_the_feed_is_gone_from_every_route") {
        return Ok(());
    }
    let real = Real::start().await?;
    real.label(&ids("post", 12)).await?;
    let gone = "post-4";
    let names_it = move |body: &Value| body.to_string().contains("\"post-4\"");
    let lists = ["/v1/posts/post-1/neighbours?by=u&k=20", "/v1/feed?limit=100"];
    for path in lists {
        real.until(path, |status, body| status == 200 && names_it(body)).await?;
    }
    let mut reading = real.reading("", None).await?;
    let begin = Instant::now();
    real.producer.send(OutboundRecord::tombstone(&real.topics.input, gone.to_owned())).await?;
    for part in ["", "/explanation", "/picture.png", "/sound.wav", "/spectrogram.png", "/neighbours"] {
        let problem = real.until(&format!("/v1/posts/{gone}{part}"), |status, _| status == 410).await?;
        assert_eq!(problem["reason"], "erased", "{part}");
    }
    real.until(lists[0], |status, body| status == 200 && !names_it(body)).await?;
    // The feed tells of the erasure, and of no label.
    let is_label = |event: &Value| event["event"] == "label" && names_it(&event["data"]);
    let has_label = move |body: &Value| body["events"].as_array().into_iter().flatten().any(is_label);
    real.until(lists[1], |status, body| status == 200 && !has_label(body)).await?;
    eprintln!("gone from every route after {:.0} ms", begin.elapsed().as_secs_f64() * 1e3);
    let next = reading.next().await?.context("an event")?;
    assert_eq!((next.event.as_str(), &next.data["post_id"]), ("erasure", &json!(gone)));
    let batch = real.http.post(format!("{}/v1/posts:batch", real.url())).json(&json!({ "ids": [gone] })).send().await?;
    assert_eq!(batch.json::<Value>().await?["posts"][0]["status"], "erased");
    assert!(real.worker.is_ready());
    Ok(())
}
