//! Box 2: one task per post, order per post id.
//!
//! [`pipeline::label_post`] is the diagram as code. A lane is an actix actor on its own arbiter; it owns its keys:
//! while a post is being worked on, later records of the same post are parked behind it (ADR 40).
//! Before its work begins a post waits for its turn; whoever is parked gives his to another, as far as the bounded
//! lot has room (ADR 24).

mod actor;
mod cache;
mod context;
mod known;
mod lanes;
mod parking;
pub mod pipeline;
mod record;
mod shared;
mod sites;
mod task;
mod texts;
mod turn;
mod urls;

pub use actor::{DescribeLane, RouterActor, RouterParams, StopLane};
pub use cache::{CacheStats, EncodingCache};
pub use context::{DecodedRoom, PostContext, Provenance};
pub use lanes::RouterLanes;
pub use parking::Parking;
pub use shared::SharedEncodings;
