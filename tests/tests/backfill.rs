//! `jtav backfill` beside a live worker, on a real broker and a real store, killed and stopped on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use jtav_dead_letters::utc;
use jtav_kafka::{ClientSettings, OutboundRecord, Producer, ProducerSettings, group_positions, watermarks};
use jtav_store::Store as _;
use jtav_testkit::{
    RealKafka, RealRedis, Topics, Worker, WorkerConfig, jtav_binary, produce, require_real, workspace_root,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const POSTS: usize = 400;
const PATIENCE: Duration = Duration::from_secs(60);
const RATE: &str = "150";

struct Bench {
    kafka: RealKafka,
    redis: RealRedis,
    folder: tempfile::TempDir,
}

impl Bench {
    async fn start() -> Result<Self> {
        let (kafka, redis) = (RealKafka::start()?, RealRedis::start()?);
        kafka.create_topics(&[("posts", 3)]).await?;
        kafka.create_topics(&Topics::default().outputs().map(|name| (name, 1))).await?;
        let bench = Self { kafka, redis, folder: tempfile::tempdir()? };
        std::fs::write(bench.config_file(), bench.config().to_toml())?;
        Ok(bench)
    }

    fn config(&self) -> WorkerConfig {
        WorkerConfig::new(self.kafka.brokers())
            .redis(&self.redis.url(0))
            .stub_networks()
            .set("model.image_streams", 1)
            .set("model.text_streams", 1)
            .set("ingest.session_timeout_ms", 6_000)
            .set("ingest.drain_timeout_ms", 2_500)
            .set("ingest.commit_interval_ms", 100)
            .set("shutdown.shutdown_timeout_ms", 15_000)
    }

    fn config_file(&self) -> PathBuf {
        self.folder.path().join("live.toml")
    }

    fn client(&self) -> ClientSettings {
        self.kafka.client()
    }

    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(jtav_binary()?);
        command.arg("backfill").arg("--config").arg(self.config_file()).args(["--model", "models/jtav-modern"]);
        command.args(["--json", "--rate", RATE]).args(arguments).current_dir(workspace_root());
        for (variable, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("JTAV__")) {
            command.env_remove(variable);
        }
        Ok(command)
    }

    fn run(&self, arguments: &[&str]) -> Result<Output> {
        Ok(self.command(arguments)?.output()?)
    }

    /// The account of a call that comes to its end.
    fn complete(&self, arguments: &[&str]) -> Result<Value> {
        let output = self.run(arguments)?;
        let account = last_line(&output)?;
        ensure!(output.status.success() && account["end"] == "complete", "{account}\n{}", stderr(&output));
        Ok(account)
    }

    fn redis_cli(&self, commands: &str) -> Result<Vec<String>> {
        let url = self.redis.url(0);
        let socket = url.strip_prefix("redis+unix://").and_then(|rest| rest.split('?').next()).context("a socket")?;
        let mut child = Command::new("redis-cli")
            .args(["--no-raw", "-s", socket])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("redis-cli")?;
        child.stdin.take().context("stdin")?.write_all(commands.as_bytes())?;
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "redis-cli: {output:?}");
        Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
    }

    /// Every key of the store but those of `model`, the set of a post's models, which grows, and the live worker's own note
    /// of the server that it looked after, which may come at any time; with its bytes.
    fn keys_without(&self, model: &str) -> Result<BTreeMap<String, String>> {
        let keys: BTreeSet<String> = self.keys()?.into_iter().filter(|key| !key.ends_with(model)).collect();
        let is_a_posts = |key: &String| !key.ends_with(":models") && key != "jtav:erasures-restored-on";
        let keys: Vec<String> = keys.into_iter().filter(is_a_posts).collect();
        let dumps = self.redis_cli(&keys.iter().map(|key| format!("DUMP {key}\n")).collect::<String>())?;
        ensure!(dumps.len() == keys.len() && !keys.is_empty(), "{} dumps of {} keys", dumps.len(), keys.len());
        Ok(keys.into_iter().zip(dumps).collect())
    }

    fn keys(&self) -> Result<Vec<String>> {
        let lines = self.redis_cli("KEYS *\n")?;
        Ok(lines.iter().filter_map(|line| line.split('"').nth(1)).map(str::to_owned).collect())
    }

    fn labels_of(&self, model: &str) -> Result<usize> {
        Ok(self.keys()?.iter().filter(|key| key.ends_with(model)).count())
    }

    fn positions(&self, group: &str) -> Result<BTreeMap<i32, i64>> {
        let started = Instant::now();
        loop {
            match group_positions(&self.client(), group, "posts", PATIENCE) {
                // The coordinator of a new group is not found at once.
                Err(error) if error.is_retryable() && started.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(200));
                }
                asked => return Ok(asked?),
            }
        }
    }

    fn until(&self, what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
        let started = Instant::now();
        while !holds()? {
            ensure!(started.elapsed() < PATIENCE * 2, "{what} did not come about");
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    fn until_live_is_done(&self) -> Result<()> {
        let ends: BTreeMap<i32, i64> = watermarks(&self.client(), "posts", PATIENCE)?
            .into_iter()
            .map(|(number, (_, high))| (number, high))
            .collect();
        self.until("the end of the live group", || Ok(self.positions("jtav")? == ends))
    }

    fn topic_ends(&self) -> Result<Vec<BTreeMap<i32, (i64, i64)>>> {
        let topics = ["sentiment", "embeddings", "dead-letters", "erasures"];
        topics.iter().map(|topic| Ok(watermarks(&self.client(), topic, PATIENCE)?)).collect()
    }
}

/// A backfill under way; killed when dropped.
struct Running(Child);

impl Running {
    fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let log = std::fs::File::create(log)?;
        Ok(Self(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn()?))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.0), signal).with_context(|| format!("{signal:?} to a backfill"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn last_line(output: &Output) -> Result<Value> {
    let stdout = String::from_utf8(output.stdout.clone())?;
    let line = stdout.lines().last().with_context(|| format!("no account:\n{}", stderr(output)))?;
    Ok(serde_json::from_str(line)?)
}

fn post(id: &str, revision: u64) -> OutboundRecord {
    let text = format!("what a lovely and never ending day {id} {revision}");
    let value = format!(r#"{{"id":"{id}","revision":{revision},"texts":[{{"role":"body","text":"{text}"}}]}}"#);
    OutboundRecord::keyed("posts", id.to_owned(), value)
}

fn is_erased(number: usize) -> bool {
    number % 40 == 7
}

/// Posts with edits, tombstones and one that is no post.
fn feed() -> Vec<OutboundRecord> {
    let mut records = Vec::new();
    for number in 0..POSTS {
        let id = format!("post-{number:03}");
        records.push(post(&id, 0));
        if number % 20 == 3 {
            records.push(post(&id, 1));
        }
        if is_erased(number) {
            records.push(OutboundRecord::tombstone("posts", id));
        }
    }
    records.push(OutboundRecord::keyed("posts", "poison", "{"));
    records
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backfill_that_is_killed_and_stopped_ends_with_every_post_and_touches_nothing_live() -> Result<()> {
    if !require_real("a_backfill_that_is_killed_and_stopped_ends_with_every_post_and_touches_nothing_live") {
        return Ok(());
    }
    jtav_binary()?;
    let bench = Bench::start().await?;
    let producer = Producer::new(&bench.client(), &ProducerSettings::default())?;
    let records = feed();
    let total = records.len() as u64;
    produce(&producer, records, 0).await?;
    let mut worker = Worker::spawn("live worker", &bench.config())?;
    worker.wait_ready(PATIENCE)?;
    bench.until_live_is_done()?;

    // What the live worker labels with is refused; a dry run says what there is to do and leaves no trace.
    let refused = bench.run(&["--set", "model.stub=false"])?;
    assert_eq!(refused.status.code(), Some(78), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("--live-version"), "{}", stderr(&refused));
    let dry = bench.complete(&["--dry-run"])?;
    let model = dry["model_version"].as_str().context("model_version")?.to_owned();
    let group = dry["group"].as_str().context("group")?.to_owned();
    assert_eq!(
        (&dry["records"], &dry["rejected"], &dry["tombstones"]),
        (&total.into(), &1.into(), &10.into()),
        "{dry}"
    );
    assert_eq!(bench.labels_of(&model)?, 0);
    assert!(bench.positions(&group)?.is_empty());

    let (live_keys, live_positions, ends) =
        (bench.keys_without(&model)?, bench.positions("jtav")?, bench.topic_ends()?);

    // SIGKILL, then SIGTERM, each in the middle of the work.
    let log = bench.folder.path().join("backfill.log");
    let killed = Running::start(&mut bench.command(&[])?, &log)?;
    bench.until("labels before the kill", || Ok(bench.labels_of(&model)? >= 60))?;
    killed.signal(Signal::KILL)?;
    drop(killed);
    let after_kill = bench.labels_of(&model)?;
    let mut stopped = Running::start(&mut bench.command(&[])?, &log)?;
    bench.until("labels before the stop", || Ok(bench.labels_of(&model)? >= after_kill + 60))?;
    stopped.signal(Signal::TERM)?;
    let mut account = String::new();
    std::io::Read::read_to_string(&mut stopped.0.stdout.take().context("stdout")?, &mut account)?;
    let status = stopped.0.wait()?;
    let account: Value = serde_json::from_str(account.lines().last().context("an account")?)?;
    assert_eq!((status.code(), &account["end"]), (Some(1), &"stopped".into()), "{account}");
    let left = account["left"].as_u64().context("left")?;
    assert!(left > 0 && bench.labels_of(&model)? < POSTS - POSTS / 40, "it was over before the stop: {account}");

    let third = bench.complete(&[])?;
    assert_eq!(third["done_before"], total - left, "{third}");
    every_post_stands_as_the_feed_left_it(&bench, &model).await?;
    assert_eq!(bench.keys_without(&model)?, live_keys, "live keys, byte for byte");
    assert_eq!(bench.positions("jtav")?, live_positions);
    assert_eq!(bench.topic_ends()?, ends, "no record on any topic");
    assert!(worker.is_running());
    let status = worker.terminate(Duration::from_secs(30))?;
    assert!(status.success(), "{status}:\n{}", worker.log_tail());

    a_tombstone_behind_the_end_counts(&bench, &producer, &model).await
}

async fn every_post_stands_as_the_feed_left_it(bench: &Bench, model: &str) -> Result<()> {
    let store = bench.redis.store(0)?;
    for number in 0..POSTS {
        let id = format!("post-{number:03}");
        let label = store.read(&id, model).await?;
        let expected = if number % 20 == 3 { 1 } else { 0 };
        assert_eq!(label.map(|label| label.revision), (!is_erased(number)).then_some(expected), "{id}");
        assert_eq!(store.is_erased(&id).await?, is_erased(number), "{id}");
    }
    assert_eq!(bench.labels_of(model)?, POSTS - POSTS / 40);
    Ok(())
}

/// While no live worker runs: nobody but the backfill has seen the tombstone.
async fn a_tombstone_behind_the_end_counts(bench: &Bench, producer: &Producer, model: &str) -> Result<()> {
    let to = utc(jtav_pipeline::now_ms() + 1_000);
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    produce(producer, vec![post("post-too-late", 0), OutboundRecord::tombstone("posts", "post-001")], 0).await?;
    let account = bench.complete(&["--group", "another", "--to", &to])?;
    assert_eq!((&account["erasures_made_good"], &account["done_before"]), (&1.into(), &0.into()), "{account}");
    let store = bench.redis.store(0)?;
    assert!(store.is_erased("post-001").await? && store.read("post-001", model).await?.is_none());
    assert!(store.read("post-too-late", model).await?.is_none(), "it lies behind --to");
    assert!(store.read("post-002", model).await?.is_some());

    let positions: i64 = bench.positions("another")?.values().sum();
    let more = bench.complete(&["--group", "another"])?;
    assert_eq!((&more["written"], &more["tombstones"]), (&1.into(), &1.into()), "{more}, after {positions}");
    assert!(store.read("post-too-late", model).await?.is_some());
    Ok(())
}

#[test]
fn brokers_that_are_away_end_it_with_the_code_for_that() -> Result<()> {
    let mut command = Command::new(jtav_binary()?);
    let output = command
        .args(["backfill", "--model", "models/jtav-modern", "--live-version", "other", "--dry-run", "--device", "cpu"])
        .args(["--set", "kafka.brokers=127.0.0.1:1", "--set", "store.kind=embedded"])
        .current_dir(workspace_root())
        .output()?;
    assert_eq!(output.status.code(), Some(69), "{}", stderr(&output));
    assert!(stderr(&output).contains("127.0.0.1:1"), "{}", stderr(&output));
    Ok(())
}
