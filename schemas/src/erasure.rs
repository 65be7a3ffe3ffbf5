use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `erasure.v1`: receipt that a post was erased. The Kafka key is the post id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "erasure.v1")]
pub struct ErasureV1 {
    /// The post.
    pub post_id: String,
    /// Revision of the tombstone, where it had one.
    pub revision: u64,
    /// How many models' keys were deleted from the store.
    pub erased_keys: u32,
    /// When the erasure was durable, milliseconds since 1970.
    pub erased_at_ms: i64,
}
