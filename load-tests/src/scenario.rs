//! Scenarios: what is sent, how fast, to a worker with which settings.

use std::path::Path;

use anyhow::{Context as _, Result};
use jtav_feed_simulator::{FeedRecord, Pack, feed};
use jtav_schemas::{Modality, PostV1};
use serde::{Deserialize, Serialize};

/// Which posts of the sample feed are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Posts {
    /// Those with a text, without their media.
    Texts,
    /// Those with an image, and nothing but the image.
    Images,
    /// Those with a clip, and nothing but the clip.
    Sounds,
    /// All, as they are.
    All,
}

impl Posts {
    /// Whether posts that have this part keep it.
    pub fn keep(self, part: Modality) -> bool {
        match self {
            Self::Texts => part == Modality::Text,
            Self::Images => part == Modality::Image,
            Self::Sounds => part == Modality::Audio,
            Self::All => true,
        }
    }
}

/// What the run is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CeilingKind {
    /// Plain produce and consume of the same records.
    Broker,
    /// Forward passes of the same posts and nothing else.
    Forward,
}

/// `scenarios/NAME.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// For the report.
    pub description: String,
    pub posts: Posts,
    /// Arrival rate.
    pub rate_per_second: f64,
    /// Length of the measured phase.
    pub seconds: f64,
    /// Length of the phase before it, whose posts count nowhere.
    pub warm_up_seconds: f64,
    /// What to compare with.
    pub ceiling: CeilingKind,
    /// Settings of the worker beside those that point it at this run's broker and store.
    #[serde(default)]
    pub worker: toml::Table,
}

impl Scenario {
    /// Reads `NAME.toml` in `folder`, or the file itself if `name` is a path.
    pub fn load(folder: &Path, name: &str) -> Result<Self> {
        let path =
            if name.ends_with(".toml") { Path::new(name).to_owned() } else { folder.join(format!("{name}.toml")) };
        let text = std::fs::read_to_string(&path).with_context(|| {
            format!("no scenario `{name}`: cannot read {}; `list` names those there are", path.display())
        })?;
        toml::from_str(&text).with_context(|| format!("{} is not a scenario", path.display()))
    }
}

/// The records of one round, media addresses below `base_url`.
pub fn records_of(pack: &Pack, posts: Posts, base_url: &str) -> Result<Vec<FeedRecord>> {
    let all = feed(pack, base_url);
    if posts == Posts::All {
        return Ok(all);
    }
    let mut kept = Vec::new();
    for record in all {
        let mut post: PostV1 = serde_json::from_slice(&record.value).context("the sample feed made a bad post")?;
        if !posts.keep(Modality::Text) {
            post.texts.clear();
        }
        post.audio = post.audio.filter(|_| posts.keep(Modality::Audio));
        post.image = post.image.filter(|_| posts.keep(Modality::Image));
        let has_text = post.texts.iter().any(|part| !part.text.trim().is_empty());
        if has_text || post.audio.is_some() || post.image.is_some() {
            kept.push(FeedRecord { value: serde_json::to_vec(&post)?.into(), ..record });
        }
    }
    Ok(kept)
}

/// `count` records, going round as often as needed. Ids get a suffix, `~1` in the first round and `~2` in the second,
/// after `tag`: a repeated id would be a redelivery, which the worker rightly leaves alone.
pub fn looped(round: &[FeedRecord], count: usize, tag: &str) -> Vec<FeedRecord> {
    (0..count)
        .map(|index| round[index % round.len()].with_id_suffix(&format!("{tag}~{}", index / round.len() + 1)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn root() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
    }

    #[test]
    fn every_scenario_in_the_folder_is_valid() {
        for name in ["text", "mixed", "stub", "images", "sounds", "media", "media-threads"] {
            let scenario = Scenario::load(&root().join("load-tests/scenarios"), name).unwrap();
            assert!(scenario.rate_per_second > 0.0 && scenario.seconds > 0.0, "{name}");
            assert_eq!(scenario.worker["cache"]["max_bytes"].as_integer(), Some(0), "{name}");
        }
    }

    #[test]
    fn an_unknown_scenario_is_refused_with_its_name() {
        let error = Scenario::load(&root().join("load-tests/scenarios"), "nonesuch").unwrap_err();
        assert!(format!("{error:#}").contains("`nonesuch`"), "{error:#}");
    }

    #[test]
    fn texts_only_leaves_no_medium_and_no_post_without_text() {
        let pack = Pack::open(root().join(jtav_feed_simulator::SAMPLE_FEED)).unwrap();
        let records = records_of(&pack, Posts::Texts, "http://127.0.0.1:1").unwrap();
        assert!(!records.is_empty() && records.len() < pack.posts().len());
        for record in &records {
            let post: PostV1 = serde_json::from_slice(&record.value).unwrap();
            assert!(post.audio.is_none() && post.image.is_none() && !post.texts.is_empty());
        }
    }

    #[test]
    fn images_only_and_sounds_only_leave_nothing_else_and_no_post_without_one() {
        let pack = Pack::open(root().join(jtav_feed_simulator::SAMPLE_FEED)).unwrap();
        for (posts, has_image) in [(Posts::Images, true), (Posts::Sounds, false)] {
            let records = records_of(&pack, posts, "http://127.0.0.1:1").unwrap();
            assert!(records.len() > 30 && records.len() < pack.posts().len(), "{posts:?}: {}", records.len());
            for record in &records {
                let post: PostV1 = serde_json::from_slice(&record.value).unwrap();
                assert!(post.texts.is_empty());
                assert_eq!((post.image.is_some(), post.audio.is_some()), (has_image, !has_image), "{posts:?}");
            }
        }
    }

    #[test]
    fn a_looped_feed_repeats_no_id_and_key_and_value_agree() {
        let pack = Pack::open(root().join(jtav_feed_simulator::SAMPLE_FEED)).unwrap();
        let round = records_of(&pack, Posts::All, "http://127.0.0.1:1").unwrap();
        let records = looped(&round, 3 * round.len() + 1, "~warm");
        assert_eq!(records.iter().map(|record| &record.key).collect::<HashSet<_>>().len(), records.len());
        for record in &records {
            let post: PostV1 = serde_json::from_slice(&record.value).unwrap();
            assert_eq!(post.id.as_bytes(), &record.key[..]);
        }
    }
}
