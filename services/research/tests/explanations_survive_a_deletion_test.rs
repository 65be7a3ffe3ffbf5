//! The bundled checkpoint on the texts of the bundled feed.

use std::path::Path;

use jtav_model::{Checkpoint, DeviceChoice};
use jtav_research::deletion::{DeletionReport, Settings, deletion_test};
use jtav_trainer::dataset::Split;
use jtav_trainer::features::Features;
use jtav_trainer::{DataPack, Silent};

/// Sound and pictures would take a minute; `jtav evaluate --deletion` tests them too.
fn texts_only() -> DataPack {
    let mut pack = DataPack::read(Path::new("../feed-simulator/sample-feed")).unwrap();
    for post in &mut pack.posts {
        (post.audio, post.image) = (None, None);
    }
    pack
}

fn report(checkpoint: &Checkpoint, pack: &DataPack, settings: Settings) -> DeletionReport {
    let features = Features::default();
    deletion_test(checkpoint, pack, &features, Split::Test, DeviceChoice::Cpu, settings, &Silent).unwrap()
}

#[test]
fn without_the_most_attended_words_the_logit_moves_more_than_without_random_ones() {
    let checkpoint = Checkpoint::load(Path::new("../../models/jtav-modern")).unwrap();
    let pack = texts_only();
    let settings = Settings::new(7);
    let found = report(&checkpoint, &pack, settings);
    let text = found.text.clone().unwrap();
    assert!((40..=53).contains(&text.n) && text.n + text.left_out == 53, "{text:?}");
    assert!(text.passes && text.random.ratio > Some(1.5) && text.moved.ratio > Some(1.5), "{text:?}");
    assert_eq!((&found.audio, &found.image), (&None, &None));
    assert_eq!(report(&checkpoint, &pack, settings), found, "draws depend on the seed alone");

    let one_word = report(&checkpoint, &pack, Settings { share: 0.0, ..settings }).text.unwrap();
    assert!(one_word.mean_change < text.mean_change, "one word moves it less than a fifth: {one_word:?}");
}
