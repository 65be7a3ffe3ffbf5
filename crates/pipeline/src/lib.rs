//! What the boxes of the diagram share: domain types, one trait per stage, the actix messages between them.
//!
//! The router depends on these traits alone. [`messages`] gives every actor address the trait of the message it
//! handles, so `topology.rs` injects addresses and a test injects plain structs.

mod encoded;
mod error;
pub mod fail_point;
mod media;
pub mod messages;
mod observer;
mod post;
mod retry;
mod stage;
mod traits;

pub use encoded::{AttentionPart, Embedding, Encoded, FuseRequest, Fused};
pub use error::{ErrorClass, StageError};
pub use fail_point::FailPoint;
pub use media::{ContentHash, Decoded, FetchRequest, FetchedMedia, Pcm, Receipt, Revalidated, RgbImage, log_name};
pub use observer::{NoObserver, Observer, PostReport};
pub use post::{Admitted, InboundRecord, PostEvent, Rejection, SourcePosition};
pub use retry::RetryPolicy;
pub use stage::Stage;
pub use traits::{
    AudioEncoder, DeadLetterRequest, Description, EraseRequest, Fusion, ImageEncoder, MediaDecoder, MediaFetcher,
    PublishOutcome, PublishRequest, Publisher, RouterIntake, Stages, TextEncoder,
};

/// Milliseconds since 1970 by the system clock; 0 before it.
pub fn now_ms() -> i64 {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since_1970.map_or(0, |age| age.as_millis() as i64).saturating_add(fail_point::clock_skew_ms())
}
