use std::collections::BTreeMap;

use super::*;

const AT: Duration = Duration::from_secs(1);

fn book(expected: &[Expected]) -> Book {
    let mut book = Book::new().unwrap();
    expected.iter().for_each(|expected| book.expect(expected, Duration::ZERO));
    book
}

fn labelled(revision: u64) -> Expected {
    Expected::Labelled { id: "a".to_owned(), revision }
}

fn label<'a>(revision: u64, event_id: &'a str, value: &'a [u8]) -> Seen<'a> {
    Seen::Label { revision, event_id, value }
}

#[test]
fn a_post_is_open_until_its_newest_revision_is_labelled() {
    let mut book = book(&[labelled(0)]);
    assert_eq!((book.open(), book.tally().lost), (1, 1));
    book.see("a", label(0, "e0", b"x"), AT);
    assert_eq!((book.open(), book.tally().labelled), (0, 1));
    book.expect(&labelled(1), Duration::ZERO);
    assert_eq!((book.open(), book.tally().lost), (1, 1));
    book.see("a", label(1, "e1", b"y"), AT);
    let tally = book.tally();
    assert_eq!((tally.ids, tally.records, tally.labelled, tally.lost, tally.duplicates_visible), (1, 2, 1, 0, 0));
    assert_eq!(book.stored(), [("a".to_owned(), Some((1, hash(b"e1"))))]);
}

#[test]
fn an_exact_repetition_is_raw_and_anything_else_is_visible() {
    let mut book = book(&[labelled(0)]);
    book.see("a", label(0, "e", b"x"), AT);
    book.see("a", label(0, "e", b"x"), AT);
    assert_eq!((book.tally().duplicates_raw, book.tally().duplicates_visible), (1, 0));
    book.see("a", label(0, "e", b"other content"), AT);
    book.see("a", label(0, "other id", b"x"), AT);
    assert_eq!((book.tally().duplicates_raw, book.tally().duplicates_visible), (1, 2));
}

#[test]
fn an_older_revision_after_a_newer_one_goes_backwards() {
    let mut book = book(&[labelled(0), labelled(1)]);
    book.see("a", label(1, "e1", b"y"), AT);
    assert_eq!((book.open(), book.tally().backwards), (0, 0));
    book.see("a", label(0, "e0", b"x"), AT);
    assert_eq!(book.tally().backwards, 1);
}

#[test]
fn an_erased_post_needs_its_record_and_a_null_and_a_label_after_it_is_seen() {
    let mut book = book(&[labelled(0), Expected::Erased { id: "a".to_owned() }]);
    book.see("a", label(0, "e", b"x"), AT);
    book.see("a", Seen::Erasure, AT);
    assert_eq!(book.open(), 1, "the label still stands");
    book.see("a", Seen::NullLabel, AT);
    assert_eq!((book.open(), book.tally().erased), (0, 1));
    assert_eq!(book.stored(), [("a".to_owned(), None)]);
    book.see("a", label(0, "e", b"x"), AT);
    let tally = book.tally();
    assert_eq!((tally.duplicates_visible, tally.erased, tally.lost), (1, 0, 1));
}

#[test]
fn a_dead_letter_of_a_good_post_and_a_second_one_of_a_bad_post_are_seen() {
    let letter = |offset: &'static [u8]| Seen::DeadLetter { source: (b"0", offset), reason: "no_modality" };
    let mut book = book(&[labelled(0), Expected::DeadLettered { id: "p".to_owned() }]);
    book.see("p", letter(b"7"), AT);
    book.see("p", letter(b"7"), AT);
    assert_eq!((book.tally().dead_lettered, book.tally().duplicates_raw), (1, 1));
    assert_eq!(book.tally().duplicates_visible, 0);
    book.see("p", letter(b"8"), AT);
    book.see("a", letter(b"9"), AT);
    let tally = book.tally();
    assert_eq!((tally.duplicates_visible, tally.lost, tally.set_aside, book.open()), (1, 0, 1, 0));
    assert_eq!(tally.set_aside_reasons, BTreeMap::from([("no_modality".to_owned(), 1)]));
    book.see("a", label(0, "e", b"x"), AT);
    assert_eq!((book.tally().duplicates_visible, book.tally().set_aside), (2, 0), "a label beside a dead letter");
    book.see("nobody", letter(b"1"), AT);
    assert_eq!(book.tally().foreign, 1);
}

/// Posts `p0`, `p1`, … that are due one after the other, so many a second.
fn paced(posts: usize, per_second: f64) -> Book {
    let mut book = Book::new().unwrap();
    for index in 0..posts {
        let expected = Expected::Labelled { id: id(index), revision: 0 };
        book.expect(&expected, Duration::from_secs_f64(index as f64 / per_second));
    }
    book
}

fn id(index: usize) -> String {
    format!("p{index}")
}

const LABELLED: Seen<'static> = Seen::Label { revision: 0, event_id: "e", value: b"x" };
const DEAD_LETTERED: Seen<'static> = Seen::DeadLetter { source: (b"0", b"1"), reason: "no_modality" };

#[test]
fn percentiles_agree_with_the_sorted_latencies() {
    let mut book = paced(1000, 1000.0);
    for index in 0..1000 {
        let latency = Duration::from_millis(index as u64 + 1);
        book.see(&id(index), LABELLED, Duration::from_millis(index as u64) + latency);
    }
    let latency = book.latency().unwrap();
    let near = |found: f64, expected: f64| assert!((found / expected - 1.0).abs() < 0.002, "{found} {expected}");
    near(latency.p50_ms, 500.0);
    near(latency.p90_ms, 900.0);
    near(latency.p99_ms, 990.0);
    near(latency.p99_9_ms, 999.0);
    near(latency.max_ms, 1000.0);
    near(latency.mean_ms, 500.5);
}

#[test]
fn a_stall_is_charged_to_every_post_that_was_due_during_it() {
    // Ten posts a second; the system freezes from 0 s to 10 s, then answers all at once. A generator that waits
    // for answers would have sent one post and reported one latency of 10 s.
    let mut book = paced(101, 10.0);
    for index in 0..101 {
        book.see(&id(index), LABELLED, Duration::from_secs(10));
    }
    let p50 = book.latency().unwrap().p50_ms;
    assert!((4_900.0..5_100.0).contains(&p50), "{p50}");
}

#[test]
fn a_post_with_neither_label_nor_dead_letter_is_lost() {
    let mut book = paced(4, 1.0);
    book.see("p0", LABELLED, Duration::from_secs(1));
    book.see("p1", DEAD_LETTERED, Duration::from_secs(1));
    book.refuse("p2");
    let counts = book.counts();
    assert_eq!((counts.labelled, counts.dead_lettered, counts.refused_by_broker, counts.lost), (1, 1, 1, 1));
    assert_eq!(book.open_ids(10), ["p3"]);
    assert_eq!(book.open(), 1);
}

#[test]
fn a_second_outcome_is_a_repetition_and_changes_no_latency() {
    let mut book = paced(1, 1.0);
    book.see("p0", LABELLED, Duration::from_millis(10));
    book.see("p0", LABELLED, Duration::from_secs(10));
    book.see("p0", DEAD_LETTERED, Duration::from_secs(10));
    let counts = book.counts();
    assert_eq!((counts.labelled, counts.dead_lettered, counts.repeated, counts.lost), (1, 0, 2, 0));
    assert!(book.latency().unwrap().max_ms < 11.0);
    assert_eq!(book.last_settled_at(), Duration::from_millis(10));
}

#[test]
fn a_key_of_another_phase_is_foreign() {
    let mut book = paced(1, 1.0);
    book.see("warm", LABELLED, Duration::from_secs(1));
    assert_eq!((book.counts().foreign, book.counts().lost), (1, 1));
}

#[test]
fn a_post_whose_acknowledgement_was_lost_but_which_was_labelled_counts_as_labelled() {
    let mut book = paced(1, 1.0);
    book.refuse("p0");
    book.see("p0", LABELLED, Duration::from_secs(1));
    assert_eq!((book.counts().labelled, book.counts().refused_by_broker, book.open()), (1, 0, 0));
}

#[test]
fn dead_letters_do_not_flatter_the_latencies() {
    let mut book = paced(1, 1.0);
    book.see("p0", DEAD_LETTERED, Duration::from_millis(1));
    assert_eq!(book.latency(), None);
}
