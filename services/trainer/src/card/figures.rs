//! Tables of a card.

use std::fmt::Write as _;

use crate::dataset::Split;
use crate::evaluation::{Evaluation, SubsetFigures};
use crate::report::{Certain, TrainReport};
use crate::three_way::{Figure, Figures, ThreeWay};

/// Says so when a part of the post is labelled better than the whole: a reader of the last row alone would miss it.
pub(super) fn worse_than_a_part(evaluation: &Evaluation) -> Option<String> {
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
pub(super) fn table(evaluation: &Evaluation) -> String {
    let n = evaluation.subsets.first().map_or(0, |(_, figures)| figures.metrics.n);
    let name = match evaluation.split {
        Split::Train => "Train",
        Split::Validation => "Validation",
        Split::Test => "Test",
    };
    let mut text = format!(
        "### {name} ({n} posts)\n\n\
         | subset | AUC [95 %] | AUC present (n) | AUC hard | accuracy | F1 | precision | Brier | ECE | ECE by chance |\n\
         |---|---|---|---|---|---|---|---|---|---|\n"
    );
    let mut rows: Vec<_> = evaluation.subsets.iter().collect();
    rows.sort_by_key(|(name, _)| name.matches('+').count());
    for (name, figures) in rows {
        let m = &figures.metrics;
        let interval = figures.intervals.auc.map_or_else(String::new, |i| format!(" [{:.3}, {:.3}]", i.low, i.high));
        let _ = writeln!(
            text,
            "| {name} | {}{interval} | {} ({}) | {} | {:.3} | {:.3} | {:.3} | {:.3} | {:.3} | {} |",
            share(m.auc),
            share(figures.auc_present),
            figures.n_present,
            share(m.auc_hard),
            m.accuracy,
            m.f1_weighted,
            m.precision_weighted,
            m.brier,
            m.ece,
            share(figures.ece_quantile)
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
            "| *majority* | 0.500 | 0.500 ({n}) | 0.500 | {majority:.3} | {f1:.3} | {:.3} | {brier:.3} | {:.3} | |",
            majority.powi(2),
            (majority - base).abs()
        );
    }
    text.push_str(&three_way(&evaluation.three_way));
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

/// The label that a record carries, of whole posts.
fn three_way(of: &ThreeWay) -> String {
    let Figures { accuracy, certain, recall: [negative, _, positive], .. } = of.overall;
    format!(
        "\nThe label of three, of whole posts, which are all positive or negative: right {}, neutral or wrong otherwise; {} of \
         the negative and {} of the positive posts were found. Certain labels: {} of all, right {}.\n",
        with_interval(&accuracy),
        share(negative.value),
        share(positive.value),
        share(certain.coverage.value),
        with_interval(&certain.accuracy)
    )
}

/// From which confidence on labels are certain.
pub(super) fn certain(report: &TrainReport) -> String {
    let mut text = String::from("| subset | certain from | share of labels | measured on |\n|---|---|---|---|\n");
    let mut rows: Vec<_> = report.certain.iter().collect();
    rows.sort_by_key(|(name, _)| name.matches('+').count());
    for (name, Certain { from, coverage, items }) in rows {
        let items = thousands(*items);
        // 1 is never reached.
        let _ = match *from < 1.0 {
            true => writeln!(text, "| {name} | {from:.3} | {coverage:.2} | {items} |"),
            false => writeln!(text, "| {name} | never | 0 | {items} |"),
        };
    }
    text
}

fn with_interval(figure: &Figure) -> String {
    let interval = figure.interval.map_or_else(String::new, |i| format!(" [{:.3}, {:.3}]", i.low, i.high));
    share(figure.value) + &interval
}

fn share(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.3}"))
}

/// `1234567` as `1,234,567`.
pub(super) fn thousands(number: usize) -> String {
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
