//! What becomes of the posts when a part of a worker breaks, or one of them ends the process again and again: real
//! processes on a real broker and a real store.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use jtav_feed_simulator::{MediaServer, Pack, SAMPLE_FEED, feed};
use jtav_kafka::{OutboundRecord, Producer, ProducerSettings, read_all, watermarks};
use jtav_schemas::{DeadLetterReason, PostV1, TextPart};
use jtav_testkit::{
    Labels, Oracle, RealKafka, RealRedis, Topics, Worker, WorkerConfig, is_through, jtav_binary, produce, require_real,
    workspace_root,
};

const PARTITIONS: i32 = 4;
const PATIENCE: Duration = Duration::from_secs(60);
/// sysexits(3): internal software error. The worker's code for a device that is gone.
const DEVICE: i32 = 70;

/// A consumer group with topics and a database of its own, and what must come out.
struct Scene<'a> {
    kafka: &'a RealKafka,
    redis: &'a RealRedis,
    media: SocketAddr,
    topics: Topics,
    database: u8,
    oracle: Oracle,
}

impl<'a> Scene<'a> {
    async fn new(
        kafka: &'a RealKafka,
        redis: &'a RealRedis,
        media: SocketAddr,
        name: &str,
        database: u8,
    ) -> Result<Self> {
        let topics = Topics::of(name);
        kafka.create_topics(&topics.all().map(|topic| (topic, PARTITIONS))).await?;
        Ok(Self { kafka, redis, media, oracle: Oracle::new(&topics.input), topics, database })
    }

    fn config(&self) -> WorkerConfig {
        WorkerConfig::new(self.kafka.brokers())
            .topics(&self.topics)
            // As a pod of a stateful set: its successor takes its place at once.
            .set("kafka.group_instance_id", format!("{}-0", self.topics.group))
            .redis(&self.redis.url(self.database))
            .stub_networks()
            .media_hosts(&[self.media])
            .set("ingest.session_timeout_ms", 9_000)
            .set("ingest.drain_timeout_ms", 4_000)
            .set("ingest.commit_interval_ms", 200)
            .set("shutdown.shutdown_timeout_ms", 15_000)
    }

    fn worker(&self, fail_points: &str) -> Result<Worker> {
        Worker::spawn_with(&self.topics.group, &self.config(), &[("JTAV_FAIL_POINTS", fail_points)])
    }

    async fn produce(&self, records: Vec<OutboundRecord>) -> Result<()> {
        produce(&Producer::new(&self.kafka.client(), &ProducerSettings::default())?, records, 0).await
    }

    /// Whether the group has committed the end of every partition.
    fn is_through(&self) -> Result<bool> {
        is_through(&self.kafka.client(), &self.topics.group, &self.topics.input, PATIENCE)
    }

    fn wait_until_through(&self, worker: &mut Worker) -> Result<()> {
        worker.wait_until("all that was produced committed", PATIENCE, |_| self.is_through())
    }

    async fn check(&self) -> Result<Labels> {
        let client = self.kafka.client();
        let topics = &self.topics;
        let [sentiment, dead_letters, erasures] = [&topics.sentiment, &topics.dead_letters, &topics.erasures]
            .map(|topic| read_all(&client, topic, PATIENCE).with_context(|| topic.clone()));
        let labels = self.oracle.check_topics(&sentiment?, &dead_letters?, &erasures?).context(topics.group.clone())?;
        self.oracle.check_store(&labels, &self.redis.store(self.database)?).await.context(topics.group.clone())?;
        Ok(labels)
    }

    fn text_posts(&mut self, prefix: &str, count: usize) -> Result<Vec<OutboundRecord>> {
        (0..count).map(|number| self.oracle.post(&text_post(format!("{prefix}-{number}")))).collect()
    }
}

fn text_post(id: String) -> PostV1 {
    let texts = vec![TextPart { role: "body".to_owned(), text: format!("a lovely evening, {id}") }];
    PostV1 {
        id,
        revision: 0,
        author_id: None,
        created_at: None,
        lang: None,
        texts,
        audio: None,
        image: None,
        deleted: false,
    }
}

fn media_server() -> Result<MediaServer> {
    Ok(MediaServer::on_loopback(workspace_root().join(SAMPLE_FEED))?)
}

fn media_posts(base_url: &str) -> Result<Vec<PostV1>> {
    let pack = Pack::open(workspace_root().join(SAMPLE_FEED))?;
    let posts = feed(&pack, base_url).into_iter().map(|record| Ok(serde_json::from_slice::<PostV1>(&record.value)?));
    let posts = posts.collect::<Result<Vec<_>>>()?;
    let both = posts.iter().filter(|post| post.image.is_some() && post.audio.is_some()).take(8).cloned();
    let both: Vec<PostV1> = both.collect();
    ensure!(both.len() == 8, "the sample feed has too few posts with both media");
    Ok(both)
}

fn terminate(worker: &mut Worker) -> Result<()> {
    let status = worker.terminate(Duration::from_secs(30))?;
    ensure!(status.success(), "the drained worker ended with {status}:\n{}", worker.log_tail());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_that_kills_the_process_is_set_aside_after_three_ends_of_its_own_and_all_others_are_labelled()
-> Result<()> {
    if !require_real("a_post_that_kills_the_process_is_set_aside_after_three_ends_of_its_own") {
        return Ok(());
    }
    jtav_binary()?;
    let (kafka, redis, media) = (RealKafka::start()?, RealRedis::start()?, media_server()?);
    let mut scene = Scene::new(&kafka, &redis, media.address(), "killer", 0).await?;
    let mut records = scene.text_posts("post", 150)?;
    let killer = serde_json::to_vec(&text_post("killer".to_owned()))?;
    records.push(scene.oracle.poison("killer", killer, DeadLetterReason::CrashedWorker));
    records.extend(scene.text_posts("later", 150)?);
    scene.produce(records).await?;

    // As the platform does it: whenever the process has ended, a new one.
    let started = Instant::now();
    let mut ends = 0;
    let mut worker = loop {
        let mut worker = scene.worker("router:before_encode=kill#killer")?;
        while worker.is_running() && !scene.is_through()? {
            ensure!(started.elapsed() < 3 * PATIENCE, "after {ends} ends:\n{}", worker.log_tail());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        if worker.is_running() {
            break worker;
        }
        ends += 1;
    };
    // One that shows that something is wrong, and the three that count.
    assert_eq!(ends, 4, "{}", worker.log_tail());
    assert!(worker.metric("jtav_ingest_unclean_takeovers_total")?.is_some_and(|count| count >= 1.0));
    assert!(worker.log()?.contains("set aside unread"), "{}", worker.log_tail());
    assert_eq!(worker.gap_at_rest().await?, Some(0.0));
    let seconds = started.elapsed().as_secs_f64();
    terminate(&mut worker)?;
    let labels = scene.check().await?;
    eprintln!("found after {ends} ends in {seconds:.1} s; {} labels came twice", labels.repeated);

    // The same posts' successors, after a goodbye: nobody is under suspicion, in the middle of the work either.
    for round in 0..3 {
        let records = scene.text_posts(&format!("round{round}"), 100)?;
        let published = || -> Result<i64> {
            Ok(watermarks(&kafka.client(), &scene.topics.sentiment, PATIENCE)?.values().map(|(_, high)| high).sum())
        };
        let before = published()?;
        let mut worker = scene.worker("")?;
        scene.produce(records).await?;
        while published()? < before + 20 {
            ensure!(worker.is_running() && started.elapsed() < 5 * PATIENCE, "{}", worker.log_tail());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(worker.metric("jtav_ingest_unclean_takeovers_total")?, Some(0.0), "{}", worker.log_tail());
        terminate(&mut worker)?;
    }
    let mut worker = scene.worker("")?;
    worker.wait_ready(PATIENCE)?;
    scene.wait_until_through(&mut worker)?;
    terminate(&mut worker)?;
    scene.check().await?;
    Ok(())
}

/// A fault in one part, and how often the boxes must be made anew because of it.
struct Fault {
    name: &'static str,
    points: &'static str,
    restarts: f64,
}

const FAULTS: [Fault; 13] = [
    Fault { name: "router", points: "router:handle=panic@5", restarts: 1.0 },
    Fault { name: "post-task", points: "router:before_settle=panic@5", restarts: 0.0 },
    Fault { name: "label", points: "router:before_encode=panic@5", restarts: 0.0 },
    Fault { name: "fetch", points: "fetch:before=panic@2", restarts: 1.0 },
    Fault { name: "decode", points: "decode:before=panic@2", restarts: 1.0 },
    Fault { name: "decode-worker", points: "decode:after=panic@2", restarts: 0.0 },
    Fault { name: "text-encoder", points: "text_encoder:handle=panic@5", restarts: 1.0 },
    Fault { name: "audio-encoder", points: "audio_encoder:handle=panic@2", restarts: 1.0 },
    Fault { name: "image-encoder", points: "image_encoder:handle=panic@2", restarts: 1.0 },
    Fault { name: "fusion", points: "fusion:handle=panic@5", restarts: 1.0 },
    // What a stage does for one post is a task of its own: its panic is that post's and not the actor's.
    Fault { name: "download", points: "fetch:mid_body=panic@2", restarts: 0.0 },
    Fault { name: "publisher", points: "publisher:before_store=panic@5", restarts: 0.0 },
    Fault { name: "batch", points: "encoder:mid_batch=panic@5", restarts: 0.0 },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_any_part_costs_no_post_and_intake_runs_again_by_itself() -> Result<()> {
    if !require_real("a_panic_in_any_part_costs_no_post_and_intake_runs_again_by_itself") {
        return Ok(());
    }
    jtav_binary()?;
    let (kafka, redis, media) = (RealKafka::start()?, RealRedis::start()?, media_server()?);
    for (database, fault) in (0..).zip(&FAULTS) {
        let mut scene = Scene::new(&kafka, &redis, media.address(), fault.name, database).await?;
        let mut records = Vec::new();
        for post in media_posts(&media.base_url())? {
            records.extend(scene.text_posts(&format!("with-{}", post.id), 8)?);
            records.push(scene.oracle.post(&post)?);
        }
        scene.produce(records).await?;
        let mut worker = scene.worker(fault.points)?;
        scene.wait_until_through(&mut worker)?;
        assert!(worker.log()?.contains("injected fault"), "`{}` was never reached", fault.points);
        let restarts = worker.metric("jtav_pipeline_restarts_total")?;
        assert_eq!(restarts, Some(fault.restarts), "{}:\n{}", fault.name, worker.log_tail());
        assert_eq!(worker.metric("jtav_pipeline_generation")?, Some(1.0 + fault.restarts));
        until_nothing_is_inside(&mut worker)?;
        let recovery = worker.metric("jtav_pipeline_recovery_seconds_sum")?;
        let degraded = worker.metric("jtav_posts_degraded_total")?;
        // A download that panicked is as lost as one that failed; an actor that is gone says nothing about the medium.
        let expected = if fault.name == "download" { 1.0 } else { 0.0 };
        assert_eq!(degraded, Some(expected), "{}:\n{}", fault.name, worker.log_tail());
        let log = worker.log()?;
        assert!(!log.contains("the breaker lets a few posts in"), "{}: the restart is the answer:\n{log}", fault.name);
        terminate(&mut worker)?;
        let labels = scene.check().await?;
        match recovery.filter(|_| fault.restarts > 0.0) {
            Some(seconds) => eprintln!("{}: posts again after {seconds:.3} s, {} twice", fault.name, labels.repeated),
            None => eprintln!("{}: nothing restarted, {} twice", fault.name, labels.repeated),
        }
    }
    Ok(())
}

fn until_nothing_is_inside(worker: &mut Worker) -> Result<()> {
    let started = Instant::now();
    while worker.metric("jtav_delivery_in_flight_posts")? != Some(0.0)
        || worker.metric("jtav_conservation_gap")? != Some(0.0)
    {
        ensure!(started.elapsed() < PATIENCE, "posts stay inside:\n{}", worker.log_tail());
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// A part that neither ends nor goes on, what is said of it, and whether new boxes do without its thread.
struct Hang {
    name: &'static str,
    points: &'static str,
    said_of: &'static str,
    is_cured_by_restart: bool,
}

const HANGS: [Hang; 10] = [
    Hang { name: "hung-router", points: "router:handle=hang(600000)@5", said_of: "router", is_cured_by_restart: false },
    Hang { name: "hung-fetch", points: "fetch:before=hang(600000)@2", said_of: "fetch", is_cured_by_restart: true },
    Hang { name: "hung-decode", points: "decode:after=hang(600000)@1", said_of: "decode", is_cured_by_restart: false },
    Hang {
        name: "hung-actor",
        points: "text_encoder:handle=hang(600000)@5",
        said_of: "router",
        is_cured_by_restart: false,
    },
    Hang {
        name: "hung-publisher",
        points: "publisher:before_store=hang(600000)@5",
        said_of: "router",
        is_cured_by_restart: false,
    },
    Hang {
        name: "hung-text",
        points: "encoder:mid_batch=hang(600000)#text",
        said_of: "text_encoder",
        is_cured_by_restart: false,
    },
    Hang {
        name: "hung-audio",
        points: "encoder:mid_batch=hang(600000)#audio",
        said_of: "audio_encoder",
        is_cured_by_restart: false,
    },
    Hang {
        name: "hung-image",
        points: "encoder:mid_batch=hang(600000)#image",
        said_of: "image_encoder",
        is_cured_by_restart: false,
    },
    Hang {
        name: "hung-fusion",
        points: "encoder:mid_batch=hang(600000)#fusion",
        said_of: "fusion",
        is_cured_by_restart: false,
    },
    Hang { name: "hung-poll", points: "ingest:poll=hang(600000)@200", said_of: "ingest", is_cured_by_restart: false },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_hangs_is_named_by_healthz_and_is_made_anew_or_ends_the_process() -> Result<()> {
    if !require_real("a_part_that_hangs_is_named_by_healthz_and_is_made_anew_or_ends_the_process") {
        return Ok(());
    }
    jtav_binary()?;
    let (kafka, redis, media) = (RealKafka::start()?, RealRedis::start()?, media_server()?);
    for (database, hang) in (0..).zip(&HANGS) {
        let mut scene = Scene::new(&kafka, &redis, media.address(), hang.name, database).await?;
        let mut records = Vec::new();
        for post in media_posts(&media.base_url())? {
            records.extend(scene.text_posts(&format!("with-{}", post.id), 8)?);
            records.push(scene.oracle.post(&post)?);
        }
        scene.produce(records).await?;
        let variables = [
            ("JTAV_FAIL_POINTS", hang.points),
            ("JTAV__ADMIN__HUNG_AFTER_MS", "3000"),
            ("JTAV__MEDIA__DECODE_WALL_MS", "1000"),
            ("JTAV__MEDIA__DECODE_CPU_MS", "900"),
        ];
        let mut worker = Worker::spawn_with(hang.name, &scene.config(), &variables)?;
        if !hang.is_cured_by_restart {
            worker.wait_until("a sick bill of health", PATIENCE, |worker| {
                let (status, body) = worker.get("/healthz").unwrap_or_default();
                Ok(status == 503 && body.contains(&format!("{} hangs", hang.said_of)))
            })?;
            let age = worker.metric("jtav_box_progress_age_seconds")?;
            assert!(age.is_some_and(|age| age >= 3.0), "{}: {age:?}", hang.name);
        }
        if hang.is_cured_by_restart {
            // New boxes are there before a probe comes by.
            let said = format!("actor=\"{}\"", hang.said_of);
            worker.wait_until("a restart of the boxes", PATIENCE, |worker| Ok(worker.log()?.contains(&said)))?;
            scene.wait_until_through(&mut worker)?;
            assert_eq!(worker.metric("jtav_pipeline_restarts_total")?, Some(1.0), "{}", worker.log_tail());
            assert_eq!(worker.get("/healthz")?.0, 200);
        } else {
            let started = Instant::now();
            let status = loop {
                if let Some(status) = worker.ended()? {
                    break status;
                }
                ensure!(started.elapsed() < PATIENCE, "{}: it hangs on:\n{}", hang.name, worker.log_tail());
                tokio::time::sleep(Duration::from_millis(50)).await;
            };
            assert_eq!(status.code(), Some(DEVICE), "{}:\n{}", hang.name, worker.log_tail());
            worker = scene.worker("")?;
            // All may have been committed before it ended.
            worker.wait_ready(PATIENCE)?;
            scene.wait_until_through(&mut worker)?;
        }
        until_nothing_is_inside(&mut worker)?;
        terminate(&mut worker)?;
        scene.check().await.context(hang.name)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poll_thread_that_panics_again_and_again_is_started_anew_each_time() -> Result<()> {
    if !require_real("a_poll_thread_that_panics_again_and_again_is_started_anew_each_time") {
        return Ok(());
    }
    jtav_binary()?;
    let (kafka, redis, media) = (RealKafka::start()?, RealRedis::start()?, media_server()?);
    let mut scene = Scene::new(&kafka, &redis, media.address(), "poll", 0).await?;
    let mut worker = scene.worker("ingest:poll=panic@200; ingest:poll=panic@400; ingest:poll=panic@600")?;
    worker.wait_ready(PATIENCE)?;
    let started = Instant::now();
    let mut round = 0;
    while worker.metric("jtav_pipeline_generation")? != Some(4.0) {
        ensure!(worker.is_running() && started.elapsed() < PATIENCE, "{}", worker.log_tail());
        let records = scene.text_posts(&format!("round{round}"), 10)?;
        scene.produce(records).await?;
        round += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    scene.wait_until_through(&mut worker)?;
    assert_eq!(worker.metric("jtav_pipeline_restarts_total")?, Some(3.0), "{}", worker.log_tail());
    assert_eq!(worker.metric("jtav_ingest_unclean_takeovers_total")?, Some(0.0), "the process did not end");
    let recovery = worker.metric("jtav_pipeline_recovery_seconds_sum")?;
    eprintln!("three restarts, back-off 0.5 + 1 + 2 s: {recovery:?} s in all until posts were let in");
    terminate(&mut worker)?;
    scene.check().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_fails_ends_the_process_with_its_own_code_and_the_next_one_labels_everything() -> Result<()> {
    if !require_real("a_device_that_fails_ends_the_process_with_its_own_code") {
        return Ok(());
    }
    jtav_binary()?;
    let (kafka, redis, media) = (RealKafka::start()?, RealRedis::start()?, media_server()?);
    let mut scene = Scene::new(&kafka, &redis, media.address(), "device", 0).await?;
    let records = scene.text_posts("post", 100)?;
    scene.produce(records).await?;
    let mut worker = scene.worker("encoder:mid_batch=error@5")?;
    let started = Instant::now();
    let status = loop {
        if let Some(status) = worker.ended()? {
            break status;
        }
        if started.elapsed() > PATIENCE {
            bail!("the worker goes on without its device:\n{}", worker.log_tail());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(status.code(), Some(DEVICE), "{}", worker.log_tail());
    let mut worker = scene.worker("")?;
    scene.wait_until_through(&mut worker)?;
    until_nothing_is_inside(&mut worker)?;
    terminate(&mut worker)?;
    let labels = scene.check().await?;
    eprintln!("{} labels came twice", labels.repeated);
    Ok(())
}
