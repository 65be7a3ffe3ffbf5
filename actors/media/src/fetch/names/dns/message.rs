//! Questions and answers of DNS as bytes (RFC 1035), as far as a stub needs them: the addresses of a name. Pure.
//!
//! An answer may come from anybody. It is read once from front to back: names are stepped over and never followed, so no
//! pointer can lead in a circle, and what is kept is bounded.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Of one family; nobody tries more.
pub(super) const MAX_ADDRESSES: usize = 16;

const HEADER_BYTES: usize = 12;
const CLASS_INTERNET: u16 = 1;

/// Kind of address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    /// Of the record that holds one: A or AAAA (RFC 3596).
    fn record_type(self) -> u16 {
        match self {
            Family::V4 => 1,
            Family::V6 => 28,
        }
    }
}

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    /// Addresses, perhaps none, and how long this holds.
    Addresses(Vec<IpAddr>, Duration),
    /// There is no such name.
    NoName,
    /// It did not fit: to be asked over TCP.
    Truncated,
    /// It cannot or will not say.
    Failed,
}

/// A question for the addresses of a whole name; `None` where DNS cannot carry it.
pub(super) fn question(id: u16, name: &str, family: Family) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + name.len() + 6);
    bytes.extend(id.to_be_bytes());
    // One question, and recursion is desired.
    bytes.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        let len = u8::try_from(label.len()).ok().filter(|len| (1..=63).contains(len))?;
        bytes.push(len);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    if bytes.len() > HEADER_BYTES + 255 {
        return None;
    }
    bytes.extend(family.record_type().to_be_bytes());
    bytes.extend(CLASS_INTERNET.to_be_bytes());
    Some(bytes)
}

/// What `reply` says to `question`, one of [`question`]'s; `None` where it answers something else or nothing.
pub(super) fn read(question: &[u8], reply: &[u8]) -> Option<Reply> {
    let asked = &question[HEADER_BYTES..];
    let header = reply.get(..HEADER_BYTES)?;
    let answers_it = header[..2] == question[..2] && header[2] & 0xf8 == 0x80 && header[4..6] == [0, 1];
    let echoed = reply.get(HEADER_BYTES..HEADER_BYTES + asked.len())?;
    if !answers_it || !echoed.eq_ignore_ascii_case(asked) {
        return None;
    }
    if header[2] & 0x02 != 0 {
        return Some(Reply::Truncated);
    }
    match header[3] & 0x0f {
        0 => {}
        3 => return Some(Reply::NoName),
        _ => return Some(Reply::Failed),
    }
    let wanted = u16::from_be_bytes([asked[asked.len() - 4], asked[asked.len() - 3]]);
    let records = u16::from_be_bytes([header[6], header[7]]);
    Some(addresses(&reply[HEADER_BYTES + asked.len()..], records, wanted))
}

/// The addresses among the first `records` of `rest`. One that is cut off ends the reading.
fn addresses(mut rest: &[u8], records: u16, wanted: u16) -> Reply {
    let (mut found, mut ttl_s) = (Vec::new(), u32::MAX);
    for _ in 0..records {
        let Some((record, behind)) = record(rest) else { break };
        rest = behind;
        // The aliases on the way hold no longer than they say, either. A negative one is none (RFC 2181 8).
        ttl_s = ttl_s.min(if record.ttl_s > i32::MAX as u32 { 0 } else { record.ttl_s });
        if record.class == CLASS_INTERNET && record.kind == wanted && found.len() < MAX_ADDRESSES {
            found.extend(address(record.data));
        }
    }
    let ttl_s = if found.is_empty() { 0 } else { ttl_s };
    Reply::Addresses(found, Duration::from_secs(ttl_s.into()))
}

fn address(data: &[u8]) -> Option<IpAddr> {
    match data.len() {
        4 => <[u8; 4]>::try_from(data).ok().map(|octets| Ipv4Addr::from(octets).into()),
        16 => <[u8; 16]>::try_from(data).ok().map(|octets| Ipv6Addr::from(octets).into()),
        _ => None,
    }
}

struct Record<'a> {
    kind: u16,
    class: u16,
    ttl_s: u32,
    data: &'a [u8],
}

/// The first record of `bytes` and what lies behind it.
fn record(bytes: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let rest = behind_name(bytes)?;
    let (fixed, rest) = rest.split_at_checked(10)?;
    let two = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
    let (data, rest) = rest.split_at_checked(usize::from(two(8)))?;
    let ttl_s = u32::from(two(4)) << 16 | u32::from(two(6));
    Some((Record { kind: two(0), class: two(2), ttl_s, data }, rest))
}

fn behind_name(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        let (&len, rest) = bytes.split_first()?;
        match len {
            0 => return Some(rest),
            1..=63 => bytes = rest.get(usize::from(len)..)?,
            // A pointer ends a name.
            0xc0.. => return rest.get(1..),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An answer to `question` with records of (type, TTL, data), each with a pointer as its name.
    fn answer(question: &[u8], flags: [u8; 2], records: &[(u16, u32, &[u8])]) -> Vec<u8> {
        let mut bytes = question.to_vec();
        bytes[2..4].copy_from_slice(&flags);
        bytes[6..8].copy_from_slice(&(records.len() as u16).to_be_bytes());
        for (kind, ttl_s, data) in records {
            bytes.extend([0xc0, 12]);
            bytes.extend(kind.to_be_bytes());
            bytes.extend(CLASS_INTERNET.to_be_bytes());
            bytes.extend(ttl_s.to_be_bytes());
            bytes.extend((data.len() as u16).to_be_bytes());
            bytes.extend(*data);
        }
        bytes
    }

    const GOOD: [u8; 2] = [0x81, 0x80];

    #[test]
    fn addresses_come_with_the_shortest_time_of_the_chain_that_leads_to_them() {
        let question = question(7, "a.example", Family::V4).unwrap();
        let alias: (u16, u32, &[u8]) = (5, 20, &[1, b'b', 0]);
        let reply = answer(&question, GOOD, &[alias, (1, 300, &[9, 9, 9, 9]), (28, 300, &[0; 16]), (1, 60, &[8; 4])]);
        let expected = vec![IpAddr::from([9, 9, 9, 9]), IpAddr::from([8, 8, 8, 8])];
        assert_eq!(read(&question, &reply), Some(Reply::Addresses(expected, Duration::from_secs(20))));
    }

    #[test]
    fn an_alias_that_leads_to_itself_is_an_answer_without_addresses() {
        let question = question(7, "a.example", Family::V6).unwrap();
        let circle: (u16, u32, &[u8]) = (5, 600, &[0xc0, 12]);
        let reply = answer(&question, GOOD, &[circle; 50]);
        assert_eq!(read(&question, &reply), Some(Reply::Addresses(Vec::new(), Duration::ZERO)));
    }

    #[test]
    fn what_answers_another_question_is_no_answer() {
        let asked = question(7, "a.example", Family::V4).unwrap();
        let good = answer(&asked, GOOD, &[(1, 60, &[9; 4])]);
        assert!(read(&asked, &good).is_some());
        for other in [question(8, "a.example", Family::V4), question(7, "b.example", Family::V4)] {
            assert_eq!(read(&asked, &answer(&other.unwrap(), GOOD, &[(1, 60, &[9; 4])])), None);
        }
        let other_family = question(7, "a.example", Family::V6).unwrap();
        assert_eq!(read(&asked, &answer(&other_family, GOOD, &[])), None);
        assert_eq!(read(&asked, &asked), None, "a question is no answer");
    }

    #[test]
    fn codes_and_the_mark_of_a_cut_are_told_apart() {
        let asked = question(7, "a.example", Family::V4).unwrap();
        for (flags, expected) in [
            ([0x83, 0x80], Reply::Truncated),
            ([0x81, 0x83], Reply::NoName),
            ([0x81, 0x82], Reply::Failed),
            ([0x81, 0x85], Reply::Failed),
        ] {
            assert_eq!(read(&asked, &answer(&asked, flags, &[])), Some(expected));
        }
    }

    #[test]
    fn thousands_of_addresses_are_cut_down_to_a_few() {
        let asked = question(7, "a.example", Family::V4).unwrap();
        let reply = answer(&asked, GOOD, &vec![(1, 60, &[9; 4][..]); 4_000]);
        let Some(Reply::Addresses(found, _)) = read(&asked, &reply) else { panic!("no addresses") };
        assert_eq!(found.len(), MAX_ADDRESSES);
    }

    #[test]
    fn names_that_dns_cannot_carry_are_not_asked_for() {
        for name in ["", ".", "a..b", "a.", &"x".repeat(64), &format!("{}x", "ab.".repeat(90))] {
            assert_eq!(question(1, name, Family::V4), None, "{name}");
        }
        assert!(question(1, &format!("{}ab", "ab.".repeat(83)), Family::V4).is_some(), "251 characters");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), like in any::<bool>()) {
            let asked = question(7, "a.example", Family::V4).unwrap();
            if like {
                // As an answer to the question begins, so that the records are read.
                let mut head = answer(&asked, GOOD, &[]);
                head[7] = 9;
                bytes.splice(0..0, head);
            }
            if let Some(Reply::Addresses(found, _)) = read(&asked, &bytes) {
                prop_assert!(found.len() <= MAX_ADDRESSES);
            }
        }
    }
}
