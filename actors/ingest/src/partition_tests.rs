use super::*;
use jtav_delivery::Outcome;

fn partition(limit: usize) -> Partition {
    Partition::new(PartitionLedger::new(0, AssignmentEpoch(1), limit), Some(0))
}

#[test]
fn event_lag_is_the_age_of_the_oldest_unsettled_record() {
    let mut owned = partition(10);
    let tags: Vec<_> = (0..3).map(|offset| owned.ledger.receive(offset).unwrap()).collect();
    let now = Instant::now();
    owned.timestamps.extend([(0, 1_000), (1, 4_000), (2, 6_000)]);
    assert_eq!(owned.event_lag_seconds(10_000, Some((0, 3)), now), 9.0);
    owned.ledger.settle(tags[1], Outcome::Published);
    assert_eq!(owned.event_lag_seconds(10_000, Some((0, 3)), now), 9.0, "the oldest still is");
    owned.ledger.settle(tags[0], Outcome::Published);
    assert_eq!(owned.event_lag_seconds(10_000, Some((0, 3)), now), 4.0);
    owned.ledger.settle(tags[2], Outcome::Published);
    owned.position = Some(3);
    assert_eq!(owned.event_lag_seconds(10_000, Some((0, 3)), now), 0.0);
}

#[test]
fn records_that_wait_on_the_broker_while_intake_is_paused_show_as_lag() {
    let mut owned = partition(10);
    owned.position = Some(3);
    let start = Instant::now();
    owned.event_lag_seconds(10_000, Some((0, 4)), start);
    let later = start + std::time::Duration::from_millis(20);
    assert!(owned.event_lag_seconds(10_000, Some((0, 4)), later) >= 0.02);
    assert_eq!(owned.event_lag_seconds(10_000, Some((0, 3)), later), 0.0);
}

fn record(offset: i64) -> Record {
    Record {
        topic: String::new(),
        partition: 0,
        offset,
        timestamp_ms: None,
        key: None,
        value: None,
        headers: Vec::new(),
        cut: None,
    }
}

#[test]
fn an_offset_range_is_done_when_its_last_record_is_settled_and_what_lies_behind_it_is_left() {
    let mut owned = partition(10);
    owned.read_only(PartitionRange { partition: 0, start: 3, end: 6 });
    assert!(!owned.at_end);
    owned.take_in_hand(record(3));
    assert!(!owned.at_end);
    // Offsets have gaps: 4 and 5 hold no record.
    let tag = owned.ledger.receive(3).unwrap();
    owned.in_hand = None;
    owned.take_in_hand(record(6));
    assert!(owned.at_end && owned.in_hand.is_none() && !owned.is_done());
    owned.ledger.settle(tag, Outcome::Published);
    assert!(owned.is_done());
    owned.start_period(0, AssignmentEpoch(2), 10, 3);
    assert!(!owned.is_done(), "what is read again is not done");
    owned.take_in_hand(record(5));
    assert!(owned.at_end && !owned.is_done(), "the last record is in hand");
    owned.read_only(PartitionRange { partition: 0, start: 6, end: 6 });
    assert!(owned.at_end, "an empty range");
}

#[test]
fn one_slow_post_bounds_the_window_behind_it() {
    let settings =
        IngestSettings { max_in_flight_per_partition: 4, max_window_per_partition: 6, ..IngestSettings::for_tests() };
    let mut owned = partition(4);
    owned.ledger.receive(0).unwrap();
    for offset in 1..6 {
        let tag = owned.ledger.receive(offset).unwrap();
        owned.ledger.settle(tag, Outcome::Published);
    }
    assert!(owned.is_full(&settings), "pending {} window {}", owned.ledger.pending(), owned.ledger.window());
}
