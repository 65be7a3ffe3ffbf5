//! From a fused post to its records.

use jtav_pipeline::{AttentionPart, Embedding, Fused, Language, TextLanguage, decide, now_ms};
use jtav_schemas::{
    AttentionSummary, EmbeddingV1, Modality, ModalityStatus, PerModality, PostV1, SentimentV1, Vector, VectorError,
    event_id,
};

use crate::context::PostContext;

/// Attention of each modality that took part.
pub(crate) type Attention = PerModality<Option<AttentionPart>>;

/// What the record takes from the text, besides its vector.
#[derive(Debug, Default)]
pub(crate) struct TextFacts {
    /// Whether there are more texts than were read.
    pub(crate) is_truncated: bool,
    /// The language that was identified.
    pub(crate) lang: Option<Language>,
    /// Vector for recommenders.
    pub(crate) semantic: Option<Embedding>,
}

pub(crate) fn sentiment(
    post: &PostV1,
    fused: &Fused,
    modalities: PerModality<ModalityStatus>,
    text: &TextFacts,
    attention: Attention,
    context: &PostContext,
) -> SentimentV1 {
    let judgement = &fused.judgement;
    let language = match (&text.lang, modalities.text.is_present()) {
        (_, false) => TextLanguage::NoText,
        (None, true) => TextLanguage::Unidentified,
        (Some(language), true) => TextLanguage::Identified(language),
    };
    let decision = decide(judgement, language, context.languages.as_deref());
    SentimentV1 {
        event_id: event_id(&post.id, post.revision, &context.model_version),
        post_id: post.id.clone(),
        revision: post.revision,
        label: decision.label,
        probabilities: judgement.probabilities,
        valence: judgement.valence,
        probability: judgement.polarity,
        confidence: decision.confidence,
        threshold: judgement.certain_from,
        certain: decision.is_certain(),
        uncertain_because: decision.uncertain_because,
        lang: text.lang.as_ref().map(|language| language.code.clone()),
        // Moods are learned from music alone; without a clip they would be the prior dressed up as a finding.
        moods: if modalities.audio.is_present() { fused.moods.clone() } else { Vec::new() },
        modalities,
        truncated: if text.is_truncated { vec![Modality::Text] } else { Vec::new() },
        attention: summary(attention),
        contributions: fused.contributions,
        model_version: context.model_version.to_string(),
        event_time_ms: context.provenance.record.source.timestamp_ms,
        received_at_ms: context.provenance.received_at_ms,
        labelled_at_ms: now_ms(),
    }
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
    semantic: &Option<Embedding>,
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
        semantic: pack(semantic)?,
        label: sentiment.label,
        certain: sentiment.certain,
        lang: sentiment.lang.clone(),
        model_version: sentiment.model_version.clone(),
        event_time_ms: sentiment.event_time_ms,
        labelled_at_ms: sentiment.labelled_at_ms,
    })
}
