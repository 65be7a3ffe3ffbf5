//! The decoders of packets that are served.

use jtav_schemas::AbsentReason;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::codecs::registry::CodecRegistry;
use symphonia::core::errors::Error;
use symphonia::default::codecs;

/// The codecs that are served. The library knows more; each is a parser that a stranger could reach.
pub(super) struct Codecs(CodecRegistry);

impl Codecs {
    /// Made for each clip: it takes microseconds.
    pub(super) fn served() -> Self {
        let mut registry = CodecRegistry::new();
        registry.register_audio_decoder::<codecs::MpaDecoder>();
        registry.register_audio_decoder::<codecs::AacDecoder>();
        registry.register_audio_decoder::<codecs::FlacDecoder>();
        registry.register_audio_decoder::<codecs::VorbisDecoder>();
        registry.register_audio_decoder::<codecs::PcmDecoder>();
        registry.register_audio_decoder::<symphonia_adapter_libopus::OpusDecoder>();
        Self(registry)
    }

    /// A decoder of a stream, or why there is none.
    pub(super) fn decoder(&self, params: &AudioCodecParameters) -> Result<Box<dyn AudioDecoder>, AbsentReason> {
        let decoder = self.0.make_audio_decoder(params, &AudioDecoderOptions::default());
        decoder.map_err(|error| reason(&error))
    }
}

pub(super) fn reason(error: &Error) -> AbsentReason {
    match error {
        Error::Unsupported(_) => AbsentReason::Unsupported,
        Error::LimitError(_) => AbsentReason::TooLarge,
        _ => AbsentReason::DecodeError,
    }
}
