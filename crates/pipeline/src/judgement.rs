//! From what the networks say to what the record says: label, confidence, and whether the label is certain. Pure, and the
//! one place where this is decided.

use jtav_schemas::{Label, Probabilities, UncertainBecause};

/// Code of a text that is in no language (ISO 639-2): emoji alone, say. Every model covers it.
pub const NO_LANGUAGE: &str = "zxx";

/// What the fusion says of a post.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judgement {
    /// Calibrated.
    pub probabilities: Probabilities,
    /// P(positive | not neutral), calibrated, 0 to 1.
    pub polarity: f32,
    /// -1 to 1.
    pub valence: f32,
    /// Confidence from which a label of this combination of modalities keeps the accuracy that the checkpoint promises.
    /// 1 where it promises nothing: no confidence is enough then, not even one that rounds to 1.
    pub certain_from: f32,
}

/// The language of a text, as it was identified.
#[derive(Debug, Clone, PartialEq)]
pub struct Language {
    /// ISO 639: two letters, or three where there are no two; [`NO_LANGUAGE`] for a text in none.
    pub code: String,
    /// How probable it is, 0 to 1.
    pub probability: f32,
}

/// The languages on which a checkpoint was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct CoveredLanguages {
    /// ISO 639 codes.
    pub codes: Vec<String>,
    /// An identification that is less probable than this tells nothing.
    pub least_probability: f32,
}

/// What is known of the language of a post's text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TextLanguage<'a> {
    /// No text takes part in the label.
    NoText,
    /// There is a text, and nothing could be told of its language.
    Unidentified,
    /// There is a text, most probably in this language.
    Identified(&'a Language),
}

/// What a record says of a judgement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decision {
    /// The largest probability; of equal ones `neutral` first, then `negative`.
    pub label: Label,
    /// Its probability.
    pub confidence: f32,
    /// Why the label is not certain; none where it is.
    pub uncertain_because: Option<UncertainBecause>,
}

impl Decision {
    /// Whether the checkpoint's promise holds for the label.
    pub fn is_certain(&self) -> bool {
        self.uncertain_because.is_none()
    }
}

/// Label, confidence and certainty of a post.
///
/// A language that is not covered, or cannot be told, is named before a low probability: on such a text the probabilities
/// themselves are not to be believed. A checkpoint that states no languages (`covered` is none) is not asked for them.
pub fn decide(judgement: &Judgement, text: TextLanguage<'_>, covered: Option<&CoveredLanguages>) -> Decision {
    let label = judgement.probabilities.label();
    let confidence = judgement.probabilities.of(label);
    let of_language = covered.and_then(|covered| doubt_of_language(text, covered));
    // A NaN is no certainty.
    let is_sure = judgement.certain_from < 1.0 && confidence >= judgement.certain_from;
    let of_probability = if is_sure { None } else { Some(UncertainBecause::LowProbability) };
    Decision { label, confidence, uncertain_because: of_language.or(of_probability) }
}

fn doubt_of_language(text: TextLanguage<'_>, covered: &CoveredLanguages) -> Option<UncertainBecause> {
    let language = match text {
        TextLanguage::NoText => return None,
        TextLanguage::Unidentified => return Some(UncertainBecause::LanguageUnclear),
        TextLanguage::Identified(language) => language,
    };
    if language.code == NO_LANGUAGE {
        return None;
    }
    // A NaN is unclear.
    let is_clear = language.probability >= covered.least_probability;
    if !is_clear {
        return Some(UncertainBecause::LanguageUnclear);
    }
    let is_covered = covered.codes.contains(&language.code);
    if is_covered { None } else { Some(UncertainBecause::LanguageNotCovered) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn judgement(negative: f32, neutral: f32, positive: f32, certain_from: f32) -> Judgement {
        let probabilities = Probabilities { negative, neutral, positive };
        Judgement {
            probabilities,
            polarity: positive / (negative + positive),
            valence: positive - negative,
            certain_from,
        }
    }

    fn language(code: &str, probability: f32) -> Language {
        Language { code: code.to_owned(), probability }
    }

    fn english() -> CoveredLanguages {
        CoveredLanguages { codes: vec!["en".to_owned()], least_probability: 0.7 }
    }

    #[test]
    fn a_label_is_certain_from_its_threshold_on() {
        let sure = decide(&judgement(0.1, 0.2, 0.7, 0.7), TextLanguage::NoText, None);
        assert_eq!(sure, Decision { label: Label::Positive, confidence: 0.7, uncertain_because: None });
        let unsure = decide(&judgement(0.1, 0.2, 0.7, 0.71), TextLanguage::NoText, None);
        assert_eq!((unsure.label, unsure.uncertain_because), (Label::Positive, Some(UncertainBecause::LowProbability)));
    }

    #[test]
    fn nothing_is_certain_where_nothing_is_promised() {
        let decision = decide(&judgement(0.0, 0.0, 1.0, 1.0), TextLanguage::NoText, None);
        assert_eq!((decision.confidence, decision.is_certain()), (1.0, false));
    }

    #[test]
    fn a_language_that_is_foreign_or_unclear_is_named_before_a_low_probability() {
        let (sure, unsure) = (judgement(0.0, 0.1, 0.9, 0.5), judgement(0.3, 0.4, 0.3, 0.5));
        let covered = english();
        let because = |judgement, text| decide(judgement, text, Some(&covered)).uncertain_because;
        let (en, weak, pt, guess) =
            (language("en", 0.9), language("en", 0.6), language("pt", 0.9), language("pt", 0.3));
        for judgement in [&sure, &unsure] {
            let foreign = Some(UncertainBecause::LanguageNotCovered);
            let unclear = Some(UncertainBecause::LanguageUnclear);
            assert_eq!(because(judgement, TextLanguage::Identified(&pt)), foreign);
            assert_eq!(because(judgement, TextLanguage::Identified(&weak)), unclear);
            assert_eq!(because(judgement, TextLanguage::Identified(&guess)), unclear);
            assert_eq!(because(judgement, TextLanguage::Unidentified), unclear);
        }
        assert_eq!(because(&sure, TextLanguage::Identified(&en)), None);
        assert_eq!(because(&unsure, TextLanguage::Identified(&en)), Some(UncertainBecause::LowProbability));
    }

    #[test]
    fn a_post_without_text_or_with_emoji_alone_is_in_no_foreign_language() {
        let (sure, covered, emoji) = (judgement(0.0, 0.1, 0.9, 0.5), english(), language(NO_LANGUAGE, 0.0));
        assert!(decide(&sure, TextLanguage::NoText, Some(&covered)).is_certain());
        assert!(decide(&sure, TextLanguage::Identified(&emoji), Some(&covered)).is_certain());
    }

    #[test]
    fn a_checkpoint_that_states_no_languages_is_not_asked_for_them() {
        let sure = judgement(0.0, 0.1, 0.9, 0.5);
        assert!(decide(&sure, TextLanguage::Unidentified, None).is_certain());
        assert!(decide(&sure, TextLanguage::Identified(&language("pt", 1.0)), None).is_certain());
    }

    fn any_text() -> impl Strategy<Value = Option<Option<Language>>> {
        let code = prop::sample::select(vec!["en", "pt", NO_LANGUAGE, ""]);
        let probability = prop_oneof![0f32..=1.0, Just(f32::NAN)];
        prop::option::of(prop::option::of((code, probability).prop_map(|(code, p)| language(code, p))))
    }

    fn text(of: &Option<Option<Language>>) -> TextLanguage<'_> {
        match of {
            None => TextLanguage::NoText,
            Some(None) => TextLanguage::Unidentified,
            Some(Some(language)) => TextLanguage::Identified(language),
        }
    }

    proptest! {
        #[test]
        fn the_label_never_depends_on_language_or_threshold(
            (a, b, c) in (0f32..1.0, 0f32..1.0, 0f32..1.0), certain_from in 0f32..=1.0, of in any_text(), covers in any::<bool>(),
        ) {
            let sum = (a + b + c).max(1e-3);
            let judgement = judgement(a / sum, b / sum, c / sum, certain_from);
            let covered = english();
            let decision = decide(&judgement, text(&of), covers.then_some(&covered));
            prop_assert_eq!(decision.label, judgement.probabilities.label());
            prop_assert_eq!(decision.confidence, judgement.probabilities.of(decision.label));
        }

        #[test]
        fn a_certain_label_has_its_confidence_and_a_language_that_is_covered(
            (a, b, c) in (0f32..1.0, 0f32..1.0, 0f32..1.0), certain_from in 0f32..=1.0, of in any_text(),
        ) {
            let sum = (a + b + c).max(1e-3);
            let judgement = judgement(a / sum, b / sum, c / sum, certain_from);
            let covered = english();
            let decision = decide(&judgement, text(&of), Some(&covered));
            let is_readable = match &of {
                None => true,
                Some(None) => false,
                Some(Some(language)) => {
                    language.code == NO_LANGUAGE || (language.code == "en" && language.probability >= 0.7)
                }
            };
            prop_assert_eq!(decision.is_certain(), is_readable && decision.confidence >= certain_from && certain_from < 1.0);
        }

        #[test]
        fn a_higher_threshold_never_makes_a_label_certain(
            (a, b) in (0f32..1.0, 0f32..1.0), (low, more) in (0f32..1.0, 0f32..1.0), of in any_text(),
        ) {
            let sum = (a + b).max(1e-3);
            let at = |from| decide(&judgement(a / sum, 0.0, b / sum, from), text(&of), None).is_certain();
            prop_assert!(at(low) || !at((low + more).min(1.0)));
        }
    }
}
