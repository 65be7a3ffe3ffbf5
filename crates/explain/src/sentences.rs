//! The explanation in plain English, for a moderator who knows neither logits nor attention.

use jtav_schemas::{AbsentReason, Label, Modality, ModalityStatus, UncertainBecause};

use crate::explanation::{Explanation, Part};
use crate::fragments::seconds;

/// From this share on, one part decided.
const DECIDES_FROM: f32 = 0.6;
/// A part below this share is not spoken of.
const NAMED_FROM: f32 = 0.1;
/// From this share on, it is said that the parts mean something else together.
const INTERACTION_FROM: f32 = 0.25;
/// Words that are named at most.
const NAMED_WORDS: usize = 2;
/// Of a row of seven, what is left (top) of the middle and what is right (below) of it.
const EDGE_CELLS: [u32; 2] = [2, 4];

/// What is said of `explanation`, whose own sentences are not there yet.
pub(crate) fn sentences(explanation: &Explanation, interaction: f32) -> Vec<String> {
    let mut said = vec![verdict(explanation)];
    said.extend(doubt(explanation));
    said.extend(decided(explanation));
    if interaction >= INTERACTION_FROM {
        let share = per_cent(interaction);
        said.push(format!(
            "Read together the parts say something else than each by itself: {share} of what moved the label."
        ));
    }
    said.extend(disagreement(explanation));
    said.extend(heard(explanation));
    said.extend(seen(explanation));
    said.extend(explanation.parts.iter().filter_map(missing));
    said.extend(explanation.parts.iter().filter_map(cut));
    said.extend(mood(explanation));
    said
}

fn verdict(explanation: &Explanation) -> String {
    let share = per_cent(explanation.confidence);
    let certain = if explanation.certain { "certain" } else { "not certain" };
    format!("The post is {}, with a probability of {share}; {certain}.", explanation.label)
}

fn doubt(explanation: &Explanation) -> Option<String> {
    let language = || explanation.lang.as_ref().map_or_else(String::new, |code| format!(" ({code})"));
    Some(match explanation.uncertain_because.filter(|_| !explanation.certain)? {
        UncertainBecause::LowProbability if explanation.threshold >= 1.0 => {
            "Not certain: the model promises nothing for posts of these parts.".to_owned()
        }
        UncertainBecause::LowProbability => {
            let needed = per_cent(explanation.threshold);
            format!("Not certain: such labels keep the promised accuracy from a probability of {needed} on.")
        }
        UncertainBecause::LanguageUnclear => {
            "Not certain: the language of the text cannot be told well enough.".to_owned()
        }
        UncertainBecause::LanguageNotCovered => {
            format!("Not certain: the text is in a language{} the model was not measured on.", language())
        }
    })
}

/// Which part moved the label, or which two.
fn decided(explanation: &Explanation) -> Option<String> {
    let mut by_share: Vec<&Part> = explanation.parts.iter().filter(|part| part.share >= NAMED_FROM).collect();
    by_share.sort_by(|a, b| b.share.total_cmp(&a.share));
    let first = by_share.first()?;
    let words = words(explanation, by_share.iter().any(|part| part.modality == Modality::Text));
    let is_alone = explanation.parts.iter().filter(|part| is_present(part)).count() == 1;
    Some(match by_share.get(1) {
        _ if is_alone => format!("There was nothing but {} to go by{words}.", the(first.modality)),
        _ if first.share >= DECIDES_FROM => {
            let (name, share) = (capital(the(first.modality)), per_cent(first.share));
            format!("{name} decided: {share} of what moved the label{words}.")
        }
        Some(second) => {
            let (name, share) = (capital(the(first.modality)), per_cent(first.share));
            let (other, other_share) = (the(second.modality), per_cent(second.share));
            format!("{name} ({share} of what moved the label) and {other} ({other_share}) decided together{words}.")
        }
        None => format!("{} moved the label by {}{words}.", capital(the(first.modality)), per_cent(first.share)),
    })
}

/// `; "lovely" and "day" weighed most`.
fn words(explanation: &Explanation, is_text_named: bool) -> String {
    let mut named: Vec<String> = Vec::new();
    for word in explanation.words.iter().filter(|_| is_text_named) {
        let quoted = format!("\"{}\"", word.word);
        // A word may stand in a text more than once.
        if named.len() < NAMED_WORDS && !named.contains(&quoted) {
            named.push(quoted);
        }
    }
    if named.is_empty() { String::new() } else { format!("; {} weighed most", named.join(" and ")) }
}

/// Parts that speak for `positive` and for `negative`.
fn disagreement(explanation: &Explanation) -> Option<String> {
    let contributions = explanation.contributions?;
    let of = |modality| match modality {
        Modality::Text => contributions.text,
        Modality::Audio => contributions.audio,
        Modality::Image => contributions.image,
    };
    let named = |wanted: fn(f32) -> bool| -> Vec<&str> {
        let parts = explanation.parts.iter().filter(|part| part.share >= NAMED_FROM && wanted(of(part.modality)));
        parts.map(|part| the(part.modality)).collect()
    };
    let (good, bad) = (named(|value| value > 0.0), named(|value| value < 0.0));
    if good.is_empty() || bad.is_empty() {
        return None;
    }
    let speaks = |parts: &[&str]| if parts.len() == 1 { "speaks" } else { "speak" };
    let (for_good, for_bad) = (capital(&good.join(" and ")), bad.join(" and "));
    let neutral = if explanation.label == Label::Neutral { ", which leaves the post in the middle" } else { "" };
    Some(format!("{for_good} {} for positive, {for_bad} for negative{neutral}.", speaks(&good)))
}

fn heard(explanation: &Explanation) -> Option<String> {
    let first = explanation.seconds.first()?;
    let (start, end) = (seconds(first.start_seconds), seconds(first.end_seconds));
    Some(format!("In the clip the stretch from second {start} to {end} was listened to most."))
}

fn seen(explanation: &Explanation) -> Option<String> {
    let first = explanation.cells.first()?;
    let side = |at: u32, names: [&'static str; 3]| match at {
        at if at < EDGE_CELLS[0] => names[0],
        at if at <= EDGE_CELLS[1] => names[1],
        _ => names[2],
    };
    let place = match (side(first.row, ["top", "", "bottom"]), side(first.column, ["left", "", "right"])) {
        ("", "") => "the middle".to_owned(),
        (row, "") => format!("the {row}"),
        ("", column) => format!("the {column}"),
        (row, column) => format!("the {row} {column}"),
    };
    // For what, the record does not say: the picture as a whole may speak against the label.
    Some(format!("In the picture {place} was looked at most."))
}

fn missing(part: &Part) -> Option<String> {
    let absent = |reason: &AbsentReason| reason.as_str() == part.status;
    let reason = AbsentReason::ALL.into_iter().find(absent).filter(|reason| *reason != AbsentReason::Absent)?;
    Some(format!("{} was not used: {}.", capital(the(part.modality)), why(reason)))
}

fn why(reason: AbsentReason) -> &'static str {
    match reason {
        AbsentReason::Absent => "the post has none",
        AbsentReason::FetchDenied => "its address is not one that may be fetched",
        AbsentReason::FetchFailed => "its host answered with an error or not at all",
        AbsentReason::NotFound => "its host answered that it is not there (404 or 410)",
        AbsentReason::Timeout => "it did not come in time",
        AbsentReason::TooLarge => "it is larger than the limits allow",
        AbsentReason::TypeMismatch => "it is not of the kind that the post declares",
        AbsentReason::HashMismatch => "it does not have the hash that the post declares",
        AbsentReason::Unsupported => "its format is not decoded here",
        AbsentReason::DecodeError => "it is damaged or empty",
    }
}

fn cut(part: &Part) -> Option<String> {
    let name = if part.modality == Modality::Text { "texts" } else { the(part.modality).trim_start_matches("the ") };
    part.truncated.then(|| format!("Only the beginning of the {name} was read; the post has more."))
}

fn mood(explanation: &Explanation) -> Option<String> {
    let first = explanation.moods.first()?;
    let sounds = match first.tag.as_str() {
        "Q1" => "happy and lively",
        "Q2" => "tense or angry",
        "Q3" => "sad or dull",
        "Q4" => "calm and pleasant",
        _ => return None,
    };
    Some(format!("The clip sounds {sounds} ({}, {}).", first.tag, per_cent(first.probability)))
}

fn is_present(part: &Part) -> bool {
    part.status == ModalityStatus::Present.as_str()
}

fn the(modality: Modality) -> &'static str {
    match modality {
        Modality::Text => "the text",
        Modality::Audio => "the clip",
        Modality::Image => "the picture",
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Never "100 %" of what is not all, nor "0 %" of what is something.
fn per_cent(share: f32) -> String {
    let share = if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) * 100.0 };
    match share {
        share if share > 99.0 && share < 100.0 => "more than 99 %".to_owned(),
        share if share > 0.0 && share < 1.0 => "less than 1 %".to_owned(),
        share => format!("{share:.0} %"),
    }
}
