//! The media of a post as files.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jtav_console::Pictures;
use jtav_feed_processor::exit;

use crate::console::failed;
use crate::failure::report;
use crate::output::errln;

/// Of each medium the PNG, or why there is none; nothing of one that the post does not have.
#[derive(Debug, Default)]
pub struct Drawn {
    /// The picture with its cells.
    pub picture: Option<anyhow::Result<Vec<u8>>>,
    /// The spectrogram with its seconds.
    pub sound: Option<anyhow::Result<Vec<u8>>>,
}

impl From<Pictures> for Drawn {
    fn from(pictures: Pictures) -> Self {
        Self {
            picture: pictures.picture.map(|picture| picture.map_err(failed)),
            sound: pictures.sound.map(|sound| sound.map_err(failed)),
        }
    }
}

/// Writes what was drawn; the number is the exit code: what was asked for and cannot be had is a failure.
///
/// # Errors
/// A file cannot be written.
pub fn write_pictures(path: &Path, drawn: Drawn) -> anyhow::Result<u8> {
    let mut code = exit::OK;
    let Drawn { picture, sound } = drawn;
    if picture.is_none() && sound.is_none() {
        errln!("error: --png: the post has neither a picture nor a sound that was read; nothing is drawn");
        return Ok(exit::DATA);
    }
    for (path, png) in [(path.to_owned(), picture), (beside(path), sound)] {
        match png {
            None => {}
            Some(Ok(png)) => {
                std::fs::write(&path, png).with_context(|| format!("--png {}", path.display()))?;
                errln!("drawn: {}", path.display());
            }
            Some(Err(error)) => code = report(&error.context(format!("nothing is drawn at {}", path.display()))),
        }
    }
    Ok(code)
}

/// `why.png` has `why-sound.png` beside it.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push("-sound.png");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spectrogram_stands_beside_the_picture() {
        for (path, sound) in [("why.png", "why-sound.png"), ("a/b.c.png", "a/b.c-sound.png"), ("why", "why-sound.png")]
        {
            assert_eq!(beside(Path::new(path)), Path::new(sound));
        }
    }

    #[test]
    fn what_can_be_drawn_is_drawn_though_another_medium_is_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("why.png");
        let drawn = Drawn { picture: Some(Ok(vec![1])), sound: Some(Err(anyhow::anyhow!("gone"))) };
        assert_ne!(write_pictures(&path, drawn).unwrap(), exit::OK);
        assert_eq!((std::fs::read(&path).unwrap(), beside(&path).exists()), (vec![1], false));
        assert_eq!(write_pictures(&path, Drawn::default()).unwrap(), exit::DATA);
    }
}
