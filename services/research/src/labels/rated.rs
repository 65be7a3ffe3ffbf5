//! `rated-texts.jsonl`: texts with the votes of their raters, and the tenth of them that no training sees.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A mean rating of this size or less is neutral, on the raters' scale of -4 to 4.
pub const NEUTRAL_BAND: f64 = 0.5;

/// One rated text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RatedText {
    pub id: String,
    /// What must not be split: the source, of Amazon's sentences the review.
    pub group: String,
    pub text: String,
    /// Mean of the ratings, -4 to 4.
    pub mean: f64,
    /// Votes below 0.
    pub negative: u32,
    /// Votes of 0.
    pub zero: u32,
    /// Votes above 0.
    pub positive: u32,
}

impl RatedText {
    /// Shares of the votes: negative, zero, positive. Equal ones where nobody voted.
    pub fn shares(&self) -> [f64; 3] {
        let votes = [self.negative, self.zero, self.positive].map(f64::from);
        let all: f64 = votes.iter().sum();
        if all > 0.0 { votes.map(|votes| votes / all) } else { [1.0 / 3.0; 3] }
    }

    /// 0 negative, 1 neutral, 2 positive, by the mean rating.
    pub fn label(&self) -> usize {
        match self.mean {
            mean if mean > NEUTRAL_BAND => 2,
            mean if mean < -NEUTRAL_BAND => 0,
            _ => 1,
        }
    }
}

/// Reads a file of rated texts.
///
/// # Errors
/// A file that is not there or a line that is none, with its number.
pub fn read_rated(path: &Path) -> anyhow::Result<Vec<RatedText>> {
    read_lines(path)
}

/// JSONL, one value a line; blank lines are skipped.
pub(super) fn read_lines<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Vec<T>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let read = |(at, line)| serde_json::from_str(line).with_context(|| format!("{}, line {}", path.display(), at + 1));
    lines.map(read).collect()
}

/// `file` itself, else `file` below `$JTAV_DATA_DIR`.
///
/// # Errors
/// Neither is there; the message names both.
pub fn resolve_file(file: &Path) -> anyhow::Result<PathBuf> {
    let below = std::env::var_os("JTAV_DATA_DIR").map(|data| Path::new(&data).join(file));
    let places: Vec<PathBuf> = std::iter::once(file.to_owned()).chain(below).collect();
    let found = places.iter().find(|path| path.exists()).cloned();
    found.with_context(|| {
        let names: Vec<String> = places.iter().map(|path| path.display().to_string()).collect();
        format!("nothing there: {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rated(mean: f64, votes: [u32; 3]) -> RatedText {
        let [negative, zero, positive] = votes;
        RatedText { id: "a".to_owned(), group: "a".to_owned(), text: String::new(), mean, negative, zero, positive }
    }

    #[test]
    fn the_border_of_the_band_is_neutral_and_votes_become_shares() {
        let labels = [-0.51, -0.5, 0.0, 0.5, 0.51].map(|mean| rated(mean, [1, 0, 0]).label());
        assert_eq!(labels, [0, 1, 1, 1, 2]);
        assert_eq!(rated(0.0, [1, 1, 2]).shares(), [0.25, 0.25, 0.5]);
        assert_eq!(rated(0.0, [0; 3]).shares(), [1.0 / 3.0; 3]);
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rated.jsonl");
        let good = serde_json::to_string(&rated(1.0, [0, 0, 3])).unwrap();
        std::fs::write(&path, format!("{good}\n\n{{\n")).unwrap();
        let error = format!("{:#}", read_rated(&path).unwrap_err());
        assert!(error.contains("line 3"), "{error}");
        std::fs::write(&path, format!("{good}\n")).unwrap();
        assert_eq!(read_rated(&path).unwrap(), [rated(1.0, [0, 0, 3])]);
        assert!(resolve_file(&folder.path().join("none")).is_err());
    }
}
