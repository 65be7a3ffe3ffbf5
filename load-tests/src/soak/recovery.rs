//! How long the traces of outages and of counters that disagree lasted.

use super::outage::OutageRecord;
use super::sample::Series;
use super::slope::median;

/// A lag this long after the end of an outage is still due to it, for finding what is normal.
const SHADOW_SECONDS: f64 = 30.0;

/// Finds for each outage when the event lag was normal again: below twice its 95 % outside of outages, or 2 s.
pub fn recoveries(outages: &mut [OutageRecord], series: &Series) {
    let lag = series.points(&series.event_lag_seconds);
    let in_shadow = |seconds: f64| {
        outages.iter().any(|record| (record.at_seconds..record.over_at_seconds + SHADOW_SECONDS).contains(&seconds))
    };
    let mut normal: Vec<f64> = lag.iter().filter(|point| !in_shadow(point.0)).map(|point| point.1).collect();
    normal.sort_by(f64::total_cmp);
    let tail = &normal[normal.len() * 9 / 10..];
    let limit = (2.0 * median(tail).unwrap_or(0.0)).max(2.0);
    for record in outages {
        let after = lag.iter().find(|(seconds, value)| *seconds >= record.over_at_seconds && *value <= limit);
        record.recovered_after_seconds = after.map(|point| point.0 - record.over_at_seconds);
    }
}

/// Longest time for which the gap was not 0.
pub fn longest_gap_seconds(series: &Series) -> f64 {
    let (mut longest, mut since) = (0.0, None);
    for (seconds, gap) in series.points(&series.conservation_gap) {
        since = if gap == 0.0 { None } else { since.or(Some(seconds)) };
        longest = since.map_or(longest, |since: f64| (seconds - since).max(longest));
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::outage::Outage;

    #[test]
    fn an_outage_is_over_when_the_lag_is_as_low_as_without_one() {
        let series = Series::of_a_quiet_run(|second| if (100.0..120.0).contains(&second) { 15.0 } else { 0.5 });
        let record = OutageRecord {
            outage: Outage::RedisPaused,
            at_seconds: 99.0,
            over_at_seconds: 105.0,
            recovered_after_seconds: None,
        };
        let mut outages = [record];
        recoveries(&mut outages, &series);
        assert_eq!(outages[0].recovered_after_seconds, Some(15.0));
        assert_eq!(longest_gap_seconds(&series), 4.0);
    }
}
