//! Made-up sentences with a negation: patterns with slots, drawn and dressed as somebody would post them.

use std::collections::HashSet;

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::item::Rating;
use super::lists;

/// Slots within slots that are followed. Those of the data have two.
const MAX_DEPTH: usize = 4;

/// Draws for each sentence that is wanted; some come twice.
const DRAWS_FOR_ONE: usize = 20;

/// Which templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Set {
    /// "It was not that bad at all."
    Short,
    /// "Honestly, nobody listened when I called.", and negations that are mere facts.
    Full,
}

/// One line of the templates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Template {
    pub weight: f64,
    pub rating: Rating,
    pub pattern: &'static str,
}

/// A piece of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    Words(&'static str),
    Slot(&'static str),
}

/// The templates of a set.
pub(super) fn templates(set: Set) -> Vec<Template> {
    let wanted = match set {
        Set::Short => "short",
        Set::Full => "full",
    };
    let of_set = lists::lines(lists::TEMPLATES).filter_map(|line| match line[..] {
        [set, weight, rating, pattern] if set == wanted => {
            Some(Template { weight: weight.parse().ok()?, rating: lists::rating(rating), pattern })
        }
        _ => None,
    });
    of_set.collect()
}

/// The pieces of a pattern; a brace that is never closed is a word.
pub(super) fn pieces(pattern: &'static str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = pattern;
    while let Some((words, from)) = rest.split_once('{') {
        let Some((slot, after)) = from.split_once('}') else { break };
        pieces.extend([Piece::Words(words), Piece::Slot(slot)]);
        rest = after;
    }
    pieces.push(Piece::Words(rest));
    pieces
}

/// At most `count` different sentences, with their ratings, in the order in which they were drawn.
pub(super) fn sentences(set: Set, count: usize, random: &mut StdRng) -> Vec<(String, Rating)> {
    let templates = templates(set);
    let mut seen = HashSet::new();
    let mut sentences = Vec::new();
    for _ in 0..count.saturating_mul(DRAWS_FOR_ONE) {
        if sentences.len() == count {
            break;
        }
        let Ok(template) = templates.choose_weighted(random, |template| template.weight) else { break };
        let sentence = dressed(set, template, random);
        if seen.insert(sentence.clone()) {
            sentences.push((sentence, template.rating));
        }
    }
    sentences
}

/// A pattern with its slots filled, what may stand around it, a capital or not, and an end.
fn dressed(set: Set, template: &Template, random: &mut StdRng) -> String {
    let mut drawn = Vec::new();
    let mut text = String::new();
    let has_feeling = template.rating.mean != 0.0;
    if set == Set::Full {
        fill("{lead}", MAX_DEPTH, &mut drawn, &mut text, random);
    }
    fill(template.pattern, MAX_DEPTH, &mut drawn, &mut text, random);
    if set == Set::Full && has_feeling {
        fill("{tail}", MAX_DEPTH, &mut drawn, &mut text, random);
    }
    let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let case: f64 = random.random();
    if case < 0.5 {
        text = capitalised(&text);
    } else if set == Set::Full && case < 0.56 {
        text = text.to_uppercase();
    }
    let ends = if has_feeling { ["", ".", "!", "."] } else { ["", ".", ".", "."] };
    text + ends.choose(random).copied().unwrap_or_default()
}

/// Adds the pattern to `text`. A slot that comes again is given another word than before, where it has another.
fn fill(pattern: &'static str, depth: usize, drawn: &mut Vec<&'static str>, text: &mut String, random: &mut StdRng) {
    for piece in pieces(pattern) {
        match piece {
            Piece::Words(words) => text.push_str(words),
            Piece::Slot(slot) => {
                let options = lists::slot(slot);
                let fresh: Vec<&str> = options.iter().filter(|option| !is_spent(option, drawn)).copied().collect();
                let options = if fresh.is_empty() { options } else { &fresh };
                let Some(option) = options.choose(random).filter(|_| depth > 0) else { continue };
                drawn.push(option);
                fill(option, depth - 1, drawn, text, random);
            }
        }
    }
}

/// Words may come once, nothing and slots again.
fn is_spent(option: &str, drawn: &[&str]) -> bool {
    !option.trim().is_empty() && !option.starts_with('{') && drawn.contains(&option)
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
