/// The candidate that looks most like `written`. The last part of a dotted key counts for itself, so that `brokers`
/// finds `kafka.brokers`; a tie goes to the first.
pub(crate) fn nearest<'a>(written: &str, candidates: impl Iterator<Item = &'a str>) -> &'a str {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let written_last = last(written);
    let likeness = |candidate: &str| {
        let whole = strsim::normalized_damerau_levenshtein(written, candidate);
        let part = strsim::normalized_damerau_levenshtein(&written_last, &last(candidate));
        // Slightly less than the whole key, which decides between sections that share a name such as `attempts`.
        whole.max(0.9 * part) + 0.1 * whole
    };
    let mut best = ("", f64::NEG_INFINITY);
    for candidate in candidates {
        let score = likeness(candidate);
        if score > best.1 {
            best = (candidate, score);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_fingers_finds_its_key() {
        let keys = ["kafka.brokers", "kafka.group_id", "media.attempts", "publish.attempts", "store.url"];
        for (written, expected) in [
            ("kafka.broker", "kafka.brokers"),
            ("kafak.brokers", "kafka.brokers"),
            ("brokers", "kafka.brokers"),
            ("kafka.groupid", "kafka.group_id"),
            ("publish.attemps", "publish.attempts"),
            ("media.attemps", "media.attempts"),
            ("redis.url", "store.url"),
        ] {
            assert_eq!(nearest(written, keys.into_iter()), expected, "{written}");
        }
    }
}
