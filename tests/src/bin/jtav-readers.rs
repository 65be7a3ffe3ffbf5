//! `make check-api`: keeps a readers' side running for tools that are not ours. Says where on one line of JSON, and ends when its
//! standard input does.

use std::io::{Read as _, Write as _};

use anyhow::{Result, ensure};
use jtav_testkit::require_real;
use jtav_tests::readers::{ERASED_ID, Readers};
use serde_json::json;

fn main() -> Result<()> {
    ensure!(require_real("jtav-readers"), "a real broker and a real store are needed");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let readers = runtime.block_on(Readers::start(true))?;
    let place = json!({
        "url": readers.url,
        "key": readers.key,
        "redis": format!("unix://{}", readers.redis_socket().display()),
        "brokers": readers.brokers(),
        "erased": ERASED_ID,
    });
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{place}")?;
    stdout.flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
