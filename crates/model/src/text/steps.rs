//! Steps instead of time: how many characters were looked at. Counted in tests alone; elsewhere nothing is left of it.

/// `chars` more were looked at.
#[inline(always)]
pub(super) fn looked_at(chars: usize) {
    #[cfg(test)]
    tests::STEPS.with(|steps| steps.set(steps.get() + chars as u64));
    let _ = chars;
}

/// Counts what is taken out of an iterator over characters.
pub(super) trait Counted: Iterator + Sized {
    /// The same items, each a step.
    fn counted(self) -> impl Iterator<Item = Self::Item> {
        self.inspect(|_| looked_at(1))
    }
}

impl<I: Iterator> Counted for I {}

#[cfg(test)]
mod tests {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::cell::Cell;

    use super::super::{Ngrams, TextFrontEnd, Tokenizer, Word};

    thread_local! {
        pub(super) static STEPS: Cell<u64> = const { Cell::new(0) };
        static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    }

    /// The system's allocator, counting for each thread.
    struct Counting;

    // SAFETY: hands everything to the system's allocator as it came; the counter is a thread-local without a destructor.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            // Fails only while the thread ends.
            let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
            // SAFETY: the caller's promise is passed on.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
            // SAFETY: as above.
            unsafe { System.dealloc(pointer, layout) }
        }

        unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
            let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
            // SAFETY: as above.
            unsafe { System.realloc(pointer, layout, bytes) }
        }
    }

    #[global_allocator]
    static ALLOCATOR: Counting = Counting;

    /// Each is repeated to the length that is asked for.
    const SHAPES: [(&str, &str); 27] = [
        ("no blanks", "x"),
        ("CJK", "字"),
        ("accents", "éà"),
        ("emoji", "😀"),
        ("joined emoji", "👨\u{200D}"),
        ("families", "👨\u{200D}👩\u{200D}👧\u{200D}👦"),
        ("marks on one letter", "\u{301}"),
        ("marks of falling class", "\u{345}\u{301}\u{316}\u{327}"),
        ("marks behind an apostrophe", "a'\u{301}\u{301}\u{301}"),
        ("marks on a pictograph", "❤\u{301}"),
        ("variation selectors", "\u{FE0F}"),
        ("flags", "🇩🇪"),
        ("handles", "@"),
        ("handles of a letter", "@a"),
        ("addresses", "a@b"),
        ("hashtags", "#"),
        ("hashtags of a letter", "#a"),
        ("a hashtag of many parts", "1a"),
        ("links", "http"),
        ("links with a colon", "https:"),
        ("www", "www."),
        ("digits", "7"),
        ("one word", "word "),
        ("punctuation", "!"),
        ("joints", "a.b:c_"),
        ("beginnings of emoticons", ":-"),
        ("mixed", "Sooo #BestDayEver_2026 :-( @you 字😀é http://a.b don’t "),
    ];

    fn text_of(shape: &str, bytes: usize) -> String {
        // A letter before it, so that a shape of marks alone has something to stand on.
        std::iter::once("a").chain(std::iter::repeat_n(shape, bytes / shape.len())).collect()
    }

    /// Steps and allocations of some work on this thread.
    fn cost<T>(work: impl FnOnce() -> T) -> (u64, u64) {
        let (steps, allocations) = (STEPS.get(), ALLOCATIONS.get());
        drop(work());
        (STEPS.get() - steps, ALLOCATIONS.get() - allocations)
    }

    /// Of a text's words and their n-grams, by the tokenizer.
    fn cost_of_words(text: &str) -> (u64, u64) {
        cost(|| {
            let word = |text| Word { text, is_mark: false, is_shouted: false };
            // No more words than a network reads.
            let words: Vec<Word> = Tokenizer::new().words(text).into_iter().take(160).map(word).collect();
            Ngrams::of_parts([words.as_slice()])
        })
    }

    /// Ten and not eight: a vector that doubles, and marks that are sorted.
    #[test]
    fn eight_times_the_text_costs_at_most_ten_times_the_steps_and_allocations() {
        for (name, shape) in SHAPES {
            let [small, large] = [64 << 10, 512 << 10].map(|bytes| cost_of_words(&text_of(shape, bytes)));
            assert!(small.0 >= (64 << 10) / 4, "{name}: {} steps are not all that was looked at", small.0);
            assert!(large.0 <= 10 * small.0, "{name}: {} steps, then {}", small.0, large.0);
            assert!(large.1 <= 10 * small.1, "{name}: {} allocations, then {}", small.1, large.1);
            // Not only linear: a character is looked at a bounded number of times.
            assert!(large.0 <= 120 * (512 << 10), "{name}: {} steps", large.0);
        }
    }

    /// The front end stops reading where it has as many words as it may take, or has looked at as much as it may for them.
    #[test]
    fn beyond_its_bound_a_text_costs_the_front_end_no_more() {
        let front_end = TextFrontEnd::of_ngrams();
        for (name, shape) in SHAPES {
            let cost = |bytes| cost(|| front_end.input(&[("body", text_of(shape, bytes))]).unwrap());
            let [whole, longer] = [128 << 10, 1 << 20].map(cost);
            assert!(whole.1 <= 400_000, "{name}: {} allocations", whole.1);
            assert!(longer.1 <= whole.1 + whole.1 / 50 + 50, "{name}: {} allocations, then {}", whole.1, longer.1);
            assert!(longer.0 <= whole.0 + whole.0 / 50 + 50, "{name}: {} steps, then {}", whole.0, longer.0);
        }
    }

    /// So too where the same bytes come as many parts: each is read by itself.
    #[test]
    fn parts_cost_what_their_texts_cost() {
        let front_end = TextFrontEnd::of_ngrams();
        for (name, shape) in SHAPES {
            let text = text_of(shape, 8 << 10);
            let cost = |count| cost(|| front_end.input(&vec![("body", text.as_str()); count]).unwrap());
            let [two, sixteen] = [2, 16].map(cost);
            assert!(sixteen.1 <= 10 * two.1, "{name}: {} allocations, then {}", two.1, sixteen.1);
            assert!(sixteen.0 <= 10 * two.0, "{name}: {} steps, then {}", two.0, sixteen.0);
        }
    }

    proptest::proptest! {
        /// Whatever the text: its double costs at most a bit more than twice.
        #[test]
        fn twice_the_text_costs_at_most_three_times_the_steps(unit in "\\PC{1,12}", blanks in 0_usize..3) {
            let unit = format!("{unit}{}", " ".repeat(blanks));
            let (once, twice) = (cost_of_words(&text_of(&unit, 4 << 10)), cost_of_words(&text_of(&unit, 8 << 10)));
            proptest::prop_assert!(twice.0 <= 3 * once.0 + 1_000, "{unit:?}: {} steps, then {}", once.0, twice.0);
        }
    }
}
