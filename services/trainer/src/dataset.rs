//! Data packs: a folder with `posts.jsonl` (`dataset-post.v1` lines), the media beside it, and optionally
//! `dataset.json` (counts and the hash of `posts.jsonl`) and `extra-texts.jsonl` (texts for the training side only).
//!
//! Reading is strict. A pack that leaks between splits gives figures that look fine and mean nothing, so a medium
//! or a text that stands in two splits is an error and not a warning.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jtav_schemas::{DatasetMedia, DatasetPostV1, TextPart};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Names of the mood quadrants; a mood is an index into this list.
pub const MOODS: [&str; 4] = ["Q1", "Q2", "Q3", "Q4"];

/// The part of a pack that a post belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Weights are fitted here.
    Train,
    /// Epochs, temperatures and thresholds are chosen here.
    Validation,
    /// Looked at once, at the end.
    Test,
}

impl Split {
    /// All three, in that order.
    pub const ALL: [Split; 3] = [Split::Train, Split::Validation, Split::Test];

    /// As written in a pack.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Validation => "validation",
            Split::Test => "test",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|split| split.name() == name)
    }
}

impl std::fmt::Display for Split {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A media file of a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaFile {
    /// Absolute, or relative to the working folder, as the pack's own path was.
    pub path: PathBuf,
    /// SHA-256 that the pack declares, in lower-case hexadecimal; checked when the file is read.
    pub sha256: Option<String>,
    /// Media type that the pack declares.
    pub media_type: Option<String>,
}

/// A labelled post.
#[derive(Debug, Clone)]
pub struct Post {
    /// Its id.
    pub id: String,
    /// Line of `posts.jsonl`, from 1.
    pub line: usize,
    /// Its texts, in declared order.
    pub texts: Vec<TextPart>,
    /// Its clip.
    pub audio: Option<Arc<MediaFile>>,
    /// Its picture.
    pub image: Option<Arc<MediaFile>>,
    /// Sentiment.
    pub positive: bool,
    /// Index into [`MOODS`], where the audio has one.
    pub mood: Option<usize>,
    /// Where it belongs.
    pub split: Split,
}

/// A rated text without a post. It belongs to the training side.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ExtraText {
    /// Identity in its source.
    pub id: String,
    /// `caption`, `body`, …
    pub role: String,
    /// The words.
    pub text: String,
    /// 0 negative, 1 positive.
    pub sentiment: u8,
}

/// A pack, read and checked.
#[derive(Debug, Clone)]
pub struct DataPack {
    /// Name by `dataset.json`, else the folder's.
    pub name: String,
    /// Version by `dataset.json`, where there is one.
    pub version: Option<String>,
    /// The folder.
    pub root: PathBuf,
    /// SHA-256 of `posts.jsonl`, hexadecimal.
    pub posts_sha256: String,
    /// SHA-256 of `extra-texts.jsonl`, where there is one.
    pub extra_texts_sha256: Option<String>,
    /// All posts, in file order.
    pub posts: Vec<Post>,
    /// Texts of the training side, possibly none.
    pub extra_texts: Vec<ExtraText>,
}

/// Why a pack was refused.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// A file is missing or unreadable.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A line that cannot be used.
    #[error("{}:{line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A file is not the one that `dataset.json` describes.
    #[error("{}: {reason}", path.display())]
    Integrity {
        /// The file.
        path: PathBuf,
        /// What differs.
        reason: String,
    },
}

impl DatasetError {
    /// Never: the same folder is refused again.
    pub fn is_retryable(&self) -> bool {
        false
    }
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

impl DataPack {
    /// Reads the pack in folder `root`. Media files are not opened here.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line.
    pub fn read(root: &Path) -> Result<Self, DatasetError> {
        let posts_path = root.join("posts.jsonl");
        let bytes = read(&posts_path)?;
        let posts_sha256 = sha256_hex(&bytes);
        let posts = parse_posts(&posts_path, root, &bytes)?;
        check_leaks(&posts_path, &posts)?;

        let extra_path = root.join("extra-texts.jsonl");
        let extra = extra_path.exists().then(|| read(&extra_path)).transpose()?;
        let extra_texts = match &extra {
            Some(bytes) => parse_extra_texts(&extra_path, bytes, &posts)?,
            None => Vec::new(),
        };
        let mut pack = Self {
            name: root.file_name().map_or_else(|| "data".to_owned(), |name| name.to_string_lossy().into_owned()),
            version: None,
            root: root.to_owned(),
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

    /// Share of positive posts in the training split: what is known about a post of which nothing is left.
    pub fn base_rate(&self) -> f64 {
        let (positive, all) = self
            .split(Split::Train)
            .fold((0_usize, 0_usize), |(positive, all), post| (positive + usize::from(post.positive), all + 1));
        if all == 0 { 0.5 } else { positive as f64 / all as f64 }
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
                path: self.root.join("posts.jsonl"),
                reason: format!("sha256 is {}, dataset.json says {expected}", self.posts_sha256),
            });
        }
        for (name, described) in &description.splits {
            let found = Split::parse(name).map_or(0, |split| self.split(split).count());
            if found != described.posts {
                let reason = format!("split `{name}` has {found} posts, dataset.json says {}", described.posts);
                return Err(DatasetError::Integrity { path: self.root.join("posts.jsonl"), reason });
            }
        }
        self.name = description.name.unwrap_or_else(|| self.name.clone());
        self.version = description.version;
        Ok(())
    }
}

fn read(path: &Path) -> Result<Vec<u8>, DatasetError> {
    std::fs::read(path).map_err(|source| DatasetError::Io { path: path.to_owned(), source })
}

/// SHA-256 in lower-case hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Lines that are not blank, with their numbers from 1.
fn lines<'a>(path: &Path, bytes: &'a [u8]) -> Result<Vec<(usize, &'a str)>, DatasetError> {
    let numbered = bytes.split(|&byte| byte == b'\n').enumerate();
    let mut found = Vec::new();
    for (index, line) in numbered {
        let text = std::str::from_utf8(line).map_err(|e| DatasetError::Line {
            path: path.to_owned(),
            line: index + 1,
            reason: e.to_string(),
        })?;
        if !text.trim().is_empty() {
            found.push((index + 1, text));
        }
    }
    Ok(found)
}

fn parse_posts(path: &Path, root: &Path, bytes: &[u8]) -> Result<Vec<Post>, DatasetError> {
    let mut posts = Vec::new();
    let mut line_of: HashMap<String, usize> = HashMap::new();
    let mut files: HashMap<String, Arc<MediaFile>> = HashMap::new();
    for (line, text) in lines(path, bytes)? {
        let fail = |reason: String| DatasetError::Line { path: path.to_owned(), line, reason };
        let record: DatasetPostV1 = serde_json::from_str(text).map_err(|e| fail(e.to_string()))?;
        if let Some(first) = line_of.insert(record.id.clone(), line) {
            return Err(fail(format!("id `{}` stands on line {first} already", record.id)));
        }
        posts.push(to_post(record, line, root, &mut files).map_err(fail)?);
    }
    if posts.is_empty() {
        return Err(DatasetError::Integrity { path: path.to_owned(), reason: "holds no post".to_owned() });
    }
    Ok(posts)
}

fn to_post(
    record: DatasetPostV1,
    line: usize,
    root: &Path,
    files: &mut HashMap<String, Arc<MediaFile>>,
) -> Result<Post, String> {
    let split = record.split.as_deref().ok_or("`split` is missing")?;
    let split = Split::parse(split).ok_or_else(|| format!("split `{split}`: use train, validation or test"))?;
    let positive = match record.labels.sentiment {
        Some(0) => false,
        Some(1) => true,
        Some(other) => return Err(format!("labels.sentiment is {other}, expected 0 or 1")),
        None => return Err("labels.sentiment is missing".to_owned()),
    };
    let mood = record.labels.mood.as_deref().map(|mood| {
        MOODS.iter().position(|&name| name == mood).ok_or_else(|| format!("labels.mood `{mood}`: use Q1 to Q4"))
    });
    let mood = mood.transpose()?;
    let mut file = |media: Option<DatasetMedia>| media.map(|media| media_file(media, root, files)).transpose();
    let (audio, image) = (file(record.audio)?, file(record.image)?);
    if record.texts.is_empty() && audio.is_none() && image.is_none() {
        return Err("the post has no part".to_owned());
    }
    Ok(Post { id: record.id, line, texts: record.texts, audio, image, positive, mood, split })
}

fn media_file(
    media: DatasetMedia,
    root: &Path,
    files: &mut HashMap<String, Arc<MediaFile>>,
) -> Result<Arc<MediaFile>, String> {
    let relative = Path::new(&media.path);
    // A pack comes from somebody else: it may not name files outside its own folder.
    if relative.components().any(|part| !matches!(part, std::path::Component::Normal(_))) {
        return Err(format!("path `{}` leaves the folder of the pack", media.path));
    }
    let sha256 = media.sha256.map(|digest| digest.to_ascii_lowercase());
    let file = files.entry(media.path.clone()).or_insert_with(|| {
        Arc::new(MediaFile { path: root.join(relative), sha256: sha256.clone(), media_type: media.media_type })
    });
    if file.sha256 != sha256 {
        return Err(format!("path `{}` has another sha256 than on an earlier line", media.path));
    }
    Ok(file.clone())
}

fn parse_extra_texts(path: &Path, bytes: &[u8], posts: &[Post]) -> Result<Vec<ExtraText>, DatasetError> {
    let held_out = posts.iter().filter(|post| post.split != Split::Train);
    let held_out: HashMap<String, &str> =
        held_out.flat_map(|post| post.texts.iter().map(|part| (comparable(&part.text), post.id.as_str()))).collect();
    let mut texts = Vec::new();
    for (line, text) in lines(path, bytes)? {
        let fail = |reason: String| DatasetError::Line { path: path.to_owned(), line, reason };
        let extra: ExtraText = serde_json::from_str(text).map_err(|e| fail(e.to_string()))?;
        if extra.sentiment > 1 {
            return Err(fail(format!("sentiment is {}, expected 0 or 1", extra.sentiment)));
        }
        if let Some(id) = held_out.get(&comparable(&extra.text)) {
            return Err(fail(format!("the text is also that of post `{id}`, which is not a training post")));
        }
        texts.push(extra);
    }
    Ok(texts)
}

fn comparable(text: &str) -> String {
    text.trim().to_lowercase()
}

/// Refuses a pack in which something stands in two splits.
fn check_leaks(path: &Path, posts: &[Post]) -> Result<(), DatasetError> {
    let mut seen: HashMap<(&str, String), &Post> = HashMap::new();
    for post in posts {
        let medium =
            |file: &Arc<MediaFile>| file.sha256.clone().unwrap_or_else(|| file.path.to_string_lossy().into_owned());
        let texts = post.texts.iter().map(|part| ("text", comparable(&part.text)));
        let media = [("audio", &post.audio), ("image", &post.image)];
        let media = media.into_iter().filter_map(|(what, file)| Some((what, medium(file.as_ref()?))));
        for (what, value) in texts.chain(media).filter(|(_, value)| !value.is_empty()) {
            let first = *seen.entry((what, value)).or_insert(post);
            if first.split != post.split {
                return Err(DatasetError::Line {
                    path: path.to_owned(),
                    line: post.line,
                    reason: format!(
                        "{what} of post `{}` ({}) is also that of `{}` on line {} ({})",
                        post.id, post.split, first.id, first.line, first.split
                    ),
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRAIN: &str =
        r#"{"id":"a","texts":[{"role":"body","text":"fine"}],"labels":{"sentiment":1,"mood":null},"split":"train"}"#;

    fn read_pack(posts: &str, others: &[(&str, &str)]) -> Result<DataPack, DatasetError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("posts.jsonl"), posts).unwrap();
        for (name, content) in others {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        DataPack::read(folder.path())
    }

    fn error(posts: &str, others: &[(&str, &str)]) -> String {
        read_pack(posts, others).unwrap_err().to_string()
    }

    #[test]
    fn a_pack_reads_with_labels_moods_and_shared_media() {
        let posts = format!(
            "{TRAIN}\n\n{}\n{}\n",
            r#"{"id":"b","audio":{"path":"media/x.ogg","sha256":"AB"},"labels":{"sentiment":0,"mood":"Q3"},"split":"train"}"#,
            r#"{"id":"c","audio":{"path":"media/x.ogg","sha256":"ab"},"labels":{"sentiment":0},"split":"train"}"#,
        );
        let pack = read_pack(&posts, &[]).unwrap();
        assert_eq!(pack.posts.iter().map(|post| post.line).collect::<Vec<_>>(), [1, 3, 4]);
        assert_eq!(pack.posts[1].mood, Some(2));
        assert!(Arc::ptr_eq(pack.posts[1].audio.as_ref().unwrap(), pack.posts[2].audio.as_ref().unwrap()));
        assert!((pack.base_rate() - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(pack.split(Split::Test).count(), 0);
    }

    #[test]
    fn every_unusable_line_is_named_by_its_number() {
        let second = |line: &str| error(&format!("{TRAIN}\n{line}\n"), &[]);
        for (line, what) in [
            ("{", "EOF"),
            (&TRAIN.replace("fine", "other"), "line 1 already"),
            (&TRAIN.replace("\"a\"", "\"b\"").replace("train", "dev"), "use train, validation or test"),
            (&TRAIN.replace("\"a\"", "\"b\"").replace(":1,", ":2,"), "expected 0 or 1"),
            (&TRAIN.replace("\"a\"", "\"b\"").replace("null", "\"Q5\""), "use Q1 to Q4"),
            (r#"{"id":"b","labels":{"sentiment":1},"split":"train"}"#, "no part"),
            (r#"{"id":"b","image":{"path":"../x.png"},"labels":{"sentiment":1},"split":"train"}"#, "leaves the folder"),
        ] {
            let message = second(line);
            assert!(message.contains("posts.jsonl:2:") && message.contains(what), "{message}");
        }
    }

    #[test]
    fn a_text_or_medium_in_two_splits_is_refused() {
        let test = TRAIN.replace("\"a\"", "\"b\"").replace("train", "test").replace("fine", " FINE");
        let message = error(&format!("{TRAIN}\n{test}\n"), &[]);
        assert!(message.contains("posts.jsonl:2:") && message.contains("`a` on line 1 (train)"), "{message}");

        let medium = r#"{"id":"m","image":{"path":"x.png","sha256":"00"},"labels":{"sentiment":1},"split":"train"}"#;
        let moved = medium.replace("\"m\"", "\"n\"").replace("x.png", "y.png").replace("train", "validation");
        assert!(error(&format!("{medium}\n{moved}\n"), &[]).contains("image of post `n` (validation)"));
    }

    #[test]
    fn an_extra_text_of_the_test_split_is_refused() {
        let test = TRAIN.replace("train", "test");
        let extra = r#"{"id":"x","role":"body","text":"Fine ","rating":1.0,"sentiment":1}"#;
        assert!(error(&test, &[("extra-texts.jsonl", extra)]).contains("extra-texts.jsonl:1: the text is also"));
        let pack = read_pack(TRAIN, &[("extra-texts.jsonl", extra)]).unwrap();
        assert_eq!(pack.extra_texts.len(), 1);
    }

    #[test]
    fn a_pack_that_is_not_the_described_one_is_refused() {
        let wrong = r#"{"name":"p","posts_sha256":"00"}"#;
        assert!(error(TRAIN, &[("dataset.json", wrong)]).contains("dataset.json says 00"));
        let wrong = r#"{"name":"p","splits":{"train":{"posts":2}}}"#;
        assert!(error(TRAIN, &[("dataset.json", wrong)]).contains("split `train` has 1 posts"));
        let right = format!(
            r#"{{"name":"p","version":"1","posts_sha256":"{}","splits":{{"train":{{"posts":1}}}}}}"#,
            sha256_hex(TRAIN.as_bytes())
        );
        let pack = read_pack(TRAIN, &[("dataset.json", &right)]).unwrap();
        assert_eq!((pack.name.as_str(), pack.version.as_deref()), ("p", Some("1")));
    }
}
