//! The model card that lies beside a checkpoint (after Mitchell et al. 2019).

use std::fmt::Write as _;

use procfs::{CpuInfo, Current as _};

use crate::dataset::{DataPack, Split};
use crate::evaluation::{Evaluation, SubsetFigures};
use crate::options::Stage;
use crate::report::{StageRecord, TrainReport};

/// What is said of a pack that is known by name.
const POLARITY_POSTS: &str = "\
Synthetic posts made of real media, put together at random inside each polarity:

| part | source | terms |
|---|---|---|
| captions | VADER tweets (Hutto & Gilbert 2014) | MIT as published; the texts were written by their authors |
| bodies, extra texts | VADER Amazon and movie review snippets (Hutto & Gilbert 2014) | as above |
| music | EMOPIA 1.0 (Hung et al. 2021), piano MIDI rendered to audio | CC BY-NC-SA 4.0; compositions stay with their owners |
| speech | RAVDESS (Livingstone & Russo 2018), acted English | CC BY-NC-SA 4.0 |
| pictures | OASIS (Kurdi, Lozano & Banaji 2017) | free for research use |

Music and speech are licensed for non-commercial use, and so are these weights: treat them as CC BY-NC-SA 4.0. The
program around them is MIT or Apache-2.0; that does not extend to this folder.
";

const LIMITS: &str = "\
- **Pairing is synthetic.** The parts of a post were drawn independently given its label. The best rule for such posts
  adds the evidence of the parts, so no figure here is evidence of cross-modal interaction.
- **English only**, tweets and short review snippets of about 2004 to 2014. Irony, other languages and later slang are
  not covered.
- **Audio is piano music rendered from MIDI and speech by 24 actors.** Spontaneous speech, songs with voices and field
  recordings were never heard.
- **The image backbone starts from random weights**, not from ImageNet, and saw a few hundred pictures. Its vector is
  weak evidence; on pictures of people, products or screenshots expect little more than chance.
- Few files stand behind the audio and image figures (see the table of splits in the data pack): expect ±0.05 (audio)
  and ±0.07 (image) on AUC from the choice of files alone. The intervals below resample posts and are too narrow there.
- Epochs, temperatures and thresholds were chosen on validation, so its figures are a little too good. The test figures
  were computed once, from the files in this folder; if the split was scored before for other weights, a note under
  the figures says so.
- Probabilities are calibrated for the training pack's share of positive posts; another feed needs new thresholds.
";

const FORBIDDEN: &str = "\
This checkpoint exists so that the demonstration and the tests have real networks to run. It must not be used

- to decide anything about people: moderation without a person who looks, ranking of authors, hiring, credit, health,
  policing, or any inference about who somebody is or how they feel;
- commercially, in any form (the media are licensed for non-commercial use);
- on languages other than English, or as evidence that the modalities interact;
- as a baseline of what this architecture can do with proper data and pretrained weights.
";

/// The card in Markdown.
pub fn model_card(report: &TrainReport, pack: &DataPack) -> String {
    let mut card = String::new();
    // Writing to a String cannot fail, so results of write! are dropped throughout.
    let _ = writeln!(card, "# {}\n", report.model_version);
    if report.quick {
        card.push_str(
            "**A trial run: one short pass over a part of the data. Good for nothing but seeing that it loads.**\n\n",
        );
    }
    card.push_str(
        "Sentiment (positive or negative), mood quadrants and embeddings of social posts with text, audio and image, \
         any of them missing. For demonstration; see what it must not be used for.\n\n",
    );
    card.push_str(&architecture(report));
    let _ = writeln!(card, "## Must not be used for\n\n{FORBIDDEN}");
    let _ = writeln!(card, "## Data and licences\n\n{}", data(report, pack));
    let _ = writeln!(card, "## Figures\n\n{}", figures(report));
    let _ = writeln!(card, "## Limits\n\n{LIMITS}");
    let _ = writeln!(card, "## Training\n\n{}", training(report));
    card
}

fn architecture(report: &TrainReport) -> String {
    let mut text = String::from("| network | what | parameters |\n|---|---|---|\n");
    for record in &report.stages {
        let what = match record.stage {
            Stage::Text => "attBiGRU on subword embeddings trained here, beside a bag of hashed n-grams",
            Stage::Audio => "DCRNN on a constant-Q transform, sentiment head and mood head",
            Stage::Image => "DenseNet-121, **from scratch**",
            Stage::Joint => continue,
            Stage::Fusion => "CMF-AP over three pairs beside the sum of the encoders' logits",
        };
        let _ = writeln!(text, "| {} | {what} | {} |", record.stage, thousands(record.parameters));
    }
    let megabytes = report.weights_bytes as f64 / 1e6;
    let _ = writeln!(text, "\nProfile `modern`; weights {megabytes:.1} MB, matrices in f16.\n");
    text
}

fn data(report: &TrainReport, pack: &DataPack) -> String {
    let version = pack.version.as_deref().map_or_else(String::new, |version| format!(" {version}"));
    let mut text = format!("Data pack `{}`{version}. ", pack.name);
    match pack.name.as_str() {
        "polarity-posts" => text.push_str(POLARITY_POSTS),
        _ => text.push_str("Its own README states sources and licences; they bind these weights too.\n"),
    }
    text.push_str("\n| split | posts | positive |\n|---|---|---|\n");
    for size in &report.posts {
        let _ = writeln!(text, "| {} | {} | {} |", size.split, size.posts, size.positive);
    }
    let _ = writeln!(
        text,
        "\n{} extra texts (training side) trained the vocabulary and the text network. SHA-256 of `{}`: `{}`.",
        thousands(pack.extra_texts.len()),
        pack.labels_file,
        pack.posts_sha256
    );
    text
}

fn figures(report: &TrainReport) -> String {
    let mut text = String::from(
        "A subset masks the other parts and is scored on **every** post of the split; a post with none of its parts \
         gets the training share of positive posts. `AUC present` is the usual figure, over the posts that have a \
         part. `AUC hard` is balanced accuracy, what the paper calls AUC. `majority` always says positive.\n\n",
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

/// Says so when a part of the post is labelled better than the whole: a reader of the last row alone would miss it.
fn worse_than_a_part(evaluation: &Evaluation) -> Option<String> {
    let auc = |figures: &SubsetFigures| figures.metrics.auc;
    let whole = auc(evaluation.subset("text+audio+image")?)?;
    let parts = evaluation.subsets.iter().filter_map(|(name, figures)| Some((name, auc(figures)?)));
    let (name, best) = parts.max_by(|a, b| a.1.total_cmp(&b.1))?;
    (best - whole >= 0.005).then(|| {
        format!(
            "**On {} the fused label is worse than {name} alone: AUC {whole:.3} against {best:.3}.**\n\n",
            evaluation.split
        )
    })
}

/// One row per subset, fewest modalities first, then the majority baseline.
fn table(evaluation: &Evaluation) -> String {
    let n = evaluation.subsets.first().map_or(0, |(_, figures)| figures.metrics.n);
    let name = match evaluation.split {
        Split::Train => "Train",
        Split::Validation => "Validation",
        Split::Test => "Test",
    };
    let mut text = format!(
        "### {name} ({n} posts)\n\n\
         | subset | AUC [95 %] | AUC present (n) | AUC hard | accuracy | F1 | precision | Brier | ECE |\n\
         |---|---|---|---|---|---|---|---|---|\n"
    );
    let mut rows: Vec<_> = evaluation.subsets.iter().collect();
    rows.sort_by_key(|(name, _)| name.matches('+').count());
    for (name, figures) in rows {
        let m = &figures.metrics;
        let interval = figures.intervals.auc.map_or_else(String::new, |i| format!(" [{:.3}, {:.3}]", i.low, i.high));
        let _ = writeln!(
            text,
            "| {name} | {}{interval} | {} ({}) | {} | {:.3} | {:.3} | {:.3} | {:.3} | {:.3} |",
            share(m.auc),
            share(figures.auc_present),
            figures.n_present,
            share(m.auc_hard),
            m.accuracy,
            m.f1_weighted,
            m.precision_weighted,
            m.brier,
            m.ece
        );
    }
    if let Some((_, figures)) = evaluation.subsets.first() {
        let majority = figures.metrics.majority;
        let f1 = majority * 2.0 * majority / (1.0 + majority);
        let base = evaluation.base_rate;
        // Brier of the constant base rate: its spread around a label that is 1 with probability `majority`.
        let brier = majority * (1.0 - base).powi(2) + (1.0 - majority) * base.powi(2);
        let _ = writeln!(
            text,
            "| *majority* | 0.500 | 0.500 ({n}) | 0.500 | {majority:.3} | {f1:.3} | {:.3} | {brier:.3} | {:.3} |",
            majority.powi(2),
            (majority - base).abs()
        );
    }
    if let Some(moods) = evaluation.moods {
        let _ = write!(
            text,
            "\nMood quadrant of the music ({} posts): accuracy {:.3}, majority {:.3}.\n",
            moods.n, moods.accuracy, moods.majority
        );
    }
    text.push('\n');
    text
}

fn training(report: &TrainReport) -> String {
    let mut text = String::from(
        "Each encoder was trained alone with its own head, then the fusion on their frozen vectors with modality \
         dropout; early stopping on validation log loss, best weights kept. The bag of n-grams is a logistic \
         regression with an L2 penalty, solved to its optimum before the BiGRU's first epoch; the BiGRU was trained \
         beside the bag's out-of-fold logits; how far either is trusted was then fitted on validation. Parameters are \
         counted without the bag's tables.\n\n\
",
    );
    text.push_str(&joint(report).unwrap_or_default());
    text.push_str("| stage | examples | epochs (best) | its validation AUC | seconds |\n|---|---|---|---|---|\n");
    for StageRecord { stage, train_examples, fit, kept_from, .. } in &report.stages {
        let (epochs, seconds) = match fit.curve.len() {
            0 => ("–".to_owned(), "–".to_owned()),
            epochs => (format!("{epochs} ({})", fit.best_epoch), format!("{:.0}", fit.seconds)),
        };
        let kept = kept_from.as_deref().map_or_else(String::new, |version| format!(", kept from {version}"));
        let examples = thousands(*train_examples);
        let _ = writeln!(text, "| {stage}{kept} | {examples} | {epochs} | {:.3} | {seconds} |", fit.best_auc);
    }
    text.push_str(
        "\nThat AUC is over what the stage is validated on: posts with text, distinct clips, distinct pictures, all \
         posts; before calibration.\n\n",
    );
    let trained = report.stages.iter().filter(|record| record.kept_from.is_none());
    let seconds: f64 = trained.map(|record| record.fit.seconds).sum();
    let _ = writeln!(text, "Seed {}, {:.0} minutes of training. {}\n", report.seed, seconds / 60.0, machine());
    let _ = writeln!(text, "```sh\n{}\n```", report.command);
    for record in report.stages.iter().filter(|record| !record.settings.is_null()) {
        let _ = writeln!(text, "\n{}: `{}`", record.stage, record.settings);
    }
    text
}

/// Which weights a run with a joint stage kept.
fn joint(report: &TrainReport) -> Option<String> {
    let record = report.stages.iter().find(|record| record.stage == Stage::Joint)?;
    let losses = record.fit.curve.iter().map(|point| point.validation_log_loss);
    let best = losses.fold(f64::INFINITY, f64::min);
    let kept = match record.fit.best_epoch {
        0 => "it did not lower the validation log loss, so **the staged weights were kept**".to_owned(),
        epoch => {
            format!("**epoch {epoch} was kept** (validation log loss {best:.4}, lower than that of the staged weights)")
        }
    };
    Some(format!(
        "After that all four networks were fine-tuned together on posts, from word rows and pixels to the fused label: {kept}.\n\n"
    ))
}

/// Processor and core count, as far as the system tells.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let info = CpuInfo::current().ok();
    let model = info.as_ref().and_then(|info| info.model_name(0)).unwrap_or("an unnamed processor");
    format!("Machine: {cores} cores of {model}, {}.", std::env::consts::OS)
}

fn share(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.3}"))
}

/// `1234567` as `1,234,567`.
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
#[path = "card_tests.rs"]
mod tests;
