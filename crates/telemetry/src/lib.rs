//! What the system says about itself: the catalogue of metrics, the logs, and the conservation law.
//!
//! A metric that is not in [`Metric`] cannot be written, so dashboards, alerts and code cannot drift apart unseen:
//! a test holds the files under `config/` against this catalogue.

pub mod catalogue;
/// received = settled + in flight.
pub mod conservation;
pub mod logging;
/// The catalogue as Prometheus families.
pub mod registry;

pub use catalogue::{Kind, Metric};
pub use conservation::Conservation;
pub use registry::{Telemetry, TelemetryError, global};
