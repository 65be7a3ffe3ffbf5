//! What of a record is kept where not all of it fits. Pure.

/// Bytes that a header takes beside its name and value, at most: two lengths of varying size.
pub(crate) const HEADER_FRAME_BYTES: u64 = 10;

/// Bytes of each part of a record that fit into `room`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// First bytes of the key.
    pub key: u64,
    /// Names, values and frames of headers.
    pub headers: u64,
    /// First bytes of the value.
    pub value: u64,
}

impl Shares {
    /// All of it where it fits. Else no part can push the others out: the key is sure of an eighth of the room, the
    /// headers of a quarter of what it leaves, and the value has the rest.
    pub fn of(room: u64, key: u64, headers: u64, value: u64) -> Self {
        let key = key.min((room / 8).max(room.saturating_sub(headers.saturating_add(value))));
        let rest = room - key;
        let headers = headers.min((rest / 4).max(rest.saturating_sub(value)));
        Self { key, headers, value: value.min(rest - headers) }
    }
}

/// Bytes that a header takes.
pub fn header_bytes(name: usize, value: Option<usize>) -> u64 {
    name as u64 + value.unwrap_or(0) as u64 + HEADER_FRAME_BYTES
}

/// Chooses among headers, asked about them from the last to the first: of repeated names the last one counts, and what
/// brokers, tools and this system add stands behind what a stranger wrote. One that is too large leaves its room to
/// the others.
#[derive(Debug)]
pub struct HeaderRoom {
    bytes: u64,
    headers: usize,
    /// Headers that were turned away.
    pub left_out: u64,
    /// Bytes of their names and values.
    pub left_out_bytes: u64,
}

impl HeaderRoom {
    /// Room for so many bytes and headers.
    pub fn new(bytes: u64, headers: usize) -> Self {
        Self { bytes, headers, left_out: 0, left_out_bytes: 0 }
    }

    /// Whether there is room for one more.
    pub fn takes(&mut self, name: usize, value: Option<usize>) -> bool {
        let bytes = header_bytes(name, value);
        if self.headers == 0 || bytes > self.bytes {
            self.left_out += 1;
            self.left_out_bytes += bytes - HEADER_FRAME_BYTES;
            return false;
        }
        self.headers -= 1;
        self.bytes -= bytes;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_parts_fit_together_and_all_is_kept_where_it_fits(
            room in 0u64..3_000_000, key in 0u64..2_000_000, headers in 0u64..2_000_000, value in 0u64..2_000_000,
        ) {
            let shares = Shares::of(room, key, headers, value);
            prop_assert!(shares.key <= key && shares.headers <= headers && shares.value <= value);
            prop_assert!(shares.key + shares.headers + shares.value <= room);
            if key + headers + value <= room {
                prop_assert_eq!(shares, Shares { key, headers, value });
            } else {
                // Headers come whole or not at all, so only they may leave room.
                prop_assert_eq!(shares.key + shares.headers + shares.value, room);
                prop_assert!(shares.value >= value.min(room / 2), "the value keeps at least half of the room");
                prop_assert!(shares.key >= key.min(room / 8));
            }
        }

        #[test]
        fn headers_never_take_more_than_their_room(
            bytes in 0u64..5_000, most in 0usize..20, sizes in prop::collection::vec((0usize..50, prop::option::of(0usize..900)), 0..40),
        ) {
            let mut room = HeaderRoom::new(bytes, most);
            let kept: Vec<_> = sizes.iter().filter(|(name, value)| room.takes(*name, *value)).collect();
            prop_assert!(kept.len() <= most);
            prop_assert!(kept.iter().map(|(name, value)| header_bytes(*name, *value)).sum::<u64>() <= bytes);
            prop_assert_eq!(kept.len() as u64 + room.left_out, sizes.len() as u64);
        }
    }

    #[test]
    fn a_large_header_leaves_its_room_to_the_small_ones() {
        let mut room = HeaderRoom::new(100, 10);
        assert!(!room.takes(4, Some(600_000)));
        assert!(room.takes(4, Some(40)) && room.takes(4, None));
        assert_eq!((room.left_out, room.left_out_bytes), (1, 600_004));
    }
}
