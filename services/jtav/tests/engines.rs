//! What computes the networks, as a process: labels are the same whatever it is, and what is written for others is there.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn jtav(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_jtav")).args(arguments).current_dir(ROOT).output().unwrap()
}

/// The lines of standard output of a command that succeeded.
fn lines(arguments: &[&str]) -> Vec<Value> {
    let output = jtav(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Where networks may compute in bf16, each engine rounds on its own.
fn multiplies_bf16() -> bool {
    std::fs::read_to_string("/proc/cpuinfo").is_ok_and(|about| about.contains("avx512_bf16"))
}

#[test]
fn the_sample_feed_has_the_same_labels_on_every_engine() {
    let labels = |engine: &str| {
        let (engine, feed) = (format!("model.cpu_engine={engine}"), "services/feed-simulator/sample-feed/posts.jsonl");
        lines(&["label", feed, "--set", "model.device=cpu", "--set", &engine])
    };
    let (expected, found) = (labels("libtorch"), labels("openvino"));
    assert_eq!((expected.len(), found.len()), (64, 64));
    let far = if multiplies_bf16() { 2e-2 } else { 1e-3 };
    for (expected, found) in expected.iter().zip(&found) {
        for key in ["post_id", "label", "certain"] {
            assert_eq!(expected[key], found[key], "{}", expected["post_id"]);
        }
        for class in ["negative", "neutral", "positive"] {
            let [expected, found] = [expected, found].map(|label| label["probabilities"][class].as_f64().unwrap());
            assert!((expected - found).abs() < far, "{class}: {expected} {found}");
        }
    }
}

#[test]
fn in_f32_alone_no_network_of_the_sample_feed_is_rounded() {
    let labels = |engine: &str| {
        let (engine, feed) = (format!("model.cpu_engine={engine}"), "services/feed-simulator/sample-feed/posts.jsonl");
        lines(&["label", feed, "--set", "model.device=cpu", "--set", &engine, "--set", "model.cpu_precision=f32"])
    };
    for (expected, found) in labels("libtorch").iter().zip(&labels("auto")) {
        assert_eq!((&expected["post_id"], &expected["label"]), (&found["post_id"], &found["label"]));
        for class in ["negative", "neutral", "positive"] {
            let [expected, found] = [expected, found].map(|label| label["probabilities"][class].as_f64().unwrap());
            assert!((expected - found).abs() < 1e-4, "{class}: {expected} {found}");
        }
    }
}

#[test]
fn networks_are_written_as_files_and_one_that_the_checkpoint_lacks_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let light = ["model", "export", "--model", "models/jtav-light", "--out", out];
    let told = &lines(&[&light[..], &["--json"]].concat())[0];
    let files: Vec<&str> =
        told["files"].as_array().unwrap().iter().map(|file| file["file"].as_str().unwrap()).collect();
    assert_eq!(files, ["picture.onnx", "sound.onnx"]);
    for file in told["files"].as_array().unwrap() {
        let bytes = std::fs::read(Path::new(out).join(file["file"].as_str().unwrap())).unwrap();
        assert_eq!(file["bytes"], bytes.len());
        // IR version 9, the first field of the format.
        assert_eq!(bytes[..2], [8, 9]);
    }
    let refused = jtav(&[&light[..], &["--network", "trunk"]].concat());
    assert_eq!(refused.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("`light` has no sentence encoder"));
}

#[test]
fn a_bench_of_the_networks_has_a_figure_for_each_engine_and_batch() {
    let costs = &lines(&["bench", "networks", "--device", "cpu", "--batch", "1,2", "--json"])[0];
    for network in ["text", "text_trunk", "audio", "audio_dcrnn", "image"] {
        let has = |engine: &str| {
            ["1", "2"].iter().all(|batch| costs[network][engine][batch].as_f64().is_some_and(|ms| ms > 0.0))
        };
        assert!(has("libtorch") && (has("openvino") || has("openvino_bf16")), "{network}: {costs}");
    }
    let bigru = if multiplies_bf16() { "own_bf16" } else { "own" };
    for (network, own) in [("text_attbigru", bigru), ("fusion", "own")] {
        assert!(costs[network][own]["1"].is_number() && costs[network]["libtorch"]["2"].is_number(), "{costs}");
    }
}

#[test]
fn a_bench_on_a_gpu_that_is_not_there_says_so() {
    let refused = jtav(&["bench", "networks", "--device", "cuda:4096", "--batch", "256"]);
    assert_eq!(refused.status.code(), Some(78));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("cuda:4096 was asked for"), "{said}");
}
