//! A rated text in other clothes: the same words as somebody else would post them, with the same rating.

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::item::Rating;
use super::lists::list;

/// Of the ratings, from here on raters are of one mind, and an emoji that agrees changes nothing.
const CLEAR_MEAN: f32 = 0.8;
/// Of a text, how many words are changed where words are.
const CHANGED_WORDS: f64 = 0.12;
/// Marks that make emoticons and words (`:)`, `<3`, `#tag`, `don't`, `so-so`): they stay where punctuation goes.
const KEPT_MARKS: &str = "'#@:)(<-/";

/// A changed copy of a text: some of typos, stretched letters, other punctuation, emoji that agree with the rating,
/// hashtags without a feeling, other case. Takes time linear in the text; no word gets longer than by five letters (upper
/// case aside), and at most five emoji or hashtags are added.
pub fn augmented(text: &str, rating: &Rating, random: &mut StdRng) -> String {
    let mut text = text.to_owned();
    if random.random_bool(0.4) {
        text = some_words(&text, random, typo);
    }
    if random.random_bool(0.4) {
        text = some_words(&text, random, stretched);
    }
    if random.random_bool(0.4) {
        text = punctuated(&text, random);
    }
    if random.random_bool(0.45) {
        text = with_emoji(&text, rating, random);
    }
    if random.random_bool(0.3) {
        let count = if random.random_bool(2.0 / 3.0) { 1 } else { 2 };
        for tag in list("hashtags").sample(random, count) {
            text.push(' ');
            text.push_str(tag);
        }
    }
    if random.random_bool(0.5) {
        text = in_other_case(&text, random);
    }
    text
}

fn some_words(text: &str, random: &mut StdRng, change: fn(&str, &mut StdRng) -> String) -> String {
    let words = text.split(' ').map(|word| {
        let is_changed = random.random_bool(CHANGED_WORDS) && word.chars().all(char::is_alphabetic);
        if is_changed { change(word, random) } else { word.to_owned() }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Two letters change places, or one is left out, doubled or another. Words below four letters stay.
fn typo(word: &str, random: &mut StdRng) -> String {
    let mut letters: Vec<char> = word.chars().collect();
    if letters.len() < 4 {
        return word.to_owned();
    }
    let at = random.random_range(1..letters.len() - 1);
    match random.random_range(0..4) {
        0 => letters.swap(at, at + 1),
        1 => drop(letters.remove(at)),
        2 => letters.insert(at, letters[at]),
        _ => letters[at] = char::from(random.random_range(b'a'..=b'z')),
    }
    letters.into_iter().collect()
}

/// One of the last two letters that people stretch comes three to six times instead of once.
fn stretched(word: &str, random: &mut StdRng) -> String {
    let letters: Vec<char> = word.chars().collect();
    let can_stretch = |&at: &usize| "aeiouyhlrsm".contains(letters[at].to_ascii_lowercase());
    let places: Vec<usize> = (1..letters.len()).rev().filter(can_stretch).take(2).collect();
    let Some(&at) = places.choose(random).filter(|_| letters.len() >= 3) else { return word.to_owned() };
    let more = std::iter::repeat_n(letters[at], random.random_range(2..=5));
    letters[..at].iter().copied().chain(more).chain(letters[at..].iter().copied()).collect()
}

/// Without its punctuation, or with another end. Emoji and emoticons stay.
fn punctuated(text: &str, random: &mut StdRng) -> String {
    if random.random_bool(0.5) {
        let is_mark = |c: char| c.is_ascii_punctuation() || "“”„«»–—…".contains(c);
        return text.chars().filter(|&c| !is_mark(c) || KEPT_MARKS.contains(c)).collect();
    }
    let end = list("sentence_ends").choose(random).copied().unwrap_or_default();
    format!("{}{end}", text.trim_end_matches(['.', '!', '?', ' ']))
}

/// Emoji in place of words of feeling and after the text, where raters are of one mind; emoji without feeling in a text
/// that most of them found to have none. Between these nothing is sure, and the text stays.
fn with_emoji(text: &str, rating: &Rating, random: &mut StdRng) -> String {
    let (words, faces) = if rating.mean > CLEAR_MEAN {
        (list("positive_words"), list("positive_faces"))
    } else if rating.mean < -CLEAR_MEAN {
        (list("negative_words"), list("negative_faces"))
    } else {
        let is_plain = rating.is_neutral() && rating.votes[1] > 0.5;
        return if is_plain { with_plain_emoji(text, random) } else { text.to_owned() };
    };
    let emoji = |random: &mut StdRng| faces.choose(random).copied().unwrap_or_default();
    let mut said: Vec<&str> = Vec::new();
    for word in text.split(' ') {
        let bare: String = word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
        let is_shown = words.contains(&bare.as_str()) && random.random_bool(0.4);
        said.push(if is_shown { emoji(random) } else { word });
    }
    if random.random_bool(0.7) {
        let times = [1, 1, 2, 3].choose(random).copied().unwrap_or(1);
        said.extend(std::iter::repeat_n(emoji(random), times));
    }
    said.join(" ")
}

fn with_plain_emoji(text: &str, random: &mut StdRng) -> String {
    let mut words: Vec<&str> = text.split(' ').collect();
    for _ in 0..[1, 1, 2].choose(random).copied().unwrap_or(1) {
        let emoji = list("plain_emoji").choose(random).copied().unwrap_or_default();
        words.insert(random.random_range(0..=words.len()), emoji);
    }
    words.join(" ")
}

/// All lower, all upper, or some words upper. Emoticons have letters too, and stay what they are.
fn in_other_case(text: &str, random: &mut StdRng) -> String {
    let way: f64 = random.random();
    let is_face = |word: &str| list("positive_faces").contains(&word) || list("negative_faces").contains(&word);
    let words = text.split(' ').map(|word| match way {
        _ if is_face(word) => word.to_owned(),
        ..0.4 => word.to_lowercase(),
        ..0.8 => word.to_uppercase(),
        _ if random.random_bool(0.3) => word.to_uppercase(),
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}
