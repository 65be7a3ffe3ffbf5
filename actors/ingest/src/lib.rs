//! Kafka to posts: the first box of the diagram, and the only one that knows offsets.
//!
//! [`IngestActor`] is a control shell (pause, resume, drain, describe). Behind it one dedicated thread polls Kafka, owns
//! the offset ledgers, and takes settlements from wherever posts end; it never waits for a post. A post goes to the
//! router only with a permit; when none is free, or a partition has too many unsettled records, its queue is not read
//! (ADR 7) and polling goes on, because a consumer that stops polling is expelled from its group.
//!
//! What is promised (ADR 2, 3): the committed offset never passes a record that is not settled; a record whose
//! guard is dropped comes again; a record that comes again may have been worked on before, so effects are idempotent.

mod actor;
mod breaker;
mod case;
mod commits;
mod consumer;
mod expired;
mod gate;
mod handover;
mod held;
mod member;
mod note;
mod overdue;
mod owned;
mod pace;
mod params;
mod parse;
mod partition;
mod poll_loop;
mod searches;
mod status;
mod suspects;

pub use actor::{Describe, Drain, IngestActor, IngestHandle, Pause, Resume};
pub use params::{IngestError, IngestExit, IngestParams, IngestSettings, OffsetRange, StageWatch};
pub use parse::{inbound, parse_record};
pub use status::{IngestSnapshot, IngestStatus, PartitionSnapshot};
