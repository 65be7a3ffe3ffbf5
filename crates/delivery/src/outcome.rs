use jtav_schemas::{DeadLetterReason, Stage};

/// Why a record was dropped on purpose, with nothing published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SkipReason {
    /// The store already holds this or a newer revision, and its records were published.
    Stale,
    /// The post was erased earlier; nothing may bring it back.
    Erased,
    /// The post has no media and no word: links, handles, punctuation or nothing at all.
    NothingToLabel,
}

impl SkipReason {
    pub const ALL: [SkipReason; 3] = [SkipReason::Stale, SkipReason::Erased, SkipReason::NothingToLabel];

    /// The metric name.
    pub fn as_str(self) -> &'static str {
        match self {
            SkipReason::Stale => "stale",
            SkipReason::Erased => "erased",
            SkipReason::NothingToLabel => "nothing_to_label",
        }
    }
}

/// Why a record was abandoned, as far as anybody can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum AbandonCause {
    /// Whatever it was, nobody says that it was the record: a sink that stayed away, a panic, a task that was dropped.
    #[default]
    NotTheRecord,
    /// Its deadline passed while another record had what it needs in hand.
    Waited,
    /// Its deadline passed while it was in a stage whose work depends on what the record holds.
    Hung(Hang),
}

impl AbandonCause {
    /// Where it hung, if it did.
    pub fn hang(self) -> Option<Hang> {
        match self {
            AbandonCause::Hung(hang) => Some(hang),
            AbandonCause::NotTheRecord | AbandonCause::Waited => None,
        }
    }

    /// Whether what some record holds can be why, this one's or another's: then neither its partition nor new boxes help.
    pub fn is_by_content(self) -> bool {
        self != AbandonCause::NotTheRecord
    }
}

/// Where a record was when its deadline passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hang {
    /// The stage; of several at once, the one it entered first.
    pub stage: Stage,
    /// One that entered the stage long after it has passed it meanwhile: it was not waiting for its turn.
    pub was_overtaken: bool,
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
