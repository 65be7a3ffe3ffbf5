//! A pack as a whole: which layout it has, its posts, and what `dataset.json` says of them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::bytes::{read, sha256_hex};
use super::error::DatasetError;
use super::leaks::check_leaks;
use super::post::{ExtraText, Post, Split};
use super::{deal, folder, lines, shuttersong};

/// A pack, read and checked.
#[derive(Debug, Clone)]
pub struct DataPack {
    /// Name by `dataset.json`, else the folder's.
    pub name: String,
    /// Version by `dataset.json`, where there is one.
    pub version: Option<String>,
    pub root: PathBuf,
    /// Name of the file with the posts and their labels, by which the layout is known.
    pub labels_file: &'static str,
    /// SHA-256 of that file, hexadecimal; for `shuttersong.csv` of `polarity.csv` and the lyrics too.
    pub posts_sha256: String,
    /// SHA-256 of `extra-texts.jsonl`, where there is one.
    pub extra_texts_sha256: Option<String>,
    /// All posts, in file order.
    pub posts: Vec<Post>,
    /// Texts of the training side, possibly none.
    pub extra_texts: Vec<ExtraText>,
}

/// `dataset.json`, as far as it is checked.
#[derive(Deserialize)]
struct Description {
    name: Option<String>,
    version: Option<String>,
    posts_sha256: Option<String>,
    #[serde(default)]
    splits: HashMap<String, DescribedSplit>,
}

#[derive(Deserialize)]
struct DescribedSplit {
    posts: usize,
}

/// The files that make a folder a pack. Where several are there, the first of this list is read.
pub const LAYOUTS: [&str; 3] = ["posts.jsonl", folder::LABELS, shuttersong::POSTS];

/// Which of [`LAYOUTS`] a folder has; `None` for one that is no pack.
pub fn layout(root: &Path) -> Option<&'static str> {
    LAYOUTS.into_iter().find(|name| root.join(name).is_file())
}

impl DataPack {
    /// Reads the pack in folder `root`. Media files are not opened here.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line.
    pub fn read(root: &Path) -> Result<Self, DatasetError> {
        let labels_file = layout(root).unwrap_or(LAYOUTS[0]);
        let posts_path = root.join(labels_file);
        let bytes = read(&posts_path)?;
        let (posts, posts_sha256) = match labels_file {
            folder::LABELS => {
                let candidates = folder::parse(&posts_path, root, &bytes)?;
                (deal::assign(candidates, &posts_path)?, sha256_hex(&bytes))
            }
            shuttersong::POSTS => {
                let found = shuttersong::parse(&posts_path, root, &bytes)?;
                found.left_out.warn(&posts_path);
                (deal::assign(found.candidates, &posts_path)?, found.sha256)
            }
            _ => (lines::parse_posts(&posts_path, root, &bytes)?, sha256_hex(&bytes)),
        };
        if posts.is_empty() {
            return Err(DatasetError::Integrity { path: posts_path, reason: "holds no post".to_owned() });
        }
        check_leaks(&posts_path, &posts)?;

        let extra_path = root.join("extra-texts.jsonl");
        let extra = extra_path.exists().then(|| read(&extra_path)).transpose()?;
        let extra_texts = match &extra {
            Some(bytes) => lines::parse_extra_texts(&extra_path, bytes, &posts)?,
            None => Vec::new(),
        };
        let mut pack = Self {
            name: root.file_name().map_or_else(|| "data".to_owned(), |name| name.to_string_lossy().into_owned()),
            version: None,
            root: root.to_owned(),
            labels_file,
            posts_sha256,
            extra_texts_sha256: extra.as_deref().map(sha256_hex),
            posts,
            extra_texts,
        };
        pack.check_description()?;
        Ok(pack)
    }

    /// The posts of one split, in file order.
    pub fn split(&self, split: Split) -> impl Iterator<Item = &Post> {
        self.posts.iter().filter(move |post| post.split == split)
    }

    /// Name of the pack and of its file of posts, as a checkpoint records them.
    pub(crate) fn source_name(&self) -> String {
        format!("{}/{}", self.name, self.labels_file)
    }

    /// Share of positive posts in the training split: what is known about a post of which nothing is left. One half,
    /// which is to know nothing, for a pack without training posts.
    pub fn base_rate(&self) -> f64 {
        self.training_share().unwrap_or(0.5)
    }

    /// Share of positive posts in the training split; `None` where it has no post.
    pub fn training_share(&self) -> Option<f64> {
        let (positive, all) = self
            .split(Split::Train)
            .fold((0_usize, 0_usize), |(positive, all), post| (positive + usize::from(post.positive), all + 1));
        (all > 0).then(|| positive as f64 / all as f64)
    }

    fn check_description(&mut self) -> Result<(), DatasetError> {
        let path = self.root.join("dataset.json");
        if !path.exists() {
            return Ok(());
        }
        let description: Description = serde_json::from_slice(&read(&path)?).map_err(|e| DatasetError::Line {
            path: path.clone(),
            line: e.line(),
            reason: e.to_string(),
        })?;
        if let Some(expected) = description.posts_sha256.filter(|expected| *expected != self.posts_sha256) {
            return Err(DatasetError::Integrity {
                path: self.root.join(self.labels_file),
                reason: format!("sha256 is {}, dataset.json says {expected}", self.posts_sha256),
            });
        }
        for (name, described) in &description.splits {
            let found = Split::parse(name).map_or(0, |split| self.split(split).count());
            if found != described.posts {
                let reason = format!("split `{name}` has {found} posts, dataset.json says {}", described.posts);
                return Err(DatasetError::Integrity { path: self.root.join(self.labels_file), reason });
            }
        }
        self.name = description.name.unwrap_or_else(|| self.name.clone());
        self.version = description.version;
        Ok(())
    }
}
