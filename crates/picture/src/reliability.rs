//! The reliability diagram (Niculescu-Mizil & Caruana 2005): what share of the posts with a given score is positive.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::PictureError;
use crate::canvas::{BLUE_INK, INK, RED_INK, Sheet, text};

const WIDTH_PX: u32 = 760;
const HEIGHT_PX: u32 = 640;

/// One bin of the scores; bins are equal parts of `[0, 1]`, in order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReliabilityDot {
    /// Examples in it; an empty bin is left out of the picture.
    pub n: usize,
    /// Mean score, 0 to 1.
    pub mean_score: f64,
    /// Share of positive examples, 0 to 1.
    pub share_positive: f64,
}

/// Bars of the share of positives with their counts, a dot at the mean score of each bin, and the diagonal on which
/// calibrated scores lie.
///
/// # Errors
/// No bin; a value that is no share.
pub fn reliability(title: &str, bins: &[ReliabilityDot]) -> Result<Vec<u8>, PictureError> {
    let is_share = |value: f64| (0.0..=1.0).contains(&value);
    if bins.is_empty() {
        return Err(PictureError::Input("a reliability diagram without a bin".to_owned()));
    }
    if let Some(bin) = bins.iter().find(|bin| bin.n > 0 && !(is_share(bin.mean_score) && is_share(bin.share_positive)))
    {
        return Err(PictureError::Input(format!("{bin:?} holds a value that is no share")));
    }
    let mut sheet = Sheet::white(WIDTH_PX, HEIGHT_PX);
    sheet.paint(|area| {
        let mut chart = ChartBuilder::on(area)
            .caption(title, text(20))
            .margin(14)
            .margin_right(24)
            .x_label_area_size(46)
            .y_label_area_size(56)
            .build_cartesian_2d(0.0..1.0, 0.0..1.06)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE.mix(0.0))
            .x_labels(11)
            .y_labels(11)
            .x_desc("probability of positive (dot: mean of the bin)")
            .y_desc("share that is positive (number: posts in the bin)")
            .label_style(text(15))
            .axis_desc_style(text(16))
            .draw()?;
        let width = 1.0 / bins.len() as f64;
        let filled = || bins.iter().enumerate().filter(|(_, bin)| bin.n > 0);
        chart.draw_series(filled().map(|(index, bin)| {
            let left = index as f64 * width;
            Rectangle::new(
                [(left + 0.08 * width, 0.0), (left + 0.92 * width, bin.share_positive)],
                BLUE_INK.mix(0.35).filled(),
            )
        }))?;
        chart.draw_series(LineSeries::new([(0.0, 0.0), (1.0, 1.0)], INK.mix(0.4).stroke_width(2)))?;
        chart.draw_series(
            filled().map(|(_, bin)| Circle::new((bin.mean_score, bin.share_positive), 6, RED_INK.filled())),
        )?;
        let count = text(14).pos(Pos::new(HPos::Center, VPos::Bottom));
        chart.draw_series(filled().map(|(index, bin)| {
            let middle = (index as f64 + 0.5) * width;
            Text::new(bin.n.to_string(), (middle, bin.share_positive + 0.022), count.clone())
        }))?;
        Ok(())
    })?;
    sheet.to_png()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canvas::tests::decoded;

    fn bin(n: usize, mean_score: f64, share_positive: f64) -> ReliabilityDot {
        ReliabilityDot { n, mean_score, share_positive }
    }

    /// How many pixels have the colour of the dots.
    fn dots(bins: &[ReliabilityDot]) -> usize {
        let RGBColor(red, green, blue) = RED_INK;
        decoded(&reliability("ECE 0.1, n 7", bins).unwrap())
            .pixels()
            .filter(|pixel| pixel.0 == [red, green, blue])
            .count()
    }

    #[test]
    fn each_bin_with_examples_has_a_dot_and_an_empty_one_has_none() {
        let one = dots(&[bin(3, 0.2, 0.1), bin(0, 0.0, 0.0), bin(0, 0.0, 0.0)]);
        let two = dots(&[bin(3, 0.2, 0.1), bin(0, 0.0, 0.0), bin(4, 0.8, 0.6)]);
        assert!(one > 50 && two.abs_diff(2 * one) < one / 2, "{one} {two}");
    }

    #[test]
    fn what_cannot_be_drawn_is_an_error() {
        assert!(matches!(reliability("", &[]), Err(PictureError::Input(_))));
        assert!(matches!(reliability("", &[bin(1, f64::NAN, 0.5)]), Err(PictureError::Input(_))));
        assert!(matches!(reliability("", &[bin(1, 0.5, 1.5)]), Err(PictureError::Input(_))));
    }
}
