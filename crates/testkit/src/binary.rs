use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::root::workspace_root;

/// The program, as built by the profile `release`: beside the test, which lies in its `deps` folder. Built first if it
/// is missing or older than one of its sources, so that a test never judges yesterday's program. `JTAV_BINARY` names
/// another one, for example an installed one, which is taken as it is.
pub fn jtav_binary() -> Result<PathBuf> {
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BINARY.get_or_init(|| find_or_build().map_err(|error| format!("{error:#}"))).clone().map_err(|text| anyhow!(text))
}

fn find_or_build() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("JTAV_BINARY") {
        let path = PathBuf::from(path);
        ensure!(path.is_file(), "JTAV_BINARY={} is no file", path.display());
        return Ok(path);
    }
    let this = std::env::current_exe()?;
    let folder = this.parent().context("a program lies in a folder")?;
    // A test lies in <target>/release/deps, a program beside ours.
    let profile_folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    let binary = profile_folder.join("jtav");
    if is_current(&binary) {
        return Ok(binary);
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    eprintln!("building {}", binary.display());
    let status = Command::new(cargo)
        // The whole workspace's features, with which the tests were compiled: without them much would be compiled anew.
        .args(["build", "--release", "--workspace", "--bin", "jtav"])
        .current_dir(workspace_root())
        .status()
        .context("cargo does not start")?;
    ensure!(status.success() && binary.is_file(), "cargo build --release --workspace --bin jtav: {status}");
    Ok(binary)
}

/// Whether no file in cargo's list of the binary's sources is younger than it.
fn is_current(binary: &Path) -> bool {
    let modified = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    let (Some(built), Ok(list)) = (modified(binary), std::fs::read_to_string(binary.with_extension("d"))) else {
        return false;
    };
    sources(&list).iter().all(|source| modified(source).is_some_and(|time: SystemTime| time <= built))
}

/// The right side of a make rule; a space in a path is escaped.
fn sources(rule: &str) -> Vec<PathBuf> {
    let Some((_, right)) = rule.split_once(": ") else { return Vec::new() };
    let right = right.replace("\\ ", "\0");
    right.split_whitespace().map(|path| PathBuf::from(path.replace('\0', " "))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_older_than_one_of_its_sources_is_not_current() {
        let folder = tempfile::tempdir().unwrap();
        let [binary, source] = ["jtav", "a b.rs"].map(|name| folder.path().join(name));
        std::fs::write(&binary, "").unwrap();
        assert!(!is_current(&binary), "without the list nobody knows");
        std::fs::write(&source, "").unwrap();
        let escaped = source.display().to_string().replace(' ', "\\ ");
        std::fs::write(binary.with_extension("d"), format!("{}: {escaped}\n", binary.display())).unwrap();
        let at = |seconds| SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        let touch =
            |path: &Path, seconds| std::fs::File::options().write(true).open(path).unwrap().set_modified(at(seconds));
        touch(&binary, 2_000).unwrap();
        touch(&source, 1_000).unwrap();
        assert!(is_current(&binary));
        touch(&source, 3_000).unwrap();
        assert!(!is_current(&binary));
        std::fs::remove_file(&source).unwrap();
        assert!(!is_current(&binary));
    }
}
