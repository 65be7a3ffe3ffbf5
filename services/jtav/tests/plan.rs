//! `jtav plan`, as a process: what a stranger asks, and what he asks by mistake.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A feed that the defaults are asked about.
const FEED: [&str; 6] = ["--posts-per-second", "2000", "--image-share", "0.3", "--audio-share", "0.05"];

fn plan(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jtav"));
    command.arg("plan").args(arguments).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    // Whoever plans has neither.
    command.env("JTAV__KAFKA__BROKERS", "127.0.0.1:1").env("JTAV__STORE__URL", "redis://127.0.0.1:1");
    command.output().unwrap()
}

fn json(arguments: &[&str]) -> Value {
    let output = plan(&[&FEED[..], arguments, &["--json"]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).unwrap()
}

fn refused(arguments: &[&str], code: i32) -> String {
    let output = plan(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    said
}

#[test]
fn a_plan_is_made_in_a_moment_and_without_broker_store_or_networks() {
    let started = Instant::now();
    let output = plan(&FEED);
    // Most of it is the dynamic linker's, which loads libtorch; the machine may be busy.
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    for word in ["workers", "partitions", "Kafka", "embeddings", "Redis", "downloads/s", "what is full first"] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn the_json_has_every_figure_and_the_next_bottleneck_in_front() {
    let plan = json(&[]);
    let workers = &plan["needs"]["workers"];
    assert_eq!(workers["cores"].as_u64().unwrap(), 2 * workers["count"].as_u64().unwrap());
    assert!(workers["memory_bytes_each"].as_u64().unwrap() > 500_000_000, "{workers}");
    assert_eq!(plan["needs"]["kafka"]["topics"].as_array().unwrap().len(), 3);
    let bottlenecks = plan["bottlenecks"].as_array().unwrap();
    let full: Vec<f64> = bottlenecks.iter().map(|limit| limit["full_at_posts_per_second"].as_f64().unwrap()).collect();
    assert!(full.len() == 5 && full.is_sorted(), "{bottlenecks:?}");
    assert!(bottlenecks.iter().all(|limit| limit["advice"].is_string()));
}

#[test]
fn what_is_asked_for_changes_the_plan() {
    let plan = json(&[]);
    let cores = |plan: &Value| plan["needs"]["workers"]["cores"].as_u64().unwrap();
    let memory = |plan: &Value| plan["needs"]["redis"]["memory_gb"].as_f64().unwrap();
    assert!(cores(&json(&["--utilisation", "0.35"])) >= 2 * cores(&plan) - 2);
    assert_eq!(cores(&json(&["--cores-per-worker", "8"])) % 8, 0);
    assert!((memory(&plan) / memory(&json(&["--label-ttl-days", "1"])) - 7.0).abs() < 1e-9);
    assert!(cores(&json(&["--known-media-share", "0.9"])) < cores(&plan));
    let with_gpu = json(&["--gpu"]);
    assert!(with_gpu["needs"]["workers"]["gpus"].as_u64().unwrap() >= 1);
    assert!(with_gpu["remarks"][0].as_str().unwrap().contains("GPU"), "{with_gpu}");
}

#[test]
fn a_feed_that_cannot_be_is_refused_with_what_was_expected() {
    for (flag, value) in [
        ("--posts-per-second", "0"),
        ("--posts-per-second", "-5"),
        ("--posts-per-second", "NaN"),
        ("--posts-per-second", "many"),
        ("--image-share", "1.5"),
        ("--image-share", "-0.1"),
        ("--audio-share", "NaN"),
        ("--text-share", "2"),
        ("--utilisation", "0"),
        ("--label-ttl-days", "-1"),
        ("--replication", "0"),
        ("--cores-per-worker", "0"),
        ("--redis-memory-gb", "inf"),
    ] {
        let mut arguments: Vec<&str> = FEED.to_vec();
        match arguments.iter().position(|argument| *argument == flag) {
            Some(at) => arguments[at + 1] = value,
            None => arguments.extend([flag, value]),
        }
        let said = refused(&arguments, 2);
        assert!(said.contains(flag) && said.contains(value), "{flag} {value}: {said}");
    }
    let nothing = ["--posts-per-second", "1", "--text-share", "0", "--image-share", "0", "--audio-share", "0"];
    assert!(refused(&nothing, 2).contains("nothing to label"));
    refused(&[&FEED[..], &["--gpu", "--cores-per-worker", "4"]].concat(), 2);
}

#[test]
fn a_damaged_file_of_costs_is_refused_with_its_name_and_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let with = |text: &str| {
        let path = folder.path().join("costs.json");
        std::fs::write(&path, text).unwrap();
        refused(&[&FEED[..], &["--costs", path.to_str().unwrap()]].concat(), 65)
    };
    let good = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/costs.json")).unwrap();
    for (text, wrong) in [
        (String::new(), "EOF"),
        (good[..good.len() / 2].to_owned(), "EOF"),
        (good.replace("\"efficiency\"", "\"eficiency\""), "eficiency"),
        (good.replace("\"format\": 1", "\"format\": 9"), "format 9"),
    ] {
        let said = with(&text);
        assert!(said.contains("costs.json") && said.contains(wrong), "{wrong}: {said}");
    }
    let absent = refused(&[&FEED[..], &["--costs", "no-such-file.json"]].concat(), 65);
    assert!(absent.contains("no-such-file.json"), "{absent}");
}
