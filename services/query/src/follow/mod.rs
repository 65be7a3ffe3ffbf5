//! Following the output topics: what was labelled or erased reaches the stream, the counts and the index.

mod event;
mod labels;
mod recent;
mod thread;
mod vectors;

pub use event::Event;
pub use labels::Counts;
pub(crate) use labels::Labels;
pub use recent::{Cursor, Recent, Resume, Taken};
pub(crate) use thread::{Following, Topic, TopicHealth, follow};
pub(crate) use vectors::Vectors;
