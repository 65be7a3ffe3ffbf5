//! Nothing is published that a reader could not use: others have shipped NaN or all-zero vectors without an
//! error (ADR 41).

use std::time::Duration;

use bytes::Bytes;
use jtav_pipeline::{PublishRequest, Stage, StageError};
use jtav_schemas::{DeadLetterReason, EmbeddingV1, SentimentV1, Vector, is_language_code};
use jtav_store::{LabelWrite, Source};

/// A checked post, ready to be written.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) write: LabelWrite,
    pub(crate) embedding_json: Bytes,
}

/// Room for rounding in sums of f32 shares.
const SUM_TOLERANCE: f32 = 1e-2;

/// Checks both records and packs them for the store and the topics.
pub(crate) fn prepare(request: &PublishRequest, ttl: Duration) -> Result<Prepared, StageError> {
    let (sentiment, embedding) = (request.sentiment.as_ref(), request.embedding.as_ref());
    if (&sentiment.post_id, sentiment.revision, &sentiment.event_id, &sentiment.model_version)
        != (&embedding.post_id, embedding.revision, &embedding.event_id, &embedding.model_version)
    {
        // Not the post's fault: two posts were mixed up.
        return Err(StageError::fatal(
            Stage::Publisher,
            "records_disagree",
            "label and vectors are of different posts",
        ));
    }
    let unusable = |what: String| StageError::permanent(Stage::Publisher, DeadLetterReason::NonFiniteOutput, what);
    check_sentiment(sentiment).map_err(unusable)?;
    let u = packed("fused", &embedding.fused).map_err(unusable)?;
    let mut modalities = jtav_schemas::PerModality::default();
    for (modality, vector) in embedding.modalities.iter() {
        if vector.is_some() != sentiment.modalities.get(modality).is_present() {
            return Err(unusable(format!("{modality}: status and vector disagree")));
        }
        if let Some(vector) = vector {
            *modalities.get_mut(modality) = Some(packed(modality.as_str(), vector).map_err(unusable)?);
        }
    }
    if embedding.semantic.is_some() && embedding.modalities.text.is_none() {
        return Err(unusable("a semantic vector without a text".to_owned()));
    }
    let semantic =
        embedding.semantic.as_ref().map(|vector| packed("semantic", vector)).transpose().map_err(unusable)?;
    let write = LabelWrite {
        post_id: sentiment.post_id.clone(),
        revision: sentiment.revision,
        source: Source { partition: request.source.partition, offset: request.source.offset },
        model_version: sentiment.model_version.clone(),
        event_id: sentiment.event_id.clone(),
        label: sentiment.label,
        certain: sentiment.certain,
        probabilities: sentiment.probabilities,
        valence: sentiment.valence,
        probability: sentiment.probability,
        lang: sentiment.lang.clone(),
        sentiment_json: json_of_about(sentiment, SENTIMENT_BYTES)?,
        u,
        modalities,
        semantic,
        labelled_at_ms: sentiment.labelled_at_ms,
        ttl,
    };
    let vectors = embedding.modalities.iter().filter_map(|(_, vector)| vector.as_ref());
    let vectors = vectors.chain([&embedding.fused]).chain(&embedding.semantic);
    let bytes = EMBEDDING_BYTES + vectors.map(|vector| vector.f16_le.len().div_ceil(3) * 4).sum::<usize>();
    Ok(Prepared { write, embedding_json: json_of_about::<EmbeddingV1>(embedding, bytes)? })
}

/// A label with some words of attention, and vectors without their numbers. What grows step by step from nothing is copied five
/// times; a larger one is copied once.
const SENTIMENT_BYTES: usize = 2_048;
const EMBEDDING_BYTES: usize = 1_024;

pub(crate) fn json<T: serde::Serialize>(record: &T) -> Result<Bytes, StageError> {
    json_of_about(record, 0)
}

/// As JSON, of which about so many bytes are expected.
fn json_of_about<T: serde::Serialize>(record: &T, bytes: usize) -> Result<Bytes, StageError> {
    let mut json = Vec::with_capacity(bytes);
    serde_json::to_writer(&mut json, record)
        .map_err(|error| StageError::permanent(Stage::Publisher, DeadLetterReason::NonFiniteOutput, error))?;
    Ok(json.into())
}

/// The bytes of a vector: finite, not all zero, as many as declared.
fn packed(name: &str, vector: &Vector) -> Result<Bytes, String> {
    let bytes = vector.packed().map_err(|error| format!("vector `{name}`: {error}"))?;
    let bits = || bytes.chunks_exact(2).map(|half| u16::from_le_bytes([half[0], half[1]]));
    // IEEE 754 binary16: an exponent of ones is an infinity or no number.
    if let Some(index) = bits().position(|half| half & 0x7c00 == 0x7c00) {
        return Err(format!("vector `{name}`: component {index} is not finite"));
    }
    // Small numbers vanish in half precision, so the declared length alone proves nothing.
    if bits().all(|half| half & 0x7fff == 0) || !vector.l2_norm.is_finite() || vector.l2_norm <= 0.0 {
        return Err(format!("vector `{name}` has no length"));
    }
    Ok(bytes)
}

fn check_sentiment(sentiment: &SentimentV1) -> Result<(), String> {
    for (name, value) in [
        ("probability", sentiment.probability),
        ("confidence", sentiment.confidence),
        ("threshold", sentiment.threshold),
    ] {
        check_share(name, value)?;
    }
    check_decision(sentiment)?;
    let moods = check_shares("mood", sentiment.moods.iter().map(|mood| mood.probability))?;
    // The four quadrants are one distribution; a shorter list is the top of it.
    if sentiment.moods.len() == 4 && moods < 1.0 - SUM_TOLERANCE {
        return Err(format!("mood probabilities sum to {moods}"));
    }
    let attention = &sentiment.attention;
    check_shares("word weight", attention.words.iter().map(|word| word.weight))?;
    check_shares("audio weight", attention.audio_spans.iter().map(|span| span.weight))?;
    check_shares("image weight", attention.image_cells.iter().map(|cell| cell.weight))?;
    // JSON has no NaN: it would be written as null, which no reader accepts.
    if attention.audio_spans.iter().any(|span| !(span.start_seconds.is_finite() && span.end_seconds.is_finite())) {
        return Err("audio span without a time".to_owned());
    }
    let parts = sentiment.contributions.map(|part| [part.text, part.audio, part.image, part.interaction]);
    if parts.is_some_and(|parts| !parts.iter().all(|value| value.is_finite())) {
        return Err("a contribution is not finite".to_owned());
    }
    Ok(())
}

/// Label, certainty and language say what the numbers beside them say.
fn check_decision(sentiment: &SentimentV1) -> Result<(), String> {
    sentiment.probabilities.check()?;
    if !(-1.0..=1.0).contains(&sentiment.valence) {
        return Err(format!("valence is {}, not within -1 and 1", sentiment.valence));
    }
    let label = sentiment.probabilities.label();
    if (sentiment.label, sentiment.confidence) != (label, sentiment.probabilities.of(label)) {
        return Err(format!("label or confidence are not those of the largest probability, of {label}"));
    }
    if sentiment.certain == sentiment.uncertain_because.is_some() {
        return Err("certainty and its reason disagree".to_owned());
    }
    if sentiment.certain && sentiment.confidence < sentiment.threshold {
        return Err(format!("certain at {} below {}", sentiment.confidence, sentiment.threshold));
    }
    match &sentiment.lang {
        Some(code) if !is_language_code(code) => Err("the language is no ISO 639 code".to_owned()),
        _ => Ok(()),
    }
}

fn check_share(name: &str, value: f32) -> Result<(), String> {
    if (0.0..=1.0).contains(&value) { Ok(()) } else { Err(format!("{name} is {value}, not within 0 and 1")) }
}

/// Each within 0 and 1, together no more than 1; answers the sum.
fn check_shares(name: &str, values: impl Iterator<Item = f32>) -> Result<f32, String> {
    let mut sum = 0.0;
    for value in values {
        check_share(name, value)?;
        sum += value;
    }
    if sum <= 1.0 + SUM_TOLERANCE { Ok(sum) } else { Err(format!("{name}: shares sum to {sum}")) }
}
