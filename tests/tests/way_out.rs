//! No record ends in a restart or comes for ever, whatever is in it and however large it is: hostile records beside honest
//! ones, on a real broker with a real worker.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jtav_dead_letters::Letter;
use jtav_kafka::{OutboundRecord, Producer, ProducerSettings, group_positions, read_all, read_one, watermarks};
use jtav_schemas::DeadLetterReason::{self, InvalidJson, KeyMismatch, PublishRejected, RecordTooLarge};
use jtav_testkit::{
    HostileProducer, HostileRecord, RealKafka, RealRedis, Topics, Worker, WorkerConfig, is_through, jtav_binary,
    require_real, workspace_root,
};

const PATIENCE: Duration = Duration::from_secs(90);
const HOUR_MS: i64 = 3_600_000;
/// What a topic takes that says nothing of it.
const DEFAULT_MAX_BYTES: usize = 1_048_588;

/// A broker and a store; each scene has its own topics, group and database.
struct Bench {
    kafka: RealKafka,
    redis: RealRedis,
}

struct Scene<'a> {
    bench: &'a Bench,
    name: &'static str,
    database: u8,
    folder: tempfile::TempDir,
    hostile: HostileProducer,
}

impl<'a> Scene<'a> {
    async fn new(bench: &'a Bench, name: &'static str, database: u8) -> Result<Self> {
        let hostile = HostileProducer::new(bench.kafka.brokers(), "none")?;
        let scene = Self { bench, name, database, folder: tempfile::tempdir()?, hostile };
        bench.kafka.create_topics(&Topics::of(name).all().map(|topic| (topic, 1))).await?;
        std::fs::write(scene.config_file(), scene.config().to_toml())?;
        Ok(scene)
    }

    fn topic(&self, what: &str) -> String {
        format!("{}-{what}", self.name)
    }

    fn config_file(&self) -> PathBuf {
        self.folder.path().join("worker.toml")
    }

    fn config(&self) -> WorkerConfig {
        WorkerConfig::new(self.bench.kafka.brokers())
            .topics(&Topics::of(self.name))
            .redis(&self.bench.redis.url(self.database))
            .stub_networks()
            .set("ingest.session_timeout_ms", 9_000)
            .set("ingest.drain_timeout_ms", 4_000)
            .set("ingest.commit_interval_ms", 200)
    }

    fn worker(&self) -> Result<Worker> {
        let mut worker = Worker::spawn(self.name, &self.config())?;
        worker.wait_ready(PATIENCE)?;
        Ok(worker)
    }

    async fn send(&self, record: &HostileRecord) -> Result<i64> {
        self.hostile.send(&self.topic("posts"), 0, record).await
    }

    fn wait_until_through(&self, worker: &mut Worker) -> Result<()> {
        let (client, posts) = (self.bench.kafka.client(), self.topic("posts"));
        let through = worker.wait_until("all that was produced committed", PATIENCE, |_| {
            is_through(&client, self.name, &posts, PATIENCE)
        });
        through.with_context(|| {
            let positions = group_positions(&client, self.name, &posts, PATIENCE);
            let ends = watermarks(&client, &posts, PATIENCE);
            format!("committed {positions:?} of {ends:?}")
        })
    }

    /// Every dead letter by the offset that its record had.
    fn letters(&self) -> Result<BTreeMap<i64, Vec<Letter>>> {
        let mut letters: BTreeMap<i64, Vec<Letter>> = BTreeMap::new();
        for record in read_all(&self.bench.kafka.client(), &self.topic("dead-letters"), PATIENCE)? {
            let letter = Letter::read(&record)?;
            letters.entry(letter.facts.source.offset).or_default().push(letter);
        }
        Ok(letters)
    }

    fn labelled(&self) -> Result<Vec<String>> {
        let records = read_all(&self.bench.kafka.client(), &self.topic("sentiment"), PATIENCE)?;
        let labelled = records.iter().filter(|record| record.value.is_some());
        labelled.map(|record| Ok(String::from_utf8(record.key.as_deref().context("a key")?.to_vec())?)).collect()
    }

    /// The record as it lies on the input topic.
    fn original(&self, offset: i64) -> Result<jtav_kafka::Record> {
        read_one(&self.bench.kafka.client(), &self.topic("posts"), 0, offset, PATIENCE)?.context("the original")
    }

    fn jtav(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(jtav_binary()?);
        command.args(arguments).arg("--config").arg(self.config_file()).current_dir(workspace_root());
        Ok(command.output()?)
    }
}

/// Nothing was abandoned, read again, or began anew.
async fn nothing_came_again(worker: &Worker) -> Result<()> {
    assert_eq!(worker.gap_at_rest().await?, Some(0.0));
    for metric in ["jtav_delivery_abandoned_total", "jtav_pipeline_restarts_total", "jtav_ingest_rewinds_total"] {
        assert_eq!(worker.metric(metric)?, Some(0.0), "{metric}\n{}", worker.log_tail());
    }
    Ok(())
}

fn honest(number: usize) -> HostileRecord {
    let id = format!("honest-{number}");
    let value = format!(r#"{{"id":"{id}","texts":[{{"role":"body","text":"a lovely evening, number {number}"}}]}}"#);
    record(Some(id.as_bytes()), Some(value.as_bytes()))
}

fn record(key: Option<&[u8]>, value: Option<&[u8]>) -> HostileRecord {
    HostileRecord { key: key.map(<[u8]>::to_vec), value: value.map(<[u8]>::to_vec), ..HostileRecord::default() }
}

/// Bytes that no compression makes fewer.
fn noise(bytes: usize) -> Vec<u8> {
    // xorshift64*
    let mut state = bytes as u64 | 1;
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 56) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

fn with_headers(base: HostileRecord, headers: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> HostileRecord {
    HostileRecord { headers, ..base }
}

/// What strangers may write into a topic with the broker's default limit, and what must become of it.
fn hostile_records() -> Vec<(&'static str, HostileRecord, DeadLetterReason)> {
    let not_json = || record(Some(b"k"), Some(b"not json"));
    let at = |timestamp_ms| HostileRecord { timestamp_ms: Some(timestamp_ms), ..not_json() };
    let long_key = noise(1_000_000);
    vec![
        ("541 KB", record(Some(b"k"), Some(&noise(541_000))), RecordTooLarge),
        ("900 KB", record(Some(b"k"), Some(&noise(900_000))), RecordTooLarge),
        ("1,000,000 bytes", record(Some(b"k"), Some(&noise(1_000_000))), RecordTooLarge),
        ("as much as the topic takes", record(None, Some(&noise(DEFAULT_MAX_BYTES - 100))), RecordTooLarge),
        ("a header of 600 kB", with_headers(not_json(), vec![(b"h".to_vec(), Some(noise(600_000)))]), InvalidJson),
        ("a header name of 600 kB", with_headers(not_json(), vec![(vec![b'h'; 600_000], None)]), InvalidJson),
        ("200,000 headers", with_headers(not_json(), vec![(b"h".to_vec(), None); 200_000]), InvalidJson),
        ("a key of 1 MB", record(Some(&long_key), Some(b"{\"id\":\"p\"}")), KeyMismatch),
        ("a tombstone with a key of 1 MB", record(Some(&long_key), None), KeyMismatch),
        ("a key that is not UTF-8", record(Some(b"\xff\x00"), Some(b"{\"id\":\"p\"}")), KeyMismatch),
        ("a tombstone without a key", record(None, None), KeyMismatch),
        ("an empty key", record(Some(b""), Some(b"{\"id\":\"p\"}")), KeyMismatch),
        ("an empty value", record(Some(b"k"), Some(b"")), InvalidJson),
        (
            "odd headers",
            with_headers(
                not_json(),
                vec![
                    (b"\xff\xfe".to_vec(), Some(b"\xff".to_vec())),
                    (b"".to_vec(), None),
                    (b"jtav-dl-reason".to_vec(), Some(b"\xff".to_vec())),
                    (b"jtav-dl-replay-count".to_vec(), Some(b"\xff".to_vec())),
                    (b"jtav-dl-truncated".to_vec(), Some(b"{}".to_vec())),
                    (b"twice".to_vec(), Some(Vec::new())),
                    (b"twice".to_vec(), None),
                ],
            ),
            InvalidJson,
        ),
        ("a time before all times", at(i64::MIN + 1), InvalidJson),
        ("a negative time", at(-5), InvalidJson),
        ("the first of all times", at(1), InvalidJson),
        ("a time to come", at(jtav_pipeline::now_ms() + HOUR_MS / 2), InvalidJson),
    ]
}

async fn hostile_beside_honest(bench: &Bench) -> Result<()> {
    let scene = Scene::new(bench, "shapes", 0).await?;
    let (mut expected, mut refused, mut ids) = (BTreeMap::new(), Vec::new(), Vec::new());
    for (number, (name, hostile, reason)) in hostile_records().into_iter().enumerate() {
        scene.send(&honest(number)).await?;
        ids.push(format!("honest-{number}"));
        match scene.send(&hostile).await {
            Ok(offset) => _ = expected.insert(offset, (name, hostile, reason)),
            // What the broker keeps out needs no way out.
            Err(error) => refused.push(format!("{name}: {error}")),
        }
    }
    eprintln!("kept out by the broker: {refused:?}");
    // Headers alone are no reason to refuse a post, and a tombstone may have some.
    let decorated = with_headers(honest(900), vec![(b"h".to_vec(), Some(noise(600_000))), (b"\xff".to_vec(), None)]);
    scene.send(&decorated).await?;
    ids.push("honest-900".into());
    scene.send(&with_headers(record(Some(b"gone"), None), vec![(b"\xff".to_vec(), None)])).await?;
    // Offsets that hold no record for us: an aborted one, and the marks of both transactions.
    let transactions = HostileProducer::transactional(bench.kafka.brokers(), "hostile")?;
    for (number, commit) in [(901, false), (902, true)] {
        transactions.begin()?;
        let offset = transactions.send(&scene.topic("posts"), 0, &honest(number)).await?;
        transactions.end(commit)?;
        // The mark is written when the coordinator gets round to it.
        while watermarks(&bench.kafka.client(), &scene.topic("posts"), PATIENCE)?[&0].1 < offset + 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    ids.push("honest-902".into());
    scene.send(&honest(903)).await?;
    ids.push("honest-903".into());

    let mut worker = scene.worker()?;
    scene.wait_until_through(&mut worker)?;
    nothing_came_again(&worker).await?;
    let mut labelled = scene.labelled()?;
    labelled.sort();
    ids.sort();
    assert_eq!(labelled, ids, "every honest post once");
    each_has_its_letter(&scene, expected)?;
    assert!(worker.terminate(PATIENCE)?.success());
    Ok(())
}

/// By offset: what was sent, under which name, and the reason that it is refused for.
type Expected = BTreeMap<i64, (&'static str, HostileRecord, DeadLetterReason)>;

fn each_has_its_letter(scene: &Scene, expected: Expected) -> Result<()> {
    let mut letters = scene.letters()?;
    let mut whole = 0;
    for (offset, (name, hostile, reason)) in expected {
        let found = letters.remove(&offset).with_context(|| format!("{name} has no letter"))?;
        assert_eq!(found.len(), 1, "{name}");
        let letter = &found[0];
        assert_eq!(letter.facts.reason, reason, "{name}: {}", letter.facts.message);
        assert_eq!(letter.key.is_some(), hostile.key.is_some(), "{name}");
        assert_eq!(letter.value.is_some(), hostile.value.is_some(), "{name}: empty is not null");
        if letter.truncation().is_none() {
            whole += 1;
            assert_eq!(letter.key.as_deref(), hostile.key.as_deref(), "{name}");
            assert_eq!(letter.value.as_deref(), hostile.value.as_deref(), "{name}");
            assert_eq!(
                letter.headers.len(),
                scene.original(offset)?.headers.len() - usize::from(name == "odd headers")
            );
        } else {
            let completed = letter.completed(&scene.original(offset)?).with_context(|| format!("{name} is another"))?;
            assert_eq!(completed.value.as_deref(), hostile.value.as_deref(), "{name}");
        }
    }
    assert!(letters.is_empty(), "{letters:?}");
    assert!(whole >= 12, "only {whole} are whole");
    Ok(())
}

/// A dead-letter topic that takes 20 kB behind an input topic that takes 10 MB.
async fn a_narrow_way_out(bench: &Bench) -> Result<()> {
    let scene = Scene::new(bench, "narrow", 1).await?;
    scene.hostile.alter_topic(&scene.topic("posts"), &[("max.message.bytes", "10000000")]).await?;
    scene.hostile.alter_topic(&scene.topic("dead-letters"), &[("max.message.bytes", "20000")]).await?;
    let check = scene.jtav(&["config", "check", "--connect"])?;
    let said = String::from_utf8_lossy(&check.stdout);
    assert!(said.contains("narrow-dead-letters") && said.contains("20000") && said.contains("truncated"), "{said}");

    let mut worker = scene.worker()?;
    let large = scene.send(&record(Some(b"k"), Some(&noise(6_000_000)))).await?;
    scene.send(&honest(1)).await?;
    let small = scene.send(&record(Some(b"k"), Some(b"not json"))).await?;
    scene.wait_until_through(&mut worker)?;
    // Narrower still, and nobody told the worker: it finds out.
    scene.hostile.alter_topic(&scene.topic("dead-letters"), &[("max.message.bytes", "3000")]).await?;
    let later = scene.send(&record(Some(b"k"), Some(&noise(700_000)))).await?;
    scene.send(&honest(2)).await?;
    scene.wait_until_through(&mut worker)?;
    nothing_came_again(&worker).await?;
    assert_eq!(worker.metric("jtav_dead_letters_truncated_total")?, Some(2.0));
    assert_eq!(scene.labelled()?, ["honest-1", "honest-2"]);
    let letters = scene.letters()?;
    assert!(letters[&small][0].truncation().is_none());
    assert!((15_000..20_000).contains(&letters[&large][0].value.as_ref().context("a value")?.len()));
    assert!(letters[&later][0].value.as_ref().context("a value")?.len() < 3_000);
    for offset in [large, later] {
        let original = scene.original(offset)?;
        let letter = letters[&offset][0].completed(&original).context("its own original")?;
        assert_eq!(letter.value, original.value);
    }

    replayed_from_the_original(&scene, large)?;
    scene.wait_until_through(&mut worker)?;
    nothing_came_again(&worker).await?;
    let again: Vec<Letter> = scene.letters()?.into_values().flatten().filter(|l| l.facts.replay_count == 1).collect();
    assert_eq!(again.len(), 3, "each came back and failed once more");
    assert!(worker.terminate(PATIENCE)?.success());
    Ok(())
}

/// The commands know what is missing, and a replay fetches it.
fn replayed_from_the_original(scene: &Scene<'_>, large: i64) -> Result<()> {
    let position = scene.letters()?[&large][0].position.to_string();
    let shown = scene.jtav(&["dead-letters", "show", &position])?;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("TRUNCATED") && shown.contains("of 6000000 bytes are here, BLAKE3"), "{shown}");
    let listed = scene.jtav(&["dead-letters", "list"])?;
    assert!(String::from_utf8_lossy(&listed.stdout).contains("2 hold only a part of their record"));
    let exported = scene.jtav(&["dead-letters", "export", "-"])?;
    let marked =
        String::from_utf8_lossy(&exported.stdout).lines().filter(|line| line.contains("\"truncated\":{")).count();
    assert_eq!(marked, 2);
    let replayed = scene.jtav(&["dead-letters", "replay", "--json"])?;
    ensure!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stderr));
    let account: serde_json::Value = serde_json::from_slice(&replayed.stdout)?;
    assert_eq!((&account["replayed"], &account["refused"]), (&3.into(), &serde_json::json!({})), "{account}");
    Ok(())
}

/// A topic of labels that takes none: the post is set aside, and the worker goes on.
async fn labels_that_are_refused(bench: &Bench) -> Result<()> {
    let scene = Scene::new(bench, "labels", 2).await?;
    scene.hostile.alter_topic(&scene.topic("sentiment"), &[("max.message.bytes", "300")]).await?;
    let mut worker = scene.worker()?;
    let offset = scene.send(&honest(1)).await?;
    // The longest id there is: its null values and its receipt are the largest of their kind.
    scene.send(&record(Some("é".repeat(256).as_bytes()), None)).await?;
    scene.wait_until_through(&mut worker)?;
    nothing_came_again(&worker).await?;
    let letters = scene.letters()?;
    assert_eq!(letters[&offset][0].facts.reason, PublishRejected);
    assert!(letters[&offset][0].facts.message.contains("labels-sentiment"), "{}", letters[&offset][0].facts.message);
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(read_all(&bench.kafka.client(), &scene.topic("erasures"), PATIENCE)?.len(), 1);
    assert!(worker.terminate(PATIENCE)?.success());
    Ok(())
}

/// Batches that the broker lets in for their size and that unpack to much more.
async fn batches_that_unpack_to_a_lot(bench: &Bench) -> Result<()> {
    const BYTES: usize = 60_000_000;
    let scene = Scene::new(bench, "bombs", 3).await?;
    let strict = scene.topic("strict");
    bench.kafka.create_topics(&[(strict.as_str(), 1)]).await?;
    scene.hostile.alter_topic(&strict, &[("compression.type", "uncompressed")]).await?;
    let mut worker = scene.worker()?;
    let bomb = record(Some(b"k"), Some(&vec![b'0'; BYTES]));
    let mut bombs = Vec::new();
    for (number, compression) in ["gzip", "lz4", "zstd"].into_iter().enumerate() {
        let producer = HostileProducer::new(bench.kafka.brokers(), compression)?;
        bombs.push(producer.send(&scene.topic("posts"), 0, &bomb).await?);
        scene.send(&honest(number)).await?;
        let error = producer.send(&strict, 0, &bomb).await;
        assert!(error.is_err_and(|error| format!("{error:#}").contains("MessageSizeTooLarge")), "{compression}");
    }
    scene.wait_until_through(&mut worker)?;
    nothing_came_again(&worker).await?;
    assert_eq!(scene.labelled()?, ["honest-0", "honest-1", "honest-2"]);
    let letters = scene.letters()?;
    for offset in bombs {
        let letter = &letters[&offset][0];
        let whole = letter.truncation().and_then(|missing| missing.value.clone()).context("what is missing")?;
        assert_eq!((letter.facts.reason, whole.bytes), (RecordTooLarge, BYTES as u64));
        assert!(letter.value.as_ref().is_some_and(|value| value.len() <= DEFAULT_MAX_BYTES));
    }
    assert!(worker.terminate(PATIENCE)?.success());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_record_of_a_stranger_ends_in_a_restart_or_comes_for_ever() -> Result<()> {
    if !require_real("no_record_of_a_stranger_ends_in_a_restart_or_comes_for_ever") {
        return Ok(());
    }
    jtav_binary()?;
    let bench = Bench { kafka: RealKafka::start()?, redis: RealRedis::start()? };
    hostile_beside_honest(&bench).await?;
    a_narrow_way_out(&bench).await?;
    labels_that_are_refused(&bench).await?;
    batches_that_unpack_to_a_lot(&bench).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_knows_what_its_topics_take_and_noise_of_that_size_passes() -> Result<()> {
    if !require_real("a_producer_knows_what_its_topics_take_and_noise_of_that_size_passes") {
        return Ok(());
    }
    let kafka = RealKafka::start()?;
    let hostile = HostileProducer::new(kafka.brokers(), "none")?;
    for compression in ["producer", "gzip", "snappy", "lz4", "zstd", "uncompressed"] {
        for max_bytes in [5_000, 300_000, 3_000_000] {
            let topic = format!("{compression}-{max_bytes}");
            kafka.create_topics(&[(topic.as_str(), 1)]).await?;
            let settings = [("compression.type", compression), ("max.message.bytes", &max_bytes.to_string())];
            hostile.alter_topic(&topic, &settings).await?;
            let producer = Producer::new(&kafka.client(), &ProducerSettings::default())?;
            producer.ask_limits(vec![topic.clone()]).await?;
            let room = usize::try_from(producer.max_record_bytes(&topic))?;
            assert!((max_bytes - max_bytes / 100 - 300..max_bytes).contains(&room), "{topic}: {room}");
            let frame = OutboundRecord::keyed(topic.clone(), "k", "").size() as usize;
            let largest = OutboundRecord::keyed(topic.clone(), "k", noise(room - frame));
            producer.send(largest).await.with_context(|| topic.clone())?;
            let error = producer.send(OutboundRecord::keyed(topic.clone(), "k", noise(max_bytes + 500))).await;
            assert!(error.is_err_and(|error| error.is_too_large()), "{topic}");
        }
    }
    Ok(())
}
