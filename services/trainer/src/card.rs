//! The model card that lies beside a checkpoint (after Mitchell et al. 2019).

mod figures;
mod words;

use std::fmt::Write as _;

use jtav_model::{Base, ImageBackbone, Manifest, roles};
use procfs::{CpuInfo, Current as _};

use self::figures::{certain, table, thousands, worse_than_a_part};
use self::words::{FORBIDDEN, LIMITS, OWN_TEXTS, POLARITY_POSTS, RATED_TEXTS, TRAINING};
use crate::dataset::DataPack;
use crate::options::Stage;
use crate::report::{StageRecord, TrainReport};

/// The card in Markdown: of the run, the pack it was trained on, and the manifest that was written.
pub fn model_card(report: &TrainReport, pack: &DataPack, manifest: &Manifest) -> String {
    let mut card = String::new();
    // Writing to a String cannot fail, so results of write! are dropped throughout.
    let _ = writeln!(card, "# {}\n", report.model_version);
    if report.quick {
        card.push_str(
            "**A trial run: one short pass over a part of the data. Good for nothing but seeing that it loads.**\n\n",
        );
    }
    card.push_str(
        "Sentiment (negative, neutral or positive, with probabilities), mood quadrants and embeddings of social posts with \
         text, audio and image, any of them missing. For demonstration; see what it must not be used for.\n\n",
    );
    card.push_str(&architecture(report, manifest));
    let _ = writeln!(card, "## Must not be used for\n\n{FORBIDDEN}");
    let _ = writeln!(card, "## Stands on\n\n{}", bases(manifest));
    let _ = writeln!(card, "## Data and licences\n\n{}", data(report, pack, manifest));
    let _ = writeln!(card, "## What a label says\n\n{}", labels(report, manifest));
    let _ = writeln!(card, "## Figures\n\n{}", figures(report));
    let _ = writeln!(card, "## Limits\n\n{LIMITS}");
    let _ = writeln!(card, "## Training\n\n{}", training(report));
    card
}

fn architecture(report: &TrainReport, manifest: &Manifest) -> String {
    let mut text = String::from("| network | what | trained values |\n|---|---|---|\n");
    for record in &report.stages {
        let what = network(record.stage, manifest);
        let _ = writeln!(text, "| {} | {what} | {} |", record.stage, thousands(record.parameters));
    }
    let megabytes = report.weights_bytes as f64 / 1e6;
    let _ = writeln!(text, "\nProfile `{}`; weights {megabytes:.1} MB, matrices in f16.\n", manifest.profile);
    if manifest.dimensions.semantic > 0 {
        let _ = writeln!(
            text,
            "Vectors for recommenders: one of each modality, the fused one, and `semantic`: {} values of what the text is \
             about, the mean over the sentence encoder's tokens reduced to its principal components.\n",
            manifest.dimensions.semantic
        );
    }
    text
}

fn network(stage: Stage, manifest: &Manifest) -> String {
    let of_base = |role: &str| manifest.bases.get(role).map_or("the base", |base| base.name.as_str());
    match stage {
        Stage::Text => {
            let (words, beside) = match manifest.reads_with_trunk() {
                true => (format!("{}, frozen, layers 4 and 6", of_base(roles::TRUNK)), "VADER's compound".to_owned()),
                false => (
                    format!("rows of the table of word pieces of {}", of_base(roles::TRUNK)),
                    format!(
                        "a bag of n-grams hashed to {} buckets and VADER's compound",
                        thousands(manifest.dimensions.ngram_buckets.unsigned_abs() as usize)
                    ),
                ),
            };
            format!("attBiGRU on word vectors of {words}; beside it {beside}; one head for polarity, one for neutral")
        }
        Stage::Audio => "logistic regressions on statistics of the sound, one for music and one for speech, with a gate \
                         between them; beside them a DCRNN on a constant-Q transform; mood of the music by the statistics"
            .to_owned(),
        Stage::Image => match manifest.image_backbone {
            ImageBackbone::EfficientNetLite0 => {
                format!("logistic regression on the features of {}, frozen", of_base(roles::IMAGE))
            }
            ImageBackbone::DenseNet121 => {
                "logistic regression on the features of DenseNet-121, frozen, whose weights are in this folder".to_owned()
            }
        },
        Stage::Fusion => {
            "sum of the parts' log-likelihood ratios, and CMF-AP over the three pairs as far as it is trusted".to_owned()
        }
    }
}

/// What the networks need beside the folder.
fn bases(manifest: &Manifest) -> String {
    let mut text = String::from(
        "Weights that others trained, looked for by their hash and not in this folder unless it was packed \
         (`jtav model pack`):\n\n| role | weights | file | SHA-256 begins | licence |\n|---|---|---|---|---|\n",
    );
    for (role, base) in &manifest.bases {
        let Base { name, file, sha256 } = base;
        let digest = sha256.get(..8).unwrap_or(sha256);
        let licence = base.licence().unwrap_or("not known here");
        let _ = writeln!(text, "| {role} | {name} | `{file}` | `{digest}` | {licence} |");
    }
    text.push_str("\n`models/bases/NOTICE.md` says where they come from and what their licences ask for.\n");
    text
}

fn data(report: &TrainReport, pack: &DataPack, manifest: &Manifest) -> String {
    let version = pack.version.as_deref().map_or_else(String::new, |version| format!(" {version}"));
    let mut text = format!("Data pack `{}`{version}. ", pack.name);
    match pack.name.as_str() {
        "polarity-posts" => text.push_str(POLARITY_POSTS),
        _ => text.push_str("Its own README states sources and licences; they bind these weights too.\n"),
    }
    text.push('\n');
    let has_rated = manifest.data.contains_key(crate::options::RATED_TEXTS);
    text.push_str(if has_rated { RATED_TEXTS } else { OWN_TEXTS });
    text.push_str("\n| split | posts | positive |\n|---|---|---|\n");
    for size in &report.posts {
        let _ = writeln!(text, "| {} | {} | {} |", size.split, size.posts, size.positive);
    }
    text.push_str("\n| file | SHA-256 |\n|---|---|\n");
    for (name, digest) in &manifest.data {
        let _ = writeln!(text, "| `{name}` | `{digest}` |");
    }
    text
}

/// Promise, languages and prior.
fn labels(report: &TrainReport, manifest: &Manifest) -> String {
    let middle = &manifest.middle;
    let mut text = format!(
        "A label is the most probable of negative, neutral and positive. It is `certain` where its probability reaches the \
         threshold of the modalities that are there. The thresholds were chosen so that {:.0} of 100 such labels are right \
         on texts, clips and pictures that the judging network had not seen; posts of several parts were put together from \
         them, so that promise is for posts whose parts agree as these do, and is none for another feed.\n\n",
        100.0 * middle.promised_accuracy
    );
    text.push_str(&certain(report));
    let _ = writeln!(
        text,
        "\nLanguages: {}. A text in another one, or in one that is told with a probability below {}, is labelled and never \
         certain.\n",
        middle.languages.join(", "),
        middle.language_confidence
    );
    let prior = f64::from(manifest.calibration.prior_log_odds);
    let share = 100.0 / (1.0 + (-prior).exp());
    let _ = writeln!(
        text,
        "Prior: log odds of {prior:.2}, a feed in which {share:.0} of 100 posts that are not neutral are positive. The figures \
         below are made with the share of positive posts in the pack's training split in its place, as for a feed whose mix \
         is known."
    );
    text
}

fn figures(report: &TrainReport) -> String {
    let mut text = String::from(
        "Positive against negative. A subset masks the other parts and is scored on **every** post of the split; a post with \
         none of its parts gets the training share of positive posts. `AUC present` is the usual figure, over the posts that \
         have a part. `AUC hard` is balanced accuracy, what the paper calls AUC. `majority` always says positive. Intervals \
         draw texts, clips and pictures again, each kind by itself. `ECE by chance`: what 95 of 100 such splits stay below \
         where the probabilities are exactly right.\n\n",
    );
    for evaluation in [Some(&report.validation), report.test.as_ref()].into_iter().flatten() {
        text.push_str(&table(evaluation));
    }
    if report.test.is_none() {
        text.push_str("The test split was not scored.\n");
    }
    for evaluation in [Some(&report.validation), report.test.as_ref()].into_iter().flatten() {
        text.push_str(&worse_than_a_part(evaluation).unwrap_or_default());
    }
    for note in &report.notes {
        let _ = writeln!(text, "{note}\n");
    }
    text
}

fn training(report: &TrainReport) -> String {
    let mut text = format!("{TRAINING}\n");
    text.push_str("| stage | examples | epochs (best) | its validation AUC | seconds |\n|---|---|---|---|---|\n");
    for StageRecord { stage, train_examples, fit, .. } in &report.stages {
        let (epochs, seconds) = match fit.curve.len() {
            0 => ("–".to_owned(), "–".to_owned()),
            epochs => (format!("{epochs} ({})", fit.best_epoch), format!("{:.0}", fit.seconds)),
        };
        let examples = thousands(*train_examples);
        let _ = writeln!(text, "| {stage} | {examples} | {epochs} | {:.3} | {seconds} |", fit.best_auc);
    }
    text.push_str(
        "\nThat AUC is over what the stage is validated on: posts with text, distinct clips, distinct pictures, all \
         posts; before calibration. A dash: solved, not trained by epochs.\n\n",
    );
    let seconds: f64 = report.stages.iter().map(|record| record.fit.seconds).sum();
    let _ = writeln!(text, "Seed {}, {:.0} minutes of training. {}\n", report.seed, seconds / 60.0, machine());
    let _ = writeln!(text, "```sh\n{}\n```", report.command);
    for record in report.stages.iter().filter(|record| !record.settings.is_null()) {
        let _ = writeln!(text, "\n{}: `{}`", record.stage, record.settings);
    }
    text
}

/// Processor and core count, as far as the system tells.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let info = CpuInfo::current().ok();
    let model = info.as_ref().and_then(|info| info.model_name(0)).unwrap_or("an unnamed processor");
    format!("Machine: {cores} cores of {model}, {}.", std::env::consts::OS)
}

#[cfg(test)]
#[path = "card_tests.rs"]
mod tests;
