//! Decode processes of the very program that ships: what a medium of a stranger can break is one process and its own
//! verdict, and never whoever asked.

use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use image::ImageEncoder as _;
use jtav_media::{DecodeParams, DecodePool, Isolation, OneByOne, ProcessParams};
use jtav_media_codecs::{DecodeLimits, decode_with_facts};
use jtav_pipeline::{Decoded, FetchedMedia};
use jtav_schemas::{AbsentReason, Modality};
use jtav_telemetry::{DecodeEnd, ForkServerStart, Metric};
use jtav_testkit::{jtav_binary, workspace_root};
use procfs::process::{LimitValue, Process, all_processes};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::Mutex;

/// Some of these tests look at, or kill, the decode processes below this one: one test at a time.
static ALONE: Mutex<()> = Mutex::const_new(());

fn fixture(name: &str) -> Result<Vec<u8>> {
    let path = workspace_root().join("crates/media-codecs/tests/fixtures").join(name);
    std::fs::read(&path).with_context(|| path.display().to_string())
}

fn medium(modality: Modality, bytes: Vec<u8>) -> FetchedMedia {
    FetchedMedia {
        modality,
        bytes: bytes.into(),
        content_hash: [0; 32],
        media_type: None,
        reservation: None,
        receipt: None,
        account: None,
    }
}

fn picture() -> Result<FetchedMedia> {
    Ok(medium(Modality::Image, fixture("photo.jpg")?))
}

fn process() -> Result<ProcessParams> {
    Ok(ProcessParams::for_tests(jtav_binary()?))
}

/// Breaks every worker at its second medium.
fn breaking(action: &str) -> Result<ProcessParams> {
    let program = jtav_binary()?.display().to_string();
    let fault = format!("JTAV_FAIL_POINTS=decode_worker:decode={action}@2");
    Ok(ProcessParams {
        program: PathBuf::from("/usr/bin/env"),
        arguments: vec![fault, program, "decode-worker".to_owned()],
        ..process()?
    })
}

fn pool(workers: usize, process: ProcessParams) -> Result<DecodePool> {
    let isolation = Isolation::Processes(process);
    Ok(DecodePool::start(&DecodeParams { workers, isolation, ..DecodeParams::for_tests() })?)
}

fn ends(cause: DecodeEnd) -> f64 {
    Metric::decode_worker_ends(cause).value()
}

/// How long it took to replace workers so far, as the metric has it.
fn replacements() -> String {
    let text = jtav_telemetry::global().render().unwrap_or_default();
    text.lines()
        .filter(|line| line.starts_with("jtav_decode_worker_replacement_seconds"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Process ids of what descends from this process: first what workers come from, then the workers.
fn descendants() -> Result<(Vec<u32>, Vec<u32>)> {
    // One that has ended meanwhile has no parent any more.
    let stats = all_processes()?.filter_map(|process| process.and_then(|process| process.stat()).ok());
    let parents: Vec<(u32, u32)> = stats.map(|stat| (stat.pid as u32, stat.ppid as u32)).collect();
    let children = |of: &[u32]| -> Vec<u32> {
        parents.iter().filter(|(_, parent)| of.contains(parent)).map(|(pid, _)| *pid).collect()
    };
    let fork_servers = children(&[std::process::id()]);
    let workers = children(&fork_servers);
    Ok((fork_servers, workers))
}

fn kill(pids: &[u32]) -> Result<()> {
    for pid in pids {
        kill_process(Pid::from_raw(*pid as i32).context("no process has number 0")?, Signal::KILL)?;
    }
    Ok(())
}

async fn within<T>(work: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(Duration::from_secs(60), work).await.context("a decode that does not end")
}

#[tokio::test]
async fn a_process_decodes_every_fixture_to_the_bits_that_a_thread_decodes_it_to() -> Result<()> {
    let _alone = ALONE.lock().await;
    same_bits(&DecodeLimits::for_tests())?;
    // As for networks on a GPU: most clips keep their rate, so one that a process resampled all the same would show.
    same_bits(&DecodeLimits { left_rates_hz: vec![8_000, 44_100], ..DecodeLimits::for_tests() })
}

fn same_bits(limits: &DecodeLimits) -> Result<()> {
    let decoder = OneByOne::start(process()?, limits)?;
    let mut decoded = 0;
    for entry in std::fs::read_dir(workspace_root().join("crates/media-codecs/tests/fixtures"))? {
        let path = entry?.path();
        if !path.is_file() || path.extension().is_some_and(|extension| extension == "py") {
            continue;
        }
        let bytes = std::fs::read(&path)?;
        for modality in [Modality::Image, Modality::Audio] {
            let here = decode_with_facts(&bytes, modality, None, limits);
            let (there, _) = decoder.decode(&medium(modality, bytes.clone()))?;
            decoded += usize::from(here.is_ok());
            assert!(
                same(
                    &here.map(|(decoded, facts)| (decoded, format!("{facts:?}"))),
                    &there.map(|(decoded, facts)| (decoded, format!("{facts:?}")))
                ),
                "{} as {modality:?}",
                path.display()
            );
        }
    }
    ensure!(decoded > 30, "only {decoded} fixtures decode");
    Ok(())
}

fn same(left: &Result<(Decoded, String), AbsentReason>, right: &Result<(Decoded, String), AbsentReason>) -> bool {
    match (left, right) {
        (Ok((Decoded::Image(a), x)), Ok((Decoded::Image(b), y))) => {
            x == y && (a.width, a.height, &a.pixels) == (b.width, b.height, &b.pixels)
        }
        (Ok((Decoded::Audio(a), x)), Ok((Decoded::Audio(b), y))) => {
            x == y && (a.sample_rate_hz, &a.samples) == (b.sample_rate_hz, &b.samples)
        }
        (Err(a), Err(b)) => a == b,
        _ => false,
    }
}

#[tokio::test]
async fn a_crash_costs_one_medium_its_reason_and_the_next_one_finds_a_worker() -> Result<()> {
    let _alone = ALONE.lock().await;
    let pool = pool(1, breaking("abort")?)?;
    let before = ends(DecodeEnd::Crashed);
    for round in 0..3 {
        assert!(within(pool.decode(picture()?)).await??.is_ok(), "first of round {round}");
        let second = within(pool.decode(picture()?)).await??;
        assert_eq!(second.err(), Some(AbsentReason::DecodeError), "second of round {round}");
    }
    assert_eq!(ends(DecodeEnd::Crashed) - before, 3.0);
    println!("{}", replacements());
    Ok(())
}

#[tokio::test]
async fn a_panic_in_a_process_is_a_decode_error_and_the_process_goes_on() -> Result<()> {
    let _alone = ALONE.lock().await;
    // The point lies outside of what catches a decoder's panic, so this one ends the process.
    let pool = pool(1, breaking("panic")?)?;
    assert!(within(pool.decode(picture()?)).await??.is_ok());
    assert_eq!(within(pool.decode(picture()?)).await??.err(), Some(AbsentReason::DecodeError));
    assert!(within(pool.decode(picture()?)).await??.is_ok());
    Ok(())
}

#[tokio::test]
async fn a_decoder_that_hangs_is_ended_at_its_wall_time() -> Result<()> {
    let _alone = ALONE.lock().await;
    let params = ProcessParams { max_wall: Duration::from_millis(700), ..breaking("hang(60000)")? };
    let pool = pool(1, params)?;
    let before = ends(DecodeEnd::Hung);
    assert!(within(pool.decode(picture()?)).await??.is_ok());
    assert_eq!(within(pool.decode(picture()?)).await??.err(), Some(AbsentReason::TooLarge));
    assert!(within(pool.decode(picture()?)).await??.is_ok());
    assert_eq!(ends(DecodeEnd::Hung) - before, 1.0);
    Ok(())
}

/// A picture of `side` × `side` that is small as a file.
fn large_png(side: u32) -> Result<Vec<u8>> {
    let pixels = vec![7; side as usize * side as usize * 3];
    let mut file = Vec::new();
    image::codecs::png::PngEncoder::new(&mut file).write_image(&pixels, side, side, image::ExtendedColorType::Rgb8)?;
    Ok(file)
}

#[tokio::test]
async fn a_medium_that_takes_too_much_cpu_time_is_too_large() -> Result<()> {
    let _alone = ALONE.lock().await;
    let pool = pool(1, ProcessParams { max_cpu: Duration::from_millis(5), ..process()? })?;
    let before = ends(DecodeEnd::CpuTime);
    let large = medium(Modality::Image, large_png(6_000)?);
    assert_eq!(within(pool.decode(large)).await??.err(), Some(AbsentReason::TooLarge));
    assert_eq!(ends(DecodeEnd::CpuTime) - before, 1.0);
    Ok(())
}

/// A minute of stereo at the highest rate, which nothing in its header calls too large.
fn long_wav() -> Vec<u8> {
    let (rate, channels, seconds) = (192_000_u32, 2_u16, 60);
    let bytes = rate * u32::from(channels) * seconds;
    let mut wav = b"RIFF".to_vec();
    wav.extend((36 + bytes).to_le_bytes());
    wav.extend(b"WAVEfmt \x10\0\0\0\x01\0");
    wav.extend(channels.to_le_bytes());
    wav.extend(rate.to_le_bytes());
    wav.extend((rate * u32::from(channels)).to_le_bytes());
    wav.extend(channels.to_le_bytes());
    wav.extend(8_u16.to_le_bytes());
    wav.extend(b"data");
    wav.extend(bytes.to_le_bytes());
    wav.resize(44 + bytes as usize, 0x90);
    wav
}

#[tokio::test]
async fn a_medium_that_takes_too_much_memory_is_too_large() -> Result<()> {
    let _alone = ALONE.lock().await;
    let pool = pool(1, ProcessParams { max_memory_bytes: 40 << 20, ..process()? })?;
    let before = ends(DecodeEnd::Memory);
    // Its header says so: refused without a try.
    let claimed = medium(Modality::Image, large_png(4_000)?);
    assert_eq!(within(pool.decode(claimed)).await??.err(), Some(AbsentReason::TooLarge));
    assert_eq!(ends(DecodeEnd::Memory) - before, 0.0);
    // 23 MB of file and 46 MB of samples: found out while decoding.
    assert_eq!(within(pool.decode(medium(Modality::Audio, long_wav()))).await??.err(), Some(AbsentReason::TooLarge));
    assert_eq!(ends(DecodeEnd::Memory) - before, 1.0);
    assert!(within(pool.decode(picture()?)).await??.is_ok());
    Ok(())
}

#[tokio::test]
async fn a_worker_that_somebody_kills_costs_no_medium_anything() -> Result<()> {
    let _alone = ALONE.lock().await;
    let pool = pool(1, process()?)?;
    assert!(within(pool.decode(picture()?)).await??.is_ok());
    let (_, workers) = descendants()?;
    ensure!(!workers.is_empty(), "no worker is there");
    kill(&workers)?;
    assert!(within(pool.decode(picture()?)).await??.is_ok());
    Ok(())
}

#[tokio::test]
async fn the_process_that_workers_come_from_is_started_anew_when_it_is_gone() -> Result<()> {
    let _alone = ALONE.lock().await;
    let pool = pool(1, process()?)?;
    assert!(within(pool.decode(picture()?)).await??.is_ok());
    let (fork_servers, workers) = descendants()?;
    ensure!(!fork_servers.is_empty(), "no fork server is there");
    kill(&fork_servers)?;
    kill(&workers)?;
    assert!(within(pool.decode(picture()?)).await??.is_ok());
    Ok(())
}

#[tokio::test]
async fn a_worker_runs_under_a_filter_of_system_calls_and_with_limits() -> Result<()> {
    let _alone = ALONE.lock().await;
    let pool = pool(1, process()?)?;
    assert!(within(pool.decode(picture()?)).await??.is_ok());
    let (_, workers) = descendants()?;
    let [worker] = workers[..] else { anyhow::bail!("{} workers instead of one", workers.len()) };
    let worker = Process::new(worker as i32)?;
    let status = worker.status()?;
    // 2: a filter (proc(5)).
    assert_eq!(status.seccomp, Some(2));
    assert_eq!(status.nonewprivs, Some(1));
    assert_eq!(status.threads, 1);
    let limits = worker.limits()?;
    assert!(matches!(limits.max_core_file_size.soft_limit, LimitValue::Value(0)));
    assert!(matches!(limits.max_file_size.soft_limit, LimitValue::Value(0)));
    let LimitValue::Value(data) = limits.max_data_size.soft_limit else {
        anyhow::bail!("the limit on memory is not set")
    };
    assert!(data > 128 << 20 && data < 1 << 30, "{data}");
    Ok(())
}

/// The one worker and what it was forked from.
fn worker_and_parent() -> Result<(u32, u32)> {
    let (_, workers) = descendants()?;
    let [worker] = workers[..] else { anyhow::bail!("{} workers instead of one", workers.len()) };
    Ok((worker, Process::new(worker as i32)?.stat()?.ppid as u32))
}

#[tokio::test]
async fn a_worker_has_no_descriptor_but_its_socket_and_its_last_words() -> Result<()> {
    let _alone = ALONE.lock().await;
    // As librdkafka has them in the program that ships: pipes that go down to every program that is started.
    let pipes: Vec<_> = (0..5).map(|_| rustix::pipe::pipe()).collect::<Result<_, _>>()?;
    let pool = pool(1, process()?)?;
    assert!(within(pool.decode(picture()?)).await??.is_ok());
    let (worker, parent) = worker_and_parent()?;
    let open = |pid: u32| -> Result<Vec<String>> {
        let mut links = Vec::new();
        for entry in std::fs::read_dir(format!("/proc/{pid}/fd"))? {
            links.push(std::fs::read_link(entry?.path())?.display().to_string());
        }
        Ok(links)
    };
    let (words, sockets): (Vec<_>, Vec<_>) = open(worker)?.into_iter().partition(|link| link.starts_with("pipe:"));
    assert!(words.len() == 3 && words.iter().all(|link| *link == words[0]), "{words:?}");
    assert!(sockets.len() == 1 && sockets[0].starts_with("socket:"), "{sockets:?}");
    // What it was forked from has orders, and where to complain.
    let there = open(parent)?;
    for end in pipes.iter().flat_map(|(read, write)| [read, write]) {
        let link = std::fs::read_link(format!("/proc/self/fd/{}", end.as_raw_fd()))?;
        assert!(!there.contains(&link.display().to_string()), "{link:?} went down");
    }
    Ok(())
}

#[tokio::test]
async fn a_worker_serves_few_media() -> Result<()> {
    let _alone = ALONE.lock().await;
    let pool = pool(1, process()?)?;
    let mut served = std::collections::BTreeMap::new();
    for _ in 0..100 {
        assert!(within(pool.decode(picture()?)).await??.is_ok());
        // One that has just served its last may be gone already, and then the next one is there.
        if let Ok((worker, _)) = worker_and_parent() {
            *served.entry(worker).or_insert(0) += 1;
        }
    }
    assert!(served.len() >= 3, "{served:?}");
    assert!(served.values().all(|media| *media <= 33), "{served:?}");
    Ok(())
}

#[tokio::test]
async fn after_a_crash_the_next_worker_comes_from_a_process_that_was_started_anew() -> Result<()> {
    let _alone = ALONE.lock().await;
    let starts = || Metric::decode_fork_server_starts(ForkServerStart::Crash).value();
    let before = starts();
    let pool = pool(1, breaking("abort")?)?;
    assert!(within(pool.decode(picture()?)).await??.is_ok());
    let (_, first) = worker_and_parent()?;
    // One that has lived in peace is replaced before anything else is decoded; a young one serves on meanwhile.
    tokio::time::sleep(Duration::from_millis(5_500)).await;
    assert_eq!(within(pool.decode(picture()?)).await??.err(), Some(AbsentReason::DecodeError));
    assert!(within(pool.decode(picture()?)).await??.is_ok());
    let (_, second) = worker_and_parent()?;
    assert_ne!(first, second);
    assert_eq!(starts() - before, 1.0);
    let (fork_servers, _) = descendants()?;
    assert!(!fork_servers.contains(&first), "what was given up has ended");
    println!("{}", replacements());
    Ok(())
}

/// Pages that a process has to itself and its share of the others, bytes (proc(5), smaps_rollup).
fn proportional_bytes(pid: u32) -> u64 {
    let Ok(rollup) = Process::new(pid as i32).and_then(|process| process.smaps_rollup()) else { return 0 };
    rollup.memory_map_rollup.iter().filter_map(|map| map.extension.map.get("Pss")).sum()
}

/// Bytes that try to take what they can: claims of size, lies about length, damage; and honest large ones.
fn hostile_set() -> Result<Vec<FetchedMedia>> {
    let mut set = Vec::new();
    for name in ["bomb.png", "channels255.wav", "rate0.wav", "rate4g.wav", "sliver.png", "opus.ogg", "he_aac.m4a"] {
        let modality = if name.ends_with("png") { Modality::Image } else { Modality::Audio };
        set.push(medium(modality, fixture(name)?));
    }
    set.push(medium(Modality::Image, large_png(6_300)?));
    set.push(medium(Modality::Image, large_png(9_000)?));
    set.push(medium(Modality::Audio, long_wav()));
    for name in
        ["photo.jpg", "progressive.jpg", "rgb16.png", "animated.gif", "lossy.webp", "tone.mp3", "tone.m4a", "tone.ogg"]
    {
        let whole = fixture(name)?;
        let modality = if name.starts_with("tone") { Modality::Audio } else { Modality::Image };
        for part in 1..8 {
            set.push(medium(modality, whole[..whole.len() * part / 8].to_vec()));
        }
        let mut noisy = whole;
        for at in (64..noisy.len()).step_by(97) {
            noisy[at] ^= 0x5a;
        }
        set.push(medium(modality, noisy));
    }
    Ok(set)
}

#[tokio::test]
async fn over_the_hostile_set_memory_stays_small_here_and_bounded_in_the_workers() -> Result<()> {
    let _alone = ALONE.lock().await;
    let set = hostile_set()?;
    let pool = pool(2, process()?)?;
    assert!(within(pool.decode(picture()?)).await??.is_ok());
    let own = std::process::id();
    let before = proportional_bytes(own);
    let stop = Arc::new(AtomicBool::new(false));
    let watch = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || {
            let (mut most_here, mut most_together) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                let here = proportional_bytes(own);
                let (fork_servers, workers) = descendants().unwrap_or_default();
                let there: u64 = fork_servers.iter().chain(&workers).map(|pid| proportional_bytes(*pid)).sum();
                most_here = most_here.max(here.saturating_sub(before));
                most_together = most_together.max(here.saturating_sub(before) + there);
                std::thread::sleep(Duration::from_millis(10));
            }
            (most_here, most_together)
        })
    };
    for hostile in &set {
        // Whatever the verdict, there is one.
        let _ = within(pool.decode(hostile.clone())).await??;
    }
    stop.store(true, Ordering::Relaxed);
    let (here, together) = watch.join().map_err(|_| anyhow::anyhow!("the watch panicked"))?;
    println!(
        "hostile set of {}: {:.1} MB more here, {:.1} MB together",
        set.len(),
        here as f64 / 1e6,
        together as f64 / 1e6
    );
    assert!(here <= 64 << 20, "{here} bytes more in the process that asks");
    assert!(together <= 256 << 20, "{together} bytes in all");
    Ok(())
}

#[test]
fn the_program_that_is_no_decode_worker_is_refused_at_the_start() -> Result<()> {
    let params = ProcessParams::for_tests("/bin/true");
    assert!(OneByOne::start(params, &DecodeLimits::for_tests()).is_err());
    Ok(())
}
