//! Times as people write and read them, in UTC.

const DAY_S: i64 = 86_400;

/// `2026-11-25T20:15:30Z`; what lies outside the years 0 to 9999 reads as its edge.
pub fn utc(ms: i64) -> String {
    let seconds = ms.div_euclid(1_000).clamp(-62_167_219_200, 253_402_300_799);
    let (year, month, day) = date_of(seconds.div_euclid(DAY_S));
    let of_day = seconds.rem_euclid(DAY_S);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
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
        'd' => DAY_S * 1_000,
        _ => return None,
    };
    digits(&text[..text.len() - 1])?.checked_mul(unit_ms)
}

fn rfc3339(text: &str) -> Option<i64> {
    if !text.is_ascii() || text.len() < 20 {
        return None;
    }
    let separators = [(4, "-"), (7, "-"), (13, ":"), (16, ":")];
    if separators.iter().any(|(at, expected)| !text[*at..].starts_with(expected)) {
        return None;
    }
    if !"Tt ".contains(&text[10..11]) {
        return None;
    }
    let number = |at: usize, len: usize, range: std::ops::RangeInclusive<i64>| {
        digits(&text[at..at + len]).filter(|number| range.contains(number))
    };
    let (year, month) = (number(0, 4, 0..=9999)?, number(5, 2, 1..=12)?);
    let day = number(8, 2, 1..=days_in(year, month))?;
    // A leap second counts as the second before it.
    let (hour, minute, second) = (number(11, 2, 0..=23)?, number(14, 2, 0..=59)?, number(17, 2, 0..=60)?.min(59));
    let (millis, zone) = fraction(&text[19..])?;
    let seconds = days_of(year, month, day) * DAY_S + hour * 3_600 + minute * 60 + second - offset_s(zone)?;
    Some(seconds * 1_000 + millis)
}

/// Milliseconds of `.123456`, and what follows it.
fn fraction(text: &str) -> Option<(i64, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let end = rest.find(|c: char| !c.is_ascii_digit()).filter(|end| *end > 0)?;
    let millis: String = rest[..end].chars().chain("00".chars()).take(3).collect();
    Some((digits(&millis)?, &rest[end..]))
}

/// Seconds east of UTC.
fn offset_s(zone: &str) -> Option<i64> {
    let sign = match zone.get(..1)? {
        "Z" | "z" => return (zone.len() == 1).then_some(0),
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let (hours, minutes) =
        zone[1..].split_once(':').filter(|(hours, minutes)| hours.len() == 2 && minutes.len() == 2)?;
    let (hours, minutes) = (digits(hours).filter(|h| *h <= 23)?, digits(minutes).filter(|m| *m <= 59)?);
    Some(sign * (hours * 3_600 + minutes * 60))
}

/// A number of ASCII digits alone: `parse` would take a sign.
fn digits(text: &str) -> Option<i64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) { None } else { text.parse().ok() }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to the first of January of a year of the Gregorian calendar.
fn days_before_year(year: i64) -> i64 {
    let before = year - 1;
    before * 365 + before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400) - 719_162
}

fn days_of(year: i64, month: i64, day: i64) -> i64 {
    days_before_year(year) + (1..month).map(|month| days_in(year, month)).sum::<i64>() + day - 1
}

fn date_of(days: i64) -> (i64, i64, i64) {
    // 146,097 days are 400 years, so this is off by one at most.
    let mut year = 1970 + days * 400 / 146_097;
    while days_before_year(year) > days {
        year -= 1;
    }
    while days_before_year(year + 1) <= days {
        year += 1;
    }
    let mut day = days - days_before_year(year);
    let mut month = 1;
    while day >= days_in(year, month) {
        day -= days_in(year, month);
        month += 1;
    }
    (year, month, day + 1)
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
        fn every_second_reads_back_as_it_was_written(seconds in -62_167_219_200i64..=253_402_300_799) {
            prop_assert_eq!(rfc3339(&utc(seconds * 1_000)), Some(seconds * 1_000));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,30}", ms in any::<i64>()) {
            let _ = parse_since(&text, ms);
            let _ = utc(ms);
        }
    }
}
