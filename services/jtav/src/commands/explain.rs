//! `jtav explain`: why a post was labelled as it was, as its page tells it.

mod arguments;
mod local;
mod pictures;

use jtav_console::{Asked, Shown, draw, lines, painted, shown};
use jtav_feed_processor::exit;
use jtav_text::terminal::visible_json;

pub use self::arguments::ExplainArgs;
use self::pictures::{Drawn, write_pictures};
use crate::console::{columns, failed, ink};
use crate::output::{out, outln};
use crate::setup::{self, LogFormatArg};

pub fn run(arguments: &ExplainArgs, log_format: Option<LogFormatArg>) -> anyhow::Result<u8> {
    let (shown, drawn) = if arguments.is_file() {
        local::explain(arguments, log_format)?
    } else {
        setup::logs(log_format, None, "error");
        setup::in_system(of_server(arguments))?
    };
    if arguments.json {
        outln!("{}", visible_json(&serde_json::to_string(&shown.explanation)?))?;
    } else {
        let ink = ink();
        out!("{}", painted(&lines(&shown, columns(), ink), ink))?;
    }
    match (&arguments.png, drawn) {
        (Some(path), Some(drawn)) => write_pictures(path, drawn),
        _ => Ok(exit::OK),
    }
}

async fn of_server(arguments: &ExplainArgs) -> anyhow::Result<(Shown, Option<Drawn>)> {
    let server = arguments.server.open()?;
    let asked = if arguments.json { Asked::Reasons } else { Asked::WithNeighbours };
    let shown = shown(&server, &arguments.target, asked).await.map_err(failed)?;
    let drawn = match &arguments.png {
        Some(_) => Some(Drawn::from(draw(&server, &shown.explanation, arguments.sharp).await)),
        None => None,
    };
    Ok((shown, drawn))
}
