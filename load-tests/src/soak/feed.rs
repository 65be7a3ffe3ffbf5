//! The endless feed of a soak: posts of the sample feed under new ids, some of them with a fault.

use std::collections::{BTreeMap, VecDeque};

use jtav_feed_simulator::FORBIDDEN_URL;
use jtav_kafka::OutboundRecord;
use jtav_schemas::{MediaRef, PostV1, TextPart};
use jtav_testkit::Expected;
use serde::Serialize;

/// What can be wrong with a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PostFault {
    /// The media host takes the connection and says nothing.
    MediaHostHangs,
    /// 404.
    MediaNotFound,
    /// 503.
    MediaServerError,
    /// Sound where an image was announced.
    MediaWrongType,
    /// The connection ends long before the announced length.
    MediaTruncated,
    /// An image whose file is cut off.
    MediaBroken,
    /// A byte a second.
    MediaDrips,
    /// A body without end.
    MediaEndless,
    /// An address that must not be fetched.
    MediaForbidden,
    /// Not JSON.
    Poison,
    /// Nothing in it but an image that is not there.
    NoModality,
    /// A new revision of an earlier post.
    Edit,
    /// A tombstone for an earlier post.
    Tombstone,
}

impl PostFault {
    /// All, in the order in which a soak goes round.
    pub const ALL: [Self; 13] = [
        Self::MediaHostHangs,
        Self::Edit,
        Self::MediaNotFound,
        Self::Poison,
        Self::MediaServerError,
        Self::Tombstone,
        Self::MediaWrongType,
        Self::MediaTruncated,
        Self::NoModality,
        Self::MediaBroken,
        Self::MediaEndless,
        Self::MediaForbidden,
        Self::MediaDrips,
    ];
}

/// Where the media of a soak lie.
#[derive(Debug, Clone)]
pub struct MediaAddresses {
    /// A server whose routes misbehave; not the one with the sample feed, whose requests would wait behind them.
    pub bad_base_url: String,
    /// An image on a host that hangs.
    pub hanging_url: String,
    /// An image on a host that closes too early.
    pub truncating_url: String,
    /// A sound file on the good server.
    pub sound_url: String,
}

/// Posts that may still be edited or erased: recent, and neither erased nor broken.
const RECENT: usize = 500;

/// Makes records one by one, for ever.
#[derive(Debug)]
pub struct SoakFeed {
    topic: String,
    templates: Vec<PostV1>,
    media: MediaAddresses,
    /// One post in so many has a fault; 0: none.
    fault_every: u64,
    made: u64,
    seed: u64,
    recent: VecDeque<PostV1>,
    only: Option<PostFault>,
    faults: BTreeMap<PostFault, u64>,
}

impl SoakFeed {
    /// From at least one post, with a share of faults from 0 to 1.
    pub fn new(topic: &str, templates: Vec<PostV1>, media: MediaAddresses, fault_share: f64) -> Self {
        let fault_every = if fault_share > 0.0 { (1.0 / fault_share).round().max(1.0) as u64 } else { 0 };
        let (topic, recent, only) = (topic.to_owned(), VecDeque::new(), None);
        Self { topic, templates, media, fault_every, made: 0, seed: 4, recent, only, faults: BTreeMap::new() }
    }

    /// From now on every faulty post has this fault.
    pub fn always(&mut self, fault: PostFault) {
        self.only = Some(fault);
    }

    /// Records made with each fault.
    pub fn faults(&self) -> &BTreeMap<PostFault, u64> {
        &self.faults
    }

    /// The next record and what must become of it.
    pub fn next(&mut self) -> (OutboundRecord, Expected) {
        let number = self.made;
        self.made += 1;
        // Drawn, not in a circle: a cache that is a little too small would never hit in a circle.
        let drawn = split_mix(self.seed ^ number);
        let template = self.templates[(drawn % self.templates.len() as u64) as usize].clone();
        let post = PostV1 { id: format!("soak-{number}"), revision: 0, ..template };
        let due_for_fault = self.fault_every > 0 && number % self.fault_every == self.fault_every - 1;
        if !due_for_fault {
            self.remember(&post);
            return self.labelled(post);
        }
        let in_turn = PostFault::ALL[((number / self.fault_every) % PostFault::ALL.len() as u64) as usize];
        let fault = self.only.unwrap_or(in_turn);
        *self.faults.entry(fault).or_default() += 1;
        self.faulty(fault, post, drawn)
    }

    fn faulty(&mut self, fault: PostFault, mut post: PostV1, drawn: u64) -> (OutboundRecord, Expected) {
        let below = |path: &str| format!("{}/{path}", self.media.bad_base_url);
        let image_url = match fault {
            PostFault::MediaHostHangs => self.media.hanging_url.clone(),
            PostFault::MediaNotFound | PostFault::NoModality => below("status/404"),
            PostFault::MediaServerError => below("status/503"),
            PostFault::MediaWrongType => self.media.sound_url.clone(),
            PostFault::MediaTruncated => self.media.truncating_url.clone(),
            PostFault::MediaBroken => below("broken.jpg"),
            PostFault::MediaDrips => below("slow"),
            PostFault::MediaEndless => below("endless"),
            PostFault::MediaForbidden => FORBIDDEN_URL.to_owned(),
            PostFault::Poison => {
                let record = OutboundRecord::keyed(&self.topic, post.id.clone(), format!("{{\"id\":\"{}\",", post.id));
                return (record, Expected::DeadLettered { id: post.id });
            }
            PostFault::Edit | PostFault::Tombstone => return self.later(fault, post, drawn),
        };
        post.image = Some(MediaRef { url: image_url, media_type: None, sha256: None, bytes: None });
        if fault == PostFault::NoModality {
            (post.texts, post.audio) = (Vec::new(), None);
            let id = post.id.clone();
            return (self.labelled(post).0, Expected::DeadLettered { id });
        }
        // The label rests on the text; a post whose every part fails would be a dead letter.
        if post.texts.iter().all(|part| part.text.trim().is_empty()) {
            post.texts = vec![TextPart { role: "body".to_owned(), text: "What a lovely day by the sea".to_owned() }];
        }
        self.labelled(post)
    }

    /// An edit or a deletion of an earlier post; the post itself where there is none yet.
    fn later(&mut self, fault: PostFault, post: PostV1, drawn: u64) -> (OutboundRecord, Expected) {
        let Some(place) = drawn.checked_rem(self.recent.len() as u64) else { return self.labelled(post) };
        let Some(mut earlier) = self.recent.remove(place as usize) else { return self.labelled(post) };
        if fault == PostFault::Tombstone {
            let record = OutboundRecord::tombstone(&self.topic, earlier.id.clone());
            return (record, Expected::Erased { id: earlier.id });
        }
        earlier.revision += 1;
        earlier.texts = post.texts;
        earlier.image = earlier.image.or(post.image);
        if earlier.texts.is_empty() && earlier.image.is_none() && earlier.audio.is_none() {
            earlier.audio = post.audio;
        }
        self.remember(&earlier);
        self.labelled(earlier)
    }

    fn remember(&mut self, post: &PostV1) {
        self.recent.push_back(post.clone());
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }

    fn labelled(&self, post: PostV1) -> (OutboundRecord, Expected) {
        // Texts, numbers and lists of them: JSON can hold every post.
        let value = serde_json::to_vec(&post).expect("Invariant: a post is JSON");
        let record = OutboundRecord::keyed(&self.topic, post.id.clone(), value);
        (record, Expected::Labelled { id: post.id, revision: post.revision })
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): a number that looks drawn, the same in every run.
pub fn split_mix(state: u64) -> u64 {
    let mut z = state.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn made(records: usize, share: f64) -> (SoakFeed, Vec<(OutboundRecord, Expected)>) {
        let template = PostV1 {
            id: "t".to_owned(),
            revision: 0,
            author_id: None,
            created_at: None,
            lang: None,
            texts: vec![TextPart { role: "body".to_owned(), text: "hello".to_owned() }],
            audio: None,
            image: None,
            deleted: false,
        };
        let media = MediaAddresses {
            bad_base_url: "http://h:4".to_owned(),
            hanging_url: "http://h:2/i".to_owned(),
            truncating_url: "http://h:3/i".to_owned(),
            sound_url: "http://h:1/a.ogg".to_owned(),
        };
        let mut feed = SoakFeed::new("posts", vec![template], media, share);
        let records = (0..records).map(|_| feed.next()).collect();
        (feed, records)
    }

    #[test]
    fn one_post_in_a_hundred_has_a_fault_and_every_kind_has_its_turn() {
        let (feed, _) = made(2600, 0.01);
        assert_eq!(feed.faults().len(), PostFault::ALL.len());
        assert!(feed.faults().values().all(|count| *count == 2), "{:?}", feed.faults());
        assert!(made(500, 0.0).0.faults().is_empty());
    }

    #[test]
    fn every_post_has_an_id_of_its_own_but_edits_and_tombstones_which_name_an_earlier_one() {
        let (_, records) = made(3000, 0.05);
        let (mut seen, mut erased) = (HashSet::new(), HashSet::new());
        for (record, expected) in &records {
            let id = expected.id().to_owned();
            assert_eq!(record.key.as_deref(), Some(id.as_bytes()));
            assert!(!erased.contains(&id), "{id} was erased and comes again");
            match expected {
                Expected::Labelled { revision: 1.., .. } => assert!(!seen.insert(id)),
                Expected::Erased { .. } => assert!(seen.contains(&id) && record.value.is_none() && erased.insert(id)),
                _ => assert!(seen.insert(id)),
            }
        }
        assert!(!erased.is_empty());
    }
}
