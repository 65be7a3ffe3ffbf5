//! `jtav inspect`: what an encoder sees of one medium, through the decoders and the networks of the worker.

mod audio;
mod image;
mod text;

pub use audio::{AudioFeatures, AudioInspection, MEL, inspect_audio};
pub use image::{ImageInspection, inspect_image};
pub use text::{TextInspection, TextReaders, WordInspection, inspect_text};

use jtav_media_codecs::{DecodeLimits, MediaFacts, decode_with_facts};
use jtav_model::ModelError;
use jtav_picture::PictureError;
use jtav_schemas::{AbsentReason, Decoded, Modality};
use jtav_signal::SignalError;

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The worker would leave the medium out too.
    #[error("{reason}: {}; a post would be labelled without it", explain(*reason))]
    Absent {
        /// The reason that a record would name.
        reason: AbsentReason,
    },
    /// A text of links, handles or punctuation alone.
    #[error("no word is left of the text; links and handles are no words, and a post would be labelled without it")]
    NoWord,
    /// The clip cannot be transformed.
    #[error("the spectrogram: {0}")]
    Signal(#[from] SignalError),
    /// A network cannot take the input, or the device failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The picture cannot be drawn.
    #[error(transparent)]
    Picture(#[from] PictureError),
}

impl InspectError {
    /// Never: the same bytes give the same answer.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

/// What a person can do about a reason.
fn explain(reason: AbsentReason) -> &'static str {
    match reason {
        AbsentReason::Unsupported => {
            "a known format that is not decoded; use JPEG, PNG, WebP, GIF, or MP3, AAC, FLAC, Ogg Vorbis, WAV"
        }
        AbsentReason::TypeMismatch => "the bytes are not of this kind; `jtav inspect` has audio, image and text",
        AbsentReason::TooLarge => "it goes beyond a limit of the section [media] of the settings",
        _ => "the bytes are damaged, cut off or of no known kind, see whether a player or viewer opens the file",
    }
}

fn decoded(bytes: &[u8], modality: Modality, limits: &DecodeLimits) -> Result<(Decoded, MediaFacts), InspectError> {
    decode_with_facts(bytes, modality, None, limits).map_err(|reason| InspectError::Absent { reason })
}
