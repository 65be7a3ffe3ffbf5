//! Codes and numbers as a person reads them.

use jiff::Timestamp;
use jtav_schemas::{Label, Modality, UncertainBecause};
use ratatui::style::Color;

/// Its sign, which tells labels apart without colours.
pub(crate) fn sign(label: Label) -> char {
    match label {
        Label::Positive => '+',
        Label::Neutral => '○',
        Label::Negative => '−',
    }
}

pub(crate) fn colour(label: Label) -> Color {
    match label {
        Label::Positive => Color::Green,
        Label::Neutral => Color::Cyan,
        Label::Negative => Color::Red,
    }
}

pub(crate) fn name(modality: Modality) -> &'static str {
    match modality {
        Modality::Text => "text",
        Modality::Audio => "sound",
        Modality::Image => "picture",
    }
}

/// What a mood sounds like; none of a tag that is not known here.
pub(crate) fn mood(tag: &str) -> Option<&'static str> {
    Some(match tag {
        "Q1" => "lively, happy",
        "Q2" => "tense, angry",
        "Q3" => "sad, low",
        "Q4" => "calm, pleasant",
        _ => return None,
    })
}

/// Why a part took no part, after "The picture …"; none of a status that is not known here.
pub(crate) fn absent(status: &str) -> Option<&'static str> {
    Some(match status {
        "absent" => "is not in the post",
        "fetch_denied" => "lies at an address that may not be fetched from",
        "fetch_failed" => "could not be fetched: its host failed, after all retries",
        "not_found" => "is not there any more: its host answered 404 or 410",
        "timeout" => "did not arrive in time",
        "too_large" => "is larger than the limits allow",
        "type_mismatch" => "is of another kind than the post says",
        "hash_mismatch" => "is not the file that the post declares: its hash differs",
        "unsupported" => "is in a format that is not decoded",
        "decode_error" => "is damaged, cut short or empty",
        _ => return None,
    })
}

/// Why a label is not certain, after "uncertain because …".
pub(crate) fn doubt(because: Option<UncertainBecause>, threshold: f32, lang: Option<&str>) -> String {
    match because {
        Some(UncertainBecause::LanguageUnclear) => "the language of the text cannot be told well enough".to_owned(),
        Some(UncertainBecause::LanguageNotCovered) => {
            let lang = lang.map_or_else(String::new, |lang| format!(" ({lang})"));
            format!("the model was not measured on this language{lang}")
        }
        Some(UncertainBecause::LowProbability) if threshold < 1.0 => {
            format!("its probability is below the {} from which labels are certain", percent(threshold))
        }
        Some(UncertainBecause::LowProbability) => "the model promises nothing for posts with these parts".to_owned(),
        None => "no reason is given".to_owned(),
    }
}

/// 0.9234 as `92 %`; never `100 %` or `0 %` of what is neither.
pub(crate) fn percent(share: f32) -> String {
    if !share.is_finite() {
        return "–".to_owned();
    }
    match (share * 100.0).round() {
        whole if whole >= 100.0 && share < 1.0 => "> 99 %".to_owned(),
        whole if whole <= 0.0 && share > 0.0 => "< 1 %".to_owned(),
        whole => format!("{whole:.0} %"),
    }
}

/// Seconds of a clip as `0:12`.
pub(crate) fn clock(seconds: f32) -> String {
    let whole = if seconds.is_finite() { seconds.max(0.0) as u64 } else { 0 };
    format!("{}:{:02}", whole / 60, whole % 60)
}

/// Where a stretch of a clip ends: never before what belongs to it.
pub(crate) fn clock_end(seconds: f32) -> String {
    clock(seconds.ceil())
}

/// A time as `2026-11-29 12:03:44 UTC`; none of what is no time.
pub(crate) fn utc(ms: i64) -> Option<String> {
    Timestamp::from_millisecond(ms).ok().map(|time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// Its time of day, UTC, as `12:03:44`; blanks of what is no time.
pub(crate) fn time_of_day(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| " ".repeat(8), |time| time.strftime("%H:%M:%S").to_string())
}

/// A count with its thousands set apart, as `12 345`.
pub(crate) fn count(number: f64) -> String {
    if !number.is_finite() {
        return "–".to_owned();
    }
    let digits = format!("{:.0}", number.abs());
    let mut shown = String::from(if number <= -0.5 { "−" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(' ');
        }
        shown.push(digit);
    }
    shown
}

/// A rate or a time with as many digits as say something: `0.42`, `4.2`, `42`, `4 200`.
pub(crate) fn figure(number: f64) -> String {
    match number.abs() {
        size if !size.is_finite() => "–".to_owned(),
        size if size >= 99.5 => count(number),
        size if size >= 9.95 => format!("{number:.0}"),
        size if size >= 0.995 => format!("{number:.1}"),
        0.0 => "0".to_owned(),
        size if size < 0.005 => "< 0.01".to_owned(),
        _ => format!("{number:.2}"),
    }
}

/// Bytes as `12 MiB`.
pub(crate) fn bytes(number: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut size, mut unit) = (number, 0);
    while size >= 1024.0 && unit + 1 < units.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{} {}", figure(size), units[unit])
}

#[cfg(test)]
mod tests {
    use jtav_schemas::AbsentReason;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_reason_has_its_words() {
        for reason in AbsentReason::ALL {
            assert!(absent(reason.as_str()).is_some(), "{reason}");
        }
        for because in UncertainBecause::ALL {
            assert_ne!(doubt(Some(because), 0.7, None), doubt(None, 0.7, None), "{because}");
        }
        assert_eq!((absent("present"), mood("Q9")), (None, None));
    }

    #[test]
    fn numbers_are_rounded_and_never_beyond_what_they_say() {
        assert_eq!([0.0, 0.001, 0.5, 0.996, 1.0].map(percent), ["0 %", "< 1 %", "50 %", "> 99 %", "100 %"]);
        assert_eq!([0.0, 7.9, 75.0, f32::NAN].map(clock), ["0:00", "0:07", "1:15", "0:00"]);
        assert_eq!([999.0, 1_000.0, 1_234_567.0, -3.0].map(count), ["999", "1 000", "1 234 567", "−3"]);
        assert_eq!([0.0, 0.001, 0.42, 4.2, 42.0, 4_200.0].map(figure), ["0", "< 0.01", "0.42", "4.2", "42", "4 200"]);
        assert_eq!([0.0, 1_536.0, 1e9].map(bytes), ["0 B", "1.5 KiB", "954 MiB"]);
        assert_eq!(utc(1_764_405_383_000).as_deref(), Some("2025-11-29 08:36:23 UTC"));
        assert_eq!((utc(i64::MAX), time_of_day(1_764_405_383_000)), (None, "08:36:23".to_owned()));
    }

    proptest! {
        #[test]
        fn any_number_can_be_said(number in any::<f64>(), ms in any::<i64>()) {
            for said in [figure(number), count(number), bytes(number), percent(number as f32), clock(number as f32), time_of_day(ms)] {
                prop_assert!(!said.is_empty() && !said.chars().any(char::is_control));
            }
        }
    }
}
