//! Inputs with a part taken out: what a deletion test asks the networks about.
//!
//! Each takes positions of [`Encoded::attention`](super::Encoded::attention) and leaves the rest as it was.

use std::collections::HashSet;

use crate::networks::{FRAMES_PER_STEP, STEPS, steps_of_frames};
use jtav_signal::statistics::TIMBRE;

use crate::vectors::{AudioInput, IMAGE_CELLS, IMAGE_SIDE, Rgb224, SEGMENT_BINS, SEGMENT_FRAMES, SILENCE_DB};

const CELLS_PER_SIDE: usize = 7;
const CELL_PX: usize = IMAGE_SIDE / CELLS_PER_SIDE;

impl AudioInput {
    /// Positions of the attention that lie over sound and not over padding, ascending.
    pub fn sounding_steps(&self) -> Vec<usize> {
        let of_segment = |(segment, &frames): (usize, &usize)| {
            let first = segment * STEPS;
            first..first + steps_of_frames(frames)
        };
        self.valid_frames.iter().enumerate().flat_map(of_segment).collect()
    }

    /// The clip with the frames of these time steps at `SILENCE_DB`; as long as before. The statistics of harmony and
    /// register are made again from what is left; those of timbre and loudness stay, as the samples are not here.
    pub fn without_steps(&self, steps: &[usize]) -> Self {
        let mut silenced = self.clone();
        for &step in steps {
            let Some(segment) = silenced.segments.get_mut(step / STEPS) else { continue };
            let first = (step % STEPS) * FRAMES_PER_STEP;
            let last = (first + FRAMES_PER_STEP).min(SEGMENT_FRAMES);
            segment[first * SEGMENT_BINS..last * SEGMENT_BINS].fill(SILENCE_DB);
        }
        if silenced.statistics.len() > TIMBRE {
            silenced.statistics.truncate(TIMBRE);
            silenced.statistics.extend(silenced.harmony());
        }
        silenced
    }
}

impl Rgb224 {
    /// The picture with these cells (7 rows of 7, top left first) painted in the mean colour of the whole picture.
    pub fn without_cells(&self, cells: &[usize]) -> Self {
        let cells: HashSet<usize> = cells.iter().copied().filter(|&cell| cell < IMAGE_CELLS).collect();
        let mean = self.mean_colour();
        let mut pixels = self.as_bytes().to_vec();
        for (at, pixel) in pixels.chunks_exact_mut(3).enumerate() {
            let (row, column) = (at / IMAGE_SIDE / CELL_PX, at % IMAGE_SIDE / CELL_PX);
            if cells.contains(&(row * CELLS_PER_SIDE + column)) {
                pixel.copy_from_slice(&mean);
            }
        }
        Self(pixels.into())
    }

    fn mean_colour(&self) -> [u8; 3] {
        let pixels = self.as_bytes().len() as u64 / 3;
        std::array::from_fn(|channel| {
            let sum: u64 = self.as_bytes().iter().skip(channel).step_by(3).map(|&value| u64::from(value)).sum();
            ((sum + pixels / 2) / pixels) as u8
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_eight_frames_and_the_twenty_seventh_has_seven() {
        let clip = AudioInput::from_spectrogram(&vec![-10.0; (SEGMENT_FRAMES + 60) * SEGMENT_BINS]).unwrap();
        assert_eq!(clip.sounding_steps(), (0..27).chain(27..35).collect::<Vec<_>>());
        let silenced = clip.without_steps(&[1, 26, 28]);
        let silent = |segment: usize| -> Vec<usize> {
            let frames = silenced.segments[segment].chunks_exact(SEGMENT_BINS).enumerate();
            frames.filter(|(_, frame)| frame.iter().all(|&level| level == SILENCE_DB)).map(|(at, _)| at).collect()
        };
        assert_eq!(silent(0), (8..16).chain(208..215).collect::<Vec<_>>());
        assert_eq!(silent(1)[..9], [8, 9, 10, 11, 12, 13, 14, 15, 60]);
        assert_eq!(silenced.valid_frames, clip.valid_frames);
    }

    #[test]
    fn what_is_silenced_is_heard_in_the_harmony_and_not_in_the_timbre() {
        let samples: Vec<f32> = (0..22_050 * 5).map(|at| (at as f32 * 0.2).sin()).collect();
        let levels: Vec<f32> = (0..108 * SEGMENT_BINS).map(|at| -((at * 7 % 61) as f32)).collect();
        let clip = AudioInput::from_sound(&samples, &levels).unwrap();
        assert_eq!(clip.without_steps(&[]).statistics, clip.statistics);
        let silenced = clip.without_steps(&[0, 1, 2, 3]).statistics;
        assert_eq!(silenced[..TIMBRE], clip.statistics[..TIMBRE]);
        assert_ne!(silenced[TIMBRE..], clip.statistics[TIMBRE..]);
        assert_eq!(silenced.len(), clip.statistics.len());
        let alone = AudioInput::from_spectrogram(&levels).unwrap();
        assert!(alone.without_steps(&[0]).statistics.is_empty());
    }

    #[test]
    fn a_cell_is_painted_in_the_mean_colour_and_nothing_else_is() {
        // Red grows from left to right, the other channels stand still.
        let pixels: Vec<u8> = (0..IMAGE_SIDE * IMAGE_SIDE).flat_map(|at| [(at % IMAGE_SIDE) as u8, 7, 9]).collect();
        let picture = Rgb224::new(pixels).unwrap();
        let painted = picture.without_cells(&[8, 48, 1000]);
        for (at, (before, after)) in
            picture.as_bytes().chunks_exact(3).zip(painted.as_bytes().chunks_exact(3)).enumerate()
        {
            let (y, x) = (at / IMAGE_SIDE, at % IMAGE_SIDE);
            let inside = (32..64).contains(&y) && (32..64).contains(&x) || (192..224).contains(&y) && x >= 192;
            assert_eq!(after, if inside { &[112, 7, 9] } else { before }, "{x} {y}");
        }
    }
}
