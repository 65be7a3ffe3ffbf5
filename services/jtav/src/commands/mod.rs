//! One file per command: its arguments, its run, its output.

pub mod backfill;
pub mod bench;
pub mod completions;
pub mod config;
pub mod dead_letters;
pub mod decode_worker;
pub mod demo;
#[cfg(feature = "research")]
pub mod evaluate;
pub mod explain;
pub mod feed;
pub mod index;
#[cfg(feature = "research")]
pub mod inspect;
pub mod label;
pub mod media;
pub mod model;
pub mod plan;
#[cfg_attr(not(feature = "research"), path = "without_research.rs")]
pub mod research;
pub mod run;
pub mod serve;
#[cfg(feature = "research")]
pub mod table;
pub mod tap;
pub mod top;
#[cfg(feature = "research")]
pub mod train;
