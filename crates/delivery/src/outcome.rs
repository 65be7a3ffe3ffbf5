use jtav_schemas::DeadLetterReason;

/// Why a record was dropped on purpose, with nothing published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SkipReason {
    /// The store already holds this or a newer revision, and its records were published.
    Stale,
    /// The post was erased earlier; nothing may bring it back.
    Erased,
}

impl SkipReason {
    /// Every reason.
    pub const ALL: [SkipReason; 2] = [SkipReason::Stale, SkipReason::Erased];

    /// The metric name.
    pub fn as_str(self) -> &'static str {
        match self {
            SkipReason::Stale => "stale",
            SkipReason::Erased => "erased",
        }
    }
}

/// What became of a record. Every one but `Abandoned` lets its offset pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Label and embeddings are durable in the store and acknowledged by the broker.
    Published,
    /// Nothing to publish.
    Skipped(SkipReason),
    /// Set aside; the dead letter is acknowledged by the broker.
    DeadLettered(DeadLetterReason),
    /// A tombstone was carried out.
    Erased,
    /// Nobody settled it: a panic, a cancelled task, or a fault that outlasted every retry. The offset is held and
    /// the record comes again.
    Abandoned,
}

impl Outcome {
    /// The metric name.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Published => "published",
            Outcome::Skipped(_) => "skipped",
            Outcome::DeadLettered(_) => "dead_lettered",
            Outcome::Erased => "erased",
            Outcome::Abandoned => "abandoned",
        }
    }

    /// The reason beside it; empty where there is none.
    pub fn reason(self) -> &'static str {
        match self {
            Outcome::Skipped(reason) => reason.as_str(),
            Outcome::DeadLettered(reason) => reason.as_str(),
            _ => "",
        }
    }

    /// True if the offset may pass.
    pub fn is_settled(self) -> bool {
        self != Outcome::Abandoned
    }
}
