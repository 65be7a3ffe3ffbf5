//! What the command shows to a person.

use std::fmt::Write as _;

use super::{Comparison, DeletionReport};

const DELETION: &str = "\
random     the same number of words, time steps or cells drawn at random; mean of several draws.
moved      the pattern of the most attended ones at another place.
passes     the logit moves more without the most attended ones than without either, both intervals above 0.
n          posts for text, files for audio and image; texts under 5 words and clips under 5 steps are left out.
";

impl DeletionReport {
    /// A row per modality and what its columns mean; begins and ends with a line feed.
    pub fn table(&self) -> String {
        let mut text = format!(
            "\nDeletion test: mean change of the modality's own logit without the most attended {:.0} %.\n\n\
             {:<8} {:>5} {:>8} {:>8} {:>6} {:>8} {:>6}  {:<26} passes\n",
            100.0 * self.settings.share,
            "",
            "n",
            "top",
            "random",
            "ratio",
            "moved",
            "ratio",
            "top - random [95 %]"
        );
        for (name, figures) in self.modalities() {
            let Comparison { difference, interval, .. } = figures.random;
            let interval = interval.map_or_else(String::new, |i| format!(" [{:.3}, {:.3}]", i.low, i.high));
            let difference = format!("{difference:.3}{interval}");
            let _ = writeln!(
                text,
                "{name:<8} {:>5} {:>8.3} {:>8.3} {:>6} {:>8.3} {:>6}  {difference:<26} {}",
                figures.n,
                figures.mean_change,
                figures.random.mean_change,
                ratio(figures.random.ratio),
                figures.moved.mean_change,
                ratio(figures.moved.ratio),
                if figures.passes { "yes" } else { "no" }
            );
        }
        text.push_str(DELETION);
        text
    }
}

fn ratio(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
}
