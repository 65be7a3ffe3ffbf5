//! What reading a record costs, in allocations and bytes and not in time, whatever a stranger writes into it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use jtav_pipeline::{ReadRules, read_post};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<u64> = const { Cell::new(0) };
    static HELD: Cell<i64> = const { Cell::new(0) };
    static MOST_HELD: Cell<i64> = const { Cell::new(0) };
}

/// The system's allocator, counting for each thread.
struct Counting;

fn count(got: usize, gave_back: usize) {
    // Fails only while the thread ends.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + u64::from(got > 0)));
    let _ = BYTES.try_with(|bytes| bytes.set(bytes.get() + got as u64));
    let _ = HELD.try_with(|held| {
        held.set(held.get() + got as i64 - gave_back as i64);
        MOST_HELD.with(|most| most.set(most.get().max(held.get())));
    });
}

// SAFETY: hands everything to the system's allocator as it came; the counters are thread-locals without destructors.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count(bytes, layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Beginning, what is repeated, end.
const SHAPES: [(&str, &str, &str, &str); 22] = [
    ("one text", r#"{"id":"p","texts":[{"role":"b","text":""#, "word ", r#""}]}"#),
    ("escapes", r#"{"id":"p","texts":[{"role":"b","text":""#, r"\n\u00e9\ud83d\ude00", r#""}]}"#),
    ("half surrogates", r#"{"id":"p","texts":[{"role":"b","text":""#, r"\ud83d", r#""}]}"#),
    ("a long role", r#"{"id":"p","texts":[{"text":"hi","role":""#, "r", r#""}]}"#),
    ("empty parts", r#"{"id":"p","texts":["#, "{},", "{}]}"),
    ("small parts", r#"{"id":"p","texts":["#, r#"{"role":"b","text":"x"},"#, "{}]}"),
    ("unknown fields", r#"{"id":"p""#, r#","k":1"#, "}"),
    ("unknown fields with escapes", r#"{"id":"p""#, r#","\u006b\ud83d":"\n""#, "}"),
    ("numbers beyond all types", r#"{"id":"p","k":["#, "1e400,", "1]}"),
    ("a long number", r#"{"id":"p","k":"#, "7", "}"),
    ("a long revision", r#"{"id":"p","revision":"#, "7", "}"),
    ("a long fraction as revision", r#"{"id":"p","revision":0."#, "7", "}"),
    ("open lists", r#"{"id":"p","k":"#, "[", ""),
    ("open objects", r#"{"id":"p","k":"#, r#"{"k":"#, ""),
    ("open lists as texts", r#"{"id":"p","texts":"#, "[", ""),
    ("blanks", r#"{"id":"p""#, " ", "}"),
    ("blanks behind it", r#"{"id":"p"}"#, " ", ""),
    ("a long id", r#"{"id":""#, "é", r#""}"#),
    ("a long address", r#"{"id":"p","image":{"url":""#, "a", r#""}}"#),
    ("a deletion and lists", r#"{"id":"p","deleted":true,"k":"#, "[", ""),
    ("a deletion at the end", r#"{"revision":1e400,"texts":7,"k":["#, "1,", r#"1],"id":"p","deleted":true}"#),
    ("many ids", r#"{"deleted":true,"id":"p""#, r#","id":"p""#, "}"),
];

#[derive(Debug)]
struct Cost {
    allocations: u64,
    bytes: u64,
    most_held: i64,
}

fn cost(value: &[u8]) -> Cost {
    let (allocations, bytes, held) = (ALLOCATIONS.get(), BYTES.get(), HELD.get());
    MOST_HELD.set(held);
    drop(read_post(value, &ReadRules::feed(1 << 20)));
    Cost { allocations: ALLOCATIONS.get() - allocations, bytes: BYTES.get() - bytes, most_held: MOST_HELD.get() - held }
}

#[test]
fn eight_times_the_record_costs_at_most_ten_times_as_much() {
    for (name, start, unit, end) in SHAPES {
        let of = |bytes: usize| cost(format!("{start}{}{end}", unit.repeat(bytes / unit.len())).as_bytes());
        let (small, large) = (of(64 << 10), of(512 << 10));
        // The constant is for what a record costs whatever its length.
        assert!(large.allocations <= 10 * small.allocations + 20, "{name}: {small:?}, then {large:?}");
        assert!(large.bytes <= 10 * small.bytes + 20_000, "{name}: {small:?}, then {large:?}");
        // The record as it came is not counted: parsed, and while it is parsed, it takes a few times as much.
        assert!(large.most_held <= 4 * (512 << 10), "{name}: {large:?}");
    }
}
