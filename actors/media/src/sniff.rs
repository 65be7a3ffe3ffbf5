//! What bytes are, by their own signature. A declared media type is a claim and decides nothing but the wording of a
//! refusal.

use jtav_schemas::{AbsentReason, Modality};

/// Bytes searched for the first MPEG frame when no signature stands at the start.
const MP3_SEARCH_BYTES: usize = 4096;
/// Bytes searched for the root element of an XML document.
const MARKUP_BYTES: usize = 4096;

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

/// Names what `bytes` are. A tag before the sound (see [`skip_tags`]) has to be skipped first.
pub(crate) fn sniff(bytes: &[u8]) -> Content {
    use Content::*;
    let at = |offset: usize, magic: &[u8]| bytes.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    let starts = |magic: &[u8]| at(0, magic);

    if starts(b"\xff\xd8\xff") {
        return Picture(PictureFormat::Jpeg);
    }
    if starts(b"\x89PNG\r\n\x1a\n") {
        return Picture(PictureFormat::Png);
    }
    if starts(b"GIF87a") || starts(b"GIF89a") {
        return Picture(PictureFormat::Gif);
    }
    if starts(b"RIFF") {
        return match bytes.get(8..12) {
            Some(b"WEBP") => Picture(PictureFormat::WebP),
            Some(b"WAVE") => Sound(SoundFormat::Wav),
            Some(_) => Foreign,
            None => Unknown,
        };
    }
    if starts(b"fLaC") {
        return Sound(SoundFormat::Flac);
    }
    if starts(b"OggS") {
        return Sound(SoundFormat::Ogg);
    }
    if at(4, b"ftyp") {
        return match bytes.get(8..12) {
            Some(b"avif" | b"avis" | b"avio" | b"mif1" | b"msf1" | b"mif2" | b"crx ") => OtherPicture,
            // HEIC with a picture, with more of it, with layers, with several; the same as sequences.
            Some(b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"hevm" | b"hevs") => OtherPicture,
            _ => Sound(SoundFormat::Mp4),
        };
    }
    if is_other_picture(bytes) {
        return OtherPicture;
    }
    const OTHER_SOUND: [&[u8]; 13] = [
        b"FORM",
        b"caff",
        b"#!AMR",
        b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
        b"MThd",
        b"wvpk",
        b"MAC ",
        b"TTA1",
        b"RF64",
        b"BW64",
        b"DSD ",
        b"MPCK",
        // Matroska and WebM. A film is as little served as a voice message in it, and the message is the more likely one
        // where a post announces sound.
        b"\x1a\x45\xdf\xa3",
    ];
    if OTHER_SOUND.iter().any(|magic| starts(magic)) || is_ac3(bytes) {
        return OtherSound;
    }
    const FOREIGN: [&[u8]; 5] = [b"%PDF-", b"PK\x03\x04", b"\x1f\x8b", b"7z\xbc\xaf\x27\x1c", b"\x7fELF"];
    if FOREIGN.iter().any(|magic| starts(magic)) {
        return Foreign;
    }
    if let Some(content) = markup(bytes) {
        return content;
    }
    if first_adts_frame(bytes) {
        return Sound(SoundFormat::Adts);
    }
    if first_mp3_frame(bytes).is_some() {
        return Sound(SoundFormat::Mp3);
    }
    Unknown
}

fn is_other_picture(bytes: &[u8]) -> bool {
    const MAGICS: [&[u8]; 7] = [
        b"II*\0",
        b"MM\0*",
        b"8BPS",
        b"\0\0\x01\0",
        b"\xff\x0a",
        b"\0\0\0\x0cJXL \r\n\x87\n",
        b"\0\0\0\x0cjP  \r\n\x87\n",
    ];
    // Two letters are no signature; the size of the header behind them makes it one.
    let bitmap =
        bytes.starts_with(b"BM") && matches!(bytes.get(14..18), Some([12 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0]));
    bitmap || MAGICS.iter().any(|magic| bytes.starts_with(magic))
}

/// AC-3 and E-AC-3 (ATSC A/52, 5.3 and annex E): the sync word is too short to stand alone, so rate, size and version have
/// to be ones that exist.
fn is_ac3(bytes: &[u8]) -> bool {
    let [0x0b, 0x77, _, _, code, version, ..] = *bytes else { return false };
    match version >> 3 {
        0..=10 => code >> 6 != 3 && code & 0x3f < 38,
        11..=16 => code >> 6 != 3,
        _ => false,
    }
}

fn markup(bytes: &[u8]) -> Option<Content> {
    let head = &bytes[..bytes.len().min(MARKUP_BYTES)];
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    if !head.starts_with(b"<") {
        return None;
    }
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    if text.contains("<svg") && !text.contains("<html") {
        return Some(Content::OtherPicture);
    }
    ["<!doctype", "<html", "<?xml", "<head", "<body"]
        .iter()
        .any(|tag| text.starts_with(tag))
        .then_some(Content::Foreign)
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

/// Bytes without the ID3v2 tags before them. Their pictures and comments are of no use here, and skipping them keeps
/// a whole parser away from hostile input.
pub(crate) fn skip_tags(mut bytes: &[u8]) -> &[u8] {
    // Writers stack at most two or three; the bound keeps a file of nothing but tags cheap.
    for _ in 0..16 {
        let [b'I', b'D', b'3', _, _, flags, a, b, c, d, ..] = *bytes else { return bytes };
        let size = [a, b, c, d].iter().fold(0, |size, byte| (size << 7) | usize::from(byte & 0x7f));
        let footer = if flags & 0x10 != 0 { 10 } else { 0 };
        bytes = bytes.get(10 + size + footer..).unwrap_or_default();
    }
    bytes
}

/// Offset of the first MPEG Layer III frame that another one follows.
pub(crate) fn first_mp3_frame(bytes: &[u8]) -> Option<usize> {
    (0..bytes.len().min(MP3_SEARCH_BYTES)).find(|&offset| {
        let Some((len, signature)) = mp3_frame(&bytes[offset..]) else { return false };
        match bytes.get(offset + len..) {
            Some(next) if next.len() >= 4 => mp3_frame(next).is_some_and(|(_, other)| other == signature),
            // Four bytes look like a frame once in some hundred places: without a second one only at the very start.
            _ => offset == 0,
        }
    })
}

/// Length of the frame that starts here, and the part of its header that stays the same through a stream
/// (ISO 11172-3 2.4.1.3; MPEG 2.5 as in the field).
fn mp3_frame(bytes: &[u8]) -> Option<(usize, (u8, u8))> {
    const KBIT_MPEG1: [u32; 14] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
    const KBIT_MPEG2: [u32; 14] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    let [0xff, b1, b2, _, ..] = *bytes else { return None };
    let (version, layer, rate) = ((b1 >> 3) & 3, (b1 >> 1) & 3, (b2 >> 2) & 3);
    if b1 & 0xe0 != 0xe0 || version == 1 || layer != 1 || rate == 3 {
        return None;
    }
    let index = usize::from(b2 >> 4).checked_sub(1)?;
    let base = [44_100, 48_000, 32_000][usize::from(rate)];
    let (hz, bits, samples_over_8) = match version {
        3 => (base, *KBIT_MPEG1.get(index)?, 144),
        2 => (base / 2, *KBIT_MPEG2.get(index)?, 72),
        _ => (base / 4, *KBIT_MPEG2.get(index)?, 72),
    };
    let padding = u32::from((b2 >> 1) & 1);
    Some(((samples_over_8 * bits * 1000 / hz + padding) as usize, (b1 & 0xfe, rate)))
}

/// Does an ADTS frame start here that another one, or the end, follows (ISO 13818-7 6.2)?
fn first_adts_frame(bytes: &[u8]) -> bool {
    let frame = |bytes: &[u8]| {
        let [0xff, b1, b2, b3, b4, b5, _, ..] = *bytes else { return None };
        let len = (usize::from(b3 & 3) << 11) | (usize::from(b4) << 3) | usize::from(b5 >> 5);
        (b1 & 0xf6 == 0xf0 && (b2 >> 2) & 15 < 13 && len >= 7).then_some(len)
    };
    let Some(len) = frame(bytes) else { return false };
    match bytes.get(len..) {
        Some(next) if next.len() >= 7 => frame(next).is_some(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_name_the_content() {
        let cases: &[(&[u8], Content)] = &[
            (b"\xff\xd8\xff\xe0", Content::Picture(PictureFormat::Jpeg)),
            (b"\x89PNG\r\n\x1a\n", Content::Picture(PictureFormat::Png)),
            (b"GIF89a", Content::Picture(PictureFormat::Gif)),
            (b"RIFF\0\0\0\0WEBPVP8 ", Content::Picture(PictureFormat::WebP)),
            (b"RIFF\0\0\0\0WAVEfmt ", Content::Sound(SoundFormat::Wav)),
            (b"RIFF\0\0\0\0AVI LIST", Content::Foreign),
            (b"RIFF\0\0\0\0WE", Content::Unknown),
            (b"fLaC", Content::Sound(SoundFormat::Flac)),
            (b"OggS\0\x02", Content::Sound(SoundFormat::Ogg)),
            (b"\0\0\0\x20ftypM4A \0\0", Content::Sound(SoundFormat::Mp4)),
            (b"\0\0\0\x20ftypavif\0\0", Content::OtherPicture),
            (b"\0\0\0\x20ftypheic\0\0", Content::OtherPicture),
            (b"\xff\xfb\x90\x64 a frame cut short", Content::Sound(SoundFormat::Mp3)),
            (b"\xff\xf1\x50\x80\x02\x1f\xfc\xde", Content::Sound(SoundFormat::Adts)),
            (b"FORM\0\0\0\0AIFF", Content::OtherSound),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", Content::OtherPicture),
            (b"\xef\xbb\xbf <?xml version='1.0'?>\n<!-- a --><svg/>", Content::OtherPicture),
            (b"<!DOCTYPE html><html><svg></svg></html>", Content::Foreign),
            (b"%PDF-1.7", Content::Foreign),
            (b"\x1a\x45\xdf\xa3webm", Content::OtherSound),
            (b"\x0b\x77\x5a\x3f\x10\x40", Content::OtherSound),
            (b"\x0b\x77 is no sync word here", Content::Unknown),
            (b"BM is how this sentence starts", Content::Unknown),
            (b"hello", Content::Unknown),
            (b"", Content::Unknown),
        ];
        for (bytes, expected) in cases {
            assert_eq!(sniff(bytes), *expected, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn tags_before_the_sound_are_skipped_and_a_lying_tag_leaves_nothing() {
        let tag = b"ID3\x03\0\0\0\0\0\x02xx";
        let footed = b"ID3\x04\0\x10\0\0\0\x01x3DI\x04\0\x10\0\0\0\x01";
        let file = [tag.as_slice(), footed, b"fLaC"].concat();
        assert_eq!(skip_tags(&file), b"fLaC");
        assert_eq!(skip_tags(b"ID3\x03\0\0\x7f\x7f\x7f\x7fx"), b"");
        assert_eq!(skip_tags(b"ID3"), b"ID3");
    }

    #[test]
    fn random_bytes_are_no_mp3() {
        // A linear congruential generator, so that the test says the same every time.
        let mut state = 1_u32;
        let mut hits = 0;
        for _ in 0..200 {
            let noise: Vec<u8> = std::iter::repeat_with(|| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .take(8192)
            .collect();
            hits += usize::from(first_mp3_frame(&noise).is_some());
        }
        assert!(hits <= 4, "{hits} of 200");
    }

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
