//! `jtav demo --serve`, with the page at a port of its own.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use jtav_testkit::{jtav_binary, workspace_root};
use tempfile::TempDir;

/// It ends with the last test that holds it.
pub struct Demo {
    pub url: String,
    child: Child,
    _folder: TempDir,
}

impl Demo {
    /// The one that tests share: they only look at it.
    pub fn shared() -> Result<Arc<Self>> {
        static SHARED: Mutex<Weak<Demo>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(demo) = shared.upgrade() {
            return Ok(demo);
        }
        let demo = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&demo);
        Ok(demo)
    }

    fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let log: PathBuf = folder.path().join("log");
        let output = std::fs::File::create(&log)?;
        let child = Command::new(jtav_binary()?)
            .args(["demo", "--serve", "--page", "127.0.0.1:0", "--listen", "127.0.0.1:0"])
            .current_dir(workspace_root())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .context("the demo does not start")?;
        let mut demo = Self { url: String::new(), child, _folder: folder };
        let started = Instant::now();
        loop {
            let text = std::fs::read_to_string(&log)?;
            // The line is whole once it has ended; it is the last.
            if let Some((_, url)) = text.strip_suffix('\n').and_then(|text| text.rsplit_once("until Ctrl-C: ")) {
                demo.url = url.trim().trim_end_matches('/').to_owned();
                return Ok(demo);
            }
            if let Some(status) = demo.child.try_wait()? {
                bail!("the demo ended with {status}:\n{text}");
            }
            if started.elapsed() > Duration::from_secs(180) {
                bail!("the demo has no page after 180 s:\n{text}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
