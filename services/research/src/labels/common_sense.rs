//! The common-sense set (tests/common-sense): short posts with the label that a sensible reader would give them.

use std::path::Path;

use anyhow::Context;
use jtav_schemas::TextPart;
use serde::{Deserialize, Serialize};

use super::figures::{Figure, Items, accuracy_of, auc_of};
use super::model::{Answer, TextParts};
use super::rated::read_lines;

/// A post of the set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct CommonSensePost {
    pub id: String,
    pub kind: String,
    pub lang: String,
    pub label: Label,
    pub text: String,
}

/// Names of the three labels, in the order of their probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Label {
    Negative,
    Neutral,
    Positive,
}

/// Figures of one row.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CommonSenseFigures {
    /// AUC of positive against negative, English.
    pub auc: Option<Figure>,
    /// Accuracy of three labels, English.
    pub three_way: Option<Figure>,
    pub auc_other_languages: Option<Figure>,
    pub three_way_other_languages: Option<Figure>,
    /// Accuracy of three labels by kind, in the order in which the file first has them.
    pub kinds: Vec<(String, Option<Figure>)>,
}

/// Reads the open half, or the sealed one.
///
/// # Errors
/// A file that is not there or a line that is none.
pub fn read_common_sense(folder: &Path, sealed: bool) -> anyhow::Result<Vec<CommonSensePost>> {
    let name = if sealed { "sealed.jsonl" } else { "open.jsonl" };
    let posts: Vec<CommonSensePost> = read_lines(&folder.join(name))?;
    anyhow::ensure!(!posts.is_empty(), "{}: no post", folder.join(name).display());
    Ok(posts)
}

/// As a model reads them.
pub fn parts(posts: &[CommonSensePost]) -> Vec<TextParts> {
    posts.iter().map(|post| vec![TextPart { role: "body".to_owned(), text: post.text.clone() }]).collect()
}

/// The figures of one row, from the answers of each of its seeds.
///
/// # Errors
/// Another number of answers than of posts.
pub fn common_sense_figures(
    posts: &[CommonSensePost],
    seeds: &[Vec<Answer>],
    seed: u64,
) -> anyhow::Result<CommonSenseFigures> {
    let fits = seeds.iter().all(|answers| answers.len() == posts.len());
    fits.then_some(()).context("another number of answers than of posts")?;
    let items = Items::apart(posts.iter().map(|post| post.label as usize).collect());
    let english = |at: usize| posts[at].lang == "en";
    let mut kinds: Vec<String> = Vec::new();
    for post in posts {
        if !kinds.contains(&post.kind) {
            kinds.push(post.kind.clone());
        }
    }
    let of_kind = |kind: String| {
        let figure = accuracy_of(&items, seeds, seed, |at| posts[at].kind == kind);
        (kind, figure)
    };
    Ok(CommonSenseFigures {
        auc: auc_of(&items, seeds, seed, english),
        three_way: accuracy_of(&items, seeds, seed, english),
        auc_other_languages: auc_of(&items, seeds, seed, |at| !english(at)),
        three_way_other_languages: accuracy_of(&items, seeds, seed, |at| !english(at)),
        kinds: kinds.into_iter().map(of_kind).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_open_half_is_read_and_each_kind_and_language_is_scored_by_itself() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/common-sense");
        let posts = read_common_sense(&folder, false).unwrap();
        assert_eq!(posts.len(), 288);
        assert!(read_common_sense(Path::new("nowhere"), false).is_err());
        // Right about English and always neutral elsewhere.
        let answer = |post: &CommonSensePost| match post.lang == "en" {
            true => Answer { score: post.label as usize as f64, label: post.label as usize },
            false => Answer { score: 0.0, label: 1 },
        };
        let answers: Vec<Answer> = posts.iter().map(answer).collect();
        let found = common_sense_figures(&posts, &[answers], 1).unwrap();
        let mean = |figure: &Option<Figure>| figure.map(|figure| (figure.value.mean, figure.n));
        assert_eq!((mean(&found.auc), mean(&found.three_way)), (Some((1.0, 151)), Some((1.0, 216))));
        assert_eq!(mean(&found.auc_other_languages), Some((0.5, 48)));
        assert_eq!(mean(&found.three_way_other_languages), Some((24.0 / 72.0, 72)));
        assert_eq!(found.kinds.len(), 17);
        assert!(common_sense_figures(&posts, &[vec![]], 1).is_err());
    }
}
