//! Plays a data pack as a live feed: serves the media over HTTP and produces the posts.
//!
//! [`Pack`] reads the posts, [`MediaServer`] serves the files they point at, [`feed()`] and [`demo_feed`] turn posts into
//! records (labels stay behind), [`play`] sends them at a given rate to a [`FeedSink`].

mod feed;
mod media_server;
mod pack;
mod play;
mod sink;
mod special_routes;

pub use feed::{BROKEN_IMAGE_ID, FORBIDDEN_ADDRESS_ID, FORBIDDEN_URL, FeedRecord, NOT_JSON_KEY, demo_feed, feed};
pub use media_server::{MediaServer, media_url};
pub use pack::{Pack, PackError};
pub use play::{PlayCounts, PlayError, PlayOptions, play};
pub use sink::{FeedSink, KafkaSink, MemorySink};

/// The bundled sample feed, by its path in the repository and in an installation: 64 posts with their media.
pub const SAMPLE_FEED: &str = "services/feed-simulator/sample-feed";
