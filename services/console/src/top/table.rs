//! Sections of a worker's frame. Pure.

use jtav_schemas::{Label, Stage};
use jtav_text::terminal::one_line;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use super::course::Worker;
use super::figures::{Counter, Figures, Partition, StageRow};
use crate::bars::course;
use crate::said::{bytes, colour, count, figure, percent, sign};
use crate::wrap::{fit, wrap};

/// Columns of the course of the rate.
const COURSE_COLUMNS: usize = 40;
/// Partitions that are shown, those that lag most.
const PARTITIONS: usize = 16;
/// Characters of what a label of a metric says.
const VALUE_CHARS: usize = 60;

pub(super) const DIM: Style = Style::new().add_modifier(Modifier::DIM);
pub(super) const BAD: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);

/// A name and what stands below it.
pub(super) struct Section {
    pub(super) title: &'static str,
    pub(super) lines: Vec<Line<'static>>,
}

fn section(title: &'static str, lines: Vec<Line<'static>>) -> Section {
    Section { title, lines }
}

/// What flows, and what it flows through.
pub(super) fn flow(worker: &Worker, figures: &Figures, width: usize) -> Vec<Section> {
    vec![
        section("Posts", posts(worker, figures, width)),
        section("Stages", stages(figures)),
        section("Networks", networks(figures)),
    ]
}

/// What stands beside it.
pub(super) fn rest(figures: &Figures, width: usize) -> Vec<Section> {
    vec![
        section("Lag", lag(figures, width)),
        section("Cache", cache(figures, width)),
        section("Media and decoding", media(figures, width)),
        section("Worker", worker(figures, width)),
    ]
}

fn told(text: &str) -> String {
    one_line(text, VALUE_CHARS)
}

fn said(pieces: Vec<(String, Style)>, width: usize) -> Vec<Line<'static>> {
    wrap("  ", &pieces, width)
}

fn plain(text: String, width: usize) -> Vec<Line<'static>> {
    said(vec![(text, Style::new())], width)
}

fn rated(counter: Counter) -> String {
    format!("{} ({}/s)", count(counter.all), figure(counter.per_second))
}

fn seconds(seconds: f64) -> String {
    if seconds < 1.0 { format!("{} ms", figure(seconds * 1_000.0)) } else { format!("{} s", figure(seconds)) }
}

fn posts(worker: &Worker, figures: &Figures, width: usize) -> Vec<Line<'static>> {
    let rates: Vec<f64> = worker.rates.iter().copied().collect();
    let gap = if figures.gap == 0.0 { Style::new().fg(Color::Green) } else { BAD };
    let head = format!(
        "received {}, in flight {}, parked {}, ",
        rated(figures.received),
        count(figures.in_flight),
        count(figures.parked)
    );
    let mut lines = said(vec![(head, Style::new()), (format!("gap {}", count(figures.gap)), gap)], width);
    if rates.len() > 1 {
        let columns = COURSE_COLUMNS.min(width.saturating_sub(2));
        lines.push(Line::from(vec![
            Span::raw("  "),
            Span::styled(course(&rates, columns), Style::new().fg(Color::Cyan)),
        ]));
    }
    let outcomes: Vec<String> = figures
        .outcomes
        .iter()
        .map(|(outcome, counter)| format!("{} {}", told(&outcome.replace('_', "-")), rated(*counter)))
        .collect();
    if !outcomes.is_empty() {
        lines.extend(plain(outcomes.join(", "), width));
    }
    lines.extend(said(labels(figures), width));
    if let Some((median, p99)) = figures.event_to_label {
        lines.extend(plain(
            format!("from record to label: median {}, 99 of 100 within {}", seconds(median), seconds(p99)),
            width,
        ));
    }
    lines
}

fn labels(figures: &Figures) -> Vec<(String, Style)> {
    let of = |label: Label| figures.labels.iter().find(|(of, _)| *of == label).map_or(0.0, |(_, count)| *count);
    let mut pieces = Vec::new();
    for label in [Label::Positive, Label::Neutral, Label::Negative] {
        pieces.push((format!("{} {label} {}", sign(label), count(of(label))), Style::new().fg(colour(label))));
        pieces.push((", ".to_owned(), Style::new()));
    }
    let certain = figures.certain_share.map_or_else(|| "–".to_owned(), |share| percent(share as f32));
    pieces.push((format!("certain {certain}"), Style::new()));
    pieces
}

fn stages(figures: &Figures) -> Vec<Line<'static>> {
    let head = format!(
        "  {:14}{:>6}{:>10}{:>8}{:>9}{:>9}{:>10}{:>8}",
        "", "queue", "posts", "/s", "mean ms", "p99 ms", "ever ms", "errors"
    );
    let mut lines = vec![Line::styled(head, DIM)];
    lines.extend(figures.stages.iter().map(stage));
    lines
}

fn stage(row: &StageRow) -> Line<'static> {
    let ms = |seconds: Option<f64>| seconds.map_or_else(|| "–".to_owned(), |seconds| figure(seconds * 1_000.0));
    let queue = row.queue.map_or_else(String::new, count);
    let errors = if row.errors > 0.0 { Style::new().fg(Color::Yellow) } else { Style::new() };
    let name = row.stage.as_str().replace('_', "-");
    let text = format!(
        "  {name:14}{queue:>6}{:>10}{:>8}{:>9}{:>9}{:>10}",
        count(row.posts.all),
        figure(row.posts.per_second),
        ms(row.now.map(|now| now.0)),
        ms(row.now.map(|now| now.1)),
        ms(row.mean),
    );
    Line::from(vec![Span::raw(text), Span::styled(format!("{:>8}", count(row.errors)), errors)])
}

fn networks(figures: &Figures) -> Vec<Line<'static>> {
    if figures.networks.is_empty() {
        return vec![Line::styled("  no batch yet", DIM)];
    }
    let ms = |seconds: Option<f64>| seconds.map_or_else(|| "–".to_owned(), |seconds| figure(seconds * 1_000.0));
    let mut lines = vec![Line::styled(
        format!("  {:14}{:>10}{:>8}{:>9}{:>9}{:>11}", "", "batches", "/s", "items", "wait ms", "forward ms"),
        DIM,
    )];
    for network in &figures.networks {
        let items = network.items_of_a_batch.map_or_else(|| "–".to_owned(), figure);
        lines.push(Line::from(format!(
            "  {:14}{:>10}{:>8}{items:>9}{:>9}{:>11}",
            told(&network.model),
            count(network.batches.all),
            figure(network.batches.per_second),
            ms(network.wait_seconds),
            ms(network.forward_seconds),
        )));
    }
    lines
}

fn lag(figures: &Figures, width: usize) -> Vec<Line<'static>> {
    let mut partitions: Vec<&Partition> = figures.partitions.iter().collect();
    if partitions.is_empty() {
        return vec![Line::styled("  no partition is this worker's", DIM)];
    }
    let mut lines =
        plain(format!("{} records behind, {} partitions", count(figures.lag_records()), partitions.len()), width);
    // By lag to choose, then again in their order.
    let mut heaviest = partitions.clone();
    heaviest.sort_by(|one, other| other.lag_records.total_cmp(&one.lag_records));
    heaviest.truncate(PARTITIONS);
    let hidden = partitions.len() - heaviest.len();
    partitions.retain(|partition| heaviest.iter().any(|heavy| heavy.id == partition.id));
    for row in partitions.chunks(((width.saturating_sub(2)) / 26).max(1)) {
        let cells = row.iter().map(|partition| {
            let age = partition
                .lag_seconds
                .filter(|age| *age > 0.0)
                .map_or_else(String::new, |age| format!(", {}", seconds(age)));
            fit(&format!("{}: {}{age}", one_line(&partition.id, 12), count(partition.lag_records)), 25)
        });
        lines.push(Line::from(format!("  {}", cells.collect::<Vec<_>>().join(" "))));
    }
    if hidden > 0 {
        lines.push(Line::styled(format!("  and {hidden} that lag less"), DIM));
    }
    lines
}

fn cache(figures: &Figures, width: usize) -> Vec<Line<'static>> {
    let cache = &figures.cache;
    let asked = cache.hits.all + cache.misses.all;
    let share =
        if asked > 0.0 { format!(", {} found", percent((cache.hits.all / asked) as f32)) } else { String::new() };
    plain(
        format!(
            "hits {}, misses {}{share}; {} held, {} dropped; {} URLs known",
            rated(cache.hits),
            rated(cache.misses),
            bytes(cache.bytes),
            count(cache.evictions),
            count(cache.urls),
        ),
        width,
    )
}

fn media(figures: &Figures, width: usize) -> Vec<Line<'static>> {
    let (media, decode) = (&figures.media, &figures.decode);
    let mut lines = plain(
        format!(
            "fetched {}, {} ({}/s); {} on their way",
            rated(media.fetched),
            bytes(media.bytes.all),
            bytes(media.bytes.per_second),
            bytes(media.inflight_bytes),
        ),
        width,
    );
    let open = if media.open_circuits > 0.0 { Style::new().fg(Color::Yellow) } else { Style::new() };
    let circuits = format!(
        "{} hosts not asked for now (open circuits), {} downloads not begun",
        count(media.open_circuits),
        count(media.refusals)
    );
    lines.extend(said(vec![(circuits, open)], width));
    let ends: Vec<String> = decode
        .ends
        .iter()
        .map(|(cause, ends)| format!("{} {}", told(&cause.replace('_', " ")), count(*ends)))
        .collect();
    let ends = if ends.is_empty() { "none".to_owned() } else { ends.join(", ") };
    let replaced =
        decode.replacement_seconds.map_or_else(String::new, |mean| format!(", replaced in {}", seconds(mean)));
    let workers = format!(
        "decode: {} wait; workers that ended with a medium in hand: {ends}{replaced}; fork servers started {}",
        count(decode.queue),
        count(decode.fork_servers)
    );
    lines.extend(plain(workers, width));
    lines
}

fn worker(figures: &Figures, width: usize) -> Vec<Line<'static>> {
    let mut pieces = vec![match figures.is_ready {
        Some(true) => ("ready".to_owned(), Style::new().fg(Color::Green)),
        Some(false) => ("not ready".to_owned(), BAD),
        None => ("readiness unknown".to_owned(), DIM),
    }];
    let breaker = if figures.paused.iter().any(|cause| cause == "breaker") {
        ("breaker open", BAD)
    } else {
        ("breaker closed", Style::new())
    };
    pieces.push((", ".to_owned(), Style::new()));
    pieces.push((breaker.0.to_owned(), breaker.1));
    let others: Vec<String> =
        figures.paused.iter().filter(|cause| *cause != "breaker").map(|cause| told(cause)).collect();
    if !others.is_empty() {
        pieces.push((format!(", intake stopped: {}", others.join(", ")), BAD));
    }
    pieces.push((format!(", pipeline restarted {} times", count(figures.restarts)), Style::new()));
    let mut lines = said(pieces, width);
    for (sink, errors) in &figures.write_errors {
        lines.extend(said(
            vec![(format!("writes to {} failed: {}", told(sink), rated(*errors)), Style::new().fg(Color::Yellow))],
            width,
        ));
    }
    let facts = [("version", &figures.version), ("model", &figures.model), ("device", &figures.device)];
    let facts: Vec<String> =
        facts.into_iter().filter_map(|(name, value)| Some(format!("{name} {}", told(value.as_deref()?)))).collect();
    if !facts.is_empty() {
        lines.extend(said(vec![(facts.join(", "), DIM)], width));
    }
    lines
}

/// Where posts wait longest, for the line of the overview: the stage whose mean is the largest.
pub(super) fn slowest(figures: &Figures) -> Option<(Stage, f64)> {
    let now = figures.stages.iter().filter_map(|row| Some((row.stage, row.now?.0)));
    now.max_by(|one, other| one.1.total_cmp(&other.1))
}
