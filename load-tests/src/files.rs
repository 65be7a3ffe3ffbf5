//! Files of a result.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Writes `STEM.ENDING` for each content, and makes the folder; gives their paths.
pub fn write<const N: usize>(
    folder: &Path,
    stem: &str,
    contents: [(&str, impl AsRef<[u8]>); N],
) -> Result<[PathBuf; N]> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let paths = contents.each_ref().map(|(ending, _)| folder.join(format!("{stem}.{ending}")));
    for (path, (_, content)) in paths.iter().zip(contents) {
        std::fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(paths)
}
