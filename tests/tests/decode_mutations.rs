//! Damaged media through the decode processes of the very program that ships: each gets a verdict, and whoever asked
//! lives on.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, stream};
use jtav_media::{DecodeParams, DecodePool, Isolation, ProcessParams};
use jtav_media_codecs::DecodeLimits;
use jtav_pipeline::FetchedMedia;
use jtav_schemas::{Modality, Stage};
use jtav_telemetry::{DecodeEnd, Metric};
use jtav_testkit::{jtav_binary, workspace_root};

// Other tests use what this one does not.
#[allow(dead_code, reason = "a module that several tests take in")]
#[path = "../../crates/media-codecs/tests/common/mutate.rs"]
mod mutate;

use mutate::mutate;

/// Mutations in `make test`; `JTAV_MUTATIONS` sets another number, `make mutations` 100,000.
const SLICE: u64 = 3_000;

/// Valid files of every format that is decoded, largest last.
fn originals() -> Result<Vec<(Modality, Vec<u8>)>> {
    let folder = workspace_root().join("crates/media-codecs/tests/fixtures");
    let kind = |name: &str| match name.rsplit('.').next()? {
        "jpg" | "png" | "gif" | "webp" | "avif" => Some(Modality::Image),
        "mp3" | "aac" | "m4a" | "flac" | "ogg" | "opus" | "wav" => Some(Modality::Audio),
        _ => None,
    };
    let mut originals = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().into_string().ok().context("a name")?;
        if let Some(modality) = kind(&name) {
            originals.push((name, modality, std::fs::read(entry.path())?));
        }
    }
    // The same order on every machine, so that a seed names the same file.
    originals.sort();
    Ok(originals.into_iter().map(|(_, modality, bytes)| (modality, bytes)).collect())
}

#[tokio::test]
async fn damaged_media_cost_a_verdict_each_and_never_whoever_asked() -> Result<()> {
    let count = match std::env::var("JTAV_MUTATIONS") {
        Ok(text) => text.parse().context("JTAV_MUTATIONS is a number")?,
        Err(_) => SLICE,
    };
    let originals = originals()?;
    ensure!(originals.len() > 30, "only {} valid files", originals.len());
    let isolation = Isolation::Processes(ProcessParams::for_tests(jtav_binary()?));
    let params = DecodeParams { workers: 2, isolation, ..DecodeParams::for_tests() };
    // Half of them to a view so small that the JPEGs are decoded to a fraction of their size, as large ones are.
    let small = DecodeLimits { shorter_side_px: 32, crop_px: 28, ..DecodeLimits::for_tests() };
    let pools = [DecodePool::start(&params)?, DecodePool::start(&DecodeParams { limits: small, ..params })?];
    let damaged = |seed: u64| {
        let (modality, original) = &originals[(seed % originals.len() as u64) as usize];
        let other = &originals[(seed / 7 % originals.len() as u64) as usize].1;
        let bytes = mutate(seed, original, other).bytes.into();
        FetchedMedia {
            modality: *modality,
            bytes,
            content_hash: [0; 32],
            media_type: None,
            reservation: None,
            receipt: None,
            account: None,
        }
    };
    let verdicts = stream::iter(0..count).map(|seed| {
        let (pool, medium) = (pools[(seed / 3 % 2) as usize].clone(), damaged(seed));
        async move { (seed, tokio::time::timeout(Duration::from_secs(60), pool.decode(medium)).await) }
    });
    let mut verdicts = std::pin::pin!(verdicts.buffer_unordered(8));
    let mut tally: BTreeMap<&str, u64> = BTreeMap::new();
    while let Some((seed, verdict)) = verdicts.next().await {
        let verdict = verdict.with_context(|| format!("seed {seed} has no verdict"))?;
        let verdict = verdict.with_context(|| format!("seed {seed}"))?;
        *tally.entry(verdict.map_or_else(|reason| reason.as_str(), |_| "ok")).or_default() += 1;
        let done: u64 = tally.values().sum();
        if done.is_multiple_of(10_000) {
            eprintln!("{done} of {count}: {tally:?}");
        }
    }
    let ends = DecodeEnd::ALL.iter().map(|cause| (cause.as_str(), Metric::decode_worker_ends(*cause).value()));
    let ends: BTreeMap<&str, f64> = ends.collect();
    let panics = Metric::stage_errors(Stage::Decode, "decoder_panicked", false).value();
    println!("{count} mutations: {tally:?}; panics of a decoder: {panics}; processes that ended: {ends:?}");
    assert_eq!(tally.values().sum::<u64>(), count);
    // Damage that nothing notices and damage that everything does would both prove little.
    assert!(tally["ok"] > count / 20 && tally["decode_error"] > count / 20, "{tally:?}");
    Ok(())
}
