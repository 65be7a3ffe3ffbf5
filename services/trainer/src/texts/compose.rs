//! Texts of two rated texts, and plain texts whose feeling is an emoji. Each is made within one fold.

use rand::RngExt;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::item::{BODY_ROLE, CAPTION_ROLE, Origin, Rating, TrainingText};
use super::lists::{list, rating};
use super::rated::{FOLDS, RatedText};

/// From here on a text takes a side, which another may turn.
const SIDE_MEAN: f32 = 1.2;
/// Words of the longest text that is joined to another.
const MAX_JOINED_WORDS: usize = 14;
/// Words of the longest text that an emoji is set after.
const MAX_PLAIN_WORDS: usize = 16;
/// Words of the longest caption; the text network reads no more of what supports the longest part.
const MAX_CAPTION_WORDS: usize = 20;
/// What the clearer of two texts counts beside one that has no feeling.
const CLEARER_SHARE: f32 = 0.85;
/// Added to each share of a pair before they are multiplied: no reader is certain, and 0 would be a veto.
const PAIR_SMOOTHING: f32 = 0.02;
/// Power of a pair's product (see [`Pair`]).
const PAIR_POWER: f32 = 0.75;
/// Draws for each text that is wanted; some are of a text with itself, or of two that contradict each other.
const DRAWS_FOR_ONE: usize = 50;

/// The texts of each fold, and the numbers of the folds.
fn folds(texts: &[RatedText]) -> impl Iterator<Item = (u8, Vec<&RatedText>)> {
    (0..FOLDS).map(|fold| (fold, texts.iter().filter(|text| text.fold == fold).collect()))
}

/// `of_all` dealt out to the folds: the first ones get what is left over.
fn quota(fold: u8, of_all: usize) -> usize {
    let folds = usize::from(FOLDS);
    of_all / folds + usize::from(usize::from(fold) < of_all % folds)
}

/// Those of at most `words` words that `is_wanted`.
fn short<'a>(texts: &[&'a RatedText], words: usize, is_wanted: impl Fn(&Rating) -> bool) -> Vec<&'a RatedText> {
    texts.iter().filter(|text| text.words() <= words && is_wanted(&text.rating())).copied().collect()
}

/// Two short texts in one. Half of them turn with a "but": the second text, of the other side, decides. The others stand
/// beside each other, at least one of them without a feeling: the clearer of them decides.
pub(super) fn joins(texts: &[RatedText], count: usize, random: &mut StdRng) -> Vec<TrainingText> {
    let mut joins = Vec::new();
    for (fold, texts) in folds(texts) {
        let positive = short(&texts, MAX_JOINED_WORDS, |rating| rating.mean > SIDE_MEAN);
        let negative = short(&texts, MAX_JOINED_WORDS, |rating| rating.mean < -SIDE_MEAN);
        let plain = short(&texts, MAX_JOINED_WORDS, |rating| rating.mean.abs() <= 0.4 && rating.votes[1] > 0.5);
        let sides: Vec<&RatedText> = positive.iter().chain(&negative).copied().collect();
        let quota = quota(fold, count);
        // A text is not joined to itself.
        let draws = (0..quota.saturating_mul(DRAWS_FOR_ONE)).filter_map(|_| match random.random_range(0..4) {
            0 => turned(&negative, &positive, &rating("ends_well"), random),
            1 => turned(&positive, &negative, &rating("ends_badly"), random),
            2 => beside(&plain, &sides, random),
            _ => beside(&plain, &plain, random),
        });
        let texts = draws.take(quota);
        joins.extend(texts.map(|(text, rating)| TrainingText::new(text, &rating, Origin::Join, Some(fold))));
    }
    joins
}

fn turned(
    first: &[&RatedText],
    then: &[&RatedText],
    as_whole: &Rating,
    random: &mut StdRng,
) -> Option<(String, Rating)> {
    let (first, then) = (first.choose(random)?, then.choose(random)?);
    let turn = list("turns").choose(random)?;
    let mut letters = then.text.chars();
    let then: String = letters.next()?.to_lowercase().chain(letters).collect();
    Some((format!("{}{turn}{then}", first.text.trim_end_matches([' ', '.', '!', '?', ','])), *as_whole))
}

fn beside(plain: &[&RatedText], others: &[&RatedText], random: &mut StdRng) -> Option<(String, Rating)> {
    let (mut first, mut then) = (plain.choose(random)?, others.choose(random)?);
    if first.id == then.id {
        return None;
    }
    if random.random_bool(0.5) {
        std::mem::swap(&mut first, &mut then);
    }
    let has_end = first.text.trim_end().ends_with(|c: char| c.is_ascii_punctuation());
    let link = list("links").choose(random).copied().filter(|_| !has_end).unwrap_or(" ");
    let rating = clearer_decides(&first.rating(), &then.rating());
    Some((format!("{}{link}{}", first.text.trim_end(), then.text), rating))
}

fn clearer_decides(a: &Rating, b: &Rating) -> Rating {
    if a.mean.abs() >= b.mean.abs() { a.blended(CLEARER_SHARE, b) } else { b.blended(CLEARER_SHARE, a) }
}

/// A text without a feeling and an emoji of feeling after it; a fifth of them are an emoji before
/// a hashtag, of no fold.
pub(super) fn emoji_only(texts: &[RatedText], count: usize, random: &mut StdRng) -> Vec<TrainingText> {
    let mut made = Vec::new();
    for (fold, texts) in folds(texts) {
        let plain = short(&texts, MAX_PLAIN_WORDS, |rating| rating.mean.abs() <= 0.3 && rating.votes[1] > 0.6);
        for _ in 0..quota(fold, count) {
            let is_happy = random.random_bool(0.5);
            let (faces, as_whole) = if is_happy {
                (list("positive_faces"), rating("happy_face"))
            } else {
                (list("negative_faces"), rating("angry_face"))
            };
            let Some(&face) = faces.choose(random) else { continue };
            let by_itself = plain.is_empty() || random.random_bool(0.2);
            let text = if by_itself {
                // Emoji with nothing beside them are items of the common-sense set, which nobody may learn from.
                let tag = list("hashtags").choose(random).copied().unwrap_or_default();
                format!("{face} {tag}")
            } else {
                let is_one_sign = face.chars().count() == 1;
                let times = [1, 1, 2, 3].choose(random).copied().filter(|_| is_one_sign).unwrap_or(1);
                let before = plain.choose(random).map_or("", |plain| plain.text.trim_end_matches(['.', ' ']));
                format!("{before} {}", face.repeat(times))
            };
            let fold = (!by_itself).then_some(fold);
            made.push(TrainingText::new(text, &as_whole, Origin::EmojiOnly, fold));
        }
    }
    made
}

/// The body and the caption of one post: two rated texts that do not contradict each other.
///
/// Half of the posts that are served have a caption beside the body, which gates the words of the body; no rated text
/// has one. A pair is one of two kinds:
///
/// - Both texts are positive, both are negative, or both have no feeling. Each is evidence of what the post conveys: with
///   shares a and b, smoothed (`(a + .02) / 1.06`), the pair has q ∝ (a · b)^¾. The power 1 would be that of independent
///   evidence (naive Bayes with classes that are equally likely beforehand), ½ the geometric mean, which is no surer than
///   one text. Two texts of one post are neither independent nor the same. The mean is that of the two means: two people
///   who agree are surer, not louder.
/// - One has no feeling, the other has. A plain caption is no evidence against the feeling of the body, and the product
///   would take it for some; the clearer text decides as in a text of two sentences: .85 of its votes and of its mean, .15
///   of the other's.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// The text with more words.
    pub protagonist: String,
    /// The text with fewer words, at most 20.
    pub supporting: String,
    /// Shares of the votes of the post, their sum is 1; and its mean.
    pub rating: Rating,
    /// The fold of both texts.
    pub fold: u8,
}

impl Pair {
    pub(super) fn into_text(self) -> TrainingText {
        let parts = vec![(BODY_ROLE, self.protagonist), (CAPTION_ROLE, self.supporting)];
        TrainingText::of_parts(parts, &self.rating, Origin::Pair, Some(self.fold))
    }
}

/// `count` pairs of the texts, fewer where a fold has too few texts that go together.
pub fn pairs(texts: &[RatedText], seed: u64, count: usize) -> Vec<Pair> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut pairs = Vec::new();
    for (fold, texts) in folds(texts) {
        let quota = quota(fold, count);
        let draws = (0..quota.saturating_mul(DRAWS_FOR_ONE)).filter_map(|_| {
            let (a, b) = (texts.choose(&mut random)?, texts.choose(&mut random)?);
            pair(a, b)
        });
        pairs.extend(draws.take(quota));
    }
    pairs
}

/// `None` for texts that contradict each other, for a text with itself, and where both are too long for a caption.
fn pair(a: &RatedText, b: &RatedText) -> Option<Pair> {
    let (protagonist, supporting) = if a.words() >= b.words() { (a, b) } else { (b, a) };
    if a.id == b.id || supporting.words() > MAX_CAPTION_WORDS {
        return None;
    }
    let rating = pair_rating(&a.rating(), &b.rating())?;
    let (protagonist, supporting) = (protagonist.text.clone(), supporting.text.clone());
    Some(Pair { protagonist, supporting, rating, fold: a.fold })
}

/// The rating of a post of two texts (see [`Pair`]); `None` where one is for and the other against.
pub(super) fn pair_rating(a: &Rating, b: &Rating) -> Option<Rating> {
    match (a.is_neutral(), b.is_neutral()) {
        (true, false) | (false, true) => Some(clearer_decides(a, b)),
        (false, false) if (a.mean > 0.0) != (b.mean > 0.0) => None,
        _ => {
            let smoothed = |share: f32| (share + PAIR_SMOOTHING) / (1.0 + 3.0 * PAIR_SMOOTHING);
            let products: [f32; 3] =
                std::array::from_fn(|class| (smoothed(a.votes[class]) * smoothed(b.votes[class])).powf(PAIR_POWER));
            let sum: f32 = products.iter().sum();
            Some(Rating { votes: products.map(|product| product / sum), mean: (a.mean + b.mean) / 2.0 })
        }
    }
}
