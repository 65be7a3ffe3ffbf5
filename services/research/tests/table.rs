//! `sentiment_table` on a small pack that brings its own vectors.

use std::path::Path;
use std::sync::Mutex;

use jtav_model::DeviceChoice;
use jtav_research::table::{SentimentOptions, SentimentTable, sentiment_table, write_sentiment_table};
use jtav_trainer::{Progress, Silent};
use safetensors::tensor::{Dtype, TensorView};

/// 240 posts: the text tells the label with some noise, the image by a little, the audio not at all.
fn write_pack(folder: &Path) {
    let noise = |at: usize, salt: usize| ((at * 7919 + salt * 104_729) % 1000) as f32 / 1000.0;
    let mut lines = Vec::new();
    let (mut text, mut audio, mut image) = (Vec::new(), Vec::new(), Vec::new());
    for at in 0..240 {
        let positive = (at / 5 * 3 + at) % 7 < 4;
        let split = ["train", "train", "train", "validation", "test"][at % 5];
        let sign = if positive { 1.0 } else { 0.0 };
        text.extend([sign + 0.8 * noise(at, 1), noise(at, 2), 1.0 - sign + 0.8 * noise(at, 3)]);
        audio.extend([noise(at, 4), noise(at, 5)]);
        image.extend([0.3 * sign + noise(at, 6), noise(at, 7)]);
        lines.push(format!(
            r#"{{"id":"p{at}","texts":[{{"role":"body","text":"w"}}],"labels":{{"sentiment":{},"mood":null}},"split":"{split}"}}"#,
            u8::from(positive)
        ));
    }
    std::fs::write(folder.join("posts.jsonl"), lines.join("\n")).unwrap();
    let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let parts = [("text", bytes(&text), 3), ("audio", bytes(&audio), 2), ("image", bytes(&image), 2)];
    let views = parts
        .iter()
        .map(|(name, bytes, width)| (*name, TensorView::new(Dtype::F32, vec![240, *width], bytes).unwrap()));
    std::fs::write(folder.join("features.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
}

fn options(pack: &Path, work: &Path, seeds: &[u64]) -> SentimentOptions {
    SentimentOptions {
        seeds: seeds.to_vec(),
        work_dir: work.to_owned(),
        device: DeviceChoice::Cpu,
        profile: jtav_research::zoo::Profile::Paper,
        ..SentimentOptions::new(pack)
    }
}

fn figures(table: &SentimentTable) -> String {
    serde_json::to_string(&table.rows).unwrap()
}

/// Remembers which trainings were begun.
#[derive(Default)]
struct Begun(Mutex<Vec<String>>);

impl Progress for Begun {
    fn start(&self, task: &str, _total: u64) {
        self.0.lock().unwrap().push(task.to_owned());
    }
    fn advance(&self, _steps: u64) {}
    fn note(&self, _text: &str) {}
    fn finish(&self, _summary: &str) {}
}

#[test]
fn a_table_of_given_vectors_finds_what_is_in_them_and_a_second_run_trains_only_what_is_new() {
    let (pack, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_pack(pack.path());
    let only = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let rows = only(&["given vectors + LR", "early fusion", "text+audio+image.CMF-AP"]);
    let asked = |seeds: &[u64]| SentimentOptions { only: rows.clone(), ..options(pack.path(), work.path(), seeds) };

    let first = Begun::default();
    let table = sentiment_table(&asked(&[1]), &first).unwrap();
    assert_eq!(table.rows.len(), 3 + 4 + 1);
    assert_eq!(table.n_test, 48);
    let auc = |name: &str| {
        let row = table.rows.iter().find(|row| row.row.id() == name).unwrap();
        row.auc.unwrap().mean
    };
    assert!(auc("text.given-vectors-+-LR") > 0.9, "{}", auc("text.given-vectors-+-LR"));
    assert!(auc("audio.given-vectors-+-LR") < 0.75, "{}", auc("audio.given-vectors-+-LR"));
    assert!(auc("text+audio+image.early-fusion") > 0.9);
    assert!(auc("text+audio+image.CMF-AP") > 0.75, "{}", auc("text+audio+image.CMF-AP"));
    let of_three = table.rows.iter().filter(|row| row.subsets.len() == 7).count();
    assert_eq!(of_three, 2);
    assert_eq!(first.0.lock().unwrap().len(), 1, "only CMF-AP is trained, the rest is solved");

    let again = Begun::default();
    assert_eq!(figures(&sentiment_table(&asked(&[1]), &again).unwrap()), figures(&table));
    assert!(again.0.lock().unwrap().is_empty(), "nothing is trained twice");

    let more = Begun::default();
    let two = sentiment_table(&asked(&[1, 2]), &more).unwrap();
    assert_eq!(*more.0.lock().unwrap(), ["text+audio+image CMF-AP seed 2"]);
    assert!(two.rows.last().unwrap().auc_hard.unwrap().std.is_some());

    let out = tempfile::tempdir().unwrap();
    write_sentiment_table(&two, out.path()).unwrap();
    let file = |extension: &str| out.path().join(format!("{}.{extension}", two.name));
    let markdown = std::fs::read_to_string(file("md")).unwrap();
    assert!(markdown.contains("| text+audio+image | CMF-AP | 2 | "), "{markdown}");
    assert!(markdown.contains("0.623 / 0.691 / 0.688"), "{markdown}");
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(file("json")).unwrap()).unwrap();
    assert_eq!(json["rows"][0]["seeds"][0]["n"], 48);
}

#[test]
fn a_row_that_does_not_exist_is_named_with_those_that_do() {
    let (pack, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_pack(pack.path());
    let asked = SentimentOptions { only: vec!["F-DenseNet".to_owned()], ..options(pack.path(), work.path(), &[1]) };
    let message = sentiment_table(&asked, &Silent).unwrap_err().to_string();
    assert!(message.contains("no row `F-DenseNet`") && message.contains("text+image.CMF-AP"), "{message}");
}
