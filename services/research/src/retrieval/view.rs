//! The table as Markdown, for people and for `docs/results`.

use std::fmt::Write as _;

use super::ranks::{CUTOFFS, Figures, MAX_TIES, RankIntervals};
use super::rows::{Protocol, Row};
use super::settings::{RetrievalInputs, RetrievalSettings};
use super::table::{RetrievalTable, RowSummary, Section};

impl RetrievalTable {
    /// Markdown; ends with a line feed. `command` is what made it.
    pub fn markdown(&self, command: &str) -> String {
        let mut text = format!("# image2song on {}, profile `{}`\n\n", self.data, self.options.profile.name());
        let _ = writeln!(text, "Attention width k of CMF-AP: {}.\n", self.attention());
        if self.quick {
            text.push_str("**A trial with shortened trainings: the figures are worth nothing.**\n\n");
        }
        text.push_str("Which data stand in for which:\n\n");
        for note in &self.notes {
            let _ = writeln!(text, "- {note}");
        }
        text.push_str(
            "\nHow to read it: the paper's \"Med r\" is the mean rank in the authors' code, and ties are ranked in favour of \
             the true song there, so that a constant scorer gets R@1 = 100 %. Compare it with the column of mean ranks. Here a \
             tie counts half, and a row with more than 1 % of tied queries is void and fails the run. Low ranks are good; ",
        );
        let seeds = match self.seeds {
            1 => "one seed".to_owned(),
            seeds => format!("mean ± standard deviation over {seeds} seeds"),
        };
        let _ = writeln!(
            text,
            "{seeds}; in brackets the middle 95 % of bootstrap resamples of the queries. Step size (of {}) and epoch were \
             chosen by the mean reciprocal rank on validation.",
            self.options.learning_rates.iter().map(f64::to_string).collect::<Vec<_>>().join(", ")
        );
        for section in &self.sections {
            text.push('\n');
            section.write(&mut text, &self.group);
        }
        let _ = writeln!(text, "\nMade by `{command}`.");
        text
    }
}

impl RetrievalTable {
    fn attention(&self) -> usize {
        let published = RetrievalSettings::joint(self.options.profile, RetrievalInputs::All).attention;
        self.options.attention.unwrap_or(published)
    }
}

impl Section {
    fn write(&self, text: &mut String, group: &str) {
        let title = match self.protocol {
            Protocol::Disjoint => "Disjoint songs (the paper's †)",
            Protocol::Shared => "Shared songs (the paper's §)",
        };
        let (fewest, most) = self.candidates;
        let candidates = if fewest == most { most.to_string() } else { format!("{fewest} to {most}") };
        let _ = writeln!(text, "## {title}\n\n{} queries, {candidates} candidate songs each.\n", self.queries);
        let [a, b, c] = self.cutoffs;
        let _ = writeln!(
            text,
            "| row | Med r | mean r | MRR [95 %] | R@{a} | R@{b} | R@{c} | ties | validation MRR | paper |\n\
             |---|---|---|---|---|---|---|---|---|---|"
        );
        self.reference(text, "chance", &self.chance);
        self.reference(text, &format!("knows the {group}, no more"), &self.knows_group);
        for row in &self.rows {
            self.row(text, row);
        }
        for row in &self.missing {
            let _ = writeln!(
                text,
                "| {} | not in this pack: no captions | | | | | | | | {} |",
                row.name(),
                row.paper(self.protocol)
            );
        }
        let _ = writeln!(text, "\n{}", self.verdict(group));
    }

    fn reference(&self, text: &mut String, name: &str, figures: &Figures) {
        let recall = self.cutoffs.map(|k| percent(recall(figures, k)));
        let _ = writeln!(
            text,
            "| {name} | {:.1} | {:.1} | {:.3} | {} | 0 % | | |",
            figures.median_rank,
            figures.mean_rank,
            figures.mrr,
            recall.join(" | ")
        );
    }

    fn row(&self, text: &mut String, row: &RowSummary) {
        if row.void {
            let _ = writeln!(
                text,
                "| {} | void | void | void | void | void | void | **{:.1} %** (limit {:.0} %) | | {} |",
                row.name,
                100.0 * row.ties,
                100.0 * MAX_TIES,
                row.paper
            );
            return;
        }
        let of = |figure: &dyn Fn(&Figures) -> f64, digits: usize, scale: f64| {
            let spread =
                row.std.as_ref().map_or_else(String::new, |std| format!(" ± {:.digits$}", scale * figure(std)));
            format!("{:.digits$}{spread}", scale * figure(&row.mean))
        };
        let interval = row.intervals.map_or_else(String::new, |of| format!(" [{:.3}, {:.3}]", of.mrr.low, of.mrr.high));
        let recall = self.cutoffs.map(|k| format!("{} %", of(&|figures| recall(figures, k), 1, 100.0)));
        let validation = row.validation_mrr.map_or_else(String::new, |mrr| format!("{mrr:.3}"));
        let _ = writeln!(
            text,
            "| {} | {} | {} | {}{interval} | {} | {:.1} % | {validation} | {} |",
            row.name,
            of(&|figures| figures.median_rank, 1, 1.0),
            of(&|figures| figures.mean_rank, 1, 1.0),
            of(&|figures| figures.mrr, 3, 1.0),
            recall.join(" | "),
            100.0 * row.ties,
            row.paper
        );
    }

    /// What the intervals allow to say.
    fn verdict(&self, group: &str) -> String {
        let chance = match self.better_than(&self.chance) {
            [by_mrr, by_mean] if by_mrr.is_empty() && by_mean.is_empty() => {
                "Nothing beats chance: no interval of the MRR or of the mean rank lies on the better side of it."
                    .to_owned()
            }
            [by_mrr, by_mean] => format!(
                "Above chance by the interval of the MRR: {}; by that of the mean rank: {}.",
                listed(&by_mrr),
                listed(&by_mean)
            ),
        };
        // Where the group is the song itself, knowing it is being perfect.
        let group = match self.better_than(&self.knows_group) {
            _ if self.knows_group.mrr >= 1.0 - 1e-9 => String::new(),
            [by_mrr, _] if by_mrr.is_empty() => {
                format!(" By the MRR no row is above what knowing the {group} alone would give.")
            }
            [by_mrr, _] => {
                format!(" By the MRR above what knowing the {group} alone would give: {}.", listed(&by_mrr))
            }
        };
        let reranked = self.rows.iter().any(|row| row.row == Row::TwoTowerReranked);
        let all = if reranked && self.candidates.1 <= 100 {
            " With 100 candidates or fewer the re-ranking puts all of them in the order of the joint scorer, so that its \
             row repeats JTAV."
        } else {
            ""
        };
        format!("{chance}{group}{all}")
    }

    /// Rows whose interval lies on the better side: by the mean reciprocal rank, and by the mean rank.
    fn better_than(&self, level: &Figures) -> [Vec<&str>; 2] {
        let rows = |is_better: &dyn Fn(&RankIntervals) -> bool| {
            let rows = self.rows.iter().filter(|row| !row.void && row.intervals.as_ref().is_some_and(is_better));
            rows.map(|row| row.name.as_str()).collect::<Vec<_>>()
        };
        [rows(&|of| of.is_above(level)), rows(&|of| of.mean_rank.high < level.mean_rank)]
    }
}

fn listed(rows: &[&str]) -> String {
    if rows.is_empty() { "none".to_owned() } else { rows.join(", ") }
}

fn recall(figures: &Figures, k: usize) -> f64 {
    CUTOFFS.iter().position(|&cutoff| cutoff == k).map_or(f64::NAN, |at| figures.recall[at])
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}
