//! What labels can be. A value that is not in one of these lists cannot be written, and the lists are what the
//! documentation and the zeros at the start are made from.

use std::borrow::Cow;

use jtav_delivery::{Outcome, SkipReason};
use jtav_schemas::{AbsentReason, DeadLetterReason, Label, Modality, ModalityStatus, Stage, UncertainBecause};
use strum::VariantNames as _;

use crate::values::ValuesOf;

/// Labels that only metrics have; the names on `/metrics` are those of the variants in snake case.
macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident),* $(,)? })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, strum::IntoStaticStr, strum::VariantArray, strum::VariantNames)]
            #[strum(serialize_all = "snake_case")]
            pub enum $name { $($(#[$variant_doc])* $variant,)* }

            impl $name {
                /// Every one of them.
                pub const ALL: &'static [$name] = <$name as strum::VariantArray>::VARIANTS;

                /// The value on `/metrics`.
                pub fn as_str(self) -> &'static str {
                    self.into()
                }
            }

            impl ValuesOf for $name {
                fn text(self) -> Cow<'static, str> {
                    Cow::Borrowed(self.as_str())
                }

                fn known() -> Option<Vec<&'static str>> {
                    Some(Self::VARIANTS.to_vec())
                }
            }
        )*
    };
}

labels! {
    /// What the group does with partitions.
    RebalanceKind { Assign, Revoke, Lost }
    /// How a commit ended.
    CommitResult {
        Ok,
        /// Normal while partitions change hands.
        NotOwner,
        Error,
    }
    /// What is shared out fairly (ADR 24).
    ShareKind { MediaPlace, Download, Bytes, Decode }
    /// How a post is tried again after its deadlines (ADR 27).
    TrialKind { Alone, Beside }
    /// What a trial came to.
    TrialFinding {
        /// The record is done with.
        Passed,
        /// It hung, and later ones overtook it.
        Guilty,
        /// It hung alone; whether others pass will be seen.
        HungAlone,
        /// It hung, and nothing shows that anybody would have passed.
        Inconclusive,
        /// It ended for another reason.
        CutShort,
    }
    /// What was known of a URL (ADR 18).
    UrlResult { Fresh, Joined, Unchanged, Changed }
    /// Why an encoding was dropped.
    EvictionCause { Size, Age, Erased }
    /// What is asked of the encodings that workers share.
    SharedOperation { Get, Put, Forget }
    /// What came of it.
    SharedResult { Hit, Miss, Ok, Error }
    /// How a look-up of a name ended.
    LookupResult { Ok, Known, NoAddress, Timeout, Error }
    /// How a decode process ended with a medium in hand (ADR 20).
    DecodeEnd { CpuTime, Memory, Hung, Killed, Crashed, Nonsense }
    /// Why a process was started for decode processes to be forked from.
    ForkServerStart { Start, Age, Crash, Gone }
    /// Where is written to.
    Sink { Redis, Sentiment, Embeddings, Erasures, DeadLetters }
    /// How a write ended.
    WriteResult { Ok, Stale, Erased, Error }
    /// How a look after the latest erasures ended (ADR 29).
    RepairResult { Ok, Error }
    /// What such a look found.
    RestoreResult { Restored, Standing, Lapsed, Foreign }
    /// Why no post is let in.
    PauseCause {
        /// The worker is on its way out.
        Drain,
        /// Posts fail for reasons of our own.
        Breaker,
        /// The boxes are made anew.
        Restart,
        /// Somebody asked for it.
        Operator,
    }
    /// Why the boxes are made anew.
    RestartReason { IngestFailed, ActorEnded, ActorHung }
    /// What in-flight posts are waited for.
    DrainCause { Revoke, Shutdown }
    /// What readers ask for.
    QueryRoute {
        Posts, Batch, Explanation, Media, Neighbours, Label, Retrieve, Stream, Feed, Status, Models, DeadLetters, Page, Docs,
        Operators, Unknown,
    }
    /// How an answer to a reader begins.
    QueryResult { Ok, NotFound, Refused, Busy, Error }
    /// Why a reader was refused before its question was looked at.
    RefusalCause { Host, KeyMissing, KeyUnknown, KeyExpired, Scope, Rate, ReadOnly, Timeout }
    /// What the output topics tell of; foreign records are none of ours.
    StreamEventKind { Label, Erasure, Foreign }
    /// Why a reader of the stream was let go.
    StreamEnd {
        /// It went.
        Gone,
        /// It fell behind what is kept in memory.
        TooSlow,
        /// Its connection took nothing for too long.
        Stuck,
        /// The server ends.
        Shutdown,
        /// What it missed could not be read again.
        Unreadable,
    }
    /// Topics that are followed for readers.
    FollowedTopic { Sentiment, Embeddings }
    /// Where few readers at once have a place.
    QueryRoom { Label, Media }
    /// Files of the readers' server that are read again when they change.
    ServedFile { Keys, Certificate }
    /// Vectors of a post.
    VectorName { Semantic, U, Text, Audio, Image }
}

macro_rules! lists_elsewhere {
    ($($name:ty: $all:expr;)*) => {
        $(impl ValuesOf for $name {
            fn text(self) -> Cow<'static, str> {
                Cow::Borrowed(self.as_str())
            }

            fn known() -> Option<Vec<&'static str>> {
                Some($all.into_iter().map(|value| value.as_str()).collect())
            }
        })*
    };
}

lists_elsewhere! {
    Modality: Modality::ALL;
    Label: Label::ALL;
    Stage: Stage::ALL;
    DeadLetterReason: DeadLetterReason::ALL;
    ModalityStatus: std::iter::once(ModalityStatus::Present).chain(AbsentReason::ALL.map(ModalityStatus::Absent));
}

/// `certain`, or why a label is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Certainty(pub Option<UncertainBecause>);

impl ValuesOf for Certainty {
    fn text(self) -> Cow<'static, str> {
        Cow::Borrowed(self.0.map_or("certain", UncertainBecause::as_str))
    }

    fn known() -> Option<Vec<&'static str>> {
        Some(std::iter::once("certain").chain(UncertainBecause::ALL.map(UncertainBecause::as_str)).collect())
    }
}

impl ValuesOf for Outcome {
    fn text(self) -> Cow<'static, str> {
        Cow::Borrowed(self.as_str())
    }

    fn known() -> Option<Vec<&'static str>> {
        let some_of_each = [
            Outcome::Published,
            Outcome::Skipped(SkipReason::Stale),
            Outcome::DeadLettered(DeadLetterReason::InvalidJson),
            Outcome::Erased,
            Outcome::Abandoned,
        ];
        Some(some_of_each.map(Outcome::as_str).to_vec())
    }
}

/// The reason beside an outcome; empty where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutcomeReason(pub Outcome);

impl ValuesOf for OutcomeReason {
    fn text(self) -> Cow<'static, str> {
        Cow::Borrowed(self.0.reason())
    }

    fn known() -> Option<Vec<&'static str>> {
        let skipped = SkipReason::ALL.iter().map(|reason| reason.as_str());
        Some(
            [""].into_iter()
                .chain(skipped)
                .chain(DeadLetterReason::ALL.into_iter().map(|reason| reason.as_str()))
                .collect(),
        )
    }
}

/// What a download came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchResult {
    /// The medium was downloaded.
    Ok,
    /// The server says that it is the one that was downloaded before.
    Unchanged,
    /// Nothing was to be had.
    Absent(AbsentReason),
}

impl ValuesOf for FetchResult {
    fn text(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            FetchResult::Ok => "ok",
            FetchResult::Unchanged => "unchanged",
            FetchResult::Absent(reason) => reason.as_str(),
        })
    }

    fn known() -> Option<Vec<&'static str>> {
        Some(["ok", "unchanged"].into_iter().chain(AbsentReason::ALL.into_iter().map(AbsentReason::as_str)).collect())
    }
}
