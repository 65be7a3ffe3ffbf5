//! Any record that the types can hold is one that its schema accepts, and reads back as it was.

use std::collections::BTreeMap;

use jtav_schemas::document::schema_of;
use jtav_schemas::*;
use jtav_testkit::Schema;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

fn holds<T>(record: &T) -> Result<(), TestCaseError>
where
    T: JsonSchema + Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    // Through text, as on a topic.
    let text = serde_json::to_string(record).unwrap();
    let value = serde_json::from_str(&text).unwrap();
    let schema = Schema::new(&schema_of::<T>("record")).unwrap();
    if let Err(error) = schema.check(&value) {
        return Err(TestCaseError::fail(format!("{error} in {text}")));
    }
    prop_assert_eq!(&serde_json::from_str::<T>(&text).unwrap(), record);
    Ok(())
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9-]{1,12}", "\\PC{0,8}", Just("\u{0}\"\\\n😀".to_owned())]
}

fn share() -> impl Strategy<Value = f32> {
    0f32..=1.0
}

fn texts() -> impl Strategy<Value = Vec<TextPart>> {
    vec((text(), text()).prop_map(|(role, text)| TextPart { role, text }), 0..3)
}

fn media() -> impl Strategy<Value = Option<MediaRef>> {
    of((text(), of(text()), of(text()), of(any::<u64>())).prop_map(|(url, media_type, sha256, bytes)| MediaRef {
        url,
        media_type,
        sha256,
        bytes,
    }))
}

fn files() -> impl Strategy<Value = Option<DatasetMedia>> {
    of((text(), of(text()), of(text()), of(any::<u64>())).prop_map(|(path, media_type, sha256, bytes)| DatasetMedia {
        path,
        media_type,
        sha256,
        bytes,
    }))
}

fn status() -> impl Strategy<Value = ModalityStatus> {
    prop_oneof![
        Just(ModalityStatus::Present),
        prop::sample::select(AbsentReason::ALL.to_vec()).prop_map(ModalityStatus::Absent),
    ]
}

fn vector() -> impl Strategy<Value = Vector> {
    vec(0.01f32..100.0, 1..20).prop_map(|values| Vector::pack(&values).unwrap())
}

fn attention() -> impl Strategy<Value = AttentionSummary> {
    let words = vec(
        (text(), any::<u32>(), share()).prop_map(|(word, position, weight)| WordWeight { word, position, weight }),
        0..3,
    );
    let spans = vec(
        (0f32..60.0, 0f32..60.0, share()).prop_map(|(start_seconds, end_seconds, weight)| AudioSpan {
            start_seconds,
            end_seconds,
            weight,
        }),
        0..3,
    );
    let cells =
        vec((0u32..7, 0u32..7, share()).prop_map(|(row, column, weight)| ImageCell { row, column, weight }), 0..3);
    (words, spans, cells).prop_map(|(words, audio_spans, image_cells)| AttentionSummary {
        words,
        audio_spans,
        image_cells,
    })
}

/// Three shares of 1.
fn probabilities() -> impl Strategy<Value = Probabilities> {
    (share(), share()).prop_map(|(neutral, of_the_rest)| Probabilities {
        negative: (1.0 - neutral) * (1.0 - of_the_rest),
        neutral,
        positive: (1.0 - neutral) * of_the_rest,
    })
}

prop_compose! {
    fn sentiment()(
        (event_id, post_id, model_version) in (text(), text(), text()),
        revision in any::<u64>(),
        (probabilities, valence) in (probabilities(), -1f32..=1.0),
        (probability, threshold) in (share(), share()),
        uncertain_because in of(prop::sample::select(UncertainBecause::ALL.to_vec())),
        lang in of("[a-z]{2,3}"),
        moods in vec((text(), share()).prop_map(|(tag, probability)| MoodTag { tag, probability }), 0..4),
        modalities in (status(), status(), status()).prop_map(|(text, audio, image)| PerModality { text, audio, image }),
        truncated in vec(prop::sample::select(Modality::ALL.to_vec()), 0..3),
        attention in attention(),
        contributions in of((-9f32..9.0, -9f32..9.0, -9f32..9.0, -9f32..9.0)
            .prop_map(|(text, audio, image, interaction)| Contributions { text, audio, image, interaction })),
        event_time_ms in of(any::<i64>()),
        (received_at_ms, labelled_at_ms) in any::<(i64, i64)>(),
    ) -> SentimentV1 {
        SentimentV1 {
            event_id, post_id, revision, label: probabilities.label(), probabilities, valence, probability,
            confidence: probabilities.of(probabilities.label()), threshold, certain: uncertain_because.is_none(),
            uncertain_because, lang, moods, modalities, truncated, attention, contributions, model_version, event_time_ms, received_at_ms, labelled_at_ms,
        }
    }
}

prop_compose! {
    fn truncation()(
        key in of(any::<Vec<u8>>()), value in of(any::<Vec<u8>>()),
        (headers_left_out, header_bytes_left_out) in any::<(u64, u64)>(),
    ) -> Truncation {
        let whole = |bytes: Option<Vec<u8>>| bytes.as_deref().map(Whole::of);
        Truncation { key: whole(key), value: whole(value), headers_left_out, header_bytes_left_out }
    }
}

prop_compose! {
    fn dead_letter()(
        reason in prop::sample::select(DeadLetterReason::ALL.to_vec()),
        (stage, message, topic, pipeline_version) in (text(), text(), text(), text()),
        (partition, offset) in any::<(i32, i64)>(),
        timestamp_ms in of(any::<i64>()),
        (attempts, replay_count, failed_at_ms) in any::<(u32, u32, i64)>(),
        (model_version, original_key_base64, original_value_base64) in (of(text()), of(text()), of(text())),
        truncated in of(truncation()),
    ) -> DeadLetterV1 {
        DeadLetterV1 {
            reason, stage, message, source: DeliveredFrom { topic, partition, offset, timestamp_ms }, attempts,
            replay_count, failed_at_ms, model_version, pipeline_version, original_key_base64, original_value_base64,
            truncated,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_post_fits_its_schema(
        (id, revision, deleted) in ("[^}\\p{C}]\\PC{0,63}", any::<u64>(), any::<bool>()),
        (author_id, created_at, lang) in (of(text()), of(text()), of(text())),
        (texts, audio, image) in (texts(), media(), media()),
    ) {
        holds(&PostV1 { id, revision, author_id, created_at, lang, texts, audio, image, deleted })?;
    }

    #[test]
    fn any_dataset_post_fits_its_schema(
        (id, revision, split) in (text(), any::<u64>(), of(text())),
        (author_id, created_at, lang) in (of(text()), of(text()), of(text())),
        (texts, audio, image) in (texts(), files(), files()),
        (sentiment, mood) in (of(any::<u8>()), of(text())),
        groups in prop::collection::btree_map(text(), of(text()), 0..3),
        other in prop::collection::btree_map("x[a-z]{1,8}", (-9i64..9).prop_map(serde_json::Value::from), 0..3),
    ) {
        let labels = DatasetLabels { sentiment, mood, other: BTreeMap::from_iter(other) };
        holds(&DatasetPostV1 { id, revision, author_id, created_at, lang, texts, audio, image, labels, split, groups })?;
    }

    #[test]
    fn any_sentiment_fits_its_schema(record in sentiment()) {
        holds(&record)?;
    }

    #[test]
    fn any_embedding_fits_its_schema(
        (event_id, post_id, model_version) in (text(), text(), text()),
        (revision, event_time_ms, labelled_at_ms) in any::<(u64, Option<i64>, i64)>(),
        (fused, text_vector, audio, image) in (vector(), of(vector()), of(vector()), of(vector())),
        (semantic, lang) in (of(vector()), of("[a-z]{2,3}")),
        (label, certain) in (prop::sample::select(Label::ALL.to_vec()), any::<bool>()),
    ) {
        let modalities = PerModality { text: text_vector, audio, image };
        holds(&EmbeddingV1 {
            event_id, post_id, revision, fused, modalities, semantic, label, certain, lang, model_version,
            event_time_ms, labelled_at_ms,
        })?;
    }

    #[test]
    fn any_dead_letter_fits_its_schema(record in dead_letter()) {
        holds(&record)?;
    }

    #[test]
    fn any_erasure_fits_its_schema(
        post_id in text(), (revision, erased_keys, erased_at_ms) in any::<(u64, u32, i64)>(),
    ) {
        holds(&ErasureV1 { post_id, revision, erased_keys, erased_at_ms })?;
    }
}
