//! `jtav top`: how workers are, from their metrics.

use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Args;
use jtav_console::{TopOptions, once, top};
use jtav_feed_processor::exit;

use crate::console::failed;
use crate::failure::coded;
use crate::output::{errln, out};
use crate::setup::{self, LogFormatArg};

/// `jtav top`.
#[derive(Debug, Args)]
#[command(
    after_help = "Rates, lag of every partition, queue and time of every stage, cache, breaker, decode workers. Each worker is asked by itself:\n\
                  one that does not answer within 2 s is shown with the reason and holds up no other.\n\n\
                  Keys: q Esc Ctrl-C quit, tab and arrows choose a worker and move, ? explains.\n\n\
                  Examples:\n  jtav top\n  jtav top worker-1:9600 worker-2:9600\n  jtav top --once | grep fetch\n\n\
                  Exit status: 0, with --once 69 where no worker answered."
)]
pub struct TopArgs {
    /// Addresses of workers (`admin.listen`), at most 64; `http://` and `/metrics` may be left out.
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:9600/metrics")]
    urls: Vec<String>,
    /// Ask twice, print one frame as plain text, and end.
    #[arg(long)]
    once: bool,
    /// Milliseconds from one question to the next.
    #[arg(long, value_name = "MS", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(200..=60_000))]
    interval_ms: u64,
}

pub fn run(arguments: &TopArgs, log_format: Option<LogFormatArg>) -> anyhow::Result<u8> {
    setup::logs(log_format, None, "error");
    let options =
        TopOptions { addresses: arguments.urls.clone(), interval: Duration::from_millis(arguments.interval_ms) };
    if arguments.once {
        let frame = once(&options).map_err(failed)?;
        out!("{}", frame.text)?;
        if frame.answered == 0 {
            errln!(
                "error: no worker answers; is `jtav run` or `jtav demo --serve` running? Give the address of its admin.listen"
            );
            return Ok(exit::UNAVAILABLE);
        }
        return Ok(exit::OK);
    }
    if !std::io::stdout().is_terminal() {
        let error = anyhow::anyhow!("standard output is no terminal; --once prints one frame as text");
        return Err(coded(exit::USAGE)(error));
    }
    top(&options).map_err(failed)?;
    Ok(exit::OK)
}
