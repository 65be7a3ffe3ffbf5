//! Our side of `scripts/compare-media.py`: one line in, one line out.
//!
//! Each line of stdin names a task, its arguments and how often to run it, apart by tabs; the answer is one line of JSON
//! with the CPU time of this thread for one run (the mean of those runs), in milliseconds. A line that makes no sense is
//! answered with an `error`.
//!
//! ```text
//! image <file>            decode to the square the encoder sees
//! naive-image <file>      the same with `image` and `image::imageops::resize`
//! audio <file>            decode to mono at 22,050 Hz
//! resample <f32 file> <from Hz> <to Hz>
//! cqt <f32 file> <bins> <hop>
//! mel <f32 file> <bands> <hop>
//! ```

use std::hint::black_box;
use std::io::{BufRead as _, Write as _};
use std::time::Duration;

use jtav_media::{DecodeLimits, SAMPLE_RATE_HZ, decode};
use jtav_schemas::Modality;
use jtav_signal::{ConstantQ, CqtParams, MelParams, MelSpectrogram, resample};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        match answer(&line) {
            Ok(ms) => writeln!(out, "{{\"ms\": {ms:.6}}}")?,
            Err(error) => writeln!(out, "{{\"error\": \"{}\"}}", error.to_string().replace(['"', '\\'], "'"))?,
        }
        out.flush()?;
    }
    Ok(())
}

fn answer(line: &str) -> Result<f64, Failure> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [task, file, arguments @ .., runs] = fields.as_slice() else { return Err("too few fields".into()) };
    let runs: u32 = runs.parse()?;
    let bytes = std::fs::read(file)?;
    match (*task, arguments) {
        ("image", []) => measure(runs, || drop_decoded(&bytes, Modality::Image)),
        ("naive-image", []) => measure(runs, || naive_image(&bytes)),
        ("audio", []) => measure(runs, || drop_decoded(&bytes, Modality::Audio)),
        ("resample", [from_hz, to_hz]) => {
            let (samples, from_hz, to_hz) = (floats(&bytes), from_hz.parse()?, to_hz.parse()?);
            measure(runs, || resample(black_box(&samples), from_hz, to_hz).map(used).map_err(Failure::from))
        }
        ("cqt", [bins, hop]) => {
            let params = CqtParams {
                sample_rate_hz: SAMPLE_RATE_HZ,
                hop_length: hop.parse()?,
                f_min_hz: 32.703,
                bins_per_octave: 12,
                n_bins: bins.parse()?,
            };
            let (samples, cqt) = (floats(&bytes), ConstantQ::new(params)?);
            measure(runs, || cqt.magnitude(black_box(&samples)).map(used).map_err(Failure::from))
        }
        ("mel", [bands, hop]) => {
            let params = MelParams {
                sample_rate_hz: SAMPLE_RATE_HZ,
                n_fft: 2048,
                hop_length: hop.parse()?,
                n_mels: bands.parse()?,
            };
            let (samples, mel) = (floats(&bytes), MelSpectrogram::new(params)?);
            measure(runs, || mel.power(black_box(&samples)).map(used).map_err(Failure::from))
        }
        _ => Err(format!("no such task: {line}").into()),
    }
}

/// Once to warm up, then the mean of `runs`, in milliseconds of CPU time.
fn measure(runs: u32, mut work: impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    work()?;
    let before = thread_cpu_time();
    for _ in 0..runs {
        work()?;
    }
    Ok((thread_cpu_time() - before).as_secs_f64() * 1e3 / f64::from(runs.max(1)))
}

/// Keeps the compiler from leaving out the work.
fn used<T>(result: T) {
    black_box(result);
}

fn drop_decoded(bytes: &[u8], modality: Modality) -> Result<(), Failure> {
    let decoded = decode(black_box(bytes), modality, None, &DecodeLimits::default());
    black_box(decoded.map_err(|reason| reason.to_string())?);
    Ok(())
}

/// What one writes first.
fn naive_image(bytes: &[u8]) -> Result<(), Failure> {
    let picture = image::load_from_memory(black_box(bytes))?.into_rgb8();
    let short = f64::from(picture.width().min(picture.height()));
    let scaled = |length: u32| (f64::from(length) * 256.0 / short) as u32;
    let (width, height) = (scaled(picture.width()), scaled(picture.height()));
    let small = image::imageops::resize(&picture, width, height, image::imageops::FilterType::Triangle);
    let crop = image::imageops::crop_imm(&small, (width - 224) / 2, (height - 224) / 2, 224, 224).to_image();
    black_box(crop);
    Ok(())
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four)).collect()
}

/// Decoding starts no threads, so this is all of it.
fn thread_cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid and writable for the length of the call.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(status, 0, "Invariant: Linux knows this clock");
    Duration::new(time.tv_sec.max(0) as u64, time.tv_nsec.clamp(0, 999_999_999) as u32)
}
