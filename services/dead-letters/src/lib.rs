//! The dead-letter topic for people: what lies on it, and the way back to the input topic.
//!
//! The core is pure: [`Letter`] reads a record, [`Selection`] chooses, [`decide`] says whether and how a letter is
//! replayed. Around it stand four commands: [`list`], [`show`], [`export`] and [`replay`]. Nothing here deletes a dead
//! letter, and nothing joins a consumer group or commits.
//!
//! **Loops.** Dead letters stay where they are, so a post that fails again leaves one letter for every round. All of
//! them carry the position of the first record ([`ORIGIN`](jtav_schemas::DeadLetterHeaders::ORIGIN)); of one origin only the letter of the latest round is
//! replayed, once in a run, and none that has been replayed as often as allowed.

mod chains;
mod decide;
mod export;
mod letter;
mod list;
mod replay;
mod select;
mod show;
mod text;
mod time;
mod topic;

pub use chains::{Chains, TooManyChains};
pub use decide::{Refusal, ReplayRules, decide};
pub use export::{ExportCounts, export};
pub use letter::{Letter, LetterError, Position};
pub use list::{Listing, list};
pub use replay::{Replay, ReplayAccount, ReplayEnd, ReplayOptions, replay};
pub use select::Selection;
pub use show::{find, show, show_json};
pub use text::{one_line, visible};
pub use time::{parse_since, utc};
pub use topic::{DeadLetterTopic, Scanned};
