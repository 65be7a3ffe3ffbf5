//! The sets of posts that a row is scored on.

use std::collections::HashMap;
use std::path::Path;

use jtav_schemas::TextPart;
use jtav_trainer::dataset::{DataPack, MediaFile, Post, Split};
use serde::Serialize;

use super::figures::{Figure, Items, accuracy, auc};
use super::model::{Answer, TextParts};
use super::other::TEXTS;
use super::rated::{RatedText, read_rated};

/// The test posts of a pack.
pub struct PackSet {
    pub pack: DataPack,
    /// Those with a text.
    texts: Vec<usize>,
    posts: Vec<Post>,
    /// With the votes of their raters, where the pack brings them.
    pub rated: Vec<RatedText>,
}

/// Figures of one row on a pack.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PackFigures {
    /// AUC of posts with text, by their texts.
    pub text: Option<Figure>,
    /// AUC of all posts, by all their parts.
    pub fused: Option<Figure>,
    /// Accuracy of three labels on the pack's rated texts.
    pub three_way: Option<Figure>,
}

impl PackSet {
    /// Reads the pack in a folder.
    ///
    /// # Errors
    /// What is wrong with it; a pack without test posts.
    pub fn read(root: &Path) -> anyhow::Result<Self> {
        let pack = DataPack::read(root)?;
        jtav_trainer::evaluate::check_split(&pack, Split::Test)?;
        let posts: Vec<Post> = pack.split(Split::Test).cloned().collect();
        let texts = (0..posts.len()).filter(|&at| !posts[at].texts.is_empty()).collect();
        let rated = root.join(TEXTS);
        let rated = if rated.exists() { read_rated(&rated)? } else { Vec::new() };
        Ok(Self { pack, texts, posts, rated })
    }

    /// Test posts, and those among them with a text.
    pub fn sizes(&self) -> (usize, usize) {
        (self.posts.len(), self.texts.len())
    }

    /// The texts of the test posts that have any.
    pub fn texts(&self) -> Vec<TextParts> {
        self.texts.iter().map(|&at| self.posts[at].texts.clone()).collect()
    }

    /// Ids of the same posts.
    pub fn text_ids(&self) -> impl Iterator<Item = &str> {
        self.texts.iter().map(|&at| self.posts[at].id.as_str())
    }

    /// The rated texts as posts.
    pub fn rated_texts(&self) -> Vec<TextParts> {
        let part = |text: &RatedText| vec![TextPart { role: "body".to_owned(), text: text.text.clone() }];
        self.rated.iter().map(part).collect()
    }

    /// AUC of the posts with text; each is its own group, for a text is used once.
    pub fn text_figure(&self, seeds: &[Vec<Answer>], seed: u64) -> Option<Figure> {
        auc(&Items::apart(self.texts.iter().map(|&at| label(&self.posts[at])).collect()), seeds, seed)
    }

    /// AUC of all posts. Media are shared, so texts, sounds and pictures are drawn apart.
    pub fn fused_figure(&self, seeds: &[Vec<Answer>], seed: u64) -> Option<Figure> {
        let factors = vec![
            (0..self.posts.len()).collect(),
            groups(self.posts.iter().map(|post| post.audio.as_deref())),
            groups(self.posts.iter().map(|post| post.image.as_deref())),
        ];
        auc(&Items { labels: self.posts.iter().map(label).collect(), factors }, seeds, seed)
    }

    /// Accuracy of three labels, drawn by the group of the text.
    pub fn three_way_figure(&self, seeds: &[Vec<Answer>], seed: u64) -> Option<Figure> {
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        let group = |text| {
            let next = numbers.len();
            *numbers.entry(text).or_insert(next)
        };
        let groups = self.rated.iter().map(|text| text.group.as_str()).map(group).collect();
        accuracy(
            &Items { labels: self.rated.iter().map(RatedText::label).collect(), factors: vec![groups] },
            seeds,
            seed,
        )
    }
}

fn label(post: &Post) -> usize {
    if post.positive { 2 } else { 0 }
}

/// Posts with the same file are of one group; one without is a group by itself.
fn groups<'a>(files: impl Iterator<Item = Option<&'a MediaFile>>) -> Vec<usize> {
    let mut numbers: HashMap<&Path, usize> = HashMap::new();
    let mut next = 0;
    let mut group = |file: Option<&'a MediaFile>| {
        let new = next;
        next += 1;
        file.map_or(new, |file| *numbers.entry(file.path.as_path()).or_insert(new))
    };
    files.map(&mut group).collect()
}
