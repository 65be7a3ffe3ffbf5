//! Records that are kept to be let in again. One that ran into its deadline stays in hand: to read its partition again
//! would repeat every other record behind it, once for each deadline.

use std::sync::Arc;
use std::time::Instant;

use jtav_pipeline::InboundRecord;

/// Bytes of records that are held, all partitions together; it stands in the memory ceiling. What does not fit makes its
/// partition be read again.
pub(crate) const MAX_HELD_BYTES: usize = 8 << 20;

/// A record that may be let in again without reading its partition again.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) record: Arc<InboundRecord>,
    /// Let in not before this.
    pub(crate) at: Instant,
    /// Times that it was held.
    pub(crate) times: u32,
}

impl Held {
    /// For the first time, and at once.
    pub(crate) fn new(record: InboundRecord, now: Instant) -> Self {
        Self { record: Arc::new(record), at: now, times: 0 }
    }

    /// Bytes of key, value and headers.
    pub(crate) fn bytes(&self) -> usize {
        self.record.bytes()
    }
}
