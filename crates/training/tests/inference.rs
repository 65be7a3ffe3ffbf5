//! The four networks as they serve, on an untrained checkpoint.

mod common;

use std::sync::OnceLock;

use common::{assert_close, clip, picture, text};
use jtav_model::{
    AudioNetwork, Checkpoint, Encoded, FusionInput, FusionNetwork, ImageNetwork, Modality, ModalitySet, ModelError,
    Ngrams, TextInput, TextNetwork,
};

fn checkpoint() -> &'static Checkpoint {
    static CHECKPOINT: OnceLock<Checkpoint> = OnceLock::new();
    CHECKPOINT.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        common::checkpoint(folder.path())
    })
}

fn texts() -> Vec<TextInput> {
    let long = "warm bright sea and grey night ".repeat(30);
    let parts: [&[(&str, &str)]; 5] = [
        &[("body", "the sea was warm")],
        &[("body", &long), ("caption", "cold")],
        &[("body", "x")],
        &[("caption", "we laughed and cried"), ("body", "never")],
        &[("body", "unheard-of words, zzyzx!")],
    ];
    parts.iter().map(|parts| text(checkpoint().vocabulary(), parts)).collect()
}

fn assert_distribution(encoded: &Encoded, length: usize) {
    assert_eq!((encoded.vector.len(), encoded.attention.len()), (100, length));
    assert!((encoded.attention.iter().sum::<f32>() - 1.0).abs() < 1e-4);
    assert!(encoded.attention.iter().all(|&weight| weight >= 0.0));
    assert!(encoded.vector.iter().all(|value| value.is_finite()));
}

#[test]
fn text_rows_do_not_depend_on_their_batch_mates() {
    let network = TextNetwork::from_checkpoint(checkpoint(), common::device()).unwrap();
    let inputs = texts();
    let together = network.encode(&inputs).unwrap();
    for (input, of_batch) in inputs.iter().zip(&together) {
        let alone = network.encode(std::slice::from_ref(input)).unwrap().remove(0);
        assert_distribution(of_batch, input.protagonist.words.len());
        assert_close(&alone.vector, &of_batch.vector, 1e-5, "vector");
        assert_close(&alone.attention, &of_batch.attention, 1e-5, "attention");
    }
    let many: Vec<TextInput> = inputs.iter().cycle().take(300).cloned().collect();
    let encoded = network.encode(&many).unwrap();
    assert_close(&encoded[299].vector, &together[4].vector, 1e-5, "row 300");
    assert!(network.encode(&[]).unwrap().is_empty());
}

#[test]
fn the_bag_of_ngrams_fills_the_last_two_values_and_credits_the_words_it_knows() {
    let network = TextNetwork::from_checkpoint(checkpoint(), common::device()).unwrap();
    let [warm, cold] = ["we were warm here", "we were cold here"].map(|body| {
        let known = text(checkpoint().vocabulary(), &[("body", body)]);
        let silent = TextInput { ngrams: Ngrams::default(), ..known.clone() };
        let mut encoded = network.encode(&[known, silent]).unwrap();
        let (silent, known) = (encoded.remove(1), encoded.remove(0));
        assert_distribution(&known, 4);
        assert_distribution(&silent, 4);
        assert_close(&known.vector[..98], &silent.vector[..98], 1e-5, "what the BiGRU reads");
        (known, silent)
    });
    assert!(warm.0.vector[98] > cold.0.vector[98] && warm.0.vector[99] > cold.0.vector[99]);
    assert!(warm.0.vector[98..].iter().all(|value| value.abs() < 1.0));
    for (known, silent) in [&warm, &cold] {
        assert!(known.attention[2] > silent.attention[2], "{:?} {:?}", known.attention, silent.attention);
    }
}

#[test]
fn the_supporting_part_moves_the_text_vector() {
    let network = TextNetwork::from_checkpoint(checkpoint(), common::device()).unwrap();
    let mut inputs = vec![texts().remove(1)];
    inputs.push(TextInput { supporting: None, ..inputs[0].clone() });
    let encoded = network.encode(&inputs).unwrap();
    assert_ne!(encoded[0].vector, encoded[1].vector);
}

#[test]
fn rows_of_another_vocabulary_and_empty_texts_are_input_errors() {
    let network = TextNetwork::from_checkpoint(checkpoint(), common::device()).unwrap();
    let mut foreign = texts().remove(0);
    foreign.protagonist.rows[1].push(u32::MAX);
    let mut empty = texts().remove(0);
    empty.protagonist.rows.clear();
    let mut wordless = texts().remove(0);
    wordless.protagonist.rows[0].clear();
    for input in [foreign, empty, wordless] {
        let error = network.encode(&[input]).unwrap_err();
        assert!(matches!(error, ModelError::Input(_)) && !error.is_fatal(), "{error}");
    }
}

#[test]
fn audio_rows_do_not_depend_on_their_batch_mates_and_cover_all_segments() {
    let network = AudioNetwork::from_checkpoint(checkpoint(), common::device()).unwrap();
    let inputs = [clip(20, 216), clip(60, 40), clip(40, 500)];
    let together = network.encode(&inputs).unwrap();
    for (input, of_batch) in inputs.iter().zip(&together) {
        let alone = network.encode(std::slice::from_ref(input)).unwrap().remove(0);
        assert_distribution(of_batch, 27 * input.segments.len());
        assert_close(&alone.vector, &of_batch.vector, 1e-5, "vector");
        assert_close(&alone.attention, &of_batch.attention, 1e-5, "attention");
    }
    assert!(together[1].attention[5..].iter().all(|&weight| weight == 0.0), "padding is looked at");
    assert_ne!(together[0].vector, together[1].vector);
}

#[test]
fn silence_is_encoded_and_broken_clips_are_input_errors() {
    let network = AudioNetwork::from_checkpoint(checkpoint(), common::device()).unwrap();
    network.warm_up().unwrap();
    let mut short = clip(20, 215);
    short.segments[0].pop();
    let mut uncounted = clip(20, 215);
    uncounted.valid_frames[0] = 0;
    let mut endless = clip(20, 215);
    endless.segments[0][7] = f32::INFINITY;
    for input in [short, uncounted, endless] {
        assert!(matches!(network.encode(&[input]), Err(ModelError::Input(_))));
    }
}

#[test]
fn image_rows_do_not_depend_on_their_batch_mates() {
    let network = ImageNetwork::from_checkpoint_f32(checkpoint(), common::device()).unwrap();
    let inputs = [picture(8, 200), picture(3, 20), picture(40, 120)];
    let together = network.encode(&inputs).unwrap();
    for (input, of_batch) in inputs.iter().zip(&together) {
        let alone = network.encode(std::slice::from_ref(input)).unwrap().remove(0);
        assert_distribution(of_batch, 49);
        assert_close(&alone.vector, &of_batch.vector, 1e-5, "vector");
        assert_close(&alone.attention, &of_batch.attention, 1e-5, "attention");
    }
}

#[test]
fn the_fast_image_path_points_the_same_way_as_f32() {
    let fast = ImageNetwork::from_checkpoint(checkpoint(), common::device()).unwrap();
    let exact = ImageNetwork::from_checkpoint_f32(checkpoint(), common::device()).unwrap();
    assert_eq!(exact.precision(), "f32");
    let inputs = [picture(8, 200), picture(3, 20)];
    for (a, b) in fast.encode(&inputs).unwrap().iter().zip(exact.encode(&inputs).unwrap()) {
        let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f32>();
        let cosine = dot(&a.vector, &b.vector) / (dot(&a.vector, &a.vector) * dot(&b.vector, &b.vector)).sqrt();
        assert!(cosine >= 0.999, "{} gives {cosine}", fast.precision());
    }
}

fn full_post() -> FusionInput {
    let vector = |phase: f32| Some((0..100).map(|i| (i as f32 * 0.3 + phase).sin()).collect());
    FusionInput { text: vector(0.0), audio: vector(1.0), image: vector(2.0) }
}

#[test]
fn all_seven_subsets_fuse_to_finite_and_different_answers() {
    let network = FusionNetwork::from_checkpoint(checkpoint(), common::device()).unwrap();
    let subsets: Vec<ModalitySet> = ModalitySet::all_non_empty().collect();
    let posts: Vec<FusionInput> = subsets.iter().map(|&subset| full_post().masked(subset)).collect();
    let outputs = network.fuse(&posts).unwrap();
    for (subset, output) in subsets.iter().zip(&outputs) {
        assert_eq!(output.u.len(), 600);
        assert!(output.u.iter().chain([&output.logit, &output.probability]).all(|value| value.is_finite()), "{subset}");
        assert!((0.0..=1.0).contains(&output.probability) && (0.0..=1.0).contains(&output.confidence()));
        assert_eq!(output.moods.is_empty(), !subset.contains(Modality::Audio), "{subset}");
        let moods: f32 = output.moods.iter().map(|mood| mood.1).sum();
        assert!(output.moods.is_empty() || (moods - 1.0).abs() < 1e-5);
        assert_eq!(output.label, if output.is_positive() { "positive" } else { "negative" });
    }
    for (i, a) in outputs.iter().enumerate() {
        assert!(outputs[i + 1..].iter().all(|b| a.u != b.u), "two subsets have one embedding");
    }
}

#[test]
fn a_post_of_one_part_keeps_that_part_in_its_embedding() {
    let network = FusionNetwork::from_checkpoint(checkpoint(), common::device()).unwrap();
    let one = FusionInput { text: full_post().text, ..FusionInput::default() };
    let other = FusionInput { text: full_post().audio, ..FusionInput::default() };
    let outputs = network.fuse(&[one, other]).unwrap();
    assert_ne!(outputs[0].u, outputs[1].u);
}

#[test]
fn fused_rows_do_not_depend_on_their_batch_mates_or_on_a_vector_of_zeros() {
    let network = FusionNetwork::from_checkpoint(checkpoint(), common::device()).unwrap();
    let zeros = FusionInput { image: Some(vec![0.0; 100]), ..full_post() };
    let posts = [full_post(), full_post().masked(ModalitySet::from_presence(true, false, false)), zeros];
    let together = network.fuse(&posts).unwrap();
    for (post, of_batch) in posts.iter().zip(&together) {
        let alone = network.fuse(std::slice::from_ref(post)).unwrap().remove(0);
        assert_close(&alone.u, &of_batch.u, 1e-5, "u");
        assert!((alone.logit - of_batch.logit).abs() < 1e-5 && alone.logit.is_finite());
    }
}

#[test]
fn posts_without_parts_or_with_broken_vectors_are_input_errors() {
    let network = FusionNetwork::from_checkpoint(checkpoint(), common::device()).unwrap();
    let short = FusionInput { text: Some(vec![0.0; 99]), ..FusionInput::default() };
    let endless = FusionInput { text: Some(vec![f32::NAN; 100]), ..FusionInput::default() };
    for input in [FusionInput::default(), short, endless] {
        assert!(matches!(network.fuse(&[full_post(), input]), Err(ModelError::Input(_))));
    }
}

#[test]
fn contributions_and_bias_add_up_to_the_logit() {
    let network = FusionNetwork::from_checkpoint(checkpoint(), common::device()).unwrap();
    let post = full_post().masked(ModalitySet::from_presence(true, false, true));
    let output = network.fuse(&[post]).unwrap().remove(0);
    let parts = output.contributions;
    assert_eq!(parts.audio, 0.0);
    // An uncalibrated fusion has no bias and trusts the interaction alone.
    assert!((parts.text + parts.audio + parts.image + parts.interaction - output.logit).abs() < 1e-5);
}
