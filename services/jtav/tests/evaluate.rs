//! `jtav evaluate`, as a process: figures against scikit-learn, refusals with their exit code, a checkpoint against the
//! labels that the worker's path gives.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

fn jtav(arguments: &[&str]) -> Output {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    Command::new(env!("CARGO_BIN_EXE_jtav")).args(arguments).current_dir(root).output().unwrap()
}

/// The last line on stdout of a run that went well.
fn last_line(output: &Output) -> Value {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {stderr}", output.status);
    let stdout = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(stdout.lines().last().unwrap()).unwrap()
}

fn evaluated(folder: &Path, predictions: &str) -> Output {
    let file = folder.join("predictions.json");
    std::fs::write(&file, predictions).unwrap();
    jtav(&["evaluate", "--predictions", file.to_str().unwrap(), "--json"])
}

/// The cases hold ties, one class, a threshold on a score, thresholds beyond all scores
/// (`services/trainer/tests/fixtures/make_metrics.py`).
#[test]
fn the_command_gives_scikit_learns_figures_to_a_billionth() {
    let folder = tempfile::tempdir().unwrap();
    let fixture: Value = serde_json::from_str(include_str!("../../trainer/tests/fixtures/metrics.json")).unwrap();
    let cases = fixture["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 18);
    // Each is a process of its own; the first six are random and left to the test of the library.
    for (index, case) in cases.iter().enumerate().skip(6) {
        let labels: Vec<u8> = case["labels"].as_array().unwrap().iter().map(|l| u8::from(*l == json!(true))).collect();
        let file = json!({ "scores": case["scores"], "labels": labels, "threshold": case["threshold"] });
        let output = evaluated(folder.path(), &file.to_string());
        assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 1, "one line and nothing else");
        let found = last_line(&output);
        for (name, expected) in case["expected"].as_object().unwrap() {
            match (expected.as_f64(), found[name].as_f64()) {
                (Some(expected), Some(found)) => {
                    assert!((found - expected).abs() < 1e-9, "case {index}, {name}: {found} against {expected}");
                }
                (expected, found) => assert_eq!(expected, found, "case {index}, {name}"),
            }
            let interval = &found["intervals"][name];
            if let (Some(low), Some(high)) = (interval["low"].as_f64(), interval["high"].as_f64()) {
                assert!(low <= high && (0.0..=1.0).contains(&low) && high <= 1.0, "case {index}, {name}: {interval}");
            }
        }
    }
}

#[test]
fn predictions_that_cannot_be_scored_end_with_code_65_and_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    for (content, expected) in [
        (r#"{"scores": [0.5, 0.1], "labels": [1]}"#, "2 scores but 1 labels"),
        (r#"{"scores": [0.5], "labels": [2]}"#, "labels[0] is 2, expected 0"),
        (r#"{"scores": [1.5], "labels": [1]}"#, "Brier score and calibration error are for probabilities"),
        (r#"{"scores": [NaN], "labels": [1]}"#, "NaN and Infinity are no JSON"),
        (r#"{"scores": [], "labels": []}"#, "nothing to score"),
        ("no json", "expected {\"scores\""),
    ] {
        let output = evaluated(folder.path(), content);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(65), "{content}: {stderr}");
        assert!(stderr.contains(expected) && stderr.contains("predictions.json"), "{content}: {stderr}");
        assert!(output.stdout.is_empty());
    }
    let missing = jtav(&["evaluate", "--predictions", "no-such-file.json"]);
    assert_eq!(missing.status.code(), Some(65));
    let no_pack = jtav(&["evaluate", "--data", "no-such-pack"]);
    assert_eq!(no_pack.status.code(), Some(65));
    assert!(String::from_utf8_lossy(&no_pack.stderr).contains("no posts.jsonl in"));
    let texts = folder.path().join("texts.jsonl");
    std::fs::write(&texts, "{\"text\": \"fine\", \"label\": \"good\"}\n").unwrap();
    let refused = jtav(&["evaluate", "--texts", texts.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(65));
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert!(stderr.contains("texts.jsonl:1: label `good`: use negative, neutral or positive"), "{stderr}");
    let no_split = jtav(&["evaluate", "--data", "services/feed-simulator/sample-feed", "--split", "validation"]);
    assert_eq!(no_split.status.code(), Some(65));
    assert!(String::from_utf8_lossy(&no_split.stderr).contains("there are test (64)"));
}

#[test]
fn without_json_there_is_a_table_and_the_diagram_is_a_png() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.json");
    std::fs::write(&file, r#"{"scores": [0.9, 0.2, 0.6, 0.4], "labels": [1, 0, 1, 1], "threshold": 0.5}"#).unwrap();
    let out = folder.path().join("out");
    let arguments = ["evaluate", "--predictions", file.to_str().unwrap(), "--out", out.to_str().unwrap()];
    let output = jtav(&arguments);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for part in ["4 predictions", "hard AUC", "what the paper calls AUC", "reliability.png"] {
        assert!(stdout.contains(part), "{part} is missing in {stdout}");
    }
    assert!(std::fs::read(out.join("reliability.png")).unwrap().starts_with(b"\x89PNG"));
    let written: Value = serde_json::from_slice(&std::fs::read(out.join("evaluation.json")).unwrap()).unwrap();
    assert_eq!(written, last_line(&jtav(&["evaluate", "--predictions", file.to_str().unwrap(), "--json"])));
}

#[test]
fn the_deletion_test_adds_a_key_and_a_table_and_leaves_the_other_figures_alone() {
    let folder = tempfile::tempdir().unwrap();
    let words = [("what a lovely warm day at the sea", 1), ("this is the worst and dullest film ever", 0)];
    let rows = words.iter().enumerate().map(|(at, (text, label))| format!("p{at},test,{label},{text}\n"));
    std::fs::write(folder.path().join("labels.csv"), format!("id,split,sentiment,text\n{}", rows.collect::<String>()))
        .unwrap();
    let cache = folder.path().join("cache");
    let with = |flags: &[&str]| {
        let fixed = ["evaluate", "--data", folder.path().to_str().unwrap(), "--device", "cpu", "--cache"];
        let fixed = fixed.into_iter().chain([cache.to_str().unwrap()]);
        jtav(&fixed.chain(flags.iter().copied()).collect::<Vec<_>>())
    };
    let plain = last_line(&with(&["--json"]));
    assert_eq!(plain.get("deletion"), None);
    let mut tested = last_line(&with(&["--json", "--deletion"]));
    let deletion = tested.as_object_mut().unwrap().remove("deletion").unwrap();
    assert_eq!(tested, plain);
    assert_eq!((&deletion["share"], &deletion["text"]["n"]), (&json!(0.2), &json!(2)));
    assert!(deletion["text"]["random"]["ratio"].is_number() && deletion["audio"].is_null(), "{deletion}");

    let table = with(&["--deletion"]);
    let table = String::from_utf8_lossy(&table.stdout);
    assert!(table.contains("Deletion test: mean change") && table.contains("the most attended 20 %"), "{table}");
}

/// The bundled checkpoint on the open half of the common-sense set; `jtav label` is an independent way to the same labels.
#[test]
fn labelled_texts_are_scored_with_the_labels_and_the_certainty_that_the_worker_gives() {
    let folder = tempfile::tempdir().unwrap();
    let open = include_str!("../../../tests/common-sense/open.jsonl");
    let truths: Vec<Value> = open.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // Each kind, English or not.
    let chosen: Vec<&Value> = truths.iter().step_by(5).collect();
    let lines = |of: &dyn Fn(&Value) -> Value| chosen.iter().map(|text| format!("{}\n", of(text))).collect::<String>();
    let (texts, posts) = (folder.path().join("texts.jsonl"), folder.path().join("posts.jsonl"));
    std::fs::write(&texts, lines(&|text| text.clone())).unwrap();
    let post = |text: &Value| json!({ "id": text["id"], "texts": [{ "role": "body", "text": text["text"] }] });
    std::fs::write(&posts, lines(&post)).unwrap();

    let arguments = ["evaluate", "--texts", texts.to_str().unwrap(), "--device", "cpu"];
    let found = last_line(&jtav(&[arguments.as_slice(), &["--json"]].concat()));
    let all = &found["three_way"]["overall"];
    assert_eq!((&all["n"], &found["n_unread"]), (&json!(chosen.len()), &json!(0)));
    for key in ["auc", "auc_hard", "f1_weighted", "precision_weighted", "accuracy", "majority", "brier", "ece", "n"] {
        assert!(found[key].is_number(), "{key}: {found}");
    }
    let languages = &found["three_way"]["languages"];
    assert!(languages["en"]["certain"]["coverage"]["value"].as_f64() > Some(0.2), "{languages}");
    assert!(found["auc_of"]["en"]["value"].as_f64() > Some(0.8), "{found}");

    let labels = jtav(&["label", posts.to_str().unwrap(), "--set", "model.device=cpu"]);
    assert!(labels.status.success(), "{}", String::from_utf8_lossy(&labels.stderr));
    let labels = String::from_utf8_lossy(&labels.stdout);
    let records: Vec<Value> = labels.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), chosen.len());
    let count = |is: &dyn Fn(&Value, &Value) -> bool| {
        records.iter().zip(&chosen).filter(|(record, truth)| is(record, truth)).count() as f64
    };
    let share = |name: &str| all[name]["value"].as_f64().unwrap() * chosen.len() as f64;
    let right = count(&|record, truth| record["label"] == truth["label"]);
    let certain = count(&|record, _| record["certain"] == json!(true));
    // Which texts share a batch moves a probability in the third digit: one that lies at a border may fall to either side.
    const AT_A_BORDER: f64 = 2.0;
    assert!((share("accuracy") - right).abs() <= AT_A_BORDER, "{right} of {}: {all}", chosen.len());
    let coverage = all["certain"]["coverage"]["value"].as_f64().unwrap() * chosen.len() as f64;
    assert!((coverage - certain).abs() <= AT_A_BORDER, "{certain}: {all}");

    let table = jtav(&arguments);
    let table = String::from_utf8_lossy(&table.stdout);
    for part in ["texts.jsonl: ", "three labels", "negation ", "Positive against negative, neutral texts left out"] {
        assert!(table.contains(part), "{part} is missing in {table}");
    }
}

/// The bundled checkpoint on the bundled feed. `jtav label` goes through router, actors and device threads, so its
/// probabilities are an independent way to the same figures.
#[test]
fn a_checkpoint_is_scored_with_the_probabilities_that_the_worker_gives() {
    let folder = tempfile::tempdir().unwrap();
    let (out, cache) = (folder.path().join("out"), folder.path().join("cache"));
    let feed = "services/feed-simulator/sample-feed";
    let output = jtav(&[
        "evaluate",
        "--data",
        feed,
        "--json",
        "--device",
        "cpu",
        "--out",
        out.to_str().unwrap(),
        "--cache",
        cache.to_str().unwrap(),
    ]);
    let found = last_line(&output);
    let subsets = found["subsets"].as_object().unwrap();
    let names: Vec<&str> = subsets.keys().map(String::as_str).collect();
    assert_eq!(names, ["text", "audio", "image", "text+audio", "text+image", "audio+image", "text+audio+image"]);
    // Counts of dataset.json: 11 of 64 posts without text, 14 without audio, 15 without image.
    for (name, present) in [("text", 53), ("audio", 50), ("image", 49), ("text+audio+image", 64)] {
        assert_eq!((&subsets[name]["n"], &subsets[name]["n_present"]), (&json!(64), &json!(present)), "{name}");
    }
    for (name, figures) in subsets {
        let auc = figures["auc"].as_f64().unwrap();
        let interval = &figures["intervals"]["auc"];
        assert!(interval["low"].as_f64() <= Some(auc) && Some(auc) <= interval["high"].as_f64(), "{name}: {figures}");
        assert!((figures["majority"].as_f64().unwrap() - 47.0 / 64.0).abs() < 1e-9);
        assert!(figures["ece_quantile"].as_f64().is_some_and(|error| (0.0..0.5).contains(&error)), "{name}: {figures}");
    }
    let three_way = &found["three_way"];
    assert_eq!(three_way["overall"]["n"], json!(64));
    assert!(three_way["kinds"]["text+audio+image"]["n"].is_number(), "{three_way}");
    for key in ["auc", "auc_hard", "f1_weighted", "accuracy", "ece", "auc_present", "n_present"] {
        assert_eq!(found[key], subsets["text+audio+image"][key], "{key} at the top is that of the full subset");
    }
    // No post of this pack is for training, so there is no base rate to be had from it.
    assert_eq!(found["base_rate"], json!(0.5));
    assert!(String::from_utf8_lossy(&output.stderr).contains("the pack has no training split"));

    let labels = jtav(&["label", &format!("{feed}/posts.jsonl"), "--set", "model.device=cpu"]);
    assert!(labels.status.success(), "{}", String::from_utf8_lossy(&labels.stderr));
    let predictions = std::fs::read_to_string(out.join("predictions.jsonl")).unwrap();
    let labels = String::from_utf8_lossy(&labels.stdout);
    assert_eq!((predictions.lines().count(), labels.lines().count()), (64, 64));
    for (prediction, label) in predictions.lines().zip(labels.lines()) {
        let [prediction, label]: [Value; 2] = [prediction, label].map(|line| serde_json::from_str(line).unwrap());
        assert_eq!(prediction["id"], label["post_id"]);
        let ours = prediction["subsets"]["text+audio+image"]["probability"].as_f64().unwrap();
        let theirs = label["probability"].as_f64().unwrap();
        // The trainer keeps spectrograms as f16.
        assert!((ours - theirs).abs() < 5e-3, "{}: {ours} against {theirs}", prediction["id"]);
    }
}
