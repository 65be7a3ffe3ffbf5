use std::collections::BTreeMap;
use std::io::Write;

use serde::Serialize;

use crate::letter::Letter;
use crate::select::Selection;
use crate::text::one_line;
use crate::time::utc;
use crate::topic::{DeadLetterTopic, Scanned};

/// Widest post id and stage in the table, in characters.
const MAX_ID_CHARS: usize = 40;

/// What was listed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Listing {
    /// Letters that are meant.
    pub letters: u64,
    /// Letters that are not.
    pub not_selected: u64,
    /// Letters that are meant and hold only a part of their record.
    pub truncated: u64,
    /// Records that are no dead letters.
    pub unreadable: u64,
    /// Letters that are meant, by reason.
    pub by_reason: BTreeMap<&'static str, u64>,
    /// The same by stage.
    pub by_stage: BTreeMap<String, u64>,
}

impl Listing {
    fn count(&mut self, letter: &Letter) {
        self.letters += 1;
        self.truncated += u64::from(letter.truncation().is_some());
        *self.by_reason.entry(letter.facts.reason.as_str()).or_default() += 1;
        *self.by_stage.entry(one_line(&letter.facts.stage, MAX_ID_CHARS)).or_default() += 1;
    }
}

/// Writes a line for every letter that is meant as it is read, so that any number of them fits; then the counts. With
/// `table` off it only counts. Blocks.
///
/// # Errors
/// Brokers that do not answer, output that cannot be written.
pub fn list(
    topic: &DeadLetterTopic,
    selection: &Selection,
    table: bool,
    output: &mut dyn Write,
) -> anyhow::Result<Listing> {
    let ranges = topic.ranges(selection.since_ms)?;
    let mut listing = Listing::default();
    if table {
        writeln!(
            output,
            "{:<10} {:<20} {:<17} {:<13} {:>7} {:>8}  POST",
            "POSITION", "TIME", "REASON", "STAGE", "REPLAYS", "BYTES"
        )?;
    }
    topic.walk(&ranges, |scanned| {
        let position = scanned.position();
        match scanned {
            Scanned::Letter(letter) if selection.takes(&letter) => {
                listing.count(&letter);
                if table {
                    writeln!(output, "{}", row(&letter))?;
                }
            }
            Scanned::Letter(_) => listing.not_selected += 1,
            Scanned::Unreadable { error, .. } => {
                listing.unreadable += 1;
                if table {
                    writeln!(output, "{:<10} no dead letter: {error}", position.to_string())?;
                }
            }
        }
        Ok(true)
    })?;
    if table {
        writeln!(output, "\n{}", counts(&listing))?;
    }
    Ok(listing)
}

fn row(letter: &Letter) -> String {
    let facts = &letter.facts;
    format!(
        "{:<10} {:<20} {:<17} {:<13} {:>7} {:>8}{} {}",
        letter.position.to_string(),
        utc(letter.time_ms()),
        facts.reason.as_str(),
        one_line(&facts.stage, MAX_ID_CHARS),
        facts.replay_count,
        letter.size_bytes(),
        // Not all of them are here.
        if letter.truncation().is_some() { "!" } else { " " },
        letter.post_id().map_or_else(|| "-".to_owned(), |id| one_line(&id, MAX_ID_CHARS))
    )
}

fn counts(listing: &Listing) -> String {
    let mut text = format!("{} dead letters", listing.letters);
    for (reason, count) in &listing.by_reason {
        text.push_str(&format!("\n  {reason:<17} {count:>7}"));
    }
    if listing.truncated > 0 {
        text.push_str(&format!("\n{} hold only a part of their record (!): it did not fit", listing.truncated));
    }
    if listing.not_selected > 0 {
        text.push_str(&format!("\n{} others are not selected", listing.not_selected));
    }
    if listing.unreadable > 0 {
        text.push_str(&format!("\n{} records of the topic are no dead letters", listing.unreadable));
    }
    text
}
