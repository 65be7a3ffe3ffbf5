//! fastText's file format (`fasttext.cc`, `args.cc`): little-endian, no lengths but those of its parts.

use super::error::LanguageError;

const MAGIC: i32 = 793_712_314;
const VERSION: i32 = 12;

/// `loss_name::hs`
const HIERARCHICAL_SOFTMAX: i32 = 1;

/// `model_name::sup`
const SUPERVISED: i32 = 3;

/// Above those of any known model; what is allocated by number of buckets stays near a megabyte.
const MAX_BUCKETS: i32 = 1 << 23;
const MAX_DIMENSIONS: i32 = 1_024;
const MAX_NGRAM: i32 = 16;

/// Bytes not yet read. Every read says what it is for.
pub(super) struct File<'a> {
    rest: &'a [u8],
}

impl<'a> File<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn bytes(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], LanguageError> {
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or(LanguageError::Truncated(what))?;
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], LanguageError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(LanguageError::Truncated(what))?;
        self.rest = rest;
        Ok(*bytes)
    }

    pub(super) fn i32(&mut self, what: &'static str) -> Result<i32, LanguageError> {
        self.array(what).map(i32::from_le_bytes)
    }

    pub(super) fn i64(&mut self, what: &'static str) -> Result<i64, LanguageError> {
        self.array(what).map(i64::from_le_bytes)
    }

    /// A byte that is 0 or 1.
    pub(super) fn flag(&mut self, what: &'static str) -> Result<bool, LanguageError> {
        match self.array(what)? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(LanguageError::Damaged(what)),
        }
    }

    /// A count of things that take at least so many bytes each, which the file still has.
    pub(super) fn count(&self, count: i64, bytes_each: usize, what: &'static str) -> Result<usize, LanguageError> {
        let count = usize::try_from(count).map_err(|_| LanguageError::Damaged(what))?;
        if count > self.rest.len() / bytes_each {
            return Err(LanguageError::Truncated(what));
        }
        Ok(count)
    }

    /// Finite numbers.
    pub(super) fn floats(&mut self, count: usize, what: &'static str) -> Result<Vec<f32>, LanguageError> {
        let bytes = self.bytes(count.checked_mul(4).ok_or(LanguageError::Truncated(what))?, what)?;
        let values: Vec<f32> = bytes.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)).collect();
        if !values.iter().all(|value| value.is_finite()) {
            return Err(LanguageError::Damaged(what));
        }
        Ok(values)
    }

    /// Bytes up to a zero, which is read too.
    pub(super) fn string(&mut self, what: &'static str) -> Result<&'a [u8], LanguageError> {
        let end = self.rest.iter().position(|&byte| byte == 0).ok_or(LanguageError::Truncated(what))?;
        let string = self.bytes(end, what)?;
        self.bytes(1, what)?;
        Ok(string)
    }
}

/// The arguments of its training that reading and using a model needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) dimensions: usize,
    /// Hash values of n-grams; at least 1.
    pub(super) buckets: u32,
    /// Lengths of n-grams in characters, the word's two marks among them; empty where only words count.
    pub(super) shortest: usize,
    pub(super) longest: usize,
}

impl Header {
    pub(super) fn read(file: &mut File) -> Result<Self, LanguageError> {
        const WHAT: &str = "the header";
        if file.i32(WHAT) != Ok(MAGIC) || file.i32(WHAT) != Ok(VERSION) {
            return Err(LanguageError::NotAModel);
        }
        let mut arguments = [0; 12];
        for argument in &mut arguments {
            *argument = file.i32(WHAT)?;
        }
        let [dimensions, _ws, _epoch, _min_count, _neg, word_ngrams, loss, model, buckets, minn, maxn, _rate] =
            arguments;
        // The threshold for sampling, an f64 that only training needs.
        file.i64(WHAT)?;
        if (model, loss) != (SUPERVISED, HIERARCHICAL_SOFTMAX) {
            return Err(LanguageError::Unsupported("another kind or another loss"));
        }
        if word_ngrams != 1 {
            return Err(LanguageError::Unsupported("n-grams of words"));
        }
        let is_sound = (1..=MAX_DIMENSIONS).contains(&dimensions)
            && (0..=MAX_BUCKETS).contains(&buckets)
            && (0..=MAX_NGRAM).contains(&minn)
            && (0..=MAX_NGRAM).contains(&maxn);
        if !is_sound {
            return Err(LanguageError::Damaged("sizes beyond those of any model"));
        }
        let longest = if buckets == 0 { 0 } else { maxn as usize };
        Ok(Self {
            dimensions: dimensions as usize,
            buckets: (buckets as u32).max(1),
            shortest: minn.max(1) as usize,
            longest,
        })
    }
}
