use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::compose::pair_rating;
use super::templates::{Piece, Set, Template, pieces, sentences, templates};
use super::*;

/// Texts of every kind that something is made of, each with its number in it: `0170` is in nothing but what text 17 is in.
fn rated(count: usize) -> Vec<RatedText> {
    let kinds: [(&str, [f32; 3], f32); 5] = [
        ("what a lovely day it was", [0.0, 0.1, 0.9], 2.1),
        ("the worst film of my life", [0.9, 0.1, 0.0], -2.4),
        ("the shop opens at nine", [0.0, 1.0, 0.0], 0.0),
        ("it is fine i guess", [0.1, 0.4, 0.5], 0.7),
        ("good and bad in turn", [0.4, 0.2, 0.4], -0.1),
    ];
    let of = |number: usize| {
        let (text, votes, mean) = kinds[number % kinds.len()];
        let group = format!("group/{number}");
        let fold = fold(&group, FOLDS);
        RatedText { id: format!("{number}"), group, text: format!("{text} 0{number}0"), votes, mean, fold }
    };
    (0..count).map(of).filter(|text| !is_sealed(&text.group)).collect()
}

fn small() -> Sizes {
    Sizes { joins: 200, pairs: 300, emoji_only: 100, short_templates: 150, full_templates: 300 }
}

fn count(pool: &Pool, at: &[usize], origin: Origin) -> usize {
    at.iter().filter(|&&at| pool.texts()[at].origin == origin).count()
}

fn parse(lines: &str) -> Result<RatedTexts, RatedTextsError> {
    RatedTexts::parse(Path::new("rated.jsonl"), lines.as_bytes())
}

const LINE: &str = r#"{"id": "a", "group": "g1", "text": "Fine.", "mean": 1.5, "negative": 1, "zero": 1, "positive": 2, "neutral_band": false}"#;

#[test]
fn votes_become_shares() {
    let texts = parse(&format!("{LINE}\n\n")).unwrap();
    let text = texts.open.first().or(texts.sealed.first()).unwrap();
    assert_eq!((text.votes, text.mean, text.text.as_str()), ([0.25, 0.25, 0.5], 1.5, "Fine."));
    assert_eq!(text.rating().mixed(), 0.5);
    assert_eq!(texts.sha256, crate::dataset::sha256_hex(format!("{LINE}\n\n").as_bytes()));
}

#[test]
fn a_line_that_is_no_rated_text_is_named() {
    for (from, to, reason) in [
        ("\"mean\": 1.5", "\"mean\": 4.5", "`mean` is 4.5, expected -4 to 4"),
        ("\"mean\": 1.5", "\"mean\": 0.5", "`neutral_band` is false, but `mean` is 0.5"),
        ("\"Fine.\"", "\" \"", "`text` is blank"),
        ("\"negative\": 1, \"zero\": 1, \"positive\": 2", "\"negative\": 0, \"zero\": 0, \"positive\": 0", "no vote"),
        ("\"id\": \"a\", ", "", "missing field `id`"),
        ("\"negative\": 1", "\"negative\": -1", "invalid value"),
    ] {
        let second = LINE.replace("\"a\"", "\"b\"").replace(&from.replace("\"a\"", "\"b\""), to);
        let error = parse(&format!("{LINE}\n{second}\n")).unwrap_err();
        assert!(error.to_string().starts_with("rated.jsonl:2: "), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
        assert!(!error.is_retryable());
    }
    let twice = parse(&format!("{LINE}\n{LINE}\n")).unwrap_err().to_string();
    assert_eq!(twice, "rated.jsonl:2: id `a` stands on line 1 already");
    let long = LINE.replace("Fine.", &"a".repeat(MAX_RATED_CHARS + 1));
    assert!(parse(&long).unwrap_err().to_string().contains("2001 characters"));
    assert!(matches!(parse("\n"), Err(RatedTextsError::Empty { .. })));
}

/// Reference: `python3 -c 'import hashlib as h; d=h.sha256(b"vader-tweets/1").digest(); print(d[0] % 10,
/// int.from_bytes(d[1:5], "big") % 5)'`.
#[test]
fn seal_and_fold_are_those_of_the_hash_of_the_group() {
    for (group, first, of_five) in REFERENCE {
        assert_eq!((is_sealed(group), fold(group, FOLDS)), (first == 0, of_five), "{group}");
    }
    assert_eq!(fold("any", 0), 0);
}

const REFERENCE: [(&str, u8, u8); 6] = [
    ("vader-tweets/17", 0, 0),
    ("vader-tweets/20", 0, 3),
    ("vader-tweets/21", 3, 4),
    ("vader-tweets/22", 6, 0),
    ("vader-tweets/23", 7, 2),
    ("vader-tweets/24", 3, 1),
];

#[test]
fn the_tenth_that_is_sealed_never_gets_into_a_pool() {
    let mut texts = rated(400);
    let open = texts.len();
    for number in 0..400 {
        let group = format!("group/{number}");
        if is_sealed(&group) {
            let fold = fold(&group, FOLDS);
            let text = "sealed".to_owned();
            texts.push(RatedText { id: group.clone(), group, text, votes: [0.0, 1.0, 0.0], mean: 0.0, fold });
        }
    }
    assert!(texts.len() > open);
    let pool = Pool::with_sizes(&texts, small(), 1);
    assert!(pool.texts().iter().all(|text| text.parts.iter().all(|(_, text)| !text.contains("sealed"))));
    assert_eq!(pool, Pool::with_sizes(&texts[..open], small(), 1));
}

#[test]
fn a_pool_has_what_its_sizes_say() {
    let texts = rated(400);
    let pool = Pool::with_sizes(&texts, small(), 3);
    let all: Vec<usize> = (0..pool.texts().len()).collect();
    let made = [Origin::Rated, Origin::Augmented, Origin::Join, Origin::Pair, Origin::EmojiOnly, Origin::Template];
    let counts = made.map(|origin| count(&pool, &all, origin));
    assert_eq!(counts, [texts.len(), texts.len(), 200, 300, 100, 450]);
}

#[test]
fn the_usual_templates_are_as_many_as_the_sizes_say() {
    let sizes = Sizes::default();
    let mut random = StdRng::seed_from_u64(5);
    assert_eq!(sentences(Set::Short, sizes.short_templates, &mut random).len(), sizes.short_templates);
    assert_eq!(sentences(Set::Full, sizes.full_templates, &mut random).len(), sizes.full_templates);
}

#[test]
fn an_epoch_reads_each_rated_text_once_and_about_half_of_them_changed() {
    let texts = rated(1_000);
    let pool = Pool::with_sizes(&texts, small(), 3);
    let epoch = pool.epoch(0, 7, None);
    let of_rated: Vec<usize> = epoch.iter().filter(|&&at| at < 2 * texts.len()).map(|at| at % texts.len()).collect();
    assert_eq!(of_rated.iter().collect::<HashSet<_>>().len(), texts.len());
    assert_eq!(of_rated.len(), texts.len());
    let changed = count(&pool, &epoch, Origin::Augmented);
    assert!((400..500).contains(&changed), "{changed} of {}", texts.len());
    assert_eq!(count(&pool, &epoch, Origin::Template), 105 + 150);
    assert_eq!(count(&pool, &epoch, Origin::Pair), 300);
    assert_ne!(epoch, pool.epoch(1, 7, None));
    assert_ne!(epoch, pool.epoch(0, 8, None));
}

#[test]
fn equal_seeds_give_equal_pools_and_others_do_not() {
    let texts = rated(200);
    let pool = Pool::with_sizes(&texts, small(), 3);
    assert_eq!(pool, Pool::with_sizes(&texts, small(), 3));
    assert_ne!(pool, Pool::with_sizes(&texts, small(), 4));
    assert_eq!(pool.epoch(2, 9, Some(1)), pool.epoch(2, 9, Some(1)));
}

#[test]
fn without_texts_a_pool_has_templates_and_emoji() {
    let pool = Pool::with_sizes(&[], small(), 3);
    assert!(pool.texts().iter().all(|text| matches!(text.origin, Origin::Template | Origin::EmojiOnly)));
    assert!(pool.texts().iter().all(|text| text.fold.is_none()));
}

#[test]
fn two_texts_that_agree_are_surer_than_one() {
    let glad = Rating { votes: [0.05, 0.25, 0.7], mean: 1.5 };
    let pair = pair_rating(&glad, &glad).unwrap();
    assert!(pair.votes[2] > glad.votes[2] + 0.05, "{pair:?}");
    assert_eq!(pair.mean, 1.5);
    let plain = Rating { votes: [0.1, 0.8, 0.1], mean: 0.0 };
    assert!(pair_rating(&plain, &plain).unwrap().votes[1] > 0.85);
    // A plain caption is no evidence against the feeling of the body, in whichever order they come.
    let beside = pair_rating(&plain, &glad).unwrap();
    assert_eq!(beside, pair_rating(&glad, &plain).unwrap());
    assert!(beside.votes[2] > 0.6, "{beside:?}");
    let sad = Rating { votes: [0.7, 0.25, 0.05], mean: -1.5 };
    assert_eq!(pair_rating(&glad, &sad), None);
}

/// Reference: `python3 -c "a=[(x+.02)/1.06 for x in (.04,.06,.9)]; q=[(x*x)**.75 for x in a]; print([x/sum(q) for x in q])"`.
#[test]
fn the_product_of_a_pair_is_that_of_the_reference() {
    let pair =
        pair_rating(&Rating { votes: [0.04, 0.06, 0.9], mean: 2.0 }, &Rating { votes: [0.04, 0.06, 0.9], mean: 2.5 });
    let votes = pair.unwrap().votes;
    for (found, expected) in votes.iter().zip([0.0159791, 0.0246015, 0.959419]) {
        assert!((found - expected).abs() < 1e-5, "{votes:?}");
    }
}

#[test]
fn the_longer_text_of_a_pair_is_the_protagonist() {
    let pairs = pairs(&rated(300), 2, 100);
    assert_eq!(pairs.len(), 100);
    for pair in pairs {
        let words = |text: &str| text.split_whitespace().count();
        assert!(words(&pair.protagonist) >= words(&pair.supporting) && words(&pair.supporting) <= 20, "{pair:?}");
    }
}

#[test]
fn emoji_agree_with_the_rating() {
    let mut random = StdRng::seed_from_u64(1);
    let has = |text: &str, name| lists::list(name).iter().any(|face| text.contains(face));
    let mut seen = [0; 3];
    for _ in 0..500 {
        let good = augmented("a good day", &Rating { votes: [0.0, 0.1, 0.9], mean: 2.0 }, &mut random);
        let bad = augmented("a sad day", &Rating { votes: [0.9, 0.1, 0.0], mean: -2.0 }, &mut random);
        let plain = augmented("a short day", &Rating { votes: [0.1, 0.9, 0.0], mean: 0.0 }, &mut random);
        let unsure = augmented("a day", &Rating { votes: [0.1, 0.4, 0.5], mean: 0.7 }, &mut random);
        assert!(!has(&good, "negative_faces") && !has(&bad, "positive_faces"), "{good} {bad}");
        for text in [&plain, &unsure] {
            assert!(!has(text, "negative_faces") && !has(text, "positive_faces"), "{text}");
        }
        assert!(!has(&unsure, "plain_emoji"), "{unsure}");
        seen[0] += usize::from(has(&good, "positive_faces"));
        seen[1] += usize::from(has(&bad, "negative_faces"));
        seen[2] += usize::from(has(&plain, "plain_emoji"));
    }
    assert!(seen.iter().all(|&seen| seen > 120), "{seen:?}");
}

#[test]
fn every_list_is_read() {
    for (file, columns) in [(lists::AUGMENTATION, 2), (lists::SLOTS, 2), (lists::RATINGS, 5), (lists::TEMPLATES, 4)] {
        let mut names = HashSet::new();
        for line in lists::lines(file) {
            assert_eq!(line.len(), columns, "{line:?}");
            assert!(columns == 4 || names.insert(line[0]), "{line:?} stands twice");
        }
    }
    for line in lists::lines(lists::RATINGS) {
        let rating = lists::rating(line[0]);
        assert_eq!(rating.mean.to_string(), line[4].parse::<f32>().unwrap().to_string());
        assert!((rating.votes.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{line:?}");
    }
    let names =
        "positive_words negative_words positive_faces negative_faces plain_emoji hashtags sentence_ends turns links";
    let names: BTreeSet<&str> = names.split(' ').collect();
    assert_eq!(names, lists::lines(lists::AUGMENTATION).map(|line| line[0]).collect());
    let ratings: HashSet<&str> = lists::lines(lists::RATINGS).map(|line| line[0]).collect();
    assert!(lists::lines(lists::TEMPLATES).all(|line| ratings.contains(line[2])));
    let read = templates(Set::Short).len() + templates(Set::Full).len();
    assert_eq!(read, lists::lines(lists::TEMPLATES).count());
}

#[test]
fn every_slot_is_used_and_none_is_unknown() {
    let mut left = vec!["{lead}{tail}"];
    left.extend(lists::lines(lists::TEMPLATES).map(|line| line[3]));
    let mut used = BTreeSet::new();
    while let Some(pattern) = left.pop() {
        for piece in pieces(pattern) {
            let Piece::Slot(slot) = piece else { continue };
            assert!(!lists::slot(slot).is_empty(), "{slot} is no slot");
            if used.insert(slot) {
                left.extend(lists::slot(slot));
            }
        }
    }
    assert_eq!(used, lists::lines(lists::SLOTS).map(|line| line[0]).collect());
    let mut random = StdRng::seed_from_u64(1);
    for set in [Set::Short, Set::Full] {
        for (sentence, _) in sentences(set, 1_000, &mut random) {
            assert!(!sentence.contains(['{', '}', '\t']) && !sentence.contains("  "), "{sentence}");
            assert!((5..120).contains(&sentence.len()), "{sentence}");
        }
    }
}

/// Letters and digits only, so that case, punctuation and blanks make no difference.
fn squashed(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Where in `text` a sentence of the pattern can end that begins at one of `starts`.
fn ends(pattern: &'static str, text: &str, starts: &BTreeSet<usize>) -> BTreeSet<usize> {
    let mut at = starts.clone();
    for piece in pieces(pattern) {
        at = match piece {
            Piece::Words(words) => {
                let words = squashed(words);
                at.iter().filter(|&&at| text[at..].starts_with(&words)).map(|at| at + words.len()).collect()
            }
            Piece::Slot(slot) => lists::slot(slot).iter().flat_map(|option| ends(option, text, &at)).collect(),
        };
    }
    at
}

fn can_be_made(text: &str) -> bool {
    let text = squashed(text);
    let of_set = |set, before, after| {
        let before = ends(before, &text, &BTreeSet::from([0]));
        templates(set)
            .iter()
            .any(|Template { pattern, .. }| ends(after, &text, &ends(pattern, &text, &before)).contains(&text.len()))
    };
    of_set(Set::Short, "", "") || of_set(Set::Full, "{lead}", "{tail}")
}

#[test]
fn no_template_is_an_item_of_the_common_sense_set() {
    let mut random = StdRng::seed_from_u64(3);
    for set in [Set::Short, Set::Full] {
        assert!(sentences(set, 500, &mut random).iter().all(|(sentence, _)| can_be_made(sentence)));
    }
    // The sealed half is compared like the open one, and nothing of it is shown.
    for half in ["open", "sealed"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../tests/common-sense/{half}.jsonl"));
        let file = std::fs::read_to_string(path).unwrap();
        let items = file.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let texts: Vec<String> = items.map(|item| item["text"].as_str().unwrap().to_owned()).collect();
        assert!(texts.len() > 280);
        assert_eq!(texts.iter().filter(|text| can_be_made(text)).count(), 0, "of the {half} half");
        // What is nothing but emoji has no letter: those are compared as they stand.
        let pool = Pool::new(&[], 3);
        let emoji = pool.texts().iter().filter(|text| text.origin == Origin::EmojiOnly);
        let emoji: HashSet<String> = emoji.map(|text| text.parts[0].1.to_lowercase()).collect();
        assert!(emoji.len() > 100);
        let sames = texts.iter().filter(|text| emoji.contains(&text.trim().to_lowercase())).count();
        assert_eq!(sames, 0, "emoji of the {half} half");
    }
}

#[test]
fn no_text_is_nothing_but_emoji() {
    let pool = Pool::with_sizes(&rated(200), small(), 3);
    let emoji = pool.texts().iter().filter(|text| text.origin == Origin::EmojiOnly);
    assert!(emoji.into_iter().all(|text| text.parts[0].1.contains(char::is_alphanumeric)));
}

proptest! {
    #[test]
    fn nothing_that_a_held_out_text_is_in_is_read(count in 60_usize..400, seed: u64, epoch in 0_usize..9, held in 0..FOLDS) {
        let texts = rated(count);
        let pool = Pool::with_sizes(&texts, small(), seed);
        let held_out: HashSet<String> =
            texts.iter().filter(|text| text.fold == held).map(|text| format!("0{}0", text.id)).collect();
        let read = pool.epoch(epoch, seed, Some(held));
        for &at in &read {
            let text = &pool.texts()[at];
            prop_assert_ne!(text.fold, Some(held));
            // Typos leave figures alone, so that the number of a text tells it in all that is made of it.
            for (_, part) in &text.parts {
                let figures = part.split(|c: char| !c.is_ascii_digit());
                prop_assert!(!figures.into_iter().any(|number| held_out.contains(number)), "{}", part);
            }
        }
        let others = texts.iter().filter(|text| text.fold != held).count();
        let of_texts = read.iter().filter(|&&at| at < 2 * texts.len()).count();
        prop_assert_eq!(of_texts, others);
    }

    #[test]
    fn targets_are_ratings(seed: u64) {
        for text in Pool::with_sizes(&rated(200), small(), seed).texts() {
            prop_assert!((text.votes.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            prop_assert!(text.votes.iter().all(|share| (0.0..=1.0).contains(share)));
            prop_assert!((-1.0..=1.0).contains(&text.mean) && (0.0..=1.0).contains(&text.mixed));
            prop_assert!(text.weight > 0.0);
            prop_assert_eq!(text.parts.len(), if text.origin == Origin::Pair { 2 } else { 1 });
        }
    }

    #[test]
    fn a_changed_copy_has_the_rating_of_its_text(seed: u64) {
        let texts = rated(100);
        let pool = Pool::with_sizes(&texts, small(), seed);
        for at in 0..texts.len() {
            let (own, copy) = (&pool.texts()[at], &pool.texts()[at + texts.len()]);
            prop_assert_eq!((own.votes, own.mean, own.mixed, own.fold), (copy.votes, copy.mean, copy.mixed, copy.fold));
            prop_assert_eq!((own.origin, copy.origin), (Origin::Rated, Origin::Augmented));
        }
    }

    #[test]
    fn no_text_makes_a_changed_copy_much_longer_than_itself(text in ".{0,200}", seed: u64, mean in -4.0_f32..4.0) {
        let rating = Rating { votes: [0.1, 0.8, 0.1], mean };
        let copy = augmented(&text, &rating, &mut StdRng::seed_from_u64(seed));
        // Five letters a word, three letters for one in upper case; emoji and two hashtags.
        let words = text.split(' ').count();
        prop_assert!(copy.chars().count() <= 3 * (text.chars().count() + 6 * words + 20) + 60);
    }
}
