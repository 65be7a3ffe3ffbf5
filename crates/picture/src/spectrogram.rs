//! A spectrogram with its axes, and over it where an audio encoder listened.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::PictureError;
use crate::canvas::{Area, Sheet, text};

const WIDTH_PX: u32 = 1100;
const HEIGHT_PX: u32 = 560;
/// Height of the strip with the scale of the colours.
const SCALE_PX: u32 = 44;
/// Of the frames around stretches that weighed: a colour that the scale does not have.
const MARK: RGBColor = RGBColor(255, 90, 90);

/// A name on the frequency axis.
#[derive(Debug, Clone, PartialEq)]
pub struct FrequencyTick {
    /// Place on the axis, in bins from the middle of the lowest.
    pub bin: f64,
    /// What stands there, for example `440`.
    pub label: String,
}

/// A stretch of a clip that weighed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MarkedSpan {
    /// Seconds from the beginning of the clip.
    pub from_seconds: f64,
    /// Seconds from the beginning of the clip.
    pub to_seconds: f64,
    /// Share of the attention, which is written over it.
    pub weight: f32,
}

/// What is drawn.
#[derive(Debug, Clone)]
pub struct SpectrogramPlot<'a> {
    /// First line.
    pub title: &'a str,
    /// `[frames, bins]`, time-major, lowest frequency first.
    pub values: &'a [f32],
    /// Bins of a frame.
    pub bins: usize,
    /// Seconds from the middle of one frame to that of the next; the first is at 0.
    pub frame_seconds: f64,
    /// The value of the darkest and of the brightest colour.
    pub range: (f32, f32),
    /// Unit of the values, for the scale.
    pub unit: &'a str,
    /// Names on the frequency axis, lowest first; its own name.
    pub ticks: &'a [FrequencyTick],
    /// Name of the frequency axis, with its unit.
    pub axis: &'a str,
    /// Share of the attention that each second got, drawn as steps over the picture; empty for none.
    pub attention_per_second: &'a [f32],
    /// Stretches that get a frame, the first in the strongest line; what lies beyond the clip is left out.
    pub marked: &'a [MarkedSpan],
}

/// Draws `plot`.
///
/// # Errors
/// No whole frame, a range that is none.
pub fn spectrogram(plot: &SpectrogramPlot) -> Result<Vec<u8>, PictureError> {
    let usable = plot.bins > 0 && !plot.values.is_empty() && plot.values.len().is_multiple_of(plot.bins);
    if !usable || plot.frame_seconds <= 0.0 {
        let values = plot.values.len();
        return Err(PictureError::Input(format!("{values} values do not make frames of {} bins", plot.bins)));
    }
    if plot.range.0.is_nan() || plot.range.1.is_nan() || plot.range.0 >= plot.range.1 {
        return Err(PictureError::Input(format!("colours from {} to {}", plot.range.0, plot.range.1)));
    }
    let mut sheet = Sheet::white(WIDTH_PX, HEIGHT_PX);
    sheet.paint(|area| {
        let (top, rest) = area.split_vertically(SCALE_PX);
        heading(&top, plot)?;
        panel(&rest, plot)
    })?;
    sheet.to_png()
}

/// Title, and what the colours mean.
fn heading(area: &Area, plot: &SpectrogramPlot) -> Result<(), PictureError> {
    let (width, steps) = (area.dim_in_pixel().0 as i32, 120);
    area.draw(&Text::new(plot.title.to_owned(), (16, 14), text(19)))?;
    let (left, top) = (width - 280, 17);
    for step in 0..steps {
        let x = left + step;
        area.draw(&Rectangle::new([(x, top), (x + 1, top + 14)], colour(step as f32 / (steps - 1) as f32).filled()))?;
    }
    let (low, high) = plot.range;
    let right = text(14).pos(Pos::new(HPos::Right, VPos::Top));
    area.draw(&Text::new(format!("{low:.0}"), (left - 6, top), right))?;
    area.draw(&Text::new(format!("{high:.0} {}", plot.unit), (left + steps + 6, top), text(14)))?;
    Ok(())
}

fn panel(area: &Area, plot: &SpectrogramPlot) -> Result<(), PictureError> {
    let frames = plot.values.len() / plot.bins;
    let seconds = frames as f64 * plot.frame_seconds;
    let most = plot.attention_per_second.iter().copied().fold(0.0_f32, f32::max);
    let has_attention = most > 0.0;
    let places = plot.ticks.iter().map(|tick| tick.bin + 0.5).collect();
    let frequency = FrequencyAxis { bins: plot.bins as f64, places };
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(66)
        .right_y_label_area_size(if has_attention { 60 } else { 10 })
        .build_cartesian_2d(0.0..seconds, frequency)?
        // Three quarters of the height, so that the loudest second does not hide the highest notes.
        .set_secondary_coord(0.0..seconds, 0.0..f64::from(most.max(f32::MIN_POSITIVE)) * 4.0 / 3.0);
    chart.draw_series(plot.values.iter().enumerate().map(|(at, &value)| {
        let (frame, bin) = ((at / plot.bins) as f64, (at % plot.bins) as f64);
        let share = (value - plot.range.0) / (plot.range.1 - plot.range.0);
        // The first frame is centred on the beginning of the clip: its first half is padding and not drawn.
        let (left, right) = ((frame - 0.5).max(0.0) * plot.frame_seconds, (frame + 0.5) * plot.frame_seconds);
        Rectangle::new([(left, bin), (right.min(seconds), bin + 1.0)], colour(share).filled())
    }))?;
    let label = |place: &f64| {
        let tick = plot.ticks.iter().find(|tick| (tick.bin + 0.5 - place).abs() < 1e-9);
        tick.map_or_else(String::new, |tick| tick.label.clone())
    };
    chart
        .configure_mesh()
        .disable_mesh()
        .x_labels(12)
        .x_desc("seconds")
        .y_desc(plot.axis)
        .y_label_formatter(&label)
        .label_style(text(15))
        .axis_desc_style(text(16))
        .draw()?;
    for (frame, share) in plot.marked.iter().enumerate().filter_map(|mark| frame_of(mark, seconds, plot.bins)) {
        chart.draw_series(frame)?;
        chart.draw_series([share])?;
    }
    if has_attention {
        chart
            .configure_secondary_axes()
            .y_desc("attention, share of each second")
            .y_labels(6)
            .y_label_formatter(&|share| format!("{share:.2}"))
            .label_style(text(14))
            .axis_desc_style(text(16))
            .draw()?;
        let steps = || {
            plot.attention_per_second
                .iter()
                .enumerate()
                .flat_map(|(second, &share)| [second, second + 1].map(|x| ((x as f64).min(seconds), f64::from(share))))
        };
        // Dark under light, to be seen on every colour.
        chart.draw_secondary_series(LineSeries::new(steps(), BLACK.mix(0.6).stroke_width(5)))?;
        chart.draw_secondary_series(LineSeries::new(steps(), WHITE.stroke_width(2)))?;
    }
    Ok(())
}

/// Width of a strip: each frame so many pixels, within these.
const FRAME_PX: u32 = 8;
const STRIP_WIDTHS_PX: std::ops::RangeInclusive<u32> = 400..=1_200;
/// Height of each bin of a strip.
const BIN_PX: u32 = 2;

/// Draws levels alone, without axes: `[frames, bins]`, lowest bin first and drawn at the bottom, coloured over `range`. From edge to
/// edge it is the time from the first frame to the last.
///
/// # Errors
/// No levels, half a frame, an empty range.
pub fn spectrogram_strip(values: &[f32], bins: usize, range: (f32, f32)) -> Result<Vec<u8>, PictureError> {
    let is_whole = bins > 0 && !values.is_empty() && values.len().is_multiple_of(bins) && range.0 < range.1;
    let size = (u32::try_from(values.len() / bins.max(1)), u32::try_from(bins));
    let (true, (Ok(frames), Ok(rows))) = (is_whole, size) else {
        return Err(PictureError::Input(format!("{} levels in bins of {bins}", values.len())));
    };
    let picture = image::RgbImage::from_fn(frames, rows, |frame, row| {
        let value = values[frame as usize * bins + (rows - 1 - row) as usize];
        let RGBColor(red, green, blue) = colour((value - range.0) / (range.1 - range.0));
        image::Rgb([red, green, blue])
    });
    let width_px = frames.saturating_mul(FRAME_PX).clamp(*STRIP_WIDTHS_PX.start(), *STRIP_WIDTHS_PX.end());
    let height_px = rows * BIN_PX;
    let picture = image::imageops::resize(&picture, width_px, height_px, image::imageops::FilterType::Nearest);
    Sheet { width_px, height_px, pixels: picture.into_raw() }.to_png()
}

type Place = (f64, f64);
type Frame = ([Rectangle<Place>; 2], Text<'static, Place, String>);

/// The frame around a stretch that weighed, and its share; none where it does not lie in the clip.
fn frame_of((rank, span): (usize, &MarkedSpan), seconds: f64, bins: usize) -> Option<Frame> {
    let (from, to) = (span.from_seconds.max(0.0), span.to_seconds.min(seconds));
    // What is no number would become an end of the clip above.
    if span.from_seconds.is_nan() || span.to_seconds.is_nan() || from >= to {
        return None;
    }
    let corners = [(from, 0.0), (to, bins as f64)];
    let width_px = if rank == 0 { 3 } else { 2 };
    // Dark under light, to be seen on every colour.
    let frame = [(BLACK, width_px + 2), (MARK, width_px)]
        .map(|(colour, width_px)| Rectangle::new(corners, colour.stroke_width(width_px)));
    let centred = text(15).color(&MARK).pos(Pos::new(HPos::Center, VPos::Top));
    let place = (f64::midpoint(from, to), bins as f64 - 1.5);
    Some((frame, Text::new(format!("{:.0} %", span.weight * 100.0), place, centred)))
}

/// Bins on a linear scale, with names at places of our choice.
struct FrequencyAxis {
    bins: f64,
    places: Vec<f64>,
}

impl Ranged for FrequencyAxis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        limit.0 + (value / self.bins * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.places.clone()
    }

    fn range(&self) -> Range<f64> {
        0.0..self.bins
    }
}

impl ValueFormatter<f64> for FrequencyAxis {
    fn format(value: &f64) -> String {
        format!("{value:.0}")
    }
}

/// Dark blue at 0 over green to yellow at 1, lighter all the way, so that it also reads in grey.
fn colour(share: f32) -> RGBColor {
    let share = if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
    ViridisRGB::get_color(f64::from(share))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canvas::tests::decoded;

    fn plot<'a>(values: &'a [f32], attention: &'a [f32], ticks: &'a [FrequencyTick]) -> SpectrogramPlot<'a> {
        SpectrogramPlot {
            title: "a test",
            values,
            bins: 4,
            frame_seconds: 0.5,
            range: (-80.0, 0.0),
            unit: "dB",
            ticks,
            axis: "Hz",
            attention_per_second: attention,
            marked: &[],
        }
    }

    fn count(png: &[u8], wanted: RGBColor) -> usize {
        decoded(png).pixels().filter(|pixel| pixel.0 == [wanted.0, wanted.1, wanted.2]).count()
    }

    #[test]
    fn a_loud_bin_is_bright_in_its_share_of_the_picture() {
        let ticks = [FrequencyTick { bin: 0.0, label: "33".to_owned() }];
        let mut values = vec![-80.0_f32; 10 * 4];
        let silent = spectrogram(&plot(&values, &[], &ticks)).unwrap();
        values[5 * 4 + 1] = 0.0;
        let loud = spectrogram(&plot(&values, &[], &ticks)).unwrap();
        let (dark, bright) = (colour(0.0), colour(1.0));
        let cell = count(&loud, bright) - count(&silent, bright);
        let all = count(&silent, dark);
        // One of forty cells, but for the half frame that is not drawn and shared edges.
        assert!(cell > 0 && (all / 46..all / 32).contains(&cell), "{cell} of {all}");
    }

    #[test]
    fn attention_is_drawn_as_a_line_of_light() {
        let values = vec![-80.0_f32; 10 * 4];
        let without = count(&spectrogram(&plot(&values, &[], &[])).unwrap(), colour(0.0));
        let with = count(&spectrogram(&plot(&values, &[0.1, 0.4, 0.2, 0.2, 0.1], &[])).unwrap(), colour(0.0));
        assert!(with < without, "{with} {without}");
    }

    #[test]
    fn a_stretch_that_weighed_gets_a_frame_and_one_beyond_the_clip_none() {
        let values = vec![-80.0_f32; 10 * 4];
        let span = |from_seconds, to_seconds| MarkedSpan { from_seconds, to_seconds, weight: 0.4 };
        let frames = |spans: &[MarkedSpan]| {
            count(&spectrogram(&SpectrogramPlot { marked: spans, ..plot(&values, &[], &[]) }).unwrap(), MARK)
        };
        assert!(frames(&[span(1.0, 2.0)]) > 1_000);
        assert_eq!(frames(&[span(6.0, 7.0), span(2.0, 1.0), span(f64::NAN, f64::NAN)]), 0);
    }

    #[test]
    fn a_strip_has_the_lowest_bin_below_and_time_from_edge_to_edge() {
        let mut values = vec![-80.0_f32; 10 * 4];
        values[9 * 4] = 0.0;
        let strip = decoded(&spectrogram_strip(&values, 4, (-80.0, 0.0)).unwrap());
        assert_eq!(strip.dimensions(), (400, 8));
        let RGBColor(red, green, blue) = colour(1.0);
        assert_eq!(strip.get_pixel(399, 7).0, [red, green, blue]);
        assert_ne!(strip.get_pixel(399, 0).0, [red, green, blue]);
        assert_ne!(strip.get_pixel(0, 7).0, [red, green, blue]);
        for (values, bins) in [(&values[1..], 4), (&values[..0], 4), (&values[..], 0)] {
            assert!(spectrogram_strip(values, bins, (-80.0, 0.0)).is_err());
        }
    }

    #[test]
    fn half_frames_and_empty_ranges_are_errors() {
        assert!(matches!(spectrogram(&plot(&[], &[], &[])), Err(PictureError::Input(_))));
        assert!(matches!(spectrogram(&plot(&[0.0; 5], &[], &[])), Err(PictureError::Input(_))));
        let flat = SpectrogramPlot { range: (0.0, 0.0), ..plot(&[0.0; 4], &[], &[]) };
        assert!(matches!(spectrogram(&flat), Err(PictureError::Input(_))));
    }
}
