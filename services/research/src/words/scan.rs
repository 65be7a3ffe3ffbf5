//! A binary or text file read forwards without ever believing more than its size allows.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use super::WordsError;

/// A file read forwards, with an eye on how much of it is left.
pub(super) struct Scan<'a> {
    path: &'a Path,
    file: BufReader<File>,
    at: u64,
    bytes: u64,
}

impl<'a> Scan<'a> {
    pub fn open(path: &'a Path) -> Result<Self, WordsError> {
        let io = |source| WordsError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        let bytes = file.metadata().map_err(io)?.len();
        Ok(Self { path, file: BufReader::new(file), at: 0, bytes })
    }

    pub fn left(&self) -> u64 {
        self.bytes.saturating_sub(self.at)
    }

    pub fn refuse(&self, reason: impl Into<String>) -> WordsError {
        WordsError::Malformed { path: self.path.to_owned(), reason: reason.into() }
    }

    fn cut_off(&self, what: &str) -> WordsError {
        self.refuse(format!("ends after {} bytes, within {what}", self.bytes))
    }

    pub fn take<const N: usize>(&mut self, what: &str) -> Result<[u8; N], WordsError> {
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes).map_err(|_| self.cut_off(what))?;
        self.at += N as u64;
        Ok(bytes)
    }

    pub fn number<const N: usize, T>(&mut self, parse: fn([u8; N]) -> T, what: &str) -> Result<T, WordsError> {
        self.take(what).map(parse)
    }

    pub fn exactly(&mut self, bytes: u64, what: &str) -> Result<Vec<u8>, WordsError> {
        let mut taken = Vec::new();
        let read = self.file.by_ref().take(bytes).read_to_end(&mut taken);
        self.at += taken.len() as u64;
        match read {
            Ok(found) if found as u64 == bytes => Ok(taken),
            _ => Err(self.cut_off(what)),
        }
    }

    /// Up to and with byte `end`, which may be missing at the end of a line of text only.
    pub fn until(&mut self, end: u8, most: u64, what: &str) -> Result<Vec<u8>, WordsError> {
        let mut taken = Vec::new();
        self.file.by_ref().take(most).read_until(end, &mut taken).map_err(|_| self.cut_off(what))?;
        self.at += taken.len() as u64;
        let at_end = end == b'\n' && self.left() == 0 && !taken.is_empty();
        if taken.last() != Some(&end) && !at_end {
            return Err(match self.left() {
                0 => self.cut_off(what),
                _ => self.refuse(format!("has more than {most} bytes for {what}")),
            });
        }
        Ok(taken)
    }

    pub fn skip(&mut self, bytes: u64, what: &str) -> Result<(), WordsError> {
        if bytes > self.left() {
            return Err(self.cut_off(what));
        }
        self.file.seek_relative(bytes as i64).map_err(|_| self.cut_off(what))?;
        self.at += bytes;
        Ok(())
    }

    /// Fails when the rest of the file has no room for a table of 32-bit numbers.
    pub fn expect_floats(&self, rows: u64, columns: u64) -> Result<u64, WordsError> {
        let bytes = rows.checked_mul(columns).and_then(|values| values.checked_mul(4));
        bytes.filter(|&bytes| bytes <= self.left()).ok_or_else(|| self.cut_off("the vectors"))
    }

    /// Goes over the type, the padding and the numbers of a `.fifu` table.
    pub fn skip_floats(&mut self, rows: u64, columns: u64) -> Result<(), WordsError> {
        const TYPE_F32: u32 = 10;
        if self.number(u32::from_le_bytes, "the type of the numbers")? != TYPE_F32 {
            return Err(self.refuse("holds numbers that are not of 32 bits"));
        }
        // The padding is never empty: 1 to 4 bytes.
        self.skip(4 - self.at % 4, "the padding")?;
        let bytes = self.expect_floats(rows, columns)?;
        self.skip(bytes, "the vectors")
    }

    /// Bytes behind the reader.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Reads the head of a chunk and says where its content ends.
    pub fn enter_chunk(&mut self, kind: u32) -> Result<u64, WordsError> {
        let found = self.number(u32::from_le_bytes, "a chunk")?;
        let bytes = self.number(u64::from_le_bytes, "a chunk")?;
        if found != kind || bytes > self.left() {
            return Err(
                self.refuse(format!("announces a chunk of kind {kind} and has one of kind {found} with {bytes} bytes"))
            );
        }
        Ok(self.at + bytes)
    }
}
