//! Media as the serving path decodes them.

use jtav_media_codecs::{DecodeLimits, center_crop, decode, image_view};
use jtav_schemas::{Decoded, Modality};

/// Mono samples at 22,050 Hz; else the reason for which a post would go without its clip.
pub fn decode_audio(bytes: &[u8], media_type: Option<&str>) -> Result<Vec<f32>, String> {
    match decode(bytes, Modality::Audio, media_type, &DecodeLimits::default()) {
        Ok(Decoded::Audio(pcm)) => Ok(pcm.samples.to_vec()),
        Ok(Decoded::Image(_)) => Err("a picture where a clip should be".to_owned()),
        Err(reason) => Err(reason.to_string()),
    }
}

/// The centre square of a picture whose shorter side was resized to `side`: `[side, side, 3]`, RGB. Serving cuts its
/// 224 pixels out of the middle of the same picture.
pub fn decode_picture(bytes: &[u8], side: usize) -> Result<Vec<u8>, String> {
    let side = u32::try_from(side).map_err(|e| e.to_string())?;
    let view = image_view(bytes, &DecodeLimits::default(), side).map_err(|reason| reason.to_string())?;
    let square = center_crop(&view, side);
    if (square.width, square.height) != (side, side) {
        return Err(format!("a view of {} x {} pixels", view.width, view.height));
    }
    Ok(square.pixels.to_vec())
}
