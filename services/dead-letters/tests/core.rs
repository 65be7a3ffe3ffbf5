//! The pure core: reading a letter, choosing, deciding.

mod support;

use bytes::Bytes;
use jtav_dead_letters::{Chains, Letter, LetterError, Position, Refusal, ReplayRules, Selection, decide};
use jtav_kafka::Record;
use jtav_pipeline::Stage;
use jtav_schemas::{DeadLetterHeaders as Names, DeadLetterReason};
use proptest::prelude::*;
use support::{INPUT, header, inbound, letter_of, post, set_aside, set_aside_within, stored};

fn rules(max_replays: u32, rekey: bool) -> ReplayRules {
    ReplayRules { input_topic: INPUT.into(), max_replays, rekey }
}

fn refusal(letter: &Letter, rules: &ReplayRules, erased: bool) -> Option<Refusal> {
    decide(letter, &Chains::new(10), rules, erased).err()
}

/// Bytes, or none.
fn bytes() -> impl Strategy<Value = Option<Bytes>> {
    prop::option::of(prop::collection::vec(any::<u8>(), 0..12).prop_map(Bytes::from))
}

/// Names of strangers, some of them ours.
fn header_name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,6}",
        Just(Names::REASON.to_owned()),
        Just(Names::STAGE.to_owned()),
        Just(Names::SOURCE_OFFSET.to_owned()),
        Just(Names::MODALITIES.to_owned()),
    ]
}

fn reason() -> impl Strategy<Value = DeadLetterReason> {
    prop::sample::select(DeadLetterReason::ALL.to_vec())
}

prop_compose! {
    fn input_record()(
        key in bytes(), value in bytes(), headers in prop::collection::vec((header_name(), bytes()), 0..5),
        partition in 0i32..9, offset in 0i64..1_000, timestamp_ms in prop::option::of(0i64..1_900_000_000_000),
    ) -> Record {
        Record { topic: INPUT.into(), partition, offset, timestamp_ms, key, value, headers, cut: None }
    }
}

proptest! {
    #[test]
    fn a_letter_gives_back_the_very_record_that_was_set_aside(record in input_record(), reason in reason()) {
        let letter = letter_of(&record, reason);
        prop_assert_eq!((&letter.key, &letter.value, &letter.headers), (&record.key, &record.value, &record.headers));
        prop_assert_eq!(letter.facts.reason, reason);
        prop_assert_eq!(letter.facts.stage.as_str(), "router");
        prop_assert_eq!((letter.facts.source.partition, letter.facts.source.offset), (record.partition, record.offset));
        prop_assert_eq!(letter.facts.source.timestamp_ms, record.timestamp_ms);
        prop_assert_eq!(letter.facts.replay_count, 0);
        prop_assert_eq!(letter.origin, format!("posts:{}:{}", record.partition, record.offset));
    }

    #[test]
    fn a_record_that_always_fails_goes_round_as_often_as_allowed_and_stays_the_same(
        mut record in input_record(), max_replays in 0u32..6,
    ) {
        record.value.get_or_insert_default();
        let origin = format!("posts:{}:{}", record.partition, record.offset);
        let mut round = record.clone();
        for count in 0..max_replays {
            let letter = letter_of(&round, DeadLetterReason::PoisonPill);
            let replayed = decide(&letter, &Chains::new(9), &rules(max_replays, false), false).unwrap();
            prop_assert_eq!((&replayed.topic[..], &replayed.key, &replayed.value), (INPUT, &record.key, &record.value));
            prop_assert_eq!(&replayed.headers[..record.headers.len()], &record.headers[..]);
            prop_assert_eq!(replayed.headers.len(), record.headers.len() + 2, "headers of ours do not pile up");
            prop_assert_eq!(header(&replayed, Names::REPLAY_COUNT), Some(Bytes::from((count + 1).to_string())));
            prop_assert_eq!(header(&replayed, Names::ORIGIN), Some(Bytes::from(origin.clone())));
            round = stored(replayed, 3, 5_000 + i64::from(count));
        }
        let letter = letter_of(&round, DeadLetterReason::PoisonPill);
        prop_assert_eq!(letter.facts.replay_count, max_replays);
        prop_assert_eq!(refusal(&letter, &rules(max_replays, false), false), Some(Refusal::ReplayLimit));
    }

    #[test]
    fn of_a_chain_only_the_latest_round_is_replayed_and_only_once(rounds in 0u32..8) {
        let letters: Vec<Letter> = (0..=rounds).map(|count| {
            let mut letter = letter_of(&post("p"), DeadLetterReason::PoisonPill);
            letter.facts.replay_count = count;
            letter
        }).collect();
        let mut chains = Chains::new(10);
        letters.iter().for_each(|letter| chains.note(letter).unwrap());
        let standing: Vec<u32> =
            letters.iter().filter(|l| !chains.is_superseded(l)).map(|l| l.facts.replay_count).collect();
        prop_assert_eq!(standing, vec![rounds]);
        chains.replayed(&letters[rounds as usize]).unwrap();
        prop_assert!(letters.iter().all(|letter| chains.is_superseded(letter)));
    }

    #[test]
    fn a_letter_that_was_cut_down_fits_says_so_and_is_made_whole_by_its_original_alone(
        mut record in input_record(), max_bytes in 900u64..5_000, key in 0usize..3_000, value in 0usize..9_000,
        large in 0usize..3_000, reason in reason(),
    ) {
        record.key = record.key.map(|bytes| Bytes::from(bytes.repeat(key)));
        record.value = record.value.map(|bytes| Bytes::from(bytes.repeat(value)));
        record.headers.push(("large".into(), Some(Bytes::from(vec![0; large]))));
        let cut = set_aside_within(max_bytes, inbound(&record), reason, Stage::Router);
        let letter = Letter::read(&stored(cut.clone(), 0, 7)).unwrap();
        let is_whole = (&letter.key, &letter.value, &letter.headers) == (&record.key, &record.value, &record.headers);
        prop_assert!(is_whole || letter.truncation().is_some(), "what is missing is said");
        prop_assert_eq!(letter.size_bytes(), (record.key.as_ref().map_or(0, Bytes::len) + record.value.as_ref().map_or(0, Bytes::len)) as u64);
        if letter.truncation().is_some() {
            prop_assert!(cut.size() <= max_bytes.max(1_200), "{} of {}", cut.size(), max_bytes);
            let refused = refusal(&letter, &rules(9, true), false);
            prop_assert_eq!(refused, Some(Refusal::Truncated));
            let whole = letter.completed(&record).unwrap();
            prop_assert_eq!((&whole.key, &whole.value, &whole.headers), (&record.key, &record.value, &record.headers));
            prop_assert!(whole.truncation().is_none());
            let mut other = record.clone();
            other.value = Some(Bytes::from_static(b"another record"));
            prop_assert!(letter.completed(&other).is_none());
            let elsewhere = Record { offset: record.offset + 1, ..record };
            prop_assert!(letter.completed(&elsewhere).is_none());
        }
    }

    #[test]
    fn an_erased_post_is_never_replayed(record in input_record(), reason in reason(), rekey in any::<bool>()) {
        prop_assert!(refusal(&letter_of(&record, reason), &rules(9, rekey), true).is_some());
    }

    #[test]
    fn a_selection_is_the_conjunction_of_its_parts(
        letter_reason in reason(), wanted in prop::collection::vec(reason(), 0..3),
        stages in prop::collection::vec(prop::sample::select(vec!["router", "ingest"]), 0..2),
        since_ms in prop::option::of(1_699_999_999_998i64..1_700_000_001_000), posts in prop::collection::vec("[pq]", 0..2),
    ) {
        let letter = letter_of(&post("p"), letter_reason);
        let selection = Selection {
            reasons: wanted.clone(), stages: stages.iter().map(|s| (*s).to_owned()).collect(), posts: posts.clone(), since_ms,
        };
        let expected = (wanted.is_empty() || wanted.contains(&letter_reason))
            && (stages.is_empty() || stages.contains(&"router"))
            && (posts.is_empty() || posts.iter().any(|post| post == "p"))
            && since_ms.is_none_or(|since| since <= 1_700_000_000_500);
        prop_assert_eq!(selection.takes(&letter), expected);
    }

    #[test]
    fn no_record_of_the_topic_makes_it_panic(record in input_record()) {
        let _ = Letter::read(&record);
    }

    #[test]
    fn a_position_reads_back_as_it_was_written(partition in 0i32.., offset in 0i64..) {
        let position = Position { partition, offset };
        prop_assert_eq!(position.to_string().parse(), Ok(position));
    }
}

#[test]
fn a_key_that_is_not_the_id_goes_back_only_under_the_id() {
    let mut record = post("p1");
    record.key = Some(Bytes::from_static(b"other"));
    let letter = letter_of(&record, DeadLetterReason::KeyMismatch);
    assert_eq!(refusal(&letter, &rules(3, false), false), Some(Refusal::KeyMismatch));
    let sent = decide(&letter, &Chains::new(1), &rules(3, true), false).unwrap();
    assert_eq!((sent.key.as_deref(), &sent.value), (Some(b"p1".as_slice()), &record.value));
}

#[test]
fn nothing_goes_back_without_bytes_but_a_tombstone_does() {
    let mut record = post("p1");
    record.value = None;
    let tombstone = letter_of(&record, DeadLetterReason::PublishRejected);
    let sent = decide(&tombstone, &Chains::new(1), &rules(3, false), false).unwrap();
    assert_eq!((sent.key, sent.value), (Some(Bytes::from_static(b"p1")), None));
    record.key = None;
    let nothing = letter_of(&record, DeadLetterReason::KeyMismatch);
    assert_eq!(refusal(&nothing, &rules(3, true), false), Some(Refusal::BytesMissing));
}

#[test]
fn a_record_without_the_workers_headers_is_no_letter() {
    let bare = post("p1");
    assert_eq!(Letter::read(&bare), Err(LetterError::Missing(Names::REASON)));
    let mut cut = stored(set_aside(inbound(&bare), DeadLetterReason::PoisonPill, Stage::Router), 0, 0);
    cut.headers.retain(|(name, _)| name != Names::SOURCE_OFFSET);
    assert_eq!(Letter::read(&cut), Err(LetterError::Missing(Names::SOURCE_OFFSET)));
    cut.headers.push((Names::SOURCE_OFFSET.into(), Some(Bytes::from_static(b"seven"))));
    assert_eq!(Letter::read(&cut), Err(LetterError::Unreadable(Names::SOURCE_OFFSET)));
    cut.headers.push((Names::REASON.into(), Some(Bytes::from_static(b"bad_mood"))));
    assert!(Letter::read(&cut).is_err());
}

#[test]
fn chains_are_bounded() {
    let mut chains = Chains::new(1);
    let mut letter = letter_of(&post("p"), DeadLetterReason::PoisonPill);
    chains.note(&letter).unwrap();
    letter.facts.replay_count = 1;
    chains.note(&letter).unwrap();
    letter.origin = "posts:0:1".into();
    assert!(chains.note(&letter).unwrap_err().to_string().contains("--since"));
}
