//! What bytes can be, and what a post is told where they are not what it wants.

use jtav_schemas::{AbsentReason, Modality};

/// A picture that is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PictureFormat {
    Jpeg,
    Png,
    Gif,
    WebP,
}

impl PictureFormat {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::Gif => "gif",
            Self::WebP => "webp",
        }
    }
}

/// A container of sound that is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SoundFormat {
    Mp3,
    Adts,
    Mp4,
    Flac,
    Ogg,
    Wav,
}

impl SoundFormat {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mp3 => "mp3",
            Self::Adts => "adts",
            Self::Mp4 => "mp4",
            Self::Flac => "flac",
            Self::Ogg => "ogg",
            Self::Wav => "wav",
        }
    }
}

/// What bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    Picture(PictureFormat),
    Sound(SoundFormat),
    /// A picture of a kind that is not decoded.
    OtherPicture,
    /// Sound of a kind that is not decoded.
    OtherSound,
    /// Recognised as neither: a web page, a document, an archive, a film.
    Foreign,
    Unknown,
}

/// What a modality makes of the content: the format to decode, or why not.
pub(crate) fn refusal(content: Content, expected: Modality, declared: Option<&str>) -> AbsentReason {
    match (content, expected) {
        (Content::OtherPicture, Modality::Image) | (Content::OtherSound, Modality::Audio) => AbsentReason::Unsupported,
        (Content::Unknown, _) if declared.is_some_and(names_unsupported) => AbsentReason::Unsupported,
        (Content::Unknown, _) => AbsentReason::DecodeError,
        _ => AbsentReason::TypeMismatch,
    }
}

fn names_unsupported(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(
        essence.as_str(),
        "image/svg+xml" | "image/avif" | "image/heic" | "image/heif" | "image/jxl" | "audio/amr" | "audio/midi"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_declared_type_only_words_a_refusal() {
        assert_eq!(
            refusal(Content::Unknown, Modality::Image, Some("image/svg+xml; charset=utf-8")),
            AbsentReason::Unsupported
        );
        assert_eq!(refusal(Content::Unknown, Modality::Image, Some("image/png")), AbsentReason::DecodeError);
        assert_eq!(refusal(Content::Foreign, Modality::Image, Some("image/png")), AbsentReason::TypeMismatch);
        assert_eq!(refusal(Content::OtherSound, Modality::Image, None), AbsentReason::TypeMismatch);
        assert_eq!(refusal(Content::OtherSound, Modality::Audio, None), AbsentReason::Unsupported);
    }
}
