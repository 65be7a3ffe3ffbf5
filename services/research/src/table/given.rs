//! Packs that bring vectors instead of media: `features.safetensors` (`text`, `audio`, `image`, each `[posts, width]`
//! f32; a line of `posts.jsonl` names its row as `features`, else the rows are in the order of the lines) and, where the pack's own splits cannot be trusted, `clean-protocol.json`.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Context;
use jtav_model::{FusionInput, Modality};
use jtav_schemas::DatasetPostV1;
use jtav_trainer::dataset::sha256_hex;
use jtav_trainer::files::f32_values;
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use serde::Deserialize;

use super::material::{Fold, Material, Source};
use crate::zoo::{Profile, Widths};

/// `clean-protocol.json`: lists of speakers (`groups.speaker`) over which the vectors may be cross-validated.
#[derive(Deserialize)]
struct CleanProtocol {
    folds: Vec<Vec<String>>,
}

/// Whether the folder holds such a pack.
pub(super) fn is_given(folder: &Path) -> bool {
    folder.join("features.safetensors").is_file()
}

/// Reads the pack; a pack without a protocol is dealt by its splits.
///
/// # Errors
/// Files that are missing or do not belong together, with the line.
pub(super) fn read(folder: &Path, profile: Profile) -> anyhow::Result<(Material, Widths)> {
    let path = folder.join("posts.jsonl");
    let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let (posts, rows) = posts(&bytes).with_context(|| path.display().to_string())?;
    let vectors = Matrices::read(&folder.join("features.safetensors"))?;
    vectors.check(posts.len()).with_context(|| folder.join("features.safetensors").display().to_string())?;
    let name = folder.file_name().map_or_else(|| "data".to_owned(), |name| name.to_string_lossy().into_owned());
    let labels: Vec<bool> = posts.iter().map(|post| post.labels.sentiment == Some(1)).collect();
    let protocol = folder.join("clean-protocol.json");
    let (folds, how) = if protocol.is_file() {
        (clean_folds(&protocol, &posts)?, by_protocol())
    } else {
        (vec![by_splits(&posts)], "Dealt by the pack's splits.".to_owned())
    };
    let mut all = bytes;
    all.extend(&vectors.bytes);
    let material = Material {
        title: format!("The fusion rows of Table 1 on {name}"),
        profile: Some(profile),
        file_name: format!("sentiment-{name}-{}", profile.name()),
        data: name,
        sha256: sha256_hex(&all),
        remarks: vec![
            how,
            "Vectors are the pack's own: no text, audio or image network of ours is tried here.".to_owned(),
        ],
        labels,
        folds,
        factors: Vec::new(),
        texts: String::new(),
        source: Source::Vectors(rows.iter().map(|&row| vectors.post(row)).collect()),
    };
    Ok((material, vectors.widths()))
}

fn by_protocol() -> String {
    "Dealt by the pack's `clean-protocol.json`: five folds by group, one held for test, the next for validation, three \
     learnt from; every post of the folds is tested once. Posts outside the folds are left out, because the published \
     vectors have seen their labels."
        .to_owned()
}

/// What a line has beside the post.
#[derive(Deserialize)]
struct Place {
    features: Option<usize>,
}

/// The posts, and the row of each.
fn posts(bytes: &[u8]) -> anyhow::Result<(Vec<DatasetPostV1>, Vec<usize>)> {
    let text = std::str::from_utf8(bytes)?;
    let lines: Vec<(usize, &str)> = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).collect();
    let (mut posts, mut rows) = (Vec::new(), Vec::new());
    for (position, &(index, line)) in lines.iter().enumerate() {
        let number = index + 1;
        let post: DatasetPostV1 = serde_json::from_str(line).with_context(|| format!("line {number}"))?;
        anyhow::ensure!(matches!(post.labels.sentiment, Some(0 | 1)), "line {number}: labels.sentiment is missing");
        let place: Place = serde_json::from_str(line).with_context(|| format!("line {number}"))?;
        let row = place.features.unwrap_or(position);
        anyhow::ensure!(row < lines.len(), "line {number}: features is {row}, there are {} rows", lines.len());
        posts.push(post);
        rows.push(row);
    }
    Ok((posts, rows))
}

fn by_splits(posts: &[DatasetPostV1]) -> Fold {
    let of = |split: &str| (0..posts.len()).filter(|&at| posts[at].split.as_deref() == Some(split)).collect();
    Fold { train: of("train"), validation: of("validation"), test: of("test") }
}

/// Fold `k` is tested, fold `k + 1` is validation, the rest is learnt from.
fn clean_folds(path: &Path, posts: &[DatasetPostV1]) -> anyhow::Result<Vec<Fold>> {
    let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let protocol: CleanProtocol = serde_json::from_slice(&bytes).with_context(|| path.display().to_string())?;
    let count = protocol.folds.len();
    anyhow::ensure!(count >= 3, "{}: {count} folds, at least 3 are needed", path.display());
    let mut fold_of: HashMap<&str, usize> = HashMap::new();
    for (number, groups) in protocol.folds.iter().enumerate() {
        for group in groups {
            let before = fold_of.insert(group, number);
            anyhow::ensure!(before.is_none(), "{}: group `{group}` stands in two folds", path.display());
        }
    }
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (at, post) in posts.iter().enumerate() {
        if let Some(&fold) = post.groups.get("speaker").and_then(|group| fold_of.get(group.as_deref()?)) {
            members[fold].push(at);
        }
    }
    let fold = |test: usize| {
        let validation = (test + 1) % count;
        let train = (0..count).filter(|&other| other != test && other != validation);
        Fold {
            train: train.flat_map(|other| members[other].iter().copied()).collect(),
            validation: members[validation].clone(),
            test: members[test].clone(),
        }
    };
    Ok((0..count).map(fold).collect())
}

/// The matrices of the pack.
struct Matrices {
    bytes: Vec<u8>,
    parts: Vec<(Modality, usize, Vec<f32>)>,
}

impl Matrices {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        let file = SafeTensors::deserialize(&bytes).with_context(|| path.display().to_string())?;
        let mut parts = Vec::new();
        for modality in Modality::ALL {
            let Ok(view) = file.tensor(modality.name()) else { continue };
            let [_, width] = *view.shape() else {
                anyhow::bail!("{}: `{}` has shape {:?}", path.display(), modality.name(), view.shape());
            };
            anyhow::ensure!(
                view.dtype() == Dtype::F32 && width > 0,
                "{}: `{}` is not f32",
                path.display(),
                modality.name()
            );
            let values = f32_values(view.data()).collect();
            parts.push((modality, width, values));
        }
        anyhow::ensure!(!parts.is_empty(), "{}: holds none of text, audio, image", path.display());
        Ok(Self { bytes, parts })
    }

    fn check(&self, posts: usize) -> anyhow::Result<()> {
        for (modality, width, values) in &self.parts {
            let rows = values.len() / width;
            anyhow::ensure!(rows == posts, "`{}` has {rows} rows for {posts} posts", modality.name());
            anyhow::ensure!(
                values.iter().all(|value| value.is_finite()),
                "`{}` holds a value that is not finite",
                modality.name()
            );
        }
        Ok(())
    }

    fn widths(&self) -> Widths {
        let of = |wanted| self.parts.iter().find(|(modality, ..)| *modality == wanted).map(|(_, width, _)| *width);
        Widths { text: of(Modality::Text), audio: of(Modality::Audio), image: of(Modality::Image) }
    }

    fn post(&self, at: usize) -> FusionInput {
        let row = |wanted| {
            let (_, width, values) = self.parts.iter().find(|(modality, ..)| *modality == wanted)?;
            Some(values.get(at * width..(at + 1) * width)?.to_vec())
        };
        FusionInput { text: row(Modality::Text), audio: row(Modality::Audio), image: row(Modality::Image) }
    }
}

/// Every value on a scale from 0 (first percentile of the training posts) to 1 (last percentile), clipped.
///
/// Given vectors come in any scale. They are not centred: CMF-AP scales a vector by a weighted mean of the other one's
/// values (docs/networks.md, F5), and a mean of centred values is a number near 0 of any sign, which wipes out the vector
/// that it scales. Encoders that end in a ReLU never do that to it.
pub(super) fn scaled(posts: &[FusionInput], train: &[usize]) -> Vec<FusionInput> {
    let ranges = Modality::ALL.map(|modality| ranges(posts, train, modality));
    let scale = |post: &FusionInput, modality: Modality| {
        let values = post.vector(modality)?.iter().zip(&ranges[modality as usize]);
        Some(values.map(|(&value, &(low, high))| ((value - low) / (high - low)).clamp(0.0, 1.0)).collect())
    };
    let post = |post: &FusionInput| FusionInput {
        text: scale(post, Modality::Text),
        audio: scale(post, Modality::Audio),
        image: scale(post, Modality::Image),
    };
    posts.iter().map(post).collect()
}

/// Percentiles 1 and 99 of each value over the training posts; a value that never moves maps to 0.
fn ranges(posts: &[FusionInput], train: &[usize], modality: Modality) -> Vec<(f32, f32)> {
    let rows: Vec<&[f32]> = train.iter().filter_map(|&at| posts[at].vector(modality)).collect();
    let range = |column: usize| {
        let mut values: Vec<f32> = rows.iter().map(|row| row[column]).collect();
        values.sort_by(f32::total_cmp);
        let at = |share: f64| values[(share * (values.len() - 1) as f64).round() as usize];
        let (low, high) = (at(0.01), at(0.99));
        if high > low { (low, high) } else { (low, low + 1.0) }
    };
    (0..rows.first().map_or(0, |row| row.len())).map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(id: usize, speaker: &str, split: &str) -> String {
        format!(
            r#"{{"id":"p{id}","texts":[{{"role":"body","text":"w"}}],"labels":{{"sentiment":{},"mood":null}},"split":"{split}","groups":{{"image_theme":null,"song_id":null,"speaker":"{speaker}"}}}}"#,
            id % 2
        )
    }

    fn pack(folder: &Path, rows: usize, protocol: Option<&str>) {
        let posts: Vec<String> = (0..8).map(|id| post(id, ["a", "b", "c", "d"][id / 2], "train")).collect();
        std::fs::write(folder.join("posts.jsonl"), posts.join("\n")).unwrap();
        let values: Vec<u8> = (0..rows * 2).flat_map(|value| (value as f32).to_le_bytes()).collect();
        let view = safetensors::tensor::TensorView::new(Dtype::F32, vec![rows, 2], &values).unwrap();
        let bytes = safetensors::serialize([("audio", view)], None).unwrap();
        std::fs::write(folder.join("features.safetensors"), bytes).unwrap();
        if let Some(protocol) = protocol {
            std::fs::write(folder.join("clean-protocol.json"), protocol).unwrap();
        }
    }

    #[test]
    fn groups_outside_the_protocol_are_left_out_and_every_other_post_is_tested_once() {
        let folder = tempfile::tempdir().unwrap();
        pack(folder.path(), 8, Some(r#"{"folds":[["b"],["c"],["d"]]}"#));
        let (material, widths) = read(folder.path(), Profile::Paper).unwrap();
        assert_eq!(widths, Widths { text: None, audio: Some(2), image: None });
        assert_eq!(material.folds[0], Fold { train: vec![6, 7], validation: vec![4, 5], test: vec![2, 3] });
        let mut tested: Vec<usize> = material.folds.iter().flat_map(|fold| fold.test.clone()).collect();
        tested.sort_unstable();
        assert_eq!(tested, [2, 3, 4, 5, 6, 7]);
        assert!(material.check().is_ok());
        let Source::Vectors(posts) = &material.source else { panic!("vectors") };
        assert_eq!(posts[3].audio, Some(vec![6.0, 7.0]));
    }

    #[test]
    fn a_line_that_names_its_row_gets_that_row() {
        let folder = tempfile::tempdir().unwrap();
        pack(folder.path(), 8, None);
        let path = folder.path().join("posts.jsonl");
        let lines = std::fs::read_to_string(&path).unwrap();
        let numbered: Vec<String> = lines
            .lines()
            .enumerate()
            .map(|(at, line)| line.replacen('{', &format!("{{\"features\":{},", 7 - at), 1))
            .collect();
        std::fs::write(&path, numbered.join("\n")).unwrap();
        let (material, _) = read(folder.path(), Profile::Paper).unwrap();
        let Source::Vectors(posts) = &material.source else { panic!("vectors") };
        assert_eq!(posts[0].audio, Some(vec![14.0, 15.0]));

        std::fs::write(&path, numbered.join("\n").replace("\"features\":0,", "\"features\":8,")).unwrap();
        let message = format!("{:#}", read(folder.path(), Profile::Paper).err().unwrap());
        assert!(message.contains("line 8: features is 8, there are 8 rows"), "{message}");
    }

    #[test]
    fn matrices_of_another_length_and_a_group_in_two_folds_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        pack(folder.path(), 7, None);
        let message = format!("{:#}", read(folder.path(), Profile::Paper).err().unwrap());
        assert!(message.contains("7 rows for 8 posts"), "{message}");
        pack(folder.path(), 8, Some(r#"{"folds":[["b"],["c"],["b"]]}"#));
        let message = format!("{:#}", read(folder.path(), Profile::Paper).err().unwrap());
        assert!(message.contains("group `b` stands in two folds"), "{message}");
    }

    #[test]
    fn scaling_looks_at_training_posts_alone_and_keeps_every_value_between_0_and_1() {
        let posts: Vec<FusionInput> = [2.0, 4.0, 3.0, -100.0, 100.0]
            .map(|value| FusionInput { text: Some(vec![value, 7.0]), audio: None, image: None })
            .to_vec();
        let of: Vec<Vec<f32>> = scaled(&posts, &[0, 1]).into_iter().filter_map(|post| post.text).collect();
        assert_eq!(of, [[0.0, 0.0], [1.0, 0.0], [0.5, 0.0], [0.0, 0.0], [1.0, 0.0]]);
    }
}
