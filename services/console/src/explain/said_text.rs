//! The texts of a post, with the words that weighed marked.

use jtav_explain::Word;
use jtav_schemas::TextPart;
use jtav_text::terminal::{one_line, visible};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;

use super::style::{DIM, note};
use super::view::Texts;
use crate::bars::strength;
use crate::ink::Ink;
use crate::said::percent;
use crate::wrap::{cut, wrap};

/// Characters shown of one text.
const MAX_CHARACTERS: usize = 20_000;
/// Columns of the name of a text.
const ROLE_COLUMNS: usize = 20;
/// Grounds of a word, from the weakest to the strongest (of the table of 256 colours), with black letters on them.
const GROUNDS: [u8; 4] = [230, 228, 221, 214];

pub(crate) fn lines(texts: &Texts, words: &[Word], width: usize, ink: Ink) -> Vec<Line<'static>> {
    let most = words.iter().map(|word| word.weight).filter(|weight| weight.is_finite()).fold(0.0, f32::max);
    let mut lines = Vec::new();
    match texts {
        Texts::Missing(why) => lines.extend(note(&one_line(why, 400), width)),
        Texts::Known(texts) => {
            for (index, TextPart { role, text }) in texts.iter().enumerate() {
                // One text needs no name.
                let first = if texts.len() > 1 {
                    format!("  {}: ", cut(&one_line(role, ROLE_COLUMNS), ROLE_COLUMNS))
                } else {
                    "  ".to_owned()
                };
                let words: Vec<&Word> = words.iter().filter(|word| word.text_index == Some(index as u32)).collect();
                lines.extend(wrap(&first, &shaded(text, &words, most, ink), width));
            }
        }
    }
    if !words.is_empty() {
        let named: Vec<String> =
            words.iter().map(|word| format!("{} {}", one_line(&word.word, 40), percent(word.weight))).collect();
        lines.extend(wrap("  weighed most: ", &[(named.join(", "), DIM)], width));
    }
    lines
}

/// A text cut at its words: visible pieces with their styles, in order, nothing lost. Words that overlap, are empty or lie outside are
/// passed over.
fn shaded(text: &str, words: &[&Word], most: f32, ink: Ink) -> Vec<(String, Style)> {
    let all: Vec<char> = text.chars().take(MAX_CHARACTERS + 1).collect();
    let characters = &all[..all.len().min(MAX_CHARACTERS)];
    let mut places: Vec<(usize, usize, f32)> = words
        .iter()
        .filter_map(|word| Some((word.start? as usize, word.end? as usize, word.weight)))
        .filter(|(start, end, _)| start < end && *end <= characters.len())
        .collect();
    places.sort_by_key(|(start, ..)| *start);
    let shown = |from: usize, to: usize| visible(&characters[from..to].iter().collect::<String>());
    let (mut pieces, mut at) = (Vec::new(), 0);
    for (start, end, weight) in places {
        if start < at {
            continue;
        }
        pieces.push((shown(at, start), Style::new()));
        pieces.push(marked(shown(start, end), strength(weight, most), ink));
        at = end;
    }
    pieces.push((shown(at, characters.len()), Style::new()));
    if all.len() > MAX_CHARACTERS {
        pieces.push((format!("… (the first {MAX_CHARACTERS} characters)"), DIM));
    }
    pieces
}

fn marked(word: String, strength: usize, ink: Ink) -> (String, Style) {
    let mark = match strength {
        0 => Modifier::empty(),
        1 | 2 => Modifier::UNDERLINED,
        _ => Modifier::UNDERLINED.union(Modifier::BOLD),
    };
    match ink {
        Ink::Plain => (format!("[{word}]"), Style::new()),
        Ink::Marks => (word, Style::new().add_modifier(mark)),
        Ink::Colour => match strength.checked_sub(1).and_then(|at| GROUNDS.get(at)) {
            Some(ground) => (word, Style::new().fg(Color::Black).bg(Color::Indexed(*ground))),
            None => (word, Style::new().add_modifier(Modifier::UNDERLINED)),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn word(start: u32, end: u32, weight: f32) -> Word {
        let (word, position) = ("w".to_owned(), 0);
        Word { word, position, weight, text_index: Some(0), start: Some(start), end: Some(end) }
    }

    fn plain(text: &str, words: &[Word]) -> String {
        let words: Vec<&Word> = words.iter().collect();
        shaded(text, &words, 0.4, Ink::Plain).into_iter().map(|(text, _)| text).collect()
    }

    #[test]
    fn words_are_marked_where_they_stand_by_their_weight() {
        let text = "ein ünder day 😀!";
        assert_eq!(plain(text, &[word(14, 15, 0.1), word(4, 9, 0.4)]), "ein [ünder] day [😀]!");
        let words = [word(0, 3, 0.05), word(4, 9, 0.4)];
        let pieces = |ink| shaded(text, &words.iter().collect::<Vec<_>>(), 0.4, ink);
        let ground = |at: usize| pieces(Ink::Colour)[at].1.bg;
        assert_eq!((ground(1), ground(3), ground(4)), (Some(Color::Indexed(230)), Some(Color::Indexed(214)), None));
        let mark = |at: usize| pieces(Ink::Marks)[at].1.add_modifier;
        assert_eq!((mark(1), mark(3)), (Modifier::UNDERLINED, Modifier::UNDERLINED | Modifier::BOLD));
    }

    #[test]
    fn words_that_overlap_or_lie_outside_are_passed_over() {
        let words = [word(0, 4, 0.4), word(2, 6, 0.4), word(5, 5, 0.4), word(3, 900, 0.4), word(7, 6, 0.4)];
        assert_eq!(plain("lovely day", &words), "[love]ly day");
    }

    #[test]
    fn of_a_text_without_end_the_beginning_is_shown_and_it_says_so() {
        let shown = plain(&"a".repeat(MAX_CHARACTERS + 7), &[]);
        assert!(shown.ends_with("a… (the first 20000 characters)"), "{}", &shown[shown.len() - 60..]);
        assert!(!plain(&"a".repeat(MAX_CHARACTERS), &[]).contains('…'));
    }

    proptest! {
        #[test]
        fn nothing_of_a_text_is_lost_and_nothing_of_it_is_obeyed(
            text in any::<String>(),
            places in prop::collection::vec((0u32..40, 0u32..40, any::<f32>()), 0..8),
        ) {
            let words: Vec<Word> = places.into_iter().map(|(start, end, weight)| word(start, end, weight)).collect();
            let words: Vec<&Word> = words.iter().collect();
            let shown: String = shaded(&text, &words, 0.5, Ink::Colour).into_iter().map(|(text, _)| text).collect();
            prop_assert_eq!(shown, visible(&text));
        }
    }
}
