//! Files that commands read and write.

use std::io;
use std::path::Path;

#[cfg(feature = "research")]
use anyhow::Context as _;
use tokio::io::AsyncReadExt as _;

/// At most `bytes`: a file may grow while it is read, and what only looks like a file may never end.
///
/// # Errors
/// Of the file system.
pub async fn read_file(path: &Path, bytes: u64) -> io::Result<Vec<u8>> {
    let mut read = Vec::with_capacity(bytes as usize);
    tokio::fs::File::open(path).await?.take(bytes).read_to_end(&mut read).await?;
    Ok(read)
}

/// Writes a file, and makes its folder where there is none.
///
/// # Errors
/// Of the file system, with the path.
#[cfg(feature = "research")]
pub fn write_file(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    std::fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}
