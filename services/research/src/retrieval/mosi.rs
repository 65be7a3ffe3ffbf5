//! CMU-MOSI's aligned vectors as a retrieval set: the only real pairing at hand.
//!
//! Utterances of people who talk about films stand in for songs: the picture is the video vector, the sound is the
//! voice vector, the lyrics are the text vector. Only the 31 official test videos of `clean-protocol.json` are used,
//! because the published text and video vectors were fitted with the labels of the others.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use jtav_trainer::dataset::sha256_hex;
use jtav_trainer::files::f32_values;
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use serde::Deserialize;

use super::pairs::{QueryVectors, SongVectors};
use super::rows::Protocol;
use super::set::{Fold, Part, Query, RetrievalSet, Song};
use super::settings::RetrievalWidths;

/// Of the utterances of a video in order, one of so many is held out for the test and the one after it for validation.
const HELD_OUT: usize = 5;

const NOTES: [&str; 6] = [
    "No songs: utterances of CMU-MOSI (people talking about films) stand in for them. Picture := vector of the speaker's \
     video, sound := vector of the voice, lyrics := vector of the transcript. There are no captions, so I+C+L and I+C+S \
     are not in this pack and JTAV runs with its gate at 1.",
    "The pairing is real: all three vectors are of one utterance.",
    "Only the 31 official test videos are used (752 utterances): the published text and video vectors were fitted with \
     labels of the 62 training videos.",
    "Disjoint: a song is one utterance; five folds by video, the candidates are the utterances of the fold, the next \
     fold is validation, the other three are training; figures are over the queries of all folds.",
    "Shared: a song is a video (mean voice and text vector of its training utterances); of its utterances every fifth \
     is a test query and the one after it a validation query.",
    "Speakers are the sampling unit, so intervals over queries are too narrow.",
];

#[derive(Deserialize)]
struct Line {
    id: String,
    features: usize,
    groups: Groups,
}

#[derive(Deserialize)]
struct Groups {
    speaker: String,
}

#[derive(Deserialize)]
struct CleanProtocol {
    folds: Vec<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Description {
    posts_sha256: Option<String>,
    features_sha256: Option<String>,
}

/// One utterance with its rows.
struct Utterance {
    id: String,
    image: Vec<f32>,
    voice: Vec<f32>,
    text: Vec<f32>,
}

/// Names and utterances of the videos of one fold.
type VideoFold<'a> = Vec<(&'a str, &'a [Utterance])>;

/// Whether the folder is such a pack.
pub fn is_mosi(root: &Path) -> bool {
    root.join("clean-protocol.json").exists() && root.join("features.safetensors").exists()
}

/// Reads the pack in folder `root`.
///
/// # Errors
/// A file that is missing, is not the one that `dataset.json` describes, or does not fit the others.
pub fn read(root: &Path) -> anyhow::Result<RetrievalSet> {
    let file = |name: &str| {
        let path = root.join(name);
        std::fs::read(&path).with_context(|| format!("reading {}", path.display()))
    };
    let (posts, features, protocol) =
        (file("posts.jsonl")?, file("features.safetensors")?, file("clean-protocol.json")?);
    if root.join("dataset.json").exists() {
        let description: Description = serde_json::from_slice(&file("dataset.json")?).context("dataset.json")?;
        for (name, bytes, expected) in [
            ("posts.jsonl", &posts, description.posts_sha256),
            ("features.safetensors", &features, description.features_sha256),
        ] {
            let found = sha256_hex(bytes);
            if let Some(expected) = expected.filter(|expected| *expected != found) {
                anyhow::bail!("{}: sha256 is {found}, dataset.json says {expected}", root.join(name).display());
            }
        }
    }
    let data_sha256 =
        sha256_hex([sha256_hex(&posts), sha256_hex(&features), sha256_hex(&protocol)].concat().as_bytes());
    let protocol: CleanProtocol = serde_json::from_slice(&protocol).context("clean-protocol.json")?;
    let videos = utterances(&posts, &features).with_context(|| root.display().to_string())?;
    let folds = folds_of(&protocol, &videos)?;
    let first = videos.values().flatten().next().context("posts.jsonl holds no utterance")?;
    let widths =
        RetrievalWidths { image: first.image.len(), caption: 0, lyrics: first.text.len(), audio: first.voice.len() };
    Ok(RetrievalSet {
        name: root.file_name().map_or_else(|| "mosi-tri".to_owned(), |name| name.to_string_lossy().into_owned()),
        data_sha256,
        captions: false,
        caveat: None,
        notes: NOTES.map(str::to_owned).to_vec(),
        group: "video".to_owned(),
        widths,
        folds: BTreeMap::from([(Protocol::Disjoint, disjoint(&folds)?), (Protocol::Shared, vec![shared(&folds)?])]),
    })
}

/// The videos of each fold with their utterances.
fn folds_of<'a>(
    protocol: &'a CleanProtocol,
    videos: &'a BTreeMap<String, Vec<Utterance>>,
) -> anyhow::Result<Vec<VideoFold<'a>>> {
    let mut folds = Vec::with_capacity(protocol.folds.len());
    for names in &protocol.folds {
        let mut fold = Vec::with_capacity(names.len());
        for video in names {
            let found = videos.get(video).with_context(|| format!("no utterance of video `{video}` in posts.jsonl"))?;
            fold.push((video.as_str(), found.as_slice()));
        }
        folds.push(fold);
    }
    Ok(folds)
}

/// Utterances by video, in file order.
fn utterances(posts: &[u8], features: &[u8]) -> anyhow::Result<BTreeMap<String, Vec<Utterance>>> {
    let file = SafeTensors::deserialize(features).context("features.safetensors")?;
    let (text, voice, image) = (matrix(&file, "text")?, matrix(&file, "audio")?, matrix(&file, "image")?);
    let mut videos: BTreeMap<String, Vec<Utterance>> = BTreeMap::new();
    for (at, line) in posts.split(|&byte| byte == b'\n').enumerate().filter(|(_, line)| !line.trim_ascii().is_empty()) {
        let line: Line = serde_json::from_slice(line).with_context(|| format!("posts.jsonl:{}", at + 1))?;
        let row = |rows: &[Vec<f32>]| {
            let row = rows.get(line.features).cloned();
            row.with_context(|| format!("posts.jsonl:{}: no row {} in features.safetensors", at + 1, line.features))
        };
        let utterance = Utterance { image: row(&image)?, voice: row(&voice)?, text: row(&text)?, id: line.id };
        videos.entry(line.groups.speaker).or_default().push(utterance);
    }
    Ok(videos)
}

/// The rows of a float32 matrix.
fn matrix(file: &SafeTensors, name: &str) -> anyhow::Result<Vec<Vec<f32>>> {
    let view = file.tensor(name).with_context(|| format!("features.safetensors: `{name}`"))?;
    let [_, width] = *view.shape() else { anyhow::bail!("features.safetensors: `{name}` is no matrix") };
    anyhow::ensure!(view.dtype() == Dtype::F32 && width > 0, "features.safetensors: `{name}` is not float32");
    let values: Vec<f32> = f32_values(view.data()).collect();
    anyhow::ensure!(values.iter().all(|value| value.is_finite()), "features.safetensors: `{name}` is not finite");
    Ok(values.chunks(width).map(<[f32]>::to_vec).collect())
}

/// Each fold in turn is the test; a song is an utterance and its only picture looks for it.
fn disjoint(folds: &[VideoFold]) -> anyhow::Result<Vec<Fold>> {
    anyhow::ensure!(folds.len() >= 3, "clean-protocol.json has {} folds, at least three are needed", folds.len());
    let part = |numbers: &[usize]| {
        let mut part = Part::default();
        for (video, utterances) in numbers.iter().flat_map(|&number| &folds[number]) {
            for utterance in *utterances {
                part.queries.push(query(utterance, part.songs.len()));
                part.songs.push(Song {
                    id: utterance.id.clone(),
                    group: (*video).to_owned(),
                    vectors: SongVectors { audio: Some(utterance.voice.clone()), lyrics: Some(utterance.text.clone()) },
                });
            }
        }
        part
    };
    let fold = |test: usize| {
        let validation = (test + 1) % folds.len();
        let train: Vec<usize> = (0..folds.len()).filter(|&number| number != test && number != validation).collect();
        Ok(Fold::new(Protocol::Disjoint, test, [part(&train), part(&[validation]), part(&[test])])?)
    };
    (0..folds.len()).map(fold).collect()
}

/// A song is a video as its training utterances are.
fn shared(folds: &[VideoFold]) -> anyhow::Result<Fold> {
    let mut parts = [Part::default(), Part::default(), Part::default()];
    for (video, utterances) in folds.iter().flatten() {
        let place = |at: usize| match at % HELD_OUT {
            0 => 2,
            1 => 1,
            _ => 0,
        };
        let kept: Vec<&Utterance> =
            utterances.iter().enumerate().filter(|(at, _)| place(*at) == 0).map(|(_, utterance)| utterance).collect();
        if kept.is_empty() {
            continue;
        }
        let mean = |of: &dyn Fn(&Utterance) -> &[f32]| -> Vec<f32> {
            let column = |at: usize| kept.iter().map(|utterance| of(utterance)[at]).sum::<f32>() / kept.len() as f32;
            (0..of(kept[0]).len()).map(column).collect()
        };
        let song = Song {
            id: (*video).to_owned(),
            group: (*video).to_owned(),
            vectors: SongVectors {
                audio: Some(mean(&|utterance| &utterance.voice)),
                lyrics: Some(mean(&|utterance| &utterance.text)),
            },
        };
        let number = parts[0].songs.len();
        for part in &mut parts {
            part.songs.push(song.clone());
        }
        for (at, utterance) in utterances.iter().enumerate() {
            parts[place(at)].queries.push(query(utterance, number));
        }
    }
    Ok(Fold::new(Protocol::Shared, 0, parts)?)
}

fn query(utterance: &Utterance, song: usize) -> Query {
    let vectors = QueryVectors { image: utterance.image.clone(), caption: None };
    Query { id: utterance.id.clone(), vectors, song }
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::serialize;
    use safetensors::tensor::TensorView;

    /// Six videos of seven utterances, in three folds of two.
    fn write_pack(root: &Path) {
        let value = |row: usize, column: usize| ((row * 13 + column * 7) as f32).sin();
        let bytes = |width: usize| -> Vec<u8> {
            (0..42).flat_map(|row| (0..width).flat_map(move |column| value(row, column).to_le_bytes())).collect()
        };
        let (text, audio, image) = (bytes(4), bytes(3), bytes(5));
        let view = |data: &'static [u8], width: usize| TensorView::new(Dtype::F32, vec![42, width], data).unwrap();
        let tensors =
            [("text", view(text.leak(), 4)), ("audio", view(audio.leak(), 3)), ("image", view(image.leak(), 5))];
        std::fs::write(root.join("features.safetensors"), serialize(tensors, None).unwrap()).unwrap();
        let line = |row: usize| {
            format!(r#"{{"id":"u{row}","features":{row},"groups":{{"speaker":"v{}"}},"split":"test"}}"#, row / 7)
        };
        std::fs::write(root.join("posts.jsonl"), (0..42).map(line).collect::<Vec<_>>().join("\n")).unwrap();
        std::fs::write(root.join("clean-protocol.json"), r#"{"folds":[["v0","v1"],["v2","v3"],["v4","v5"]]}"#).unwrap();
    }

    #[test]
    fn no_video_is_in_two_parts_of_a_disjoint_fold_and_every_utterance_is_tested_once() {
        let folder = tempfile::tempdir().unwrap();
        write_pack(folder.path());
        assert!(is_mosi(folder.path()));
        let set = read(folder.path()).unwrap();
        let folds = &set.folds[&Protocol::Disjoint];
        let mut tested = Vec::new();
        for fold in folds {
            let videos = |part: &Part| part.songs.iter().map(|song| song.group.clone()).collect::<Vec<_>>();
            assert!(videos(&fold.test).iter().all(|video| !videos(&fold.train).contains(video)));
            assert!(videos(&fold.validation).iter().all(|video| !videos(&fold.train).contains(video)));
            assert_eq!((fold.train.songs.len(), fold.validation.songs.len(), fold.test.songs.len()), (14, 14, 14));
            assert!(fold.test.queries.iter().all(|query| fold.test.songs[query.song].id == query.id));
            tested.extend(fold.test.queries.iter().map(|query| query.id.clone()));
        }
        tested.sort();
        tested.dedup();
        assert_eq!(tested.len(), 42);
    }

    #[test]
    fn a_shared_song_is_made_of_its_training_utterances_alone() {
        let folder = tempfile::tempdir().unwrap();
        write_pack(folder.path());
        let set = read(folder.path()).unwrap();
        let fold = &set.folds[&Protocol::Shared][0];
        assert_eq!((fold.test.songs.len(), fold.test.songs == fold.train.songs), (6, true));
        let of = |part: &Part| part.queries.iter().take(5).map(|query| query.id.clone()).collect::<Vec<_>>();
        assert_eq!(of(&fold.test), ["u0", "u5", "u7", "u12", "u14"]);
        assert_eq!(of(&fold.validation), ["u1", "u6", "u8", "u13", "u15"]);
        assert_eq!(of(&fold.train), ["u2", "u3", "u4", "u9", "u10"]);

        // Standardised over six songs: the order of a column is that of the means of the raw values.
        let mean = |video: usize| (2..5).map(|at| (((video * 7 + at) * 13) as f32).sin()).sum::<f32>();
        let column: Vec<f32> = fold.test.songs.iter().map(|song| song.vectors.audio.as_ref().unwrap()[0]).collect();
        for a in 0..6 {
            for b in 0..6 {
                assert_eq!(column[a] < column[b], mean(a) < mean(b), "{a} {b}");
            }
        }
    }

    #[test]
    fn a_pack_that_is_not_the_described_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        write_pack(folder.path());
        std::fs::write(folder.path().join("dataset.json"), r#"{"features_sha256":"00"}"#).unwrap();
        let message = read(folder.path()).unwrap_err().to_string();
        assert!(message.contains("features.safetensors: sha256 is"), "{message}");
        std::fs::remove_file(folder.path().join("dataset.json")).unwrap();
        std::fs::write(folder.path().join("clean-protocol.json"), r#"{"folds":[["v0"],["v1"],["v9"]]}"#).unwrap();
        assert!(read(folder.path()).unwrap_err().to_string().contains("video `v9`"));
    }
}
