//! Language identification with the real weights against fastText (`fixtures/language.py`), and what damaged files cost.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write as _;
use std::path::PathBuf;

use jtav_text::language::Languages;
use proptest::prelude::*;

thread_local! {
    static HELD: Cell<i64> = const { Cell::new(0) };
    static MOST_HELD: Cell<i64> = const { Cell::new(0) };
}

/// The system's allocator, counting for each thread.
struct Counting;

fn count(got: usize, gave_back: usize) {
    // Fails only while the thread ends.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + got as i64 - gave_back as i64);
        MOST_HELD.with(|most| most.set(most.get().max(held.get())));
    });
}

// SAFETY: hands everything to the system's allocator as it came; the counters are thread-locals without destructors.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count(bytes, layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `work` returns and the most bytes it held at once.
fn most_held<T>(work: impl FnOnce() -> T) -> (T, i64) {
    let before = HELD.get();
    MOST_HELD.set(before);
    let done = work();
    (done, MOST_HELD.get() - before)
}

/// `lid.176.ftz` from the folder `JTAV_WEIGHTS_DIR` or the repository's `third_party/weights`; if it is not there, says
/// that test `name` is skipped, on stderr and in the file `JTAV_SKIP_LOG`.
fn real_weights(name: &str) -> Option<Vec<u8>> {
    let folder = std::env::var_os("JTAV_WEIGHTS_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../third_party/weights")),
        PathBuf::from,
    );
    let path = folder.join("lid.176.ftz");
    let error = match std::fs::read(&path) {
        Ok(bytes) => return Some(bytes),
        Err(error) => error,
    };
    let line = format!("SKIPPED {name}: {}: {error}", path.display());
    eprintln!("{line}");
    if let Some(log) = std::env::var_os("JTAV_SKIP_LOG") {
        let mut log = std::fs::File::options().create(true).append(true).open(log).unwrap();
        writeln!(log, "{line}").unwrap();
    }
    None
}

struct Case {
    text: String,
    language: String,
    probability: f32,
}

fn reference() -> Vec<Case> {
    let cases: serde_json::Value = serde_json::from_str(include_str!("fixtures/language.json")).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let cases = cases.as_array().unwrap().iter().map(|case| Case {
        text: text(&case["text"]),
        language: text(&case["language"]),
        probability: case["probability"].as_f64().unwrap() as f32,
    });
    cases.collect()
}

#[test]
fn the_real_model_says_what_fasttext_says_with_it() {
    let Some(bytes) = real_weights("the_real_model_says_what_fasttext_says_with_it") else { return };
    let (model, held) = most_held(|| Languages::from_bytes(&bytes).unwrap());
    assert!(held < 3_000_000, "reading it took {held} bytes");
    assert_eq!(model.languages().count(), 176);
    let cases = reference();
    assert!(cases.len() >= 160);
    for Case { text, language, probability } in cases {
        let found = model.identify(&text);
        assert_eq!(found.language, language, "{text:?}: {found:?}");
        assert!((found.probability - probability).abs() < 1e-3, "{text:?}: {found:?}, {probability}");
    }
}

/// What is overwritten where, as shares of the file; small shares fall into its header.
type Damage = (f64, i64, usize);

fn damage() -> impl Strategy<Value = Vec<Damage>> {
    let place = prop_oneof![0.0..1.0, 0.0..0.006, 0.0..0.1];
    let value = prop_oneof![
        any::<i64>(),
        Just(-1),
        Just(0),
        Just(1),
        Just(i64::MAX),
        Just(i64::MIN),
        Just(i64::from(i32::MAX)),
        Just(i64::from(i32::MIN)),
        Just(i64::from(f32::MAX.to_bits())),
    ];
    prop::collection::vec((place, value, prop::sample::select(vec![1_usize, 4, 8])), 1..6)
}

fn damaged(sound: &[u8], damage: &[Damage], kept: f64) -> Vec<u8> {
    let mut bytes = sound.to_vec();
    for (place, value, width) in damage {
        let at = (bytes.len() as f64 * place) as usize;
        let width = (*width).min(bytes.len() - at);
        bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
    }
    bytes.truncate((bytes.len() as f64 * kept) as usize);
    bytes
}

/// Whether the damaged model could be read. No panic and little memory either way.
fn survives(bytes: &[u8]) -> bool {
    let (model, held) = most_held(|| Languages::from_bytes(bytes));
    // Codes, words and centroids as they are in the file, and tables by number of buckets.
    assert!(held < bytes.len() as i64 * 2 + 3_000_000, "{held} bytes for a file of {}", bytes.len());
    let Ok(model) = model else { return false };
    for text in ["", "the die casa", "ningún otro año wörter", "日本語 😀", "a\u{0}b"] {
        let found = model.identify(text);
        assert!((0.0..=1.0).contains(&found.probability), "{found:?}");
    }
    true
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]
    #[test]
    fn a_damaged_toy_neither_panics_nor_takes_memory(
        damage in damage(), kept in prop_oneof![3 => Just(1.0), 1 => 0.0..1.0], is_whole in any::<bool>(),
    ) {
        let toy: &[u8] =
            if is_whole { include_bytes!("fixtures/toy_whole.ftz") } else { include_bytes!("fixtures/toy_pruned.ftz") };
        survives(&damaged(toy, &damage, kept));
    }
}

#[test]
fn the_damaged_real_model_neither_panics_nor_takes_memory() {
    let Some(sound) = real_weights("the_damaged_real_model_neither_panics_nor_takes_memory") else { return };
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(300)
    });
    let strategy = (damage(), prop_oneof![3 => Just(1.0), 1 => 0.0..1.0]);
    let result = runner.run(&strategy, |(damage, kept)| {
        survives(&damaged(&sound, &damage, kept));
        Ok(())
    });
    result.unwrap();
}
