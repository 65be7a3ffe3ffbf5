use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::parameters::{to_rows, to_vec};
use crate::text::WordPieces;

/// `tests/fixtures/minilm.py` wrote it, from the weights as they were published, in f32.
#[derive(Deserialize)]
struct Reference {
    values: Vec<usize>,
    sentences: Vec<Sentence>,
}

#[derive(Deserialize)]
struct Sentence {
    words: Vec<String>,
    layers: BTreeMap<usize, States>,
    sentence: Vec<f32>,
}

/// Some values of three pieces' vectors, and the lengths of all (the first 40).
#[derive(Deserialize)]
struct States {
    first: Vec<f32>,
    middle: Vec<f32>,
    last: Vec<f32>,
    norms: Vec<f32>,
}

const LAYERS: [usize; 3] = [1, 4, 6];

fn reference() -> Reference {
    serde_json::from_str(include_str!("../tests/fixtures/minilm.json")).unwrap()
}

/// Set-up puts the weights there; their absence is no reason to skip a test.
fn trunk(precision: TrunkPrecision) -> Trunk {
    tch::set_num_threads(1);
    Trunk::open(&Bases::new(None, None), DeviceChoice::Cpu, precision).unwrap_or_else(|error| panic!("{error}"))
}

fn word_pieces() -> WordPieces {
    WordPieces::open(&Bases::new(None, None), &Base::minilm_tokenizer()).unwrap_or_else(|error| panic!("{error}"))
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(x * y)).sum::<f64>();
    assert_eq!(a.len(), b.len());
    (dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()) as f32
}

fn length(vector: &[f32]) -> f32 {
    vector.iter().map(|value| value * value).sum::<f32>().sqrt()
}

/// The least cosine of the sentences' vectors, and the largest error of a hidden value and of a vector's length, as a share of that
/// length; all sentences in passes with others.
fn compare(precision: TrunkPrecision) -> (f32, f32) {
    let trunk = trunk(precision);
    let reference = reference();
    assert!(reference.sentences.len() >= 12);
    let word_pieces = word_pieces();
    let pieces: Vec<Pieces> = reference.sentences.iter().map(|of| word_pieces.pieces(&of.words).unwrap()).collect();
    let outputs = trunk.encode(&pieces.iter().collect::<Vec<_>>(), &LAYERS).unwrap();
    assert_eq!(outputs.len(), pieces.len());
    let (mut least, mut worst) = (1.0_f32, 0.0_f32);
    for ((output, expected), pieces) in outputs.iter().zip(&reference.sentences).zip(&pieces) {
        least = least.min(cosine(&to_vec(&output.sentence).unwrap(), &expected.sentence));
        for (layer, states) in LAYERS.iter().zip(&output.layers) {
            let expected = &expected.layers[layer];
            let rows = to_rows(states).unwrap();
            assert_eq!((rows.len(), rows[0].len()), (pieces.len(), MiniLm::WIDTH as usize));
            let last = rows.len() - 1;
            for (row, values) in [(0, &expected.first), (pieces.len() / 2, &expected.middle), (last, &expected.last)] {
                for (&at, value) in reference.values.iter().zip(values) {
                    worst = worst.max((rows[row][at] - value).abs() / length(&rows[row]));
                }
            }
            for (row, norm) in rows.iter().zip(&expected.norms) {
                worst = worst.max((length(row) / norm - 1.0).abs());
            }
        }
    }
    println!("{precision:?}: least cosine {least}, largest error of a value {worst}");
    (least, worst)
}

#[test]
fn hidden_states_and_sentence_vectors_are_those_of_hugging_faces_bert() {
    let (least, worst) = compare(TrunkPrecision::Float);
    // What is left is the rounding of the stored matrices to f16.
    assert!(least >= 0.9999 && worst <= 2e-3, "cosine {least}, error {worst}");
}

#[test]
fn in_bf16_they_are_near() {
    let (least, worst) = compare(TrunkPrecision::BFloat16);
    assert!(least >= 0.999 && worst <= 3e-2, "cosine {least}, error {worst}");
}

/// The largest difference that batch mates make to a value, as a share of the largest value of its row.
fn moved_by_mates(precision: TrunkPrecision) -> f32 {
    let trunk = trunk(precision);
    let words: Vec<String> =
        "we waited two hours and the soup was cold but nobody minded".split(' ').map(str::to_owned).collect();
    let word_pieces = word_pieces();
    let texts: Vec<Pieces> =
        [1, 3, 12, 5, 9, 12].iter().map(|&count| word_pieces.pieces(&words[..count]).unwrap()).collect();
    let long = word_pieces.pieces(&words.iter().cycle().take(200).collect::<Vec<_>>()).unwrap();
    let mut together: Vec<&Pieces> = texts.iter().collect();
    together.push(&long);
    let mut worst = 0.0_f32;
    let beside = trunk.forward(&together, &[4]).unwrap();
    for (row, text) in together.iter().enumerate() {
        let alone = trunk.forward(&[text], &[4]).unwrap();
        let count = text.len() as i64;
        let states = beside.layers[0].get(row as i64);
        let beyond = states.narrow(0, count, long.len() as i64 - count);
        assert_eq!(beyond.abs().sum(Kind::Float).double_value(&[]), 0.0, "padding is 0");
        for (a, b) in [
            (states.narrow(0, 0, count), alone.layers[0].get(0)),
            (beside.sentence.get(row as i64), alone.sentence.get(0)),
        ] {
            let (a, b) = (to_vec(&a).unwrap(), to_vec(&b).unwrap());
            let size = a.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
            worst = a.iter().zip(&b).fold(worst, |worst, (a, b)| worst.max((a - b).abs() / size));
        }
    }
    println!("{precision:?}: moved by {worst}");
    worst
}

#[test]
fn in_f32_batch_mates_move_a_value_by_a_hundred_thousandth_at_most() {
    let moved = moved_by_mates(TrunkPrecision::Float);
    assert!(moved <= 1e-5, "{moved}");
}

#[test]
fn in_bf16_batch_mates_move_a_value_by_a_hundredth_at_most() {
    let moved = moved_by_mates(TrunkPrecision::BFloat16);
    assert!(moved <= 1e-2, "{moved}");
}

#[test]
fn the_fused_projection_computes_what_the_three_do() {
    let _guard = tch::no_grad_guard();
    let bases = Bases::new(None, None);
    let bytes = bases.read(&Base::minilm()).unwrap_or_else(|error| panic!("{error}"));
    let stored = StoredWeights::parse(&bytes).unwrap();
    let network = MiniLm::new(&Builder::stored(&stored, Device::Cpu).scope("")).unwrap();
    let trunk = trunk(TrunkPrecision::Float);
    let text = word_pieces().pieces(&["the", "sea", "was", "calm"]).unwrap();
    let batch = PieceBatch::new(&[&text], Device::Cpu).unwrap();
    let (trained, served) = (network.forward(&batch, &[6]).unwrap(), trunk.forward(&[&text], &[6]).unwrap());
    let (trained, served) = (to_vec(&trained.sentence).unwrap(), to_vec(&served.sentence).unwrap());
    for (a, b) in trained.iter().zip(&served) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
}

#[test]
fn no_texts_give_no_outputs_and_a_layer_that_is_not_there_is_an_error() {
    let trunk = trunk(TrunkPrecision::Float);
    assert!(trunk.encode(&[], &[4]).unwrap().is_empty());
    assert!(matches!(trunk.forward(&[], &[4]), Err(ModelError::Input(_))));
    let text = word_pieces().pieces(&["sea"]).unwrap();
    for layer in [0, 7, usize::MAX] {
        assert!(matches!(trunk.forward(&[&text], &[layer]), Err(ModelError::Input(_))), "{layer}");
    }
    assert!(trunk.forward(&[&text], &[]).unwrap().layers.is_empty());
}

#[test]
fn without_weights_it_says_which_are_missing_and_what_to_run() {
    let folder = tempfile::tempdir().unwrap();
    let bases = Bases::in_folders(vec![folder.path().to_owned()]);
    let Err(error) = Trunk::open(&bases, DeviceChoice::Cpu, TrunkPrecision::Float) else { panic!("it opened nothing") };
    assert!(
        error.to_string().contains("minilm-l6") && error.to_string().contains("scripts/setup-weights.sh"),
        "{error}"
    );
}

proptest! {
    #[test]
    fn every_text_runs_once_and_no_pass_is_over_its_limits(lengths in prop::collection::vec(2_usize..=256, 0..400)) {
        let passes = passes(&lengths, has_room);
        let mut texts: Vec<usize> = passes.concat();
        texts.sort_unstable();
        prop_assert_eq!(texts, (0..lengths.len()).collect::<Vec<_>>());
        for pass in passes {
            let longest = pass.iter().map(|&text| lengths[text]).max().unwrap_or(0);
            prop_assert!(pass.len() <= MAX_BATCH && pass.len() * longest <= MAX_PADDED_PIECES);
        }
    }
}
