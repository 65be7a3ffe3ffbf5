//! Whether a label is certain: asked of the function that decides it in service, so that what is measured is what is served.

use jtav_model::{Judgement, Language, Middle};
use jtav_pipeline::{CoveredLanguages, TextLanguage, decide};
use jtav_schemas::Probabilities;

/// Code of a text whose language is not known (ISO 639-2).
pub const UNDETERMINED: &str = "und";

/// Whether a checkpoint with this promise gives the label out as certain. `language` is the likeliest one of the post's texts,
/// and is not looked at without a text.
pub fn is_certain(judgement: &Judgement, has_text: bool, language: Option<&Language>, middle: &Middle) -> bool {
    let [negative, neutral, positive] = judgement.probabilities;
    let served = jtav_pipeline::Judgement {
        probabilities: Probabilities { negative, neutral, positive },
        polarity: judgement.polarity,
        valence: judgement.valence,
        certain_from: judgement.certain_from,
    };
    let identified = language
        .map(|language| jtav_pipeline::Language { code: language.code.clone(), probability: language.probability });
    let text = match (&identified, has_text) {
        (_, false) => TextLanguage::NoText,
        (None, true) => TextLanguage::Unidentified,
        (Some(language), true) => TextLanguage::Identified(language),
    };
    let covered = CoveredLanguages { codes: middle.languages.clone(), least_probability: middle.language_confidence };
    decide(&served, text, Some(&covered)).is_certain()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_certain_from_its_threshold_on_and_in_a_language_that_is_covered() {
        let middle = Middle { languages: vec!["en".to_owned()], language_confidence: 0.5, ..Middle::default() };
        let judgement = |certain_from| Judgement { certain_from, ..Judgement::of_logits(4.0, -3.0, 0.0) };
        let language = |code: &str, probability| Language { code: code.to_owned(), probability };
        let (sure, unsure) = (judgement(0.9), judgement(0.995));
        assert!(is_certain(&sure, true, Some(&language("en", 0.8)), &middle));
        assert!(!is_certain(&unsure, true, Some(&language("en", 0.8)), &middle));
        assert!(!is_certain(&sure, true, Some(&language("en", 0.4)), &middle));
        assert!(!is_certain(&sure, true, Some(&language("tr", 0.8)), &middle));
        assert!(!is_certain(&sure, true, None, &middle));
        assert!(is_certain(&sure, true, Some(&language(jtav_model::NO_LANGUAGE, 0.0)), &middle));
        assert!(is_certain(&sure, false, Some(&language("tr", 0.8)), &middle));
    }
}
