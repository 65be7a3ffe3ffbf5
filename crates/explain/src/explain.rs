//! From a record to what is said of it.

use jtav_schemas::{AudioSpan, Contributions, ImageCell, Modality, ModalityStatus, SentimentV1, TextPart, WordWeight};

use crate::explanation::{CellWeight, Explanation, Part, Second, Word};
use crate::fragments::{CELLS_PER_ROW, ends, picture_fragment, sound_fragment};
use crate::located::{Place, places};
use crate::sentences::sentences;

impl Explanation {
    /// Explains `sentiment`. With the `texts` of the very revision that was labelled, in their order, words get their places; a
    /// word that cannot be told to stand where it was read gets none. Time grows with the texts' length.
    pub fn of(sentiment: &SentimentV1, texts: Option<&[TextPart]>) -> Self {
        let shares = Shares::of(sentiment.contributions.as_ref());
        let part = |(modality, status): (Modality, &ModalityStatus)| Part {
            modality,
            status: status.as_str().to_owned(),
            truncated: sentiment.truncated.contains(&modality),
            share: shares.of_modality(modality),
        };
        let mut explanation = Self {
            post_id: sentiment.post_id.clone(),
            revision: sentiment.revision,
            model_version: sentiment.model_version.clone(),
            label: sentiment.label,
            certain: sentiment.certain,
            uncertain_because: sentiment.uncertain_because,
            probabilities: sentiment.probabilities,
            valence: sentiment.valence,
            confidence: sentiment.confidence,
            threshold: sentiment.threshold,
            lang: sentiment.lang.clone(),
            contributions: sentiment.contributions,
            parts: sentiment.modalities.iter().map(part).collect(),
            words: words(sentiment, texts),
            seconds: seconds(sentiment),
            cells: cells(sentiment),
            moods: sentiment.moods.clone(),
            sentences: Vec::new(),
        };
        explanation.sentences = sentences(&explanation, shares.interaction);
        explanation
    }
}

fn words(sentiment: &SentimentV1, texts: Option<&[TextPart]>) -> Vec<Word> {
    let weighted = &sentiment.attention.words;
    let places = places(weighted, texts.unwrap_or_default());
    let word = |(weighted, place): (&WordWeight, Option<Place>)| Word {
        word: weighted.word.clone(),
        position: weighted.position,
        weight: weighted.weight,
        text_index: place.map(|place| place.text_index),
        start: place.map(|place| place.start),
        end: place.map(|place| place.end),
    };
    weighted.iter().zip(places).map(word).collect()
}

fn seconds(sentiment: &SentimentV1) -> Vec<Second> {
    let second = |span: &AudioSpan| {
        let (start_seconds, end_seconds) = ends(span);
        let fragment = sound_fragment(&sentiment.post_id, span);
        Second { start_seconds, end_seconds, weight: span.weight, fragment }
    };
    sentiment.attention.audio_spans.iter().map(second).collect()
}

/// One beyond the grid, which no worker writes, is left out: nothing could be shown there.
fn cells(sentiment: &SentimentV1) -> Vec<CellWeight> {
    let is_there = |cell: &&ImageCell| cell.row < CELLS_PER_ROW && cell.column < CELLS_PER_ROW;
    let cell = |cell: &ImageCell| CellWeight {
        row: cell.row,
        column: cell.column,
        weight: cell.weight,
        fragment: picture_fragment(&sentiment.post_id, cell),
    };
    sentiment.attention.image_cells.iter().filter(is_there).map(cell).collect()
}

/// Shares of what moved a label; 0 where nothing did, or the record does not say.
struct Shares {
    text: f32,
    audio: f32,
    image: f32,
    interaction: f32,
}

impl Shares {
    fn of(contributions: Option<&Contributions>) -> Self {
        let size = |value: f32| if value.is_finite() { value.abs() } else { 0.0 };
        let Contributions { text, audio, image, interaction } = contributions.copied().unwrap_or_default();
        let [text, audio, image, interaction] = [text, audio, image, interaction].map(size);
        // In f64: four large f32 may be infinite together.
        let all: f64 = [text, audio, image, interaction].into_iter().map(f64::from).sum();
        let share = |value: f32| if all > 0.0 { (f64::from(value) / all) as f32 } else { 0.0 };
        Self { text: share(text), audio: share(audio), image: share(image), interaction: share(interaction) }
    }

    fn of_modality(&self, modality: Modality) -> f32 {
        match modality {
            Modality::Text => self.text,
            Modality::Audio => self.audio,
            Modality::Image => self.image,
        }
    }
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
