//! Signatures: what the first bytes of a file say that it is.

use crate::format::{Content, PictureFormat, SoundFormat};

/// Bytes searched for the root element of an XML document.
const MARKUP_BYTES: usize = 4096;

/// What the signature at the start of `bytes` names; `None` where there is none, which leaves a stream without one.
pub(crate) fn of_signature(bytes: &[u8]) -> Option<Content> {
    // Some of the later ones are short, and would take a file for their own that an earlier one knows.
    picture(bytes)
        .or_else(|| riff(bytes))
        .or_else(|| sound(bytes))
        .or_else(|| file_type(bytes))
        .or_else(|| is_other_picture(bytes).then_some(Content::OtherPicture))
        .or_else(|| is_quicktime(bytes).then_some(Content::Sound(SoundFormat::Mp4)))
        .or_else(|| is_other_sound(bytes).then_some(Content::OtherSound))
        .or_else(|| is_foreign(bytes).then_some(Content::Foreign))
        .or_else(|| markup(bytes))
}

fn has(bytes: &[u8], offset: usize, magic: &[u8]) -> bool {
    bytes.get(offset..).is_some_and(|rest| rest.starts_with(magic))
}

fn picture(bytes: &[u8]) -> Option<Content> {
    const MAGICS: [(&[u8], PictureFormat); 4] = [
        (b"\xff\xd8\xff", PictureFormat::Jpeg),
        (b"\x89PNG\r\n\x1a\n", PictureFormat::Png),
        (b"GIF87a", PictureFormat::Gif),
        (b"GIF89a", PictureFormat::Gif),
    ];
    MAGICS.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, format)| Content::Picture(*format))
}

fn riff(bytes: &[u8]) -> Option<Content> {
    if bytes.starts_with(b"RIFF") {
        return Some(match bytes.get(8..12) {
            Some(b"WEBP") => Content::Picture(PictureFormat::WebP),
            Some(b"WAVE") => Content::Sound(SoundFormat::Wav),
            Some(_) => Content::Foreign,
            None => Content::Unknown,
        });
    }
    // The same with sizes of 64 bits.
    let is_long = (bytes.starts_with(b"RF64") || bytes.starts_with(b"BW64")) && has(bytes, 8, b"WAVE");
    is_long.then_some(Content::Sound(SoundFormat::Wav))
}

fn sound(bytes: &[u8]) -> Option<Content> {
    const MAGICS: [(&[u8], SoundFormat); 2] = [(b"fLaC", SoundFormat::Flac), (b"OggS", SoundFormat::Ogg)];
    MAGICS.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, format)| Content::Sound(*format))
}

/// The brand of a file of ISO 14496-12.
fn file_type(bytes: &[u8]) -> Option<Content> {
    has(bytes, 4, b"ftyp").then(|| match bytes.get(8..12) {
        Some(b"avif" | b"avis" | b"avio" | b"mif1" | b"msf1" | b"mif2" | b"crx ") => Content::OtherPicture,
        // HEIC with a picture, with more of it, with layers, with several; the same as sequences.
        Some(b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"hevm" | b"hevs") => Content::OtherPicture,
        _ => Content::Sound(SoundFormat::Mp4),
    })
}

/// Files of QuickTime begin with any of its boxes.
fn is_quicktime(bytes: &[u8]) -> bool {
    const BOXES: [&[u8]; 7] = [b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"moof"];
    BOXES.iter().any(|name| has(bytes, 4, name))
}

fn is_other_sound(bytes: &[u8]) -> bool {
    const MAGICS: [&[u8]; 24] = [
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
    MAGICS.iter().any(|magic| bytes.starts_with(magic))
        || is_ac3(bytes)
        || has(bytes, 4, b"\xf8\x72\x6f")
        || is_latm(bytes)
        || is_transport_stream(bytes)
}

fn is_foreign(bytes: &[u8]) -> bool {
    const MAGICS: [&[u8]; 5] = [b"%PDF-", b"PK\x03\x04", b"\x1f\x8b", b"7z\xbc\xaf\x27\x1c", b"\x7fELF"];
    MAGICS.iter().any(|magic| bytes.starts_with(magic))
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
