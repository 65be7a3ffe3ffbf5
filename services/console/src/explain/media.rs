//! Where in the clip and in the picture the reason lies.

use jtav_explain::{CELLS_PER_ROW, CellWeight, Second};
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};

use super::style::DIM;
use crate::bars::{shade, strength};
use crate::said::{clock, clock_end, percent};
use crate::wrap::wrap;

/// Columns of the strip at most.
const MAX_STRIP: usize = 60;
/// Of a cell by its strength, of the table of 256 colours.
const GLOW: [u8; 5] = [240, 187, 180, 208, 202];
/// Rows of cells that have a place beside the grid.
const NAMED_CELLS: usize = CELLS_PER_ROW as usize;

/// A strip from the beginning of the clip to the end of its last stretch that weighed: the record says no more of its length.
pub(crate) fn sound(seconds: &[Second], width: usize) -> Vec<Line<'static>> {
    let end = seconds.iter().map(|span| span.end_seconds).filter(|end| end.is_finite()).fold(0.0, f32::max);
    if end <= 0.0 {
        return vec![Line::styled("  No stretch of the clip stands out.", DIM)];
    }
    let columns = (width - 16).min(MAX_STRIP);
    let most = seconds.iter().map(|span| span.weight).fold(0.0, f32::max);
    let mut weights = vec![0.0_f32; columns];
    for span in seconds {
        let place = |seconds: f32| (seconds / end * columns as f32).clamp(0.0, columns as f32);
        let (from, to) = (place(span.start_seconds).floor() as usize, place(span.end_seconds).ceil() as usize);
        let from = from.min(columns - 1);
        for weight in &mut weights[from..to.max(from + 1)] {
            *weight = weight.max(span.weight);
        }
    }
    let mut strip = vec![Span::raw("  0:00 ")];
    strip.extend(weights.iter().map(|weight| glowing(shade(*weight, most).to_string(), *weight, most)));
    strip.push(Span::raw(format!(" {}…", clock(end))));
    let named: Vec<String> = seconds
        .iter()
        .map(|span| format!("{}–{} {}", clock(span.start_seconds), clock_end(span.end_seconds), percent(span.weight)))
        .collect();
    let mut lines = vec![Line::from(strip)];
    lines.extend(wrap("  weighed most: ", &[(named.join(", "), DIM)], width));
    lines
}

/// The grid of cells over the centre square, and those that weighed beside it.
pub(crate) fn picture(cells: &[CellWeight]) -> Vec<Line<'static>> {
    let most = cells.iter().map(|cell| cell.weight).fold(0.0, f32::max);
    let weight_at = |row: u32, column: u32| {
        let here = cells.iter().filter(|cell| (cell.row, cell.column) == (row, column));
        here.map(|cell| cell.weight).fold(0.0, f32::max)
    };
    let named = |at: usize| {
        let cell = cells.get(at).filter(|_| at < NAMED_CELLS)?;
        Some(format!("   row {} column {}  {:>6}", cell.row + 1, cell.column + 1, percent(cell.weight)))
    };
    let row = |row: u32| {
        let mut spans = vec![Span::raw("  ")];
        for column in 0..CELLS_PER_ROW {
            let weight = weight_at(row, column);
            let glyph = shade(weight, most).to_string().repeat(2);
            spans.extend([glowing(glyph, weight, most), Span::raw(" ")]);
        }
        spans.extend(named(row as usize).map(|text| Span::styled(text, DIM)));
        Line::from(spans)
    };
    let mut lines: Vec<Line<'static>> = (0..CELLS_PER_ROW).map(row).collect();
    if cells.is_empty() {
        lines.push(Line::styled("  No cell of the picture stands out.", DIM));
    }
    lines
}

fn glowing(glyph: String, weight: f32, most: f32) -> Span<'static> {
    Span::styled(glyph, Style::new().fg(Color::Indexed(GLOW[strength(weight, most)])))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wrap::columns;

    fn second(start_seconds: f32, end_seconds: f32, weight: f32) -> Second {
        Second { start_seconds, end_seconds, weight, fragment: String::new() }
    }

    fn cell(row: u32, column: u32, weight: f32) -> CellWeight {
        CellWeight { row, column, weight, fragment: String::new() }
    }

    #[test]
    fn seconds_are_a_strip_with_the_heavy_ones_dark() {
        let lines = sound(&[second(15.0, 20.0, 0.5), second(5.0, 10.0, 0.25)], 36);
        assert_eq!(lines[0].to_string(), "  0:00 ·····▒▒▒▒▒·····█████ 0:20…");
        assert_eq!(lines[1].to_string(), "  weighed most: 0:15–0:20 50 %, ");
        assert!(sound(&[], 36)[0].to_string().contains("No stretch"));
        let short = sound(&[second(0.0, 0.01, 0.1), second(59.99, 60.0, 0.4)], 80);
        assert!(
            short[0].to_string().starts_with("  0:00 ░·") && short[0].to_string().ends_with("·█ 1:00…"),
            "{}",
            short[0]
        );
    }

    #[test]
    fn cells_are_a_grid_of_seven_by_seven_with_the_heavy_ones_named() {
        let lines = picture(&[cell(0, 6, 0.4), cell(6, 0, 0.1)]);
        assert_eq!(lines.len(), 7);
        assert_eq!(lines[0].to_string(), "  ·· ·· ·· ·· ·· ·· ██    row 1 column 7    40 %");
        assert_eq!(lines[6].to_string(), "  ░░ ·· ·· ·· ·· ·· ·· ");
    }

    proptest! {
        #[test]
        fn no_span_leaves_its_strip(spans in prop::collection::vec((any::<f32>(), any::<f32>(), any::<f32>()), 0..4)) {
            let seconds: Vec<Second> = spans.iter().map(|(start, end, weight)| second(*start, *end, *weight)).collect();
            prop_assert!(columns(&sound(&seconds, 80)[0].to_string()) <= 100);
            let cells: Vec<CellWeight> = spans.iter().map(|(_, _, weight)| cell(3, 3, *weight)).collect();
            prop_assert!(picture(&cells).len() >= 7);
        }
    }
}
