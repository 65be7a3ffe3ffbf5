//! Posts of the ShutterSong app (the paper's MoodShutter): a table of posts, a folder per song, and the polarity of
//! the mood tags as the user decides it. The layout is described, and marked as this project's own, in
//! `docs/data-packs.md`.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use jtav_schemas::TextPart;
use sha2::{Digest, Sha256};

use super::bytes::read;
use super::error::DatasetError;
use super::files::{Files, below};
use super::post::{Candidate, MediaFile};
use super::table::{Row, Table, polarity};

/// The file that makes a folder one of this layout.
pub(super) const POSTS: &str = "shuttersong.csv";
/// Which mood tags are positive and which negative.
const POLARITY: &str = "polarity.csv";

const REQUIRED: [&str; 3] = ["image", "song_id", "mood"];
const OPTIONAL: [&str; 6] = ["id", "caption", "lyrics", "audio", "split", "quadrant"];
/// Where a song's parts are looked for unless the row names them.
const LYRICS: &str = "lyrics.txt";
/// What a song's clip may end in.
const CLIPS: [&str; 7] = ["mp3", "m4a", "aac", "ogg", "flac", "wav", "mp4"];

/// What was read.
pub(super) struct Read {
    pub candidates: Vec<Candidate>,
    pub left_out: LeftOut,
    /// SHA-256 of everything that decides posts and labels: both tables and the lyrics.
    pub sha256: String,
}

/// Posts without a label.
#[derive(Debug, Default, PartialEq)]
pub(super) struct LeftOut {
    /// Posts without a mood tag.
    pub untagged: usize,
    /// Posts by mood tag that `polarity.csv` does not know.
    pub unknown: BTreeMap<String, usize>,
}

impl LeftOut {
    /// Says how many posts are missing and why, if any is.
    pub fn warn(&self, path: &Path) {
        if self.untagged > 0 {
            tracing::warn!(path = %path.display(), posts = self.untagged, "posts without a mood tag are left out");
        }
        if !self.unknown.is_empty() {
            let posts: usize = self.unknown.values().sum();
            tracing::warn!(
                path = %path.display(),
                posts,
                tags = %self.tags(),
                "posts whose mood tag {POLARITY} does not know are left out"
            );
        }
    }

    fn tags(&self) -> String {
        let tags: Vec<String> = self.unknown.iter().map(|(tag, posts)| format!("{tag} ({posts})")).collect();
        tags.join(", ")
    }
}

/// The rows of `shuttersong.csv`, in file order.
pub(super) fn parse(path: &Path, root: &Path, bytes: &[u8]) -> Result<Read, DatasetError> {
    let table = Table::parse(path, bytes, &REQUIRED, &OPTIONAL)?;
    let polarity_path = root.join(POLARITY);
    let polarity_bytes = read(&polarity_path)?;
    let polarities = polarities(&polarity_path, &polarity_bytes)?;
    let mut songs = Songs { root, files: Files::new(root), lyrics: HashMap::new(), digest: Sha256::new() };
    songs.digest.update(bytes);
    songs.digest.update(&polarity_bytes);

    let (mut candidates, mut left_out) = (Vec::new(), LeftOut::default());
    let mut line_of: HashMap<&str, usize> = HashMap::new();
    for row in table.rows() {
        let id = row.get("id").map_or_else(|| row.require("image"), Ok)?;
        if let Some(first) = line_of.insert(id, row.line()) {
            return Err(row.fail(format!("id `{id}` stands on line {first} already")));
        }
        let Some(tag) = row.get("mood").map(str::to_lowercase) else {
            left_out.untagged += 1;
            continue;
        };
        match polarities.get(&tag) {
            Some(&positive) => candidates.push(songs.candidate(id, &row, positive)?),
            None => *left_out.unknown.entry(tag).or_default() += 1,
        }
    }
    if candidates.is_empty() && !(left_out.unknown.is_empty() && left_out.untagged == 0) {
        return Err(DatasetError::Integrity {
            path: path.to_owned(),
            reason: format!(
                "no post has a label: {} without a mood tag, and {POLARITY} knows none of the tags {}",
                left_out.untagged,
                left_out.tags()
            ),
        });
    }
    Ok(Read { candidates, left_out, sha256: hex::encode(songs.digest.finalize()) })
}

/// Whether each mood tag, in lower case, is positive.
fn polarities(path: &Path, bytes: &[u8]) -> Result<HashMap<String, bool>, DatasetError> {
    let table = Table::parse(path, bytes, &["tag", "polarity"], &[])?;
    let mut polarities = HashMap::new();
    for row in table.rows() {
        let tag = row.require("tag")?.to_lowercase();
        let positive = polarity(row.require("polarity")?).map_err(|reason| row.fail(format!("polarity {reason}")))?;
        if polarities.insert(tag.clone(), positive).is_some_and(|earlier| earlier != positive) {
            return Err(row.fail(format!("tag `{tag}` has the other polarity on an earlier line")));
        }
    }
    Ok(polarities)
}

/// What the posts of one song share.
struct Songs<'a> {
    root: &'a Path,
    files: Files<'a>,
    /// Lyrics by path; `None` for a song without any.
    lyrics: HashMap<String, Option<String>>,
    digest: Sha256,
}

impl Songs<'_> {
    fn candidate(&mut self, id: &str, row: &Row, positive: bool) -> Result<Candidate, DatasetError> {
        let song = row.require("song_id")?;
        below(song).map_err(|reason| row.fail(format!("song_id: {reason}")))?;
        let lyrics = self.lyrics(song, row)?;
        let caption = row.get("caption").map(str::to_owned);
        let part = |role: &str, text: Option<String>| text.map(|text| TextPart { role: role.to_owned(), text });
        let image = self.files.existing(row.require("image")?);
        Ok(Candidate {
            id: id.to_owned(),
            line: row.line(),
            texts: [part("lyrics", lyrics), part("caption", caption)].into_iter().flatten().collect(),
            audio: self.clip(song, row)?,
            image: Some(image.map_err(|reason| row.fail(format!("image {reason}")))?),
            positive,
            mood: row.quadrant("quadrant")?,
            split: row.split()?,
            group: Some(song.to_owned()),
        })
    }

    /// The file that the row names, else `songs/<song_id>/lyrics.txt` if it is there.
    fn lyrics(&mut self, song: &str, row: &Row) -> Result<Option<String>, DatasetError> {
        let named = row.get("lyrics");
        let path = named.map_or_else(|| format!("songs/{song}/{LYRICS}"), str::to_owned);
        if let Some(known) = self.lyrics.get(&path) {
            return Ok(known.clone());
        }
        let relative = below(&path).map_err(|reason| row.fail(format!("lyrics {reason}")))?;
        let text = match std::fs::read_to_string(self.root.join(relative)) {
            Ok(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(row.fail(format!("lyrics `{path}`: {error}"))),
        };
        self.digest.update(text.as_deref().unwrap_or_default().as_bytes());
        self.lyrics.insert(path, text.clone());
        Ok(text)
    }

    /// The file that the row names, else the only clip in `songs/<song_id>`.
    fn clip(&mut self, song: &str, row: &Row) -> Result<Option<std::sync::Arc<MediaFile>>, DatasetError> {
        let path = match row.get("audio") {
            Some(path) => path.to_owned(),
            None => match self.only_clip(song).map_err(|reason| row.fail(reason))? {
                Some(path) => path,
                None => return Ok(None),
            },
        };
        self.files.existing(&path).map(Some).map_err(|reason| row.fail(format!("audio {reason}")))
    }

    fn only_clip(&self, song: &str) -> Result<Option<String>, String> {
        let folder = self.root.join("songs").join(song);
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) => return Err(format!("song `{song}`: {}: {error}", folder.display())),
        };
        let mut clips = Vec::new();
        for entry in entries {
            let name = entry.map_err(|error| format!("song `{song}`: {error}"))?.file_name();
            let extension = Path::new(&name).extension().map(|extension| extension.to_ascii_lowercase());
            if extension.is_some_and(|extension| CLIPS.iter().any(|&clip| extension == clip)) {
                clips.push(name.to_string_lossy().into_owned());
            }
        }
        clips.sort();
        match clips.as_slice() {
            [] => Ok(None),
            [clip] => Ok(Some(format!("songs/{song}/{clip}"))),
            several => Err(format!("song `{song}` has several clips ({}); name one as `audio`", several.join(", "))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{DataPack, Split};
    use super::*;

    /// Two songs; the second has no lyrics.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for song in ["s1", "s2"] {
            std::fs::create_dir_all(folder.path().join("songs").join(song)).unwrap();
            std::fs::write(folder.path().join("songs").join(song).join("clip.m4a"), song).unwrap();
        }
        std::fs::write(folder.path().join("songs/s1/lyrics.txt"), "la la\nla\n").unwrap();
        for image in ["1.jpg", "2.jpg", "3.jpg"] {
            std::fs::write(folder.path().join(image), image).unwrap();
        }
        std::fs::write(folder.path().join("polarity.csv"), "tag,polarity\nHappy,positive\nblue,negative\n").unwrap();
        folder
    }

    fn read_pack(folder: &tempfile::TempDir, posts: &str) -> Result<DataPack, String> {
        std::fs::write(folder.path().join(POSTS), posts).unwrap();
        DataPack::read(folder.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn posts_get_their_song_and_the_polarity_of_their_tag() {
        let posts = "image,song_id,caption,mood,split\n\
                     1.jpg,s1,at the sea,HAPPY,train\n2.jpg,s1,,blue,train\n3.jpg,s2,,happy,test\n";
        let pack = read_pack(&folder(), posts).unwrap();
        let found: Vec<(&str, bool, Split, usize)> =
            pack.posts.iter().map(|p| (p.id.as_str(), p.positive, p.split, p.texts.len())).collect();
        assert_eq!(
            found,
            [("1.jpg", true, Split::Train, 2), ("2.jpg", false, Split::Train, 1), ("3.jpg", true, Split::Test, 0)]
        );
        assert_eq!(
            (pack.posts[0].texts[0].role.as_str(), pack.posts[0].texts[0].text.as_str()),
            ("lyrics", "la la\nla")
        );
        assert!(pack.posts.iter().all(|post| post.audio.is_some() && post.image.is_some()));
        assert_eq!(pack.labels_file, POSTS);
    }

    #[test]
    fn without_splits_the_posts_of_a_song_stay_together() {
        let posts = "image,song_id,mood\n1.jpg,s1,happy\n2.jpg,s1,blue\n3.jpg,s2,happy\n";
        let pack = read_pack(&folder(), posts).unwrap();
        assert_eq!(pack.posts[0].split, pack.posts[1].split);
    }

    #[test]
    fn posts_without_a_known_tag_are_left_out_and_counted() {
        let folder = folder();
        let posts = "image,song_id,mood\n1.jpg,s1,happy\n2.jpg,s1,wistful\n3.jpg,s2,\n";
        assert_eq!(read_pack(&folder, posts).unwrap().posts.len(), 1);
        let read = parse(&folder.path().join(POSTS), folder.path(), posts.as_bytes()).unwrap();
        let unknown = BTreeMap::from([("wistful".to_owned(), 1)]);
        assert_eq!(read.left_out, LeftOut { untagged: 1, unknown });
        let message = read_pack(&folder, "image,song_id,mood\n1.jpg,s1,wistful\n2.jpg,s1,odd\n").unwrap_err();
        assert!(message.contains("knows none of the tags odd (1), wistful (1)"), "{message}");
    }

    #[test]
    fn the_hash_follows_labels_and_lyrics() {
        let folder = folder();
        let posts = "image,song_id,mood\n1.jpg,s1,happy\n2.jpg,s1,blue\n";
        let hash = |folder: &tempfile::TempDir| read_pack(folder, posts).unwrap().posts_sha256;
        let first = hash(&folder);
        assert_eq!(hash(&folder), first);
        std::fs::write(folder.path().join("songs/s1/lyrics.txt"), "na na").unwrap();
        let second = hash(&folder);
        std::fs::write(folder.path().join("polarity.csv"), "tag,polarity\nhappy,0\nblue,1\n").unwrap();
        assert!(first != second && second != hash(&folder));
    }

    #[test]
    fn what_cannot_be_used_is_named_with_its_line() {
        for (rows, expected) in [
            ("1.jpg,s1,,happy,\n1.jpg,s2,,happy,\n", "shuttersong.csv:3: id `1.jpg` stands on line 2 already"),
            ("9.jpg,s1,,happy,\n", "shuttersong.csv:2: image `9.jpg`: no such file"),
            ("1.jpg,s9,,happy,\n", "shuttersong.csv:2: song `s9`: "),
            ("1.jpg,../s1,,happy,\n", "shuttersong.csv:2: song_id: path `../s1` leaves"),
            ("1.jpg,,,happy,\n", "shuttersong.csv:2: `song_id` is empty"),
            ("1.jpg,s1,,happy,train\n2.jpg,s1,,blue,test\n", "shuttersong.csv:3: text of post `2.jpg` (test)"),
            ("1.jpg,s2,,happy,train\n2.jpg,s2,,blue,test\n", "shuttersong.csv:3: audio of post `2.jpg` (test)"),
        ] {
            let message = read_pack(&folder(), &format!("image,song_id,caption,mood,split\n{rows}")).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
        let two_clips = folder();
        std::fs::write(two_clips.path().join("songs/s1/other.mp3"), "x").unwrap();
        let message = read_pack(&two_clips, "image,song_id,mood\n1.jpg,s1,happy\n").unwrap_err();
        assert!(message.contains("several clips (clip.m4a, other.mp3); name one as `audio`"), "{message}");
        read_pack(&two_clips, "image,song_id,mood,audio\n1.jpg,s1,happy,songs/s1/other.mp3\n").unwrap();

        let no_polarity = folder();
        std::fs::remove_file(no_polarity.path().join("polarity.csv")).unwrap();
        assert!(
            read_pack(&no_polarity, "image,song_id,mood\n1.jpg,s1,happy\n").unwrap_err().contains("polarity.csv: ")
        );
        let twice = folder();
        std::fs::write(twice.path().join("polarity.csv"), "tag,polarity\nhappy,1\nhappy,0\n").unwrap();
        let message = read_pack(&twice, "image,song_id,mood\n1.jpg,s1,happy\n").unwrap_err();
        assert!(message.contains("polarity.csv:3: tag `happy` has the other polarity"), "{message}");
    }
}
