//! What a post's page tells, in lines: its label, the reasons, the parts, the words, seconds and cells that weighed.

mod media;
mod said_text;
mod style;
mod view;

use jtav_explain::Explanation;
use jtav_schemas::{Label, Modality};
use jtav_text::terminal::one_line;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

pub use view::{Near, Nearby, Shown, Texts};

use self::style::{BOLD, DIM, note};
use crate::bars::{bar, pull};
use crate::ink::Ink;
use crate::said::{absent, colour, doubt, mood, name, percent, sign, utc};
use crate::wrap::{cut, cut_line, fit, wrap};

/// Fewest columns that are drawn into; a narrower terminal breaks lines itself.
const MIN_WIDTH: usize = 48;
/// Most: longer lines are hard to read.
const MAX_WIDTH: usize = 120;
/// Columns of a bar to each side of its middle.
const HALF_PULL: usize = 10;
/// Characters shown of an id, of a name of a model, of a sentence.
const ID_CHARS: usize = 200;
const SENTENCE_CHARS: usize = 500;
/// Columns of a neighbour's id.
const NEAR_ID_COLUMNS: usize = 18;

/// Everything that there is to tell of a post, in lines of at most `width` columns. In `ink` words are shaded, underlined or put
/// into brackets. Time grows with the texts' length.
pub fn lines(shown: &Shown, width: usize, ink: Ink) -> Vec<Line<'static>> {
    let width = width.clamp(MIN_WIDTH, MAX_WIDTH);
    let explanation = &shown.explanation;
    let mut lines = head(explanation, width);
    lines.extend(probabilities(explanation, width));
    title(&mut lines, "Why");
    for sentence in &explanation.sentences {
        lines.extend(wrap("  · ", &[(one_line(sentence, SENTENCE_CHARS), Style::new())], width));
    }
    let is_there = |modality| explanation.part(modality).is_some_and(|part| part.status == "present");
    if is_there(Modality::Text) || !explanation.words.is_empty() {
        title(&mut lines, "Text");
        lines.extend(said_text::lines(&shown.texts, &explanation.words, width, ink));
    }
    title(&mut lines, "Parts, and how much each pulled");
    lines.extend(parts(explanation, width));
    title(&mut lines, "What was missing");
    lines.extend(missing(explanation, width));
    if is_there(Modality::Audio) {
        title(&mut lines, "Sound");
        lines.extend(media::sound(&explanation.seconds, width));
    }
    if !explanation.moods.is_empty() {
        title(&mut lines, "Mood of the sound");
        lines.extend(moods(explanation));
    }
    if is_there(Modality::Image) {
        title(&mut lines, "Picture");
        lines.extend(media::picture(&explanation.cells));
    }
    lines.extend(neighbours(&shown.nearby, width));
    lines.extend(facts(shown, width));
    lines
}

fn title(lines: &mut Vec<Line<'static>>, title: &str) {
    lines.push(Line::default());
    lines.push(Line::styled(title.to_owned(), BOLD));
}

fn head(explanation: &Explanation, width: usize) -> Vec<Line<'static>> {
    let mut lines = wrap("Post ", &[(one_line(&explanation.post_id, ID_CHARS), BOLD)], width);
    let label = explanation.label;
    let because = match explanation.certain {
        true => "certain: the model keeps its promised accuracy on labels like this one.".to_owned(),
        false => {
            let lang = explanation.lang.as_deref().map(|lang| one_line(lang, 8));
            let because = doubt(explanation.uncertain_because, explanation.threshold, lang.as_deref());
            format!("uncertain because {because}.")
        }
    };
    let verdict = format!("{} {label} {}", sign(label), percent(explanation.confidence));
    let pieces = [(verdict, BOLD.fg(colour(label))), (format!(", {because}"), Style::new())];
    lines.extend(wrap("", &pieces, width));
    lines
}

fn probabilities(explanation: &Explanation, width: usize) -> Vec<Line<'static>> {
    let columns = (width - 24).min(48);
    let line = |label: Label| {
        let share = explanation.probabilities.of(label);
        Line::from(vec![
            Span::raw(format!("  {} {:<9}", sign(label), label.as_str())),
            Span::styled(bar(share, columns), Style::new().fg(colour(label))),
            Span::raw(format!(" {:>6}", percent(share))),
        ])
    };
    let mut lines = vec![Line::default()];
    lines.extend([Label::Positive, Label::Neutral, Label::Negative].map(line));
    lines
}

fn parts(explanation: &Explanation, width: usize) -> Vec<Line<'static>> {
    let contributions = explanation.contributions;
    let of = |modality| {
        contributions.map(|all| match modality {
            Modality::Text => all.text,
            Modality::Audio => all.audio,
            Modality::Image => all.image,
        })
    };
    let shares: f32 = explanation.parts.iter().map(|part| part.share).sum();
    let mut rows: Vec<(&str, f32, Option<f32>, String)> = Vec::new();
    for part in &explanation.parts {
        let status = match part.status.as_str() {
            "present" if part.truncated => "read in part".to_owned(),
            "present" => "read".to_owned(),
            "absent" => "–".to_owned(),
            status => one_line(&status.replace('_', " "), 24),
        };
        rows.push((name(part.modality), part.share, of(part.modality), status));
    }
    if let Some(contributions) = contributions {
        let together = if shares > 0.0 { (1.0 - shares).clamp(0.0, 1.0) } else { 0.0 };
        rows.push(("together", together, Some(contributions.interaction), String::new()));
    }
    let most = rows.iter().filter_map(|row| row.2).map(f32::abs).filter(|size| size.is_finite()).fold(0.0, f32::max);
    let mut lines = Vec::new();
    if contributions.is_some() {
        let poles = format!("  {:9} {:>6} {:>6}  {:<10} {:>10}", "", "share", "", "− negative", "positive +");
        lines.push(Line::styled(poles, DIM));
    }
    for (name, share, value, status) in rows {
        lines.push(cut_line(part_row(name, share, value, most, status), width));
    }
    if contributions.is_none() {
        lines.extend(note("This model does not say how much each part contributed.", width));
    }
    lines
}

fn part_row(name: &'static str, share: f32, value: Option<f32>, most: f32, status: String) -> Line<'static> {
    let Some(value) = value else { return Line::from(format!("  {name:9} {status}")) };
    let label = if value < 0.0 { Label::Negative } else { Label::Positive };
    let relative = if most > 0.0 { value / most } else { 0.0 };
    // The sign that other numbers here have.
    let number = format!("{value:+.2}").replace('-', "−");
    Line::from(vec![
        Span::raw(format!("  {name:9} {:>6} {number:>6}  ", percent(share))),
        Span::styled(pull(relative, HALF_PULL), Style::new().fg(colour(label))),
        Span::raw(format!("  {status}")),
    ])
}

/// What took no part, or only in part.
fn missing(explanation: &Explanation, width: usize) -> Vec<Line<'static>> {
    let mut said = Vec::new();
    for part in &explanation.parts {
        let name = name(part.modality);
        match part.status.as_str() {
            "present" if part.truncated => {
                said.push(format!("The {name} was read in part: it is longer than is read."));
            }
            "present" => {}
            status => {
                let why = absent(status).map_or_else(|| one_line(status, 40), str::to_owned);
                said.push(format!("The {name} {why}."));
            }
        }
    }
    if said.is_empty() {
        return note("All three parts were there and were read.", width);
    }
    said.into_iter().flat_map(|line| wrap("  ", &[(line, Style::new())], width)).collect()
}

fn moods(explanation: &Explanation) -> Vec<Line<'static>> {
    let line = |tag: &str, probability: f32| {
        let said = mood(tag).map_or_else(|| one_line(tag, 20), str::to_owned);
        Line::from(format!("  {} {} {:>6}", fit(&said, 16), bar(probability, 20), percent(probability)))
    };
    explanation.moods.iter().map(|mood| line(&mood.tag, mood.probability)).collect()
}

fn neighbours(nearby: &Nearby, width: usize) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    let (by, found, footer) = match nearby {
        Nearby::NotAsked => return lines,
        Nearby::Missing(why) => {
            title(&mut lines, "Posts like this one");
            lines.extend(note(&one_line(why, SENTENCE_CHARS), width));
            return lines;
        }
        Nearby::Found { by, posts, searched, reaches_back_to_ms } => {
            let back = reaches_back_to_ms.and_then(utc).map_or_else(String::new, |time| format!(", back to {time}"));
            (*by, posts, format!("{searched} searched{back}."))
        }
    };
    title(&mut lines, &format!("Posts like this one, by {by}"));
    if found.is_empty() {
        lines.extend(note("Nothing else is in memory to compare with.", width));
    }
    for near in found {
        let id = fit(&one_line(&near.post_id, ID_CHARS), NEAR_ID_COLUMNS);
        let doubt = if near.is_certain { ' ' } else { '?' };
        let text = near.excerpt.as_deref().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        let left = width.saturating_sub(14 + NEAR_ID_COLUMNS);
        lines.push(Line::from(vec![
            Span::raw(format!("  {:>5.2} ", near.similarity)),
            Span::styled(format!("{}{doubt}", sign(near.label)), Style::new().fg(colour(near.label))),
            Span::raw(format!(" {id} {}", cut(&one_line(&text, 4 * left), left))),
        ]));
    }
    lines.extend(note(&footer, width));
    lines
}

fn facts(shown: &Shown, width: usize) -> Vec<Line<'static>> {
    let explanation = &shown.explanation;
    let source = shown.source.map(|(partition, offset)| format!("partition {partition}, offset {offset}"));
    let facts = [
        (
            "Language",
            explanation.lang.as_deref().map(|lang| if lang == "zxx" { "no words".into() } else { one_line(lang, 8) }),
        ),
        ("Revision", Some(explanation.revision.to_string())),
        ("Posted", shown.posted_at_ms.and_then(utc)),
        ("Labelled", utc(shown.labelled_at_ms)),
        ("Model", Some(one_line(&explanation.model_version, ID_CHARS))),
        ("Source", source),
    ];
    let mut lines = vec![Line::default()];
    for (name, value) in facts {
        let Some(value) = value else { continue };
        lines.extend(wrap(&format!("{name:9} "), &[(value, Style::new())], width));
    }
    lines
}

#[cfg(test)]
mod tests;
