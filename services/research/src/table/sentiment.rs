//! `jtav table sentiment`: every row of Table 1 on a data pack.

use std::path::{Path, PathBuf};

use anyhow::Context;
use jtav_model::{DeviceChoice, FusionInput, Modality, ModalitySet};
use jtav_trainer::dataset::{DataPack, sha256_hex};
use jtav_trainer::files::write_text;
use jtav_trainer::{DEFAULT_CACHE_DIR, Progress, resolve_data};

use super::cell::{Cell, Cells};
use super::figures::{RowFigures, SentimentTable};
use super::given;
use super::material::{Fold, Material, Media, Source, training_words};
use super::rows::{FUSED, Method, Row, media_rows, vector_rows};
use super::scores::{SeedFigures, Spread, score};
use super::training::{BackboneWeights, Order, Workshop};
use crate::words::WordTable;
use crate::zoo::{Architecture, Profile, Widths};

/// Raise it when a change makes kept cells worthless.
const CELL_REVISION: u32 = 1;
/// Seed of the own word vectors: all seeds of a table read the same ones.
const WORDS_SEED: u64 = 20;
/// Raise it when the training of own word vectors changes.
const OWN_WORDS_REVISION: u32 = 1;
/// Values of the own word vectors, as in the paper.
const WORDS_DIMENSION: usize = 300;

/// What the table is told.
#[derive(Debug, Clone)]
pub struct SentimentOptions {
    /// Folder of the data pack, or its name in `$JTAV_DATA_DIR`.
    pub data: PathBuf,
    /// Which description of the networks.
    pub profile: Profile,
    /// A training of each row per seed.
    pub seeds: Vec<u64>,
    /// Rows (approaches) that are trained with the first seed alone, because they take long.
    pub once: Vec<String>,
    /// Rows to make, by approach or `modalities.approach`; empty for all. Encoders that a fusion needs are made too.
    pub only: Vec<String>,
    /// Word vectors; an own embedding is trained on the training texts where none are given.
    pub word_vectors: Option<PathBuf>,
    /// Published weights of backbones; from scratch where none are given.
    pub backbones: Vec<BackboneWeights>,
    /// Where to train.
    pub device: DeviceChoice,
    /// Decoded features.
    pub cache_dir: PathBuf,
    /// Finished cells.
    pub work_dir: PathBuf,
    pub decode_threads: usize,
    /// One short pass of everything; the figures are worthless and the table says so.
    pub quick: bool,
    /// The command line, for the table's heading.
    pub command: String,
}

impl SentimentOptions {
    /// Three seeds of the `authors-code` profile; VGG-19 and ResNet-101 once.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            profile: Profile::AuthorsCode,
            seeds: vec![1, 2, 3],
            once: vec!["F-VGG".to_owned(), "F-ResNet".to_owned()],
            only: Vec::new(),
            word_vectors: None,
            backbones: Vec::new(),
            device: DeviceChoice::Auto,
            cache_dir: DEFAULT_CACHE_DIR.into(),
            work_dir: ".cache/table".into(),
            decode_threads: 2,
            quick: false,
            command: "jtav table sentiment".to_owned(),
        }
    }
}

/// Makes the table. Blocking, an hour long at worst; may be killed at any time: every finished training is kept in the
/// work folder and not run again.
///
/// # Errors
/// The pack (with file and line), word vectors or weights that cannot be read, a loss that diverges, a device fault.
pub fn sentiment_table(options: &SentimentOptions, progress: &dyn Progress) -> anyhow::Result<SentimentTable> {
    let (material, rows) = prepare(options, progress)?;
    table_of(&material, rows, options, progress)
}

/// Makes `rows` on any material.
pub(super) fn table_of(
    material: &Material,
    rows: Vec<Row>,
    options: &SentimentOptions,
    progress: &dyn Progress,
) -> anyhow::Result<SentimentTable> {
    anyhow::ensure!(!options.seeds.is_empty(), "a table needs at least one seed");
    material.check()?;
    let rows = chosen(rows, &options.only)?;
    let cells = Cells::open(&options.work_dir.join(&material.data))?;
    let workshop = Workshop {
        material,
        profile: options.profile,
        device: options.device,
        backbones: &options.backbones,
        quick: options.quick,
        progress,
    };
    let bench = Bench { options, workshop, cells };
    let mut figures = Vec::new();
    for row in &rows {
        figures.push(bench.row(row, &rows)?);
    }
    let tested: Vec<bool> =
        material.folds.iter().flat_map(|fold| fold.test.iter().map(|&at| material.labels[at])).collect();
    let positive = tested.iter().filter(|&&label| label).count();
    Ok(SentimentTable {
        title: material.title.clone(),
        name: material.file_name.clone(),
        command: options.command.clone(),
        data: material.data.clone(),
        sha256: material.sha256.clone(),
        profile: material.profile.map(|profile| profile.name().to_owned()),
        quick: options.quick,
        remarks: material.remarks.clone(),
        n_test: tested.len(),
        majority: positive.max(tested.len() - positive) as f64 / tested.len().max(1) as f64,
        rows: figures,
    })
}

fn prepare(options: &SentimentOptions, progress: &dyn Progress) -> anyhow::Result<(Material, Vec<Row>)> {
    let folder = resolve_data(&options.data)?;
    if given::is_given(&folder) {
        let (material, widths) = given::read(&folder, options.profile)?;
        return Ok((material, vector_rows(options.profile, widths)));
    }
    let pack = DataPack::read(&folder)?;
    let (words, description) = word_table(options, &pack, progress)?;
    let rows = media_rows(options.profile, words.dimension());
    let media = Media::load(&pack, &words, &options.cache_dir, options.decode_threads, progress)?;
    let name = pack.version.as_ref().map_or_else(|| pack.name.clone(), |version| format!("{}-{version}", pack.name));
    let material = Material {
        title: format!("Table 1 on {name}"),
        profile: Some(options.profile),
        file_name: format!("sentiment-{}-{}", pack.name, options.profile.name()),
        data: name,
        sha256: pack.posts_sha256.clone(),
        remarks: media_remarks(options, &description),
        labels: pack.posts.iter().map(|post| post.positive).collect(),
        folds: vec![Fold::of_splits(&pack)],
        factors: Vec::new(),
        texts: format!("{description}; {}", pack.extra_texts_sha256.as_deref().unwrap_or("no extra texts")),
        source: Source::Media(Box::new(media)),
    };
    Ok((material, rows))
}

/// Word vectors and what they are. Own ones are trained once per set of training texts and kept beside the features.
fn word_table(
    options: &SentimentOptions,
    pack: &DataPack,
    progress: &dyn Progress,
) -> anyhow::Result<(WordTable, String)> {
    progress.start("word vectors", 0);
    let (words, description) = match &options.word_vectors {
        Some(path) => {
            let words = WordTable::open(path, &options.cache_dir)?;
            let description = words.describe();
            (words, description)
        }
        None => own_words(&training_words(pack), &options.cache_dir)?,
    };
    progress.finish(&description);
    Ok((words, description))
}

fn own_words(texts: &[Vec<String>], cache: &Path) -> anyhow::Result<(WordTable, String)> {
    let key = serde_json::to_vec(&(OWN_WORDS_REVISION, WORDS_DIMENSION, WORDS_SEED, texts))?;
    let kept = cache.join(format!("own-words-{}.fifu", &sha256_hex(&key)[..16]));
    let beside = kept.with_extension("txt");
    if let Ok(description) = std::fs::read_to_string(&beside)
        && kept.is_file()
    {
        return Ok((WordTable::open(&kept, cache)?, description));
    }
    let words = WordTable::train(texts, WORDS_DIMENSION, WORDS_SEED)?;
    words.save(&kept)?;
    // The description goes last: without it the vectors do not count.
    write_text(&beside, &words.describe())?;
    let description = words.describe();
    Ok((words, description))
}

fn media_remarks(options: &SentimentOptions, words: &str) -> Vec<String> {
    let backbones = match options.backbones.is_empty() {
        true => {
            "No published image weights are at hand: VGG-19, ResNet-101 and DenseNet-121 start from random weights \
                 and train on the pack's pictures alone (the paper's start from ImageNet)."
                .to_owned()
        }
        false => format!(
            "Published weights: {}; backbones without start from random weights.",
            options.backbones.iter().map(|weights| weights.backbone.name()).collect::<Vec<_>>().join(", ")
        ),
    };
    vec![
        "The pack stands in for MoodShutter: the longest text for the lyrics, the other texts for the caption, the clip \
         for the song. A post with nothing that a row reads gets the training base rate."
            .to_owned(),
        format!("Word vectors: {words} (the paper: fastText, English Wikipedia, 300 values)."),
        "The convnet is trained from scratch on mel spectrograms (the paper's is a published tagger).".to_owned(),
        backbones,
    ]
}

/// The rows that were asked for.
fn chosen(rows: Vec<Row>, only: &[String]) -> anyhow::Result<Vec<Row>> {
    let is = |row: &Row, name: &String| row.approach.eq_ignore_ascii_case(name) || row.id().eq_ignore_ascii_case(name);
    if let Some(unknown) = only.iter().find(|name| !rows.iter().any(|row| is(row, name))) {
        let known: Vec<String> = rows.iter().map(Row::id).collect();
        anyhow::bail!("there is no row `{unknown}`; there are {}", known.join(", "));
    }
    let wanted = |row: &Row| only.is_empty() || only.iter().any(|name| is(row, name));
    let needed = |row: &Row| {
        let encodes = Modality::ALL.into_iter().find(|&modality| FUSED[modality as usize] == row.approach);
        let reads = |other: &Row| other.fuses()?.of(encodes?);
        rows.iter().any(|other| wanted(other) && reads(other).is_some())
    };
    Ok(rows.iter().filter(|row| wanted(row) || needed(row)).cloned().collect())
}

/// Makes cells and scores them.
struct Bench<'a> {
    options: &'a SentimentOptions,
    workshop: Workshop<'a>,
    cells: Cells,
}

impl Bench<'_> {
    fn row(&self, row: &Row, rows: &[Row]) -> anyhow::Result<RowFigures> {
        let seeds = match self.options.once.contains(&row.approach) {
            true => &self.options.seeds[..1],
            false => &self.options.seeds[..],
        };
        let Material { labels, folds, .. } = self.workshop.material;
        let mut made: Vec<(u64, Vec<Cell>)> = Vec::new();
        for &seed in seeds {
            let of_folds = (0..folds.len()).map(|fold| self.cell(row, seed, fold, rows));
            made.push((seed, of_folds.collect::<anyhow::Result<_>>()?));
        }
        let scored = |pick: &dyn Fn(&Cell) -> Vec<Option<f32>>| -> anyhow::Result<Vec<SeedFigures>> {
            let of_seed = |(seed, cells): &(u64, Vec<Cell>)| {
                let logits: Vec<Vec<Option<f32>>> = cells.iter().map(pick).collect();
                let logits: Vec<&[Option<f32>]> = logits.iter().map(Vec::as_slice).collect();
                score(*seed, &logits, folds, labels)
            };
            made.iter().map(of_seed).collect()
        };
        let figures = scored(&|cell| cell.logits.clone())?;
        let mut subsets = Vec::new();
        for name in ModalitySet::all_non_empty().map(|subset| subset.to_string()) {
            if made.iter().all(|(_, cells)| cells.iter().all(|cell| cell.subsets.contains_key(&name))) {
                let of = scored(&|cell| cell.subsets.get(&name).cloned().unwrap_or_default())?;
                subsets.push((name, spread(&of, |figures| figures.metrics.auc)));
            }
        }
        let first = made.first().and_then(|(_, cells)| cells.first()).context("a row without a cell")?;
        Ok(RowFigures {
            row: row.clone(),
            auc: spread(&figures, |figures| figures.metrics.auc),
            auc_hard: spread(&figures, |figures| figures.metrics.auc_hard),
            f1_weighted: spread(&figures, |figures| Some(figures.metrics.f1_weighted)),
            precision_weighted: spread(&figures, |figures| Some(figures.metrics.precision_weighted)),
            accuracy: spread(&figures, |figures| Some(figures.metrics.accuracy)),
            auc_present: spread(&figures, |figures| figures.auc_present),
            training: first.training.clone(),
            seconds: made.iter().flat_map(|(_, cells)| cells).map(|cell| cell.training.seconds).sum(),
            subsets,
            seeds: figures,
        })
    }

    /// From the work folder, or made now.
    fn cell(&self, row: &Row, seed: u64, fold: usize, rows: &[Row]) -> anyhow::Result<Cell> {
        let Material { folds, .. } = self.workshop.material;
        // What does not look at the seed is made once.
        let seed =
            if matches!(row.method, Method::Mfcc | Method::Given { .. } | Method::Product { .. }) { 0 } else { seed };
        let key = format!("{}.{}.seed{seed}.fold{fold}", self.options.profile.name(), row.id());
        let (vectors, vectors_of) = match row.fuses() {
            Some(widths) => self.vectors(&widths, seed, fold, rows)?,
            None => (Vec::new(), Vec::new()),
        };
        let origin = self.origin(row, seed, fold, &vectors_of)?;
        if let Some(cell) = self.cells.get(&key, &origin) {
            return Ok(cell);
        }
        let name = format!("{} {} seed {seed}{}", row.modalities, row.approach, of_folds(fold, folds.len()));
        let order = Order { name: name.clone(), method: row.method, seed, fold: &folds[fold], vectors };
        let mut cell = self.workshop.make(&order).with_context(|| name)?;
        cell.origin = origin;
        self.cells.keep(&key, &cell)?;
        Ok(cell)
    }

    /// The vectors that a fusion reads, and where they come from.
    fn vectors(
        &self,
        widths: &Widths,
        seed: u64,
        fold: usize,
        rows: &[Row],
    ) -> anyhow::Result<(Vec<FusionInput>, Vec<String>)> {
        let material = self.workshop.material;
        if let Source::Vectors(posts) = &material.source {
            return Ok((given::scaled(posts, &material.folds[fold].train), Vec::new()));
        }
        let mut posts = vec![FusionInput::default(); material.labels.len()];
        let mut origins = Vec::new();
        for (modality, _) in widths.modalities() {
            let approach = FUSED[modality as usize];
            let row = rows.iter().find(|row| row.approach == approach).with_context(|| format!("no row {approach}"))?;
            let cell = self.cell(row, seed, fold, rows)?;
            origins.push(cell.origin);
            let vectors = cell.vectors.with_context(|| format!("{approach}: the vectors were not kept"))?;
            for (post, vector) in posts.iter_mut().zip(vectors) {
                match modality {
                    Modality::Text => post.text = vector,
                    Modality::Audio => post.audio = vector,
                    Modality::Image => post.image = vector,
                }
            }
        }
        Ok((posts, origins))
    }

    fn origin(&self, row: &Row, seed: u64, fold: usize, vectors_of: &[String]) -> anyhow::Result<String> {
        let Fold { train, validation, test } = &self.workshop.material.folds[fold];
        let everything = serde_json::json!({
            "revision": CELL_REVISION,
            "data": self.workshop.material.sha256,
            "profile": self.options.profile,
            "method": row.method,
            "settings": self.workshop.settings(&row.method),
            "texts": self.workshop.material.texts_of(&row.method),
            "backbones": matches!(row.method, Method::Encoder { architecture: Architecture::Image { .. }, .. })
                .then_some(&self.options.backbones),
            "quick": self.options.quick,
            "seed": seed,
            "fold": [train, validation, test],
            "vectors": vectors_of,
        });
        Ok(sha256_hex(&serde_json::to_vec(&everything)?))
    }
}

fn of_folds(fold: usize, count: usize) -> String {
    if count > 1 { format!(" fold {}/{count}", fold + 1) } else { String::new() }
}

fn spread(figures: &[SeedFigures], of: impl Fn(&SeedFigures) -> Option<f64>) -> Option<Spread> {
    let values: Option<Vec<f64>> = figures.iter().map(of).collect();
    Spread::of(&values?)
}
