//! Bytes to a medium: the declared hash is checked, the content hash computed.

use bytes::Bytes;
use jtav_pipeline::{ContentHash, FetchedMedia};
use jtav_schemas::{AbsentReason, MediaRef, Modality};
use sha2::{Digest as _, Sha256};

/// Below this, hashing is cheaper than handing it to another thread.
const INLINE_HASH_BYTES: usize = 256 << 10;

/// Takes bytes as the medium that `media` declares: checks the declared hash, computes the content hash. Bytes that
/// did not come through a [`Fetcher`](crate::Fetcher) (a file of the caller's) come in here; they hold no share of a
/// budget.
///
/// # Errors
/// [`AbsentReason::HashMismatch`], also where the declared hash is no SHA-256.
pub async fn accept(
    modality: Modality,
    bytes: Bytes,
    served_type: Option<String>,
    media: &MediaRef,
) -> Result<FetchedMedia, AbsentReason> {
    let declared = media.sha256.clone();
    let content_hash = if bytes.len() <= INLINE_HASH_BYTES {
        hashes(&bytes, declared.as_deref())?
    } else {
        let shared = bytes.clone();
        let hashing = tokio::task::spawn_blocking(move || hashes(&shared, declared.as_deref()));
        // Only a runtime that shuts down takes the task away.
        hashing.await.map_err(|_| AbsentReason::FetchFailed)??
    };
    let media_type = media.media_type.clone().or(served_type);
    Ok(FetchedMedia { modality, bytes, content_hash, media_type, reservation: None, receipt: None, account: None })
}

fn hashes(bytes: &[u8], declared_sha256: Option<&str>) -> Result<ContentHash, AbsentReason> {
    if let Some(declared) = declared_sha256 {
        let mut expected = [0; 32];
        if hex::decode_to_slice(declared, &mut expected).is_err() || Sha256::digest(bytes)[..] != expected {
            return Err(AbsentReason::HashMismatch);
        }
    }
    Ok(*blake3::hash(bytes).as_bytes())
}
