//! The table as Markdown.

use std::fmt::Write as _;

use super::figures::Figure;
use super::table::{LabelRow, LabelTable};

impl LabelTable {
    /// For people: each set a table of its own, rivals first.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "# What the labels are worth\n\n```\n{}\n```\n", self.command)?;
        writeln!(
            out,
            "- In brackets 95 % intervals, by drawing texts again (of rated texts their groups; of whole posts texts, sounds and \
             pictures apart). Of several checkpoints the mean ± standard deviation.\n- Rivals are fitted on {} rated texts, \
             without the sealed tenth. Nothing in them is drawn by chance, so they have no seeds.\n- VADER's lexicon and rules were \
             made with the tweets that are the pack's captions: it is flattered there, and not on common sense.",
            self.fitted_on
        )?;
        for row in &self.rows {
            writeln!(out, "- **{}**: {}.", row.name, row.about)?;
        }
        self.write_common_sense(out)?;
        self.write_packs(out)?;
        self.write_semantic(out)
    }

    fn write_common_sense(&self, out: &mut String) -> std::fmt::Result {
        let half = if self.sealed { "sealed" } else { "open" };
        writeln!(out, "\n## Common sense, {half} half ({} posts)\n", self.sizes.common_sense)?;
        writeln!(out, "| | AUC | three labels | AUC, other languages | three labels, other languages |")?;
        writeln!(out, "|---|---|---|---|---|")?;
        let scored = || self.rows.iter().filter_map(|row| Some((&row.name, row.common_sense.as_ref()?)));
        for (name, figures) in scored() {
            let all = [figures.auc, figures.three_way, figures.auc_other_languages, figures.three_way_other_languages];
            writeln!(out, "| {name} | {} |", all.map(cell).join(" | "))?;
        }
        let Some((_, first)) = scored().next() else { return Ok(()) };
        let names: Vec<&str> = scored().map(|(name, _)| name.as_str()).collect();
        writeln!(out, "\nThree labels, share of right ones by kind:\n")?;
        writeln!(out, "| kind | n | {} |\n|---|---|{}", names.join(" | "), "---|".repeat(names.len()))?;
        for (at, (kind, figure)) in first.kinds.iter().enumerate() {
            let of_row =
                |figures: &super::common_sense::CommonSenseFigures| figures.kinds.get(at).and_then(|kind| kind.1);
            let cells: Vec<String> = scored().map(|(_, figures)| short(of_row(figures))).collect();
            writeln!(out, "| {kind} | {} | {} |", figure.map_or(0, |figure| figure.n), cells.join(" | "))?;
        }
        Ok(())
    }

    fn write_packs(&self, out: &mut String) -> std::fmt::Result {
        let (all, with_text) = self.sizes.pack;
        writeln!(out, "\n## Posts of the pack's test split ({all}, {with_text} with text)\n")?;
        writeln!(out, "| | AUC, text | AUC, all parts |\n|---|---|---|")?;
        for LabelRow { name, pack, .. } in &self.rows {
            writeln!(out, "| {name} | {} | {} |", cell(pack.text), cell(pack.fused))?;
        }
        let Some((all, with_text, rated)) = self.sizes.other else { return Ok(()) };
        writeln!(
            out,
            "\n## Other posts of the same making ({all}, {with_text} with text; {rated} rated texts for three labels)\n\n\
             No choice has touched these.\n"
        )?;
        writeln!(out, "| | AUC, text | AUC, all parts | three labels, text |\n|---|---|---|---|")?;
        for LabelRow { name, other, .. } in &self.rows {
            writeln!(out, "| {name} | {} | {} | {} |", cell(other.text), cell(other.fused), cell(other.three_way))?;
        }
        Ok(())
    }

    fn write_semantic(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "\n## Topics: sentences about the same product among the ten nearest\n")?;
        writeln!(out, "By cosine (tests/semantic); chance is {:.3}.\n", self.semantic.chance)?;
        writeln!(out, "| vector | P@10 |\n|---|---|")?;
        for (name, figure) in &self.semantic.rows {
            writeln!(out, "| {name} | {} |", cell(*figure))?;
        }
        Ok(())
    }
}

fn cell(figure: Option<Figure>) -> String {
    let Some(Figure { value, interval, .. }) = figure else { return "–".to_owned() };
    let spread = value.std.map_or_else(String::new, |std| format!(" ± {std:.3}"));
    let interval =
        interval.map_or_else(String::new, |interval| format!(" [{:.3}, {:.3}]", interval.low, interval.high));
    format!("{:.3}{spread}{interval}", value.mean)
}

fn short(figure: Option<Figure>) -> String {
    figure.map_or_else(|| "–".to_owned(), |figure| format!("{:.2}", figure.value.mean))
}
