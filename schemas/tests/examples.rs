//! The examples, read by the schema and by the program. A `valid-` example is never changed or removed once a release
//! carries it: it stands for the records that lie in topics already.

use std::path::{Path, PathBuf};

use jtav_schemas::document::documents;
use jtav_schemas::{DatasetPostV1, DeadLetterV1, EmbeddingV1, ErasureV1, PostV1, SentimentV1};
use jtav_testkit::Schema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads a record as the program does and writes it again.
fn read(stem: &str, text: &str) -> Result<Value, String> {
    fn through<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(text: &str) -> Result<Value, String> {
        let record: T = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let again = serde_json::to_value(&record).map_err(|error| error.to_string())?;
        assert_eq!(serde_json::from_value::<T>(again.clone()).expect("what is written can be read"), record);
        Ok(again)
    }
    match stem {
        "post.v1" => through::<PostV1>(text),
        "dataset-post.v1" => through::<DatasetPostV1>(text),
        "sentiment.v1" => through::<SentimentV1>(text),
        "embedding.v1" => through::<EmbeddingV1>(text),
        "dead-letter.v1" => through::<DeadLetterV1>(text),
        "erasure.v1" => through::<ErasureV1>(text),
        other => panic!("{other} has no type"),
    }
}

fn examples(stem: &str) -> Vec<(String, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(stem);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = files
        .map(|file| file.unwrap().path())
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), path))
        .collect();
    files.sort();
    files
}

#[test]
fn schema_and_program_accept_and_refuse_the_same_examples() {
    for (stem, document) in documents() {
        let schema = Schema::new(&document).unwrap();
        let (mut valid, mut invalid) = (0, 0);
        for (name, path) in examples(stem) {
            let text = std::fs::read_to_string(&path).unwrap();
            let value: Value = serde_json::from_str(&text).unwrap();
            let by_schema = schema.check(&value);
            let by_program = read(stem, &text);
            match name.split('-').next() {
                Some("valid") => {
                    valid += 1;
                    by_schema.unwrap_or_else(|error| panic!("{stem}/{name}: schema: {error}"));
                    let written = by_program.unwrap_or_else(|error| panic!("{stem}/{name}: program: {error}"));
                    schema.check(&written).unwrap_or_else(|error| panic!("{stem}/{name}, written again: {error}"));
                }
                Some("invalid") => {
                    invalid += 1;
                    assert!(by_schema.is_err(), "{stem}/{name}: the schema accepts it");
                    assert!(by_program.is_err(), "{stem}/{name}: the program accepts it");
                }
                // Ranges: the type has none, and the program checks them where the record enters or leaves. `null` for
                // what is not there: nobody should write it, and it costs nobody a label.
                Some("schema") => {
                    assert!(by_schema.is_err(), "{stem}/{name}: the schema accepts it");
                    assert!(by_program.is_ok(), "{stem}/{name}: an ordinary `invalid-` example");
                }
                _ => panic!("{}: name it valid-, invalid- or schema-only-", path.display()),
            }
        }
        assert!(valid > 0 && invalid > 1, "{stem} lacks examples: {valid} valid, {invalid} invalid");
    }
}

#[test]
fn the_vectors_of_the_example_have_the_stated_size_and_length() {
    let text = include_str!("../examples/embedding.v1/valid-full.json");
    let record: EmbeddingV1 = serde_json::from_str(text).unwrap();
    assert_eq!(record.fused.unpack().unwrap(), [0.5, -0.25, 1.0, 0.125]);
    for vector in [Some(&record.fused), record.modalities.text.as_ref(), record.modalities.audio.as_ref()] {
        let vector = vector.unwrap();
        let length = vector.unpack().unwrap().iter().map(|v| v * v).sum::<f32>().sqrt();
        assert!((length - vector.l2_norm).abs() < 1e-6);
    }
}

#[test]
fn the_event_ids_of_the_examples_are_derived_as_documented() {
    for text in [
        include_str!("../examples/sentiment.v1/valid-full.json"),
        include_str!("../examples/sentiment.v1/valid-text-alone.json"),
    ] {
        let record: SentimentV1 = serde_json::from_str(text).unwrap();
        let derived = jtav_schemas::event_id(&record.post_id, record.revision, &record.model_version);
        assert_eq!(record.event_id, derived, "computed with the blake3 package of Python");
    }
}
