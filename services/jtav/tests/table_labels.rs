//! `jtav table labels`, as a process: what it refuses, before anything is read or trained.

use std::process::{Command, Output};

fn jtav(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_jtav"));
    command.args(["table", "labels"]).args(arguments).current_dir(folder.path()).env_remove("JTAV_DATA_DIR");
    command.output().unwrap()
}

#[test]
fn data_that_are_not_there_are_named() {
    let output = jtav(&["--rated", "nowhere.jsonl"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && error.contains("nowhere.jsonl"), "{error}");
    let output = jtav(&["--make-other", "out"]);
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("rated-texts.jsonl"));
}

#[test]
fn other_posts_are_made_alone() {
    let output = jtav(&["--make-other", "out", "--sealed"]);
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
}
