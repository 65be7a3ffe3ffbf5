//! What bytes are, by their own signature. A declared media type is a claim and decides nothing but the wording of a
//! refusal.

use crate::format::{Content, SoundFormat};
use crate::signature::of_signature;
use crate::sound::adts;
use crate::sound::mpeg::header::{Header, layer_of_stream};
use crate::tags::skip_tags;

/// Bytes searched for the first frame of MPEG audio or AAC, or the first page of Ogg, when no signature stands at the start.
const SEARCH_BYTES: usize = 1 << 20;

/// Names what `bytes` are. A tag before the sound has to be skipped first: see [`recognise`].
pub(crate) fn sniff(bytes: &[u8]) -> Content {
    of_signature(bytes).unwrap_or_else(|| stream_within(bytes))
}

/// Whether bytes are a picture or sound as they stand, of a kind that is decoded or not.
pub fn is_medium(bytes: &[u8]) -> bool {
    !matches!(sniff(skip_tags(bytes)), Content::Unknown | Content::Foreign)
}

/// A stream that begins here or, behind padding or junk, a little later.
fn stream_within(bytes: &[u8]) -> Content {
    use Content::*;
    let of_layer = |layer| if layer == 3 { Sound(SoundFormat::Mp3) } else { OtherSound };
    if adts::is_cut_frame(bytes) {
        return Sound(SoundFormat::Adts);
    }
    if let Some(header) = Header::read(bytes) {
        // One length for all frames, which the decoder does not look for.
        if header.bytes.is_none() && layer_of_stream(bytes).is_some() {
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
            0xff if Header::read(rest).is_some_and(|header| header.bytes.is_some()) => {
                if let Some(layer) = layer_of_stream(rest) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::PictureFormat;

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
}
