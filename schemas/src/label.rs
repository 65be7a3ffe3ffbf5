//! What a post is labelled as, and how sure that is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{EnumCount, IntoStaticStr, VariantArray};

use crate::array;

/// Sentiment of a post: the largest of its three probabilities. Of two that are equal `neutral` comes first, then
/// `negative`.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
    EnumCount,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Label {
    /// It speaks badly of something, or of how its author feels.
    Negative,
    /// It says nothing of the kind, or as much of one as of the other.
    Neutral,
    /// It speaks well of something, or of how its author feels.
    Positive,
}

impl Label {
    /// All three, from bad to good.
    pub const ALL: [Label; Label::COUNT] = array(Label::VARIANTS);

    /// The wire and metric name.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The label of a wire name.
    pub fn from_name(name: &str) -> Option<Label> {
        Label::ALL.into_iter().find(|label| label.as_str() == name)
    }
}

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far the three probabilities of a record may be from 1 together: f32 as short decimals.
pub const PROBABILITY_SUM_TOLERANCE: f32 = 1e-4;

/// Calibrated probability of each label; they sum to 1 within 0.0001.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Probabilities {
    /// 0 to 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub negative: f32,
    /// 0 to 1; 0 from a model that knows no neutral posts.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub neutral: f32,
    /// 0 to 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub positive: f32,
}

impl Probabilities {
    /// Of a label.
    pub fn of(&self, label: Label) -> f32 {
        match label {
            Label::Negative => self.negative,
            Label::Neutral => self.neutral,
            Label::Positive => self.positive,
        }
    }

    /// The largest: the label. Of two that are equal `neutral` comes first, then `negative`, so that nothing is called
    /// good or bad by chance. Nothing is said of values that [`check`](Self::check) refuses.
    pub fn label(&self) -> Label {
        let mut best = Label::Neutral;
        for label in [Label::Negative, Label::Positive] {
            if self.of(label) > self.of(best) {
                best = label;
            }
        }
        best
    }

    /// Each within 0 and 1, together 1 within [`PROBABILITY_SUM_TOLERANCE`]; else what is wrong, in words.
    pub fn check(&self) -> Result<(), String> {
        for label in Label::ALL {
            let value = self.of(label);
            if !(0.0..=1.0).contains(&value) {
                return Err(format!("probability of {label} is {value}, not within 0 and 1"));
            }
        }
        let sum = self.negative + self.neutral + self.positive;
        if (sum - 1.0).abs() > PROBABILITY_SUM_TOLERANCE {
            return Err(format!("the three probabilities sum to {sum}"));
        }
        Ok(())
    }
}

/// Why a label is not certain. Where several hold, the one named is that which says most against the numbers: they were
/// never measured on another language.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
    EnumCount,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum UncertainBecause {
    /// The confidence is below the threshold of this combination of modalities, or the model promises nothing of it.
    LowProbability,
    /// The language of the text cannot be told well enough.
    LanguageUnclear,
    /// The text is in a language that the model was not measured on.
    LanguageNotCovered,
}

impl UncertainBecause {
    /// Every reason.
    pub const ALL: [UncertainBecause; UncertainBecause::COUNT] = array(UncertainBecause::VARIANTS);

    /// The wire and metric name.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl std::fmt::Display for UncertainBecause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether `code` is written as a language is in ISO 639: two or three small letters of ASCII.
pub fn is_language_code(code: &str) -> bool {
    (2..=3).contains(&code.len()) && code.bytes().all(|letter| letter.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(negative: f32, neutral: f32, positive: f32) -> Probabilities {
        Probabilities { negative, neutral, positive }
    }

    #[test]
    fn the_label_is_the_largest_and_of_equal_ones_neutral_then_negative() {
        assert_eq!(of(0.2, 0.3, 0.5).label(), Label::Positive);
        assert_eq!(of(0.5, 0.3, 0.2).label(), Label::Negative);
        assert_eq!(of(0.3, 0.4, 0.3).label(), Label::Neutral);
        assert_eq!(of(0.4, 0.4, 0.2).label(), Label::Neutral);
        assert_eq!(of(0.2, 0.4, 0.4).label(), Label::Neutral);
        assert_eq!(of(0.5, 0.0, 0.5).label(), Label::Negative);
    }

    #[test]
    fn probabilities_that_are_none_are_refused() {
        assert!(of(0.2, 0.3, 0.5).check().is_ok());
        for wrong in [of(f32::NAN, 0.5, 0.5), of(-0.1, 0.6, 0.5), of(0.2, 0.3, 0.6), of(0.0, 0.0, 0.0)] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn names_read_back() {
        for label in Label::ALL {
            assert_eq!(Label::from_name(label.as_str()), Some(label));
        }
        assert_eq!(Label::from_name("Neutral"), None);
        assert!(is_language_code("en") && is_language_code("yue"));
        for other in ["", "e", "EN", "en-GB", "engl", "é"] {
            assert!(!is_language_code(other), "{other}");
        }
    }

    proptest! {
        #[test]
        fn no_probability_is_larger_than_that_of_the_label(a in 0f32..1.0, b in 0f32..1.0, c in 0f32..1.0) {
            let probabilities = of(a, b, c);
            let chosen = probabilities.of(probabilities.label());
            prop_assert!(Label::ALL.into_iter().all(|label| probabilities.of(label) <= chosen));
        }
    }
}
