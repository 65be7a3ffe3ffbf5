//! A pack of JSON lines is read strictly.

use std::sync::Arc;

use super::*;

const TRAIN: &str =
    r#"{"id":"a","texts":[{"role":"body","text":"fine"}],"labels":{"sentiment":1,"mood":null},"split":"train"}"#;

fn read_pack(posts: &str, others: &[(&str, &str)]) -> Result<DataPack, DatasetError> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("posts.jsonl"), posts).unwrap();
    for (name, content) in others {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    DataPack::read(folder.path())
}

fn error(posts: &str, others: &[(&str, &str)]) -> String {
    read_pack(posts, others).unwrap_err().to_string()
}

#[test]
fn a_pack_reads_with_labels_moods_and_shared_media() {
    let posts = format!(
        "{TRAIN}\n\n{}\n{}\n",
        r#"{"id":"b","audio":{"path":"media/x.ogg","sha256":"AB"},"labels":{"sentiment":0,"mood":"Q3"},"split":"train"}"#,
        r#"{"id":"c","audio":{"path":"media/x.ogg","sha256":"ab"},"labels":{"sentiment":0},"split":"train"}"#,
    );
    let pack = read_pack(&posts, &[]).unwrap();
    assert_eq!(pack.posts.iter().map(|post| post.line).collect::<Vec<_>>(), [1, 3, 4]);
    assert_eq!(pack.posts[1].mood, Some(2));
    assert!(Arc::ptr_eq(pack.posts[1].audio.as_ref().unwrap(), pack.posts[2].audio.as_ref().unwrap()));
    assert!((pack.base_rate() - 1.0 / 3.0).abs() < 1e-12);
    assert_eq!(pack.split(Split::Test).count(), 0);
}

#[test]
fn a_file_has_the_group_of_its_source_and_is_speech_where_a_speaker_is_named_and_no_song() {
    let post = |id: &str, part: &str, path: &str, groups: &str| {
        format!(
            r#"{{"id":"{id}","{part}":{{"path":"{path}"}},"groups":{groups},"labels":{{"sentiment":1}},"split":"train"}}"#
        )
    };
    let posts = [
        post("a", "audio", "song.ogg", r#"{"song_id":"s7","speaker":null}"#),
        post("b", "audio", "speech.ogg", r#"{"song_id":null,"speaker":"actor 3"}"#),
        post("c", "image", "dog.png", r#"{"image_theme":"dogs","speaker":"actor 3"}"#),
        r#"{"id":"d","image":{"path":"cat.png"},"labels":{"sentiment":1},"split":"train"}"#.to_owned(),
    ];
    let pack = read_pack(&posts.join("\n"), &[]).unwrap();
    let file = |at: usize| {
        let post = &pack.posts[at];
        post.audio.clone().or(post.image.clone()).unwrap()
    };
    let found: Vec<(Option<String>, bool)> = (0..4).map(|at| (file(at).group.clone(), file(at).is_speech)).collect();
    let named = |group: &str| Some(group.to_owned());
    assert_eq!(found, [(named("s7"), false), (named("actor 3"), true), (named("dogs"), false), (None, false)]);
    assert_eq!(file(2).group(), "dogs");
    assert!(file(3).group().ends_with("cat.png"), "a file of no known source is one by itself");
}

#[test]
fn every_unusable_line_is_named_by_its_number() {
    let second = |line: &str| error(&format!("{TRAIN}\n{line}\n"), &[]);
    for (line, what) in [
        ("{", "EOF"),
        (&TRAIN.replace("fine", "other"), "line 1 already"),
        (&TRAIN.replace("\"a\"", "\"b\"").replace("train", "dev"), "use train, validation or test"),
        (&TRAIN.replace("\"a\"", "\"b\"").replace(":1,", ":2,"), "expected 0 or 1"),
        (&TRAIN.replace("\"a\"", "\"b\"").replace("null", "\"Q5\""), "use Q1 to Q4"),
        (r#"{"id":"b","labels":{"sentiment":1},"split":"train"}"#, "no part"),
        (r#"{"id":"b","image":{"path":"../x.png"},"labels":{"sentiment":1},"split":"train"}"#, "leaves the folder"),
    ] {
        let message = second(line);
        assert!(message.contains("posts.jsonl:2:") && message.contains(what), "{message}");
    }
}

#[test]
fn a_text_or_medium_in_two_splits_is_refused() {
    let test = TRAIN.replace("\"a\"", "\"b\"").replace("train", "test").replace("fine", " FINE");
    let message = error(&format!("{TRAIN}\n{test}\n"), &[]);
    assert!(message.contains("posts.jsonl:2:") && message.contains("`a` on line 1 (train)"), "{message}");

    let medium = r#"{"id":"m","image":{"path":"x.png","sha256":"00"},"labels":{"sentiment":1},"split":"train"}"#;
    let moved = medium.replace("\"m\"", "\"n\"").replace("x.png", "y.png").replace("train", "validation");
    assert!(error(&format!("{medium}\n{moved}\n"), &[]).contains("image of post `n` (validation)"));
}

#[test]
fn an_extra_text_of_the_test_split_is_refused() {
    let test = TRAIN.replace("train", "test");
    let extra = r#"{"id":"x","role":"body","text":"Fine ","rating":1.0,"sentiment":1}"#;
    assert!(error(&test, &[("extra-texts.jsonl", extra)]).contains("extra-texts.jsonl:1: the text is also"));
    let pack = read_pack(TRAIN, &[("extra-texts.jsonl", extra)]).unwrap();
    assert_eq!(pack.extra_texts.len(), 1);
}

#[test]
fn a_pack_that_is_not_the_described_one_is_refused() {
    let wrong = r#"{"name":"p","posts_sha256":"00"}"#;
    assert!(error(TRAIN, &[("dataset.json", wrong)]).contains("dataset.json says 00"));
    let wrong = r#"{"name":"p","splits":{"train":{"posts":2}}}"#;
    assert!(error(TRAIN, &[("dataset.json", wrong)]).contains("split `train` has 1 posts"));
    let right = format!(
        r#"{{"name":"p","version":"1","posts_sha256":"{}","splits":{{"train":{{"posts":1}}}}}}"#,
        sha256_hex(TRAIN.as_bytes())
    );
    let pack = read_pack(TRAIN, &[("dataset.json", &right)]).unwrap();
    assert_eq!((pack.name.as_str(), pack.version.as_deref()), ("p", Some("1")));
}
