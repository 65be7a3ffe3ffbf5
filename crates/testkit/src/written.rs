//! What a worker writes of a post: for tests that write it by hand.

use std::time::Duration;

use jtav_schemas::{
    AbsentReason, AttentionSummary, EmbeddingV1, Label, ModalityStatus, PerModality, Probabilities, SentimentV1,
    UncertainBecause, Vector, VectorError, event_id,
};
use jtav_store::{LabelWrite, Source};

/// How long the store keeps it: longer than any test.
const TTL: Duration = Duration::from_secs(3_600);

/// An uncertain label of an English text, without reasons, made at `at_ms`, milliseconds since 1970.
pub fn sentiment_of(post_id: &str, revision: u64, label: Label, model: &str, at_ms: i64) -> SentimentV1 {
    let absent = ModalityStatus::Absent(AbsentReason::Absent);
    let of = |wanted: Label| if wanted == label { 0.8 } else { 0.1 };
    SentimentV1 {
        event_id: event_id(post_id, revision, model),
        post_id: post_id.to_owned(),
        revision,
        label,
        probabilities: Probabilities {
            negative: of(Label::Negative),
            neutral: of(Label::Neutral),
            positive: of(Label::Positive),
        },
        valence: 0.5,
        probability: 0.8,
        confidence: 0.8,
        threshold: 0.9,
        certain: false,
        uncertain_because: Some(UncertainBecause::LowProbability),
        lang: Some("en".to_owned()),
        moods: Vec::new(),
        modalities: PerModality { text: ModalityStatus::Present, audio: absent, image: absent },
        truncated: Vec::new(),
        attention: AttentionSummary::default(),
        contributions: None,
        model_version: model.to_owned(),
        event_time_ms: Some(at_ms),
        received_at_ms: at_ms,
        labelled_at_ms: at_ms,
    }
}

/// The vectors beside a label: the fused one alone.
pub fn embedding_of(sentiment: &SentimentV1, fused: Vector) -> EmbeddingV1 {
    EmbeddingV1 {
        event_id: sentiment.event_id.clone(),
        post_id: sentiment.post_id.clone(),
        revision: sentiment.revision,
        fused,
        modalities: PerModality::default(),
        semantic: None,
        label: sentiment.label,
        certain: sentiment.certain,
        lang: sentiment.lang.clone(),
        model_version: sentiment.model_version.clone(),
        event_time_ms: sentiment.event_time_ms,
        labelled_at_ms: sentiment.labelled_at_ms,
    }
}

/// The write to the store that stands for both.
///
/// # Errors
/// A vector that was not packed.
pub fn write_of(sentiment: &SentimentV1, embedding: &EmbeddingV1, source: Source) -> Result<LabelWrite, VectorError> {
    let packed = |vector: Option<&Vector>| vector.map(Vector::packed).transpose();
    let modalities = &embedding.modalities;
    Ok(LabelWrite {
        post_id: sentiment.post_id.clone(),
        revision: sentiment.revision,
        source,
        model_version: sentiment.model_version.clone(),
        event_id: sentiment.event_id.clone(),
        label: sentiment.label,
        certain: sentiment.certain,
        probabilities: sentiment.probabilities,
        valence: sentiment.valence,
        probability: sentiment.probability,
        lang: sentiment.lang.clone(),
        sentiment_json: serde_json::to_vec(sentiment).expect("Invariant: a record is JSON").into(),
        u: embedding.fused.packed()?,
        modalities: PerModality {
            text: packed(modalities.text.as_ref())?,
            audio: packed(modalities.audio.as_ref())?,
            image: packed(modalities.image.as_ref())?,
        },
        semantic: packed(embedding.semantic.as_ref())?,
        labelled_at_ms: sentiment.labelled_at_ms,
        ttl: TTL,
    })
}
