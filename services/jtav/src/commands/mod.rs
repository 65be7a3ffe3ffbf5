//! One file per command: its arguments, its run, its output.

pub mod backfill;
pub mod completions;
pub mod config;
pub mod dead_letters;
pub mod decode_worker;
pub mod demo;
pub mod evaluate;
pub mod feed;
pub mod inspect;
pub mod label;
pub mod media;
pub mod run;
pub mod table;
pub mod train;
