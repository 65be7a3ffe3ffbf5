//! Where the words of a record stand in the texts of its post.

use jtav_schemas::{MAX_TEXT_PARTS, TextPart, WordWeight};
use jtav_text::reading::Reader;
use jtav_text::roles::{MAX_PROTAGONIST_WORDS, PostReading};

/// A place in the texts of a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Which text, from 0.
    pub text_index: u32,
    /// First character (Unicode code point) in it, from 0.
    pub start: u32,
    /// The one behind the last.
    pub end: u32,
}

/// The place of each word; of none if one of them is not read at its position: then these are not the texts that the
/// worker read (another revision, or cut elsewhere), and what fits would fit by chance.
pub(crate) fn places(words: &[WordWeight], texts: &[TextPart]) -> Vec<Option<Place>> {
    let nowhere = || vec![None; words.len()];
    let texts = &texts[..texts.len().min(MAX_TEXT_PARTS)];
    if words.is_empty() {
        return Vec::new();
    }
    let reader = Reader::with_max_words(MAX_PROTAGONIST_WORDS);
    let Some(reading) = PostReading::of(&reader, texts.iter().map(|part| part.text.as_str())) else { return nowhere() };
    let read: Vec<_> = reading.words().collect();
    let place = |weighted: &WordWeight| {
        let placed = read.get(weighted.position as usize)?;
        let text = &texts.get(placed.text)?.text;
        let (before, word) = (text.get(..placed.word.source.start)?, text.get(placed.word.source.clone())?);
        let start = before.chars().count() as u32;
        let end = start + word.chars().count() as u32;
        (placed.word.text == weighted.word).then_some(Place { text_index: placed.text as u32, start, end })
    };
    words
        .iter()
        .map(place)
        .collect::<Option<Vec<Place>>>()
        .map_or_else(nowhere, |all| all.into_iter().map(Some).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<TextPart> {
        texts.iter().map(|text| TextPart { role: "body".to_owned(), text: (*text).to_owned() }).collect()
    }

    fn word(word: &str, position: u32) -> WordWeight {
        WordWeight { word: word.to_owned(), position, weight: 0.5 }
    }

    /// What stands at each place.
    fn found(texts: &[TextPart], words: &[WordWeight]) -> Vec<Option<String>> {
        let of = |place: Place| {
            let text = &texts[place.text_index as usize].text;
            text.chars().skip(place.start as usize).take((place.end - place.start) as usize).collect()
        };
        places(words, texts).into_iter().map(|place| place.map(of)).collect()
    }

    #[test]
    fn words_are_found_as_they_were_written_in_their_own_text() {
        let texts = texts(&["#BestDayEver", "Ünder the sea: what a LOOOOVELY 😀 day &amp; night"]);
        let words = [word("lovely", 6), word("ünder", 0), word("best", 11), word("grinning", 7), word("face", 8)];
        let expected = ["LOOOOVELY", "Ünder", "Best", "😀", "😀"].map(|text| Some(text.to_owned()));
        assert_eq!(found(&texts, &words), expected);
    }

    #[test]
    fn nothing_is_located_in_texts_that_were_not_read() {
        let texts = texts(&["what a lovely day"]);
        assert_eq!(found(&texts, &[word("lovely", 2), word("night", 3)]), [None, None]);
        assert_eq!(found(&texts, &[word("lovely", 2_000)]), [None]);
        assert_eq!(found(&[], &[word("lovely", 2)]), [None]);
    }

    proptest::proptest! {
        /// Whatever the texts: each word is found where the reader found it.
        #[test]
        fn every_word_that_is_read_is_located(one in "\\PC{0,60}", two in "\\PC{0,60}") {
            let texts = texts(&[&one, &two]);
            let reader = Reader::with_max_words(MAX_PROTAGONIST_WORDS);
            let Some(reading) = PostReading::of(&reader, [one.as_str(), two.as_str()]) else { return Ok(()) };
            for (position, placed) in reading.words().enumerate() {
                let found = places(&[word(&placed.word.text, position as u32)], &texts);
                let place = found[0].unwrap();
                let text = &texts[place.text_index as usize].text;
                let there: String =
                    text.chars().skip(place.start as usize).take((place.end - place.start) as usize).collect();
                proptest::prop_assert_eq!(&there, &text[placed.word.source.clone()]);
            }
        }
    }
}
