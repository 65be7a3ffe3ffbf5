//! `jtav plan`: what a feed needs, from what a post was measured to cost.

mod capacity;
mod costs;
mod limits;
mod report;
mod text;

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;
use jtav_feed_processor::exit;
use jtav_settings::{Device, Settings};

use self::capacity::{Deployment, Feed};
use self::costs::{Costs, Shares};
use self::report::Plan;
use self::text::text;
use crate::failure::coded;
use crate::output::{out, outln};
use crate::setup::{self, LogFormatArg};

/// Posts a second beyond which nobody has a feed.
const MOST_POSTS_PER_SECOND: f64 = 1e9;
/// Days that a label is kept, at most.
const MOST_DAYS: f64 = 3_650.0;
/// Gigabytes of one Redis, at most.
const MOST_GB: f64 = 1e6;
/// Bytes of a file of costs, at most; ours has three thousand.
const MAX_COSTS_BYTES: u64 = 1 << 20;

/// `jtav plan`.
#[derive(Debug, Args)]
#[command(
    after_help = "Costs are those that `make costs` measured on one machine, built in; --costs takes a file of your own machine.\n\
                  CPU, memory, records and bytes grow with the posts; docs/capacity.md says how each was measured, how the plan was held\n\
                  against saturated workers, and where it ends. Nothing is connected to.\n\n\
                  Bottlenecks are told for what was planned, at all of what it can do, in the order in which a growing feed meets them.\n\
                  Redis is one server, because a worker speaks to one; --json has all of it as one line.\n\n\
                  Examples:\n  jtav plan --posts-per-second 2000 --image-share 0.3 --audio-share 0.05\n  \
                  jtav plan --posts-per-second 2000 --image-share 0.3 --audio-share 0.05 --gpu --label-ttl-days 1\n  \
                  jtav plan --posts-per-second 500 --image-share 1 --audio-share 0 --text-share 0 --json | jq .needs.workers\n\n\
                  Exit status: 0, 2 for a feed that cannot be, 65 for a file of costs that is none."
)]
pub struct PlanArgs {
    /// Posts a second, in the hour with the most.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = rate)]
    posts_per_second: f64,
    /// Share of the posts with a text, from 0 to 1.
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, default_value = "1", value_parser = share)]
    text_share: f64,
    /// Share of the posts with an image.
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, value_parser = share)]
    image_share: f64,
    /// Share of the posts with an audio clip.
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, value_parser = share)]
    audio_share: f64,
    /// Share of the media that a worker has encoded lately and that are not even fetched again.
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, default_value = "0", value_parser = share)]
    known_media_share: f64,
    /// Workers with a GPU each, as one was measured.
    #[arg(long)]
    gpu: bool,
    /// CPU cores of a worker; one with a GPU has those of the machine that was measured.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1_024), conflicts_with = "gpu")]
    cores_per_worker: u32,
    /// Share of what workers, brokers and Redis can do that is planned with: the rest is for peaks, restarts and rebalances.
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, default_value = "0.7", value_parser = utilisation)]
    utilisation: f64,
    /// Days that Redis keeps a label [default: store.ttl_seconds, 7].
    #[arg(long, value_name = "DAYS", allow_negative_numbers = true, value_parser = days)]
    label_ttl_days: Option<f64>,
    /// Copies of each record on the topics.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=16))]
    replication: u32,
    /// What one Redis may hold, gigabytes.
    #[arg(long, value_name = "GB", allow_negative_numbers = true, default_value = "64", value_parser = gigabytes)]
    redis_memory_gb: f64,
    /// Costs of another machine, as `jtav-load-tests costs --out FILE` writes them [default: those that are built in].
    #[arg(long, value_name = "FILE")]
    costs: Option<PathBuf>,
    /// One line of JSON.
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &PlanArgs, log_format: Option<LogFormatArg>) -> anyhow::Result<u8> {
    setup::logs(log_format, None, "error");
    let shares = Shares { text: arguments.text_share, audio: arguments.audio_share, image: arguments.image_share };
    if shares.text + shares.media_per_post() == 0.0 {
        let error =
            anyhow!("posts without text, clip and image have nothing to label: give one of the shares more than 0");
        return Err(coded(exit::USAGE)(error));
    }
    let costs = costs(arguments.costs.as_deref()).map_err(coded(exit::DATA))?;
    let feed =
        Feed { posts_per_second: arguments.posts_per_second, shares, known_media_share: arguments.known_media_share };
    let plan = Plan::new(&costs, feed, deployment(arguments, &costs)?);
    match arguments.json {
        true => outln!("{}", serde_json::to_string(&plan)?)?,
        false => out!("{}", text(&plan))?,
    }
    Ok(exit::OK)
}

/// # Errors
/// A file that cannot be read, or that is none.
fn costs(file: Option<&Path>) -> anyhow::Result<Costs> {
    let Some(file) = file else { return Ok(Costs::measured()) };
    let mut text = String::new();
    let read = File::open(file).and_then(|file| file.take(MAX_COSTS_BYTES).read_to_string(&mut text));
    read.with_context(|| format!("cannot read the costs in {}", file.display()))?;
    Costs::parse(&text).with_context(|| {
        format!("{} is no file of costs; `jtav-load-tests costs --out FILE` writes one", file.display())
    })
}

fn deployment(arguments: &PlanArgs, costs: &Costs) -> anyhow::Result<Deployment> {
    let no_gpu = || coded(exit::DATA)(anyhow!("these costs have no GPU: nobody has measured one"));
    let gpu = arguments.gpu.then(|| costs.gpu.clone().ok_or_else(no_gpu)).transpose()?;
    let cores = gpu.as_ref().map_or(arguments.cores_per_worker, |gpu| gpu.cores);
    let settings = Settings::default();
    Ok(Deployment {
        cores_per_worker: arguments.cores_per_worker,
        worker_memory_bytes: memory_bytes(settings.clone(), cores, arguments.gpu),
        gpu,
        utilisation: arguments.utilisation,
        label_ttl_days: arguments.label_ttl_days.unwrap_or(settings.store.ttl().as_secs_f64() / 86_400.0),
        replication: arguments.replication,
        redis_memory_gb: arguments.redis_memory_gb,
    })
}

/// What a worker with these settings takes at most on so many cores; this machine may have others.
fn memory_bytes(mut settings: Settings, cores: u32, has_gpu: bool) -> u64 {
    settings.media.decode_workers = cores as usize;
    if has_gpu {
        settings.model.device = Device::Cuda(0);
    } else {
        settings.model.device = Device::Cpu;
        settings.model.image_streams = cores as usize;
        settings.model.text_streams = cores as usize;
    }
    settings.memory_ceiling().total_bytes()
}

fn rate(text: &str) -> Result<f64, String> {
    above_0(text, MOST_POSTS_PER_SECOND)
        .ok_or_else(|| format!("`{text}` is no rate: expected posts a second, more than 0 and at most 1000000000"))
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| format!("`{text}` is no share: expected a number from 0 to 1"))
}

fn utilisation(text: &str) -> Result<f64, String> {
    above_0(text, 1.0).ok_or_else(|| format!("`{text}` is no utilisation: expected a number above 0 and at most 1"))
}

fn days(text: &str) -> Result<f64, String> {
    above_0(text, MOST_DAYS).ok_or_else(|| format!("`{text}` is no time: expected days, more than 0 and at most 3650"))
}

fn gigabytes(text: &str) -> Result<f64, String> {
    above_0(text, MOST_GB)
        .ok_or_else(|| format!("`{text}` is no size: expected gigabytes, more than 0 and at most 1000000"))
}

/// A number above 0 and not above `most`.
fn above_0(text: &str, most: f64) -> Option<f64> {
    text.parse::<f64>().ok().filter(|number| *number > 0.0 && *number <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused_with_what_was_expected() {
        for text in ["", "x", "-1", "0", "NaN", "nan", "inf", "1e300", "2e9"] {
            assert!(rate(text).unwrap_err().contains(text), "{text}");
        }
        for text in ["", "x", "-0.1", "1.01", "NaN", "inf", "50%"] {
            assert!(share(text).unwrap_err().contains("from 0 to 1"), "{text}");
        }
        for parse in [utilisation, days, gigabytes] {
            assert!(parse("0").is_err() && parse("NaN").is_err() && parse("1e9").is_err() && parse("0.5") == Ok(0.5));
        }
        assert_eq!((rate("1e6"), share("0"), share("1")), (Ok(1e6), Ok(0.0), Ok(1.0)));
    }

    #[test]
    fn memory_follows_from_the_cores_of_a_worker_and_not_from_those_of_this_machine() {
        let of = |cores, has_gpu| memory_bytes(Settings::default(), cores, has_gpu);
        let (one, two, four) = (of(1, false), of(2, false), of(4, false));
        assert!(one < two && four - two == 2 * (two - one), "{one} {two} {four}");
        assert!(of(16, true) > 2_000_000_000);
        let mut of_seven_cores = Settings::default();
        of_seven_cores.media.decode_workers = 7;
        (of_seven_cores.model.image_streams, of_seven_cores.model.text_streams) = (7, 7);
        assert_eq!(memory_bytes(of_seven_cores, 2, false), two);
    }
}
