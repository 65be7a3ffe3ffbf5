use jtav_model::TextFrontEnd;
use jtav_model::text::WordPieces;

use super::*;

/// Has `so`, `good` and every lower-case letter.
fn pieces() -> WordPieces {
    let letters = ('a'..='z').flat_map(|letter| [letter.to_string(), format!("##{letter}")]);
    let words = ["[UNK]", "[CLS]", "[SEP]", "so", "good"].map(str::to_owned).into_iter().chain(letters);
    let rows: Vec<String> = words.enumerate().map(|(row, word)| format!("\"{word}\":{row}")).collect();
    let model = format!(
        r###"{{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":100,"vocab":{{{}}}}}"###,
        rows.join(",")
    );
    let file = format!(
        r#"{{"version":"1.0","added_tokens":[],"normalizer":null,"pre_tokenizer":null,"decoder":null,"model":{model}}}"#
    );
    WordPieces::from_json(file.as_bytes(), "pieces.json".as_ref()).unwrap()
}

fn input(parts: &[&str]) -> TextInput {
    let parts: Vec<(&str, &str)> = parts.iter().map(|text| ("body", *text)).collect();
    TextFrontEnd::with_pieces(pieces(), true).input(&parts).unwrap().unwrap()
}

fn encoded(attention: Vec<f32>) -> EncodedText {
    EncodedText { encoded: jtav_model::Encoded { vector: vec![1.0], attention }, semantic: None }
}

#[test]
fn a_post_costs_its_pieces_and_long_words_cost_more() {
    assert_eq!(cost(&input(&["so good"])), 2 + 2);
    assert_eq!(cost(&input(&["elephants"])), 9 + 2);
    assert_eq!(cost(&input(&["so good", "ab"])), 4 + 4);
}

/// The dearest posts that there are: as many pieces, words and characters as are read, in both parts.
#[test]
fn no_text_costs_more_than_a_bound() {
    for word in ["so ", "elephant ", "abcdefghij".repeat(4).as_str(), "字", "😀", "!?", "a\u{301}\u{301} ", "&amp;"]
    {
        let text = word.repeat(60_000);
        let others: Vec<&str> = std::iter::repeat_n(text.as_str(), 4).collect();
        let input = input(&[&[&*format!("so {text}")][..], &others].concat());
        assert!(cost(&input) <= 2 * 256, "{word}: {}", cost(&input));
        assert!(bytes(&input) < 600_000, "the settings' memory ceiling counts less than {} for {word}", bytes(&input));
    }
}

/// What is made ready on the lane's own thread is counted for every post inside.
#[test]
fn a_short_text_takes_no_more_than_its_part_of_the_memory_ceiling() {
    for word in ["so ", "elephant ", "abcdefghij".repeat(4).as_str(), "a ", "字", "😀", "!?", "&amp;", "naïveté "]
    {
        let text = format!("so {}", word.repeat(2_045 / word.len()));
        let input = input(&[&text]);
        assert!(bytes(&input) < 160_000, "the settings' memory ceiling counts less than {} for {word}", bytes(&input));
    }
}

fn bytes(input: &TextInput) -> usize {
    let words: usize = input.words().map(|word| size_of_val(word) + word.text.capacity()).sum();
    let ngrams = input.ngrams.words.capacity() + input.ngrams.pieces.capacity();
    words + ngrams * size_of::<jtav_model::Ngram>() + 16 * input.piece_count()
}

#[test]
fn words_are_numbered_through_both_parts_and_punctuation_is_not_named() {
    let input = input(&["ab cd", "so good , right ?"]);
    let texts: Vec<&str> = input.words().map(|word| word.text.as_str()).collect();
    assert_eq!(texts, ["so", "good", ",", "right", "?", "ab", "cd"]);
    let found = finish(&input, encoded(vec![0.1, 0.0, 0.4, 0.05, 0.25, 0.2, 0.0])).unwrap();
    let AttentionPart::Words(words) = found.encoded.attention else { panic!("not words") };
    let named: Vec<(&str, u32, f32)> = words.iter().map(|w| (w.word.as_str(), w.position, w.weight)).collect();
    assert_eq!(named, [("ab", 5, 0.2), ("so", 0, 0.1), ("right", 3, 0.05), ("good", 1, 0.0), ("cd", 6, 0.0)]);
}

/// The record of a post has a bound of its own, whatever its texts.
#[test]
fn words_of_a_record_are_few_and_short() {
    for text in ["x", "字", "İ", "👨\u{200D}", "\u{10FFFF}a", "#aB"] {
        let input = input(&[&format!("a {}", text.repeat(100_000))]);
        let found = finish(&input, encoded(vec![0.5; input.word_count()])).unwrap();
        let AttentionPart::Words(words) = found.encoded.attention else { panic!("not words") };
        assert!(words.len() <= TOP_WORDS && words.iter().all(|word| word.word.len() <= 4 * 80), "{text}");
    }
}

#[test]
fn what_a_text_is_about_is_handed_on_if_it_is_a_vector() {
    let input = input(&["so good"]);
    let with = |semantic: &[f32]| {
        let text = EncodedText { semantic: Some(semantic.to_vec()), ..encoded(vec![0.5, 0.5]) };
        finish(&input, text)
    };
    let found = with(&[0.6, 0.8]).unwrap();
    assert_eq!(found.semantic.unwrap().values(), [0.6, 0.8]);
    for wrong in [&[0.0, 0.0], &[f32::NAN, 1.0]] {
        assert!(!with(wrong).unwrap_err().is_retryable());
    }
}
