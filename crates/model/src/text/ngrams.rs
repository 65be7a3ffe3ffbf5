//! Word and character n-grams of a post as hashes: what a bag of n-grams counts.

use super::steps::Counted as _;
use super::word::Word;

/// Shortest and longest character n-gram, counted on the word with a space on either side.
const SHORTEST_PIECE: usize = 2;
const LONGEST_PIECE: usize = 5;

/// One n-gram at one place of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ngram {
    /// 32-bit hash; a table of `n` rows takes it modulo `n`.
    pub hash: u32,
    /// First and last word that it touches, numbered through the protagonist and then the supporting part. Equal for
    /// everything but a pair of words.
    pub words: [u16; 2],
}

/// All n-grams of a post, each group in the order of the hashes, so that equal n-grams stand side by side.
///
/// An n-gram never crosses from the protagonist into the supporting part. The hashes depend on the bytes of the words alone: equal words
/// give equal hashes on every machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ngrams {
    /// Single words and pairs of neighbours.
    pub words: Vec<Ngram>,
    /// Two to five characters in a row within a word and the spaces around it (scikit-learn's `char_wb`).
    pub pieces: Vec<Ngram>,
}

impl Ngrams {
    /// Of the parts' words but punctuation, numbered through all parts with it. Words with a mark between them are
    /// neighbours.
    pub(super) fn of_parts<'a>(parts: impl IntoIterator<Item = &'a [Word]>) -> Self {
        let mut ngrams = Self::default();
        let mut first = 0_u16;
        for part in parts {
            let words: Vec<(u16, &str)> = (first..)
                .zip(part)
                .filter(|(_, word)| !word.is_mark)
                .map(|(at, word)| (at, word.text.as_str()))
                .collect();
            for &(at, word) in &words {
                ngrams.words.push(Ngram { hash: finish(word_hash(word)), words: [at, at] });
                for_each_piece(word, |hash| ngrams.pieces.push(Ngram { hash, words: [at, at] }));
            }
            for pair in words.windows(2) {
                let hash = fnv1a_from(fnv1a_from(word_hash(pair[0].1), b" "), pair[1].1.as_bytes());
                ngrams.words.push(Ngram { hash: finish(hash), words: [pair[0].0, pair[1].0] });
            }
            first += part.len() as u16;
        }
        ngrams.words.sort_unstable();
        ngrams.pieces.sort_unstable();
        ngrams
    }
}

/// FNV-1a's offset basis.
const FNV_START: u32 = 2_166_136_261;

/// 32-bit FNV-1a as fastText computes it: every byte is sign-extended before the exclusive or. Goes on from a hash, so
/// that strings with the same beginning share its cost.
fn fnv1a_from(hash: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(hash, |hash, &byte| (hash ^ (byte as i8) as u32).wrapping_mul(16_777_619))
}

/// The leading byte keeps a word apart from a piece of the same letters.
fn word_hash(word: &str) -> u32 {
    fnv1a_from(fnv1a_from(FNV_START, b"w"), word.as_bytes())
}

fn for_each_piece(word: &str, mut each: impl FnMut(u32)) {
    let start = fnv1a_from(FNV_START, b"c");
    let mut utf8 = [0; 4];
    let padded: Vec<char> = std::iter::once(' ').chain(word.chars()).chain(std::iter::once(' ')).collect();
    for from in 0..=padded.len() - SHORTEST_PIECE {
        let mut hash = start;
        for (index, c) in padded[from..].iter().counted().take(LONGEST_PIECE).enumerate() {
            hash = fnv1a_from(hash, c.encode_utf8(&mut utf8).as_bytes());
            if index + 1 >= SHORTEST_PIECE {
                each(finish(hash));
            }
        }
    }
}

/// Murmur3's finaliser: FNV's low bits alone, which a table of 2^n rows looks at, are uneven for short strings.
fn finish(mut hash: u32) -> u32 {
    hash ^= hash >> 16;
    hash = hash.wrapping_mul(0x85EB_CA6B);
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(0xC2B2_AE35);
    hash ^ (hash >> 16)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    fn words<S: AsRef<str>>(part: &[S]) -> Vec<Word> {
        let word = |word: &S| Word {
            text: word.as_ref().to_owned(),
            is_mark: word.as_ref().starts_with(['.', ',']),
            is_shouted: false,
        };
        part.iter().map(word).collect()
    }

    fn of<S: AsRef<str>>(parts: &[&[S]]) -> Ngrams {
        let parts: Vec<Vec<Word>> = parts.iter().map(|part| words(part)).collect();
        Ngrams::of_parts(parts.iter().map(Vec::as_slice))
    }

    #[derive(Deserialize)]
    struct Reference {
        ngrams: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        parts: Vec<Vec<String>>,
        words: Vec<(u32, [u16; 2])>,
        pieces: Vec<(u32, [u16; 2])>,
    }

    /// `tests/fixtures/ngram_bag.py` cuts strings and hashes them one by one.
    #[test]
    fn hashes_are_those_of_the_written_down_reference() {
        let reference: Reference = serde_json::from_str(include_str!("../../tests/fixtures/ngram_bag.json")).unwrap();
        for case in reference.ngrams {
            let found = of(&case.parts.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let plain = |ngrams: &[Ngram]| ngrams.iter().map(|n| (n.hash, n.words)).collect::<Vec<_>>();
            assert_eq!(plain(&found.words), case.words, "{:?}", case.parts);
            assert_eq!(plain(&found.pieces), case.pieces, "{:?}", case.parts);
        }
    }

    #[test]
    fn pairs_stay_within_a_part() {
        let found = of(&[&["not", "good"], &["bad"]]);
        let pairs: Vec<[u16; 2]> = found.words.iter().map(|n| n.words).filter(|[a, b]| a != b).collect();
        assert_eq!(pairs, [[0, 1]]);
        assert_eq!(found.words.iter().filter(|n| n.words == [2, 2]).count(), 1);
    }

    /// ` sea ` has 4 pairs of characters, 3 triples, 2 quadruples and 1 quintuple.
    #[test]
    fn a_word_has_every_piece_once() {
        assert_eq!(of(&[&["sea"]]).pieces.len(), 4 + 3 + 2 + 1);
        assert_eq!(of(&[&["é"]]).pieces.len(), 2 + 1);
        assert_eq!(of::<&str>(&[]), Ngrams::default());
    }

    #[test]
    fn a_mark_is_no_word_and_keeps_its_number() {
        let found = of(&[&["not", ",", "good"]]);
        let mut places: Vec<[u16; 2]> = found.words.iter().map(|ngram| ngram.words).collect();
        places.sort_unstable();
        assert_eq!(places, [[0, 0], [0, 2], [2, 2]]);
    }

    proptest::proptest! {
        #[test]
        fn equal_ngrams_stand_side_by_side_and_every_word_is_counted(
            words in proptest::collection::vec("[a-zé😀]{1,6}", 1..20)
        ) {
            let ngrams = of(&[words.as_slice()]);
            proptest::prop_assert_eq!(ngrams.words.len(), 2 * words.len() - 1);
            for group in [&ngrams.words, &ngrams.pieces] {
                proptest::prop_assert!(group.is_sorted());
                for word in 0..words.len() as u16 {
                    proptest::prop_assert!(group.iter().any(|n| n.words == [word, word]));
                }
            }
        }
    }
}
