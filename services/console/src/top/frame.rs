//! The frame: every worker in a line, one of them in full. Pure.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Widget as _};

use super::course::{State, Worker};
use super::table::{BAD, DIM, Section, flow, rest, slowest};
use crate::said::{count, figure};
use crate::wrap::{cut, cut_line, fit};

/// From this width on, sections stand in two columns.
const TWO_COLUMNS_FROM: u16 = 150;
/// Columns of a worker's name.
const NAME_COLUMNS: usize = 24;
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);

const HELP: [&str; 14] = [
    "q Esc Ctrl-C    quit",
    "tab → / ⇧tab ←  the next worker, the one before",
    "↑ ↓             move the frame up and down",
    "?               this help, and away again",
    "",
    "queue           items that wait for the stage at this moment",
    "/s mean p99     over the last seconds; – where no post came by",
    "ever            mean since the worker began",
    "errors          failures since then, every attempt counted",
    "gap             received minus settled minus in flight: anything but 0 for a minute is a lost post",
    "breaker         open: intake stopped because posts fail for reasons of our own",
    "open circuits   media hosts that are not asked because their last requests failed",
    "",
    "Every metric is explained in docs/metrics.md, every alert in docs/runbooks.",
];

/// What the screen shows beside what the workers say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) chosen: usize,
    pub(super) scroll: u16,
    pub(super) is_help: bool,
}

/// A line for each worker, and one for all where there are several.
pub(super) fn overview(workers: &[Worker], chosen: Option<usize>, width: usize) -> Vec<Line<'static>> {
    let mut lines: Vec<Line<'static>> =
        workers.iter().enumerate().map(|(at, worker)| row(worker, chosen == Some(at), width)).collect();
    if workers.len() > 1 {
        let here: Vec<_> = workers.iter().filter_map(Worker::figures).collect();
        let rate: f64 = here.iter().map(|figures| figures.received.per_second).sum();
        let lag: f64 = here.iter().map(|figures| figures.lag_records()).sum();
        let answer = format!("{} of {} answer", here.len(), workers.len());
        lines.push(Line::styled(
            format!("  {} {:>7}/s  lag {}", fit(&answer, NAME_COLUMNS + 10), figure(rate), count(lag)),
            DIM,
        ));
    }
    lines
}

fn row(worker: &Worker, is_chosen: bool, width: usize) -> Line<'static> {
    let name = fit(&worker.name, NAME_COLUMNS);
    let mark = if is_chosen { "› " } else { "  " };
    let mut spans = vec![Span::styled(format!("{mark}{name} "), if is_chosen { BOLD } else { Style::new() })];
    match &worker.state {
        State::Waiting => spans.push(Span::styled("asking …", DIM)),
        State::Away(why) => spans.push(Span::styled(format!("does not answer: {why}"), BAD)),
        State::Here(figures) => {
            let (state, style) = match (figures.is_ready, figures.paused.is_empty()) {
                (Some(false), _) => ("not ready", BAD),
                (_, false) => ("stopped", BAD),
                _ => ("ready", Style::new()),
            };
            spans.push(Span::styled(fit(state, 10), style));
            let slow = slowest(figures).map_or_else(String::new, |(stage, mean)| {
                format!("  longest in {} ({} ms)", stage.as_str().replace('_', "-"), figure(mean * 1_000.0))
            });
            spans.push(Span::raw(format!(
                "{:>7}/s  lag {}{slow}",
                figure(figures.received.per_second),
                count(figures.lag_records())
            )));
        }
    }
    cut_line(Line::from(spans), width)
}

/// The worker's name above its sections, where several stand one below the other.
pub(super) fn heading(worker: &Worker) -> Vec<Line<'static>> {
    vec![Line::default(), Line::styled(format!("═ {}", worker.name), BOLD)]
}

/// All sections of a worker, one below the other.
pub(super) fn body(worker: &Worker, width: usize) -> Vec<Line<'static>> {
    let Some(figures) = worker.figures() else { return Vec::new() };
    let mut sections = flow(worker, figures, width);
    sections.extend(rest(figures, width));
    stacked(sections, width)
}

fn stacked(sections: Vec<Section>, width: usize) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for Section { title, lines: below } in sections {
        lines.push(Line::default());
        lines.push(Line::styled(title, BOLD));
        lines.extend(below.into_iter().map(|line| cut_line(line, width)));
    }
    lines
}

/// Draws a screen.
pub(super) fn draw(workers: &[Worker], look: Look, area: Rect, buffer: &mut Buffer) {
    let width = usize::from(area.width);
    let overview = overview(workers, (workers.len() > 1).then_some(look.chosen), width);
    // A list of workers never takes the place of what is said of the chosen one.
    let rows = (overview.len() as u16).min(area.height / 3).max(1);
    let [top, middle, bottom] =
        Layout::vertical([Constraint::Length(rows), Constraint::Min(0), Constraint::Length(1)]).areas(area);
    // The chosen one is always among those that are seen.
    let hidden = (look.chosen as u16 + 1).saturating_sub(rows);
    Paragraph::new(overview).scroll((hidden, 0)).render(top, buffer);
    let footer = cut("q quit   tab worker   ↑↓ move   ? help", width);
    Paragraph::new(Line::styled(footer, DIM)).render(bottom, buffer);
    if look.is_help {
        let help: Vec<Line<'static>> =
            std::iter::once(String::new()).chain(HELP.iter().map(|line| format!("  {line}"))).map(Line::from).collect();
        return Paragraph::new(help).scroll((look.scroll, 0)).render(middle, buffer);
    }
    let Some(worker) = workers.get(look.chosen) else { return };
    let Some(figures) = worker.figures() else { return };
    if area.width < TWO_COLUMNS_FROM {
        return Paragraph::new(body(worker, width)).scroll((look.scroll, 0)).render(middle, buffer);
    }
    let [left, right] = Layout::horizontal([Constraint::Length(80), Constraint::Min(0)]).areas(middle);
    let side = |sections: Vec<Section>, area: Rect| (stacked(sections, usize::from(area.width)), area);
    let (left, right) = (
        side(flow(worker, figures, usize::from(left.width)), left),
        side(rest(figures, usize::from(right.width)), right),
    );
    for (lines, area) in [left, right] {
        Paragraph::new(lines).scroll((look.scroll, 0)).render(area, buffer);
    }
}

/// Lines that can be moved away at most: the last ones stay.
pub(super) fn most_scroll(workers: &[Worker], look: Look, width: u16) -> u16 {
    let lines = if look.is_help {
        HELP.len()
    } else {
        workers.get(look.chosen).map_or(0, |worker| body(worker, usize::from(width)).len())
    };
    u16::try_from(lines).unwrap_or(u16::MAX).saturating_sub(4)
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
