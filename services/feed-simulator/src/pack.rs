use std::collections::HashMap;
use std::path::{Path, PathBuf};

use jtav_schemas::DatasetPostV1;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// A data pack that cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// A file of the pack cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    /// `dataset.json` is not what it should be.
    #[error("`{}`: {message}", path.display())]
    Description { path: PathBuf, message: String },
    /// `posts.jsonl` is not the file that `dataset.json` describes.
    #[error("`{}` has SHA-256 {found}, dataset.json says {expected}: it was changed or cut off", path.display())]
    Changed {
        path: PathBuf,
        /// As computed.
        found: String,
        /// As described.
        expected: String,
    },
    /// A line is no `dataset-post.v1`.
    #[error("`{}`, line {line}: {message}", path.display())]
    Line {
        path: PathBuf,
        /// From 1.
        line: usize,
        message: String,
    },
    /// There is nothing to play.
    #[error("`{}` holds no posts", path.display())]
    Empty { path: PathBuf },
}

impl PackError {
    /// Never: somebody has to mend the pack first.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

#[derive(Deserialize)]
struct Description {
    name: String,
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    posts_sha256: Option<String>,
}

/// A folder with `dataset.json`, `posts.jsonl` and the media that the posts name by path.
#[derive(Debug, Clone)]
pub struct Pack {
    folder: PathBuf,
    name: String,
    version: Option<String>,
    posts: Vec<DatasetPostV1>,
}

impl Pack {
    /// Reads the posts and checks them against their description. Media are not read: the server finds them, or
    /// answers 404.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, PackError> {
        let folder = folder.as_ref().to_owned();
        let path = folder.join("dataset.json");
        let description: Description = serde_json::from_slice(&read(&path)?)
            .map_err(|error| PackError::Description { path, message: error.to_string() })?;
        let path = folder.join("posts.jsonl");
        let content = read(&path)?;
        if let Some(expected) = description.posts_sha256 {
            let found = hex::encode(Sha256::digest(&content));
            if !found.eq_ignore_ascii_case(&expected) {
                return Err(PackError::Changed { path, found, expected });
            }
        }
        let posts = parse_posts(&path, &content)?;
        if posts.is_empty() {
            return Err(PackError::Empty { path });
        }
        Ok(Self { folder, name: description.name, version: description.version, posts })
    }

    /// Where it lies; media paths are relative to it.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its version, where it states one.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// The posts in the order of the file.
    pub fn posts(&self) -> &[DatasetPostV1] {
        &self.posts
    }
}

fn read(path: &Path) -> Result<Vec<u8>, PackError> {
    std::fs::read(path).map_err(|source| PackError::Read { path: path.to_owned(), source })
}

fn parse_posts(path: &Path, content: &[u8]) -> Result<Vec<DatasetPostV1>, PackError> {
    let mut posts = Vec::new();
    let mut line_of_id = HashMap::new();
    for (index, text) in content.split(|byte| *byte == b'\n').enumerate() {
        if text.trim_ascii().is_empty() {
            continue;
        }
        let line = index + 1;
        let wrong = |message| PackError::Line { path: path.to_owned(), line, message };
        let post: DatasetPostV1 = serde_json::from_slice(text).map_err(|error| wrong(without_line(&error)))?;
        if let Some(earlier) = line_of_id.insert(post.id.clone(), line) {
            return Err(wrong(format!("the post id `{}` was on line {earlier} already", post.id)));
        }
        posts.push(post);
    }
    Ok(posts)
}

/// serde_json sees one line at a time and calls each of them the first.
fn without_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let reason = text.split(" at line ").next().unwrap_or(&text);
    format!("{reason}, column {}", error.column())
}

impl<'a> IntoIterator for &'a Pack {
    type Item = &'a DatasetPostV1;
    type IntoIter = std::slice::Iter<'a, DatasetPostV1>;

    fn into_iter(self) -> Self::IntoIter {
        self.posts.iter()
    }
}
