//! A folder of songs as a catalogue for image2song: found, decoded in the sandbox, encoded by the networks that serve.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use futures::StreamExt as _;
use jtav_audio_encoder::AudioStage;
use jtav_feed_processor::Networks;
use jtav_media::{DecodePool, accept};
use jtav_model::retrieval::{CatalogueSong, MAX_NAME_BYTES, MAX_SONGS, RetrievalCheckpoint, SongCatalogue, SongParts};
use jtav_pipeline::{AudioEncoder as _, TextEncoder as _};
use jtav_schemas::{Decoded, MediaRef, Modality, TextPart};
use jtav_text_encoder::TextStage;
use serde::Deserialize;

/// Beside the songs: their titles and lyrics.
pub const SIDECAR: &str = "songs.jsonl";
/// What is tried as sound where there is no [`SIDECAR`].
const EXTENSIONS: [&str; 10] = ["aac", "flac", "m4a", "mp3", "mp4", "oga", "ogg", "opus", "wav", "wave"];
/// Folders inside folders that are looked into.
const MAX_DEPTH: usize = 16;
/// Files and folders that are looked at.
const MAX_ENTRIES: usize = 2_000_000;
/// Largest sidecar.
const MAX_SIDECAR_BYTES: u64 = 256 << 20;
/// Songs that are read at once.
const AT_ONCE: usize = 8;

/// A song before it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SongFile {
    /// The file.
    pub path: PathBuf,
    /// Identity in the catalogue.
    pub id: String,
    /// For people.
    pub title: Option<String>,
    /// Its words, where they are known.
    pub lyrics: Option<String>,
}

/// A line of [`SIDECAR`].
#[derive(Deserialize)]
struct Line {
    path: String,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    lyrics: Option<String>,
}

/// The songs of a folder: those that its `songs.jsonl` names, else every file that is called like sound, in the order of their
/// paths. Links are not followed.
///
/// # Errors
/// A folder that cannot be read; a sidecar with a line that is none, or that names a file outside the folder; too many songs.
pub fn list(folder: &Path) -> anyhow::Result<Vec<SongFile>> {
    let sidecar = folder.join(SIDECAR);
    let songs = match sidecar.is_file() {
        true => listed(folder, &sidecar)?,
        false => walked(folder)?,
    };
    if songs.is_empty() {
        bail!("{}: no file of sound ({}), and no {SIDECAR}", folder.display(), EXTENSIONS.join(", "));
    }
    if songs.len() > MAX_SONGS {
        bail!("{}: {} songs; a catalogue holds {MAX_SONGS}", folder.display(), songs.len());
    }
    Ok(songs)
}

fn listed(folder: &Path, sidecar: &Path) -> anyhow::Result<Vec<SongFile>> {
    let bytes = std::fs::metadata(sidecar)?.len();
    if bytes > MAX_SIDECAR_BYTES {
        bail!("{}: {bytes} bytes; at most {MAX_SIDECAR_BYTES} are read", sidecar.display());
    }
    let text = std::fs::read_to_string(sidecar).with_context(|| sidecar.display().to_string())?;
    let mut songs = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let place = || format!("{}, line {}", sidecar.display(), index + 1);
        let line: Line = serde_json::from_str(line).with_context(place)?;
        let path = Path::new(&line.path);
        let is_inside = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        if !is_inside {
            bail!("{}: `{}` is not a path inside the folder", place(), line.path.escape_debug());
        }
        let id = line.id.unwrap_or_else(|| line.path.clone());
        songs.push(SongFile { path: folder.join(path), id, title: line.title, lyrics: line.lyrics });
    }
    Ok(songs)
}

fn walked(folder: &Path) -> anyhow::Result<Vec<SongFile>> {
    let (mut songs, mut folders, mut seen) = (Vec::new(), vec![(folder.to_owned(), 0)], 0);
    while let Some((at, depth)) = folders.pop() {
        for entry in std::fs::read_dir(&at).with_context(|| at.display().to_string())? {
            let entry = entry?;
            seen += 1;
            if seen > MAX_ENTRIES {
                bail!("{}: more than {MAX_ENTRIES} files; name the songs in {SIDECAR}", folder.display());
            }
            let (path, kind) = (entry.path(), entry.file_type()?);
            if kind.is_dir() && depth < MAX_DEPTH {
                folders.push((path, depth + 1));
            } else if kind.is_file() && is_sound(&path) {
                let id = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
                let title = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
                songs.push(SongFile { path, id, title, lyrics: None });
            }
        }
    }
    songs.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(songs)
}

fn is_sound(path: &Path) -> bool {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
}

/// Reads songs by the networks of a server.
pub struct SongReader {
    /// What encodes sound.
    pub audio: AudioStage,
    /// What encodes lyrics.
    pub text: TextStage,
    /// What decodes.
    pub decoders: DecodePool,
    /// Larger files are left out.
    pub max_audio_bytes: u64,
}

/// A song that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Its id.
    pub id: String,
    /// Why.
    pub why: String,
}

struct ReadSong {
    song: CatalogueSong,
    audio: Vec<f32>,
    lyrics: Option<Vec<f32>>,
}

impl SongReader {
    /// Of networks and decoders.
    pub fn new(networks: &Networks, decoders: DecodePool, max_audio_bytes: u64) -> Self {
        let text = TextStage::new(networks.preparer.clone(), networks.text.clone());
        Self { audio: AudioStage::new(networks.audio.clone()), text, decoders, max_audio_bytes }
    }

    /// The catalogue of these songs; those that cannot be read are left out and named. `done` is told of each.
    ///
    /// # Errors
    /// Networks that fail; no song that can be read; ids that a catalogue does not take.
    pub async fn catalogue(
        &self,
        checkpoint: &RetrievalCheckpoint,
        songs: Vec<SongFile>,
        done: impl Fn(),
    ) -> anyhow::Result<(SongCatalogue, Vec<LeftOut>)> {
        let mut ids = HashMap::new();
        if let Some(twice) = songs.iter().find(|song| ids.insert(song.id.clone(), ()).is_some()) {
            bail!("two songs have the id `{}`", twice.id.escape_debug());
        }
        let reading = futures::stream::iter(songs).map(|song| self.read(song)).buffered(AT_ONCE);
        futures::pin_mut!(reading);
        let (mut read, mut left_out) = (Vec::new(), Vec::new());
        while let Some(song) = reading.next().await {
            match song? {
                Ok(song) => read.push(song),
                Err(out) => left_out.push(out),
            }
            done();
        }
        if read.is_empty() {
            bail!("no song could be read; the first: {}", left_out.first().map_or("", |out| out.why.as_str()));
        }
        let parts: Vec<SongParts> =
            read.iter().map(|song| SongParts { audio: &song.audio, lyrics: song.lyrics.as_deref() }).collect();
        let vectors = checkpoint.song_tower()?.vectors(&parts)?;
        let songs = read.into_iter().map(|song| song.song).zip(vectors);
        Ok((SongCatalogue::new(checkpoint, songs)?, left_out))
    }

    async fn read(&self, file: SongFile) -> anyhow::Result<Result<ReadSong, LeftOut>> {
        let out = |why: String| Ok(Err(LeftOut { id: file.id.clone(), why }));
        let bytes = match tokio::fs::metadata(&file.path).await {
            Ok(facts) if facts.len() > self.max_audio_bytes => return out(format!("{} bytes, too large", facts.len())),
            Ok(_) => tokio::fs::read(&file.path).await,
            Err(error) => Err(error),
        };
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) => return out(error.to_string()),
        };
        let claimed = MediaRef { url: String::new(), media_type: None, sha256: None, bytes: None };
        let decoded = match accept(Modality::Audio, bytes.into(), None, &claimed).await {
            Ok(accepted) => self.decoders.decode(accepted).await?,
            Err(reason) => Err(reason),
        };
        let pcm = match decoded {
            Ok(Decoded::Audio(pcm)) => pcm,
            Ok(Decoded::Image(_)) => return out("a picture".to_owned()),
            Err(reason) => return out(reason.to_string()),
        };
        let audio = self.audio.encode(pcm).await?.vector.values().to_vec();
        let lyrics = match file.lyrics.filter(|lyrics| !lyrics.trim().is_empty()) {
            Some(lyrics) => self.lyrics(lyrics).await?,
            None => None,
        };
        let title = file.title.map(|title| clean(&title)).filter(|title| !title.is_empty());
        let song = CatalogueSong { id: file.id, title, has_lyrics: lyrics.is_some() };
        Ok(Ok(ReadSong { song, audio, lyrics }))
    }

    async fn lyrics(&self, text: String) -> anyhow::Result<Option<Vec<f32>>> {
        let encoded = self.text.encode(vec![TextPart { role: "lyrics".to_owned(), text }]).await?;
        Ok(encoded.map(|text| text.encoded.vector.values().to_vec()))
    }
}

/// A title as a catalogue takes it.
fn clean(title: &str) -> String {
    let mut clean = String::new();
    for letter in title.chars().map(|letter| if letter.is_control() { ' ' } else { letter }) {
        if clean.len() + letter.len_utf8() > MAX_NAME_BYTES {
            break;
        }
        clean.push(letter);
    }
    clean.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_gives_its_sounds_in_the_order_of_their_paths_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("b")).unwrap();
        for name in ["b/two.OGG", "a one.mp3", "cover.jpg", "b/noext"] {
            std::fs::write(folder.path().join(name), "x").unwrap();
        }
        std::os::unix::fs::symlink("/", folder.path().join("c")).unwrap();
        let songs = list(folder.path()).unwrap();
        let ids: Vec<&str> = songs.iter().map(|song| song.id.as_str()).collect();
        assert_eq!(ids, ["a one.mp3", "b/two.OGG"]);
        assert_eq!(songs[0].title.as_deref(), Some("a one"));
    }

    #[test]
    fn a_sidecar_names_the_songs_and_none_outside_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let write = |text: &str| std::fs::write(folder.path().join(SIDECAR), text).unwrap();
        write("{\"path\":\"x.mp3\",\"id\":\"1\",\"title\":\"One\",\"lyrics\":\"la\"}\n\n{\"path\":\"y/z.mp3\"}\n");
        let songs = list(folder.path()).unwrap();
        assert_eq!((songs[0].id.as_str(), songs[0].lyrics.as_deref()), ("1", Some("la")));
        assert_eq!(songs[1].id, "y/z.mp3");
        for wrong in ["{\"path\":\"../x.mp3\"}", "{\"path\":\"/etc/passwd\"}", "{\"id\":\"1\"}", "nonsense"] {
            write(wrong);
            let error = format!("{:#}", list(folder.path()).unwrap_err());
            assert!(error.contains("line 1"), "{error}");
        }
        write("");
        assert!(list(folder.path()).is_err());
    }
}
