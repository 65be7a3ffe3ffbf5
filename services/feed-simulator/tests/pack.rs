//! Data packs: what is read, and what is refused with which words.

use std::path::Path;

use jtav_feed_simulator::{Pack, PackError};

fn sample() -> Pack {
    Pack::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("sample-feed")).unwrap()
}

fn pack_of(description: &str, posts: &str) -> (tempfile::TempDir, Result<Pack, PackError>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("dataset.json"), description).unwrap();
    std::fs::write(folder.path().join("posts.jsonl"), posts).unwrap();
    let pack = Pack::open(folder.path());
    (folder, pack)
}

fn message(description: &str, posts: &str) -> String {
    pack_of(description, posts).1.unwrap_err().to_string()
}

#[test]
fn the_sample_feed_has_64_posts_and_all_their_media() {
    let pack = sample();
    assert_eq!((pack.name(), pack.version(), pack.posts().len()), ("sample-feed", Some("1.0.0"), 64));
    for post in &pack {
        for medium in [&post.audio, &post.image].into_iter().flatten() {
            let file = std::fs::metadata(pack.folder().join(&medium.path)).unwrap();
            assert_eq!(Some(file.len()), medium.bytes, "{}", medium.path);
        }
    }
    assert!(pack.folder().join("LICENCES.md").is_file());
}

#[test]
fn the_sample_feed_repeats_media_so_that_a_cache_has_something_to_do() {
    let mut paths: Vec<String> = Vec::new();
    for post in &sample() {
        paths.extend([&post.audio, &post.image].into_iter().flatten().map(|medium| medium.path.clone()));
    }
    let all = paths.len();
    paths.sort();
    paths.dedup();
    assert_eq!((all, all - paths.len()), (99, 19));
}

#[test]
fn a_line_that_is_no_post_is_named_by_its_number() {
    let text = message(r#"{"name": "p"}"#, "{\"id\": \"a\"}\n\n{\"id\": }\n");
    assert!(text.contains("posts.jsonl`, line 3: ") && text.contains("column 8"), "{text}");
    let text = message(r#"{"name": "p"}"#, "{\"texts\": []}\n");
    assert!(text.contains("line 1: missing field `id`"), "{text}");
}

#[test]
fn a_repeated_id_names_both_lines() {
    let text = message(r#"{"name": "p"}"#, "{\"id\": \"a\"}\n{\"id\": \"b\"}\n{\"id\": \"a\"}\n");
    assert!(text.contains("line 3: the post id `a` was on line 1 already"), "{text}");
}

#[test]
fn posts_that_are_not_the_described_ones_are_refused() {
    let posts = "{\"id\": \"a\"}\n";
    let other = "5ffab4c1e1d0dd1e2ad1b3b8a5dd8ee0c6e0c5ae3cb93f47d0ad2e5ee8f0b7ab";
    let (_folder, result) = pack_of(&format!(r#"{{"name": "p", "posts_sha256": "{other}"}}"#), posts);
    let Err(PackError::Changed { found, expected, .. }) = result else { panic!("{result:?}") };
    assert_eq!(expected, other);
    let (_folder, result) = pack_of(&format!(r#"{{"name": "p", "posts_sha256": "{}"}}"#, found.to_uppercase()), posts);
    assert_eq!(result.unwrap().posts().len(), 1);
}

#[test]
fn a_folder_that_is_no_pack_says_which_file_is_missing_or_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let text = Pack::open(folder.path()).unwrap_err().to_string();
    assert!(text.contains("dataset.json"), "{text}");
    std::fs::write(folder.path().join("dataset.json"), r#"{"name": "p"}"#).unwrap();
    let text = Pack::open(folder.path()).unwrap_err().to_string();
    assert!(text.contains("posts.jsonl"), "{text}");
    assert!(message("{}", "").contains("missing field `name`"));
    assert!(message(r#"{"name": "p"}"#, "\n \n").contains("holds no posts"));
}
