//! `jtav` labels a live social feed. This is the front page of the documentation: the crates in the order in which a post
//! comes by. ARCHITECTURE.md has the diagram and the invariants, CONTRIBUTING.md the first hour, docs/networks.md what the
//! networks compute.
//!
//! *A permit lets a post in; a guard follows it; only a settled guard moves the offset.*
//!
//! # The boxes
//!
//! 1. [ingest](../jtav_ingest/index.html): Kafka records to posts with a permit and a guard; owns the offsets.
//! 2. [router](../jtav_router/index.html): one task for each post, and the function that reads like the diagram.
//! 3. [media](../jtav_media/index.html): URLs to bytes, bytes to sound and pixels, in processes that can reach nothing.
//! 4. [text encoder](../jtav_text_encoder/index.html), [audio encoder](../jtav_audio_encoder/index.html) and
//!    [image encoder](../jtav_image_encoder/index.html): each a modality to its vector, and where it looked.
//! 5. [fusion](../jtav_fusion/index.html): the vectors that are there to one label.
//! 6. [publisher](../jtav_publisher/index.html): durable in the store and on the topics, or set aside.
//!
//! # What they stand on
//!
//! - [pipeline](../jtav_pipeline/index.html): what passes between the boxes, one trait for each stage. Begin here.
//! - [delivery](../jtav_delivery/index.html): permits, guards, the ledger of offsets, fair shares; pure.
//! - [courier](../jtav_courier/index.html): answers of other threads, taken to where they are waited for.
//! - [inference](../jtav_inference/index.html): batches and device threads; knows no network.
//! - [engine](../jtav_engine/index.html): OpenVINO, ONNX, and kernels for small batches; knows no network either.
//! - [model](../jtav_model/index.html): the networks, on libtorch.
//! - [text](../jtav_text/index.html): posts as people write them to words, their language, their valence; pure.
//! - [training](../jtav_training/index.html): the loops that move the weights.
//! - [media codecs](../jtav_media_codecs/index.html): pictures and sound out of the bytes of strangers.
//! - [signal](../jtav_signal/index.html): resampling, constant-Q, mel.
//! - [simd](../jtav_simd/index.html): loops in the widest form that a processor has.
//! - [neighbours](../jtav_neighbours/index.html): the nearest neighbours among recent vectors, exactly; pure.
//! - [picture](../jtav_picture/index.html): diagrams as PNG.
//! - [explain](../jtav_explain/index.html): a record made into words, seconds, cells and sentences; pure.
//! - [kafka](../jtav_kafka/index.html) and [store](../jtav_store/index.html): the homes of rdkafka and redis.
//! - [settings](../jtav_settings/index.html) and [telemetry](../jtav_telemetry/index.html): every key, every metric.
//! - [schemas](../jtav_schemas/index.html): the records of every topic and key.
//!
//! # What is made of them
//!
//! - [feed processor](../jtav_feed_processor/index.html): `jtav run`; puts the boxes together, watches and drains them.
//! - [query](../jtav_query/index.html): `jtav serve`; labels, reasons, neighbours and the stream over HTTP, and the page.
//! - [console](../jtav_console/index.html): `jtav explain`, `jtav tap` and `jtav top`, at a terminal.
//! - [backfill](../jtav_backfill/index.html), [dead letters](../jtav_dead_letters/index.html) and
//!   [feed simulator](../jtav_feed_simulator/index.html): the commands of the same names.
//! - [trainer](../jtav_trainer/index.html): training and evaluation.
//! - [research](../jtav_research/index.html): the networks that the paper compares with, and its tables.
//! - [testkit](../jtav_testkit/index.html), [tests](../jtav_tests/index.html) and
//!   [load tests](../jtav_load_tests/index.html): real brokers and stores, the fault matrix, open-loop load.
//!
//! This crate is the binary: the commands, one file each; see `jtav --help`.

// Docs of arguments are clap's help, for a terminal: `[words]` and `<model>` mean what they say.
#![allow(rustdoc::broken_intra_doc_links, rustdoc::invalid_html_tags)]

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod allocator;
mod ceilings;
mod cli;
mod commands;
mod console;
mod failure;
mod files;
mod output;
mod setup;

use std::panic::{AssertUnwindSafe, catch_unwind};

use clap::Parser as _;

/// Exit code after a panic, as Rust's own runtime has it.
const PANICKED: u8 = 101;

fn main() {
    let cli = cli::Cli::parse();
    // Unwind safe: whatever state a panic left behind, nothing looks at it any more.
    let ended = catch_unwind(AssertUnwindSafe(|| cli.run().unwrap_or_else(|error| failure::report(&error))));
    // The hook has said where; returning would run the destructors of libraries under their threads.
    output::leave(ended.unwrap_or(PANICKED))
}
