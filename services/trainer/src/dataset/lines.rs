//! JSONL: `posts.jsonl` and `extra-texts.jsonl`.

use std::collections::HashMap;
use std::path::Path;

use jtav_schemas::{DatasetMedia, DatasetPostV1};

use super::error::DatasetError;
use super::files::{Files, Source};
use super::leaks::comparable;
use super::post::{ExtraText, MOODS, Post, Split};

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

/// The posts of `posts.jsonl`, in file order.
pub(super) fn parse_posts(path: &Path, root: &Path, bytes: &[u8]) -> Result<Vec<Post>, DatasetError> {
    let mut posts = Vec::new();
    let mut line_of: HashMap<String, usize> = HashMap::new();
    let mut files = Files::new(root);
    for (line, text) in lines(path, bytes)? {
        let fail = |reason: String| DatasetError::Line { path: path.to_owned(), line, reason };
        let record: DatasetPostV1 = serde_json::from_str(text).map_err(|e| fail(e.to_string()))?;
        if let Some(first) = line_of.insert(record.id.clone(), line) {
            return Err(fail(format!("id `{}` stands on line {first} already", record.id)));
        }
        posts.push(to_post(record, line, &mut files).map_err(fail)?);
    }
    Ok(posts)
}

fn to_post(record: DatasetPostV1, line: usize, files: &mut Files) -> Result<Post, String> {
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
    let mut file = |media: Option<DatasetMedia>, source: Source| {
        media.map(|media| files.file(&media.path, media.sha256, media.media_type, source)).transpose()
    };
    let group = |kind: &str| record.groups.get(kind).cloned().flatten();
    let (song, speaker) = (group("song_id"), group("speaker"));
    let of_sound = Source { is_speech: song.is_none() && speaker.is_some(), group: song.or(speaker) };
    let audio = file(record.audio, of_sound)?;
    let image = file(record.image, Source { group: group("image_theme"), is_speech: false })?;
    if record.texts.is_empty() && audio.is_none() && image.is_none() {
        return Err("the post has no part".to_owned());
    }
    Ok(Post { id: record.id, line, texts: record.texts, audio, image, positive, mood, split })
}

/// The texts of `extra-texts.jsonl`, none of which may be that of a post held out.
pub(super) fn parse_extra_texts(path: &Path, bytes: &[u8], posts: &[Post]) -> Result<Vec<ExtraText>, DatasetError> {
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
