//! What the system says about itself: the catalogue of metrics, the logs, and the conservation law.
//!
//! A metric that is not in [`Metric`] cannot be written, so dashboards, alerts and code cannot drift apart unseen:
//! a test holds the files under `config/` against this catalogue.

pub mod catalogue;
/// received = settled + in flight.
pub mod conservation;
mod docs;
mod global;
mod labels;
pub mod logging;
/// The catalogue as Prometheus families.
pub mod registry;
mod series;
mod values;

pub use catalogue::{Kind, Metric};
pub use conservation::Conservation;
pub use docs::reference;
pub use global::global;
pub use labels::{
    Certainty, CommitResult, DecodeEnd, DrainCause, EvictionCause, FetchResult, FollowedTopic, ForkServerStart,
    LookupResult, OutcomeReason, PauseCause, QueryResult, QueryRoom, QueryRoute, RebalanceKind, RefusalCause,
    RepairResult, RestartReason, RestoreResult, ServedFile, ShareKind, SharedOperation, SharedResult, Sink, StreamEnd,
    StreamEventKind, TrialFinding, TrialKind, UrlResult, VectorName, WriteResult,
};
pub use registry::{Telemetry, TelemetryError};
pub use series::{Counter, Gauge, Histogram, Series};
