//! Dead letters go back through a live worker, on a real broker and a real store.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jtav_feed_simulator::{MediaServer, SAMPLE_FEED};
use jtav_kafka::{ClientSettings, OutboundRecord, Producer, ProducerSettings, Record, read_all};
use jtav_schemas::{DeadLetterHeaders, Modality, SentimentV1};
use jtav_store::Store as _;
use jtav_testkit::{
    RealKafka, RealRedis, Topics, Worker, WorkerConfig, is_through, jtav_binary, produce, require_real, workspace_root,
};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);
const MODEL: &str = "stub";

struct Bench {
    kafka: RealKafka,
    redis: RealRedis,
    media: MediaServer,
    folder: tempfile::TempDir,
}

impl Bench {
    async fn start() -> Result<Self> {
        let (kafka, redis, folder) = (RealKafka::start()?, RealRedis::start()?, tempfile::tempdir()?);
        kafka.create_topics(&[("posts", 2)]).await?;
        kafka.create_topics(&Topics::default().outputs().map(|name| (name, 1))).await?;
        std::fs::create_dir(folder.path().join("media"))?;
        let media = MediaServer::on_loopback(folder.path().join("media"))?;
        let bench = Self { kafka, redis, media, folder };
        std::fs::write(bench.config_file(), bench.config().to_toml())?;
        Ok(bench)
    }

    fn config(&self) -> WorkerConfig {
        WorkerConfig::new(self.kafka.brokers())
            .redis(&self.redis.url(0))
            .stub_networks()
            .media_hosts(&[self.media.address()])
            .set("ingest.session_timeout_ms", 9_000)
            .set("ingest.drain_timeout_ms", 4_000)
            .set("ingest.commit_interval_ms", 100)
    }

    fn config_file(&self) -> PathBuf {
        self.folder.path().join("worker.toml")
    }

    fn client(&self) -> ClientSettings {
        self.kafka.client()
    }

    /// Blocks until the worker has settled all that lies on the input topic.
    fn settle(&self, worker: &mut Worker) -> Result<()> {
        let client = self.client();
        worker.wait_until("the input topic settled", PATIENCE, |_| is_through(&client, "jtav", "posts", PATIENCE))
    }

    fn replay(&self, arguments: &[&str]) -> Result<Value> {
        let config = self.config_file();
        let output = dead_letters(&[&["replay", "--json", "--config", &config.to_string_lossy()], arguments].concat())?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let stdout = String::from_utf8(output.stdout)?;
        Ok(serde_json::from_str(stdout.lines().last().context("an account")?)?)
    }

    /// Replay counts of the dead letters of a post, in their order.
    fn replay_counts(&self, id: &str) -> Result<Vec<u32>> {
        let letters = read_all(&self.client(), "dead-letters", PATIENCE)?;
        let of_post = letters.iter().filter(|letter| letter.key.as_deref() == Some(id.as_bytes()));
        of_post.map(|letter| Ok(header(letter, DeadLetterHeaders::REPLAY_COUNT)?.parse()?)).collect()
    }
}

fn header(record: &Record, name: &str) -> Result<String> {
    let value = record.headers.iter().rfind(|(header, _)| header == name).and_then(|(_, value)| value.as_deref());
    Ok(String::from_utf8(value.with_context(|| format!("no header {name}"))?.to_vec())?)
}

fn dead_letters(arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(jtav_binary()?);
    for (variable, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("JTAV__")) {
        command.env_remove(variable);
    }
    Ok(command.arg("dead-letters").args(arguments).current_dir(workspace_root()).output()?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replayed_post_is_labelled_once_its_cause_is_mended_and_refused_when_it_never_is() -> Result<()> {
    if !require_real("a_replayed_post_is_labelled_once_its_cause_is_mended_and_refused_when_it_never_is") {
        return Ok(());
    }
    jtav_binary()?;
    let bench = Bench::start().await?;
    let mut worker = Worker::spawn("worker", &bench.config())?;
    worker.wait_ready(PATIENCE)?;
    let image = format!("{}/late.jpg", bench.media.base_url());
    let mended = format!(r#"{{"id":"mended","revision":3,"image":{{"url":"{image}"}}}}"#);
    let unusable = |id: &str| format!(r#"{{"id":"{id}","image":{{"url":"{}/never.jpg"}}}}"#, bench.media.base_url());
    let producer = Producer::new(&bench.client(), &ProducerSettings::default())?;
    let keyed = |id: &str, value: &str| OutboundRecord::keyed("posts", id.to_owned(), value.to_owned());
    let records = vec![
        keyed("mended", &mended),
        keyed("hopeless", &unusable("hopeless")).header("trace", "t1"),
        keyed("erased", &unusable("erased")),
        OutboundRecord::tombstone("posts", "erased"),
    ];
    produce(&producer, records, 0).await?;
    bench.settle(&mut worker)?;
    for id in ["mended", "hopeless", "erased"] {
        assert_eq!(bench.replay_counts(id)?, [0], "{id}");
    }

    // The picture is there now; the other one never will be.
    let sample = workspace_root().join(SAMPLE_FEED).join("media/image/i-0005.jpg");
    std::fs::copy(sample, bench.folder.path().join("media/late.jpg"))?;
    let account = bench.replay(&["--reason", "no_modality"])?;
    assert_eq!((&account["replayed"], &account["refused"]["erased"]), (&2.into(), &1.into()), "{account}");
    bench.settle(&mut worker)?;
    let store = bench.redis.store(0)?;
    let stored = store.read("mended", MODEL).await?.context("a label of the mended post")?;
    assert_eq!(stored.revision, 3);
    let sentiment = read_all(&bench.client(), "sentiment", PATIENCE)?;
    let of = |id: &str| sentiment.iter().rfind(|record| record.key.as_deref() == Some(id.as_bytes()));
    let label: SentimentV1 = serde_json::from_slice(of("mended").and_then(|r| r.value.as_deref()).context("a label")?)?;
    assert!(label.modalities.get(Modality::Image).is_present(), "{label:?}");
    assert!(of("hopeless").is_none() && of("erased").is_some_and(|record| record.value.is_none()));
    assert_eq!(bench.replay_counts("mended")?, [0]);

    // Each round is set aside anew with the count raised, and the fourth is refused.
    for round in 1..=3u32 {
        assert_eq!(bench.replay_counts("hopeless")?, (0..=round).collect::<Vec<_>>());
        let account = bench.replay(&["--post", "hopeless"])?;
        let (replayed, limited) = if round < 3 { (1, None) } else { (0, Some(1)) };
        assert_eq!(account["replayed"], replayed, "round {round}: {account}");
        assert_eq!(account["refused"]["replay_limit"].as_u64(), limited, "round {round}: {account}");
        bench.settle(&mut worker)?;
    }
    let letters = read_all(&bench.client(), "dead-letters", PATIENCE)?;
    let of_post = letters.iter().filter(|letter| letter.key.as_deref() == Some(b"hopeless"));
    for letter in of_post {
        assert_eq!(letter.value.as_deref(), Some(unusable("hopeless").as_bytes()));
        assert_eq!(header(letter, "trace")?, "t1");
    }
    assert!(store.read("erased", MODEL).await?.is_none() && store.is_erased("erased").await?);
    assert_eq!(worker.gap_at_rest().await?, Some(0.0));
    let status = worker.terminate(Duration::from_secs(30))?;
    assert!(status.success(), "{status}:\n{}", worker.log_tail());
    Ok(())
}

#[test]
fn brokers_that_are_away_end_a_replay_with_the_code_for_that() -> Result<()> {
    let away = ["replay", "--json", "--set", "kafka.brokers=127.0.0.1:1", "--set", "store.kind=embedded"];
    let output = dead_letters(&away)?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(69), "{stderr}");
    assert!(stderr.contains("127.0.0.1:1") && stderr.contains("dead-letters"), "{stderr}");
    let account: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!((&account["end"], &account["replayed"]), (&"failed".into(), &0.into()), "{account}");
    Ok(())
}
