use std::sync::Arc;
use std::time::Duration;

use jtav_pipeline::{MediaDecoder, MediaFetcher};
use jtav_settings::Settings;

/// Sides of a decoded picture, pixels of three bytes.
const PICTURE_BYTES: u64 = 224 * 224 * 3;
/// Bytes of a second of sound while it is resampled: 48,000 samples of four bytes come from a decoder that works for a GPU,
/// 22,050 go on.
const SOUND_BYTES_PER_SECOND: u64 = (48_000 + 22_050) * 4;
/// Longest stay of a medium that is kept.
const MAX_KEPT_FOR: Duration = Duration::from_secs(60);

/// What a room works with.
pub struct RoomParams {
    /// Downloads, by the worker's policy: [`jtav_feed_processor::parameters::fetcher`].
    pub fetch: Arc<dyn MediaFetcher>,
    /// Decoders of the worker's kind; its own where it runs in this process.
    pub decode: Arc<dyn MediaDecoder>,
    pub bounds: RoomBounds,
}

/// What a room may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomBounds {
    /// Media that are fetched and decoded at once; of one site three quarters at most.
    pub places: usize,
    /// Callers that wait for these at once; several may wait for one medium.
    pub callers: usize,
    /// From a question to its answer.
    pub deadline: Duration,
    /// For the download alone, as the worker's.
    pub fetch_timeout: Duration,
    /// Bytes of decoded media that are kept.
    pub kept_bytes: u64,
    /// Longest stay of a decoded medium, at most a minute.
    pub kept_for: Duration,
}

impl RoomBounds {
    /// The worker's time-outs with so many places: the deadline leaves what a download and a decoder may take, and half a
    /// minute in all at most.
    pub fn new(settings: &Settings, places: usize) -> Self {
        let (fetch, decode) = (settings.media.total_timeout(), settings.media.decode_wall());
        Self {
            places: places.max(1),
            callers: places.max(1).saturating_mul(8),
            deadline: (fetch + decode).min(Duration::from_secs(30)),
            fetch_timeout: fetch,
            kept_bytes: 64 << 20,
            kept_for: MAX_KEPT_FOR,
        }
    }

    /// Memory that the room takes at most beside the byte budget of its downloads and the limits of its decoders, bytes.
    pub fn ceiling_bytes(&self, settings: &Settings) -> u64 {
        let sound = SOUND_BYTES_PER_SECOND.saturating_mul(settings.media.analysed_audio_seconds.into());
        // What is kept may be replaced while callers still look at it.
        let in_hand = (self.places as u64 + self.callers as u64).saturating_mul(sound.max(PICTURE_BYTES));
        in_hand.saturating_add(self.kept_bytes)
    }

    pub(super) fn kept_for(&self) -> Duration {
        self.kept_for.min(MAX_KEPT_FOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_the_settings_as_they_are_eight_places_take_less_than_a_gigabyte() {
        let settings = Settings::default();
        let bounds = RoomBounds::new(&settings, 8);
        assert_eq!(bounds.deadline, Duration::from_secs(20));
        let ceiling = bounds.ceiling_bytes(&settings);
        assert_eq!(ceiling, 72 * 30 * SOUND_BYTES_PER_SECOND + (64 << 20));
        assert!(ceiling < 1_000_000_000, "{ceiling}");
    }

    #[test]
    fn nothing_is_kept_for_longer_than_a_minute() {
        let bounds = RoomBounds::new(&Settings::default(), 1);
        assert_eq!(RoomBounds { kept_for: Duration::from_secs(3_600), ..bounds }.kept_for(), MAX_KEPT_FOR);
    }
}
