//! Role selection (paper, section 3.1.1): the longest part is the protagonist, the others support it.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::{Ngrams, Tokenizer, Vocabulary};

/// Words of the protagonist that the network reads (paper: lyrics are cut at 100).
pub const MAX_PROTAGONIST_WORDS: usize = 100;

/// Words of the supporting parts that the network reads. The paper keeps 5 "cleaned" caption words; nothing is lost
/// by reading a short caption whole, since the gate takes their mean.
pub const MAX_SUPPORTING_WORDS: usize = 20;

/// Words and, for each, the embedding rows whose mean is its vector.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TokenisedText {
    /// Normalised words, in order.
    pub words: Vec<String>,
    /// One non-empty list of rows per word; the word's own row, if it has one, comes first.
    pub rows: Vec<Vec<u32>>,
}

impl TokenisedText {
    fn new(mut words: Vec<String>, limit: usize, vocabulary: &Vocabulary) -> Self {
        words.truncate(limit);
        let rows = words.iter().map(|word| vocabulary.rows(word)).collect();
        Self { words, rows }
    }
}

/// What the text network reads of one post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextInput {
    /// The part with the most words, at most [`MAX_PROTAGONIST_WORDS`] of them, at least one.
    pub protagonist: TokenisedText,
    /// All other parts' words, joined in declared order, at most [`MAX_SUPPORTING_WORDS`]; `None` when they have none.
    pub supporting: Option<TokenisedText>,
    /// N-grams of all these words, for the bag beside the BiGRU.
    pub ngrams: Ngrams,
}

impl TextInput {
    /// Tokenises `(role, text)` parts and chooses the protagonist: most words before truncation, ties to the part
    /// declared first. `None` when no part has a word left (only links, handles or punctuation).
    pub fn from_parts<R, T>(tokenizer: &Tokenizer, vocabulary: &Vocabulary, parts: &[(R, T)]) -> Option<Self>
    where
        R: AsRef<str>,
        T: AsRef<str>,
    {
        Self::of_parts(tokenizer, vocabulary, parts).map(|(input, _)| input)
    }

    /// As [`from_parts`](Self::from_parts); true where the parts have more words than the network reads.
    pub fn of_parts<R, T>(tokenizer: &Tokenizer, vocabulary: &Vocabulary, parts: &[(R, T)]) -> Option<(Self, bool)>
    where
        R: AsRef<str>,
        T: AsRef<str>,
    {
        let mut tokenised: Vec<Vec<String>> =
            parts.iter().map(|(_role, text)| tokenizer.words(text.as_ref())).collect();
        let longest = tokenised.iter().map(Vec::len).max().filter(|&words| words > 0)?;
        let protagonist_at = tokenised.iter().position(|words| words.len() == longest)?;
        let protagonist = std::mem::take(&mut tokenised[protagonist_at]);
        let supporting: Vec<String> = tokenised.into_iter().flatten().collect();
        let is_truncated = longest > MAX_PROTAGONIST_WORDS || supporting.len() > MAX_SUPPORTING_WORDS;
        let protagonist = TokenisedText::new(protagonist, MAX_PROTAGONIST_WORDS, vocabulary);
        let supporting =
            (!supporting.is_empty()).then(|| TokenisedText::new(supporting, MAX_SUPPORTING_WORDS, vocabulary));
        let parts = std::iter::once(&protagonist).chain(&supporting).map(|text| text.words.as_slice());
        let ngrams = Ngrams::of_parts(parts);
        Some((Self { protagonist, supporting, ngrams }, is_truncated))
    }

    /// Words that the network reads.
    pub fn word_count(&self) -> usize {
        std::iter::once(&self.protagonist).chain(&self.supporting).map(|text| text.words.len()).sum()
    }

    /// Rows of the embedding table that it reads for them.
    pub fn row_count(&self) -> usize {
        std::iter::once(&self.protagonist).chain(&self.supporting).flat_map(|text| &text.rows).map(Vec::len).sum()
    }

    /// The post with the protagonist's words at these positions struck out: its other words move together, the roles
    /// stay. `None` when no word of the protagonist is left.
    pub fn without_words(&self, positions: &[usize]) -> Option<Self> {
        let struck: HashSet<usize> = positions.iter().copied().collect();
        let kept = || (0..self.protagonist.words.len()).filter(|position| !struck.contains(position));
        kept().next()?;
        let protagonist = TokenisedText {
            words: kept().map(|position| self.protagonist.words[position].clone()).collect(),
            rows: kept().filter_map(|position| self.protagonist.rows.get(position).cloned()).collect(),
        };
        let supporting = self.supporting.clone();
        let parts = std::iter::once(&protagonist).chain(&supporting).map(|text| text.words.as_slice());
        let ngrams = Ngrams::of_parts(parts);
        Some(Self { protagonist, supporting, ngrams })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::VocabularyConfig;

    fn input(parts: &[(&str, &str)]) -> Option<TextInput> {
        let vocabulary = Vocabulary::build(std::iter::empty::<Vec<String>>(), VocabularyConfig::default());
        TextInput::from_parts(&Tokenizer::new(), &vocabulary, parts)
    }

    #[test]
    fn the_longest_part_is_the_protagonist_whatever_its_role() {
        let both = input(&[("body", "short"), ("caption", "this one is longer")]).unwrap();
        assert_eq!(both.protagonist.words, ["this", "one", "is", "longer"]);
        assert_eq!(both.supporting.unwrap().words, ["short"]);
    }

    #[test]
    fn equal_lengths_go_to_the_part_declared_first() {
        let both = input(&[("a", "first part"), ("b", "second part"), ("c", "x")]).unwrap();
        assert_eq!(both.protagonist.words, ["first", "part"]);
        assert_eq!(both.supporting.unwrap().words, ["second", "part", "x"]);
    }

    #[test]
    fn a_post_without_some_words_is_the_post_that_never_had_them() {
        let whole = input(&[("body", "it was not a good day"), ("caption", "so so")]).unwrap();
        let struck = whole.without_words(&[2, 4, 99]).unwrap();
        assert_eq!(struck, input(&[("body", "it was a day"), ("caption", "so so")]).unwrap());
        // Shorter than its caption, it stays the protagonist.
        let shortest = whole.without_words(&[0, 1, 2, 3, 4]).unwrap();
        assert_eq!(
            (shortest.protagonist.words, shortest.supporting),
            (vec!["day".to_owned()], whole.supporting.clone())
        );
        assert_eq!(whole.without_words(&[0, 1, 2, 3, 4, 5]), None);
    }

    #[test]
    fn texts_are_cut_at_one_hundred_and_twenty_words() {
        let long = "word ".repeat(300);
        let cut = input(&[("body", &long), ("caption", &long)]).unwrap();
        assert_eq!(cut.protagonist.words.len(), 100);
        assert_eq!(cut.supporting.unwrap().rows.len(), 20);
    }

    #[test]
    fn it_is_told_where_words_are_left_out() {
        let vocabulary = Vocabulary::build(std::iter::empty::<Vec<String>>(), VocabularyConfig::default());
        let of = |body: usize, caption: usize| {
            let parts = [("body", "word ".repeat(body)), ("caption", "word ".repeat(caption))];
            TextInput::of_parts(&Tokenizer::new(), &vocabulary, &parts).unwrap()
        };
        for (body, caption, expected) in [(100, 20, false), (101, 0, true), (100, 21, true), (30, 31, true)] {
            let (input, is_truncated) = of(body, caption);
            assert_eq!(is_truncated, expected, "{body} and {caption} words");
            assert_eq!(input.word_count(), body.max(caption).min(100) + body.min(caption).min(20));
        }
        assert_eq!(of(2, 0).0.row_count(), 2 * vocabulary.rows("word").len());
    }

    #[test]
    fn a_post_without_a_word_has_no_text() {
        assert_eq!(input(&[]), None);
        assert_eq!(input(&[("body", "https://example.com @somebody ..."), ("caption", "  ")]), None);
        assert_eq!(input(&[("body", ""), ("caption", "hi")]).unwrap().supporting, None);
    }
}
