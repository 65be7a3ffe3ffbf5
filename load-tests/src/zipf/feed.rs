//! The endless feed of the Zipf scenario.

use jtav_feed_simulator::media_url;
use jtav_kafka::OutboundRecord;
use jtav_schemas::{MediaRef, PostV1, TextPart};
use jtav_testkit::Expected;

use super::media::Files;
use crate::soak::feed::split_mix;

/// Makes records one by one, the same in every run.
#[derive(Debug)]
pub struct ZipfFeed {
    topic: String,
    base_url: String,
    texts: Vec<String>,
    files: Files,
    images: Zipf,
    clips: Zipf,
    made: u64,
}

impl ZipfFeed {
    /// From at least one text, image and clip.
    pub fn new(topic: &str, base_url: &str, texts: Vec<String>, files: Files, exponent: f64) -> Self {
        let (images, clips) = (Zipf::new(files.images.len(), exponent), Zipf::new(files.clips.len(), exponent));
        Self { topic: topic.to_owned(), base_url: base_url.to_owned(), texts, files, images, clips, made: 0 }
    }

    /// The next record; all must be labelled.
    pub fn next(&mut self) -> (OutboundRecord, Expected) {
        let number = self.made;
        self.made += 1;
        let drawn = |what: u64| split_mix(number * 3 + what);
        let unit = |what: u64| (drawn(what) >> 11) as f64 / (1_u64 << 53) as f64;
        let medium = |path: &str| {
            let url = media_url(&self.base_url, path);
            Some(MediaRef { url, media_type: None, sha256: None, bytes: None })
        };
        let text = self.texts[(drawn(0) % self.texts.len() as u64) as usize].clone();
        let post = PostV1 {
            // The store is one for all feeds.
            id: format!("{}-{number}", self.topic),
            revision: 0,
            author_id: None,
            created_at: None,
            lang: Some("en".to_owned()),
            texts: vec![TextPart { role: "body".to_owned(), text }],
            image: medium(&self.files.images[self.images.at(unit(1))]),
            audio: medium(&self.files.clips[self.clips.at(unit(2))]),
            deleted: false,
        };
        // Texts, numbers and lists of them: JSON can hold every post.
        let value = serde_json::to_vec(&post).expect("Invariant: a post is JSON");
        (OutboundRecord::keyed(&self.topic, post.id.clone(), value), Expected::Labelled { id: post.id, revision: 0 })
    }
}

/// Ranks from 0, the k-th with a probability like 1 / (k + 1)^exponent.
#[derive(Debug)]
struct Zipf {
    /// Up to and with each rank.
    cumulated: Vec<f64>,
}

impl Zipf {
    fn new(ranks: usize, exponent: f64) -> Self {
        let weights = (1..=ranks).map(|rank| (rank as f64).powf(-exponent));
        let cumulated = weights.scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        });
        Self { cumulated: cumulated.collect() }
    }

    /// The rank at a place from 0 to 1.
    fn at(&self, unit: f64) -> usize {
        let sum = self.cumulated.last().copied().unwrap_or_default();
        let rank = self.cumulated.partition_point(|upto| *upto <= unit * sum);
        rank.min(self.cumulated.len().saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_come_as_often_as_the_law_says() {
        let zipf = Zipf::new(640, 1.0);
        let draws = 200_000;
        let mut counts = vec![0_u32; 640];
        for number in 0..draws {
            counts[zipf.at((split_mix(number) >> 11) as f64 / (1_u64 << 53) as f64)] += 1;
        }
        let harmonic: f64 = (1..=640).map(|rank| 1.0 / f64::from(rank)).sum();
        for rank in [1, 2, 5, 10, 50] {
            let expected = draws as f64 / (f64::from(rank) * harmonic);
            let found = f64::from(counts[rank as usize - 1]);
            // Five standard deviations of a binomial.
            assert!((found - expected).abs() < 5.0 * expected.sqrt(), "{rank}: {found} for {expected}");
        }
        assert_eq!((zipf.at(0.0), zipf.at(1.0)), (0, 639));
    }

    #[test]
    fn two_feeds_have_the_same_media_in_the_same_order() {
        let files = Files { images: (0..9).map(|n| format!("i{n}")).collect(), clips: vec!["c".into(), "d".into()] };
        let feed = || ZipfFeed::new("posts", "http://h", vec!["hello".into(), "there".into()], files.clone(), 1.0);
        let (mut one, mut other) = (feed(), feed());
        for _ in 0..50 {
            assert_eq!(one.next().0.value, other.next().0.value);
        }
    }
}
