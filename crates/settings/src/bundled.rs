//! Files that are shipped with the program: the demonstration checkpoint, the sample feed.

use std::path::{Path, PathBuf};

/// A file that should have been shipped is in none of the places.
#[derive(Debug, thiserror::Error)]
#[error("`{}` is not there; looked for {}. Set JTAV_HOME to the folder that holds it", path.display(), list(looked_at))]
pub struct NotBundled {
    /// What was asked for.
    pub path: PathBuf,
    /// The full paths that do not exist, in the order they were tried.
    pub looked_at: Vec<PathBuf>,
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| format!("`{}`", path.display())).collect::<Vec<_>>().join(", ")
}

/// The full path of a shipped file or folder, by its path in the repository (`models/jtav-modern`). Looks below
/// `$JTAV_HOME`, then `../share/jtav` beside the executable's folder, then the checkout this was compiled in.
pub fn bundled(path: impl AsRef<Path>) -> Result<PathBuf, NotBundled> {
    let executable = std::env::current_exe().ok();
    find(homes(std::env::var_os("JTAV_HOME").map(PathBuf::from), executable), path.as_ref(), Vec::new())
}

/// `path` itself where it exists (relative to the working folder), else as [`bundled`]: for settings that name a
/// file of the user or a shipped one.
pub fn existing_or_bundled(path: impl AsRef<Path>) -> Result<PathBuf, NotBundled> {
    let path = path.as_ref();
    if path.exists() {
        return Ok(path.to_owned());
    }
    if path.is_absolute() {
        return Err(NotBundled { path: path.to_owned(), looked_at: vec![path.to_owned()] });
    }
    let here = std::env::current_dir().map_or_else(|_| path.to_owned(), |folder| folder.join(path));
    bundled(path).map_err(|mut error| {
        error.looked_at.insert(0, here);
        error
    })
}

fn homes(jtav_home: Option<PathBuf>, executable: Option<PathBuf>) -> Vec<PathBuf> {
    let installed = executable.as_deref().and_then(Path::parent).and_then(Path::parent);
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    jtav_home
        .into_iter()
        .filter(|home| !home.as_os_str().is_empty())
        .chain(installed.map(|prefix| prefix.join("share/jtav")))
        .chain(checkout.map(Path::to_owned))
        .collect()
}

fn find(homes: Vec<PathBuf>, path: &Path, mut looked_at: Vec<PathBuf>) -> Result<PathBuf, NotBundled> {
    for home in homes {
        let candidate = home.join(path);
        if candidate.exists() {
            return Ok(candidate);
        }
        looked_at.push(candidate);
    }
    Err(NotBundled { path: path.to_owned(), looked_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jtav_home_comes_before_the_installation_and_that_before_the_checkout() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        let installed = folder.path().join("prefix/share/jtav");
        std::fs::create_dir_all(&home).unwrap();
        std::fs::create_dir_all(&installed).unwrap();
        let resolve = || {
            let executable = folder.path().join("prefix/bin/jtav");
            find(homes(Some(home.clone()), Some(executable)), Path::new("Cargo.toml"), Vec::new()).unwrap()
        };
        let in_checkout = resolve();
        assert!(std::fs::read_to_string(in_checkout).unwrap().contains("[workspace]"));
        std::fs::write(installed.join("Cargo.toml"), "").unwrap();
        assert_eq!(resolve(), installed.join("Cargo.toml"));
        std::fs::write(home.join("Cargo.toml"), "").unwrap();
        assert_eq!(resolve(), home.join("Cargo.toml"));
    }

    #[test]
    fn a_missing_file_names_every_place_that_was_looked_at() {
        let error = existing_or_bundled("models/not-there").unwrap_err();
        assert!(error.looked_at.len() >= 3, "{error}");
        for place in &error.looked_at {
            assert!(place.is_absolute());
            assert!(error.to_string().contains(&place.display().to_string()));
        }
        assert!(error.to_string().contains("JTAV_HOME"));
    }

    #[test]
    fn an_absolute_path_is_taken_as_it_is_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(existing_or_bundled(folder.path()).unwrap(), folder.path());
        let missing = folder.path().join("missing");
        assert_eq!(existing_or_bundled(&missing).unwrap_err().looked_at, [missing]);
    }
}
