use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use jtav_testkit::workspace_root;

/// Where most results go.
pub fn results() -> PathBuf {
    workspace_root().join("docs/results")
}

/// A path as it is shown: from the repository on.
pub fn shown(path: &Path) -> String {
    path.strip_prefix(workspace_root()).unwrap_or(path).display().to_string()
}

/// Runs until the end or Ctrl-C.
///
/// # Errors
/// Those of the run, and Ctrl-C.
pub fn block_on<T>(run: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            report = run => report,
            // Everything that was started is stopped when the run is dropped.
            _ = tokio::signal::ctrl_c() => bail!("interrupted; nothing was kept"),
        }
    })
}
