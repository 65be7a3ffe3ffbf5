//! Files of word vectors are looked through before the library reads them.
//!
//! They come from strangers and say in their first bytes how much memory they need. The library believes that, so a
//! header of a damaged file could ask for gigabytes, and a file that was cut off and then mapped would end the
//! process at the first read beyond its end. Here every count is held against the size of the file.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::WordsError;
use super::scan::Scan;

/// Most values of a vector; published ones have 25 to 1,024.
pub(super) const MAX_DIMENSION: usize = 10_000;
/// Most bytes of a word.
const MAX_WORD_BYTES: u64 = 1 << 16;
/// Most bytes of a printed value.
const MAX_VALUE_BYTES: u64 = 64;
/// First four bytes of a fastText model, little-endian.
const FASTTEXT_MAGIC: u32 = 793_712_314;
const FINALFUSION_MAGIC: [u8; 4] = *b"FiFu";

/// Kinds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    FastText,
    Text,
    Finalfusion,
}

impl Format {
    pub(super) fn of(path: &Path) -> Result<Self, WordsError> {
        let mut scan = Scan::open(path)?;
        let magic = scan.take::<4>("the first four bytes")?;
        Ok(match magic {
            FINALFUSION_MAGIC => Self::Finalfusion,
            _ if u32::from_le_bytes(magic) == FASTTEXT_MAGIC => Self::FastText,
            _ => Self::Text,
        })
    }
}

/// Whether all words are valid UTF-8. Published files hold a few that were cut inside a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Utf8 {
    Valid,
    Damaged,
}

/// Refuses texts in which fewer than two words stand `least` times: with one word alone there is nothing to draw
/// negative samples from.
pub(super) fn repeated_words(texts: &[Vec<String>], least: usize) -> Result<(), WordsError> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for word in texts.iter().flatten() {
        *counts.entry(word).or_default() += 1;
    }
    let repeated = counts.values().filter(|&&count| count >= least).count();
    if repeated < 2 {
        return Err(WordsError::Training(format!(
            "{repeated} of {} words stand in the texts {least} times or more, at least two must",
            counts.len()
        )));
    }
    Ok(())
}

/// Looks a fastText model through up to the end of its word vectors.
pub(super) fn fasttext(path: &Path) -> Result<Utf8, WordsError> {
    let mut scan = Scan::open(path)?;
    let header = FastTextHeader::read(&mut scan)?;
    let words = scan.number(i32::from_le_bytes, "the number of entries")?;
    let ordinary = scan.number(i32::from_le_bytes, "the number of words")?;
    let labels = scan.number(i32::from_le_bytes, "the number of labels")?;
    scan.skip(8, "the number of tokens")?;
    let pruned = scan.number(i64::from_le_bytes, "the number of n-grams kept")?;
    if labels != 0 || header.model == FastTextHeader::SUPERVISED {
        return Err(scan.refuse("is a model that predicts labels; its vectors are not those of a text's words"));
    }
    if pruned >= 0 {
        return Err(scan.refuse("had n-grams left out; use the model as it was before that"));
    }
    // An entry is at least a terminator, a count and a type.
    if words < 1 || words != ordinary || words as u64 > scan.left() / 10 {
        return Err(scan.refuse(format!("says that it holds {words} words, {ordinary} of them ordinary")));
    }
    let mut vocabulary = Words::default();
    for _ in 0..words {
        let mut word = scan.until(0, MAX_WORD_BYTES, "a word")?;
        word.pop();
        vocabulary.add(&word).map_err(|reason| scan.refuse(reason))?;
        scan.skip(8, "the count of a word")?;
        if scan.take::<1>("the type of an entry")? != [0] {
            return Err(scan.refuse("lists something that is not a word"));
        }
    }
    if scan.take::<1>("the quantisation flag")? != [0] {
        return Err(scan.refuse("is quantised; use the model as it was before that"));
    }
    let rows = scan.number(i64::from_le_bytes, "the rows of the vectors")?;
    let columns = scan.number(i64::from_le_bytes, "the columns of the vectors")?;
    if rows != i64::from(words) + i64::from(header.buckets) || columns != i64::from(header.dimension) {
        return Err(scan.refuse(format!(
            "has a table of {rows} x {columns} for {words} words and {} n-gram rows of {}",
            header.buckets, header.dimension
        )));
    }
    scan.expect_floats(rows as u64, columns as u64)?;
    Ok(vocabulary.utf8())
}

/// What the arguments of a fastText model say of its table.
struct FastTextHeader {
    dimension: i32,
    model: i32,
    buckets: i32,
}

impl FastTextHeader {
    const SUPERVISED: i32 = 3;

    fn read(scan: &mut Scan<'_>) -> Result<Self, WordsError> {
        scan.skip(4, "the first four bytes")?;
        let version = scan.number(i32::from_le_bytes, "the version")?;
        if !(11..=12).contains(&version) {
            return Err(scan.refuse(format!("has version {version} of the fastText format, 11 and 12 are read")));
        }
        let mut arguments = [0; 12];
        for argument in &mut arguments {
            *argument = scan.number(i32::from_le_bytes, "the arguments")?;
        }
        scan.skip(8, "the arguments")?;
        let [dimension, .., model, buckets, shortest, longest, _] = arguments;
        if !(1..=MAX_DIMENSION as i32).contains(&dimension) {
            return Err(scan.refuse(format!("says that a vector has {dimension} values")));
        }
        if model != Self::SUPERVISED && (longest == 0 || buckets == 0) {
            return Err(scan.refuse("was trained without n-grams; use its .vec file"));
        }
        // N-grams of one letter leave `<` and `>` out in fastText and in nothing else.
        if model != Self::SUPERVISED && (buckets < 0 || shortest < 2 || longest < shortest) {
            return Err(
                scan.refuse(format!("says that n-grams of {shortest} to {longest} letters have {buckets} rows"))
            );
        }
        Ok(Self { dimension, model, buckets })
    }
}

/// Looks a text file through: `words values` on the first line, then a word and its values on each.
pub(super) fn text(path: &Path) -> Result<Utf8, WordsError> {
    let mut scan = Scan::open(path)?;
    let first = scan.until(b'\n', 2 * MAX_VALUE_BYTES, "the first line")?;
    let counts: Option<Vec<u64>> =
        std::str::from_utf8(&first).ok().and_then(|line| line.split_whitespace().map(|n| n.parse().ok()).collect());
    let Some(&[words, dimension]) = counts.as_deref() else {
        return Err(scan.refuse("is no file of word vectors: its first line must be the number of words and of values"));
    };
    // A value is at least a blank and a digit, a word at least one byte.
    let least = words.checked_mul(2 * dimension + 1).filter(|_| dimension <= MAX_DIMENSION as u64);
    if words == 0 || dimension == 0 || least.is_none_or(|bytes| bytes > scan.left()) {
        return Err(scan.refuse(format!("has no room for the {words} words of {dimension} values that it announces")));
    }
    let mut vocabulary = Words::default();
    for word in 0..words {
        let number = word + 2;
        let line = scan.until(b'\n', MAX_WORD_BYTES + dimension * MAX_VALUE_BYTES, "its words");
        let line = line.map_err(|_| scan.refuse(format!("ends on line {number}, {words} words are announced")))?;
        vector_line(&line, dimension, &mut vocabulary)
            .map_err(|reason| scan.refuse(format!("line {number}: {reason}")))?;
    }
    match scan.left() {
        0 => Ok(vocabulary.utf8()),
        _ => Err(scan.refuse(format!("goes on after the {words} words that it announces"))),
    }
}

fn vector_line(line: &[u8], dimension: u64, vocabulary: &mut Words) -> Result<(), String> {
    let mut fields = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
    vocabulary.add(fields.next().unwrap_or_default())?;
    let mut values = 0;
    for field in fields {
        let value = std::str::from_utf8(field).ok().and_then(|field| field.parse::<f32>().ok());
        if !value.is_some_and(f32::is_finite) {
            return Err(format!("`{}` is not a number", String::from_utf8_lossy(field)));
        }
        values += 1;
    }
    if values == dimension { Ok(()) } else { Err(format!("{values} values, {dimension} are announced")) }
}

/// Chunks of a `.fifu` file that are read: what [`WordTable`](super::WordTable) writes.
mod chunk {
    pub const SIMPLE_VOCABULARY: u32 = 1;
    pub const TABLE: u32 = 2;
    pub const METADATA: u32 = 5;
    pub const NORMS: u32 = 6;
    pub const FASTTEXT_VOCABULARY: u32 = 7;
}

/// Looks a `.fifu` file through: metadata or none, a vocabulary, a table, and the lengths of its words or none.
pub(super) fn finalfusion(path: &Path) -> Result<(), WordsError> {
    let mut scan = Scan::open(path)?;
    if scan.take::<4>("the first four bytes")? != FINALFUSION_MAGIC {
        return Err(scan.refuse("is no .fifu file"));
    }
    let version = scan.number(u32::from_le_bytes, "the version")?;
    let chunks = scan.number(u32::from_le_bytes, "the number of chunks")?;
    if version != 0 || chunks > 4 {
        return Err(scan.refuse(format!("has version {version} of its format and {chunks} chunks")));
    }
    let mut kinds = Vec::new();
    for _ in 0..chunks {
        kinds.push(scan.number(u32::from_le_bytes, "the list of chunks")?);
    }
    use chunk::{FASTTEXT_VOCABULARY, METADATA, NORMS, SIMPLE_VOCABULARY, TABLE};
    let rest = kinds.strip_prefix(&[METADATA]).unwrap_or(&kinds);
    if !matches!(
        rest,
        [SIMPLE_VOCABULARY | FASTTEXT_VOCABULARY, TABLE] | [SIMPLE_VOCABULARY | FASTTEXT_VOCABULARY, TABLE, NORMS]
    ) {
        return Err(scan.refuse(format!(
            "has chunks of the kinds {kinds:?}; only plain and fastText vocabularies with an unquantised table are read"
        )));
    }
    let (mut words, mut rows) = (0, 0);
    for &kind in &kinds {
        let end = scan.enter_chunk(kind)?;
        match kind {
            SIMPLE_VOCABULARY | FASTTEXT_VOCABULARY => (words, rows) = vocabulary_chunk(&mut scan, kind, end)?,
            TABLE => table_chunk(&mut scan, rows)?,
            NORMS => norms_chunk(&mut scan, words)?,
            _ => scan.skip(end - scan.at(), "the metadata")?,
        }
        if scan.at() != end {
            return Err(
                scan.refuse(format!("has a chunk of kind {kind} whose content ends at {}, not at {end}", scan.at()))
            );
        }
    }
    Ok(())
}

/// Words, and rows that a table for them must have.
fn vocabulary_chunk(scan: &mut Scan<'_>, kind: u32, end: u64) -> Result<(u64, u64), WordsError> {
    let words = scan.number(u64::from_le_bytes, "the number of words")?;
    let mut buckets = 0;
    if kind == chunk::FASTTEXT_VOCABULARY {
        let shortest = scan.number(u32::from_le_bytes, "the n-grams")?;
        let longest = scan.number(u32::from_le_bytes, "the n-grams")?;
        buckets = scan.number(u32::from_le_bytes, "the n-grams")?;
        if shortest < 2 || longest < shortest || buckets == 0 || i32::try_from(buckets).is_err() {
            return Err(
                scan.refuse(format!("says that n-grams of {shortest} to {longest} letters have {buckets} rows"))
            );
        }
    }
    if words == 0 || words > end.saturating_sub(scan.at()) / 4 {
        return Err(scan.refuse(format!("says that it holds {words} words")));
    }
    let mut vocabulary = Words::default();
    for _ in 0..words {
        let bytes = scan.number(u32::from_le_bytes, "the length of a word")?;
        let word = scan.exactly(u64::from(bytes).min(MAX_WORD_BYTES), "a word")?;
        vocabulary.add(&word).map_err(|reason| scan.refuse(reason))?;
    }
    match vocabulary.utf8() {
        Utf8::Valid => Ok((words, words + u64::from(buckets))),
        Utf8::Damaged => Err(scan.refuse("holds a word that is not UTF-8")),
    }
}

fn table_chunk(scan: &mut Scan<'_>, expected_rows: u64) -> Result<(), WordsError> {
    let rows = scan.number(u64::from_le_bytes, "the rows of the vectors")?;
    let columns = scan.number(u32::from_le_bytes, "the columns of the vectors")?;
    if rows != expected_rows || !(1..=MAX_DIMENSION as u32).contains(&columns) {
        return Err(scan.refuse(format!("has a table of {rows} x {columns} where {expected_rows} rows belong")));
    }
    scan.skip_floats(rows, columns.into())
}

fn norms_chunk(scan: &mut Scan<'_>, words: u64) -> Result<(), WordsError> {
    let norms = scan.number(u64::from_le_bytes, "the number of lengths")?;
    if norms != words {
        return Err(scan.refuse(format!("has {norms} lengths for {words} words")));
    }
    scan.skip_floats(norms, 1)
}

/// Words seen so far; the library takes it for granted that none comes twice.
#[derive(Default)]
struct Words {
    seen: HashSet<Box<str>>,
    damaged: bool,
}

impl Words {
    fn add(&mut self, word: &[u8]) -> Result<(), String> {
        let text = String::from_utf8_lossy(word);
        self.damaged |= matches!(text, std::borrow::Cow::Owned(_));
        if text.is_empty() {
            return Err("holds a word without letters".to_owned());
        }
        if !self.seen.insert(text.as_ref().into()) {
            return Err(format!("holds the word `{text}` twice"));
        }
        Ok(())
    }

    fn utf8(&self) -> Utf8 {
        if self.damaged { Utf8::Damaged } else { Utf8::Valid }
    }
}
