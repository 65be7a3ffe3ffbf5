//! Files that are read and written: media as a pack describes them, whole files or none, JSON and text for people.

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use serde::Serialize;

use crate::dataset::{MediaFile, sha256_hex};
use crate::progress::Progress;

/// Makes something of each file, on `threads` threads, and hands it over one at a time, until none is left or one failed.
pub fn for_each_file<File: Sync, Made>(
    files: &[File],
    threads: usize,
    progress: &dyn Progress,
    make: impl Fn(&File) -> anyhow::Result<Made> + Sync,
    take: impl FnMut(&File, Made) + Send,
) -> anyhow::Result<()> {
    let next = AtomicUsize::new(0);
    let taken = Mutex::new((Ok(()), take));
    let work = || {
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let made = make(file);
            let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
            let (result, take) = &mut *taken;
            if result.is_err() {
                return;
            }
            match made {
                Ok(made) => take(file, made),
                Err(error) => {
                    *result = Err(error);
                    return;
                }
            }
            progress.advance(1);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(work);
        }
    });
    taken.into_inner().unwrap_or_else(PoisonError::into_inner).0
}

/// The bytes of a file and their SHA-256.
///
/// # Errors
/// A file that is missing, or is not the one that the pack describes.
pub fn read_described(file: &MediaFile) -> anyhow::Result<(Vec<u8>, String)> {
    let bytes = std::fs::read(&file.path).with_context(|| format!("reading {}", file.path.display()))?;
    let digest = sha256_hex(&bytes);
    match &file.sha256 {
        Some(expected) if *expected != digest => {
            anyhow::bail!("{}: sha256 is {digest}, the pack says {expected}", file.path.display())
        }
        _ => Ok((bytes, digest)),
    }
}

/// Little-endian f32, as safetensors has them.
pub fn f32_values(bytes: &[u8]) -> impl Iterator<Item = f32> + '_ {
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))
}

/// Writes beside and renames, so that a reader never sees half a file.
pub fn write_whole(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let beside = path.with_extension(format!("tmp{}", std::process::id()));
    let write = || {
        let mut file = std::fs::File::create(&beside)?;
        file.write_all(bytes)?;
        std::fs::rename(&beside, path)
    };
    write().with_context(|| format!("writing {}", path.display()))
}

/// Writes a JSON file, readable.
pub fn write_json(path: &Path, value: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(value).with_context(|| format!("packing {}", path.display()))?;
    text.push('\n');
    write_text(path, &text)
}

/// Writes a text file.
pub fn write_text(path: &Path, text: &str) -> anyhow::Result<()> {
    write_bytes(path, text.as_bytes())
}

/// Writes any file.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}
