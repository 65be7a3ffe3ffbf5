//! `jtav table retrieval`, as a process: a small pack with the layout of mosi-tri, and one that says nothing.

use std::path::Path;
use std::process::{Command, Output};

use safetensors::serialize;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;

const VIDEOS: usize = 9;
const UTTERANCES: usize = 8;

/// Three folds of three videos; `value` gives column `c` of row `r`.
fn write_pack(folder: &Path, value: fn(usize, usize) -> f32) {
    let rows = VIDEOS * UTTERANCES;
    let bytes = |width: usize| -> Vec<u8> {
        (0..rows).flat_map(|row| (0..width).flat_map(move |column| value(row, column).to_le_bytes())).collect()
    };
    let (text, audio, image) = (bytes(6), bytes(4), bytes(5));
    let view = |data, width| TensorView::new(Dtype::F32, vec![rows, width], data).unwrap();
    let tensors = [("text", view(&text, 6)), ("audio", view(&audio, 4)), ("image", view(&image, 5))];
    std::fs::write(folder.join("features.safetensors"), serialize(tensors, None).unwrap()).unwrap();
    let line = |row: usize| {
        let video = row / UTTERANCES;
        format!(r#"{{"id":"u{row}","features":{row},"groups":{{"speaker":"v{video}"}},"split":"test"}}"#)
    };
    std::fs::write(folder.join("posts.jsonl"), (0..rows).map(line).collect::<Vec<_>>().join("\n")).unwrap();
    let folds = r#"{"folds":[["v0","v1","v2"],["v3","v4","v5"],["v6","v7","v8"]]}"#;
    std::fs::write(folder.join("clean-protocol.json"), folds).unwrap();
}

fn table(folder: &Path, more: &[&str]) -> Output {
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let data = folder.to_string_lossy().into_owned();
    let mut command = Command::new(env!("CARGO_BIN_EXE_jtav"));
    command.args(["table", "retrieval", "--quick", "--attention", "8", "--device", "cpu", "--data", &data]);
    command.args(["--work", &path("work"), "--out", &path("out")]).args(more).output().unwrap()
}

#[test]
fn the_command_writes_both_files_and_a_second_run_takes_every_cell_from_the_work_folder() {
    let folder = tempfile::tempdir().unwrap();
    write_pack(folder.path(), |row, column| {
        ((row * 37 + column * 11) as f32 * 0.7).sin() + 0.2 * (row / UTTERANCES) as f32
    });
    let first = table(folder.path(), &["--seeds", "2", "--json"]);
    let stderr = String::from_utf8_lossy(&first.stderr);
    assert!(first.status.success(), "{stderr}");
    let found: Value = serde_json::from_slice(&first.stdout).unwrap();
    let sections = found["sections"].as_array().unwrap();
    assert_eq!(sections.len(), 2);
    assert_eq!((sections[0]["queries"].as_u64(), &sections[0]["candidates"]), (Some(72), &serde_json::json!([24, 24])));
    assert_eq!(sections[0]["chance"]["mean_rank"], 12.5);
    let names: Vec<&str> =
        sections[0]["rows"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["I+L", "I+S", "JTAV", "JTAV two-tower", "JTAV two-tower + re-ranking"]);
    let markdown = std::fs::read_to_string(folder.path().join("out/retrieval.md")).unwrap();
    assert!(markdown.contains("I+C+L | not in this pack") && markdown.contains("the mean rank in the authors' code"));
    let stored = std::fs::read(folder.path().join("out/retrieval.json")).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&stored).unwrap(), found);

    let second = table(folder.path(), &["--seeds", "2", "--json"]);
    assert_eq!(second.stdout, first.stdout);
    let stderr = String::from_utf8_lossy(&second.stderr);
    assert!(stderr.contains("40 cells, 40 of them from"), "{stderr}");
}

#[test]
fn a_pack_that_says_nothing_is_all_ties_and_fails_the_run_after_the_table_is_written() {
    let folder = tempfile::tempdir().unwrap();
    write_pack(folder.path(), |_, _| 1.0);
    let output = table(folder.path(), &["--protocol", "disjoint"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("disjoint I+L: 100.0 % tied"), "{stderr}");
    let markdown = std::fs::read_to_string(folder.path().join("out/retrieval.md")).unwrap();
    assert!(markdown.contains("| I+L | void |"), "{markdown}");
}

#[test]
fn a_pack_that_is_not_there_ends_with_code_65() {
    let folder = tempfile::tempdir().unwrap();
    let output = table(&folder.path().join("nothing"), &[]);
    assert_eq!(output.status.code(), Some(65), "{}", String::from_utf8_lossy(&output.stderr));
}
