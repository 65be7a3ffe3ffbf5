//! The commands against the in-process cluster; the worker is played by its own function that writes dead letters.

mod support;

use std::future::pending;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jtav_dead_letters::{
    DeadLetterTopic, Position, Replay, ReplayAccount, ReplayEnd, ReplayOptions, Scanned, Selection, export, find, list,
    replay, show,
};
use jtav_kafka::{
    InProcessCluster, InjectedError, OutboundRecord, Producer, ProducerSettings, Record, Request, read_all,
};
use jtav_pipeline::Stage;
use jtav_schemas::{DeadLetterReason, DeadLetterV1};
use jtav_store::{EmbeddedStore, Store as _};
use jtav_testkit::{Schema, workspace_root};
use support::{DEAD, INPUT, inbound, set_aside, set_aside_within};

const PATIENCE: Duration = Duration::from_secs(20);

struct Bench {
    topic: DeadLetterTopic,
    producer: Producer,
    store: EmbeddedStore,
    seen: usize,
    // Last: clients must be gone before the cluster.
    cluster: InProcessCluster,
}

impl Bench {
    fn new() -> Self {
        let cluster = InProcessCluster::create(1).unwrap();
        cluster.create_topic(INPUT, 2).unwrap();
        cluster.create_topic(DEAD, 2).unwrap();
        let settings = ProducerSettings { linger_ms: 0, ..ProducerSettings::default() };
        let producer = Producer::new(&cluster.client("test"), &settings).unwrap();
        let topic = DeadLetterTopic { client: cluster.client("dead-letters"), name: DEAD.into(), patience: PATIENCE };
        Self { topic, producer, store: EmbeddedStore::new(), seen: 0, cluster }
    }

    async fn send(&self, record: OutboundRecord) {
        self.producer.send(record).await.unwrap();
    }

    /// Sets aside what came on the input topic since the last call, as a worker does for which all of it is poison.
    async fn work(&mut self) -> Vec<Record> {
        let mut records = self.input();
        records.sort_by_key(|record| record.timestamp_ms);
        let fresh = records.split_off(self.seen);
        self.seen += fresh.len();
        for record in &fresh {
            self.send(set_aside(inbound(record), DeadLetterReason::PoisonPill, Stage::AudioEncoder)).await;
        }
        fresh
    }

    fn input(&self) -> Vec<Record> {
        read_all(&self.topic.client, INPUT, PATIENCE).unwrap()
    }

    async fn replay(&self, change: impl FnOnce(&mut ReplayOptions)) -> (ReplayAccount, ReplayEnd) {
        self.replay_watched(change, pending(), |_| {}).await
    }

    async fn replay_watched(
        &self,
        change: impl FnOnce(&mut ReplayOptions),
        stop: impl Future<Output = ()>,
        watch: impl FnMut(&ReplayAccount),
    ) -> (ReplayAccount, ReplayEnd) {
        let mut options = ReplayOptions {
            selection: Selection::default(),
            dry_run: false,
            rate_per_second: None,
            max_replays: 3,
            rekey: false,
            from: None,
        };
        change(&mut options);
        let with = Replay { topic: &self.topic, producer: &self.producer, input_topic: INPUT, store: &self.store };
        replay(&with, &options, stop, watch).await
    }

    async fn set_aside(&self, record: Record, reason: DeadLetterReason, stage: Stage) {
        self.send(set_aside(inbound(&record), reason, stage)).await;
    }

    async fn set_aside_posts(&self, ids: &[&str]) {
        for (id, offset) in ids.iter().zip(40..) {
            self.set_aside(Record { offset, ..support::post(id) }, DeadLetterReason::NoModality, Stage::Router).await;
        }
    }
}

fn account(read: u64, replayed: u64, refused: &[(&'static str, u64)]) -> (u64, u64, Vec<(&'static str, u64)>) {
    (read, replayed, refused.to_vec())
}

fn figures(account: &ReplayAccount) -> (u64, u64, Vec<(&'static str, u64)>) {
    (account.read, account.replayed, account.refused.iter().map(|(name, count)| (*name, *count)).collect())
}

#[tokio::test]
async fn a_poison_post_is_replayed_three_times_and_refused_the_fourth_time() {
    let mut bench = Bench::new();
    bench.send(OutboundRecord::keyed(INPUT, "poison", r#"{"id":"poison","texts":[]}"#).header("trace", "t1")).await;
    assert_eq!(bench.work().await.len(), 1);
    let expected = [
        account(1, 1, &[]),
        account(2, 1, &[("superseded", 1)]),
        account(3, 1, &[("superseded", 2)]),
        account(4, 0, &[("replay_limit", 1), ("superseded", 3)]),
        account(4, 0, &[("replay_limit", 1), ("superseded", 3)]),
    ];
    for (round, expected) in expected.into_iter().enumerate() {
        let (account, end) = bench.replay(|_| {}).await;
        assert!(matches!(end, ReplayEnd::Complete), "round {round}: {end:?}");
        assert_eq!(figures(&account), expected, "round {round}");
        assert_eq!(bench.work().await.len() as u64, account.replayed, "round {round}");
    }
    let input = bench.input();
    assert_eq!(input.len(), 4);
    for record in &input {
        assert_eq!((&record.key, &record.value), (&input[0].key, &input[0].value));
        assert_eq!(record.headers[0], ("trace".to_owned(), Some("t1".into())));
    }
    let mut counts: Vec<u32> = Vec::new();
    let ranges = bench.topic.ranges(None).unwrap();
    bench
        .topic
        .walk(&ranges, |scanned| {
            let Scanned::Letter(letter) = scanned else { panic!("{scanned:?}") };
            assert_eq!(letter.origin.split(':').next(), Some(INPUT));
            counts.push(letter.facts.replay_count);
            Ok(true)
        })
        .unwrap();
    assert_eq!(counts, [0, 1, 2, 3], "the worker carries the count on, and no dead letter is deleted");
}

#[tokio::test]
async fn a_replay_drops_erased_posts_and_a_dry_run_sends_nothing() {
    let bench = Bench::new();
    bench.set_aside_posts(&["kept", "erased"]).await;
    bench
        .set_aside(Record { offset: 90, ..support::post("poison") }, DeadLetterReason::PoisonPill, Stage::Fusion)
        .await;
    bench.store.erase("erased", 0, Duration::from_secs(60)).await.unwrap();

    let (dry, end) = bench.replay(|options| options.dry_run = true).await;
    assert!(matches!(end, ReplayEnd::Complete), "{end:?}");
    assert!(bench.input().is_empty() && dry.dry_run);
    let (wet, _) = bench.replay(|_| {}).await;
    assert_eq!(figures(&wet), (3, 2, vec![("erased", 1)]));
    assert_eq!(figures(&dry), figures(&wet));
    let mut sent: Vec<_> = bench.input().into_iter().filter_map(|record| record.key).collect();
    sent.sort();
    assert_eq!(sent, ["kept", "poison"]);

    let (chosen, _) = bench
        .replay(|options| {
            options.dry_run = true;
            options.selection.stages = vec!["fusion".into()];
        })
        .await;
    assert_eq!((chosen.replayed, chosen.not_selected), (1, 2));
}

#[tokio::test]
async fn a_stop_in_the_middle_says_where_to_go_on() {
    let bench = Bench::new();
    for offset in 0..6 {
        let record = Record { offset, ..support::post("same-partition") };
        bench.set_aside(record, DeadLetterReason::NoModality, Stage::Router).await;
    }
    let (told, stop) = tokio::sync::oneshot::channel();
    let mut told = Some(told);
    let watch = |account: &ReplayAccount| {
        if account.replayed == 1 {
            told.take().unwrap().send(()).unwrap();
        }
    };
    let (first, end) = bench.replay_watched(|_| {}, async { stop.await.unwrap() }, watch).await;
    let ReplayEnd::Stopped { next: Some(next) } = end else { panic!("{end:?}") };
    assert_eq!((first.read, first.replayed, first.total), (1, 1, 6));
    assert_eq!(next, Position { offset: 1, ..first.last.unwrap() });
    let (second, end) = bench.replay(|options| options.from = Some(next)).await;
    assert!(matches!(end, ReplayEnd::Complete), "{end:?}");
    assert_eq!((second.read, second.replayed), (5, 5));
    assert_eq!(bench.input().len(), 6);
}

#[tokio::test]
async fn a_replay_keeps_below_its_rate_and_a_stop_ends_its_waiting() {
    let bench = Bench::new();
    bench.set_aside_posts(&["a", "b", "c"]).await;
    let started = Instant::now();
    let (account, _) = bench.replay(|options| options.rate_per_second = Some(10.0)).await;
    assert_eq!(account.replayed, 3);
    assert!(
        started.elapsed() >= Duration::from_millis(200),
        "two gaps of 100 ms, whatever the machine: {:?}",
        started.elapsed()
    );
    // Only after an hour may the second go: a replay that did not listen while it waits would not end.
    let stop = tokio::time::sleep(Duration::from_secs(2));
    let slow = bench.replay_watched(|options| options.rate_per_second = Some(1.0 / 3_600.0), stop, |_| {});
    let (account, end) = tokio::time::timeout(PATIENCE * 2, slow).await.unwrap();
    assert!(matches!(end, ReplayEnd::Stopped { .. }), "{end:?}");
    assert!(account.replayed <= 1, "{account:?}");
}

#[tokio::test]
async fn a_record_that_the_broker_refuses_is_counted_and_the_rest_goes_on() {
    let bench = Bench::new();
    for offset in 0..2 {
        bench.set_aside(Record { offset, ..support::post("p") }, DeadLetterReason::NoModality, Stage::Router).await;
    }
    bench.cluster.inject(Request::Produce, &[InjectedError::MessageTooLarge]).unwrap();
    let (account, end) = bench.replay(|_| {}).await;
    assert!(matches!(end, ReplayEnd::Complete), "{end:?}");
    assert_eq!(figures(&account), (2, 1, vec![("refused_by_broker", 1)]));
}

#[tokio::test]
async fn what_did_not_fit_into_its_letter_comes_from_the_input_topic_as_long_as_it_is_there_and_the_same() {
    let mut bench = Bench::new();
    let value = format!(r#"{{"id":"large","texts":[{{"role":"body","text":"{}"}}]}}"#, "x".repeat(20_000));
    bench.send(OutboundRecord::keyed(INPUT, "large", value.clone()).header("trace", "t1")).await;
    let original = bench.input().pop().unwrap();
    bench.seen = 1;
    let there = inbound(&original);
    let mut gone = there.clone();
    gone.source.offset += 1_000;
    let mut elsewhere = there.clone();
    elsewhere.source.topic = "was-deleted".into();
    let mut another = there.clone();
    another.value = Some("y".repeat(20_000).into());
    for record in [another, gone, elsewhere, there] {
        bench.send(set_aside_within(5_000, record, DeadLetterReason::PoisonPill, Stage::AudioEncoder)).await;
    }
    let mut table = Vec::new();
    let listing = list(&bench.topic, &Selection::default(), true, &mut table).unwrap();
    assert_eq!((listing.letters, listing.truncated), (4, 4));
    let mut lines = Vec::new();
    assert_eq!(export(&bench.topic, &Selection::default(), &mut lines).unwrap().truncated, 4);
    let line: serde_json::Value = serde_json::from_slice(lines.split(|byte| *byte == b'\n').nth(3).unwrap()).unwrap();
    let schema = std::fs::read(workspace_root().join("schemas/dead-letter.v1.json")).unwrap();
    Schema::new(&serde_json::from_slice(&schema).unwrap()).unwrap().check(&line).unwrap();
    assert_eq!(line["truncated"]["value"]["bytes"], value.len());

    let (dry, _) = bench.replay(|options| options.dry_run = true).await;
    assert_eq!((dry.replayed, dry.refused.get("truncated")), (1, Some(&3)), "{dry:?}");
    let (account, end) = bench.replay(|_| {}).await;
    assert!(matches!(end, ReplayEnd::Complete), "{end:?}");
    assert_eq!(figures(&account), (4, 1, vec![("truncated", 3)]));
    let replayed = bench.work().await;
    assert_eq!(replayed.len(), 1);
    assert_eq!((&replayed[0].key, &replayed[0].value), (&original.key, &original.value), "all of it");
    assert_eq!(replayed[0].headers[0], original.headers[0]);
}

#[tokio::test]
async fn a_topic_that_is_not_there_fails_with_its_name() {
    let mut bench = Bench::new();
    bench.topic.name = "elsewhere".into();
    let (account, end) = bench.replay(|_| {}).await;
    let ReplayEnd::Failed { error, .. } = end else { panic!("{end:?}") };
    assert!(format!("{error:#}").contains("elsewhere"), "{error:#}");
    assert_eq!(account.read, 0);
}

#[tokio::test]
async fn list_show_and_export_say_what_lies_on_the_topic() {
    let bench = Bench::new();
    bench.set_aside_posts(&["a", "b"]).await;
    bench.send(OutboundRecord::keyed(DEAD, "stray", "not ours")).await;
    let mut table = Vec::new();
    let listing = list(&bench.topic, &Selection::default(), true, &mut table).unwrap();
    assert_eq!((listing.letters, listing.unreadable, listing.by_reason["no_modality"]), (2, 1, 2));
    let table = String::from_utf8(table).unwrap();
    assert!(table.contains("no_modality") && table.contains("  a\n") && table.contains("no dead letter"), "{table}");

    let mut lines = Vec::new();
    let selection = Selection { posts: vec!["b".into()], ..Selection::default() };
    let counts = export(&bench.topic, &selection, &mut lines).unwrap();
    assert_eq!((counts.letters, counts.not_selected, counts.unreadable), (1, 1, 1));
    let values: Vec<serde_json::Value> =
        String::from_utf8(lines).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let line = values.iter().find(|value| value["post_id"] == "b").unwrap();
    let schema = std::fs::read(workspace_root().join("schemas/dead-letter.v1.json")).unwrap();
    Schema::new(&serde_json::from_slice(&schema).unwrap()).unwrap().check(line).unwrap();
    let letter: DeadLetterV1 = serde_json::from_value(line.clone()).unwrap();
    let value = STANDARD.decode(letter.original_value_base64.unwrap()).unwrap();
    assert_eq!(value, br#"{"id":"b","texts":[]}"#);

    let (partition, offset) = (&line["position"]["partition"], &line["position"]["offset"]);
    let position: Position = format!("{partition}:{offset}").parse().unwrap();
    let shown = show(&find(&bench.topic, position).unwrap().unwrap());
    for part in ["posts:1:41", "trace = abc", r#"{"id":"b","texts":[]}"#, "\n    expected value\n"] {
        assert!(shown.contains(part), "{part} is not in:\n{shown}");
    }
    assert_eq!(find(&bench.topic, Position { offset: 99, ..position }).unwrap(), None);
}
