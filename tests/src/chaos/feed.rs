//! The feed of a run: posts, edits in and out of order, tombstones, posts that come after their tombstone, poison, and
//! media good and bad. A seed decides it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Result;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use jtav_feed_simulator::media_url;
use jtav_kafka::{ClientSettings, OutboundRecord, Producer, ProducerSettings, Record};
use jtav_schemas::{DeadLetterReason, MediaRef, PostV1, TextPart};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::task::JoinHandle;

/// Posts that an edit or a tombstone may still hit.
const RECENT: usize = 200;

/// Records whose acknowledgement is awaited at once; with the broker away the feed stands still at so many.
const UNACKNOWLEDGED: usize = 2_000;

const POISON: [(&str, DeadLetterReason); 3] = [
    ("not-json", DeadLetterReason::InvalidJson),
    ("wrong-key", DeadLetterReason::KeyMismatch),
    ("unusable", DeadLetterReason::NoModality),
];

/// Why a record of this feed must be set aside, if it must.
pub fn poison_reason(record: &Record) -> Option<DeadLetterReason> {
    let key = std::str::from_utf8(record.key.as_deref()?).ok()?;
    let kind = key.strip_prefix("poison-")?;
    POISON.iter().find(|(name, _)| kind.starts_with(name)).map(|(_, reason)| *reason)
}

/// What the posts of a feed are like.
#[derive(Debug, Clone)]
pub struct FeedParams {
    pub topic: String,
    pub seed: u64,
    pub posts_per_second: u32,
    /// So many times as many posts, as of now.
    pub times: Arc<AtomicU32>,
    /// Where good and bad media are.
    pub media_base_url: String,
    /// What no post may reach.
    pub forbidden_url: String,
    /// Of a hundred posts, how many have a medium at a bad host.
    pub bad_media_percent: u32,
}

/// Makes one record after the other.
pub struct FeedMaker {
    params: FeedParams,
    random: StdRng,
    number: u64,
    /// Id and newest revision of posts that are neither erased nor too old.
    recent: VecDeque<(String, u64)>,
    erased: VecDeque<String>,
    /// A revision that lost its place in the order and comes after a newer one.
    late: Option<(String, u64)>,
}

impl FeedMaker {
    pub fn new(params: FeedParams) -> Self {
        let random = StdRng::seed_from_u64(params.seed);
        Self { params, random, number: 0, recent: VecDeque::new(), erased: VecDeque::new(), late: None }
    }

    pub fn next_record(&mut self) -> OutboundRecord {
        self.number += 1;
        if let Some((id, revision)) = self.late.take() {
            return self.post(&id, revision);
        }
        match self.random.random_range(0..100) {
            0..6 if !self.recent.is_empty() => self.edit(1),
            6..8 if !self.recent.is_empty() => self.edit(2),
            8..11 if !self.recent.is_empty() => self.tombstone(),
            11 if !self.erased.is_empty() => self.return_of_an_erased_post(),
            12..15 => self.poison(),
            15 => self.nothing(),
            _ => self.fresh(),
        }
    }

    fn fresh(&mut self) -> OutboundRecord {
        let id = format!("post-{}", self.number);
        self.recent.push_back((id.clone(), 0));
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
        self.post(&id, 0)
    }

    /// A newer revision; with `by` 2 the one between comes right after it.
    fn edit(&mut self, by: u64) -> OutboundRecord {
        let index = self.random.random_range(0..self.recent.len());
        let (id, revision) = &mut self.recent[index];
        *revision += by;
        let (id, revision) = (id.clone(), *revision);
        if by > 1 {
            self.late = Some((id.clone(), revision - 1));
        }
        self.post(&id, revision)
    }

    fn tombstone(&mut self) -> OutboundRecord {
        let index = self.random.random_range(0..self.recent.len());
        let (id, _) = self.recent.remove(index).unwrap_or_default();
        self.erased.push_back(id.clone());
        if self.erased.len() > RECENT {
            self.erased.pop_front();
        }
        OutboundRecord::tombstone(&self.params.topic, id)
    }

    fn return_of_an_erased_post(&mut self) -> OutboundRecord {
        let index = self.random.random_range(0..self.erased.len());
        let id = self.erased[index].clone();
        let revision = 1_000 + self.number;
        self.post(&id, revision)
    }

    fn poison(&mut self) -> OutboundRecord {
        let (kind, _) = POISON[self.random.random_range(0..POISON.len())];
        let key = format!("poison-{kind}-{}", self.number);
        let value = match kind {
            "not-json" => format!(r#"{{"id": "{key}", "texts": ["#),
            "wrong-key" => format!(r#"{{"id": "somebody-{}"}}"#, self.number),
            _ => format!(r#"{{"id": "{key}", "image": {{"url": "{}"}}}}"#, self.params.forbidden_url),
        };
        OutboundRecord::keyed(&self.params.topic, key, value)
    }

    /// A post without anything to label, of which nothing may come.
    fn nothing(&mut self) -> OutboundRecord {
        let id = format!("nothing-{}", self.number);
        let texts = ["", "@somebody", "...!", "https://a.example/b"];
        let text = texts[self.random.random_range(0..texts.len())];
        let value = format!(r#"{{"id": "{id}", "texts": [{{"role": "body", "text": "{text}"}}]}}"#);
        OutboundRecord::keyed(&self.params.topic, id, value)
    }

    fn post(&mut self, id: &str, revision: u64) -> OutboundRecord {
        let (audio, image) = self.media();
        let post = PostV1 {
            id: id.to_owned(),
            revision,
            author_id: None,
            created_at: None,
            lang: Some("en".to_owned()),
            texts: vec![TextPart { role: "body".to_owned(), text: format!("words of {id} in revision {revision}") }],
            audio,
            image,
            deleted: false,
        };
        let value = serde_json::to_vec(&post).unwrap_or_default();
        OutboundRecord::keyed(&self.params.topic, id.to_owned(), value)
    }

    /// Three of a hundred posts have a medium that is there, one an address that must not be reached.
    fn media(&mut self) -> (Option<MediaRef>, Option<MediaRef>) {
        let medium = |url: String| Some(MediaRef { url, media_type: None, sha256: None, bytes: None });
        let base = self.params.media_base_url.clone();
        let draw = self.random.random_range(0..100);
        let bad = self.params.bad_media_percent;
        match draw {
            0..2 => (None, medium(media_url(&base, SAMPLE_IMAGE))),
            2 => (medium(media_url(&base, SAMPLE_AUDIO)), None),
            3 => (None, medium(self.params.forbidden_url.clone())),
            draw if draw < 4 + bad => {
                let path = BAD_MEDIA[self.random.random_range(0..BAD_MEDIA.len())];
                (None, medium(format!("{base}{path}")))
            }
            _ => (None, None),
        }
    }
}

const SAMPLE_IMAGE: &str = "media/image/i-0439.jpg";
const SAMPLE_AUDIO: &str = "media/audio/a-0426.ogg";
const BAD_MEDIA: [&str; 6] =
    ["/slow", "/endless", "/broken.jpg", "/status/404", "/status/503", "/redirect?to=/redirect"];

/// A feed that flows until it is told to end.
pub struct RunningFeed {
    ended: Arc<AtomicBool>,
    task: JoinHandle<Result<Fed>>,
}

/// What became of a feed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fed {
    /// Records that the broker has.
    pub acknowledged: usize,
    /// Records that it may have: only the log can tell.
    pub unknown: usize,
}

impl RunningFeed {
    /// Begins to produce.
    pub fn start(client: &ClientSettings, params: FeedParams) -> Result<Self> {
        let producer = Producer::new(client, &ProducerSettings::default())?;
        let ended = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(flow(producer, params, Arc::clone(&ended)));
        Ok(Self { ended, task })
    }

    /// Ends it, once all that was handed over is acknowledged or given up.
    pub async fn end(self) -> Result<Fed> {
        self.ended.store(true, Ordering::Relaxed);
        self.task.await?
    }
}

async fn flow(producer: Producer, params: FeedParams, ended: Arc<AtomicBool>) -> Result<Fed> {
    let times = Arc::clone(&params.times);
    let mut tick = tokio::time::interval(Duration::from_secs(1) / params.posts_per_second);
    let mut maker = FeedMaker::new(params);
    let mut fed = Fed::default();
    let mut count = |result: bool| if result { fed.acknowledged += 1 } else { fed.unknown += 1 };
    let mut waiting = FuturesUnordered::new();
    while !ended.load(Ordering::Relaxed) {
        tokio::select! {
            _ = tick.tick(), if waiting.len() < UNACKNOWLEDGED => {
                for _ in 0..times.load(Ordering::Relaxed) {
                    let producer = producer.clone();
                    let record = maker.next_record();
                    // First polled in the order in which they are pushed, and then handed over: the order of a key holds.
                    waiting.push(async move { producer.send(record).await.is_ok() });
                }
            }
            Some(result) = waiting.next(), if !waiting.is_empty() => count(result),
        }
    }
    while let Some(result) = waiting.next().await {
        count(result);
    }
    Ok(fed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_the_feed_and_every_kind_of_record_is_in_it() {
        let params = || FeedParams {
            topic: "posts".into(),
            seed: 7,
            posts_per_second: 1,
            times: Arc::new(AtomicU32::new(1)),
            media_base_url: "http://127.0.0.1:1".into(),
            forbidden_url: "http://127.0.0.1:2/".into(),
            bad_media_percent: 2,
        };
        let (mut one, mut other) = (FeedMaker::new(params()), FeedMaker::new(params()));
        let records: Vec<_> = (0..2_000).map(|_| one.next_record()).collect();
        assert!(records.iter().all(|record| *record == other.next_record()));
        let nulls = records.iter().filter(|record| record.value.is_none()).count();
        let poison = records.iter().filter(|r| r.key.as_deref().is_some_and(|k| k.starts_with(b"poison-"))).count();
        let text =
            |record: &OutboundRecord| String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned();
        let with = |part: &str| records.iter().filter(|record| text(record).contains(part)).count();
        assert!(nulls > 20 && poison > 20 && with("127.0.0.1:2/") > 5 && with(SAMPLE_IMAGE) > 5, "{nulls} {poison}");
        assert!(
            with(r#""revision":10"#) + with(r#""revision":11"#) + with(r#""revision":12"#) > 2,
            "posts after their tombstone"
        );
    }
}
