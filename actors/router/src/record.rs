//! From a fused post to its records.

use jtav_pipeline::{AttentionPart, Embedding, Fused, now_ms};
use jtav_schemas::{
    AttentionSummary, EmbeddingV1, Label, Modality, ModalityStatus, PerModality, PostV1, SentimentV1, Vector,
    VectorError, event_id,
};

use crate::context::PostContext;

/// Attention of each modality that took part.
pub(crate) type Attention = PerModality<Option<AttentionPart>>;

pub(crate) fn sentiment(
    post: &PostV1,
    fused: &Fused,
    modalities: PerModality<ModalityStatus>,
    truncated: Vec<Modality>,
    attention: Attention,
    context: &PostContext,
) -> SentimentV1 {
    let positive = fused.probability >= fused.threshold;
    SentimentV1 {
        event_id: event_id(&post.id, post.revision, &context.model_version),
        post_id: post.id.clone(),
        revision: post.revision,
        label: if positive { Label::Positive } else { Label::Negative },
        probability: fused.probability,
        confidence: confidence(fused.probability, fused.threshold),
        threshold: fused.threshold,
        // Moods are learned from music alone; without a clip they would be the prior dressed up as a finding.
        moods: if modalities.audio.is_present() { fused.moods.clone() } else { Vec::new() },
        modalities,
        truncated,
        attention: summary(attention),
        contributions: fused.contributions,
        model_version: context.model_version.to_string(),
        event_time_ms: context.provenance.record.source.timestamp_ms,
        received_at_ms: context.provenance.received_at_ms,
        labelled_at_ms: now_ms(),
    }
}

/// Distance of a probability from the threshold, scaled to the room there is on its side.
fn confidence(probability: f32, threshold: f32) -> f32 {
    let (distance, room) = if probability >= threshold {
        (probability - threshold, 1.0 - threshold)
    } else {
        (threshold - probability, threshold)
    };
    if room > 0.0 { (distance / room).clamp(0.0, 1.0) } else { 1.0 }
}

fn summary(attention: Attention) -> AttentionSummary {
    let mut summary = AttentionSummary::default();
    for part in [attention.text, attention.audio, attention.image].into_iter().flatten() {
        match part {
            AttentionPart::Words(words) => summary.words = words,
            AttentionPart::Spans(spans) => summary.audio_spans = spans,
            AttentionPart::Cells(cells) => summary.image_cells = cells,
        }
    }
    summary
}

pub(crate) fn embedding(
    sentiment: &SentimentV1,
    fused: &Fused,
    vectors: &PerModality<Option<Embedding>>,
) -> Result<EmbeddingV1, VectorError> {
    let pack = |vector: &Option<Embedding>| vector.as_ref().map(|v| Vector::pack(v.values())).transpose();
    Ok(EmbeddingV1 {
        event_id: sentiment.event_id.clone(),
        post_id: sentiment.post_id.clone(),
        revision: sentiment.revision,
        fused: Vector::pack(fused.u.values())?,
        modalities: PerModality {
            text: pack(&vectors.text)?,
            audio: pack(&vectors.audio)?,
            image: pack(&vectors.image)?,
        },
        model_version: sentiment.model_version.clone(),
        labelled_at_ms: sentiment.labelled_at_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::confidence;

    #[test]
    fn confidence_is_0_at_the_threshold_and_1_at_certainty_on_both_sides() {
        for threshold in [0.3, 0.5, 0.72] {
            assert_eq!(confidence(threshold, threshold), 0.0);
            assert_eq!(confidence(1.0, threshold), 1.0);
            assert_eq!(confidence(0.0, threshold), 1.0);
        }
        assert_eq!(confidence(1.0, 1.0), 1.0);
    }
}
