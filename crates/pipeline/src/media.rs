use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jtav_schemas::{MediaRef, Modality};

/// BLAKE3 of the bytes of a medium: its identity in every cache (ADR 6, 18).
pub type ContentHash = [u8; 32];

/// The first eight bytes of a content hash in hexadecimal, as logs name a medium.
pub fn log_name(hash: &ContentHash) -> String {
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// A medium to download.
#[derive(Debug, Clone)]
pub struct FetchRequest {
    /// What it should be.
    pub modality: Modality,
    /// Where it is and what is claimed of it.
    pub media: MediaRef,
    /// No later than this.
    pub deadline: Instant,
}

/// A downloaded medium, within the limits, its declared hash checked.
#[derive(Clone)]
pub struct FetchedMedia {
    /// What it should be.
    pub modality: Modality,
    pub bytes: Bytes,
    /// BLAKE3 of the bytes.
    pub content_hash: ContentHash,
    /// The declared media type, or the one the server named.
    pub media_type: Option<String>,
    /// Keeps the bytes' share of the media budget until the last clone is gone.
    pub reservation: Option<Arc<dyn Send + Sync>>,
    /// What the server allows to be remembered of its answer; `None`: nothing.
    pub receipt: Option<Arc<Receipt>>,
    /// On whose account it is decoded: the author, or the site that it came from; `None`: on nobody's.
    pub account: Option<Arc<str>>,
}

impl std::fmt::Debug for FetchedMedia {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FetchedMedia").field("modality", &self.modality).field("bytes", &self.bytes.len()).finish()
    }
}

/// What may be remembered of a server's answer without its bytes: which content it was, how long that can be taken for
/// granted, and how to ask whether it still is (RFC 9111).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// BLAKE3 of the bytes.
    pub content_hash: ContentHash,
    /// Their SHA-256, lower-case hexadecimal, where a post declared it and it was checked.
    pub sha256: Option<String>,
    /// The URL that gave the bytes, after redirects; the validators are this URL's.
    pub location: String,
    /// `ETag` as it came.
    pub etag: Option<String>,
    /// `Last-Modified` as it came.
    pub last_modified: Option<String>,
    /// How long after its making the server lets the answer be used unasked.
    pub lifetime: Duration,
    /// From then on the server must be asked.
    pub fresh_until: Instant,
}

impl Receipt {
    /// May the content be taken for granted without asking?
    pub fn is_fresh(&self, now: Instant) -> bool {
        now < self.fresh_until
    }

    /// Is there anything to ask with?
    pub fn has_validator(&self) -> bool {
        self.etag.is_some() || self.last_modified.is_some()
    }

    /// Could this be the content that `media` declares? One that declares a hash is answered only by content whose
    /// same hash was checked.
    pub fn answers(&self, media: &MediaRef) -> bool {
        let Some(declared) = &media.sha256 else { return true };
        self.sha256.as_ref().is_some_and(|known| known.eq_ignore_ascii_case(declared))
    }
}

/// What asking again came to.
#[derive(Debug, Clone)]
pub enum Revalidated {
    /// Other bytes, or the same sent once more.
    Changed(FetchedMedia),
    /// The server says that the bytes are those of the earlier receipt; it sent none. This one replaces the earlier.
    Unchanged(Arc<Receipt>),
}
