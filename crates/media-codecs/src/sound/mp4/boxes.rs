//! What a walk over the boxes of an MP4 finds: tracks, what edit lists keep of them, fragments.

use std::ops::Range;

use super::super::steps::Ticks;

/// Tracks of a film with a dozen languages.
pub(super) const MAX_TRACKS: usize = 64;
/// Of an hour in packets of half a second; what comes behind is not heard.
const MAX_FRAGMENTS: usize = 8192;
/// Edits of a track that are looked at. Writers need one or two.
const MAX_EDITS: usize = 64;
/// The longest delay of an encoder that iTunes may state.
const MAX_PRIMING: u64 = 16_384;

/// Boxes between two places of a file.
fn boxes(bytes: &[u8], within: Range<usize>) -> impl Iterator<Item = ([u8; 4], Range<usize>)> {
    let mut at = within.start;
    std::iter::from_fn(move || {
        let [a, b, c, d, kind @ ..] = *bytes.get(at..within.end)?.first_chunk::<8>()?;
        let (header, size) = match u32::from_be_bytes([a, b, c, d]) {
            // Up to the end.
            0 => (8, within.end - at),
            1 => {
                let long = bytes.get(at + 8..within.end)?.first_chunk()?;
                (16, usize::try_from(u64::from_be_bytes(*long)).unwrap_or(usize::MAX))
            }
            size => (8, size as usize),
        };
        let end = at.saturating_add(size.max(header));
        let body = at + header..end.min(within.end).max(at + header);
        at = end;
        Some((kind, body))
    })
}

/// The first box of a kind.
fn child(bytes: &[u8], within: Range<usize>, kind: &[u8; 4]) -> Option<Range<usize>> {
    boxes(bytes, within).find(|(found, _)| found == kind).map(|(_, body)| body)
}

fn big_endian(bytes: &[u8], at: usize, width: usize) -> Option<u64> {
    Some(bytes.get(at..at.checked_add(width)?)?.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)))
}

/// What the walk found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) traks: Vec<Trak>,
    pub(super) has_file_type: bool,
    pub(super) has_index: bool,
    /// Begin of the first fragment that is too many.
    pub(super) end: usize,
    /// The last box is longer than the file.
    pub(super) ends_within_a_box: bool,
}

/// Of a track.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Trak {
    pub(super) id: u64,
    pub(super) is_sound: bool,
    pub(super) keep: Vec<Range<Ticks>>,
}

pub(super) fn layout(bytes: &[u8]) -> Layout {
    let mut found = Layout { end: bytes.len(), ..Layout::default() };
    let mut fragments = 0;
    let mut last_end = 0;
    for (kind, body) in boxes(bytes, 0..bytes.len()) {
        match &kind {
            b"ftyp" => found.has_file_type = true,
            b"moov" if !found.has_index => {
                found.has_index = true;
                found.traks = traks(bytes, body.clone());
            }
            b"moof" => {
                fragments += 1;
                if fragments > MAX_FRAGMENTS {
                    found.end = last_end;
                    return found;
                }
            }
            _ => {}
        }
        last_end = body.end;
    }
    found.ends_within_a_box = ends_within_a_box(bytes);
    found
}

/// Whether an MP4 is over before its last box is.
fn ends_within_a_box(bytes: &[u8]) -> bool {
    let mut at = 0_usize;
    while let Some(size) = big_endian(bytes, at, 4).filter(|_| bytes.len() - at >= 8) {
        let size = match size {
            0 => return false,
            1 => match big_endian(bytes, at + 8, 8) {
                Some(size) => usize::try_from(size).unwrap_or(usize::MAX),
                None => return true,
            },
            size => size as usize,
        };
        at = at.saturating_add(size.max(8));
        if at > bytes.len() {
            return true;
        }
    }
    false
}

/// One more than are served, if there are so many.
fn traks(bytes: &[u8], moov: Range<usize>) -> Vec<Trak> {
    let movie_scale = child(bytes, moov.clone(), b"mvhd").and_then(|mvhd| timescale(bytes, mvhd));
    let priming = itunes_priming(&bytes[moov.clone()]);
    let traks = boxes(bytes, moov).filter(|(kind, _)| kind == b"trak").take(MAX_TRACKS + 1);
    traks.map(|(_, body)| trak(bytes, body, movie_scale, priming).unwrap_or_default()).collect()
}

fn trak(bytes: &[u8], trak: Range<usize>, movie_scale: Option<u32>, priming: u64) -> Option<Trak> {
    let tkhd = child(bytes, trak.clone(), b"tkhd")?;
    let id_at = if bytes.get(tkhd.start) == Some(&1) { 20 } else { 12 };
    let id = big_endian(bytes, tkhd.start + id_at, 4)?;
    let mdia = child(bytes, trak.clone(), b"mdia")?;
    let scale = child(bytes, mdia.clone(), b"mdhd").and_then(|mdhd| timescale(bytes, mdhd))?;
    let is_sound =
        child(bytes, mdia, b"hdlr").is_some_and(|hdlr| bytes.get(hdlr.start + 8..hdlr.start + 12) == Some(b"soun"));
    let list = child(bytes, trak, b"edts").and_then(|edts| child(bytes, edts, b"elst"));
    let mut keep = list.map_or_else(Vec::new, |list| edits(&bytes[list], scale, movie_scale.unwrap_or(scale)));
    if keep.is_empty() && priming > 0 {
        keep.push(Ticks::new(priming, scale)..Ticks::END);
    }
    Some(Trak { id, is_sound, keep })
}

/// Of `mvhd` and `mdhd`.
fn timescale(bytes: &[u8], header: Range<usize>) -> Option<u32> {
    let at = if bytes.get(header.start) == Some(&1) { 20 } else { 12 };
    let scale = big_endian(&bytes[..header.end], header.start + at, 4)?;
    u32::try_from(scale).ok().filter(|scale| *scale > 0)
}

/// What an edit list keeps of a track. An empty edit only says when it begins, and a list that goes back in time is
/// followed no further than that.
fn edits(list: &[u8], scale: u32, movie_scale: u32) -> Vec<Range<Ticks>> {
    let width = if list.first() == Some(&1) { 8 } else { 4 };
    let count = big_endian(list, 4, 4).unwrap_or(0).min(MAX_EDITS as u64) as usize;
    let mut keep: Vec<Range<Ticks>> = Vec::new();
    let mut last_end = 0;
    for at in (0..count).map(|entry| 8 + entry * (2 * width + 4)) {
        let (Some(length), Some(start)) = (big_endian(list, at, width), big_endian(list, at + width, width)) else {
            break;
        };
        // Minus one, in either width.
        if start >> (8 * width - 1) != 0 {
            continue;
        }
        let (numerator, denominator) = (u128::from(length) * u128::from(scale), u128::from(movie_scale));
        let length_here = u64::try_from(numerator.div_ceil(denominator)).unwrap_or(u64::MAX);
        // The last edit of a fragmented file has no length.
        let end = if length == 0 { u64::MAX } else { start.saturating_add(length_here) };
        if start < last_end {
            break;
        }
        last_end = end;
        keep.push(Ticks::new(start, scale)..if end == u64::MAX { Ticks::END } else { Ticks::new(end, scale) });
    }
    keep
}

/// ` 00000000 DELAY PADDING LENGTH …`, hexadecimal, behind the name of the comment.
fn itunes_priming(moov: &[u8]) -> u64 {
    let Some(at) = moov.windows(8).position(|eight| eight == b"iTunSMPB") else { return 0 };
    let text = &moov[at + 8..moov.len().min(at + 200)];
    let mut words = text.split(|byte| !byte.is_ascii_hexdigit()).filter(|word| word.len() == 8);
    let word = words.nth(1).and_then(|word| std::str::from_utf8(word).ok());
    word.and_then(|word| u64::from_str_radix(word, 16).ok()).filter(|priming| *priming < MAX_PRIMING).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn atom(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32 + 8).to_be_bytes(), kind.as_slice(), body].concat()
    }

    fn list(entries: &[(u32, i32)]) -> Vec<u8> {
        let mut list = [[0; 4], (entries.len() as u32).to_be_bytes()].concat();
        for (length, start) in entries {
            list.extend([length.to_be_bytes(), start.to_be_bytes(), [0, 1, 0, 0]].concat());
        }
        list
    }

    /// Samples at 44,100 Hz of a movie that counts milliseconds.
    fn kept(entries: &[(u32, i32)]) -> Vec<Range<u64>> {
        let keep = edits(&list(entries), 44_100, 1000);
        keep.iter().map(|keep| keep.start.sample(44_100)..keep.end.sample(44_100)).collect()
    }

    fn one(range: Range<u64>) -> Vec<Range<u64>> {
        std::iter::once(range).collect()
    }

    #[test]
    fn an_edit_list_says_what_is_kept() {
        assert_eq!(kept(&[(1000, 1024)]), one(1024..45_124));
        assert_eq!(kept(&[(0, 2112)]).first().map(|keep| keep.start), Some(2112), "up to the end");
        assert_eq!(kept(&[(500, -1), (1000, 1024)]), one(1024..45_124), "behind an empty edit");
        assert_eq!(kept(&[(100, 1024), (100, 44_100)]), [1024..5434, 44_100..48_510]);
        assert_eq!(kept(&[(100, 44_100), (100, 0)]), one(44_100..48_510), "back in time");
        assert_eq!(kept(&[]), []);
    }

    #[test]
    fn a_list_of_64_bits_is_read() {
        let list =
            [[1, 0, 0, 0, 0, 0, 0, 1].as_slice(), &1000_u64.to_be_bytes(), &1024_i64.to_be_bytes(), &[0, 1, 0, 0]];
        assert_eq!(edits(&list.concat(), 1000, 1000), [Ticks::new(1024, 1000)..Ticks::new(2024, 1000)]);
    }

    #[test]
    fn the_priming_of_itunes_is_read_where_it_can_be_one() {
        let comment = |priming: &str| {
            let text =
                format!("com.apple.iTunes....nameiTunSMPB....data.... 00000000 {priming} 000001A4 0000000000013C1C");
            itunes_priming(text.as_bytes())
        };
        assert_eq!(
            (comment("00000840"), comment("00004000"), comment("gggggggg"), itunes_priming(b"")),
            (2112, 0, 420, 0)
        );
    }

    #[test]
    fn fragments_and_tracks_beyond_the_bound_are_not_given_to_the_reader() {
        let head = atom(b"ftyp", b"isom\0\0\0\0");
        let moof = atom(b"moof", &[]);
        let file = [head.as_slice(), &moof.repeat(MAX_FRAGMENTS + 9)].concat();
        assert_eq!(layout(&file).end, head.len() + MAX_FRAGMENTS * moof.len());
        let file = [head, atom(b"moov", &atom(b"trak", &[]).repeat(500))].concat();
        assert_eq!(layout(&file).traks.len(), MAX_TRACKS + 1);
    }

    proptest! {
        #[test]
        fn boxes_of_any_bytes_lie_within_them(
            parts in prop::collection::vec(prop_oneof![
                Just(b"\0\0\0\x01moov\0\0\0\0\0\0\0\x18".to_vec()), Just(b"\0\0\0\0trak".to_vec()), Just(atom(b"elst", &list(&[(1, 2)]))),
                Just(atom(b"moov", &atom(b"trak", &atom(b"tkhd", &[1; 30])))), prop::collection::vec(any::<u8>(), 0..40)], 0..20)
        ) {
            let bytes = parts.concat();
            let found = layout(&bytes);
            prop_assert!(found.end <= bytes.len() && found.traks.len() <= MAX_TRACKS + 1);
            for (_, body) in boxes(&bytes, 0..bytes.len()) {
                prop_assert!(body.start <= body.end.max(bytes.len()));
            }
        }
    }
}
