//! What the boxes of the diagram share: domain types, one trait per stage, the actor around each.
//!
//! The router depends on these traits alone. The address of a [`StageActor`] has the trait of the stage that it holds, so
//! `topology.rs` injects addresses and a test injects plain structs.

mod encoded;
mod error;
pub mod fail_point;
mod judgement;
mod lifeline;
mod media;
mod observer;
mod post;
mod progress;
mod reader;
mod retry;
mod site;
mod stage_actor;
mod stage_flow;
mod traits;

pub use encoded::{AttentionPart, Embedding, Encoded, EncodedText, FuseRequest, Fused};
pub use error::{ErrorClass, StageError};
pub use fail_point::FailPoint;
pub use jtav_schemas::{Decoded, Pcm, RgbImage, Stage};
pub use judgement::{CoveredLanguages, Decision, Judgement, Language, NO_LANGUAGE, TextLanguage, decide};
pub use lifeline::{Ends, Lifeline};
pub use media::{ContentHash, FetchRequest, FetchedMedia, Receipt, Revalidated, log_name};
pub use observer::{NoObserver, Observer, PostReport};
pub use post::{Admitted, InboundRecord, PostEvent, Rejection, Run, SourcePosition};
pub use progress::{Heartbeat, Progress, Work};
pub use reader::{ReadRules, check_post_id, read_post};
pub use retry::RetryPolicy;
pub use site::{account_of, network_of, site_of_host, site_of_url};
pub use stage_actor::{Lasts, StageActor, StageKind};
pub use stage_flow::{StageFlow, StagePasses, StageTracker, StageVisit};
pub use traits::{
    AudioEncoder, DeadLetterRequest, Description, EraseRequest, Fusion, ImageEncoder, MediaDecoder, MediaFetcher,
    PublishOutcome, PublishRequest, Publisher, RoutePost, RouterIntake, Stages, TextEncoder,
};

/// Milliseconds since 1970 by the system clock; 0 before it.
pub fn now_ms() -> i64 {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since_1970.map_or(0, |age| age.as_millis() as i64).saturating_add(fail_point::clock_skew_ms())
}
