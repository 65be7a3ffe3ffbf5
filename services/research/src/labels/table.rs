//! The table as a whole: which rows, on which sets.

use std::path::{Path, PathBuf};

use anyhow::Context;
use jtav_model::{Bases, DeviceChoice};
use jtav_trainer::Progress;
use jtav_trainer::files::{write_json, write_text};
use jtav_trainer::texts::is_sealed;
use jtav_training::semantic::fit_semantic;
use serde::Serialize;

use super::common_sense::{CommonSenseFigures, CommonSensePost, common_sense_figures, parts, read_common_sense};
use super::figures::Figure;
use super::given::GivenAnswers;
use super::model::{Answer, LabelModel, TextParts};
use super::rated::{RatedText, read_rated};
use super::rivals::{SentenceModel, TfIdfModel, VaderModel};
use super::semantic::{SemanticText, chance, cosine, precision_at_10, read_semantic, sparse_cosine};
use super::sentences::{SentenceVectors, Sentences};
use super::served::ServedModel;
use super::sets::{PackFigures, PackSet};
use super::tfidf::TfIdf;

/// What a table is told.
#[derive(Debug, Clone)]
pub struct LabelOptions {
    /// `rated-texts.jsonl`.
    pub rated: PathBuf,
    /// Folder of the pack whose test posts are scored.
    pub pack: PathBuf,
    /// Folder of other posts of the same making.
    pub other: Option<PathBuf>,
    /// Folder of the common-sense set.
    pub common_sense: PathBuf,
    /// Its sealed half in place of the open one.
    pub sealed: bool,
    /// Folder of the set about topics.
    pub semantic: PathBuf,
    /// Names and folders; checkpoints of one name are seeds of one row.
    pub checkpoints: Vec<(String, PathBuf)>,
    /// Names and files.
    pub predictions: Vec<(String, PathBuf)>,
    /// Folder of base weights, before the usual ones.
    pub weights: Option<PathBuf>,
    pub device: DeviceChoice,
    /// Where decoded features are kept.
    pub cache_dir: PathBuf,
    /// Draws the intervals.
    pub seed: u64,
    /// The command, for the heading.
    pub command: String,
}

/// A row of the finished table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LabelRow {
    pub name: String,
    /// What it is: hashes of checkpoints, what it was fitted on.
    pub about: String,
    /// Fits whose figures are averaged; 1 of what is not drawn by chance.
    pub seeds: usize,
    pub common_sense: Option<CommonSenseFigures>,
    pub pack: PackFigures,
    pub other: PackFigures,
}

/// Vectors and how well they know topics.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SemanticTable {
    /// Precision at 10 of drawing by chance.
    pub chance: f64,
    pub rows: Vec<(String, Option<Figure>)>,
}

/// The finished table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LabelTable {
    pub command: String,
    /// Whether the common-sense set is the sealed half.
    pub sealed: bool,
    /// Texts that the rivals are fitted on.
    pub fitted_on: usize,
    /// Posts of the common-sense set, test posts of the pack (all, with text), of the other posts, rated texts among those.
    pub sizes: Sizes,
    pub rows: Vec<LabelRow>,
    pub semantic: SemanticTable,
}

/// How many posts are behind each set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sizes {
    pub common_sense: usize,
    /// All and with text.
    pub pack: (usize, usize),
    /// All, with text, and rated texts for three labels.
    pub other: Option<(usize, usize, usize)>,
}

/// Dimensions of the semantic vector.
const SEMANTIC_DIMENSIONS: usize = 100;

/// The sets that each row meets.
struct Sets {
    common_sense: Vec<CommonSensePost>,
    pack: PackSet,
    other: Option<PackSet>,
    seed: u64,
}

/// Makes the table. Blocking, some minutes.
///
/// # Errors
/// Data that are not there or wrong, base weights that are not there, a device fault.
pub fn label_table(options: &LabelOptions, progress: &dyn Progress) -> anyhow::Result<LabelTable> {
    let rated = read_rated(&options.rated)?;
    let semantic = read_semantic(&options.semantic)?;
    let sets = Sets {
        common_sense: read_common_sense(&options.common_sense, options.sealed)?,
        pack: PackSet::read(&options.pack)?,
        other: options.other.as_deref().map(PackSet::read).transpose()?,
        seed: options.seed,
    };
    let texts: Vec<&RatedText> = rated.iter().filter(|text| !is_sealed(&text.group)).collect();
    let sentences = Sentences::open(&Bases::new(None, options.weights.as_deref()), options.device)?;
    let vectors = encode(&sentences, &texts, progress)?;
    let mut rows = rivals(&sets, &texts, &sentences, &vectors, progress)?;
    for (name, path) in &options.predictions {
        rows.push(sets.given_row(name, &GivenAnswers::read(path)?)?);
    }
    for (name, folders) in by_name(&options.checkpoints) {
        progress.start(&format!("checkpoint {name}"), folders.len() as u64);
        rows.push(sets.served_row(&name, &folders, options, progress)?);
        progress.finish("scored");
    }
    let semantic = semantic_table(&semantic, &texts, &sentences, &vectors, options.seed)?;
    Ok(LabelTable {
        command: options.command.clone(),
        sealed: options.sealed,
        fitted_on: texts.len(),
        sizes: Sizes {
            common_sense: sets.common_sense.len(),
            pack: sets.pack.sizes(),
            other: sets.other.as_ref().map(|other| (other.sizes().0, other.sizes().1, other.rated.len())),
        },
        rows,
        semantic,
    })
}

fn encode(
    sentences: &Sentences,
    texts: &[&RatedText],
    progress: &dyn Progress,
) -> anyhow::Result<Vec<SentenceVectors>> {
    progress.start("sentence vectors", Sentences::chunks(texts.len()) as u64);
    let texts: Vec<String> = texts.iter().map(|text| text.text.clone()).collect();
    let vectors = sentences.encode(&texts, || progress.advance(1))?;
    progress.finish(&format!("{} texts", texts.len()));
    Ok(vectors)
}

fn rivals(
    sets: &Sets,
    texts: &[&RatedText],
    sentences: &Sentences,
    vectors: &[SentenceVectors],
    progress: &dyn Progress,
) -> anyhow::Result<Vec<LabelRow>> {
    progress.start("rivals", 4);
    let mut rows = Vec::new();
    let mut row = |name: &str, about: &str, model: &dyn LabelModel| -> anyhow::Result<()> {
        rows.push(sets.row(name, about, &[model])?);
        progress.advance(1);
        Ok(())
    };
    row("TF-IDF + LR", "words 1-2, characters 2-5, votes as soft labels", &TfIdfModel::fit(texts))?;
    row("VADER", "the text as it was written, neutral within ±.05", &VaderModel::new(false))?;
    row("VADER, read", "what the reader gives, emoji as words", &VaderModel::new(true))?;
    let pools: Vec<Vec<f32>> = vectors.iter().map(|text| text.pools.clone()).collect();
    let model = SentenceModel::fit(sentences, texts, &pools);
    row("MiniLM pools + LR", "means of layers 4 and 6, untuned, votes as soft labels", &model)?;
    progress.finish("fitted and scored");
    Ok(rows)
}

impl Sets {
    /// A row of models that read texts alone, one a seed.
    fn row(&self, name: &str, about: &str, models: &[&dyn LabelModel]) -> anyhow::Result<LabelRow> {
        let answers = |posts: Vec<TextParts>| -> anyhow::Result<Vec<Vec<Answer>>> {
            let of = |model: &&dyn LabelModel| {
                let probabilities = model.label(&posts)?;
                anyhow::ensure!(probabilities.len() == posts.len(), "{name}: not one answer a post");
                Ok(probabilities.into_iter().map(Answer::of).collect())
            };
            models.iter().map(of).collect()
        };
        let common_sense = common_sense_figures(&self.common_sense, &answers(parts(&self.common_sense))?, self.seed)?;
        let on = |set: &PackSet| -> anyhow::Result<PackFigures> {
            let text = set.text_figure(&answers(set.texts())?, self.seed);
            let three_way = match set.rated.is_empty() {
                true => None,
                false => set.three_way_figure(&answers(set.rated_texts())?, self.seed),
            };
            Ok(PackFigures { text, fused: None, three_way })
        };
        Ok(LabelRow {
            name: name.to_owned(),
            about: about.to_owned(),
            seeds: models.len(),
            common_sense: Some(common_sense),
            pack: on(&self.pack)?,
            other: self.other.as_ref().map(on).transpose()?.unwrap_or_default(),
        })
    }

    /// A row of predictions; a set of which a post is missing has no figures.
    fn given_row(&self, name: &str, given: &GivenAnswers) -> anyhow::Result<LabelRow> {
        let common_sense = given.answers(self.common_sense.iter().map(|post| post.id.as_str()));
        let common_sense =
            common_sense.map(|answers| common_sense_figures(&self.common_sense, &[answers], self.seed)).transpose()?;
        let on = |set: &PackSet| {
            let texts = given.answers(set.text_ids()).map(|answers| vec![answers]);
            let rated = given.answers(set.rated.iter().map(|text| text.id.as_str())).map(|answers| vec![answers]);
            PackFigures {
                text: texts.and_then(|seeds| set.text_figure(&seeds, self.seed)),
                fused: None,
                three_way: rated.and_then(|seeds| set.three_way_figure(&seeds, self.seed)),
            }
        };
        Ok(LabelRow {
            name: name.to_owned(),
            about: "predictions from a file".to_owned(),
            seeds: 1,
            common_sense,
            pack: on(&self.pack),
            other: self.other.as_ref().map(on).unwrap_or_default(),
        })
    }

    /// A row of checkpoints, one a seed, on texts and on whole posts.
    fn served_row(
        &self,
        name: &str,
        folders: &[&Path],
        options: &LabelOptions,
        progress: &dyn Progress,
    ) -> anyhow::Result<LabelRow> {
        let models = folders.iter().map(|folder| ServedModel::load(folder, options.device));
        let models: Vec<ServedModel> = models.collect::<anyhow::Result<_>>()?;
        let versions: Vec<String> = models.iter().map(ServedModel::version).collect();
        let faces: Vec<&dyn LabelModel> = models.iter().map(|model| model as &dyn LabelModel).collect();
        let mut row = self.row(name, &versions.join(", "), &faces)?;
        let fused = |set: &PackSet| -> anyhow::Result<Option<Figure>> {
            let answers = models.iter().map(|model| model.fused(&set.pack, &options.cache_dir, self.seed, progress));
            Ok(set.fused_figure(&answers.collect::<anyhow::Result<Vec<_>>>()?, self.seed))
        };
        row.pack.fused = fused(&self.pack)?;
        if let Some(other) = &self.other {
            row.other.fused = fused(other)?;
        }
        Ok(row)
    }
}

/// Folders of each name, names in the order in which they first stand.
fn by_name(checkpoints: &[(String, PathBuf)]) -> Vec<(String, Vec<&Path>)> {
    let mut rows: Vec<(String, Vec<&Path>)> = Vec::new();
    for (name, folder) in checkpoints {
        match rows.iter_mut().find(|(of, _)| of == name) {
            Some((_, folders)) => folders.push(folder),
            None => rows.push((name.clone(), vec![folder])),
        }
    }
    rows
}

/// The set's own texts take no part in any fit.
fn semantic_table(
    set: &[SemanticText],
    texts: &[&RatedText],
    sentences: &Sentences,
    vectors: &[SentenceVectors],
    seed: u64,
) -> anyhow::Result<SemanticTable> {
    let in_set = |text: &RatedText| set.iter().any(|of_set| of_set.id == text.id || of_set.text == text.text);
    let others: Vec<usize> = (0..texts.len()).filter(|&at| !in_set(texts[at])).collect();
    let own: Vec<String> = set.iter().map(|text| text.text.clone()).collect();
    let training: Vec<String> = others.iter().map(|&at| texts[at].text.clone()).collect();
    let tf_idf = TfIdf::fit(&training).rows(&own);
    let mut rows = vec![("TF-IDF".to_owned(), precision_at_10(set, sparse_cosine(&tf_idf), seed))];
    let whole: Vec<Vec<f32>> = sentences.encode(&own, || ())?.into_iter().map(|text| text.sentence).collect();
    rows.push(("MiniLM, mean pool, 384".to_owned(), precision_at_10(set, cosine(&whole), seed)));
    let training: Vec<Vec<f32>> = others.iter().map(|&at| vectors[at].sentence.clone()).collect();
    let projection = fit_semantic(&training, SEMANTIC_DIMENSIONS).context("principal components")?;
    let projected: Vec<Vec<f32>> = whole.iter().map(|vector| projection.project(vector)).collect();
    let name = format!("MiniLM, mean pool, PCA to {SEMANTIC_DIMENSIONS}");
    rows.push((name, precision_at_10(set, cosine(&projected), seed)));
    Ok(SemanticTable { chance: chance(set), rows })
}

/// Writes the table to `folder` as Markdown and as JSON.
///
/// # Errors
/// A folder that cannot be written.
pub fn write_label_table(table: &LabelTable, folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    let name = if table.sealed { "labels-sealed" } else { "labels" };
    write_text(&folder.join(format!("{name}.md")), &table.markdown())?;
    write_json(&folder.join(format!("{name}.json")), table)
}
