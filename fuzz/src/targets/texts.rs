use jtav_text::reading::Reader;
use jtav_text::vader::Vader;

/// What anybody may write: it is read within its bounds, and what was read lies in it.
pub fn text_reader(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let most = 40;
    let reading = Reader::with_max_words(most).read(&text);
    assert!(reading.words.len() <= most);
    let mut begin = 0;
    for word in &reading.words {
        assert!(!word.text.is_empty() && word.text.chars().count() <= 40, "{word:?}");
        assert!(!word.text.chars().any(char::is_whitespace), "{word:?}");
        assert!(text.get(word.source.clone()).is_some_and(|source| !source.is_empty()), "{word:?}");
        assert!(word.source.start >= begin, "{word:?}");
        begin = word.source.start;
    }
    let plain = reading.plain();
    let compound = Vader::new().compound(&plain);
    assert!((-1.0..=1.0).contains(&compound), "{compound}");
    // Characters beyond the limit of a text are no part of what is scored.
    let beginning: String = text.chars().take(2_000).collect();
    assert!((-1.0..=1.0).contains(&Vader::new().compound(&beginning)));
}
