//! When a certificate ends, so that somebody is told before. Its validity stands at a fixed place (RFC 5280, 4.1.2.5); nothing else
//! of it is read here, and nothing is decided by it: TLS has its own reader. Pure.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// `version` of a certificate; the first one has none.
const VERSION: u8 = 0xa0;

/// The end of a certificate in DER; none of what is no certificate.
pub(crate) fn not_after(der: &[u8]) -> Option<Timestamp> {
    let (to_be_signed, _) = take(take(der, SEQUENCE)?.0, SEQUENCE)?;
    let fields = take(to_be_signed, VERSION).map_or(to_be_signed, |(_, rest)| rest);
    let (_serial, fields) = take(fields, INTEGER)?;
    let (_signature, fields) = take(fields, SEQUENCE)?;
    let (_issuer, fields) = take(fields, SEQUENCE)?;
    let (validity, _) = take(fields, SEQUENCE)?;
    let (_, _not_before, rest) = element(validity)?;
    let (tag, not_after, _) = element(rest)?;
    read_time(tag, not_after)
}

/// The content of an element that has this tag, and what follows it.
fn take(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(der)?;
    (found == tag).then_some((content, rest))
}

/// Tag and content of the first element, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..0x80 => (usize::from(first), rest),
        // So many bytes of length follow; four are 4 GB.
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `YYMMDDHHMMSSZ` to 2049, `YYYYMMDDHHMMSSZ` from then on.
fn read_time(tag: u8, text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let two = |at: usize| text.get(at..at + 2)?.parse::<i8>().ok();
    let (year, rest) = match (tag, text.len()) {
        (UTC_TIME, 12) => {
            let year = i16::from(two(0)?);
            (if year < 50 { 2000 + year } else { 1900 + year }, 2)
        }
        (GENERALIZED_TIME, 14) => (text.get(..4)?.parse().ok()?, 4),
        _ => return None,
    };
    let [month, day, hour, minute, second] = [0, 2, 4, 6, 8].map(|at| two(rest + at));
    let time = DateTime::new(year, month?, day?, hour?, minute?, second?, 0).ok()?;
    TimeZone::UTC.to_timestamp(time).ok()
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;

    use super::*;

    const PEM: &[u8] = include_bytes!("../../../actors/media/tests/fixtures/tls/server.pem");

    #[test]
    fn the_end_of_a_certificate_is_what_openssl_says_it_is() {
        let der = CertificateDer::from_pem_slice(PEM).unwrap();
        assert_eq!(not_after(&der), "2126-11-02T02:17:13Z".parse().ok());
    }

    #[test]
    fn years_of_two_digits_lie_between_1950_and_2049() {
        let read = |text: &str| read_time(UTC_TIME, text.as_bytes()).map(|time| time.to_string());
        assert_eq!(read("270131235959Z").as_deref(), Some("2027-01-31T23:59:59Z"));
        assert_eq!(read("500101000000Z").as_deref(), Some("1950-01-01T00:00:00Z"));
        for wrong in ["270131235959", "271331000000Z", "2701310000Z", "ä70131000000Z", "Z", ""] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_no_certificate_or_only_a_part_of_one_has_no_end_and_ends_nobody() {
        let der = CertificateDer::from_pem_slice(PEM).unwrap();
        let end = not_after(&der).unwrap();
        for length in 0..der.len() {
            assert_eq!(not_after(&der[..length]), None, "{length} bytes");
        }
        for place in 0..der.len() {
            for byte in [0x00, 0x7f, 0x80, 0x84, 0xff] {
                let mut other = der.to_vec();
                other[place] = byte;
                // Another time perhaps, where a digit was changed; never a panic.
                let _ = not_after(&other);
            }
        }
        assert_eq!(not_after(&[]), None);
        assert!(end > Timestamp::UNIX_EPOCH);
    }
}
