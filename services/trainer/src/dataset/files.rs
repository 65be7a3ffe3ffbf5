//! Media files of a pack.

use std::collections::HashMap;
use std::path::{Component, Path};
use std::sync::Arc;

use super::post::MediaFile;

/// What a pack says of a file's source.
#[derive(Debug, Clone, Default)]
pub(super) struct Source {
    pub group: Option<String>,
    pub is_speech: bool,
}

/// One [`MediaFile`] per path, however many posts name it.
pub(super) struct Files<'a> {
    root: &'a Path,
    by_path: HashMap<String, Arc<MediaFile>>,
}

impl<'a> Files<'a> {
    /// Of the pack in folder `root`.
    pub fn new(root: &'a Path) -> Self {
        Self { root, by_path: HashMap::new() }
    }

    /// The file at `path` below the folder; it is not looked at.
    pub fn file(
        &mut self,
        path: &str,
        sha256: Option<String>,
        media_type: Option<String>,
        source: Source,
    ) -> Result<Arc<MediaFile>, String> {
        let relative = below(path)?;
        let sha256 = sha256.map(|digest| digest.to_ascii_lowercase());
        let file = self.by_path.entry(path.to_owned()).or_insert_with(|| {
            let Source { group, is_speech } = source;
            Arc::new(MediaFile { path: self.root.join(relative), sha256: sha256.clone(), media_type, group, is_speech })
        });
        if file.sha256 != sha256 {
            return Err(format!("path `{path}` has another sha256 than on an earlier line"));
        }
        Ok(file.clone())
    }

    /// The same for a layout that says nothing of its files but their names: the file must be there.
    pub fn existing(&mut self, path: &str) -> Result<Arc<MediaFile>, String> {
        let file = self.file(path, None, None, Source::default())?;
        if !file.path.is_file() {
            return Err(format!("`{path}`: no such file"));
        }
        Ok(file)
    }
}

/// A pack comes from somebody else: it may not name files outside its own folder.
pub(super) fn below(path: &str) -> Result<&Path, String> {
    let relative = Path::new(path);
    if path.is_empty() || relative.components().any(|part| !matches!(part, Component::Normal(_))) {
        return Err(format!("path `{path}` leaves the folder of the pack"));
    }
    Ok(relative)
}
