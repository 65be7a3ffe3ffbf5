use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock};

use serde::Deserialize;

use super::*;
use crate::inference::drawn;
use crate::manifest::{LIGHT, MODERN};
use crate::parameters::{Stored as _, to_rows, to_vec};
use crate::text::tests_of_input::word;
use crate::text::{ReadText, WordPieces};

/// `tests/fixtures/minilm.py` wrote it, from the weights as they were published, in f32.
#[derive(Deserialize)]
struct Reference {
    values: Vec<usize>,
    sentences: Vec<Sentence>,
}

#[derive(Deserialize)]
struct Sentence {
    words: Vec<String>,
    ids: Vec<u32>,
    sentence: Vec<f32>,
    vectors: BTreeMap<usize, Vectors>,
}

/// Some values of one word's vectors, and the length of that of the two layers.
#[derive(Deserialize)]
struct Vectors {
    layers: [Vec<f32>; 2],
    norm: f32,
    table: Vec<f32>,
}

fn reference() -> Reference {
    let mut reference: Reference = serde_json::from_str(include_str!("../tests/fixtures/minilm.json")).unwrap();
    reference.sentences.retain(|sentence| !sentence.words.is_empty());
    assert!(reference.sentences.len() >= 12);
    reference
}

/// Set-up puts the bases there; their absence is no reason to skip a test.
fn open(profile: &str) -> WordVectors {
    tch::set_num_threads(1);
    let precision = Some(TrunkPrecision::Float);
    WordVectors::open(&drawn::manifest(profile), &Bases::new(None, None), DeviceChoice::Cpu, precision)
        .unwrap_or_else(|error| panic!("{error}"))
}

/// `Send` and not `Sync`, so one at a time.
fn of_trunk(inputs: &[&TextInput]) -> Vec<WordFeatures> {
    static TRUNK: OnceLock<Mutex<WordVectors>> = OnceLock::new();
    let trunk = TRUNK.get_or_init(|| Mutex::new(open(MODERN))).lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    trunk.of(inputs).unwrap()
}

fn text<W: AsRef<str>>(words: &[W]) -> ReadText {
    static PIECES: OnceLock<WordPieces> = OnceLock::new();
    let pieces = PIECES.get_or_init(|| {
        WordPieces::open(&Bases::new(None, None), &Base::minilm_tokenizer()).unwrap_or_else(|error| panic!("{error}"))
    });
    ReadText { words: words.iter().map(|text| word(text.as_ref())).collect(), pieces: pieces.pieces(words).unwrap() }
}

fn post<W: AsRef<str>>(protagonist: &[W], supporting: &[W]) -> TextInput {
    let supporting = (!supporting.is_empty()).then(|| text(supporting));
    TextInput::new(text(protagonist), supporting, false)
}

fn inputs(reference: &Reference) -> Vec<TextInput> {
    reference.sentences.iter().map(|sentence| post(&sentence.words, &[])).collect()
}

fn length(vector: &[f32]) -> f32 {
    vector.iter().map(|value| value * value).sum::<f32>().sqrt()
}

#[test]
fn a_words_vector_is_the_mean_over_its_pieces_of_two_layers() {
    let reference = reference();
    let inputs = inputs(&reference);
    let found = of_trunk(&inputs.iter().collect::<Vec<_>>());
    for (sentence, found) in reference.sentences.iter().zip(found) {
        let rows = to_rows(&found.protagonist).unwrap();
        assert_eq!((rows.len(), rows[0].len()), (sentence.words.len(), 768));
        for (&word, expected) in &sentence.vectors {
            // What is left is the rounding of the stored matrices to f16.
            let within = 2e-3 * expected.norm;
            assert!((length(&rows[word]) - expected.norm).abs() <= within, "{:?}", sentence.words[word]);
            for (layer, values) in expected.layers.iter().enumerate() {
                for (&at, value) in reference.values.iter().zip(values) {
                    let found = rows[word][384 * layer + at];
                    assert!((found - value).abs() <= within, "{:?}: {found} {value}", sentence.words[word]);
                }
            }
        }
        for (found, expected) in to_vec(&found.sentence.unwrap()).unwrap().iter().zip(&sentence.sentence) {
            assert!((found - expected).abs() < 1e-2, "{found} {expected}");
        }
    }
}

#[test]
fn out_of_the_table_it_is_the_mean_of_the_pieces_rows() {
    let reference = reference();
    let table = open(LIGHT);
    let inputs = inputs(&reference);
    let found = table.of(&inputs.iter().collect::<Vec<_>>()).unwrap();
    let bytes = Bases::new(None, None).read(&Base::minilm()).unwrap();
    let rows = StoredWeights::parse(&bytes).unwrap();
    let rows = rows.tensor("embeddings.word_embeddings.weight", &[30_522, 384]).unwrap();
    for ((sentence, input), found) in reference.sentences.iter().zip(&inputs).zip(found) {
        assert!(found.sentence.is_none());
        let vectors = to_rows(&found.protagonist).unwrap();
        assert_eq!((vectors.len(), vectors[0].len()), (sentence.words.len(), 384));
        for (word, vector) in vectors.iter().enumerate() {
            let places = input.protagonist.pieces.words();
            let ids: Vec<i64> = places
                .zip(&sentence.ids)
                .filter(|(place, _)| *place == Some(word))
                .map(|(_, &id)| i64::from(id))
                .collect();
            let expected = match ids.is_empty() {
                true => vec![0.0; 384],
                false => to_vec(&rows.index_select(0, &Tensor::from_slice(&ids)).mean_dim(
                    [0_i64].as_slice(),
                    false,
                    Kind::Float,
                ))
                .unwrap(),
            };
            assert!(vector.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6), "{:?}", sentence.words[word]);
            // The table as it was published, which the base rounds to f16.
            for (&at, value) in reference.values.iter().zip(sentence.vectors.get(&word).map_or(&[][..], |of| &of.table))
            {
                assert!((vector[at] - value).abs() < 1e-4, "{:?}: {} {value}", sentence.words[word], vector[at]);
            }
        }
    }
}

#[test]
fn a_word_without_pieces_is_zeros() {
    let input = post(&["good", "\u{301}\u{302}", "day"], &[]);
    for found in [of_trunk(&[&input]), open(LIGHT).of(&[&input]).unwrap()] {
        let rows = to_rows(&found[0].protagonist).unwrap();
        assert!(rows[1].iter().all(|&value| value == 0.0));
        assert!(length(&rows[0]) > 0.1 && length(&rows[2]) > 0.1);
    }
}

#[test]
fn words_that_found_no_room_are_zeros() {
    let words = vec!["antidisestablishmentarianism"; 100];
    let input = post(&words, &[]);
    assert!(input.protagonist.pieces.is_cut());
    let rows = to_rows(&of_trunk(&[&input])[0].protagonist).unwrap();
    assert_eq!(rows.len(), 100);
    assert!(length(&rows[0]) > 0.1 && rows[99].iter().all(|&value| value == 0.0));
}

#[test]
fn a_sentence_of_two_parts_is_the_mean_over_the_pieces_of_both() {
    let reference = reference();
    let [first, second] = [&reference.sentences[5], &reference.sentences[1]];
    let found = of_trunk(&[&post(&first.words, &second.words)]).remove(0);
    assert_eq!(found.supporting.unwrap().size(), [second.words.len() as i64, 768]);
    let (a, b) = (first.ids.len() as f32, second.ids.len() as f32);
    let expected = first.sentence.iter().zip(&second.sentence).map(|(x, y)| (a * x + b * y) / (a + b));
    for (found, expected) in to_vec(&found.sentence.unwrap()).unwrap().iter().zip(expected) {
        assert!((found - expected).abs() < 5e-3, "{found} {expected}");
    }
}

#[test]
fn parts_are_read_apart_and_posts_keep_their_order() {
    let words = |text: &'static str| text.split(' ').collect::<Vec<_>>();
    let [sea, cold, long] = [
        words("the sea was calm"),
        words("so cold"),
        words("we waited two hours and the soup was cold but nobody minded"),
    ];
    let posts = [post(&sea, &cold), post(&long, &[]), post(&cold, &sea)];
    let found = of_trunk(&posts.iter().collect::<Vec<_>>());
    let near = |a: &Tensor, b: &Tensor| (a - b).abs().max().double_value(&[]) < 1e-4;
    assert_eq!(found[1].protagonist.size(), [12, 768]);
    assert!(found[1].supporting.is_none());
    assert!(near(&found[0].protagonist, found[2].supporting.as_ref().unwrap()));
    assert!(near(&found[2].protagonist, found[0].supporting.as_ref().unwrap()));
}

#[test]
fn a_text_without_pieces_is_refused_and_no_posts_have_no_vectors() {
    let table = open(LIGHT);
    let stand_in = crate::TextFrontEnd::without_pieces().input(&[("body", "good")]).unwrap().unwrap();
    assert!(matches!(table.of(&[&stand_in]), Err(ModelError::Input(_))));
    assert!(table.of(&[]).unwrap().is_empty());
    assert_eq!((table.width(), table.device()), (384, tch::Device::Cpu));
}

#[test]
fn without_the_base_it_says_which_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let bases = Bases::in_folders(vec![folder.path().to_owned()]);
    for profile in [MODERN, LIGHT] {
        let error = WordVectors::open(&drawn::manifest(profile), &bases, DeviceChoice::Cpu, None).err().unwrap();
        assert!(matches!(error, ModelError::BaseMissing { .. }), "{error}");
    }
    let mut unnamed = drawn::manifest(LIGHT);
    unnamed.bases.remove(roles::TRUNK);
    let error = WordVectors::open(&unnamed, &Bases::new(None, None), DeviceChoice::Cpu, None).err().unwrap();
    assert!(matches!(error, ModelError::Configuration(_)), "{error}");
}
