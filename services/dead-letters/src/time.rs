//! Times as people write and read them, in UTC.

use jiff::Timestamp;

/// The first second of the year 0. Before it years have a sign, which RFC 3339 does not know.
const YEAR_0_S: i64 = -62_167_219_200;

/// `2026-11-25T20:15:30Z`; what lies outside the years 0 to 9999 reads as its edge.
pub fn utc(ms: i64) -> String {
    let seconds = ms.div_euclid(1_000).clamp(YEAR_0_S, Timestamp::MAX.as_second());
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Reads `90s`, `30m`, `2h`, `7d` (so long before `now_ms`) or RFC 3339 (`2026-11-25T20:15:30Z`, with fraction or
/// offset). Milliseconds since 1970.
///
/// # Errors
/// A sentence that says what was expected.
pub fn parse_since(text: &str, now_ms: i64) -> Result<i64, String> {
    ago(text).map(|ms| now_ms.saturating_sub(ms)).or_else(|| rfc3339(text)).ok_or_else(|| {
        format!("`{text}` is no time: expected an age (90s, 30m, 2h, 7d) or RFC 3339 (2026-11-25T20:15:30Z)")
    })
}

fn ago(text: &str) -> Option<i64> {
    let unit_ms = match text.chars().last()? {
        's' => 1_000,
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => 86_400_000,
        _ => return None,
    };
    let number = &text[..text.len() - 1];
    // `parse` would take a sign.
    number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse::<i64>().ok())??.checked_mul(unit_ms)
}

fn rfc3339(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ages_and_dates_are_read() {
        let at = |text: &str| parse_since(text, 1_000_000_000_000);
        assert_eq!(at("90s"), Ok(999_999_910_000));
        assert_eq!(at("2h"), Ok(999_992_800_000));
        assert_eq!(at("7d"), Ok(999_395_200_000));
        // `date -u -d @1764101730`
        assert_eq!(at("2025-11-25T20:15:30Z"), Ok(1_764_101_730_000));
        assert_eq!(at("2025-11-25T22:15:30.25+02:00"), Ok(1_764_101_730_250));
        assert_eq!(at("1970-01-01T00:00:00Z"), Ok(0));
        assert_eq!(at("2000-02-29T00:00:00Z"), Ok(951_782_400_000));
    }

    #[test]
    fn what_is_no_time_is_refused_with_what_was_expected() {
        for text in [
            "",
            "h",
            "2",
            "2w",
            "-2h",
            "1.5h",
            "99999999999999999d",
            "2025-11-25",
            "2025-02-29T00:00:00Z",
            "2025-13-01T00:00:00Z",
            "2025-11-25T24:00:00Z",
            "2025-11-25T20:15:30",
            "2025-11-25T20:15:30.Z",
            "2025-11-25T20:15:30+2:00",
            "2025-11-25T20:15:30Zx",
            "２h",
            "2025-11-25T20:15:30é",
        ] {
            let error = parse_since(text, 0).unwrap_err();
            assert!(error.contains("RFC 3339"), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn every_second_reads_back_as_it_was_written(seconds in YEAR_0_S..=Timestamp::MAX.as_second()) {
            prop_assert_eq!(rfc3339(&utc(seconds * 1_000)), Some(seconds * 1_000));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,30}", ms in any::<i64>()) {
            let _ = parse_since(&text, ms);
            let _ = utc(ms);
        }
    }
}
