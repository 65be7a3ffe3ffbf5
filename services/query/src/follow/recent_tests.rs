use super::*;
use crate::filter::Facets;
use proptest::prelude::*;

fn event(partition: i32, offset: i64) -> Event {
    of_post(&format!("{partition}-{offset}"), partition, offset, None)
}

fn of_post(post_id: &str, partition: i32, offset: i64, facets: Option<Facets>) -> Event {
    let (post_id, data) = (post_id.to_owned(), bytes::Bytes::from_static(b"{}"));
    Event { partition, offset, post_id, facets, data, is_taken_back: false }
}

fn label(post_id: &str, offset: i64) -> Event {
    of_post(post_id, 0, offset, Some(Facets::any()))
}

fn erasure(post_id: &str, offset: i64) -> Event {
    of_post(post_id, 0, offset, None)
}

fn positions(text: &str) -> Positions {
    text.parse().unwrap()
}

fn places(taken: &Taken) -> Vec<(i32, i64)> {
    taken.events.iter().map(|(event, _)| (event.partition, event.offset)).collect()
}

#[test]
fn a_reader_that_comes_now_gets_what_comes_and_as_much_from_before_as_it_asks_for() {
    let recent = Recent::new(10);
    recent.start(positions("0:5,1:0"));
    recent.push(event(0, 5));
    recent.push(event(1, 0));
    let mut live = recent.live(&Filter::default(), 0);
    let mut with_one = recent.live(&Filter::default(), 1);
    assert_eq!(with_one.positions, positions("0:6,1:0"));
    recent.push(event(0, 6));
    assert_eq!(places(&recent.take(&mut live, &Filter::default(), 9)), [(0, 6)]);
    assert_eq!(places(&recent.take(&mut with_one, &Filter::default(), 9)), [(1, 0), (0, 6)]);
    assert_eq!(live.positions, positions("0:7,1:1"));
}

#[test]
fn a_reader_that_falls_behind_is_told_and_nobody_else_is() {
    let recent = Recent::new(3);
    recent.start(positions("0:0"));
    let (mut slow, mut quick) = (recent.live(&Filter::default(), 0), recent.live(&Filter::default(), 0));
    for offset in 0..4 {
        recent.push(event(0, offset));
        assert_eq!(places(&recent.take(&mut quick, &Filter::default(), 9)), [(0, offset)]);
    }
    assert!(recent.take(&mut slow, &Filter::default(), 9).is_lost);
    assert_eq!(slow.positions, positions("0:0"), "where it has to go on");
    assert!(matches!(recent.resume(&slow.positions), Resume::Log { .. }), "not from memory");
}

#[test]
fn an_erasure_takes_back_the_labels_before_it_and_none_after_it() {
    let recent = Recent::new(5);
    recent.start(positions("0:0"));
    let mut early = recent.live(&Filter::default(), 0);
    for event in [label("a", 0), label("b", 1), label("a", 2), erasure("a", 3), label("a", 4)] {
        recent.push(event);
    }
    let told = [(0, 1), (0, 3), (0, 4)];
    assert_eq!(places(&recent.take(&mut early, &Filter::default(), 9)), told, "to one who had not looked yet");
    let mut late = recent.live(&Filter::default(), 9);
    assert_eq!(places(&recent.take(&mut late, &Filter::default(), 9)), told, "to one who comes later");
    assert_eq!(late.positions, positions("0:5"));
    assert!(recent.is_erased_after(&label("a", 2)), "of what the topic still has");
    assert!(!recent.is_erased_after(&label("a", 4)), "labelled anew after the erasure");
    assert!(!recent.is_erased_after(&label("b", 1)));
    // What leaves memory leaves nothing behind.
    for offset in 5..20 {
        recent.push(label("c", offset));
    }
    assert_eq!(recent.read().of_post.keys().collect::<Vec<_>>(), ["c"]);
    assert_eq!(recent.read().of_post["c"].len(), 5);
}

#[test]
fn who_waits_is_woken_once_for_many_events() {
    let recent = Recent::new(10);
    recent.start(positions("0:0"));
    let mut changes = recent.changes();
    changes.mark_unchanged();
    recent.push(event(0, 0));
    recent.push(event(0, 1));
    assert!(!changes.has_changed().unwrap());
    recent.wake();
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    recent.wake();
    assert!(!changes.has_changed().unwrap(), "there is nothing new");
}

/// A log of two partitions in the order in which it was read, with holes as compaction leaves them.
fn log() -> impl Strategy<Value = Vec<(i32, i64)>> {
    prop::collection::vec((0i32..3, 1i64..3), 1..60).prop_map(|steps| {
        let mut next = [0i64; 3];
        let place = |(partition, step): (i32, i64)| {
            let offset = next[partition as usize] + step - 1;
            next[partition as usize] = offset + 1;
            (partition, offset)
        };
        steps.into_iter().map(place).collect()
    })
}

proptest! {
    /// Wherever it was cut off and however little memory there is: what it saw before, what the log gives between, and what
    /// memory gives after is the whole log, each record once.
    #[test]
    fn a_reader_that_was_cut_off_anywhere_misses_nothing_and_sees_nothing_twice(
        log in log(), capacity in 1usize..20, cut in 0usize..60, back in 0usize..60, batch in 1usize..5,
    ) {
        let (cut, back) = (cut.min(log.len()), back.min(log.len()).max(cut.min(log.len())));
        let recent = Recent::new(capacity);
        recent.start(positions("0:0,1:0,2:0"));
        let mut cursor = recent.live(&Filter::default(), 0);
        let mut seen = Vec::new();
        for place in &log[..cut] {
            recent.push(event(place.0, place.1));
            seen.extend(places(&recent.take(&mut cursor, &Filter::default(), 9)));
        }
        let left = cursor.positions.clone();
        for place in &log[cut..back] {
            recent.push(event(place.0, place.1));
        }
        let mut cursor = match recent.resume(&left) {
            Resume::Memory(cursor) => cursor,
            Resume::Log { until } => {
                let between = |place: &&(i32, i64)| {
                    place.1 >= left.next(place.0) && place.1 < until.next(place.0)
                };
                seen.extend(log.iter().filter(between));
                let Resume::Memory(cursor) = recent.resume(&until) else { panic!("memory has what comes after") };
                cursor
            }
        };
        // At once, as a stream does: what is dropped from memory before the first look is lost to it, and it is told so.
        while let taken = recent.take(&mut cursor, &Filter::default(), batch) && !taken.events.is_empty() {
            seen.extend(places(&taken));
        }
        for place in &log[back..] {
            recent.push(event(place.0, place.1));
            while let taken = recent.take(&mut cursor, &Filter::default(), batch) && !taken.events.is_empty() {
                prop_assert!(!taken.is_lost);
                seen.extend(places(&taken));
            }
        }
        while let taken = recent.take(&mut cursor, &Filter::default(), batch) && !taken.events.is_empty() {
            seen.extend(places(&taken));
        }
        let mut expected = log.clone();
        expected.sort_unstable();
        seen.sort_unstable();
        prop_assert_eq!(seen, expected);
    }
}
