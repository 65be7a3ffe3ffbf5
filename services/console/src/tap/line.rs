//! An event in a line.

use jtav_schemas::{AbsentReason, Label, ModalityStatus, SentimentV1};
use jtav_text::terminal::one_line;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use crate::said::{colour, mood, name, percent, sign, time_of_day};
use crate::wrap::fit;

/// Columns of an id; a longer one pushes what follows.
const ID_COLUMNS: usize = 14;
/// Characters shown of it.
const ID_CHARS: usize = 80;
/// Words shown, and characters of each.
const WORDS: usize = 3;
const WORD_CHARS: usize = 30;
/// A mood is named from this probability on.
const MOOD_FROM: f32 = 0.35;

const DIM: Style = Style::new().add_modifier(Modifier::DIM);

/// Time (UTC), label, confidence with `?` where it is not certain, post, words, mood, parts that failed.
pub(super) fn label_line(sentiment: &SentimentV1) -> Line<'static> {
    let label = sentiment.label;
    let doubt = if sentiment.certain { ' ' } else { '?' };
    let said = format!("{} {:<8} {:>6}{doubt}", sign(label), label.as_str(), percent(sentiment.confidence));
    let words: Vec<String> =
        sentiment.attention.words.iter().take(WORDS).map(|word| one_line(&word.word, WORD_CHARS)).collect();
    let mut spans = vec![
        Span::styled(time_of_day(sentiment.labelled_at_ms), DIM),
        Span::raw(" "),
        Span::styled(said, weight_of(label, sentiment.certain)),
        Span::raw(format!(" {}  {}", id(&sentiment.post_id), words.join(", "))),
    ];
    if let Some(first) = sentiment.moods.first().filter(|mood| mood.probability >= MOOD_FROM) {
        let said = mood(&first.tag).map_or_else(|| one_line(&first.tag, 20), str::to_owned);
        spans.push(Span::styled(format!("  ♪ {said}"), DIM));
    }
    for (modality, status) in sentiment.modalities.iter() {
        if let ModalityStatus::Absent(reason) = status
            && *reason != AbsentReason::Absent
        {
            let reason = reason.as_str().replace('_', " ");
            spans.push(Span::styled(
                format!("  {}: {reason}", name(modality)),
                Style::new().fg(ratatui::style::Color::Yellow),
            ));
        }
    }
    Line::from(spans)
}

fn weight_of(label: Label, is_certain: bool) -> Style {
    let style = Style::new().fg(colour(label));
    if is_certain { style.add_modifier(Modifier::BOLD) } else { style }
}

/// An erasure names no time.
pub(super) fn erasure_line(post_id: &str) -> Line<'static> {
    let said = format!("{:8} × {:<8} {:7}", "", "erased", "");
    Line::from(vec![Span::styled(said, DIM), Span::raw(format!(" {}", id(post_id)))])
}

/// Of a later version, or none of ours.
pub(super) fn unreadable_line(name: &str) -> Line<'static> {
    Line::styled(
        format!("{:8} an event `{}` that this version cannot read; --json shows it", "", one_line(name, 20)),
        DIM,
    )
}

fn id(post_id: &str) -> String {
    let shown = one_line(post_id, ID_CHARS);
    if shown.chars().count() > ID_COLUMNS { shown } else { fit(&shown, ID_COLUMNS) }
}
