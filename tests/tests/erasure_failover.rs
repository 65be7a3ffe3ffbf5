//! What becomes of erasures when the store's primary is lost and a replica that was cut off takes its place: real servers,
//! a real broker, and an address that leads to whichever server serves.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use jtav_kafka::{OutboundRecord, Producer, ProducerSettings, group_positions, read_all};
use jtav_schemas::redis_key::{RESTORED_KEY, erased_key, label_key};
use jtav_testkit::{
    RealKafka, RealRedis, Topics, Worker, WorkerConfig, is_through, jtav_binary, produce, require_real,
};

const PATIENCE: Duration = Duration::from_secs(90);
const PARTITIONS: i32 = 2;
const MODEL: &str = "stub";

/// The address of the store: hands each new connection to the server that serves at that moment.
struct Address {
    listening: SocketAddr,
    target: Arc<Mutex<PathBuf>>,
}

impl Address {
    fn of(server: &RealRedis) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let listening = listener.local_addr()?;
        let target = Arc::new(Mutex::new(server.socket()));
        let leads_to = Arc::clone(&target);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let path = leads_to.lock().unwrap().clone();
                // A server that is gone: the connection is closed, as the kernel of its machine would do it.
                let Ok(server) = UnixStream::connect(path) else { continue };
                let (Ok(client_too), Ok(server_too)) = (client.try_clone(), server.try_clone()) else { continue };
                std::thread::spawn(move || pass_on(client, server, |server| server.shutdown(Shutdown::Both)));
                std::thread::spawn(move || pass_on(server_too, client_too, |client| client.shutdown(Shutdown::Both)));
            }
        });
        Ok(Self { listening, target })
    }

    fn lead_to(&self, server: &RealRedis) {
        *self.target.lock().unwrap() = server.socket();
    }
}

fn pass_on<W: Write>(mut from: impl Read, mut to: W, end: impl Fn(&W) -> std::io::Result<()>) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = end(&to);
}

/// A broker, a primary with a replica, and the address that leads to the primary.
struct Scene {
    kafka: RealKafka,
    primary: RealRedis,
    primary_port: String,
    replica: RealRedis,
    address: Address,
}

impl Scene {
    async fn new() -> Result<Self> {
        let kafka = RealKafka::start()?;
        // A port of our own: bound for a moment, then given to the server.
        let primary_port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port().to_string();
        let primary = RealRedis::start_with(&["--port", &primary_port, "--repl-diskless-sync-delay", "0"])?;
        let replica = RealRedis::start_with(&["--replicaof", "127.0.0.1", &primary_port])?;
        kafka.create_topics(&Topics::default().all().map(|topic| (topic, PARTITIONS))).await?;
        let address = Address::of(&primary)?;
        Ok(Self { kafka, primary, primary_port, replica, address })
    }

    fn worker(&self, erasure_replicas: u32) -> Result<Worker> {
        let config = WorkerConfig::new(self.kafka.brokers())
            .redis(&format!("redis://{}/0", self.address.listening))
            .set("store.command_timeout_ms", 1_000)
            .set("store.erasure_replicas", erasure_replicas)
            .set("store.erasure_wait_ms", 300)
            .stub_networks()
            .set("ingest.session_timeout_ms", 9_000)
            .set("ingest.drain_timeout_ms", 4_000)
            .set("ingest.commit_interval_ms", 200)
            .set("publish.deadline_ms", 3_000);
        let mut worker = Worker::spawn("worker", &config)?;
        worker.wait_ready(PATIENCE)?;
        Ok(worker)
    }

    async fn produce(&self, posts: impl Iterator<Item = String>, value: impl Fn(&str) -> String) -> Result<()> {
        let records = posts.map(|post| OutboundRecord::keyed("posts", post.clone(), value(&post))).collect();
        produce(&Producer::new(&self.kafka.client(), &ProducerSettings::default())?, records, 0).await
    }

    async fn label(&self, worker: &mut Worker, posts: impl Iterator<Item = String>) -> Result<()> {
        self.produce(posts, |post| text_post(post, 1)).await?;
        self.until_through(worker)
    }

    fn until_through(&self, worker: &mut Worker) -> Result<()> {
        worker.wait_until("all that was produced committed", PATIENCE, |_| {
            is_through(&self.kafka.client(), "jtav", "posts", PATIENCE)
        })
    }

    /// Waits until the replica has everything that the primary has.
    fn until_followed(&self) -> Result<()> {
        let started = Instant::now();
        while self.primary.command(&["WAIT", "1", "1000"])? != "1" || !self.is_labelled(&self.replica, "kept-0")? {
            ensure!(started.elapsed() < PATIENCE, "the replica does not follow");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// The replica loses its primary and keeps what it has.
    fn cut_off(&self) -> Result<()> {
        self.replica.command(&["REPLICAOF", "127.0.0.1", "1"]).map(drop)
    }

    fn promote(&self) -> Result<()> {
        self.replica.command(&["REPLICAOF", "NO", "ONE"]).map(drop)
    }

    fn is_labelled(&self, server: &RealRedis, post: &str) -> Result<bool> {
        Ok(server.command(&["EXISTS", &label_key(post, MODEL)])? == "1")
    }

    fn is_erased(&self, server: &RealRedis, post: &str) -> Result<bool> {
        Ok(server.command(&["EXISTS", &erased_key(post)])? == "1")
    }

    fn receipts(&self) -> Result<usize> {
        Ok(read_all(&self.kafka.client(), "erasures", PATIENCE)?.len())
    }
}

fn text_post(id: &str, revision: u32) -> String {
    format!(r#"{{"id":"{id}","revision":{revision},"texts":[{{"role":"body","text":"a lovely evening, {id}"}}]}}"#)
}

fn tombstone(id: &str) -> String {
    format!(r#"{{"id":"{id}","revision":2,"deleted":true}}"#)
}

fn posts(name: &str, count: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |number| format!("{name}-{number}"))
}

fn until_looked_after(worker: &mut Worker, times: f64) -> Result<()> {
    worker.wait_until("erasures looked after", PATIENCE, |worker| {
        let done = worker.metric("jtav_erasure_repairs_total")?.is_some_and(|count| count >= times);
        Ok(done && worker.metric("jtav_erasure_repair_due")? == Some(0.0))
    })
}

fn terminate(worker: &mut Worker) -> Result<()> {
    let status = worker.terminate(Duration::from_secs(30))?;
    ensure!(status.success(), "the drained worker ended with {status}:\n{}", worker.log_tail());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn erasures_that_a_failover_has_lost_are_carried_out_again_on_the_promoted_replica() -> Result<()> {
    if !require_real("erasures_that_a_failover_has_lost_are_carried_out_again_on_the_promoted_replica") {
        return Ok(());
    }
    jtav_binary()?;
    let mut scene = Scene::new().await?;
    let mut worker = scene.worker(0)?;
    scene.label(&mut worker, posts("kept", 20).chain(posts("gone", 10))).await?;
    until_looked_after(&mut worker, 1.0)?;
    scene.until_followed()?;
    assert!(!scene.replica.command(&["GET", RESTORED_KEY])?.is_empty(), "what is known reaches the successor");

    scene.cut_off()?;
    scene.produce(posts("gone", 10), tombstone).await?;
    scene.until_through(&mut worker)?;
    for post in posts("gone", 10) {
        assert!(scene.is_erased(&scene.primary, &post)?, "{post}");
    }
    assert_eq!(scene.receipts()?, 10, "acknowledged to whoever asked for them");

    scene.primary.kill9()?;
    scene.promote()?;
    for post in posts("gone", 10) {
        assert!(
            scene.is_labelled(&scene.replica, &post)? && !scene.is_erased(&scene.replica, &post)?,
            "{post} is lost"
        );
    }
    scene.address.lead_to(&scene.replica);
    // Somebody edits two of them at that very moment, while nothing on the new server says that they are erased.
    scene.produce(posts("gone", 2), |post| text_post(post, 9)).await?;

    let started = Instant::now();
    until_looked_after(&mut worker, 2.0)?;
    eprintln!("looked after {:.1} s after the failover", started.elapsed().as_secs_f64());
    scene.until_through(&mut worker)?;
    for post in posts("gone", 10) {
        assert!(scene.is_erased(&scene.replica, &post)?, "{post}:\n{}", worker.log_tail());
        assert!(!scene.is_labelled(&scene.replica, &post)?, "{post}:\n{}", worker.log_tail());
    }
    for post in posts("kept", 20) {
        assert!(scene.is_labelled(&scene.replica, &post)?, "{post} was nobody's to erase");
    }
    for topic in ["sentiment", "embeddings"] {
        let records = read_all(&scene.kafka.client(), topic, PATIENCE)?;
        for post in posts("gone", 10) {
            let of_post = records.iter().filter(|record| record.key.as_deref() == Some(post.as_bytes()));
            let last = of_post.max_by_key(|record| record.offset).with_context(|| format!("{topic}: {post}"))?;
            assert_eq!(last.value, None, "{topic}: the last word on {post}");
        }
    }
    assert_eq!(scene.receipts()?, 10, "a repair gives no receipts, or the next one would find twice as many");
    assert_eq!(worker.gap_at_rest().await?, Some(0.0));

    // A worker that comes later finds written down that all is done; labels go to the new server.
    terminate(&mut worker)?;
    let mut worker = scene.worker(0)?;
    scene.label(&mut worker, posts("later", 5)).await?;
    assert!(scene.is_labelled(&scene.replica, "later-4")?);
    worker.wait_until("a look", PATIENCE, |worker| Ok(worker.metric("jtav_erasure_repair_due")? == Some(0.0)))?;
    assert!(!worker.log()?.contains("another server answers"), "{}", worker.log_tail());
    terminate(&mut worker)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_that_waits_for_a_replica_is_not_acknowledged_while_it_is_cut_off() -> Result<()> {
    if !require_real("an_erasure_that_waits_for_a_replica_is_not_acknowledged_while_it_is_cut_off") {
        return Ok(());
    }
    jtav_binary()?;
    let scene = Scene::new().await?;
    let mut worker = scene.worker(1)?;
    scene.label(&mut worker, posts("kept", 20).chain(posts("gone", 3))).await?;
    scene.until_followed()?;
    scene.cut_off()?;
    let committed = || group_positions(&scene.kafka.client(), "jtav", "posts", PATIENCE);
    let before: i64 = committed()?.values().sum();
    scene.produce(posts("gone", 3), tombstone).await?;
    worker.wait_until("tries without a replica", PATIENCE, |worker| {
        Ok(worker.metric("jtav_erasures_unreplicated_total")?.is_some_and(|count| count >= 6.0))
    })?;
    assert_eq!(scene.receipts()?, 0, "nobody was told that it is erased");
    assert_eq!(committed()?.values().sum::<i64>(), before, "their offsets are held");

    scene.replica.command(&["REPLICAOF", "127.0.0.1", &scene.primary_port])?;
    scene.until_through(&mut worker)?;
    for post in posts("gone", 3) {
        assert!(scene.is_erased(&scene.replica, &post)?, "acknowledged, hence on the replica: {post}");
    }
    assert!(scene.receipts()? >= 3);

    // A failover in good order: the old primary lives on as a replica, and connections to it stay open.
    scene.promote()?;
    scene.primary.command(&["REPLICAOF", "127.0.0.1", "1"])?;
    scene.address.lead_to(&scene.replica);
    scene.label(&mut worker, posts("later", 10)).await?;
    assert!(scene.is_labelled(&scene.replica, "later-9")?, "written where the address leads");
    assert_eq!(worker.gap_at_rest().await?, Some(0.0));
    terminate(&mut worker)
}
