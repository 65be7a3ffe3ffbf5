//! From a text to rows of the input matrix: words, and their n-grams by hash (`dictionary.cc`).

use super::error::LanguageError;
use super::file::{File, Header};

/// What stands for the end of a text.
const END_OF_LINE: &[u8] = b"</s>";

/// How a label begins; a word of a text that begins so is none.
const LABEL: &[u8] = b"__label__";

/// Above the number of languages there are.
const MAX_LABELS: usize = 10_000;

/// A zero, a count and a kind.
const SMALLEST_ENTRY: usize = 10;

/// A language and how often it came in training.
pub(super) struct Label {
    pub(super) language: String,
    pub(super) count: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Dictionary {
    words: Words,
    ngrams: Ngrams,
    shortest: usize,
    longest: usize,
    buckets: u32,
    end_of_line: Option<u32>,
}

impl Dictionary {
    /// The dictionary and the labels, in the file's order.
    pub(super) fn read(file: &mut File, header: &Header) -> Result<(Self, Vec<Label>), LanguageError> {
        const WHAT: &str = "the dictionary";
        let size = file.i32(WHAT)?;
        let words = file.i32(WHAT)?;
        let labels = file.i32(WHAT)?;
        let _tokens = file.i64(WHAT)?;
        let kept = file.i64(WHAT)?;
        let words = file.count(words.into(), SMALLEST_ENTRY, WHAT)?;
        let labels = file.count(labels.into(), SMALLEST_ENTRY, WHAT)?;
        if usize::try_from(size) != Ok(words + labels) || !(1..=MAX_LABELS).contains(&labels) {
            return Err(LanguageError::Damaged("numbers of words and labels"));
        }
        let words = Words::read(file, words)?;
        let labels = (0..labels).map(|_| Label::read(file)).collect::<Result<_, _>>()?;
        let ngrams = match kept {
            // As fastText marks a model whose n-grams were not pruned.
            ..0 => Ngrams::All { count: header.buckets },
            _ => Ngrams::Kept(Kept::read(file, kept, header.buckets)?),
        };
        let end_of_line = words.find(END_OF_LINE, hash(END_OF_LINE));
        let Header { shortest, longest, buckets, .. } = *header;
        Ok((Self { words, ngrams, shortest, longest, buckets, end_of_line }, labels))
    }

    /// Rows that the input matrix must have.
    pub(super) fn rows(&self) -> usize {
        let ngrams = match &self.ngrams {
            Ngrams::All { .. } if self.longest == 0 => 0,
            Ngrams::All { count } => *count as usize,
            Ngrams::Kept(kept) => kept.rows.iter().max().map_or(0, |&last| last as usize + 1),
        };
        self.words.ends.len() + ngrams
    }

    /// The row that every text ends with.
    pub(super) fn end_of_line(&self) -> Option<u32> {
        self.end_of_line
    }

    /// Calls `each` with the rows of the text's words and of their n-grams, in fastText's order.
    pub(super) fn for_each_row(&self, text: &str, mut each: impl FnMut(u32)) {
        let mut marked = Vec::new();
        for word in text.as_bytes().split(is_separator) {
            if word.is_empty() || word == END_OF_LINE || word.starts_with(LABEL) {
                continue;
            }
            if let Some(row) = self.words.find(word, hash(word)) {
                each(row);
            }
            marked.clear();
            marked.push(b'<');
            marked.extend_from_slice(word);
            marked.push(b'>');
            self.for_each_ngram(&marked, &mut each);
        }
    }

    /// `Dictionary::computeSubwords`; the hash grows with the n-gram.
    fn for_each_ngram(&self, word: &[u8], each: &mut impl FnMut(u32)) {
        let words = self.words.ends.len() as u32;
        for start in (0..word.len()).filter(|&at| is_first_byte(word[at])) {
            let mut hash = FNV_OFFSET;
            let mut end = start;
            for length in 1..=self.longest {
                if end == word.len() {
                    break;
                }
                hash = extended(hash, word[end]);
                end += 1;
                while end < word.len() && !is_first_byte(word[end]) {
                    hash = extended(hash, word[end]);
                    end += 1;
                }
                let is_a_mark_alone = length == 1 && (start == 0 || end == word.len());
                let is_one = length >= self.shortest && !is_a_mark_alone;
                if let Some(row) = is_one.then(|| self.ngrams.row(hash % self.buckets)).flatten() {
                    each(words + row);
                }
            }
        }
    }
}

impl Label {
    fn read(file: &mut File) -> Result<Self, LanguageError> {
        const WHAT: &str = "the labels";
        let name = file.string(WHAT)?;
        let count = file.i64(WHAT)?;
        let is_label = file.flag(WHAT)?;
        let language = name.strip_prefix(LABEL).and_then(|language| std::str::from_utf8(language).ok());
        match (language, u64::try_from(count), is_label) {
            (Some(language), Ok(count), true) => Ok(Self { language: language.to_owned(), count }),
            _ => Err(LanguageError::Damaged(WHAT)),
        }
    }
}

/// The words, one after the other, and their numbers by hash.
#[derive(Debug, Clone, Default)]
struct Words {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    /// (hash, number), ascending.
    by_hash: Vec<(u32, u32)>,
}

impl Words {
    fn read(file: &mut File, count: usize) -> Result<Self, LanguageError> {
        const WHAT: &str = "the words";
        let mut words = Self { ends: Vec::with_capacity(count), by_hash: Vec::with_capacity(count), ..Self::default() };
        for number in 0..count as u32 {
            let word = file.string(WHAT)?;
            let _count = file.i64(WHAT)?;
            if file.flag(WHAT)? {
                return Err(LanguageError::Damaged(WHAT));
            }
            words.bytes.extend_from_slice(word);
            words.ends.push(u32::try_from(words.bytes.len()).map_err(|_| LanguageError::Damaged(WHAT))?);
            words.by_hash.push((hash(word), number));
        }
        words.by_hash.sort_unstable();
        Ok(words)
    }

    fn word(&self, number: u32) -> &[u8] {
        let end = |number: usize| self.ends[number] as usize;
        let number = number as usize;
        let start = if number == 0 { 0 } else { end(number - 1) };
        &self.bytes[start..end(number)]
    }

    fn find(&self, word: &[u8], hash: u32) -> Option<u32> {
        let from = self.by_hash.partition_point(|(other, _)| *other < hash);
        let same = self.by_hash[from..].iter().take_while(|(other, _)| *other == hash);
        // More of one hash than a sound file ever has: the limit keeps a look-up short in a damaged one.
        same.take(8).find(|(_, number)| self.word(*number) == word).map(|(_, number)| *number)
    }
}

/// Where the rows of the n-grams are, counted from the first after the words.
#[derive(Debug, Clone)]
enum Ngrams {
    All { count: u32 },
    Kept(Kept),
}

impl Ngrams {
    fn row(&self, bucket: u32) -> Option<u32> {
        match self {
            Self::All { .. } => Some(bucket),
            Self::Kept(kept) => kept.row(bucket),
        }
    }
}

/// The buckets that pruning left, as a bit set with ranks: most n-grams of a text are in none of them, and then one read
/// says so.
#[derive(Debug, Clone)]
struct Kept {
    bits: Vec<u64>,
    /// Bits set before each word of `bits`.
    before: Vec<u32>,
    /// By rank of the bucket.
    rows: Vec<u32>,
}

impl Kept {
    fn read(file: &mut File, count: i64, buckets: u32) -> Result<Self, LanguageError> {
        const WHAT: &str = "the n-grams";
        let count = file.count(count, 8, WHAT)?;
        let mut pairs = Vec::with_capacity(count);
        for _ in 0..count {
            let (bucket, row) = (file.i32(WHAT)?, file.i32(WHAT)?);
            let pair = (u32::try_from(bucket), u32::try_from(row));
            let (Ok(bucket), Ok(row)) = pair else { return Err(LanguageError::Damaged(WHAT)) };
            if bucket >= buckets {
                return Err(LanguageError::Damaged(WHAT));
            }
            pairs.push((bucket, row));
        }
        pairs.sort_unstable();
        if pairs.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(LanguageError::Damaged(WHAT));
        }
        let mut bits = vec![0_u64; (buckets as usize).div_ceil(64)];
        for (bucket, _) in &pairs {
            bits[*bucket as usize / 64] |= 1 << (bucket % 64);
        }
        let mut set = 0;
        let mut before = Vec::with_capacity(bits.len());
        for word in &bits {
            before.push(set);
            set += word.count_ones();
        }
        Ok(Self { bits, before, rows: pairs.into_iter().map(|(_, row)| row).collect() })
    }

    fn row(&self, bucket: u32) -> Option<u32> {
        let (word, bit) = (bucket as usize / 64, bucket % 64);
        let bits = *self.bits.get(word)?;
        if bits >> bit & 1 == 0 {
            return None;
        }
        let rank = self.before[word] + (bits & ((1 << bit) - 1)).count_ones();
        self.rows.get(rank as usize).copied()
    }
}

const FNV_OFFSET: u32 = 2_166_136_261;

/// 32-bit FNV-1a, with sign-extended bytes as fastText has it.
fn extended(hash: u32, byte: u8) -> u32 {
    (hash ^ byte as i8 as u32).wrapping_mul(16_777_619)
}

fn hash(word: &[u8]) -> u32 {
    word.iter().fold(FNV_OFFSET, |hash, &byte| extended(hash, byte))
}

/// Whether a byte of UTF-8 begins a character.
fn is_first_byte(byte: u8) -> bool {
    byte & 0xc0 != 0x80
}

/// What parts words for fastText (`Dictionary::readWord`): not all of Unicode's blanks.
fn is_separator(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t' | 0x0b | 0x0c | 0)
}
