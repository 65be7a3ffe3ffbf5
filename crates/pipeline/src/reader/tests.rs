use super::*;
use jtav_schemas::{MAX_TEXT_PARTS, TextPart};
use proptest::prelude::*;

fn read_bytes(value: &[u8]) -> Result<PostEvent, Rejection> {
    read_post(value, &ReadRules::feed(1 << 20))
}

fn read(value: &str) -> Result<PostEvent, Rejection> {
    read_bytes(value.as_bytes())
}

fn post_of(value: &str) -> PostV1 {
    match read(value) {
        Ok(PostEvent::Upsert(post)) => (*post).clone(),
        other => panic!("{other:?} of {value}"),
    }
}

fn reason(value: &str) -> DeadLetterReason {
    read(value).unwrap_err().reason
}

fn tombstone(post_id: &str, revision: u64) -> PostEvent {
    PostEvent::Tombstone { post_id: post_id.to_owned(), revision }
}

#[test]
fn a_post_is_read_and_unknown_fields_are_skipped() {
    let post = post_of(r#"{"id":"p1","revision":3,"texts":[{"role":"body","text":"hi"}],"new":{"x":[1]}}"#);
    assert_eq!((post.id.as_str(), post.revision, post.texts.len()), ("p1", 3, 1));
    // Unknown fields may hold what no type of ours could.
    for unknown in ["1e400", "-1E+9999", "[[[[]]]]", r#"{"a":1,"a":2}"#, r#""\ud83d""#, "12345678901234567890123"] {
        assert_eq!(post_of(&format!(r#"{{"id":"p1","new":{unknown},"new":{unknown}}}"#)).id, "p1");
    }
}

#[test]
fn null_is_what_is_not_there() {
    let fields = ["revision", "author_id", "created_at", "lang", "texts", "audio", "image", "deleted"];
    let nulls: String = fields.iter().map(|field| format!(r#","{field}":null"#)).collect();
    assert_eq!(post_of(&format!(r#"{{"id":"p1"{nulls}}}"#)), post_of(r#"{"id":"p1"}"#));
    let parts = post_of(r#"{"id":"p1","texts":[{"role":null,"text":"hi"},{"role":"caption","text":null},{}]}"#).texts;
    assert_eq!(parts[0], TextPart { role: String::new(), text: "hi".into() });
    assert_eq!((parts[1].text.as_str(), &parts[2]), ("", &TextPart::default()));
    let media = post_of(r#"{"id":"p1","image":{"url":"a","media_type":null,"sha256":null,"bytes":null}}"#);
    assert_eq!(media.image.unwrap().url, "a");
    assert_eq!(reason(r#"{"id":null}"#), DeadLetterReason::InvalidPost);
    assert_eq!(reason(r#"{"id":"p1","image":{"url":null}}"#), DeadLetterReason::InvalidPost);
}

#[test]
fn a_list_is_no_object() {
    for value in [
        r#"["p1",3,null,null,null,[],null,null,false]"#,
        r#"{"id":"p1","texts":[["body","hi"]]}"#,
        r#"{"id":"p1","image":["https://a.example/b.jpg"]}"#,
        r#"{"id":"p1","texts":{"role":"body","text":"hi"}}"#,
        "[]",
    ] {
        assert_eq!(reason(value), DeadLetterReason::InvalidPost, "{value}");
    }
}

#[test]
fn half_an_emoji_is_the_replacement_character() {
    let post = post_of(r#"{"id":"p1","texts":[{"role":"body","text":"so \ud83d"}],"\udc00":1}"#);
    assert_eq!(post.texts[0].text, "so \u{FFFD}");
    assert_eq!(post_of(r#"{"id":"p\udc00"}"#).id, "p\u{FFFD}");
    assert_eq!(post_of(r#"{"id":"p\ud83d\ude00"}"#).id, "p😀");
}

#[test]
fn a_byte_order_mark_is_passed_over_and_only_the_first() {
    assert_eq!(post_of("\u{FEFF}{\"id\":\"p1\"}").id, "p1");
    assert_eq!(reason("\u{FEFF}\u{FEFF}{\"id\":\"p1\"}"), DeadLetterReason::InvalidJson);
}

#[test]
fn a_field_of_ours_that_stands_twice_is_refused() {
    for field in [r#""id":"p1""#, r#""texts":[]"#, r#""deleted":false"#, r#""revision":0"#] {
        let value = format!(r#"{{"id":"p1",{field},{field}}}"#);
        let rejection = read(&value).unwrap_err();
        assert_eq!(rejection.reason, DeadLetterReason::InvalidPost, "{value}");
        assert!(rejection.message.contains("duplicate field `"), "{}", rejection.message);
    }
}

/// An erasure that is not carried out is worse than any record that is not as it should be.
#[test]
fn a_deletion_is_carried_out_whatever_else_the_record_holds() {
    let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    for rest in [
        r#""texts":null"#,
        r#""texts":"hello""#,
        r#""texts":[["body","hi"]],"image":7,"audio":[]"#,
        r#""lang":{"a":[1]},"author_id":12"#,
        r#""revision":"seven""#,
        r#""revision":-1"#,
        r#""revision":1.5"#,
        r#""revision":1e400"#,
        r#""revision":null"#,
        r#""deleted":false"#,
        r#""deleted":"yes""#,
        r#""id":"p1""#,
        r#""texts":[],"texts":[]"#,
        r#""new":1e400,"texts":1e400"#,
        r#""texts":[{"role":"body","text":"\ud83d"}]"#,
        &format!(r#""texts":{deep},"new":{deep}"#),
    ] {
        for value in [
            format!(r#"{{"id":"p1","deleted":true,{rest}}}"#),
            format!(r#"{{{rest},"deleted":true,"id":"p1"}}"#),
            format!("\u{FEFF} {{\"deleted\":true,{rest},\"id\":\"p1\"}}\n"),
        ] {
            assert_eq!(read(&value), Ok(tombstone("p1", 0)), "{value:.200}");
        }
    }
    assert_eq!(read(r#"{"id":"p1","revision":9,"deleted":true,"texts":7}"#), Ok(tombstone("p1", 9)));
}

#[test]
fn damage_behind_id_and_deleted_does_not_keep_a_post_that_should_be_erased() {
    let start = r#"{"id":"p1","revision":4,"deleted":true"#;
    for rest in ["", ",", r#","texts":[{"te"#, "} x", "}{}", r#","texts":NaN}"#, "}\0", r#","a":"\q"}"#] {
        assert_eq!(read(&format!("{start}{rest}")), Ok(tombstone("p1", 4)), "{rest}");
    }
    let not_utf8 = [start.as_bytes(), br#","lang":"#, b"\"\xff\"}"].concat();
    assert_eq!(read_bytes(&not_utf8), Ok(tombstone("p1", 4)));
    let long = format!(r#"{start},"lang":"{}"}}"#, "x".repeat(2_000));
    assert_eq!(read_post(long.as_bytes(), &ReadRules::feed(1_000)), Ok(tombstone("p1", 4)));
}

#[test]
fn a_deletion_needs_one_id_that_can_be_read() {
    for (value, expected) in [
        (r#"{"deleted":true}"#, DeadLetterReason::InvalidPost),
        (r#"{"id":7,"deleted":true}"#, DeadLetterReason::InvalidPost),
        (r#"{"id":"p1","id":"p2","deleted":true}"#, DeadLetterReason::InvalidPost),
        (r#"{"id":"p1","id":7,"deleted":true}"#, DeadLetterReason::InvalidPost),
        (r#"{"id":"}p","deleted":true,"texts":7}"#, DeadLetterReason::InvalidPost),
        (r#"{"id":"p1","deleted":tru"#, DeadLetterReason::InvalidJson),
        (r#"{"id":"p1,"deleted":true}"#, DeadLetterReason::InvalidJson),
        (r#"["p1",true]"#, DeadLetterReason::InvalidPost),
        // A post that speaks of deletion is none.
        (r#"{"id":"p1","texts":7,"new":{"deleted":true}}"#, DeadLetterReason::InvalidPost),
        (r#"{"id":"p1","deleted":"true"}"#, DeadLetterReason::InvalidPost),
        (r#"{"id":"p1","deleted":1}"#, DeadLetterReason::InvalidPost),
    ] {
        assert_eq!(reason(value), expected, "{value}");
    }
}

#[test]
fn what_is_no_json_says_where() {
    for value in ["", "{", "not json", r#"{"id":"p1","revision":NaN}"#, r#"{"id":"p1"} x"#, "{\"id\":\"p1\"}\0"] {
        let rejection = read(value).unwrap_err();
        assert_eq!(rejection.reason, DeadLetterReason::InvalidJson, "{value:?}");
        assert!(rejection.message.starts_with("line "), "{}", rejection.message);
    }
    assert_eq!(read_bytes(b"{\"id\":\"\xff\"}").unwrap_err().message, "not UTF-8 from byte 7 on");
    assert_eq!(reason("{\"id\":\"p\n1\"}"), DeadLetterReason::InvalidJson, "a control character within a string");
}

#[test]
fn what_is_no_post_says_what_was_expected() {
    let missing = read(r#"{"revision":1}"#).unwrap_err();
    assert_eq!(missing.reason, DeadLetterReason::InvalidPost);
    assert_eq!(missing.message, "line 1, column 14: missing field `id`");
    let wrong = read(r#"{"id":"p1","revision":-1}"#).unwrap_err();
    assert!(wrong.message.ends_with("found integer, expected u64"), "{}", wrong.message);
    let list = read("[1]").unwrap_err();
    assert!(list.message.ends_with("found sequence, expected an object"), "{}", list.message);
    let number = read(r#"{"id":"p1","revision":1e400}"#).unwrap_err();
    assert_eq!(number.reason, DeadLetterReason::InvalidPost);
    assert_eq!(reason(r#"{"id":""}"#), DeadLetterReason::InvalidPost);
    assert_eq!(reason(r#"{"id":"}p"}"#), DeadLetterReason::InvalidPost);
    assert_eq!(post_of(r#"{"id":"p}"}"#).id, "p}");
    assert_eq!(reason(&format!(r#"{{"id":"{}"}}"#, "x".repeat(257))), DeadLetterReason::InvalidPost);
    let longest = "😀".repeat(256);
    assert_eq!(post_of(&format!(r#"{{"id":"{longest}"}}"#)).id, longest);
}

#[test]
fn messages_never_carry_what_the_post_says() {
    const SECRET: &str = "my diary, expected to stay mine";
    for value in [
        format!(r#"{{"id":"p1","revision":"{SECRET}"}}"#),
        format!(r#"{{"id":"p1","texts":"{SECRET}"}}"#),
        format!(r#"{{"id":"p1","texts":["{SECRET}"]}}"#),
        format!(r#"{{"id":"p1","texts":[{{"role":"x","text":{{"{SECRET}":1}}}}]}}"#),
        format!(r#"{{"id":"p1","image":"{SECRET}"}}"#),
        format!(r#""{SECRET}""#),
        format!(r#"{{"{SECRET}":1,"{SECRET}":1}}"#),
        format!(r#"{{"id":"p1", {SECRET}}}"#),
    ] {
        let message = read(&value).unwrap_err().message;
        assert!(!message.contains("diary") && !message.contains("stay mine"), "{message}");
    }
}

#[test]
fn size_depth_and_parts_are_bounded() {
    let big = format!(r#"{{"id":"p1","lang":"{}"}}"#, "x".repeat(2_000));
    let rejection = read_post(big.as_bytes(), &ReadRules::feed(1_000)).unwrap_err();
    assert_eq!(rejection.reason, DeadLetterReason::RecordTooLarge);
    for depth in [1_000, 100_000] {
        let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(reason(&format!(r#"{{"id":"p1","texts":{deep}}}"#)), DeadLetterReason::InvalidPost);
        // What is skipped is read without recursion.
        assert_eq!(post_of(&format!(r#"{{"id":"p1","other":{deep}}}"#)).id, "p1");
    }
    let parts = |count: usize| post_of(&format!(r#"{{"id":"p1","texts":[{}{{}}]}}"#, "{},".repeat(count - 1))).texts;
    assert_eq!(parts(MAX_TEXT_PARTS).len(), MAX_TEXT_PARTS);
    assert_eq!(parts(100_000).len(), MAX_TEXT_PARTS + 1, "one more tells that there were more");
}

#[test]
fn a_path_stands_in_for_an_address_only_where_the_rules_say_so() {
    let marked = |path: &str| format!("file:{path}");
    let rules = ReadRules { max_record_bytes: 1_000, url_of_path: Some(&marked) };
    let value =
        br#"{"id":"p1","image":{"path":"i.jpg"},"audio":{"url":"https://a.example/b"},"labels":{"sentiment":1}}"#;
    let Ok(PostEvent::Upsert(post)) = read_post(value, &rules) else { panic!("not read") };
    assert_eq!(post.image.as_ref().unwrap().url, "file:i.jpg");
    assert_eq!(post.audio.as_ref().unwrap().url, "https://a.example/b");
    let neither = read_post(br#"{"id":"p1","image":{}}"#, &rules).unwrap_err();
    assert_eq!(neither.message, "missing field `url` or `path`");
    assert_eq!(read_bytes(value).unwrap_err().reason, DeadLetterReason::InvalidPost);
    // Everything else is judged alike.
    for value in [r#"["p1"]"#, r#"{"id":"p1","texts":7}"#, "{", r#"{"id":"p1","deleted":true,"image":{}}"#] {
        let (here, there) = (read_post(value.as_bytes(), &rules), read(value));
        assert_eq!(here.map_err(|e| e.reason), there.map_err(|e| e.reason), "{value}");
    }
}

/// A string of JSON text that is often nearly a post.
fn nearly_json() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop_oneof![
            Just("{"),
            Just("}"),
            Just("["),
            Just("]"),
            Just(":"),
            Just(","),
            Just("\"id\""),
            Just("\"deleted\""),
            Just("true"),
            Just("null"),
            Just("\"texts\""),
            Just("\"revision\""),
            Just("1e400"),
            Just("7"),
            Just("\"p1\""),
            Just("\"\\ud83d\""),
            Just("\\"),
            Just("\u{FEFF}"),
            Just("\0"),
            Just(" ")
        ],
        0..40,
    )
    .prop_map(|tokens| tokens.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_bytes_make_it_panic(value in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_bytes(&value);
    }

    #[test]
    fn nothing_that_is_nearly_json_makes_it_panic(value in nearly_json()) {
        let _ = read(&value);
    }

    #[test]
    fn no_damaged_post_makes_it_panic(at in 0usize..120, byte in any::<u8>(), cut in 0usize..120) {
        let mut value = br#"{"id":"p1","revision":1,"texts":[{"role":"body","text":"a\u00e9"}],"audio":{"url":"http://a/b","bytes":5}}"#.to_vec();
        if let Some(slot) = value.get_mut(at) { *slot = byte; }
        value.truncate(value.len().saturating_sub(cut / 2));
        let _ = read_bytes(&value);
    }

    /// However a deletion is damaged behind its beginning, it stays one.
    #[test]
    fn a_deletion_survives_every_tail(tail in nearly_json(), bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let value = [br#"{"id":"p1","deleted":true,"new":"#.as_slice(), &bytes, tail.as_bytes()].concat();
        let other_id = tail.contains("\"id\"") || String::from_utf8_lossy(&bytes).contains("\"id\"");
        let is_deletion = matches!(read_bytes(&value), Ok(PostEvent::Tombstone { .. }));
        prop_assert!(other_id || is_deletion);
    }

    #[test]
    fn every_post_that_is_written_can_be_read(id in "[a-zA-Z0-9é{][a-zA-Z0-9é}{]{0,39}", revision in any::<u64>(), text in ".{0,60}") {
        let post = PostV1 {
            id, revision, author_id: None, created_at: None, lang: None,
            texts: vec![TextPart { role: "body".into(), text }],
            audio: None, image: None, deleted: false,
        };
        let event = read_bytes(&serde_json::to_vec(&post).unwrap()).unwrap();
        prop_assert_eq!(event, PostEvent::Upsert(Arc::new(post)));
    }
}
