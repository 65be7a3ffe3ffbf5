//! A file of labelled texts, one JSON object a line, and what a checkpoint says of them:
//! `{"text": "not bad at all", "label": "positive", "kind": "negation", "lang": "en"}`.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use jtav_model::{
    Checkpoint, DeviceChoice, FusionInput, FusionNetwork, Judgement, Language, TextFrontEnd, TextInput, TextNetwork,
};
use jtav_picture::PictureError;
use serde::{Deserialize, Serialize};

use super::report::{ReliabilityRow, diagram};
use crate::bootstrap::{Intervals, intervals_of_items};
use crate::certainty::{UNDETERMINED, is_certain};
use crate::dataset::sha256_hex;
use crate::evaluation::BOOTSTRAP_RESAMPLES;
use crate::items::Items;
use crate::metrics::{Metrics, auc, calibration_quantile_of_parts};
use crate::progress::Progress;
use crate::three_way::{CLASSES, Figure, Row, ThreeWay, three_way_of_items};

/// Kind of a text that states none.
const NO_KIND: &str = "text";
/// Index of the middle class.
const NEUTRAL: usize = 1;
/// Texts that are encoded at a time.
const CHUNK: usize = 32;

/// Why a file of labelled texts was refused.
#[derive(Debug, thiserror::Error)]
pub enum LabelledTextsError {
    /// It is missing or unreadable.
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    /// A line that cannot be used.
    #[error("{}:{line}: {reason}", path.display())]
    Line {
        path: PathBuf,
        /// From 1.
        line: usize,
        reason: String,
    },
    #[error("{}: holds no text", path.display())]
    Empty { path: PathBuf },
}

impl LabelledTextsError {
    /// Never: the same file is refused again.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

/// A text and the truth about it.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledText {
    /// As the file has it, else `line 7`.
    pub id: String,
    pub text: String,
    /// Index into [`CLASSES`].
    pub label: usize,
    /// What it is an example of.
    pub kind: String,
    /// As the file states it, ISO 639; none where it does not.
    pub lang: Option<String>,
    /// What is drawn together: as the file states it, else the text by itself.
    pub group: String,
}

/// A file of them.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledTexts {
    /// Name of the file, without its folder.
    pub name: String,
    /// Of the file, lower-case hexadecimal.
    pub sha256: String,
    /// In file order, at least one.
    pub texts: Vec<LabelledText>,
}

/// What a line must and may hold; other fields are not looked at.
#[derive(Deserialize)]
struct Line {
    id: Option<String>,
    text: String,
    label: String,
    kind: Option<String>,
    lang: Option<String>,
    group: Option<String>,
}

impl LabelledTexts {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// One that cannot be read, the first line that cannot be used, none at all.
    pub fn read(path: &Path) -> Result<Self, LabelledTextsError> {
        let bytes = std::fs::read(path).map_err(|source| LabelledTextsError::Io { path: path.to_owned(), source })?;
        Self::parse(path, &bytes)
    }

    /// As [`read`](Self::read), of the bytes of the file; `path` is for its name and for errors.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, LabelledTextsError> {
        let mut texts = Vec::new();
        let mut line_of: HashMap<String, usize> = HashMap::new();
        for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let number = index + 1;
            let fail = |reason: String| LabelledTextsError::Line { path: path.to_owned(), line: number, reason };
            let line = std::str::from_utf8(line).map_err(|error| fail(error.to_string()))?;
            if line.trim().is_empty() {
                continue;
            }
            let line: Line = serde_json::from_str(line).map_err(|error| fail(error.to_string()))?;
            let text = labelled(line, number).map_err(fail)?;
            if let Some(first) = line_of.insert(text.id.clone(), number) {
                return Err(fail(format!("id `{}` stands on line {first} already", text.id)));
            }
            texts.push(text);
        }
        if texts.is_empty() {
            return Err(LabelledTextsError::Empty { path: path.to_owned() });
        }
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Ok(Self { name, sha256: sha256_hex(bytes), texts })
    }
}

fn labelled(line: Line, number: usize) -> Result<LabelledText, String> {
    let label = CLASSES.iter().position(|class| *class == line.label);
    let label = label.ok_or_else(|| format!("label `{}`: use negative, neutral or positive", line.label))?;
    let id = line.id.unwrap_or_else(|| format!("line {number}"));
    Ok(LabelledText {
        label,
        kind: line.kind.unwrap_or_else(|| NO_KIND.to_owned()),
        lang: line.lang,
        // No group has the name of a line, whatever the file calls its groups.
        group: line.group.map_or_else(|| format!("line {number}"), |group| format!("group {group}")),
        text: line.text,
        id,
    })
}

/// Figures of a checkpoint on labelled texts, by its own prior.
#[derive(Debug, Clone, Serialize)]
pub struct TextsReport {
    /// Positive against negative, without the neutral texts: the keys that every evaluation has at the top. Absent where all
    /// texts are neutral.
    #[serde(flatten)]
    pub polarity: Option<PolarityFigures>,
    /// All three labels, by kind and by language.
    pub three_way: ThreeWay,
    /// AUC of positive against negative: `all`, then each language, then each kind, where they have both poles.
    #[serde(serialize_with = "as_map")]
    pub auc_of: Vec<(String, AucOf)>,
    /// Name of the file of texts.
    pub texts: String,
    /// SHA-256 of it.
    pub texts_sha256: String,
    /// Version of the checkpoint, as it is published with every label.
    pub model_version: String,
    /// Texts without a word: they are called neutral, never for certain.
    pub n_unread: usize,
    /// Seed of the bootstrap.
    pub seed: u64,
    /// Resamples of the bootstrap.
    pub resamples: usize,
    /// Bins of the calibration error.
    pub reliability: Vec<ReliabilityRow>,
}

/// Positive against negative.
#[derive(Debug, Clone, Serialize)]
pub struct PolarityFigures {
    #[serde(flatten)]
    pub metrics: Metrics,
    /// Their 95 % bootstrap intervals over items.
    pub intervals: Intervals,
    /// The calibration error that 95 of 100 such files stay below where the probabilities are exactly right.
    pub ece_quantile: Option<f64>,
}

/// An AUC and the texts behind it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct AucOf {
    #[serde(flatten)]
    pub figure: Figure,
    /// Texts that are not neutral.
    pub n: usize,
}

/// What is said of a text.
#[derive(Debug, Clone, PartialEq)]
struct Said {
    /// None without a word.
    judgement: Option<Judgement>,
    language: Option<Language>,
    certain: bool,
}

impl Said {
    fn probabilities(&self) -> [f64; 3] {
        self.judgement.map_or([0.0, 1.0, 0.0], |judgement| judgement.probabilities.map(f64::from))
    }

    fn polarity(&self) -> f64 {
        self.judgement.map_or(0.5, |judgement| f64::from(judgement.polarity))
    }
}

/// Labels the texts through the networks that serve, each as a post with one part, and scores the labels.
///
/// # Errors
/// A device that is not there, a device fault, base weights that are missing.
pub fn evaluate_texts(
    checkpoint: &Checkpoint,
    texts: &LabelledTexts,
    device: DeviceChoice,
    seed: u64,
    progress: &dyn Progress,
) -> anyhow::Result<TextsReport> {
    let said = label(checkpoint, &texts.texts, device, progress)?;
    report(texts, &said, checkpoint.model_version(), seed)
}

fn label(
    checkpoint: &Checkpoint,
    texts: &[LabelledText],
    device: DeviceChoice,
    progress: &dyn Progress,
) -> anyhow::Result<Vec<Said>> {
    let front_end = TextFrontEnd::of_checkpoint(checkpoint)?;
    let network = TextNetwork::from_checkpoint(checkpoint, device)?;
    let fusion = FusionNetwork::from_checkpoint(checkpoint, device)?;
    let middle = &checkpoint.manifest().middle;
    progress.start("label", texts.len() as u64);
    let mut all = Vec::with_capacity(texts.len());
    for chunk in texts.chunks(CHUNK) {
        let read = |text: &LabelledText| front_end.input(&[("body", text.text.as_str())]);
        let inputs: Vec<Option<TextInput>> = chunk.iter().map(read).collect::<Result<_, _>>()?;
        let present: Vec<TextInput> = inputs.iter().flatten().cloned().collect();
        let posts: Vec<FusionInput> = network
            .encode(&present)?
            .into_iter()
            .map(|text| FusionInput { text: Some(text.encoded.vector), ..FusionInput::default() })
            .collect();
        let mut fused = fusion.fuse(&posts)?.into_iter();
        for input in inputs {
            let judgement = input.as_ref().and_then(|_| fused.next()).map(|output| output.judgement);
            let language = input.and_then(|input| input.language);
            let certain = judgement.is_some_and(|judgement| is_certain(&judgement, true, language.as_ref(), middle));
            all.push(Said { judgement, language, certain });
        }
        progress.advance(chunk.len() as u64);
    }
    progress.finish(&format!("{} texts", all.len()));
    Ok(all)
}

fn report(texts: &LabelledTexts, said: &[Said], model_version: String, seed: u64) -> anyhow::Result<TextsReport> {
    let row = |(text, said): (&'_ LabelledText, &Said)| (language_of(text, said), said.probabilities(), said.certain);
    let found: Vec<_> = texts.texts.iter().zip(said).map(row).collect();
    let rows: Vec<Row> = texts
        .texts
        .iter()
        .zip(&found)
        .map(|(text, (language, probabilities, certain))| Row {
            probabilities: *probabilities,
            certain: *certain,
            truth: text.label,
            kind: &text.kind,
            language,
            item: &text.group,
        })
        .collect();
    let items = Items::of_names(rows.iter().map(|row| row.item));
    let scores: Vec<f64> = said.iter().map(Said::polarity).collect();
    let (polarity, reliability) = polarity(&rows, &scores, &items, seed)?;
    Ok(TextsReport {
        polarity,
        three_way: three_way_of_items(&rows, &items, BOOTSTRAP_RESAMPLES, seed)?,
        auc_of: aucs(&rows, &scores, &items, seed),
        texts: texts.name.clone(),
        texts_sha256: texts.sha256.clone(),
        model_version,
        n_unread: said.iter().filter(|said| said.judgement.is_none()).count(),
        seed,
        resamples: BOOTSTRAP_RESAMPLES,
        reliability,
    })
}

/// As the file states it, else as it was identified.
fn language_of(text: &LabelledText, said: &Said) -> String {
    let identified = || said.language.as_ref().map(|language| language.code.clone());
    text.lang.clone().or_else(identified).unwrap_or_else(|| UNDETERMINED.to_owned())
}

/// Scores, labels and labels found of the rows at these places.
fn poles(rows: &[Row], scores: &[f64], places: &[usize]) -> (Vec<f64>, Vec<bool>, Vec<bool>) {
    let scores: Vec<f64> = places.iter().map(|&at| scores[at]).collect();
    let labels = places.iter().map(|&at| rows[at].truth > NEUTRAL).collect();
    let found = scores.iter().map(|&score| score >= 0.5).collect();
    (scores, labels, found)
}

fn polarity(
    rows: &[Row],
    scores: &[f64],
    items: &Items,
    seed: u64,
) -> anyhow::Result<(Option<PolarityFigures>, Vec<ReliabilityRow>)> {
    let places: Vec<usize> = (0..rows.len()).filter(|&at| rows[at].truth != NEUTRAL).collect();
    let (scores, labels, found) = poles(rows, scores, &places);
    let reliability = ReliabilityRow::all(&scores, &labels);
    if places.is_empty() {
        return Ok((None, reliability));
    }
    let items = items.of(&places);
    let figures = PolarityFigures {
        metrics: Metrics::of_predictions(&scores, &labels, &found)?,
        intervals: intervals_of_items(&scores, &labels, &found, &items, BOOTSTRAP_RESAMPLES, seed),
        ece_quantile: calibration_quantile_of_parts(&scores, &items, BOOTSTRAP_RESAMPLES, seed),
    };
    Ok((Some(figures), reliability))
}

fn aucs(rows: &[Row], scores: &[f64], items: &Items, seed: u64) -> Vec<(String, AucOf)> {
    let mut parts: BTreeMap<(u8, &str), Vec<usize>> = BTreeMap::new();
    for (at, row) in rows.iter().enumerate().filter(|(_, row)| row.truth != NEUTRAL) {
        for name in [(0, "all"), (1, row.language), (2, row.kind)] {
            parts.entry(name).or_default().push(at);
        }
    }
    let mut found: Vec<(String, AucOf)> = Vec::new();
    for ((_, name), places) in parts {
        let (scores, labels, said) = poles(rows, scores, &places);
        let Some(value) = auc(&scores, &labels) else { continue };
        let interval = intervals_of_items(&scores, &labels, &said, &items.of(&places), BOOTSTRAP_RESAMPLES, seed).auc;
        // A kind that is called as a language is gives way to it.
        if found.iter().all(|(of, _)| of != name) {
            found.push((name.to_owned(), AucOf { figure: Figure { value: Some(value), interval }, n: places.len() }));
        }
    }
    found
}

impl TextsReport {
    /// The reliability diagram of positive against negative as a PNG; none where all texts are neutral.
    ///
    /// # Errors
    /// Those of the drawing.
    pub fn diagram(&self) -> Result<Option<Vec<u8>>, PictureError> {
        let Some(polarity) = &self.polarity else { return Ok(None) };
        diagram(&self.texts, &self.reliability, &polarity.metrics).map(Some)
    }
}

fn as_map<S: serde::Serializer>(parts: &[(String, AucOf)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(parts.iter().map(|(name, figure)| (name, figure)))
}

#[cfg(test)]
#[path = "texts_tests.rs"]
mod tests;
