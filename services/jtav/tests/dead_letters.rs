//! `jtav dead-letters`, as a process, against an in-process cluster of the test.

use std::process::{Command, Output};
use std::time::Duration;

use jtav_kafka::{InProcessCluster, OutboundRecord, Producer, ProducerSettings, Record, read_all};
use jtav_schemas::DeadLetterHeaders as Names;
use serde_json::Value;

fn jtav(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jtav"));
    for (variable, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("JTAV__")) {
        command.env_remove(variable);
    }
    command.arg("dead-letters").args(arguments).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn last_line(output: &Output) -> Value {
    let stdout = String::from_utf8(output.stdout.clone()).unwrap();
    serde_json::from_str(stdout.lines().last().unwrap_or_else(|| panic!("{}", stderr(output)))).unwrap()
}

fn dead_letter(id: &str, offset: usize, replays: u32) -> OutboundRecord {
    OutboundRecord::keyed("dead-letters", id.to_owned(), format!(r#"{{"id":"{id}"}}"#))
        .header("trace", "t1")
        .header(Names::REASON, "poison_pill")
        .header(Names::STAGE, "audio_encoder")
        .header(Names::MESSAGE, "decode: no frame")
        .header(Names::SOURCE_TOPIC, "posts")
        .header(Names::SOURCE_PARTITION, "0")
        .header(Names::SOURCE_OFFSET, offset.to_string())
        .header(Names::ATTEMPTS, "2")
        .header(Names::REPLAY_COUNT, replays.to_string())
        .header(Names::FAILED_AT_MS, "1700000000000")
        .header(Names::PIPELINE_VERSION, "0.1.0")
}

struct Bench {
    settings: [String; 4],
    cluster: InProcessCluster,
}

impl Bench {
    /// Two fresh letters and one that was replayed three times.
    fn new() -> Self {
        let cluster = InProcessCluster::create(1).unwrap();
        ["posts", "dead-letters"].iter().for_each(|topic| cluster.create_topic(topic, 1).unwrap());
        let producer = Producer::new(&cluster.client("test"), &ProducerSettings::default()).unwrap();
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            for (offset, (id, replays)) in [("p1", 0), ("p2", 3), ("p3", 0)].into_iter().enumerate() {
                producer.send(dead_letter(id, offset, replays)).await.unwrap();
            }
        });
        let brokers = format!("kafka.brokers={}", cluster.bootstrap());
        let settings = ["--set".to_owned(), brokers, "--set".to_owned(), "store.kind=embedded".to_owned()];
        Self { settings, cluster }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let settings = self.settings.iter().map(String::as_str);
        jtav(&arguments.iter().copied().chain(settings).collect::<Vec<_>>())
    }

    fn input(&self) -> Vec<Record> {
        read_all(&self.cluster.client("look"), "posts", Duration::from_secs(20)).unwrap()
    }
}

#[test]
fn a_wrong_command_line_is_refused_with_what_was_expected() {
    let cases: [(&[&str], &str); 8] = [
        (&["list", "--reason", "bad_mood"], "poison_pill"),
        (&["list", "--stage", "kitchen"], "audio_encoder"),
        (&["list", "--since", "yesterday"], "RFC 3339"),
        (&["replay", "--rate", "0"], "more than 0"),
        (&["replay", "--rate", "NaN"], "more than 0"),
        (&["replay", "--from", "17"], "PARTITION:OFFSET"),
        (&["show", "0:-1"], "PARTITION:OFFSET"),
        (&["export"], "FILE.jsonl"),
    ];
    for (arguments, expected) in cases {
        let output = jtav(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(expected), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn what_was_set_aside_is_listed_shown_and_exported() {
    let bench = Bench::new();
    let listed = bench.run(&["list"]);
    let table = String::from_utf8_lossy(&listed.stdout);
    assert!(listed.status.success() && table.contains("0:2") && table.contains("3 dead letters"), "{table}");
    let counts = last_line(&bench.run(&["list", "--json", "--post", "p2"]));
    assert_eq!((&counts["letters"], &counts["not_selected"]), (&1.into(), &2.into()));

    let shown = bench.run(&["show", "0:1"]);
    let shown = String::from_utf8_lossy(&shown.stdout);
    assert!(shown.contains("trace = t1") && shown.contains(r#"{"id":"p2"}"#), "{shown}");
    assert_eq!(bench.run(&["show", "0:9"]).status.code(), Some(65));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("letters.jsonl");
    let exported = bench.run(&["export", &file.to_string_lossy(), "--stage", "audio_encoder", "--json"]);
    assert_eq!(last_line(&exported)["letters"], 3, "{}", stderr(&exported));
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 3);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing unfinished is left");
}

#[test]
fn a_replay_gives_an_account_of_every_letter() {
    let bench = Bench::new();
    let dry = bench.run(&["replay", "--dry-run", "--json"]);
    assert!(dry.status.success(), "{}", stderr(&dry));
    let account = last_line(&dry);
    assert_eq!((&account["replayed"], &account["refused"]["replay_limit"]), (&2.into(), &1.into()), "{account}");
    assert_eq!((&account["end"], &account["dry_run"]), (&"complete".into(), &true.into()), "{account}");
    assert!(bench.input().is_empty());

    let replayed = bench.run(&["replay", "--reason", "poison_pill", "--rate", "1000"]);
    let text = String::from_utf8_lossy(&replayed.stdout);
    assert!(replayed.status.success() && text.contains("2 replayed and acknowledged"), "{text}");
    let input = bench.input();
    assert_eq!(input.iter().map(|record| record.key.as_deref().unwrap()).collect::<Vec<_>>(), [b"p1", b"p3"]);
    let names: Vec<&str> = input[0].headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["trace", Names::REPLAY_COUNT, Names::ORIGIN]);
}
