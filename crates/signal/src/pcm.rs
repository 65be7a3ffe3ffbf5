//! Plain sample buffers: what is acceptable in them, and how channels become one.

use crate::SignalError;

/// Largest absolute sample value that is accepted.
///
/// Samples are nominally in [−1, 1], but float files with integer-scaled values up to 32 bits
/// exist and are harmless, since decibels are relative to the clip. Far above that the squares in
/// a power spectrum leave the range of `f32`.
pub const MAX_ABS_SAMPLE: f32 = 4_294_967_296.0;

/// Mean of the channels of interleaved samples, as `librosa.to_mono`; length `samples / channels`.
///
/// # Errors
/// [`SignalError::InvalidParameter`] for zero channels, [`SignalError::PartialFrame`] if the last
/// frame is incomplete (a truncated decode, where guessing would swap channels).
pub fn downmix(interleaved: &[f32], channels: usize) -> Result<Vec<f32>, SignalError> {
    match channels {
        0 => Err(SignalError::invalid("channels", "there must be at least one")),
        1 => Ok(interleaved.to_vec()),
        _ if !interleaved.len().is_multiple_of(channels) => {
            Err(SignalError::PartialFrame { samples: interleaved.len(), channels })
        }
        _ => {
            let share = 1.0 / channels as f32;
            Ok(interleaved.chunks_exact(channels).map(|frame| frame.iter().sum::<f32>() * share).collect())
        }
    }
}

/// Rejects the first sample that would poison a spectrum.
pub(crate) fn check_samples(samples: &[f32]) -> Result<(), SignalError> {
    // NaN compares false, so this one comparison also catches it.
    let usable = |x: f32| x.abs() <= MAX_ABS_SAMPLE;
    match samples.iter().position(|&x| !usable(x)) {
        Some(index) => Err(SignalError::BadSample { index, value: samples[index] }),
        None => Ok(()),
    }
}

/// [`check_samples`] for transforms, which also need at least one sample.
pub(crate) fn check_clip(samples: &[f32]) -> Result<(), SignalError> {
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
        assert_eq!(downmix(&[1.0, 0.0, -0.5, 0.5], 2).unwrap(), [0.5, 0.0]);
        assert_eq!(downmix(&[0.25, -1.0], 1).unwrap(), [0.25, -1.0]);
    }

    #[test]
    fn a_truncated_frame_and_zero_channels_are_errors() {
        assert_eq!(downmix(&[0.0; 5], 2), Err(SignalError::PartialFrame { samples: 5, channels: 2 }));
        assert!(matches!(downmix(&[0.0; 4], 0), Err(SignalError::InvalidParameter { name: "channels", .. })));
    }

    #[test]
    fn the_first_bad_sample_is_named() {
        assert_eq!(
            check_samples(&[0.0, f32::INFINITY, f32::NAN]),
            Err(SignalError::BadSample { index: 1, value: f32::INFINITY })
        );
        assert!(matches!(check_samples(&[f32::NAN]), Err(SignalError::BadSample { index: 0, .. })));
        assert_eq!(check_samples(&[1.0, -2.0e9]), Ok(()));
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
