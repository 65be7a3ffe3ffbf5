use std::sync::Arc;
use std::time::Duration;

use jtav_pipeline::Encoded;
use jtav_schemas::AbsentReason;

/// What is known of a medium: its encoding, or why the same bytes can never be encoded.
pub type Known = Result<Arc<Encoded>, AbsentReason>;

/// Longest stay of an encoding, whoever uses it. A tombstone reaches one worker only; by this the encodings of an erased
/// post leave the memory of every other one too.
pub(crate) const MAX_AGE: Duration = Duration::from_secs(3_600);
