//! Spectrograms as plain arrays: decibels, and the cutting into model inputs.

use crate::constants::FLOOR_DB;

/// Smallest power that counts; librosa's `amin`. Keeps the logarithm finite.
pub(crate) const POWER_FLOOR: f32 = 1e-10;

/// A time-frequency array, time-major.
///
/// What the values are (magnitude, power, dB) is said by the function that returned it.
#[derive(Debug, Clone, PartialEq)]
pub struct Spectrogram {
    /// Number of frames (time).
    pub frames: usize,
    /// Number of bins per frame (frequency), lowest first.
    pub bins: usize,
    /// `[frames, bins]`; frame `t` is `values[t * bins..][..bins]`.
    pub values: Vec<f32>,
}

/// One model input cut out of a [`Spectrogram`].
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// `[frames_per_segment, bins]`, time-major; frames from `valid_frames` on are −80 dB.
    pub values: Vec<f32>,
    /// Frames that come from the clip. At least 1 for the segments of a non-empty spectrogram.
    pub valid_frames: usize,
}

/// Magnitudes to decibels relative to the loudest value of the clip, in [−80, 0]:
/// `10 log10(max(|S|², 1e-10)) − 10 log10(max over the clip)`, clipped at −80; the same as
/// `librosa.amplitude_to_db(S, ref=np.max)` with `amin = 1e-5`.
///
/// A clip in which no value rises above the floor of 1e-10 is silent and becomes −80 everywhere
/// (librosa would call it 0 dB everywhere, that is, as loud as can be).
pub fn to_db(magnitude: &Spectrogram) -> Spectrogram {
    relative_db(magnitude, |s| s * s)
}

/// [`to_db`] for a spectrogram that already holds power, such as a mel spectrogram.
pub fn power_to_db(power: &Spectrogram) -> Spectrogram {
    relative_db(power, |p| p)
}

fn relative_db(spectrogram: &Spectrogram, power: impl Fn(f32) -> f32) -> Spectrogram {
    // `f32::max` drops a NaN and the reference stays finite: an array that a caller built by hand
    // gives decibels too.
    let floored = |&s: &f32| power(s).max(POWER_FLOOR);
    let loudest = spectrogram.values.iter().map(floored).fold(POWER_FLOOR, f32::max);
    let values = if loudest <= POWER_FLOOR {
        vec![FLOOR_DB; spectrogram.values.len()]
    } else {
        let reference_db = 10.0 * loudest.min(f32::MAX).log10();
        let db = |s| (10.0 * f32::log10(floored(s)) - reference_db).clamp(FLOOR_DB, 0.0);
        spectrogram.values.iter().map(db).collect()
    };
    Spectrogram { values, ..*spectrogram }
}

/// Cuts a decibel spectrogram into consecutive, non-overlapping segments of `frames_per_segment`
/// frames (0 counts as 1). The last one is filled up with −80 dB; there is always at least one,
/// and an empty spectrogram gives one that is all padding.
///
/// A remainder can be as short as one frame (a ten-second clip has 216 frames): whoever averages
/// over segments should weight them by `valid_frames`.
pub fn segments(decibels: &Spectrogram, frames_per_segment: usize) -> Vec<Segment> {
    let segment_len = frames_per_segment.max(1) * decibels.bins;
    let padded = |clip: &[f32]| {
        let mut values = clip.to_vec();
        values.resize(segment_len, FLOOR_DB);
        Segment { values, valid_frames: clip.len() / decibels.bins.max(1) }
    };
    if decibels.values.is_empty() {
        return vec![padded(&[])];
    }
    decibels.values.chunks(segment_len.max(1)).map(padded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spectrogram(frames: usize, bins: usize, value: impl Fn(usize) -> f32) -> Spectrogram {
        Spectrogram { frames, bins, values: (0..frames * bins).map(value).collect() }
    }

    #[test]
    fn decibels_are_relative_to_the_loudest_value_and_stop_at_minus_eighty() {
        let db = to_db(&Spectrogram { frames: 1, bins: 4, values: vec![2.0, 0.2, 2e-4, 0.0] });
        let expected = [0.0, -20.0, -80.0, -80.0];
        assert!(db.values.iter().zip(expected).all(|(got, want)| (got - want).abs() < 1e-4), "{db:?}");
    }

    #[test]
    fn power_and_magnitude_agree_on_the_same_clip() {
        let magnitude = spectrogram(3, 5, |i| 0.1 + i as f32);
        let power = spectrogram(3, 5, |i| (0.1 + i as f32).powi(2));
        let (a, b) = (to_db(&magnitude), power_to_db(&power));
        assert!(a.values.iter().zip(&b.values).all(|(a, b)| (a - b).abs() < 1e-4));
    }

    #[test]
    fn silence_and_what_lies_below_the_floor_are_minus_eighty_everywhere() {
        for level in [0.0, 1e-6] {
            assert!(to_db(&spectrogram(4, 3, |_| level)).values.iter().all(|&db| db == FLOOR_DB));
        }
    }

    #[test]
    fn values_no_transform_produces_still_give_decibels() {
        let values = vec![f32::NAN, f32::INFINITY, 1.0];
        let db = to_db(&Spectrogram { frames: 1, bins: 3, values });
        assert_eq!(db.values, [FLOOR_DB, 0.0, FLOOR_DB]);
    }

    #[test]
    fn the_last_segment_is_padded_and_says_how_much_of_it_is_real() {
        let cut = segments(&spectrogram(5, 2, |i| -(i as f32)), 2);
        assert_eq!(cut.iter().map(|s| s.valid_frames).collect::<Vec<_>>(), [2, 2, 1]);
        assert_eq!(cut[1].values, [-4.0, -5.0, -6.0, -7.0]);
        assert_eq!(cut[2].values, [-8.0, -9.0, FLOOR_DB, FLOOR_DB]);
    }

    #[test]
    fn an_exact_multiple_of_the_segment_length_leaves_no_extra_segment() {
        assert_eq!(segments(&spectrogram(4, 2, |_| 0.0), 2).len(), 2);
    }

    #[test]
    fn an_empty_spectrogram_still_gives_one_segment_of_padding() {
        let cut = segments(&spectrogram(0, 3, |_| 0.0), 4);
        assert_eq!(cut, [Segment { values: vec![FLOOR_DB; 12], valid_frames: 0 }]);
    }
}
