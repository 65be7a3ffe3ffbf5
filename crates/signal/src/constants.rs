//! The audio input contract of the model. A checkpoint is trained on exactly these numbers, so
//! changing one of them means training again.

/// Sample rate of everything the front end sees, in Hz.
pub const SAMPLE_RATE_HZ: u32 = 22_050;

/// Distance between two frames, in samples (46.4 ms).
pub const HOP_LENGTH: usize = 1_024;

/// Frequency bins per frame, for both the constant-Q and the mel spectrogram.
pub const BINS: usize = 96;

/// Frames per model input: ⌊10 s · 22050 / 1024⌋, as in the JTAV authors' code. Centred framing
/// gives a clip of exactly ten seconds 216 frames, one more than a segment holds.
pub const SEGMENT_FRAMES: usize = 215;

/// Bins per octave of the constant-Q transform; 96 bins are eight octaves.
pub const BINS_PER_OCTAVE: usize = 12;

/// Centre of the lowest constant-Q bin, in Hz: the note C1. The highest is 7902 Hz.
pub const F_MIN_HZ: f64 = 32.703;

/// Window and FFT length of the mel spectrogram, in samples.
pub const N_FFT: usize = 2_048;

/// Bands of the mel spectrogram under the cepstral coefficients; `librosa.feature.mfcc`'s default.
pub const MFCC_MELS: usize = 128;

/// Mel-frequency cepstral coefficients of a frame; `librosa.feature.mfcc`'s default.
pub const MFCC_COEFFICIENTS: usize = 20;

/// The lowest value of a decibel spectrogram, and the value of padding. The loudest is 0 dB.
pub const FLOOR_DB: f32 = -80.0;
