//! `jtav table congruence`: can a fusion learn interaction at all?
//!
//! Each post pairs a text with a picture (variant `a`) or with a clip (variant `b`); its label says whether both have the
//! same polarity. Every part occurs equally often with both labels, so whatever adds up what the parts say is at chance.
//! CMF-AP scales each vector by a number that depends on the other one (docs/networks.md, F5), which is a product and may
//! learn this; a logistic regression on the vectors side by side cannot.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use jtav_model::{Checkpoint, FusionInput, Modality};
use jtav_schemas::{DatasetMedia, TextPart};
use jtav_trainer::dataset::{DataPack, MediaFile, Post, Split, sha256_hex};
use jtav_trainer::features::Features;
use jtav_trainer::{Progress, encode_with_checkpoint};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::figures::SentimentTable;
use super::material::{Fold, Material, Source};
use super::rows::{Method, Row, low_rank};
use super::sentiment::{SentimentOptions, table_of};
use crate::zoo::{Architecture, Profile, Widths};

/// What the probe is told beside the options of every table.
#[derive(Debug, Clone)]
pub struct CongruenceOptions {
    /// Seeds, device, folders; `data` is the file of pairs, or its name in `$JTAV_DATA_DIR`.
    pub table: SentimentOptions,
    /// Folder that the pairs' media paths start from; `polarity-posts` beside the file where none is given.
    pub media: Option<PathBuf>,
    /// Checkpoint whose encoders give the vectors.
    pub checkpoint: PathBuf,
    /// Vectors that show the polarity plainly, in place of an encoder's: whether a fusion can learn interaction at all.
    pub clear: bool,
}

/// Values of a clear vector: the polarity, and noise.
const CLEAR_VALUES: usize = 10;

/// A line of the file.
#[derive(Deserialize)]
struct Pair {
    id: String,
    variant: String,
    texts: Vec<TextPart>,
    audio: Option<DatasetMedia>,
    image: Option<DatasetMedia>,
    labels: Labels,
    factors: HashMap<String, u8>,
    split: Split,
}

#[derive(Deserialize)]
struct Labels {
    congruent: u8,
}

/// A table per variant.
///
/// # Errors
/// A file that cannot be read (with its line), a checkpoint that does not load, those of the trainings.
pub fn congruence_tables(options: &CongruenceOptions, progress: &dyn Progress) -> anyhow::Result<Vec<SentimentTable>> {
    let file = resolve_file(&options.table.data)?;
    let beside = file.parent().unwrap_or(Path::new(".")).join("polarity-posts");
    let media = options.media.clone().unwrap_or(beside);
    let bytes = std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
    let pairs = pairs(&bytes).with_context(|| file.display().to_string())?;
    let checkpoint = Checkpoint::load(&options.checkpoint)
        .with_context(|| format!("loading the checkpoint {}", options.checkpoint.display()))?;
    let mut variants: Vec<&str> = pairs.iter().map(|pair| pair.variant.as_str()).collect();
    variants.sort_unstable();
    variants.dedup();
    let mut tables = Vec::new();
    for variant in variants {
        let chosen: Vec<&Pair> = pairs.iter().filter(|pair| pair.variant == variant).collect();
        let partner = if chosen.iter().any(|pair| pair.image.is_some()) { Modality::Image } else { Modality::Audio };
        let pack = pack(&chosen, &media, &bytes)?;
        let table = &options.table;
        let factors = factors(&chosen, partner)?;
        let posts = match options.clear {
            true => clear(&pack, &factors, partner),
            false => encode(&checkpoint, &pack, table, progress)?,
        };
        let width = posts.iter().find_map(|post| post.text.as_ref()).map_or(0, Vec::len);
        let name = format!("congruence-{variant}{}", if options.clear { "-clear" } else { "" });
        let material = Material {
            title: format!("Congruence, variant {variant}: text and {}", partner.name()),
            profile: None,
            file_name: name.clone(),
            data: name,
            sha256: sha256_hex(format!("{} {}", pack.posts_sha256, checkpoint.model_version()).as_bytes()),
            remarks: remarks(&checkpoint, partner, options.clear),
            labels: pack.posts.iter().map(|post| post.positive).collect(),
            folds: vec![Fold::of_splits(&pack)],
            factors,
            texts: String::new(),
            source: Source::Vectors(posts),
        };
        tables.push(table_of(&material, rows(partner, width), table, progress)?);
    }
    Ok(tables)
}

fn remarks(checkpoint: &Checkpoint, partner: Modality, clear: bool) -> Vec<String> {
    let vectors = match clear {
        true => format!(
            "Vectors: a control. {CLEAR_VALUES} values between 0 and 1 for each item, the first one .9 or .1 by its \
             polarity, the others noise: nothing is left for an encoder to get wrong."
        ),
        false => format!(
            "Vectors: the frozen encoders of {}, trained on the training items of the same pack; how far above chance \
             anything gets is bounded by how well they tell a part's polarity on new items.",
            checkpoint.model_version()
        ),
    };
    vec![
        format!(
            "Label: text and {} have the same polarity. Every single part occurs equally often with both labels, so an \
             additive model is at chance even if it knows its training items by heart.",
            partner.name()
        ),
        vectors,
        "`product of parts` is told the polarities of the parts in training and the form of the interaction: the ceiling \
         for these vectors."
            .to_owned(),
    ]
}

/// The same item always has the same vector.
fn clear(pack: &DataPack, factors: &[[bool; 2]], partner: Modality) -> Vec<FusionInput> {
    let vector = |item: &str, positive: bool| {
        let digest = Sha256::digest(item.as_bytes());
        let noise = digest.iter().take(CLEAR_VALUES - 1).map(|&byte| f32::from(byte) / 255.0);
        std::iter::once(if positive { 0.9 } else { 0.1 }).chain(noise).collect::<Vec<f32>>()
    };
    let post = |(post, &[text, other]): (&Post, &[bool; 2])| {
        let words: String = post.texts.iter().map(|part| part.text.as_str()).collect();
        let file =
            |file: &Option<Arc<MediaFile>>| file.as_ref().map(|file| vector(&file.path.to_string_lossy(), other));
        let mut input = FusionInput { text: Some(vector(&words, text)), audio: None, image: None };
        match partner {
            Modality::Image => input.image = file(&post.image),
            _ => input.audio = file(&post.audio),
        }
        input
    };
    pack.posts.iter().zip(factors).map(post).collect()
}

fn rows(partner: Modality, width: usize) -> Vec<Row> {
    let none = Widths { text: None, audio: None, image: None };
    let widths = match partner {
        Modality::Image => Widths { text: Some(width), image: Some(width), ..none },
        _ => Widths { text: Some(width), audio: Some(width), ..none },
    };
    let row =
        |approach: &str, method| Row { modalities: widths.names(), approach: approach.to_owned(), method, paper: None };
    let cmf = |profile| Method::Fusion { architecture: Architecture::CmfAp { profile, widths, attention: 100 } };
    vec![
        row("early fusion", Method::Concatenation { widths }),
        row("CMF-AP (paper)", cmf(Profile::Paper)),
        row("CMF-AP (authors' code)", cmf(Profile::AuthorsCode)),
        low_rank(widths),
        row("product of parts", Method::Product { parts: [Modality::Text, partner] }),
    ]
}

fn encode(
    checkpoint: &Checkpoint,
    pack: &DataPack,
    table: &SentimentOptions,
    progress: &dyn Progress,
) -> anyhow::Result<Vec<FusionInput>> {
    let features = Features::load(
        &pack.posts,
        checkpoint.manifest().max_audio_seconds,
        &table.cache_dir,
        table.decode_threads,
        progress,
    )?;
    let mut posts = vec![FusionInput::default(); pack.posts.len()];
    for split in Split::ALL {
        let encoded = encode_with_checkpoint(checkpoint, pack, &features, split, table.device, progress)?;
        let mut encoded = encoded.into_iter();
        for (post, _) in posts.iter_mut().zip(&pack.posts).filter(|(_, source)| source.split == split) {
            *post = encoded.next().map(|encoded| encoded.input).unwrap_or_default();
        }
    }
    Ok(posts)
}

fn resolve_file(data: &Path) -> anyhow::Result<PathBuf> {
    let named = std::env::var_os("JTAV_DATA_DIR").map(|folder| PathBuf::from(folder).join(data));
    let candidates: Vec<PathBuf> = std::iter::once(data.to_owned()).chain(named).collect();
    let looked: Vec<String> = candidates.iter().map(|path| path.display().to_string()).collect();
    candidates.into_iter().find(|path| path.is_file()).with_context(|| format!("no file {}", looked.join(" nor ")))
}

fn pairs(bytes: &[u8]) -> anyhow::Result<Vec<Pair>> {
    let text = std::str::from_utf8(bytes)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let read = lines.map(|(index, line)| {
        let pair: Pair = serde_json::from_str(line).with_context(|| format!("line {}", index + 1))?;
        let parts = usize::from(pair.audio.is_some()) + usize::from(pair.image.is_some());
        anyhow::ensure!(!pair.texts.is_empty() && parts == 1, "line {}: not a text and one medium", index + 1);
        Ok(pair)
    });
    read.collect()
}

/// The pairs as posts whose label is congruence. Media that occur in several posts of a split are one file.
fn pack(pairs: &[&Pair], media: &Path, bytes: &[u8]) -> anyhow::Result<DataPack> {
    let file = |medium: &DatasetMedia| {
        Arc::new(MediaFile {
            path: media.join(&medium.path),
            sha256: medium.sha256.clone(),
            media_type: medium.media_type.clone(),
            group: None,
            is_speech: false,
        })
    };
    let post = |(index, pair): (usize, &&Pair)| Post {
        id: pair.id.clone(),
        line: index + 1,
        texts: pair.texts.clone(),
        audio: pair.audio.as_ref().map(file),
        image: pair.image.as_ref().map(file),
        positive: pair.labels.congruent == 1,
        mood: None,
        split: pair.split,
    };
    Ok(DataPack {
        name: "congruence".to_owned(),
        version: None,
        root: media.to_owned(),
        labels_file: "congruence.jsonl",
        posts_sha256: sha256_hex(bytes),
        extra_texts_sha256: None,
        posts: pairs.iter().enumerate().map(post).collect(),
        extra_texts: Vec::new(),
    })
}

fn factors(pairs: &[&Pair], partner: Modality) -> anyhow::Result<Vec<[bool; 2]>> {
    let of = |pair: &&Pair| {
        let factor = |name: &str| {
            pair.factors.get(name).map(|&value| value == 1).with_context(|| format!("{}: no factor `{name}`", pair.id))
        };
        Ok([factor("text")?, factor(partner.name())?])
    };
    pairs.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIR: &str = r#"{"id":"x","variant":"a","texts":[{"role":"body","text":"w"}],"audio":null,"image":{"path":"i.png"},"labels":{"congruent":0},"factors":{"text":1,"image":0},"split":"train"}"#;

    #[test]
    fn a_pair_gives_its_label_and_the_polarities_of_its_parts() {
        let read = pairs(PAIR.as_bytes()).unwrap();
        let chosen: Vec<&Pair> = read.iter().collect();
        assert_eq!(factors(&chosen, Modality::Image).unwrap(), [[true, false]]);
        let pack = pack(&chosen, Path::new("media"), PAIR.as_bytes()).unwrap();
        assert!(!pack.posts[0].positive && pack.posts[0].split == Split::Train);
        let vectors = clear(&pack, &[[true, false]], Modality::Image);
        let (text, image) = (vectors[0].text.as_ref().unwrap(), vectors[0].image.as_ref().unwrap());
        assert_eq!((text[0], image[0], text.len(), vectors[0].audio.is_none()), (0.9, 0.1, CLEAR_VALUES, true));
    }

    #[test]
    fn a_line_that_is_no_pair_is_named_by_its_number() {
        let two = format!("{PAIR}\n{}", PAIR.replace(r#""audio":null"#, r#""audio":{"path":"a.ogg"}"#));
        let message = format!("{:#}", pairs(two.as_bytes()).err().unwrap());
        assert!(message.contains("line 2: not a text and one medium"), "{message}");
        let without = pairs(PAIR.replace(r#""text":1,"#, "").as_bytes()).unwrap();
        let message = factors(&without.iter().collect::<Vec<_>>(), Modality::Image).unwrap_err().to_string();
        assert!(message.contains("x: no factor `text`"), "{message}");
    }
}
