//! What bytes are, by their own signature. A declared media type is a claim and decides nothing but the wording of a
//! refusal.

use jtav_schemas::{AbsentReason, Modality};

use crate::sound::{adts, mpeg};

/// Bytes searched for the first frame of MPEG audio or AAC, or the first page of Ogg, when no signature stands at the start.
const SEARCH_BYTES: usize = 1 << 20;
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

/// Names what `bytes` are. A tag before the sound has to be skipped first: see [`recognise`].
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
    // The same with sizes of 64 bits.
    if (starts(b"RF64") || starts(b"BW64")) && at(8, b"WAVE") {
        return Sound(SoundFormat::Wav);
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
    // Files of QuickTime begin with any of its boxes.
    const BOXES: [&[u8]; 7] = [b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"moof"];
    if BOXES.iter().any(|name| at(4, name)) {
        return Sound(SoundFormat::Mp4);
    }
    const OTHER_SOUND: [&[u8]; 24] = [
        b"FORM",
        b"FRM8",
        b"caff",
        b"#!AMR",
        b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
        b"MThd",
        b"wvpk",
        b"MAC ",
        b"TTA1",
        b"DSD ",
        b"MPCK",
        b"MP+",
        b"OFR ",
        b".snd",
        b"RIFX",
        b"riff\x2e\x91\xcf\x11",
        b"ADIF",
        b"#!SILK",
        b"\x02#!SILK",
        b"ajkg",
        b"\x7f\xfe\x80\x01",
        // Matroska and WebM, Flash, program streams. A film is as little served as a voice message in it, and the message is
        // the more likely one where a post announces sound.
        b"\x1a\x45\xdf\xa3",
        b"FLV\x01",
        b"\x00\x00\x01\xba",
    ];
    if OTHER_SOUND.iter().any(|magic| starts(magic))
        || is_ac3(bytes)
        || at(4, b"\xf8\x72\x6f")
        || is_latm(bytes)
        || is_transport_stream(bytes)
    {
        return OtherSound;
    }
    const FOREIGN: [&[u8]; 5] = [b"%PDF-", b"PK\x03\x04", b"\x1f\x8b", b"7z\xbc\xaf\x27\x1c", b"\x7fELF"];
    if FOREIGN.iter().any(|magic| starts(magic)) {
        return Foreign;
    }
    if let Some(content) = markup(bytes) {
        return content;
    }
    stream_within(bytes)
}

/// A stream that begins here or, behind padding or junk, a little later.
fn stream_within(bytes: &[u8]) -> Content {
    use Content::*;
    let of_layer = |layer| if layer == 3 { Sound(SoundFormat::Mp3) } else { OtherSound };
    if adts::is_cut_frame(bytes) {
        return Sound(SoundFormat::Adts);
    }
    if let Some(header) = mpeg::Header::read(bytes) {
        // One length for all frames, which the decoder does not look for.
        if header.bytes.is_none() && mpeg::layer_of_stream(bytes).is_some() {
            return OtherSound;
        }
        // A single frame, cut short: its length only fits at the very start.
        if header.bytes.is_some_and(|len| len > bytes.len()) {
            return of_layer(header.layer);
        }
    }
    let head = &bytes[..bytes.len().min(SEARCH_BYTES)];
    for (at, first) in head.iter().enumerate() {
        let rest = &bytes[at..];
        match first {
            0xff if adts::is_stream(rest) => return Sound(SoundFormat::Adts),
            0xff if mpeg::Header::read(rest).is_some_and(|header| header.bytes.is_some()) => {
                if let Some(layer) = mpeg::layer_of_stream(rest) {
                    return of_layer(layer);
                }
            }
            // The first page of a stream, which has one packet.
            b'O' if rest.starts_with(b"OggS\0\x02") => return Sound(SoundFormat::Ogg),
            _ => {}
        }
    }
    Unknown
}

/// LOAS, in which LATM is sent (ISO 14496-3 1.7): two sync words of eleven bits, as far apart as the first says.
fn is_latm(bytes: &[u8]) -> bool {
    let len = |at: usize| match bytes.get(at..)? {
        [0x56, high, low, ..] if high & 0xe0 == 0xe0 => Some(3 + ((usize::from(high & 0x1f) << 8) | usize::from(*low))),
        _ => None,
    };
    len(0).is_some_and(|first| len(first).is_some())
}

/// MPEG transport streams: a sync byte every 188 bytes.
fn is_transport_stream(bytes: &[u8]) -> bool {
    (0..4).all(|packet| bytes.get(188 * packet) == Some(&0x47))
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

/// What bytes are, and the bytes without the tags before them. Their pictures and comments are of no use here, and skipping
/// them keeps a whole parser away from hostile input.
pub(crate) fn recognise(bytes: &[u8]) -> (Content, &[u8]) {
    let bytes = skip_tags(bytes);
    let content = sniff(bytes);
    // Zeros before the first frame, or before another tag. No picture may begin so.
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    if content == Content::Unknown && zeros > 0 {
        let padded = skip_tags(&bytes[zeros..]);
        if let found @ (Content::Sound(_) | Content::OtherSound) = sniff(padded) {
            return (found, padded);
        }
    }
    (content, bytes)
}

/// Bytes without the tags of ID3v2 and APE before them.
pub(crate) fn skip_tags(mut bytes: &[u8]) -> &[u8] {
    // Writers stack at most two or three; the bound keeps a file of nothing but tags cheap.
    for _ in 0..16 {
        let Some(len) = id3v2_len(bytes).or_else(|| ape_len(bytes)) else { return bytes };
        bytes = &bytes[len..];
    }
    bytes
}

/// Length of the tag of ID3v2 (any version) that stands here; of its header alone where the tag would be longer than the
/// file, since then the sound begins somewhere within.
pub(crate) fn id3v2_len(bytes: &[u8]) -> Option<usize> {
    let [b'I', b'D', b'3', 0..=4, _, flags, size @ ..] = *bytes.first_chunk::<10>()? else { return None };
    // Seven bits a byte, of which careless writers know nothing.
    let bits = if size.iter().all(|byte| byte & 0x80 == 0) { 7 } else { 8 };
    let size = size.iter().fold(0, |size, byte| (size << bits) | usize::from(*byte));
    let footer = if flags & 0x10 != 0 { 10 } else { 0 };
    let len = 10 + size + footer;
    Some(if len <= bytes.len() { len } else { 10 })
}

/// A tag of APEv2 with a header: mostly it stands behind the sound, and has none.
fn ape_len(bytes: &[u8]) -> Option<usize> {
    let header = bytes.first_chunk::<32>().filter(|header| header.starts_with(b"APETAGEX"))?;
    let size = u32::from_le_bytes(*header[12..].first_chunk()?) as usize;
    Some(32 + size).filter(|len| *len <= bytes.len())
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
            (b"RF64\xff\xff\xff\xffWAVEds64", Content::Sound(SoundFormat::Wav)),
            (b"\0\0\x02\x6cmoov\0\0\0\x6cmvhd", Content::Sound(SoundFormat::Mp4)),
            (b"junk\0OggS\0\x02", Content::Sound(SoundFormat::Ogg)),
            (b"\x56\xe0\x01x\x56\xe0\x01x", Content::OtherSound),
            (b"\x56\xe0 is no sync word here", Content::Unknown),
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
        let ape = [b"APETAGEX\xd0\x07\0\0\x03\0\0\0".as_slice(), &[0; 16], b"abcfLaC"].concat();
        assert_eq!(skip_tags(&ape), b"fLaC");
        assert_eq!(skip_tags(b"ID3\x03\0\0\x7f\x7f\x7f\x7fx"), b"x");
        assert_eq!(skip_tags(b"ID3\x03\0\0\0\0\0\x80"), b"", "a size that is no seven bits a byte");
        assert_eq!(skip_tags(b"ID3"), b"ID3");
    }

    #[test]
    fn zeros_before_sound_are_skipped_and_before_pictures_they_are_not() {
        for (behind, expected) in [
            (b"fLaC".as_slice(), Content::Sound(SoundFormat::Flac)),
            (b"\xff\xfb\x90\x64 a frame cut short", Content::Sound(SoundFormat::Mp3)),
            (b"ID3\x03\0\0\0\0\0\x02xxfLaC", Content::Sound(SoundFormat::Flac)),
            (b"\x89PNG\r\n\x1a\n", Content::Unknown),
            (b"", Content::Unknown),
        ] {
            let file = [&[0; 5000], behind].concat();
            assert_eq!(recognise(&file).0, expected, "{:?}", String::from_utf8_lossy(behind));
        }
    }

    #[test]
    fn random_bytes_are_no_stream() {
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
            hits += usize::from(stream_within(&noise) != Content::Unknown);
        }
        assert!(hits == 0, "{hits} of 200");
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
