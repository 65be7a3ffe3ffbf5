//! A cluster, an ingest on it, and a router that hands its posts to the test.

// Each test file uses its part of it.
#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jtav_delivery::{Outcome, PostPermits};
use jtav_ingest::{IngestHandle, IngestParams, IngestSettings, IngestSnapshot, StageWatch};
use jtav_kafka::{
    ClientSettings, ConsumerSettings, InProcessCluster, OutboundRecord, Producer, ProducerSettings, group_positions,
};
use jtav_pipeline::{Admitted, RouterIntake, Stage, StageFlow};
use jtav_telemetry::Conservation;
use tokio::sync::mpsc;

pub const TOPIC: &str = "posts";
pub const GROUP: &str = "jtav";
/// Far beyond what anything takes here: a member that misses one round of a rebalance waits a session time-out more.
pub const PATIENCE: Duration = Duration::from_secs(60);

struct ToTest(mpsc::UnboundedSender<Admitted>);

impl RouterIntake for ToTest {
    fn admit(&self, post: Admitted) {
        // A test that has stopped listening drops the post, which is an abandonment.
        let _ = self.0.send(post);
    }
}

pub fn cluster(partitions: i32) -> InProcessCluster {
    let cluster = InProcessCluster::create(1).unwrap();
    cluster.create_topic(TOPIC, partitions).unwrap();
    cluster
}

/// A worker under test.
pub struct Worker {
    pub ingest: IngestHandle,
    pub posts: mpsc::UnboundedReceiver<Admitted>,
    pub permits: PostPermits,
    pub conservation: Arc<Conservation>,
    /// What passes the stages behind ingest, as the test says.
    pub flow: StageFlow,
}

pub fn settings() -> IngestSettings {
    IngestSettings {
        commit_interval_ms: 100,
        drain_timeout_ms: 900,
        rewind_backoff_ms: 20,
        export_interval_ms: 50,
        ..IngestSettings::for_tests()
    }
}

pub fn consumer_settings() -> ConsumerSettings {
    ConsumerSettings {
        topic: TOPIC.into(),
        group_id: GROUP.into(),
        session_timeout_ms: 2_000,
        heartbeat_interval_ms: 200,
        ..ConsumerSettings::for_tests()
    }
}

pub fn start(cluster: &InProcessCluster, permits: usize) -> Worker {
    start_with(cluster.client("ingest"), permits, settings(), consumer_settings())
}

pub fn start_with(
    client: ClientSettings,
    permits: usize,
    settings: IngestSettings,
    consumer: ConsumerSettings,
) -> Worker {
    start_trying_out(client, permits, settings, consumer, |_, _| {})
}

/// As [`start_with`], with what trying a stage out does.
pub fn start_trying_out(
    client: ClientSettings,
    permits: usize,
    settings: IngestSettings,
    consumer: ConsumerSettings,
    try_out: impl Fn(&StageFlow, Stage) + Send + Sync + 'static,
) -> Worker {
    let (sender, posts) = mpsc::unbounded_channel();
    let permits = PostPermits::new(permits);
    let conservation = Arc::new(Conservation::default());
    let flow = StageFlow::default();
    let seen = flow.clone();
    let try_out = move |stage| try_out(&seen, stage);
    let ingest = IngestHandle::start(IngestParams {
        client,
        consumer,
        settings,
        intake: Arc::new(ToTest(sender)),
        permits: permits.clone(),
        conservation: Arc::clone(&conservation),
        stages: StageWatch { flow: flow.clone(), try_out: Arc::new(try_out), ..StageWatch::default() },
    })
    .unwrap();
    Worker { ingest, posts, permits, conservation, flow }
}

impl Worker {
    /// The next post; fails the test when none comes.
    pub async fn next(&mut self) -> Admitted {
        tokio::time::timeout(PATIENCE, self.posts.recv()).await.expect("no post came").expect("ingest is gone")
    }

    /// The next post, if one comes in time.
    pub async fn next_within(&mut self, wait: Duration) -> Option<Admitted> {
        tokio::time::timeout(wait, self.posts.recv()).await.ok().flatten()
    }

    /// Waits for a state of the poll thread.
    pub async fn until(&self, what: &str, mut holds: impl FnMut(&IngestSnapshot) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(&self.ingest.status.snapshot()) {
            assert!(Instant::now() < deadline, "{what} did not come about: {:?}", self.ingest.status.snapshot());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Received = settled + in flight, once the last permit is back.
    pub async fn assert_conserved(&self) {
        let deadline = Instant::now() + Duration::from_secs(2);
        while self.conservation.gap(self.permits.in_flight()) != 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(self.conservation.gap(self.permits.in_flight()), 0);
    }
}

/// Settles like a pipeline does: the guard first, the permit after it.
pub fn publish(post: Admitted) {
    post.guard.settle(Outcome::Published);
}

pub fn position(post: &Admitted) -> (i32, i64) {
    (post.record.source.partition, post.record.source.offset)
}

pub async fn produce(cluster: &InProcessCluster, ids: impl IntoIterator<Item = String>) {
    produce_to(&cluster.client("producer"), ids).await;
}

pub async fn produce_to(client: &ClientSettings, ids: impl IntoIterator<Item = String>) {
    let producer = Producer::new(client, &ProducerSettings::default()).unwrap();
    // One by one, which keeps the offsets of a partition predictable.
    for id in ids {
        let value = format!(r#"{{"id":"{id}","texts":[{{"role":"body","text":"hello"}}]}}"#);
        producer.send(OutboundRecord::keyed(TOPIC, id, value)).await.unwrap();
    }
}

pub fn committed(cluster: &InProcessCluster) -> BTreeMap<i32, i64> {
    group_positions(&cluster.client("look"), GROUP, TOPIC, PATIENCE).unwrap()
}

pub async fn until_committed(cluster: &InProcessCluster, partition: i32, position: i64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = committed(cluster);
        if now.get(&partition) == Some(&position) {
            return;
        }
        assert!(Instant::now() < deadline, "committed {now:?}, expected {position} in partition {partition}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Publishes whatever comes until `total` records are committed over all partitions: what was read and not committed
/// comes again after a seek back, a lost session or a change of hands, even when each record was seen once already.
pub async fn publish_until_committed(worker: &mut Worker, cluster: &InProcessCluster, total: i64) {
    let deadline = Instant::now() + PATIENCE;
    while committed(cluster).values().sum::<i64>() < total {
        assert!(Instant::now() < deadline, "committed {:?} of {total}", committed(cluster));
        while let Some(post) = worker.next_within(Duration::from_millis(100)).await {
            publish(post);
        }
    }
}

pub fn ids(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}{number}")).collect()
}

pub fn all_of(count: i64) -> BTreeSet<i64> {
    (0..count).collect()
}
