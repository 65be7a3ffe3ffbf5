//! Plain sample buffers: what is acceptable in them, and how channels become one.

use crate::SignalError;

/// Largest absolute sample value that is accepted.
///
/// Samples are nominally in [−1, 1], but float files with integer-scaled values up to 32 bits
/// exist and are harmless, since decibels are relative to the clip. Far above that the squares in
/// a power spectrum leave the range of `f32`.
pub const MAX_ABS_SAMPLE: f32 = 4_294_967_296.0;

/// Appends the mean of the channels, as `librosa.to_mono`. One slice a channel, as decoders give them: side by side, so
/// that many samples are added at once.
///
/// # Errors
/// [`SignalError::InvalidParameter`] for zero channels and for channels of different lengths.
pub fn downmix(channels: &[Vec<f32>], mono: &mut Vec<f32>) -> Result<(), SignalError> {
    let Some((first, others)) = channels.split_first() else {
        return Err(SignalError::invalid("channels", "there must be at least one"));
    };
    if others.iter().any(|other| other.len() != first.len()) {
        return Err(SignalError::invalid("channels", "they must be equally long"));
    }
    let start = mono.len();
    mono.extend_from_slice(first);
    let sums = &mut mono[start..];
    for other in others {
        sums.iter_mut().zip(other).for_each(|(sum, x)| *sum += x);
    }
    if !others.is_empty() {
        let share = 1.0 / channels.len() as f32;
        sums.iter_mut().for_each(|sum| *sum *= share);
    }
    Ok(())
}

/// Rejects the first sample that would poison a spectrum.
pub(crate) fn check_samples(samples: &[f32]) -> Result<(), SignalError> {
    // NaN compares false, so this one comparison also catches it.
    let usable = |x: f32| x.abs() <= MAX_ABS_SAMPLE;
    // A search that may stop at each sample looks at one at a time; whole pieces are looked at in parallel.
    let sound = |piece: &[f32]| piece.iter().fold(true, |sound, &x| sound & usable(x));
    if samples.chunks(256).all(sound) {
        return Ok(());
    }
    match samples.iter().position(|&x| !usable(x)) {
        Some(index) => Err(SignalError::BadSample { index, value: samples[index] }),
        None => Ok(()),
    }
}

/// Whether a clip can be transformed.
///
/// # Errors
/// [`SignalError::EmptyClip`]; [`SignalError::BadSample`] for the first sample that would poison a spectrum.
pub fn check_clip(samples: &[f32]) -> Result<(), SignalError> {
    if samples.is_empty() {
        return Err(SignalError::EmptyClip);
    }
    check_samples(samples)
}

/// Copies the part of `samples` that starts at `start` (which may lie before the clip) into
/// `window`, with zeros wherever the clip does not reach.
pub(crate) fn copy_zero_padded(samples: &[f32], start: isize, window: &mut [f32]) {
    let before = usize::try_from(-start).unwrap_or(0).min(window.len());
    let from = usize::try_from(start).unwrap_or(0).min(samples.len());
    let count = (window.len() - before).min(samples.len() - from);
    window[..before].fill(0.0);
    window[before..before + count].copy_from_slice(&samples[from..from + count]);
    window[before + count..].fill(0.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stereo_becomes_the_mean_of_both_channels() {
        let mut mono = vec![9.0];
        downmix(&[vec![1.0, -0.5], vec![0.0, 0.5]], &mut mono).unwrap();
        downmix(&[vec![0.25, -1.0]], &mut mono).unwrap();
        assert_eq!(mono, [9.0, 0.5, 0.0, 0.25, -1.0]);
    }

    #[test]
    fn channels_of_different_lengths_and_none_at_all_are_errors() {
        for channels in [vec![], vec![vec![0.0; 2], vec![0.0; 3]]] {
            let mut mono = Vec::new();
            let refused = downmix(&channels, &mut mono);
            assert!(matches!(refused, Err(SignalError::InvalidParameter { name: "channels", .. })));
            assert!(mono.is_empty());
        }
    }

    #[test]
    fn the_first_bad_sample_is_named() {
        assert_eq!(
            check_samples(&[0.0, f32::INFINITY, f32::NAN]),
            Err(SignalError::BadSample { index: 1, value: f32::INFINITY })
        );
        assert!(matches!(check_samples(&[f32::NAN]), Err(SignalError::BadSample { index: 0, .. })));
        assert_eq!(check_samples(&[1.0, -2.0e9]), Ok(()));
        let mut long = vec![0.5; 1_000];
        assert_eq!(check_samples(&long), Ok(()));
        long[777] = f32::INFINITY;
        assert!(matches!(check_samples(&long), Err(SignalError::BadSample { index: 777, .. })));
    }

    #[test]
    fn a_window_that_hangs_over_either_end_is_filled_with_zeros() {
        let clip = [1.0, 2.0, 3.0];
        let window = |start| {
            let mut out = [9.0; 4];
            copy_zero_padded(&clip, start, &mut out);
            out
        };
        assert_eq!(window(-2), [0.0, 0.0, 1.0, 2.0]);
        assert_eq!(window(1), [2.0, 3.0, 0.0, 0.0]);
        assert_eq!(window(-7), [0.0; 4]);
        assert_eq!(window(5), [0.0; 4]);
    }
}
