//! What was measured over time: panels below each other over one axis of minutes.

use plotters::prelude::*;

use crate::PictureError;
use crate::canvas::{Area, BLUE_INK, INK, RED_INK, Sheet, legend, text};

const WIDTH_PX: u32 = 1120;
const PANEL_HEIGHT_PX: u32 = 230;
/// Inks of the series of a panel, in order; the second is for what was fitted to the first.
const INKS: [RGBColor; 4] = [BLUE_INK, RED_INK, RGBColor(44, 140, 44), RGBColor(148, 103, 189)];

/// One line of a panel.
#[derive(Debug, Clone, PartialEq)]
pub struct TimelineSeries {
    /// Name in the legend, with its unit where it differs from the axis.
    pub name: String,
    /// `(minutes, value)`, in order of time.
    pub points: Vec<(f64, f64)>,
}

/// Lines that share an axis.
#[derive(Debug, Clone, PartialEq)]
pub struct TimelinePanel {
    /// Quantity and unit, written along the axis.
    pub axis: String,
    /// The lines, at most four; one without a point is left out.
    pub series: Vec<TimelineSeries>,
    /// Whether the axis begins at 0, or close below the smallest value.
    pub from_zero: bool,
}

/// Draws the panels, and in each a thin upright line at each of `marks_minutes`.
///
/// # Errors
/// No panel, a panel without a point, a value that is not finite.
pub fn timeline(title: &str, panels: &[TimelinePanel], marks_minutes: &[f64]) -> Result<Vec<u8>, PictureError> {
    let points = || panels.iter().flat_map(points_of);
    let finite = points().all(|(minutes, value)| minutes.is_finite() && value.is_finite());
    if panels.is_empty() || panels.iter().any(|panel| points_of(panel).next().is_none()) || !finite {
        return Err(PictureError::Input("a timeline needs points in every panel, all of them finite".to_owned()));
    }
    let (from, to) = range(points().map(|point| point.0));
    let mut sheet = Sheet::white(WIDTH_PX, PANEL_HEIGHT_PX * panels.len() as u32 + 40);
    sheet.paint(|area| {
        let area = area.titled(title, text(19))?;
        for (area, panel) in area.split_evenly((panels.len(), 1)).iter().zip(panels) {
            draw(area, panel, (from, to.max(from + 1e-3)), marks_minutes)?;
        }
        Ok(())
    })?;
    sheet.to_png()
}

fn points_of(panel: &TimelinePanel) -> impl Iterator<Item = (f64, f64)> {
    panel.series.iter().flat_map(|series| series.points.iter().copied())
}

fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
}

fn draw(area: &Area, panel: &TimelinePanel, (from, to): (f64, f64), marks: &[f64]) -> Result<(), PictureError> {
    let (low, high) = range(points_of(panel).map(|point| point.1));
    let low = if panel.from_zero { low.min(0.0) } else { low };
    let room = ((high - low) * 0.08).max(0.5);
    // Above the lines, so that the legend hides nothing.
    let top = high + 5.0 * room;
    let bottom = if panel.from_zero { low } else { low - room };
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .x_label_area_size(36)
        .y_label_area_size(78)
        .build_cartesian_2d(from..to, bottom..top)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE.mix(0.0))
        .x_labels(16)
        .y_labels(5)
        .x_label_formatter(&|minutes| short(*minutes))
        .y_label_formatter(&|value| short(*value))
        .x_desc("minutes")
        .y_desc(&panel.axis)
        .label_style(text(14))
        .axis_desc_style(text(15))
        .draw()?;
    for minutes in marks.iter().copied().filter(|minutes| (from..=to).contains(minutes)) {
        let line = [(minutes, bottom), (minutes, top)];
        chart.draw_series(LineSeries::new(line, INK.mix(0.25).stroke_width(1)))?;
    }
    for (series, ink) in panel.series.iter().zip(INKS).filter(|(series, _)| !series.points.is_empty()) {
        chart
            .draw_series(LineSeries::new(series.points.iter().copied(), ink.stroke_width(2)))?
            .label(&series.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], ink.stroke_width(2)));
    }
    legend(&mut chart)
}

/// At most two decimals, none that say nothing.
fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canvas::tests::decoded;

    fn panel(points: &[(f64, f64)]) -> TimelinePanel {
        let series = vec![TimelineSeries { name: "resident".to_owned(), points: points.to_vec() }];
        TimelinePanel { axis: "memory [MB]".to_owned(), series, from_zero: false }
    }

    #[test]
    fn every_panel_has_its_height_and_its_line_is_drawn() {
        let one = panel(&[(0.0, 100.0), (1.0, 120.0), (2.0, 90.0)]);
        let shown = decoded(&timeline("soak", &vec![one; 3], &[1.0]).unwrap());
        assert_eq!(shown.dimensions(), (1120, 730));
        let RGBColor(red, green, blue) = BLUE_INK;
        assert!(shown.pixels().filter(|pixel| pixel.0 == [red, green, blue]).count() > 1_000);
    }

    #[test]
    fn a_value_that_never_changes_is_drawn_and_nothing_or_nan_is_an_error() {
        assert!(timeline("flat", &[panel(&[(0.0, 5.0), (1.0, 5.0)])], &[]).is_ok());
        assert!(matches!(timeline("none", &[], &[]), Err(PictureError::Input(_))));
        assert!(matches!(timeline("empty", &[panel(&[])], &[]), Err(PictureError::Input(_))));
        assert!(matches!(timeline("nan", &[panel(&[(0.0, f64::NAN)])], &[]), Err(PictureError::Input(_))));
    }

    #[test]
    fn numbers_along_the_axes_are_short() {
        assert_eq!([0.0, 10.0, 2.5, 1.0 / 3.0].map(short), ["0", "10", "2.5", "0.33"]);
    }
}
