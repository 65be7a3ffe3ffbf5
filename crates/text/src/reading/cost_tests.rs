//! What reading costs: steps, not time.

use super::Reader;
use super::steps::steps;

/// Each is repeated to the length that is asked for.
const SHAPES: [(&str, &str); 60] = [
    ("no blanks", "x"),
    ("words", "word "),
    ("single letters", "a "),
    ("spaced words", "h a t e "),
    ("CJK", "字"),
    ("Thai", "สวัสดี"),
    ("accents", "éà"),
    ("decomposed accents", "e\u{301}"),
    ("emoji", "😀"),
    ("joined emoji", "👨\u{200D}"),
    ("families", "👨\u{200D}👩\u{200D}👧\u{200D}👦"),
    ("skin tones", "👋🏽🏽"),
    ("tags", "🏴\u{E0067}"),
    ("keycaps", "1\u{FE0F}\u{20E3}"),
    ("flags", "🇩🇪"),
    ("half flags", "🇩"),
    ("accents on one letter", "\u{301}"),
    ("marks of falling class", "\u{345}\u{301}\u{316}\u{327}"),
    ("points on one letter", "\u{651}"),
    ("marks behind an apostrophe", "a'\u{301}\u{301}\u{301}"),
    ("marks on a pictograph", "❤\u{301}"),
    ("zero-width spaces", "\u{200B}"),
    ("joiners", "\u{200D}"),
    ("joiners between letters", "क्\u{200D}"),
    ("variation selectors", "\u{FE0F}"),
    ("handles", "@"),
    ("handles of a letter", "@a"),
    ("handles with domains", "@a.b"),
    ("addresses", "a@b"),
    ("addresses with dots", "a@b."),
    ("domains", "a."),
    ("www", "www."),
    ("links", "http"),
    ("links with a colon", "https:"),
    ("links without a blank", "http://a.b/"),
    ("links with a blank", "http://a.b/ "),
    ("links of punctuation", "http://!"),
    ("hashtags", "#"),
    ("hashtags of a letter", "#a"),
    ("joined words", "#ihateyou"),
    ("joined words with a blank", "#blacklivesmatter "),
    ("digits", "7"),
    ("digits with letters", "1a"),
    ("digits with dots", "1."),
    ("punctuation", "!"),
    ("mixed punctuation", "?!"),
    ("joints", "a.b:c_"),
    ("lines", "_"),
    ("beginnings of emoticons", ":-"),
    ("emoticons", ":) "),
    ("faces", "_^"),
    ("beginnings of a shrug", "¯\\_("),
    ("ampersands", "&"),
    ("ampersands with letters", "&a"),
    ("references", "&#x41;"),
    ("beginnings of a long reference", "&CounterClockwiseContourIntegra"),
    ("Korean in parts", "\u{1100}\u{1161}"),
    ("Korean of half width", "\u{FFA1}"),
    ("look-alikes", "аb"),
    ("stretched letters", "aaabbbccc"),
];

fn text_of(shape: &str, bytes: usize) -> String {
    // A letter before it, so that a shape of marks alone has something to stand on.
    std::iter::once("a").chain(std::iter::repeat_n(shape, bytes / shape.len())).collect()
}

fn cost(text: &str) -> u64 {
    let before = steps();
    // As many words as there are: nothing ends the reading early.
    Reader::with_max_words(usize::MAX).read(text);
    steps() - before
}

#[test]
fn eight_times_the_text_costs_at_most_nine_times_the_steps() {
    for (name, shape) in SHAPES {
        let (small, large) = (cost(&text_of(shape, 32 << 10)), cost(&text_of(shape, 256 << 10)));
        assert!(small >= (32 << 10) / 5, "{name}: {small} steps are not all that was looked at");
        assert!(large <= 9 * small, "{name}: {small} steps, then {large}");
        // Not only linear: a byte is looked at a bounded number of times.
        assert!(large <= 60 * (256 << 10), "{name}: {large} steps");
    }
}

#[test]
fn a_text_of_a_megabyte_costs_no_more_than_its_beginning() {
    for (name, shape) in SHAPES {
        let text = text_of(shape, 1 << 20);
        let before = steps();
        let reading = Reader::new().read(&text);
        assert!(steps() - before <= 60 * 512 * 160, "{name}: {} steps", steps() - before);
        assert!(reading.truncated && reading.words.len() <= 160, "{name}");
    }
}

proptest::proptest! {
    /// Whatever the text: its double costs at most a bit more than twice.
    #[test]
    fn twice_the_text_costs_at_most_three_times_the_steps(unit in "\\PC{1,12}", blanks in 0_usize..3) {
        let unit = format!("{unit}{}", " ".repeat(blanks));
        let (once, twice) = (cost(&text_of(&unit, 4 << 10)), cost(&text_of(&unit, 8 << 10)));
        proptest::prop_assert!(twice <= 3 * once + 1_000, "{unit:?}: {once} steps, then {twice}");
    }
}
