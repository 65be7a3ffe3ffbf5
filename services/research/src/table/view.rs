//! The table as Markdown.

use std::fmt::Write as _;

use super::figures::{RowFigures, SentimentTable, paper_cells};
use super::scores::Spread;

impl SentimentTable {
    /// For people: what was measured, beside what the paper reports, and how long each row was trained.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let profile = self.profile.as_ref().map_or_else(String::new, |profile| format!(" (profile `{profile}`)"));
        writeln!(out, "# {}{profile}\n", self.title)?;
        if self.quick {
            writeln!(out, "**A quick run: one short epoch of everything. The figures mean nothing.**\n")?;
        }
        writeln!(out, "```\n{}\n```\n", self.command)?;
        for remark in &self.remarks {
            writeln!(out, "- {remark}")?;
        }
        writeln!(
            out,
            "- Thresholds, epochs and penalties are chosen on validation. Mean ± standard deviation over seeds.\n- {} test \
             posts; always naming the more frequent label has accuracy {:.3}, AUC .500.",
            self.n_test, self.majority
        )?;
        let with_paper = self.rows.iter().any(|row| row.row.paper.is_some());
        let (heading, line) = match with_paper {
            true => (" paper: auc_hard / F1 / precision |", "---|"),
            false => ("", ""),
        };
        if with_paper {
            writeln!(
                out,
                "- The paper's \"AUC\" is balanced accuracy, `auc_hard` here. Its data are others: the column shows what a \
                 row is there, it is no target here."
            )?;
        }
        writeln!(out, "\n| modalities | approach | seeds | AUC | auc_hard | F1 | precision | accuracy |{heading}")?;
        writeln!(out, "|---|---|---|---|---|---|---|---|{line}")?;
        for row in &self.rows {
            let cells = [row.auc, row.auc_hard, row.f1_weighted, row.precision_weighted, row.accuracy].map(cell);
            let (modalities, approach) = (&row.row.modalities, &row.row.approach);
            let paper = if with_paper { format!(" {} |", paper_cells(row.row.paper)) } else { String::new() };
            writeln!(out, "| {modalities} | {approach} | {} | {} |{paper}", row.seeds.len(), cells.join(" | "))?;
        }
        self.write_subsets(out)?;
        self.write_training(out)
    }

    /// AUC of the fusions of three when other modalities are masked.
    fn write_subsets(&self, out: &mut String) -> std::fmt::Result {
        let with_subsets: Vec<&RowFigures> = self.rows.iter().filter(|row| !row.subsets.is_empty()).collect();
        let Some(first) = with_subsets.first() else { return Ok(()) };
        writeln!(out, "\n## AUC of the fusions of three with other modalities masked\n")?;
        let names: Vec<&str> = first.subsets.iter().map(|(name, _)| name.as_str()).collect();
        writeln!(out, "| approach | {} |", names.join(" | "))?;
        writeln!(out, "|---|{}", "---|".repeat(names.len()))?;
        for row in with_subsets {
            let cells: Vec<String> = row.subsets.iter().map(|(_, auc)| cell(*auc)).collect();
            writeln!(out, "| {} | {} |", row.row.approach, cells.join(" | "))?;
        }
        writeln!(
            out,
            "\nCMF-AP knows pairs only: where one modality is left, all its pairs are absent and its score is a constant \
             (docs/networks.md, \"An absent modality\"). The network that serves adds each encoder's own logit for that \
             reason."
        )
    }

    fn write_training(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "\n## How each row was trained\n")?;
        writeln!(
            out,
            "| modalities | approach | examples | parameters | epochs (kept) | C | AUC where present (n) | validation AUC | seconds, all seeds |"
        )?;
        writeln!(out, "|---|---|---|---|---|---|---|---|---|")?;
        for row in &self.rows {
            let training = &row.training;
            let epochs = match training.epochs {
                0 => "solved".to_owned(),
                epochs => format!("{epochs} ({})", training.best_epoch),
            };
            let c = training.c.map_or_else(|| "–".to_owned(), |c| c.to_string());
            let present = row.seeds.first().map_or(0, |seed| seed.n_present);
            let held: Vec<f64> = row.seeds.iter().filter_map(|seed| seed.validation_auc).collect();
            writeln!(
                out,
                "| {} | {} | {} | {} | {epochs} | {c} | {} ({present}) | {} | {:.0} |",
                row.row.modalities,
                row.row.approach,
                training.examples,
                training.parameters,
                cell(row.auc_present),
                cell(Spread::of(&held)),
                row.seconds
            )?;
        }
        writeln!(out, "\nExamples, parameters, epochs and C are those of the first seed and fold.")
    }
}

fn cell(spread: Option<Spread>) -> String {
    match spread {
        None => "–".to_owned(),
        Some(Spread { mean, std: None }) => format!("{mean:.3}"),
        Some(Spread { mean, std: Some(std) }) => format!("{mean:.3} ± {std:.3}"),
    }
}
