//! `tests/fixtures/make_word_vectors.py` says how the models and the expected vectors were made.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use jtav_research::words::WordTable;
use serde::Deserialize;
use tempfile::TempDir;

#[derive(Deserialize)]
struct Fixture {
    words: Vec<String>,
    unknown: Vec<String>,
    vectors: HashMap<String, Vec<f32>>,
}

const MODEL: &[u8] = include_bytes!("fixtures/word_vectors.bin");
const TEXT: &[u8] = include_bytes!("fixtures/word_vectors.vec");

/// Where the fields of the model's head lie.
const DIMENSION: usize = 8;
const BUCKETS: usize = 40;
const LONGEST: usize = 48;
const ENTRIES: usize = 64;
const PRUNED: usize = 84;
const FIRST_WORD: usize = 92;

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("fixtures/word_vectors.json")).unwrap()
}

struct Files {
    folder: TempDir,
}

impl Files {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    fn open(&self, name: &str, bytes: &[u8]) -> Result<WordTable, String> {
        let path = self.folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        self.open_path(&path)
    }

    fn open_path(&self, path: &Path) -> Result<WordTable, String> {
        WordTable::open(path, &self.cache()).map_err(|error| error.to_string())
    }

    /// The one copy in the cache.
    fn copy(&self) -> PathBuf {
        let mut copies = fs::read_dir(self.cache()).unwrap();
        let copy = copies.next().unwrap().unwrap().path();
        assert!(copies.next().is_none(), "one file, one copy");
        copy
    }
}

/// Why these bytes are no word vectors.
fn refused(bytes: &[u8]) -> String {
    Files::new().open("vectors", bytes).map(|table| table.describe()).expect_err("it opened")
}

fn model_with(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut model = MODEL.to_vec();
    model[at..at + bytes.len()].copy_from_slice(bytes);
    model
}

fn assert_near(found: &[f32], expected: &[f32], tolerance: f32, word: &str) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= tolerance, "{word}: {found} against {expected}");
    }
}

#[test]
fn listed_and_unlisted_words_have_the_vectors_of_the_reference() {
    let (files, fixture) = (Files::new(), fixture());
    let table = files.open("wiki.bin", MODEL).unwrap();
    assert_eq!((table.dimension(), fixture.vectors.len()), (10, 17));
    for word in fixture.words.iter().chain(&fixture.unknown) {
        assert_near(&table.vector(word).unwrap(), &fixture.vectors[word], 1e-8, word);
    }
    assert_eq!(table.describe(), "wiki.bin (10 values, 33 words, with n-grams)");
}

#[test]
fn a_text_file_knows_its_own_words_and_no_other() {
    let (files, fixture) = (Files::new(), fixture());
    let table = files.open("wiki.vec", TEXT).unwrap();
    for word in &fixture.words {
        assert_near(&table.vector(word).unwrap(), &fixture.vectors[word], 1e-6, word);
    }
    assert!(fixture.unknown.iter().all(|word| table.vector(word).is_none()));
    assert_eq!(table.describe(), "wiki.vec (10 values, 32 words, without n-grams)");
}

#[test]
fn the_copy_is_used_from_then_on_and_opens_by_itself() {
    let (files, fixture) = (Files::new(), fixture());
    let first = files.open("wiki.bin", MODEL).unwrap();
    let copy = files.copy();
    let written = fs::metadata(&copy).unwrap().modified().unwrap();
    let second = files.open_path(&files.folder.path().join("wiki.bin")).unwrap();
    assert_eq!(fs::metadata(files.copy()).unwrap().modified().unwrap(), written);
    let itself = files.open_path(&copy).unwrap();
    for word in fixture.words.iter().chain(&fixture.unknown) {
        assert_eq!(first.vector(word), second.vector(word));
        assert_eq!(first.vector(word), itself.vector(word));
    }
}

#[test]
fn a_damaged_copy_is_made_again() {
    let files = Files::new();
    let word = |table: &WordTable| table.vector("sea").unwrap();
    let before = word(&files.open("wiki.bin", MODEL).unwrap());
    let copy = files.copy();
    let whole = fs::read(&copy).unwrap();
    fs::write(&copy, &whole[..whole.len() / 2]).unwrap();
    let path = files.folder.path().join("wiki.bin");
    assert_eq!(word(&files.open_path(&path).unwrap()), before);
    assert_eq!(fs::read(&copy).unwrap(), whole);
}

#[test]
fn a_file_cut_off_anywhere_is_refused() {
    let files = Files::new();
    files.open("wiki.bin", MODEL).unwrap();
    let copy = fs::read(files.copy()).unwrap();
    // The output side, which nobody reads here, follows the vectors and may be missing.
    let vectors_end =
        MODEL.windows(16).position(|w| w == [[0x15, 2, 0, 0, 0, 0, 0, 0], [10, 0, 0, 0, 0, 0, 0, 0]].concat());
    let vectors_end = vectors_end.unwrap() + 16 + 533 * 10 * 4;
    for (whole, end) in [(MODEL, vectors_end), (TEXT, TEXT.len() - 30), (&copy, copy.len())] {
        for length in (0..end).step_by(61).chain([end - 1]) {
            assert!(!refused(&whole[..length]).is_empty());
        }
    }
    assert!(files.open("short.bin", &MODEL[..vectors_end]).is_ok());
}

#[test]
fn counts_that_the_file_has_no_room_for_are_refused_and_not_believed() {
    for (at, bytes) in [
        (ENTRIES, [i32::MAX.to_le_bytes(), i32::MAX.to_le_bytes()].concat()),
        (ENTRIES, [(-1_i32).to_le_bytes(), (-1_i32).to_le_bytes()].concat()),
        (DIMENSION, i32::MAX.to_le_bytes().to_vec()),
        (DIMENSION, 9_i32.to_le_bytes().to_vec()),
        (BUCKETS, i32::MAX.to_le_bytes().to_vec()),
        (BUCKETS, 0_i32.to_le_bytes().to_vec()),
        (LONGEST, 0_i32.to_le_bytes().to_vec()),
    ] {
        assert!(!refused(&model_with(at, &bytes)).is_empty());
    }
    assert!(refused(b"4000000000 300\nthe 1 2\n").contains("no room"));
    assert!(refused(b"2 99999999999\nthe 1 2\n").contains("no room"));
    assert!(refused(b"18446744073709551615 9000\nthe 1 2\n").contains("no room"));
}

#[test]
fn models_without_vectors_of_words_say_so() {
    assert!(refused(&model_with(PRUNED, &5_i64.to_le_bytes())).contains("left out"));
    assert!(refused(&model_with(36, &3_i32.to_le_bytes())).contains("predicts labels"));
    assert!(refused(&model_with(LONGEST, &0_i32.to_le_bytes())).contains(".vec"));
    assert!(refused(&model_with(4, &13_i32.to_le_bytes())).contains("version 13"));
    assert!(refused(b"PK\x03\x04 an archive").contains("no file of word vectors"));
    assert!(refused(b"").contains("ends after 0 bytes"));
    let files = Files::new();
    assert!(files.open_path(&files.folder.path().join("none.bin")).unwrap_err().contains("none.bin"));
}

#[test]
fn a_text_file_that_contradicts_itself_is_refused_with_its_line() {
    for (text, line) in [
        ("2 2\na 1 2\nb 1\n", "line 3: 1 values"),
        ("2 2\na 1 2 3\nb 1 2\n", "line 2: 3 values"),
        ("2 2\na 1 2\na 1 2\n", "line 3: holds the word `a` twice"),
        ("2 2\na 1 nan\nb 1 2\n", "line 2: `nan` is not a number"),
        ("2 2\na 1 x\nb 1 2\n", "line 2: `x` is not a number"),
        ("2 2\na 1 2\n\nb 1 2\n", "line 3: holds a word without letters"),
        ("2 2\na 1 2\nb 1 2\nc 1 2\n", "goes on after the 2 words"),
        ("2 2\na 1.00 2.00\n", "ends on line 3"),
    ] {
        assert!(refused(text.as_bytes()).contains(line), "{}", refused(text.as_bytes()));
    }
}

#[test]
fn a_word_that_was_cut_inside_a_letter_does_not_spoil_the_file() {
    let mut text = b"2 2\nsea 1 2\n".to_vec();
    text.extend(b"caf\xc3 1 2\n");
    assert_eq!(Files::new().open("x.vec", &text).unwrap().vector("sea"), Some(vec![1.0, 2.0]));
    let mut model = MODEL.to_vec();
    let cafe = model.windows(5).position(|bytes| bytes == "café".as_bytes()).unwrap();
    model[cafe + 4] = b'(';
    let table = Files::new().open("x.bin", &model).unwrap();
    assert_near(&table.vector("sea").unwrap(), &fixture().vectors["sea"], 1e-8, "sea");
}

#[test]
fn a_changed_byte_ends_in_vectors_or_in_an_error() {
    let files = Files::new();
    files.open("wiki.bin", MODEL).unwrap();
    let copy = fs::read(files.copy()).unwrap();
    for whole in [MODEL, &copy, TEXT] {
        // Heads and the first words byte by byte, the rest here and there.
        for at in (0..FIRST_WORD + 40).chain((FIRST_WORD + 40..whole.len()).step_by(211)) {
            for bits in [0x01, 0x80, 0xff] {
                let mut damaged = whole.to_vec();
                damaged[at] ^= bits;
                if let Ok(table) = Files::new().open("damaged", &damaged) {
                    let vector = table.vector("seaside").unwrap_or_default();
                    assert!(vector.iter().all(|value| value.is_finite()));
                }
            }
        }
    }
}
