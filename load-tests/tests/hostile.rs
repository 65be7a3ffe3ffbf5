//! A short slice of the load test with hostile posts, on a real broker and a real Redis: what becomes of each post, not how fast.

use std::process::Command;

use jtav_testkit::{jtav_binary, require_real};

#[test]
fn among_hostile_posts_every_honest_one_is_labelled_and_every_hostile_one_comes_to_its_end() {
    if !require_real("among_hostile_posts_every_honest_one_is_labelled_and_every_hostile_one_comes_to_its_end") {
        return;
    }
    let results = tempfile::tempdir().unwrap();
    // 38 hostile posts, every kind at least once, among 720 honest ones.
    let output = Command::new(env!("CARGO_BIN_EXE_jtav-load-tests"))
        .args(["hostile", "--stub", "--outcomes-only", "--rate", "24", "--block-seconds", "30", "--pairs", "1"])
        .arg("--worker")
        .arg(jtav_binary().unwrap())
        .arg("--out")
        .arg(results.path())
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    let log = String::from_utf8_lossy(&output.stderr);
    let json: serde_json::Value = std::fs::read(results.path().join("hostile.json"))
        .map(|json| serde_json::from_slice(&json).unwrap())
        .unwrap_or_else(|error| panic!("no result ({error}):\n{log}"));
    let unended = &json["verdict"]["unended_keys"];
    assert!(output.status.success(), "{}\n{report}\nwithout an end: {unended}\n{log}", output.status);
    assert_eq!(json["kinds"].as_object().unwrap().len(), 32, "{report}");
}
