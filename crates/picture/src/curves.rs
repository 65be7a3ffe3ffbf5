//! Training curves: a panel per network.

use plotters::prelude::*;

use crate::PictureError;
use crate::canvas::{BLUE_INK, INK, RED_INK, Sheet, legend, text};

const PANEL_WIDTH_PX: u32 = 560;
const PANEL_HEIGHT_PX: u32 = 380;

/// The curves of one network.
#[derive(Debug, Clone, PartialEq)]
pub struct CurvePanel {
    /// Line above the panel.
    pub title: String,
    /// `(epoch, training loss, validation loss)`, epochs from 1.
    pub points: Vec<(usize, f64, f64)>,
    /// Epoch whose weights were kept.
    pub kept_epoch: usize,
}

/// Draws up to two panels a row: training loss, validation loss, and a line at the epoch that was kept.
///
/// # Errors
/// No panel, a panel without a point, a loss that is not finite.
pub fn curves(panels: &[CurvePanel]) -> Result<Vec<u8>, PictureError> {
    let finite = |point: &(usize, f64, f64)| point.1.is_finite() && point.2.is_finite();
    if panels.is_empty() || panels.iter().any(|panel| panel.points.is_empty() || !panel.points.iter().all(finite)) {
        return Err(PictureError::Input("curves need at least one point, all of them finite".to_owned()));
    }
    let columns = panels.len().min(2);
    let rows = panels.len().div_ceil(columns);
    let mut sheet = Sheet::white(PANEL_WIDTH_PX * columns as u32, PANEL_HEIGHT_PX * rows as u32);
    sheet.paint(|area| {
        for (area, panel) in area.split_evenly((rows, columns)).iter().zip(panels) {
            draw(area, panel)?;
        }
        Ok(())
    })?;
    sheet.to_png()
}

fn draw(area: &crate::canvas::Area, panel: &CurvePanel) -> Result<(), PictureError> {
    let losses = || panel.points.iter().flat_map(|point| [point.1, point.2]);
    let (low, high) =
        losses().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), loss| (low.min(loss), high.max(loss)));
    let room = ((high - low) * 0.08).max(1e-3);
    let last = panel.points.iter().map(|point| point.0).max().unwrap_or(1);
    let mut chart = ChartBuilder::on(area)
        .caption(&panel.title, text(17))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(58)
        .build_cartesian_2d(0.5..last as f64 + 0.5, low - room..high + room)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE.mix(0.0))
        .x_labels(last.min(12))
        .x_label_formatter(&|epoch| if epoch.fract() == 0.0 { format!("{epoch:.0}") } else { String::new() })
        .y_label_formatter(&|loss| format!("{loss:.3}"))
        .x_desc("epoch")
        .y_desc("loss")
        .label_style(text(14))
        .axis_desc_style(text(15))
        .draw()?;
    let kept = panel.kept_epoch as f64;
    chart
        .draw_series(LineSeries::new([(kept, low - room), (kept, high + room)], INK.mix(0.5).stroke_width(1)))?
        .label("kept")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], INK.mix(0.5)));
    type Of = fn(&(usize, f64, f64)) -> f64;
    let series: [(&str, RGBColor, Of); 2] =
        [("training", BLUE_INK, |point| point.1), ("validation", RED_INK, |point| point.2)];
    for (name, colour, of) in series {
        let points = || panel.points.iter().map(|point| (point.0 as f64, of(point)));
        chart
            .draw_series(LineSeries::new(points(), colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
        // A curve of one epoch is no line.
        chart.draw_series(points().map(|point| Circle::new(point, 3, colour.filled())))?;
    }
    legend(&mut chart)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canvas::tests::decoded;

    fn panel(points: &[(usize, f64, f64)]) -> CurvePanel {
        CurvePanel { title: "text".to_owned(), points: points.to_vec(), kept_epoch: 1 }
    }

    #[test]
    fn one_network_is_one_panel_and_four_are_two_rows_of_two() {
        let one = panel(&[(1, 0.7, 0.6), (2, 0.5, 0.55)]);
        assert_eq!(decoded(&curves(std::slice::from_ref(&one)).unwrap()).dimensions(), (560, 380));
        assert_eq!(decoded(&curves(&vec![one; 4]).unwrap()).dimensions(), (1120, 760));
    }

    #[test]
    fn a_single_epoch_is_drawn_and_an_empty_curve_is_an_error() {
        let RGBColor(red, green, blue) = RED_INK;
        let shown = decoded(&curves(&[panel(&[(1, 0.7, 0.6)])]).unwrap());
        assert!(shown.pixels().filter(|pixel| pixel.0 == [red, green, blue]).count() > 10);
        assert!(matches!(curves(&[]), Err(PictureError::Input(_))));
        assert!(matches!(curves(&[panel(&[])]), Err(PictureError::Input(_))));
        assert!(matches!(curves(&[panel(&[(1, f64::NAN, 0.5)])]), Err(PictureError::Input(_))));
    }
}
