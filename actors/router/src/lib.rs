//! Box 2: one task per post, order per post id.
//!
//! [`pipeline::label_post`] is the diagram as code. A lane is an actix actor on its own arbiter; it owns its keys:
//! while a post is being worked on, later records of the same post are parked behind it (design D2, `style-anchors`
//! 4.4). Parked posts hold their permits, so the parking lot is bounded.

mod actor;
mod cache;
mod lanes;
pub mod pipeline;
mod record;
mod shared;
mod task;
mod urls;

pub use actor::{DescribeLane, RouterActor, RouterParams, StopLane};
pub use cache::{CacheStats, EncodingCache};
pub use lanes::{Parking, RouterLanes};
pub use shared::SharedEncodings;
