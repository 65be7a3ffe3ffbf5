//! What stands in two splits would be learnt and then asked for.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::error::DatasetError;
use super::post::{MediaFile, Post};

/// Texts that differ only in case and outer space are one.
pub(crate) fn comparable(text: &str) -> String {
    text.trim().to_lowercase()
}

/// Refuses a pack in which something stands in two splits.
pub(super) fn check_leaks(path: &Path, posts: &[Post]) -> Result<(), DatasetError> {
    let mut seen: HashMap<(&str, String), &Post> = HashMap::new();
    for post in posts {
        let medium =
            |file: &Arc<MediaFile>| file.sha256.clone().unwrap_or_else(|| file.path.to_string_lossy().into_owned());
        let texts = post.texts.iter().map(|part| ("text", comparable(&part.text)));
        let media = [("audio", &post.audio), ("image", &post.image)];
        let media = media.into_iter().filter_map(|(what, file)| Some((what, medium(file.as_ref()?))));
        for (what, value) in texts.chain(media).filter(|(_, value)| !value.is_empty()) {
            let first = *seen.entry((what, value)).or_insert(post);
            if first.split != post.split {
                return Err(DatasetError::Line {
                    path: path.to_owned(),
                    line: post.line,
                    reason: format!(
                        "{what} of post `{}` ({}) is also that of `{}` on line {} ({})",
                        post.id, post.split, first.id, first.line, first.split
                    ),
                });
            }
        }
    }
    Ok(())
}
