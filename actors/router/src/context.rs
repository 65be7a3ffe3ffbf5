use std::sync::Arc;
use std::time::Instant;

use jtav_delivery::Shares;
use jtav_pipeline::{CoveredLanguages, InboundRecord, StageTracker, Stages};

use crate::cache::EncodingCache;

/// Places for media from before they are decoded until they are encoded, shared out fairly among accounts.
pub type DecodedRoom = Shares<Arc<str>>;

/// What the pipeline of one post works with, besides the post.
#[derive(Clone)]
pub struct PostContext {
    /// The boxes.
    pub stages: Stages,
    /// Encodings that are known.
    pub cache: EncodingCache,
    /// Name and weights of the model.
    pub model_version: Arc<str>,
    /// Languages that the model was measured on; none where it states none.
    pub languages: Option<Arc<CoveredLanguages>>,
    /// Characters that are read of all texts of the post together.
    pub max_text_chars: usize,
    /// Room for media that are decoded and not encoded yet.
    pub decoded: DecodedRoom,
    /// Media must be here by then.
    pub fetch_deadline: Instant,
    /// On whose account media are decoded, where there are any.
    pub account: Option<Arc<str>>,
    /// Where the post came from.
    pub provenance: Provenance,
    /// Knows which stages the post is in.
    pub tracker: StageTracker,
}

/// Where a post came from and when.
#[derive(Debug, Clone)]
pub struct Provenance {
    /// The input record.
    pub record: Arc<InboundRecord>,
    /// When the worker received it, milliseconds since 1970.
    pub received_at_ms: i64,
}
