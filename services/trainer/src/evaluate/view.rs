//! What the command shows to a person.

use std::fmt::Write as _;

use super::{CheckpointReport, PredictionsReport, TextsReport};
use crate::bootstrap::Interval;
use crate::metrics::Metrics;
use crate::three_way::{Figure, Figures, ThreeWay};

const COLUMNS: &str = "\
AUC        chance that a positive post scores above a negative one, ties count half; 0.5 is chance. In brackets the
           middle 95 % of bootstrap resamples of what the posts are made of.
hard AUC   balanced accuracy of the labels after the threshold: what the paper calls AUC.
accuracy   share of right labels; worth something only above `majority`, which always names the more frequent class.
F1         of both classes, weighted by their size.
ECE        calibration error: how far probabilities are from the share that is positive, over 15 equal bins.";

const CHANCE: &str = "\
chance     the ECE that 95 of 100 such splits stay below where the probabilities are exactly right.";

const THREE: &str = "\
certain    share of the labels that are given out as certain, and how many of those are right.";

impl CheckpointReport {
    /// A table with a row per subset and what its columns mean; ends with a line feed.
    pub fn table(&self) -> String {
        let positive = self.reliability.iter().map(|row| row.share_positive.unwrap_or(0.0) * row.n as f64).sum::<f64>();
        let mut text = format!(
            "{}, split {}: {} posts, {positive:.0} positive. Checkpoint {}.\n\n",
            self.data, self.split, self.full.metrics.n, self.model_version
        );
        let _ = writeln!(
            text,
            "{:<17} {:<20} {:>8} {:>9} {:>9} {:>6} {:>6} {:>6} {:>13} {:>6}",
            "subset", "AUC [95 %]", "hard AUC", "accuracy", "majority", "F1", "ECE", "chance", "AUC present", "(n)"
        );
        for (name, figures) in &self.subsets {
            let present = format!("({})", figures.n_present);
            let _ = writeln!(
                text,
                "{name:<17} {} {:>6} {:>13} {present:>6}",
                row(&figures.metrics, figures.intervals.auc),
                share(figures.ece_quantile),
                share(figures.auc_present)
            );
        }
        if let Some(moods) = self.moods {
            let _ = writeln!(
                text,
                "\nmood of the music, {} posts: accuracy {:.3}, majority {:.3}",
                moods.n, moods.accuracy, moods.majority
            );
        }
        let _ = writeln!(
            text,
            "\nWhole posts, labelled negative, neutral or positive. These posts know no neutral, so whoever says it is wrong.\n\
             {}{THREE}\n\n\
             A subset masks the other parts and is scored on every post; one with none of its parts gets the base rate, {:.3}.\n\
             {COLUMNS}\n{CHANCE}\nAUC present  over the posts that have a part of the subset: the usual figure.",
            three_way_table(&self.three_way),
            self.base_rate
        );
        text
    }
}

impl PredictionsReport {
    /// The same for one set of predictions; ends with a line feed.
    pub fn table(&self) -> String {
        let Metrics { n, brier, precision_weighted, .. } = self.metrics;
        format!(
            "{n} predictions, positive from {} on.\n\n\
             {:<20} {:>8} {:>9} {:>9} {:>6} {:>6} {:>10} {:>6}\n{} {precision_weighted:>10.3} {brier:>6.3}\n\n{COLUMNS}\n",
            self.threshold,
            "AUC [95 %]",
            "hard AUC",
            "accuracy",
            "majority",
            "F1",
            "ECE",
            "precision",
            "Brier",
            row(&self.metrics, self.intervals.auc),
        )
    }
}

impl TextsReport {
    /// Three labels by kind and by language; ends with a line feed.
    pub fn table(&self) -> String {
        let all = &self.three_way.overall;
        let mut text =
            format!("{}: {} texts, {} items. Checkpoint {}.\n\n", self.texts, all.n, all.items, self.model_version);
        text.push_str(&three_way_table(&self.three_way));
        let _ = writeln!(text, "{THREE}\n\nPositive against negative, neutral texts left out:");
        let _ = writeln!(text, "{:<20} {:<20} {:>6}", "", "AUC [95 %]", "(n)");
        for (name, auc) in &self.auc_of {
            let n = format!("({})", auc.n);
            let _ = writeln!(text, "{name:<20} {:<20} {n:>6}", with_interval(&auc.figure));
        }
        let _ = writeln!(
            text,
            "\nAUC  chance that a positive text scores above a negative one, ties count half; 0.5 is chance.\n\
             In brackets the middle 95 % of bootstrap resamples of items."
        );
        text
    }
}

/// A row for all, for each kind where there are several, and for each language where there are several.
fn three_way_table(of: &ThreeWay) -> String {
    let mut text = format!(
        "{:<20} {:<20} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>6}\n",
        "three labels", "accuracy [95 %]", "macro F1", "negative", "neutral", "positive", "certain", "right", "(n)"
    );
    let mut line = |name: &str, figures: &Figures| {
        let n = format!("({})", figures.n);
        let [negative, neutral, positive] = figures.recall.map(|recall| share(recall.value));
        let _ = writeln!(
            text,
            "{name:<20} {:<20} {:>8} {negative:>8} {neutral:>8} {positive:>8} {:>8} {:>8} {n:>6}",
            with_interval(&figures.accuracy),
            share(figures.macro_f1.value),
            share(figures.certain.coverage.value),
            share(figures.certain.accuracy.value),
        );
    };
    line("all", &of.overall);
    for parts in [&of.kinds, &of.languages] {
        let several = parts.len() > 1;
        parts.iter().filter(|_| several).for_each(|(name, figures)| line(name, figures));
    }
    text.push_str("negative, neutral, positive  share of each class that was found.\n");
    text
}

fn with_interval(figure: &Figure) -> String {
    let interval = figure.interval.map_or_else(String::new, |i| format!(" [{:.3}, {:.3}]", i.low, i.high));
    share(figure.value) + &interval
}

fn row(metrics: &Metrics, interval: Option<Interval>) -> String {
    let interval = interval.map_or_else(String::new, |i| format!(" [{:.3}, {:.3}]", i.low, i.high));
    let auc = format!("{}{interval}", share(metrics.auc));
    format!(
        "{auc:<20} {:>8} {:>9.3} {:>9.3} {:>6.3} {:>6.3}",
        share(metrics.auc_hard),
        metrics.accuracy,
        metrics.majority,
        metrics.f1_weighted,
        metrics.ece
    )
}

/// A figure that is undefined with one class.
fn share(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"))
}

#[cfg(test)]
mod tests {
    use super::super::{Predictions, evaluate_predictions};

    #[test]
    fn the_table_has_a_figure_under_each_heading_and_a_dash_where_there_is_none() {
        let all_positive = Predictions { scores: vec![0.9, 0.4], labels: vec![true, true], threshold: 0.5 };
        let table = evaluate_predictions(&all_positive, 1).unwrap().table();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "2 predictions, positive from 0.5 on.");
        assert_eq!(lines[2].split_whitespace().collect::<Vec<_>>().len(), 11, "{table}");
        // Recall of the only class is one half, F1 is 2/3; precision is whole.
        let figures: Vec<&str> = lines[3].split_whitespace().collect();
        assert_eq!(figures, ["-", "-", "0.500", "1.000", "0.667", "0.350", "1.000", "0.185"], "{table}");
    }
}
