//! Edits, erasures, redeliveries, replays and backfills of one post, interleaved at random: the publisher's real steps
//! against a store and topics where every call is two moments that anything may come between, its effect and its answer.
//!
//! `JTAV_INTERLEAVINGS` says how many cases run (10,000 by default; the real Redis gets a fiftieth of them).

mod case;
mod check;
mod dice;
mod world;

use std::sync::Arc;

use jtav_store::{EmbeddedStore, Store};
use jtav_telemetry::Telemetry;
use jtav_testkit::{RealRedis, require_real};

use case::{Bench, Case, Tally};

fn cases() -> u64 {
    std::env::var("JTAV_INTERLEAVINGS").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000)
}

/// Runs `cases` against the store; panics at the first that comes out wrong, with its number.
fn run(cases: u64, runtime: &tokio::runtime::Runtime, store: &Arc<dyn Store>) -> Tally {
    let _inside = runtime.enter();
    let telemetry: &'static Telemetry = Box::leak(Box::new(Telemetry::new().unwrap()));
    let mut tally = Tally::default();
    for seed in 0..cases {
        let bench = Bench { store: Arc::clone(store), runtime: runtime.handle().clone(), telemetry };
        let done = Case::new(seed, &bench).run(&mut tally);
        let findings = check::findings(&done);
        assert!(findings.is_empty(), "case {seed}:\n{}\n{done}", findings.join("\n"));
    }
    tally
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

#[test]
fn ten_thousand_interleavings_bring_no_erased_post_back_and_no_old_revision_to_the_top() {
    let runtime = runtime();
    let store: Arc<dyn Store> = Arc::new(EmbeddedStore::new());
    let cases = cases();
    let tally = run(cases, &runtime, &store);
    eprintln!("{cases} interleavings, 0 resurrections: {tally}");
    tally.assert_that_everything_happened();
}

#[test]
fn the_same_interleavings_come_out_right_on_a_real_redis() {
    if !require_real("the_same_interleavings_come_out_right_on_a_real_redis") {
        return;
    }
    let runtime = runtime();
    let redis = RealRedis::start().unwrap();
    let store: Arc<dyn Store> = {
        let _inside = runtime.enter();
        Arc::new(redis.store(0).unwrap())
    };
    let cases = (cases() / 50).max(1);
    let tally = run(cases, &runtime, &store);
    eprintln!("{cases} interleavings on Redis, 0 resurrections: {tally}");
}
