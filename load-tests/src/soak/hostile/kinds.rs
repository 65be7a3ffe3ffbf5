//! Posts of strangers who mean harm, or whose program is broken, and what must become of each.

use jtav_feed_simulator::FORBIDDEN_URL;
use jtav_kafka::OutboundRecord;
use jtav_schemas::{MediaRef, PostV1, TextPart};
use serde::Serialize;

use super::server::HostileServer;

/// Largest record that a worker parses.
const RECORD_BYTES: usize = 512 << 10;
/// Accounts that post all of it.
const AUTHORS: usize = 10;
/// Revisions of a post that edits itself.
pub const EDITS: u64 = 3;

/// What a post does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Half a megabyte of Chinese without a blank, in 13 parts.
    TextWithoutBlanks,
    /// Half a megabyte of `@` and `#`.
    TextOfSigns,
    /// Half a megabyte of accents on one letter.
    TextOfAccents,
    /// Half a megabyte of joined emoji.
    TextOfEmoji,
    /// Ten thousand texts of a letter.
    TextInManyParts,
    /// Half an emoji.
    HalfAnEmoji,
    /// A mention and nothing else.
    MentionOnly,
    /// A record larger than what is parsed.
    LargeRecord,
    /// A record as large as the topic takes.
    LargestRecord,
    /// A small post with 600 kB of headers.
    LargeHeaders,
    /// Not JSON.
    NotJson,
    /// JSON, but a list.
    List,
    /// A hundred thousand brackets.
    Nested,
    /// An id of 300 characters.
    LongId,
    /// Deleted, with `null` where texts belong.
    DeletedWithNull,
    /// A server that takes the request and says nothing.
    HostHangs,
    /// A server that sends a byte a second of a declared 30 MB.
    HostTrickles,
    /// A server that sends a header a second.
    HostSendsHeadersSlowly,
    /// Two megabytes of headers.
    HostSendsManyHeaders,
    /// A body without end.
    HostNeverEnds,
    /// Redirects without end.
    HostRedirectsForEver,
    /// A connection that is closed at once.
    HostCloses,
    /// 503, and to be asked again tomorrow.
    HostIsBusy,
    /// A body in an encoding that it is not in.
    HostEncodes,
    /// An address that must not be fetched.
    ForbiddenAddress,
    /// 40 million pixels in 98 scans in 80 kB.
    PictureOfScans,
    /// 40 million pixels in a small PNG.
    PictureOfOneColour,
    /// A megabyte of noise that begins like a picture.
    PictureOfNoise,
    /// Thirty thousand comments and no picture.
    PictureOfComments,
    /// 25 MB of padding before the sound.
    SoundOfPadding,
    /// A tenth of a second that calls itself hours.
    SoundThatLies,
    /// Three revisions at once, with a picture at a server that says nothing.
    EditsItself,
}

impl Kind {
    /// All, in the order in which they come.
    pub const ALL: [Self; 32] = [
        Self::HostHangs,
        Self::TextWithoutBlanks,
        Self::LargeRecord,
        Self::PictureOfScans,
        Self::HostTrickles,
        Self::HalfAnEmoji,
        Self::NotJson,
        Self::SoundOfPadding,
        Self::HostSendsHeadersSlowly,
        Self::TextOfSigns,
        Self::LargestRecord,
        Self::PictureOfOneColour,
        Self::HostNeverEnds,
        Self::MentionOnly,
        Self::List,
        Self::SoundThatLies,
        Self::EditsItself,
        Self::TextOfAccents,
        Self::LargeHeaders,
        Self::PictureOfNoise,
        Self::HostRedirectsForEver,
        Self::DeletedWithNull,
        Self::Nested,
        Self::HostCloses,
        Self::TextOfEmoji,
        Self::LongId,
        Self::PictureOfComments,
        Self::HostSendsManyHeaders,
        Self::TextInManyParts,
        Self::HostEncodes,
        Self::ForbiddenAddress,
        Self::HostIsBusy,
    ];

    /// What must become of it.
    pub fn expected(self) -> PostEnd {
        match self {
            Self::LargeRecord | Self::LargestRecord | Self::NotJson | Self::List | Self::Nested | Self::LongId => {
                PostEnd::DeadLettered
            }
            Self::DeletedWithNull => PostEnd::Erased,
            Self::MentionOnly => PostEnd::Skipped,
            // Whatever becomes of its medium, the text is labelled.
            _ => PostEnd::Labelled,
        }
    }

    fn name(self) -> String {
        serde_json::to_value(self).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

/// How a post ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PostEnd {
    /// A label of its newest revision.
    Labelled,
    /// A dead letter.
    DeadLettered,
    /// An erasure record.
    Erased,
    /// Nothing on any topic; only the worker's own count tells.
    Skipped,
}

/// Makes them one by one.
#[derive(Debug)]
pub struct HostileFeed {
    topic: String,
    server: HostileServer,
    made: usize,
}

/// One post.
#[derive(Debug)]
pub struct Hostile {
    /// What it does.
    pub kind: Kind,
    /// Key of its records.
    pub key: String,
    /// Newest revision.
    pub revision: u64,
    /// One, or several revisions.
    pub records: Vec<OutboundRecord>,
}

impl HostileFeed {
    /// For this topic, with media at this server.
    pub fn new(topic: &str, server: HostileServer) -> Self {
        Self { topic: topic.to_owned(), server, made: 0 }
    }

    /// The next one.
    pub fn next(&mut self) -> Hostile {
        let number = self.made;
        self.made += 1;
        let kind = Kind::ALL[number % Kind::ALL.len()];
        let key = match kind {
            Kind::LongId => format!("hostile-{number}-{}", "i".repeat(300)),
            _ => format!("hostile-{number}"),
        };
        let revisions = if kind == Kind::EditsItself { EDITS } else { 1 };
        let records = (0..revisions).map(|revision| self.record(kind, number, &key, revision)).collect();
        Hostile { kind, key, revision: revisions - 1, records }
    }

    fn record(&self, kind: Kind, number: usize, key: &str, revision: u64) -> OutboundRecord {
        let keyed = |value: String| OutboundRecord::keyed(&self.topic, key.to_owned(), value);
        match kind {
            Kind::LargeRecord => keyed(padded(key, 700_000)),
            Kind::LargestRecord => keyed(padded(key, 1_000_000)),
            Kind::NotJson => keyed(format!("{{\"id\":\"{key}\",")),
            Kind::List => keyed(format!("[\"{key}\",0,null,null,null,[]]")),
            Kind::Nested => keyed("[".repeat(100_000)),
            Kind::HalfAnEmoji => {
                keyed(format!(r#"{{"id":"{key}","texts":[{{"role":"body","text":"so happy today \ud83d"}}]}}"#))
            }
            Kind::DeletedWithNull => keyed(format!(r#"{{"id":"{key}","deleted":true,"texts":null}}"#)),
            Kind::LargeHeaders => (0..600).fold(self.post(kind, number, key, revision), |record, header| {
                record.header(format!("x-{header}"), vec![b'h'; 1_000])
            }),
            _ => self.post(kind, number, key, revision),
        }
    }

    fn post(&self, kind: Kind, number: usize, key: &str, revision: u64) -> OutboundRecord {
        let medium = |path: &str, bytes: Option<u64>| {
            Some(MediaRef { url: self.server.url(number, path), media_type: None, sha256: None, bytes })
        };
        let (image, audio) = match kind {
            Kind::HostHangs | Kind::EditsItself => (medium(&format!("hang/{number}"), None), None),
            Kind::HostTrickles => (medium("trickle", Some(30_000_000)), None),
            Kind::HostSendsHeadersSlowly => (medium("slow-head", None), None),
            Kind::HostSendsManyHeaders => (medium("big-head", None), None),
            Kind::HostNeverEnds => (medium("endless", None), None),
            Kind::HostRedirectsForEver => (medium("loop/0", None), None),
            Kind::HostCloses => (medium("reset", None), None),
            Kind::HostIsBusy => (medium("busy", None), None),
            Kind::HostEncodes => (medium("encoded", None), None),
            Kind::PictureOfScans => (medium(&format!("file/scans.jpg/{number}"), None), None),
            Kind::PictureOfOneColour => (medium(&format!("file/flat.png/{number}"), None), None),
            Kind::PictureOfNoise => (medium(&format!("file/noise.jpg/{number}"), None), None),
            Kind::PictureOfComments => (medium(&format!("file/segments.jpg/{number}"), None), None),
            Kind::SoundOfPadding => (None, medium(&format!("file/zeros.mp3/{number}"), None)),
            Kind::SoundThatLies => (None, medium(&format!("file/hours.wav/{number}"), None)),
            Kind::ForbiddenAddress => {
                (Some(MediaRef { url: FORBIDDEN_URL.to_owned(), media_type: None, sha256: None, bytes: None }), None)
            }
            _ => (None, None),
        };
        let post = PostV1 {
            id: key.to_owned(),
            revision,
            author_id: Some(format!("stranger-{}", number % AUTHORS)),
            created_at: None,
            lang: None,
            texts: texts(kind),
            audio,
            image,
            deleted: false,
        };
        // Texts, numbers and lists of them: JSON can hold every post.
        let value = serde_json::to_vec(&post).expect("Invariant: a post is JSON");
        OutboundRecord::keyed(&self.topic, key.to_owned(), value).header("jtav-load-kind", kind.name())
    }
}

fn texts(kind: Kind) -> Vec<TextPart> {
    let part = |text: String| TextPart { role: "body".to_owned(), text };
    let parts = |count: usize, unit: &str| -> Vec<TextPart> {
        let text = unit.repeat((RECORD_BYTES - 4_096) / count / unit.len());
        (0..count).map(|_| part(text.clone())).collect()
    };
    match kind {
        Kind::TextWithoutBlanks => parts(13, "字"),
        // A word before them: signs and accents alone are nothing to label.
        Kind::TextOfSigns => behind("sea ", parts(1, "@#")),
        Kind::TextOfAccents => behind("e", parts(1, "\u{301}")),
        Kind::TextOfEmoji => parts(4, "👩\u{200d}"),
        Kind::TextInManyParts => (0..10_000).map(|_| part("a".to_owned())).collect(),
        Kind::MentionOnly => vec![part("@somebody @else https://example.org/".to_owned())],
        _ => vec![part("What a lovely day by the sea".to_owned())],
    }
}

fn behind(word: &str, parts: Vec<TextPart>) -> Vec<TextPart> {
    parts.into_iter().map(|part| TextPart { text: format!("{word}{}", part.text), ..part }).collect()
}

fn padded(id: &str, bytes: usize) -> String {
    let head = format!(r#"{{"id":"{id}","texts":[{{"role":"body","text":""#);
    let tail = r#""}]}"#;
    format!("{head}{}{tail}", "a ".repeat((bytes - head.len() - tail.len()) / 2))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::media::Files;
    use super::*;

    #[tokio::test]
    async fn every_kind_has_its_turn_and_every_record_fits_the_topic_and_but_for_the_large_ones_the_parser() {
        let server = HostileServer::start(Files::default()).await.unwrap();
        let mut feed = HostileFeed::new("posts", server);
        let made: Vec<Hostile> = (0..Kind::ALL.len()).map(|_| feed.next()).collect();
        assert_eq!(made.iter().map(|hostile| hostile.kind).collect::<HashSet<_>>().len(), Kind::ALL.len());
        for hostile in &made {
            for record in &hostile.records {
                let bytes = record.value.as_ref().unwrap().len();
                let is_large = matches!(hostile.kind, Kind::LargeRecord | Kind::LargestRecord);
                assert_eq!(bytes > RECORD_BYTES, is_large, "{:?}: {bytes}", hostile.kind);
                assert!(bytes <= 1_000_000, "{:?}: {bytes}", hostile.kind);
            }
        }
    }
}
