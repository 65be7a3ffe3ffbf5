//! Many files out of few: the sample feed's, each with a mark in its metadata, so that bytes and hashes differ and what is
//! seen and heard does not.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use jtav_feed_simulator::Pack;

/// Paths below the folder that is served, the most frequent first.
#[derive(Debug, Clone)]
pub struct Files {
    pub images: Vec<String>,
    pub clips: Vec<String>,
}

/// Writes `images` and `clips` different files below `folder`.
pub fn make(pack: &Pack, folder: &Path, images: usize, clips: usize) -> Result<Files> {
    std::fs::create_dir_all(folder)?;
    let posts = pack.posts();
    let image_paths = posts.iter().filter_map(|post| post.image.as_ref().map(|image| image.path.as_str()));
    let clip_paths = posts.iter().filter_map(|post| post.audio.as_ref().map(|audio| audio.path.as_str()));
    Ok(Files {
        images: write(pack.folder(), image_paths, folder, images)?,
        clips: write(pack.folder(), clip_paths, folder, clips)?,
    })
}

fn write<'a>(pack: &Path, paths: impl Iterator<Item = &'a str>, folder: &Path, count: usize) -> Result<Vec<String>> {
    let mut paths: Vec<&str> = paths.filter(|path| mark(ending(path), &[], 0).is_some()).collect();
    paths.sort_unstable();
    paths.dedup();
    ensure!(!paths.is_empty(), "the sample feed has no file that can be marked");
    let originals: Vec<(&str, Vec<u8>)> = paths
        .into_iter()
        .map(|path| {
            let bytes = std::fs::read(pack.join(path)).with_context(|| path.to_owned())?;
            Ok((ending(path), bytes))
        })
        .collect::<Result<_>>()?;
    (0..count)
        .map(|number| {
            let (ending, original) = &originals[number % originals.len()];
            let name = format!("{ending}-{number}.{ending}");
            let marked = mark(ending, original, number as u32).context("Invariant: only such files were taken")?;
            std::fs::write(folder.join(&name), marked)?;
            Ok(name)
        })
        .collect()
}

fn ending(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(_, ending)| ending)
}

/// A file with a number in its metadata; `None` for formats that have no place for one that is easily written.
fn mark(ending: &str, bytes: &[u8], number: u32) -> Option<Vec<u8>> {
    let text = format!("jtav load test, copy {number}");
    let mut marked = bytes.to_vec();
    match ending {
        // A comment segment behind the start of the image (ITU-T T.81 B.2.4.5).
        "jpg" => {
            let length = (text.len() as u16 + 2).to_be_bytes();
            let segment = [&[0xFF, 0xFE], &length[..], text.as_bytes()].concat();
            marked.splice(2.min(bytes.len())..2.min(bytes.len()), segment);
        }
        // An ID3v1 tag at the end.
        "mp3" => {
            let mut tag = [0; 128];
            tag[..3].copy_from_slice(b"TAG");
            tag[97..97 + text.len().min(30)].copy_from_slice(&text.as_bytes()[..text.len().min(30)]);
            // The comment has thirty bytes; the number goes where a title would be.
            tag[3..7].copy_from_slice(&number.to_be_bytes());
            marked.extend(tag);
        }
        // A box of free space at the end (ISO/IEC 14496-12 8.1.2).
        "m4a" => marked.extend([&(text.len() as u32 + 8).to_be_bytes()[..], b"free", text.as_bytes()].concat()),
        // Another serial number of the stream in every page (RFC 3533 6).
        "ogg" => renumber(&mut marked, number),
        _ => return None,
    }
    Some(marked)
}

/// Gives every page of an Ogg file of one stream a serial number, and its checksum anew.
fn renumber(bytes: &mut [u8], serial: u32) {
    const HEADER: usize = 27;
    let mut at = 0;
    while bytes.get(at..).is_some_and(|rest| rest.len() >= HEADER && rest.starts_with(b"OggS")) {
        let segments = usize::from(bytes[at + 26]);
        let Some(table) = bytes.get(at + HEADER..at + HEADER + segments) else { return };
        let body: usize = table.iter().map(|length| usize::from(*length)).sum();
        let Some(page) = bytes.get_mut(at..at + HEADER + segments + body) else { return };
        page[14..18].copy_from_slice(&serial.to_le_bytes());
        page[22..26].fill(0);
        let checksum = ogg_crc(page);
        page[22..26].copy_from_slice(&checksum.to_le_bytes());
        at += page.len();
    }
}

/// CRC-32 with the polynomial 0x04C11DB7, no reflection, nothing inverted.
fn ogg_crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u32::from(*byte) << 24), |crc, _| {
            let shifted: u32 = crc << 1;
            if crc & 0x8000_0000 != 0 { shifted ^ 0x04C1_1DB7 } else { shifted }
        })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use jtav_feed_simulator::SAMPLE_FEED;
    use jtav_media_codecs::{DecodeLimits, decode};
    use jtav_schemas::{Decoded, Modality};

    use super::*;

    fn seen(bytes: &[u8], modality: Modality) -> Vec<u8> {
        match decode(bytes, modality, None, &DecodeLimits::for_tests()).unwrap() {
            Decoded::Audio(pcm) => pcm.samples.iter().flat_map(|sample| sample.to_le_bytes()).collect(),
            Decoded::Image(image) => image.pixels.to_vec(),
        }
    }

    #[test]
    fn a_marked_file_has_other_bytes_and_is_seen_and_heard_as_before() {
        let pack = Pack::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(SAMPLE_FEED)).unwrap();
        let mut kinds = HashSet::new();
        for post in pack.posts() {
            let media = [(&post.image, Modality::Image), (&post.audio, Modality::Audio)];
            for (path, modality) in media.into_iter().filter_map(|(media, kind)| Some((&media.as_ref()?.path, kind))) {
                let original = std::fs::read(pack.folder().join(path)).unwrap();
                let Some(marked) = mark(ending(path), &original, 77) else { continue };
                // One of each kind is enough: decoding is slow.
                if !kinds.insert(ending(path).to_owned()) {
                    continue;
                }
                assert_ne!(marked, original);
                assert_ne!(Some(&marked), mark(ending(path), &original, 78).as_ref());
                assert!(seen(&marked, modality) == seen(&original, modality), "{path}");
            }
        }
        assert_eq!(kinds.len(), 4, "{kinds:?}");
    }

    #[test]
    fn so_many_files_are_made_and_no_two_are_the_same() {
        let pack = Pack::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(SAMPLE_FEED)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let files = make(&pack, folder.path(), 60, 90).unwrap();
        let read = |names: &[String]| -> HashSet<Vec<u8>> {
            names.iter().map(|name| std::fs::read(folder.path().join(name)).unwrap()).collect()
        };
        assert_eq!((read(&files.images).len(), read(&files.clips).len()), (60, 90));
    }
}
