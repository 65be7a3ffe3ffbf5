//! Media as the serving path decodes them.

use std::sync::LazyLock;
use std::time::Duration;

use jtav_media_codecs::{DecodeLimits, center_crop, decode, image_view};
use jtav_schemas::{Decoded, Modality};
use jtav_settings::{Media, Settings};

/// What the worker allows a medium unless somebody sets it.
static SERVING: LazyLock<Media> = LazyLock::new(|| Settings::default().media);

/// Seconds of a clip that the worker analyses unless somebody sets it: what a network is trained on unless a run is told
/// otherwise.
pub fn served_audio_seconds() -> u32 {
    SERVING.analysed_audio_seconds
}

/// The limits of serving, with as much of a clip as the networks are given.
fn limits(max_audio_seconds: u32) -> DecodeLimits {
    let seconds = |seconds| Duration::from_secs(u64::from(seconds));
    DecodeLimits::new(SERVING.max_pixels, seconds(SERVING.max_decoded_audio_seconds), seconds(max_audio_seconds))
}

/// Mono samples at 22,050 Hz of the first `max_audio_seconds`; else the reason for which a post would go without its clip.
pub fn decode_audio(bytes: &[u8], media_type: Option<&str>, max_audio_seconds: u32) -> Result<Vec<f32>, String> {
    match decode(bytes, Modality::Audio, media_type, &limits(max_audio_seconds)) {
        Ok(Decoded::Audio(pcm)) => Ok(pcm.samples.to_vec()),
        Ok(Decoded::Image(_)) => Err("a picture where a clip should be".to_owned()),
        Err(reason) => Err(reason.to_string()),
    }
}

/// The centre square of a picture whose shorter side was resized to `side`: `[side, side, 3]`, RGB. Serving cuts its
/// 224 pixels out of the middle of the same picture.
pub fn decode_picture(bytes: &[u8], side: usize) -> Result<Vec<u8>, String> {
    let side = u32::try_from(side).map_err(|e| e.to_string())?;
    let view = image_view(bytes, &limits(served_audio_seconds()), side).map_err(|reason| reason.to_string())?;
    let square = center_crop(&view, side);
    if (square.width, square.height) != (side, side) {
        return Err(format!("a view of {} x {} pixels", view.width, view.height));
    }
    Ok(square.pixels.to_vec())
}
