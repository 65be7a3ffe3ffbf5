//! Packs of raw posts as a retrieval set: the vectors come from the networks of a checkpoint.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use anyhow::Context;
use jtav_model::{
    AudioNetwork, Checkpoint, DeviceChoice, Encoded, ImageNetwork, ModelError, Rgb224, TextFrontEnd, TextNetwork,
};
use jtav_schemas::TextPart;
use jtav_trainer::Progress;
use jtav_trainer::dataset::{DataPack, MediaFile, Post, Split, sha256_hex};
use jtav_trainer::features::{Features, centre_crop};

use super::pairs::{QueryVectors, SongVectors};
use super::rows::Protocol;
use super::set::{Fold, Part, Query, RetrievalSet, Song};
use super::settings::RetrievalWidths;

/// What there is to know about rankings of the pack whose posts were put together at random.
const SYNTHETIC: &str = "The pairing is synthetic: pictures, clips and texts were put together at random inside each \
                         polarity. The table is a check of the pipeline; the most that can be reached is knowing the \
                         polarity, and nothing here is evidence about image2song.";
/// What is encoded at a time.
const CHUNK: usize = 32;

/// Vectors of media and texts by what they are of.
pub struct Vectors {
    /// By file.
    pub audio: HashMap<PathBuf, Vec<f32>>,
    /// By file.
    pub image: HashMap<PathBuf, Vec<f32>>,
    /// By the text itself.
    pub text: HashMap<String, Vec<f32>>,
}

/// The post's lyrics: the part with that role, else its body.
fn lyrics(post: &Post) -> Option<&TextPart> {
    part(post, "lyrics").or_else(|| part(post, "body"))
}

fn caption(post: &Post) -> Option<&TextPart> {
    part(post, "caption")
}

fn part<'a>(post: &'a Post, role: &str) -> Option<&'a TextPart> {
    post.texts.iter().find(|part| part.role == role && !part.text.trim().is_empty())
}

impl Vectors {
    /// Encodes every clip and picture of the pack once, and every lyric and caption alone, without its companion.
    ///
    /// # Errors
    /// A device that is not there, a device fault.
    pub fn encode(
        checkpoint: &Checkpoint,
        pack: &DataPack,
        features: &Features,
        device: DeviceChoice,
        progress: &dyn Progress,
    ) -> anyhow::Result<Self> {
        let (mut clips, mut pictures, mut texts) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let front_end = TextFrontEnd::of_checkpoint(checkpoint)?;
        for post in &pack.posts {
            if let Some((file, clip)) = post.audio.as_ref().and_then(|file| Some((file, features.clip(file)?))) {
                clips.insert(file.path.clone(), clip.input()?);
            }
            if let Some((file, pixels)) = post.image.as_ref().and_then(|file| Some((file, features.picture(file)?))) {
                pictures.insert(file.path.clone(), Rgb224::new(centre_crop(pixels))?);
            }
            for part in [lyrics(post), caption(post)].into_iter().flatten() {
                let alone = [(part.role.as_str(), part.text.as_str())];
                if let Some(input) = front_end.input(&alone)? {
                    texts.insert(part.text.clone(), input);
                }
            }
        }
        progress.start("encode", (clips.len() + pictures.len() + texts.len()) as u64);
        let text = TextNetwork::from_checkpoint(checkpoint, device)?;
        let audio = AudioNetwork::from_checkpoint(checkpoint, device)?;
        let image = ImageNetwork::from_checkpoint(checkpoint, device)?;
        let vectors = Self {
            text: encode_all(
                texts,
                |inputs| Ok(text.encode(inputs)?.into_iter().map(|text| text.encoded).collect()),
                progress,
            )?,
            audio: encode_all(clips, |inputs| audio.encode(inputs), progress)?,
            image: encode_all(pictures, |inputs| image.encode(inputs), progress)?,
        };
        progress.finish(&format!(
            "{} texts, {} clips, {} pictures",
            vectors.text.len(),
            vectors.audio.len(),
            vectors.image.len()
        ));
        Ok(vectors)
    }
}

fn encode_all<K: std::hash::Hash + Eq, Input>(
    inputs: BTreeMap<K, Input>,
    encode: impl Fn(&[Input]) -> Result<Vec<Encoded>, ModelError>,
    progress: &dyn Progress,
) -> anyhow::Result<HashMap<K, Vec<f32>>> {
    let (keys, inputs): (Vec<K>, Vec<Input>) = inputs.into_iter().unzip();
    let mut vectors = Vec::with_capacity(inputs.len());
    for chunk in inputs.chunks(CHUNK) {
        vectors.extend(encode(chunk)?.into_iter().map(|encoded| encoded.vector));
        progress.advance(chunk.len() as u64);
    }
    Ok(keys.into_iter().zip(vectors).collect())
}

/// Training, validation and test of each protocol, the vectors as the encoders gave them.
pub fn divided(pack: &DataPack, vectors: &Vectors) -> BTreeMap<Protocol, [Part; 3]> {
    let posts = |splits: &[Split]| {
        let posts = pack.posts.iter().filter(|post| splits.contains(&post.split)).collect::<Vec<_>>();
        gather(&posts, vectors)
    };
    let disjoint = [Split::Train, Split::Validation, Split::Test].map(|split| posts(&[split]).0);
    let (held_out, pictures) = posts(&[Split::Validation, Split::Test]);
    BTreeMap::from([(Protocol::Disjoint, disjoint), (Protocol::Shared, held_out_pictures(held_out, &pictures))])
}

/// The pack with these vectors; `model_version` names where they come from.
///
/// # Errors
/// Too few posts with a picture and a song that has lyrics.
pub fn retrieval_set(pack: &DataPack, vectors: &Vectors, model_version: &str) -> anyhow::Result<RetrievalSet> {
    let width = |vectors: Option<&Vec<f32>>, what: &str| {
        vectors.map(Vec::len).with_context(|| format!("{}: no post has {what}", pack.name))
    };
    let text = width(vectors.text.values().next(), "lyrics or a body")?;
    let widths = RetrievalWidths {
        image: width(vectors.image.values().next(), "a picture that can be read")?,
        caption: text,
        lyrics: text,
        audio: width(vectors.audio.values().next(), "a clip that can be read")?,
    };
    let mut folds = BTreeMap::new();
    let mut captions = false;
    for (protocol, parts) in divided(pack, vectors) {
        captions |= parts.iter().flat_map(|part| &part.queries).any(|query| query.vectors.caption.is_some());
        folds.insert(protocol, vec![Fold::new(protocol, 0, parts)?]);
    }
    let caveat = (pack.name == "polarity-posts").then(|| SYNTHETIC.to_owned());
    Ok(RetrievalSet {
        name: pack.name.clone(),
        data_sha256: sha256_hex(format!("{} {model_version}", pack.posts_sha256).as_bytes()),
        captions,
        notes: notes(caveat.as_deref(), model_version),
        caveat,
        group: "polarity".to_owned(),
        widths,
        folds,
    })
}

fn notes(caveat: Option<&str>, model_version: &str) -> Vec<String> {
    let mut notes: Vec<String> = caveat.into_iter().map(str::to_owned).collect();
    notes.extend([
        format!(
            "Picture := vector of the post's picture, song := its audio file, lyrics := its lyrics or body, caption := \
             its caption; vectors of the encoders of {model_version}, texts encoded one by one."
        ),
        "One song per audio file, with the lyrics of its first post; queries are all posts with a picture and such a \
         song."
            .to_owned(),
        "Disjoint: the splits of the pack. Shared: the songs of validation and test together, whose pictures the \
         encoders were not trained on; of each song with two pictures or more one is a test query, of those with three \
         or more another is a validation query."
            .to_owned(),
    ]);
    notes
}

/// Songs with their queries, and the picture file of each query.
fn gather(posts: &[&Post], vectors: &Vectors) -> (Part, Vec<PathBuf>) {
    let mut part = Part::default();
    let mut number: HashMap<&Path, usize> = HashMap::new();
    for post in posts {
        let Some(file) = &post.audio else { continue };
        let lyrics = lyrics(post).and_then(|part| vectors.text.get(&part.text));
        let (Some(audio), Some(lyrics)) = (vectors.audio.get(&file.path), lyrics) else { continue };
        number.entry(&file.path).or_insert_with(|| {
            part.songs.push(Song {
                id: song_id(file),
                group: if post.positive { "positive" } else { "negative" }.to_owned(),
                vectors: SongVectors { audio: Some(audio.clone()), lyrics: Some(lyrics.clone()) },
            });
            part.songs.len() - 1
        });
    }
    let mut pictures = Vec::new();
    for post in posts {
        let song = post.audio.as_ref().and_then(|file| number.get(file.path.as_path()));
        let image = post.image.as_ref().and_then(|file| Some((file, vectors.image.get(&file.path)?)));
        let (Some(&song), Some((file, image))) = (song, image) else { continue };
        let caption = caption(post).and_then(|part| vectors.text.get(&part.text)).cloned();
        part.queries.push(Query { id: post.id.clone(), vectors: QueryVectors { image: image.clone(), caption }, song });
        pictures.push(file.path.clone());
    }
    (part, pictures)
}

fn song_id(file: &MediaFile) -> String {
    file.sha256.clone().unwrap_or_else(|| file.path.to_string_lossy().into_owned())
}

/// Training, validation and test over the same songs. A picture that stands in two posts of a song is kept with it
/// once, else it could be on both sides.
fn held_out_pictures(whole: Part, pictures: &[PathBuf]) -> [Part; 3] {
    let empty = || Part { songs: whole.songs.clone(), queries: Vec::new() };
    let mut parts = [empty(), empty(), empty()];
    for song in 0..whole.songs.len() {
        let mut seen = std::collections::HashSet::new();
        let of_song = whole.queries.iter().zip(pictures).filter(|(query, _)| query.song == song);
        let mut queries: Vec<&Query> =
            of_song.filter(|(_, picture)| seen.insert(*picture)).map(|(query, _)| query).collect();
        if queries.len() >= 2 {
            parts[2].queries.extend(queries.pop().cloned());
        }
        if queries.len() >= 2 {
            parts[1].queries.extend(queries.pop().cloned());
        }
        parts[0].queries.extend(queries.into_iter().cloned());
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Post i of a split has picture i and song i / 3; every fourth has no caption, every sixth no body.
    fn pack(folder: &Path) -> DataPack {
        let mut lines = Vec::new();
        for (at, split) in ["train", "validation", "test"].into_iter().enumerate() {
            for i in 0..12 {
                let mut texts = Vec::new();
                if i % 4 != 3 {
                    texts.push(serde_json::json!({"role": "caption", "text": format!("caption {split} {i}")}));
                }
                if i % 6 != 5 {
                    texts.push(serde_json::json!({"role": "body", "text": format!("body {split} {i}")}));
                }
                let post = serde_json::json!({
                    "id": format!("{split}-{i}"), "texts": texts, "split": split,
                    "audio": {"path": format!("a-{at}-{}.ogg", i / 3)},
                    "image": {"path": format!("i-{at}-{}.png", if i == 2 { 1 } else { i })},
                    "labels": {"sentiment": (i / 3) % 2},
                });
                lines.push(post.to_string());
            }
        }
        std::fs::write(folder.join("posts.jsonl"), lines.join("\n")).unwrap();
        DataPack::read(folder).unwrap()
    }

    fn vectors(pack: &DataPack) -> Vectors {
        let vector = |at: usize| vec![(at as f32).sin(), (at as f32).cos(), at as f32];
        let mut vectors = Vectors { audio: HashMap::new(), image: HashMap::new(), text: HashMap::new() };
        for (at, post) in pack.posts.iter().enumerate() {
            vectors.audio.insert(post.audio.as_ref().unwrap().path.clone(), vector(at));
            vectors.image.insert(post.image.as_ref().unwrap().path.clone(), vector(at + 50));
            vectors.text.extend(post.texts.iter().map(|part| (part.text.clone(), vector(at + 90))));
        }
        vectors
    }

    #[test]
    fn a_song_stands_once_with_the_lyrics_of_its_first_post_and_its_posts_are_its_queries() {
        let folder = tempfile::tempdir().unwrap();
        let pack = pack(folder.path());
        let set = retrieval_set(&pack, &vectors(&pack), "m").unwrap();
        let fold = &set.folds[&Protocol::Disjoint][0];
        assert_eq!((fold.test.songs.len(), fold.test.queries.len()), (4, 12));
        assert_eq!(fold.test.queries[5].song, 1);
        assert_eq!(fold.test.group_sizes(), [2; 12]);
        assert!(set.captions && fold.test.queries[3].vectors.caption.is_none());
    }

    #[test]
    fn the_shared_protocol_holds_out_one_picture_per_song_and_never_a_copy_of_a_training_picture() {
        let folder = tempfile::tempdir().unwrap();
        let pack = pack(folder.path());
        let set = retrieval_set(&pack, &vectors(&pack), "m").unwrap();
        let fold = &set.folds[&Protocol::Shared][0];
        assert_eq!(fold.test.songs.len(), 8, "validation and test together");
        let ids = |part: &Part| part.queries.iter().map(|query| query.id.clone()).collect::<Vec<_>>();
        // The first song of each split has two pictures, so none is left for validation.
        assert_eq!(ids(&fold.test)[..2], ["validation-1", "validation-5"]);
        assert_eq!(ids(&fold.validation)[..2], ["validation-4", "validation-7"]);
        assert_eq!(ids(&fold.train)[..2], ["validation-0", "validation-3"]);
        assert_eq!((fold.test.queries.len(), fold.validation.queries.len(), fold.train.queries.len()), (8, 6, 8));
    }
}
