//! Inputs with a part taken out: what a deletion test asks the networks about.
//!
//! Each takes positions of [`Encoded::attention`](super::Encoded::attention) and leaves the rest as it was.

use std::collections::HashSet;

use crate::networks::{FRAMES_PER_STEP, STEPS, steps_of_frames};
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

    /// The clip with the frames of these time steps at `SILENCE_DB`; as long as before.
    pub fn without_steps(&self, steps: &[usize]) -> Self {
        let mut silenced = self.clone();
        for &step in steps {
            let Some(segment) = silenced.segments.get_mut(step / STEPS) else { continue };
            let first = (step % STEPS) * FRAMES_PER_STEP;
            let last = (first + FRAMES_PER_STEP).min(SEGMENT_FRAMES);
            segment[first * SEGMENT_BINS..last * SEGMENT_BINS].fill(SILENCE_DB);
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
