//! Broker, store and server.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use jtav_kafka::{ClientSettings, Producer, ProducerSettings};
use jtav_testkit::{RealKafka, RealRedis, Topics, Worker, WorkerConfig};
use serde::Serialize;
use serde_json::Value;

use super::http::Connection;
use super::plan::ServePlan;
use crate::{local, topics};

/// Names the topics.
const RUN: &str = "serve";
/// Longest time until the index holds what the topic does.
const FILLED: Duration = Duration::from_secs(180);

/// Everything, started. Fields are dropped in this order: the server before what it depends on.
pub struct ServeRig {
    pub server: Worker,
    pub producer: Producer,
    pub redis: RealRedis,
    pub topics: Topics,
    _kafka: RealKafka,
}

/// How a server that was killed comes back.
#[derive(Debug, Clone, Serialize)]
pub struct Rebuild {
    /// From the start of the new process to its first answer to a lookup.
    pub first_answer_seconds: f64,
    /// From there to the moment when it finds the neighbours that the one before found.
    pub index_complete_seconds: f64,
    /// Posts in the index by then.
    pub posts: usize,
    /// Bytes of the index.
    pub index_mib: f64,
}

impl ServeRig {
    /// Starts everything; returns when the server is ready.
    pub async fn start(plan: &ServePlan) -> Result<Self> {
        let program = local::worker_program(plan.program.clone())?;
        let (kafka, redis) = (local::start_kafka()?, local::start_redis()?);
        let topics = topics::topics_of(RUN);
        let client = ClientSettings::new(kafka.brokers(), "jtav-load-serve");
        topics::make(&client, topics.all()).await?;
        let queues = ProducerSettings { queue_max_messages: 500_000, ..ProducerSettings::default() };
        let producer = Producer::new(&client, &queues)?;
        let most = i64::try_from(plan.readers)? + 16;
        let config = WorkerConfig::new(kafka.brokers())
            .topics(&topics)
            .redis(&redis.url(0))
            .cpu()
            .set("serve.networks", false)
            .set("serve.threads", 1)
            .set("serve.requests_per_second", 1_000_000)
            .set("serve.max_connections", most + 1_024)
            .set("serve.max_streams", most)
            .set("serve.max_streams_per_reader", most);
        let mut server = Worker::spawn_server(&program, "the server", &config)?;
        server.wait_ready(local::READY)?;
        Ok(Self { server, producer, redis, topics, _kafka: kafka })
    }

    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.server.admin()
    }

    /// Until the index holds so many posts.
    pub async fn wait_for_index(&mut self, posts: usize) -> Result<Value> {
        let begin = Instant::now();
        loop {
            self.server.check()?;
            if let Ok(status) = self.status().await {
                let index = &status["index"];
                if index["complete"] == true && index["posts"].as_u64() >= Some(posts as u64) {
                    return Ok(index.clone());
                }
                ensure!(begin.elapsed() < FILLED, "the index does not fill: {index}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn status(&self) -> Result<Value> {
        let answer = Connection::open(self.address()).await?.get("/v1/status").await?;
        ensure!(answer.status == 200, "/v1/status: {}", answer.status);
        Ok(serde_json::from_slice(&answer.body)?)
    }

    async fn neighbours(&self) -> Result<Value> {
        let path = "/v1/posts/post-7/neighbours?by=u&k=10";
        let answer = Connection::open(self.address()).await?.get(path).await?;
        ensure!(answer.status == 200, "{path}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
        Ok(serde_json::from_slice::<Value>(&answer.body)?["neighbours"].clone())
    }

    /// SIGKILL, a new process, and the time until it answers as the one before.
    pub async fn kill_and_rebuild(&mut self, posts: usize) -> Result<Rebuild> {
        let before = self.neighbours().await.context("before the kill")?;
        ensure!(before.as_array().is_some_and(|found| found.len() == 10), "10 neighbours before the kill: {before}");
        let begin = Instant::now();
        self.server.restart()?;
        let first_answer = loop {
            self.server.check()?;
            let asked = async { Connection::open(self.address()).await?.get("/v1/posts/post-7").await };
            if asked.await.is_ok_and(|answer| answer.status == 200) {
                break begin.elapsed();
            }
            ensure!(begin.elapsed() < local::READY, "the server does not come back:\n{}", self.server.log_tail());
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let index = self.wait_for_index(posts).await?;
        let complete = begin.elapsed();
        let after = self.neighbours().await.context("after the kill")?;
        ensure!(before == after, "other neighbours than before the kill: {before} and {after}");
        Ok(Rebuild {
            first_answer_seconds: first_answer.as_secs_f64(),
            index_complete_seconds: complete.as_secs_f64(),
            posts: index["posts"].as_u64().unwrap_or_default() as usize,
            index_mib: index["bytes"].as_f64().unwrap_or_default() / f64::from(1 << 20),
        })
    }
}
