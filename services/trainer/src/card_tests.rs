//! What a model card says.

use super::*;
use std::collections::BTreeMap;

use jtav_model::{Calibration, Dimensions, Middle, Standardisation};

use crate::bootstrap::{Interval, Intervals};
use crate::dataset::Split;
use crate::evaluation::{Evaluation, MoodFigures, SubsetFigures};
use crate::metrics::Metrics;
use crate::report::{Certain, SplitSize, samples};
use crate::three_way::{Row, three_way};

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
        ece_quantile: Some(0.045),
        auc_present: auc,
        n_present: 300,
        scored: Vec::new(),
    };
    let subsets = ["text", "text+audio+image", "image"].map(|name| (name.to_owned(), figures.clone()));
    let moods = Some(MoodFigures { accuracy: 0.4, majority: 0.35, n: 166 });
    let row =
        |certain, truth| Row { probabilities: [0.1, 0.1, 0.8], certain, truth, kind: "text", language: "en", item: "" };
    let three_way = three_way(&[row(true, 2), row(true, 2), row(false, 2), row(false, 0)], 0, 1).unwrap();
    Evaluation { split, base_rate: 0.7, subsets: subsets.to_vec(), moods, three_way }
}

fn manifest(profile: &str) -> Manifest {
    let standardisation = Standardisation { mean: vec![0.0; 96], std: vec![1.0; 96] };
    let dimensions = Dimensions::of_profile(profile);
    let mut manifest = Manifest::new(profile, dimensions, standardisation, 30, Calibration::default(), 20);
    manifest.middle = Middle { promised_accuracy: 0.9, ..Middle::default() };
    manifest.data = BTreeMap::from([("polarity-posts/posts.jsonl".to_owned(), "abc123".to_owned())]);
    manifest
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
    let mut manifest = manifest(jtav_model::MODERN);
    if name == "polarity-posts" {
        manifest.data.insert(crate::options::RATED_TEXTS.to_owned(), "def456".to_owned());
    }
    model_card(&report(name, test, quick), &pack, &manifest)
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
        certain: BTreeMap::from([
            ("text+audio".to_owned(), Certain { from: 0.675, coverage: 0.77, items: 8000 }),
            ("text".to_owned(), Certain { from: 0.825, coverage: 0.6, items: 11_526 }),
            ("audio".to_owned(), Certain { from: 1.0, coverage: 0.0, items: 697 }),
        ]),
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
        "logistic regression on the features of EfficientNet-Lite0, frozen",
        "word vectors of all-MiniLM-L6-v2, frozen, layers 4 and 6; beside it VADER's compound;",
        "| language | lid.176 | `lid.176.ftz` | `8f3472cf` | CC-BY-SA-3.0 |",
        "| image | EfficientNet-Lite0 | `efficientnet-lite0.safetensors` | `1af48389` | Apache-2.0 |",
        "`semantic`: 100 values",
        "90 of 100 such labels are right",
        "| text | 0.825 | 0.60 | 11,526 |",
        "| audio | never | 0 | 697 |",
        "Languages: en.",
        "a feed in which 50 of 100 posts that are not neutral are positive",
        "right 0.750, neutral or wrong otherwise; 0.000 of the negative and 1.000 of the positive",
        "Certain labels: 0.500 of all, right 1.000",
        "| 0.034 | 0.045 |",
        "The text network learned from `rated-texts.jsonl`",
        "| `rated-texts.jsonl` | `def456` |",
        "Neutral without a text is a rule",
        "Sarcasm is not understood",
        "a hint, and no label",
        "VADER's lexicon was built on these very tweets",
        "Other languages are near chance",
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
    let figures = &card[card.find("## Figures").unwrap()..];
    let rows: Vec<usize> =
        ["| text |", "| image |", "| text+audio+image |"].map(|row| figures.find(row).unwrap()).into();
    assert!(rows.is_sorted(), "single modalities come first");
}

#[test]
fn an_unscored_test_split_a_trial_run_and_another_pack_are_said_plainly() {
    let card = card(None, "own-posts", true);
    assert!(card.contains("The test split was not scored."));
    assert!(card.contains("A trial run"));
    assert!(card.contains("Its own README") && !card.contains("RAVDESS"));
    assert!(card.contains("There were no rated texts"));
}

#[test]
fn a_light_checkpoint_says_so_and_has_no_vector_of_what_a_text_is_about() {
    let said = architecture(&report("p", None, false), &manifest(jtav_model::LIGHT));
    for part in ["Profile `light`", "rows of the table of word pieces of all-MiniLM-L6-v2", "262,144 buckets"] {
        assert!(said.contains(part), "the card lacks {part:?}:\n{said}");
    }
    assert!(!said.contains("semantic"));
    let own = Manifest { image_backbone: ImageBackbone::DenseNet121, ..manifest(jtav_model::MODERN) };
    assert!(network(Stage::Image, &own).contains("DenseNet-121"));
    assert!(network(Stage::Fusion, &own).contains("CMF-AP") && network(Stage::Audio, &own).contains("DCRNN"));
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
fn a_figure_that_does_not_exist_is_a_dash() {
    assert!(card(Some(evaluation(Split::Test, None)), "p", false).contains("| text | – | – (300) | – |"));
}
