//! The orientation that EXIF states, read as leniently as browsers do: writers store it as BYTE, SHORT or LONG.

use image::metadata::Orientation;

/// Entries of a directory that are looked at; cameras write some dozen.
const MAX_ENTRIES: usize = 1000;

const ORIENTATION: usize = 0x112;

/// What is meant: unreadable EXIF, or none, is no reason to lose the picture.
pub(super) fn orientation(exif: Option<&[u8]>) -> Orientation {
    let code = exif.and_then(stated).and_then(|code| u8::try_from(code).ok());
    code.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms)
}

/// The number in the first directory of a TIFF header and what follows it (TIFF 6.0, section 2).
fn stated(exif: &[u8]) -> Option<usize> {
    // Some writers keep in PNG and WebP what only a JPEG segment begins with.
    let exif = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    let big_endian = match exif.get(..4)? {
        b"MM\0*" => true,
        b"II*\0" => false,
        _ => return None,
    };
    let number = |at: usize, width: usize| {
        let bytes = exif.get(at..at.checked_add(width)?)?;
        let join = |sum, byte: &u8| (sum << 8) | usize::from(*byte);
        Some(if big_endian { bytes.iter().fold(0, join) } else { bytes.iter().rev().fold(0, join) })
    };
    let directory = number(4, 4)?;
    let entries = number(directory, 2)?.min(MAX_ENTRIES);
    let entry = (0..entries).map(|n| directory + 2 + 12 * n).find(|at| number(*at, 2) == Some(ORIENTATION))?;
    let width = match number(entry + 2, 2)? {
        1 | 6 | 7 => 1,
        3 | 8 => 2,
        4 | 9 => 4,
        _ => return None,
    };
    number(entry + 8, width)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One directory with an entry before that of the orientation.
    fn exif(big_endian: bool, kind: u16, value: u32) -> Vec<u8> {
        let two = |n: u16| if big_endian { n.to_be_bytes() } else { n.to_le_bytes() };
        let four = |n: u32| if big_endian { n.to_be_bytes() } else { n.to_le_bytes() };
        // Narrow values stand at the left of their four bytes, whatever the order of bytes.
        let value = match kind {
            3 => [two(value as u16), [0, 0]].concat(),
            4 => four(value).to_vec(),
            _ => vec![value as u8, 0, 0, 0],
        };
        let head = if big_endian { b"MM\0*" } else { b"II*\0" };
        let other = [two(0x10f).as_slice(), &two(2), &four(4), b"abc\0"].concat();
        let entry = [two(0x112).as_slice(), &two(kind), &four(1), &value].concat();
        [head.as_slice(), &four(8), &two(2), &other, &entry, &four(0)].concat()
    }

    #[test]
    fn an_orientation_counts_in_either_order_of_bytes_and_in_every_width() {
        for code in 1..=8 {
            for big_endian in [false, true] {
                for kind in [1, 3, 4] {
                    let exif = exif(big_endian, kind, u32::from(code));
                    let expected = Orientation::from_exif(code).unwrap();
                    assert_eq!(orientation(Some(&exif)), expected, "{code}, big {big_endian}, type {kind}");
                    let prefixed = [b"Exif\0\0".as_slice(), &exif].concat();
                    assert_eq!(orientation(Some(&prefixed)), expected);
                }
            }
        }
    }

    #[test]
    fn nonsense_turns_nothing() {
        let nonsense =
            [exif(true, 4, 0x0100_0006), exif(true, 3, 0), exif(false, 3, 9), exif(true, 2, 6), b"MM".to_vec()];
        for exif in nonsense {
            assert_eq!(orientation(Some(&exif)), Orientation::NoTransforms, "{exif:?}");
        }
        assert_eq!(orientation(None), Orientation::NoTransforms);
    }

    proptest! {
        #[test]
        fn whatever_stands_there_is_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            for head in [b"MM\0*".as_slice(), b"II*\0"] {
                orientation(Some(&[head, &bytes].concat()));
            }
        }
    }
}
