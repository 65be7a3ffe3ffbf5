//! What a model card says.

use super::*;
use crate::bootstrap::{Interval, Intervals};
use crate::evaluation::MoodFigures;
use crate::metrics::Metrics;
use crate::report::{SplitSize, samples};

fn evaluation(split: Split, auc: Option<f64>) -> Evaluation {
    let metrics = Metrics {
        auc,
        auc_hard: auc,
        f1_weighted: 0.81,
        precision_weighted: 0.82,
        accuracy: 0.83,
        majority: 0.7,
        brier: 0.12,
        ece: 0.034,
        n: 325,
    };
    let figures = SubsetFigures {
        metrics,
        intervals: Intervals {
            auc: auc.map(|auc| Interval { low: auc - 0.1, high: auc + 0.05 }),
            ..Intervals::default()
        },
        auc_present: auc,
        n_present: 300,
        scored: Vec::new(),
    };
    let subsets = ["text", "text+audio+image", "image"].map(|name| (name.to_owned(), figures.clone()));
    let moods = Some(MoodFigures { accuracy: 0.4, majority: 0.35, n: 166 });
    Evaluation { split, base_rate: 0.7, subsets: subsets.to_vec(), moods }
}

fn card(test: Option<Evaluation>, name: &str, quick: bool) -> String {
    let pack = DataPack {
        name: name.to_owned(),
        version: Some("1.0.0".to_owned()),
        root: "somewhere".into(),
        labels_file: "posts.jsonl",
        posts_sha256: "abc123".to_owned(),
        extra_texts_sha256: None,
        posts: Vec::new(),
        extra_texts: Vec::new(),
    };
    model_card(&report(name, test, quick), &pack)
}

fn report(name: &str, test: Option<Evaluation>, quick: bool) -> TrainReport {
    TrainReport {
        model_version: "jtav-modern-0123456789ab".to_owned(),
        checkpoint: "models/x".into(),
        weights_bytes: 24_300_000,
        data: name.to_owned(),
        quick,
        seed: 20,
        command: "jtav train --data polarity-posts".to_owned(),
        notes: vec!["Something to know.".to_owned()],
        seconds: 100.0,
        posts: vec![SplitSize { split: Split::Train, posts: 2600, positive: 1833 }],
        unreadable: 0,
        stages: vec![samples::record(Stage::Text), samples::record(Stage::Image)],
        validation: evaluation(Split::Validation, Some(0.9)),
        test,
    }
}

#[test]
fn a_card_states_figures_against_the_majority_licences_and_what_is_forbidden() {
    let card = card(Some(evaluation(Split::Test, Some(0.88))), "polarity-posts", false);
    for part in [
        "# jtav-modern-0123456789ab",
        "CC BY-NC-SA 4.0",
        "to decide anything about people",
        "**from scratch**",
        "no figure here is evidence of cross-modal interaction",
        "### Validation (325 posts)",
        "### Test (325 posts)",
        "| text | 0.900 [0.800, 0.950] | 0.900 (300) |",
        "| *majority* | 0.500 | 0.500 (325) | 0.500 | 0.700 |",
        "| train | 2600 | 1833 |",
        "jtav train --data polarity-posts",
        "1,234,567",
        "accuracy 0.400, majority 0.350",
        "Something to know.",
    ] {
        assert!(card.contains(part), "the card lacks {part:?}:\n{card}");
    }
    let rows: Vec<usize> = ["| text |", "| image |", "| text+audio+image |"].map(|row| card.find(row).unwrap()).into();
    assert!(rows.is_sorted(), "single modalities come first");
}

#[test]
fn an_unscored_test_split_a_trial_run_and_another_pack_are_said_plainly() {
    let card = card(None, "own-posts", true);
    assert!(card.contains("The test split was not scored."));
    assert!(card.contains("A trial run"));
    assert!(card.contains("Its own README") && !card.contains("RAVDESS"));
}

#[test]
fn a_fusion_that_does_worse_than_a_part_is_said_plainly() {
    let mut test = evaluation(Split::Test, Some(0.85));
    assert_eq!(worse_than_a_part(&test), None);
    test.subsets[0].1.metrics.auc = Some(0.9);
    let said = card(Some(test), "polarity-posts", false);
    assert!(said.contains("**On test the fused label is worse than text alone: AUC 0.850 against 0.900.**"), "{said}");
}

#[test]
fn a_joint_stage_says_which_weights_were_kept() {
    let pack_card = |best_epoch| {
        let mut record = samples::record(Stage::Joint);
        record.fit.best_epoch = best_epoch;
        joint(&TrainReport { stages: vec![record], ..report("p", None, false) }).unwrap()
    };
    assert!(pack_card(2).contains("**epoch 2 was kept** (validation log loss 0.4000"));
    assert!(pack_card(0).contains("**the staged weights were kept**"));
    assert_eq!(joint(&report("p", None, false)), None);
}

#[test]
fn a_figure_that_does_not_exist_is_a_dash() {
    assert!(card(Some(evaluation(Split::Test, None)), "p", false).contains("| text | – | – (300) | – |"));
}
