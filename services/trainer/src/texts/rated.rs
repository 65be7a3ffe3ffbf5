//! `rated-texts.jsonl`: texts with the votes of several raters each, one JSON object a line.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::item::Rating;
use crate::dataset::sha256_hex;

/// Folds that the texts are dealt to.
pub const FOLDS: u8 = 5;

/// A longer text is refused: what is made of texts is as long as they are.
pub const MAX_RATED_CHARS: usize = 2_000;

/// Why a file of rated texts was refused.
#[derive(Debug, thiserror::Error)]
pub enum RatedTextsError {
    /// The file is missing or unreadable.
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    /// A line that cannot be used.
    #[error("{}:{line}: {reason}", path.display())]
    Line {
        path: PathBuf,
        /// From 1.
        line: usize,
        reason: String,
    },
    /// No text is left to train on.
    #[error("{}: there is no text outside the sealed tenth", path.display())]
    Empty { path: PathBuf },
}

impl RatedTextsError {
    /// Never: the same file is refused again.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

/// A text and what its raters made of it.
#[derive(Debug, Clone, PartialEq)]
pub struct RatedText {
    pub id: String,
    /// Texts of one group (one review) are never parted.
    pub group: String,
    pub text: String,
    /// Shares of the votes: negative, neutral, positive; the sum is 1.
    pub votes: [f32; 3],
    /// Mean rating, -4 to 4.
    pub mean: f32,
    /// `fold(group, FOLDS)`.
    pub fold: u8,
}

impl RatedText {
    /// Votes and mean.
    pub fn rating(&self) -> Rating {
        Rating { votes: self.votes, mean: self.mean }
    }

    /// Words, by the blanks between them.
    pub(super) fn words(&self) -> usize {
        self.text.split_whitespace().count()
    }
}

/// A file of rated texts.
#[derive(Debug, Clone, PartialEq)]
pub struct RatedTexts {
    /// Nine tenths of the groups, in file order: to train and to choose with.
    pub open: Vec<RatedText>,
    /// The sealed tenth, in file order: to be scored once, with what was chosen.
    pub sealed: Vec<RatedText>,
    /// SHA-256 of the file, lower-case hexadecimal.
    pub sha256: String,
}

/// What a line must hold; other fields are not looked at.
#[derive(Deserialize)]
struct Line {
    id: String,
    group: String,
    text: String,
    mean: f32,
    negative: u32,
    zero: u32,
    positive: u32,
    neutral_band: bool,
}

impl RatedTexts {
    /// Reads the file.
    ///
    /// # Errors
    /// A file that cannot be read, a line that is no rated text (it is named), or nothing to train on.
    pub fn read(path: &Path) -> Result<Self, RatedTextsError> {
        let bytes = std::fs::read(path).map_err(|source| RatedTextsError::Io { path: path.to_owned(), source })?;
        Self::parse(path, &bytes)
    }

    /// As [`read`](Self::read), of the bytes of the file; `path` is for errors.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, RatedTextsError> {
        let mut texts = Self { open: Vec::new(), sealed: Vec::new(), sha256: sha256_hex(bytes) };
        let mut line_of: HashMap<String, usize> = HashMap::new();
        for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let fail = |reason: String| RatedTextsError::Line { path: path.to_owned(), line: index + 1, reason };
            let line = std::str::from_utf8(line).map_err(|e| fail(e.to_string()))?;
            if line.trim().is_empty() {
                continue;
            }
            let line: Line = serde_json::from_str(line).map_err(|e| fail(e.to_string()))?;
            let text = rated_text(line).map_err(fail)?;
            if let Some(first) = line_of.insert(text.id.clone(), index + 1) {
                return Err(fail(format!("id `{}` stands on line {first} already", text.id)));
            }
            if is_sealed(&text.group) { texts.sealed.push(text) } else { texts.open.push(text) }
        }
        if texts.open.is_empty() {
            return Err(RatedTextsError::Empty { path: path.to_owned() });
        }
        Ok(texts)
    }
}

fn rated_text(line: Line) -> Result<RatedText, String> {
    let chars = line.text.chars().count();
    if line.text.trim().is_empty() {
        return Err("`text` is blank".to_owned());
    }
    if chars > MAX_RATED_CHARS {
        return Err(format!("`text` has {chars} characters, at most {MAX_RATED_CHARS} are read"));
    }
    if !(-4.0..=4.0).contains(&line.mean) {
        return Err(format!("`mean` is {}, expected -4 to 4", line.mean));
    }
    let counts = [line.negative, line.zero, line.positive].map(f64::from);
    let votes: f64 = counts.iter().sum();
    if votes == 0.0 {
        return Err("there is no vote".to_owned());
    }
    let fold = fold(&line.group, FOLDS);
    let votes = counts.map(|count| (count / votes) as f32);
    let text = RatedText { id: line.id, group: line.group, text: line.text, votes, mean: line.mean, fold };
    // Another band than ours would mean other ratings than those that the network is judged by.
    if text.rating().is_neutral() != line.neutral_band {
        return Err(format!("`neutral_band` is {}, but `mean` is {}", line.neutral_band, line.mean));
    }
    Ok(text)
}

/// True for a tenth of the groups, by their SHA-256 alone: whoever reads the file seals the same ones.
pub fn is_sealed(group: &str) -> bool {
    Sha256::digest(group.as_bytes())[0].is_multiple_of(10)
}

/// The fold of a group, below `folds`: bytes 1 to 4 of its SHA-256, so that no fold depends on what is sealed. 0 when
/// there are no folds.
pub fn fold(group: &str, folds: u8) -> u8 {
    let digest = Sha256::digest(group.as_bytes());
    let drawn = u32::from_be_bytes([digest[1], digest[2], digest[3], digest[4]]);
    drawn.checked_rem(u32::from(folds)).map_or(0, |fold| fold as u8)
}
