//! From decoded samples to what the audio encoder looks at.
//!
//! ```text
//! channels of PCM ─► downmix ─► resample ─► ConstantQ ─► to_db ─► segments
//!                                          MelSpectrogram ─► power_to_db ─┘
//!                                                         └─► Mfcc
//! samples and decibels ─► ClipStatistics: one vector for the whole clip
//! ```
//!
//! On a GPU the same comes from products of matrices: [`FrameOperator`] holds them, `jtav-model` multiplies.
//!
//! Everything here is a pure function of its input: no threads, no clocks, no I/O. Two calls with
//! the same samples give the same bits on the same machine; machines with different vector units
//! may differ in the last places, because the FFT library picks its code path at run time.
//!
//! Kernels and FFT plans are built once, when the object is made, and are only read afterwards:
//! [`ConstantQ`], [`MelSpectrogram`], [`Mfcc`], [`ClipStatistics`] and [`CqtFrontEnd`] are `Send + Sync`, and one of each serves
//! a whole process behind an `Arc`. Scratch memory belongs to the call.
//!
//! | clip | what happens |
//! |---|---|
//! | no samples | [`SignalError::EmptyClip`] |
//! | 1 to 1023 samples | one frame, the clip surrounded by zeros |
//! | `n` samples | `1 + n / 1024` frames (integer division), frame `t` centred on sample `1024 t` |
//! | silence | every value is −80 dB |
//! | NaN, infinity, a value above 2³² | [`SignalError::BadSample`] with its position |

mod constant_q;
pub mod constants;
mod cqt_params;
mod error;
mod frames;
mod front_end;
mod harmony;
mod mel;
mod mfcc;
mod moments;
mod pcm;
mod places;
mod resample;
mod spectrogram;
pub mod statistics;
mod tones;

pub use constant_q::ConstantQ;
pub use cqt_params::CqtParams;
pub use error::SignalError;
pub use frames::{DEVICE_RATES_HZ, FrameOperator, Layout};
pub use front_end::CqtFrontEnd;
pub use mel::{MelParams, MelSpectrogram};
pub use mfcc::Mfcc;
pub use pcm::{MAX_ABS_SAMPLE, check_clip, downmix};
pub use resample::{MAX_RATE_HZ, MIN_RATE_HZ, resample, resampled_len};
pub use spectrogram::{Segment, Spectrogram, power_to_db, segments, to_db};
pub use statistics::{ClipStatistics, STATISTICS};
