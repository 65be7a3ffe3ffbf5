//! What taggers put before the sound.

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
}
