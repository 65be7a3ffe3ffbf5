//! What the command shows to a person.

use std::fmt::Write as _;

use super::{CheckpointReport, PredictionsReport};
use crate::bootstrap::Interval;
use crate::metrics::Metrics;

const COLUMNS: &str = "\
AUC        chance that a positive post scores above a negative one, ties count half; 0.5 is chance. In brackets the
           middle 95 % of bootstrap resamples.
hard AUC   balanced accuracy of the labels after the threshold: what the paper calls AUC.
accuracy   share of right labels; worth something only above `majority`, which always names the more frequent class.
F1         of both classes, weighted by their size.
ECE        calibration error: how far probabilities are from the share that is positive, over 15 equal bins.";

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
            "{:<17} {:<20} {:>8} {:>9} {:>9} {:>6} {:>6} {:>13} {:>6}",
            "subset", "AUC [95 %]", "hard AUC", "accuracy", "majority", "F1", "ECE", "AUC present", "(n)"
        );
        for (name, figures) in &self.subsets {
            let present = format!("({})", figures.n_present);
            let _ = writeln!(
                text,
                "{name:<17} {} {:>13} {present:>6}",
                row(&figures.metrics, figures.intervals.auc),
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
            "\nA subset masks the other parts and is scored on every post; one with none of its parts gets the base rate, {:.3}.\n\
             {COLUMNS}\nAUC present  over the posts that have a part of the subset: the usual figure.",
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
