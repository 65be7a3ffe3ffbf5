use proptest::prelude::*;

use super::*;

fn segment(marker: u8, body: &[u8]) -> Vec<u8> {
    [&[0xff, marker], &(body.len() as u16 + 2).to_be_bytes()[..], body].concat()
}

/// 8 bits, three components, 4:2:0.
fn frame(marker: u8, width: u16, height: u16) -> Vec<u8> {
    let (w, h) = (width.to_be_bytes(), height.to_be_bytes());
    segment(marker, &[8, h[0], h[1], w[0], w[1], 3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1])
}

fn scan(components: &[u8], data: &[u8]) -> Vec<u8> {
    let names = components.iter().flat_map(|name| [*name, 0]);
    let body: Vec<u8> = [components.len() as u8].into_iter().chain(names).chain([0, 63, 0]).collect();
    [segment(0xda, &body), data.to_vec()].concat()
}

fn file(parts: &[Vec<u8>]) -> Vec<u8> {
    [&[0xff, 0xd8][..], &parts.concat(), &[0xff, 0xd9]].concat()
}

#[test]
fn blocks_of_all_scans_are_counted() {
    // 20 × 20 pixels are 2 × 2 units of four blocks of luminance and one of each colour difference.
    let progressive = file(&[frame(0xc2, 20, 20), scan(&[1, 2, 3], b"dc"), scan(&[1], b"a"), scan(&[3], b"\xff\0bc")]);
    let structure = read(&progressive).unwrap();
    assert_eq!((structure.frame.blocks(), structure.scans, structure.scanned_blocks), (24, 3, 24 + 16 + 4));
    assert_eq!((structure.coded_bytes, structure.buffered), (7, true));
    assert_eq!(structure.bytes, progressive);
}

#[test]
fn a_picture_in_one_scan_ends_with_it_whatever_follows() {
    let one = [frame(0xc0, 20, 20), scan(&[1, 2, 3], b"a\xff\xd0b\xff\xff\xd1c")];
    let plain = file(&one);
    let followed = [&plain[..], &file(&one)].concat();
    assert_eq!(read(&followed).unwrap().bytes, plain);
    let unended = [&plain[..plain.len() - 2], &scan(&[1, 2, 3], b"again")].concat();
    let structure = read(&unended).unwrap();
    assert_eq!((structure.bytes, structure.scans), (&plain[..plain.len() - 2], 1));
    // One component after the other are several.
    let apart = file(&[frame(0xc1, 20, 20), scan(&[1], b"a"), scan(&[2], b"b"), scan(&[3], b"c")]);
    assert_eq!(read(&apart).map(|structure| (structure.scans, structure.scanned_blocks)), Ok((3, 24)));
}

#[test]
fn a_segment_that_breaks_off_ends_the_picture_before_it() {
    let whole = file(&[frame(0xc2, 20, 20), scan(&[1, 2, 3], b"dc"), segment(0xc4, &[0; 40]), scan(&[1], b"a")]);
    let at = whole.windows(2).position(|pair| pair == [0xff, 0xc4]).unwrap();
    for cut in at + 2..at + 42 {
        assert_eq!(read(&whole[..cut]).unwrap().bytes, &whole[..at]);
    }
}

#[test]
fn what_no_scan_follows_is_damage_and_what_no_browser_shows_unsupported() {
    for parts in [vec![], vec![frame(0xc0, 20, 20)], vec![scan(&[1], b"a")], vec![frame(0xc0, 0, 20), scan(&[1], b"a")]]
    {
        assert_eq!(read(&file(&parts)), Err(AbsentReason::DecodeError));
    }
    for marker in [0xc3, 0xc5, 0xc6, 0xc7, 0xcb, 0xcd, 0xce, 0xcf] {
        assert_eq!(read(&file(&[frame(marker, 20, 20)])), Err(AbsentReason::Unsupported), "{marker:x}");
    }
}

proptest! {
    /// Of random bytes, half of them those that mean something here.
    #[test]
    fn any_bytes_are_walked_over_once_and_without_a_panic(
        bytes in proptest::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(vec![0, 2, 0xff, 0xc0, 0xc2, 0xda, 0xd9])], 0..400)
    ) {
        for head in [&[][..], &frame(0xc2, 500, 300)] {
            let file = [&[0xff, 0xd8][..], head, &bytes].concat();
            if let Ok(structure) = read(&file) {
                prop_assert!(file.starts_with(structure.bytes));
                prop_assert!(structure.coded_bytes <= file.len() as u64);
                prop_assert!(structure.scanned_blocks <= u64::from(structure.scans) * structure.frame.blocks() * 255);
            }
        }
    }
}
