//! The JSON Schema documents, generated from the serde types.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value;

use crate::{DatasetPostV1, DeadLetterV1, EmbeddingV1, ErasureV1, PostV1, SentimentV1};

/// Every schema document: file stem and content.
pub fn documents() -> Vec<(&'static str, Value)> {
    vec![
        ("post.v1", schema_of::<PostV1>("post.v1")),
        ("dataset-post.v1", schema_of::<DatasetPostV1>("dataset-post.v1")),
        ("sentiment.v1", schema_of::<SentimentV1>("sentiment.v1")),
        ("embedding.v1", schema_of::<EmbeddingV1>("embedding.v1")),
        ("dead-letter.v1", schema_of::<DeadLetterV1>("dead-letter.v1")),
        ("erasure.v1", schema_of::<ErasureV1>("erasure.v1")),
    ]
}

/// JSON Schema 2020-12 of `T`, as others must read it.
pub fn schema_of<T: JsonSchema>(title: &str) -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<T>().to_value();
    if let Some(object) = schema.as_object_mut() {
        object.insert("title".into(), Value::from(title));
    }
    schema
}
