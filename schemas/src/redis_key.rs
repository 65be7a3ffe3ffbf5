//! Names and fields of the Redis keys; the whole layout is stated in `schemas/redis-keys.md`.

use crate::Modality;

/// Hash of one post's label and vectors by one model: `jtav:{<post_id>}:<model_version>`. The braces are the Redis
/// Cluster hash tag, so that all keys of a post share a slot and one script may touch them together.
pub fn label_key(post_id: &str, model_version: &str) -> String {
    post_key(post_id, model_version)
}

/// Marker of an erased post: `jtav:{<post_id>}:erased`.
pub fn erased_key(post_id: &str) -> String {
    post_key(post_id, "erased")
}

/// Set of the model versions that hold a key for the post: `jtav:{<post_id>}:models`. Erasure is for every model,
/// and a script may not scan for keys it was not given.
pub fn models_key(post_id: &str) -> String {
    post_key(post_id, "models")
}

/// Five are made for each post: in one piece, where `format!` would grow each step by step.
fn post_key(post_id: &str, last: &str) -> String {
    ["jtav:{", post_id, "}:", last].concat()
}

/// One encoder's output of one medium: `jtav-cache:{encodings}:<model_version>:<modality>:<content_hash>`, the hash as 64
/// hexadecimal digits of BLAKE3. Another prefix than a post's keys, and one hash tag for all of them, so that one script
/// may bound their number.
pub fn encoding_key(model_version: &str, modality: Modality, content_hash: &[u8; 32]) -> String {
    let hash = blake3::Hash::from_bytes(*content_hash).to_hex();
    format!("jtav-cache:{{encodings}}:{model_version}:{}:{hash}", modality.as_str())
}

/// Sorted set of all encoding keys by the time they were written, milliseconds since 1970.
pub const ENCODINGS_KEY: &str = "jtav-cache:{encodings}";

/// The server, by replication id and run id, on which the erasures that a failover or restart may have lost were last
/// looked after. No key of a post: theirs have a brace behind the colon.
pub const RESTORED_KEY: &str = "jtav:erasures-restored-on";

/// Vector set of one kind of vectors by one model, of the posts of one stretch of time, which begins at `bucket_ms`, milliseconds since
/// 1970: `jtav-vectors:<model_version>:<kind>:<bucket_ms>`. Of no post, hence without its tag.
pub fn vectors_key(model_version: &str, kind: &str, bucket_ms: i64) -> String {
    format!("jtav-vectors:{model_version}:{kind}:{bucket_ms}")
}

/// In which vector sets a post's vectors lie: `jtav-vectors-of:{<post_id>}`.
pub fn vectors_of_key(post_id: &str) -> String {
    format!("jtav-vectors-of:{{{post_id}}}")
}

/// Whether a model version may be part of a key. `erased` and `models` name other keys of the post, and with a `}` in
/// it the keys of two posts could be one: (`a`, `b}:c`) and (`a}:b`, `c`).
pub fn is_valid_model_version(model_version: &str) -> bool {
    !model_version.is_empty() && !matches!(model_version, "erased" | "models") && !model_version.contains('}')
}

/// Field names of the label hash.
pub mod field {
    /// Decimal.
    pub const REVISION: &str = "revision";
    /// `<partition>:<offset>` of the input record, decimal; the tie-break between equal revisions.
    pub const SOURCE: &str = "source";
    /// `negative`, `neutral` or `positive`.
    pub const LABEL: &str = "label";
    /// `1` where the label is certain, else `0`.
    pub const CERTAIN: &str = "certain";
    /// Probability of `positive` for a post that is not neutral: decimal, 0 to 1.
    pub const PROBABILITY: &str = "probability";
    /// Decimal, 0 to 1.
    pub const P_NEGATIVE: &str = "p_negative";
    /// Decimal, 0 to 1.
    pub const P_NEUTRAL: &str = "p_neutral";
    /// Decimal, 0 to 1.
    pub const P_POSITIVE: &str = "p_positive";
    /// Decimal, -1 to 1.
    pub const VALENCE: &str = "valence";
    /// ISO 639 code, present only where the language of the text was identified.
    pub const LANG: &str = "lang";
    /// The whole `sentiment.v1` record as JSON.
    pub const SENTIMENT: &str = "sentiment";
    /// Event id.
    pub const EVENT_ID: &str = "event_id";
    /// f16 little-endian bytes.
    pub const U: &str = "u";
    /// f16 little-endian bytes, present only with the modality.
    pub const TEXT: &str = "text";
    /// f16 little-endian bytes, present only with the modality.
    pub const AUDIO: &str = "audio";
    /// f16 little-endian bytes, present only with the modality.
    pub const IMAGE: &str = "image";
    /// f16 little-endian bytes, present only with a text and from a model that makes it.
    pub const SEMANTIC: &str = "semantic";
    /// Milliseconds since 1970, decimal.
    pub const LABELLED_AT_MS: &str = "labelled_at_ms";
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Few letters, so that near collisions are common.
    fn name() -> impl Strategy<Value = String> {
        "[ab:{}]{1,5}"
    }

    proptest! {
        // Two thirds of the drawn names are no model versions.
        #![proptest_config(ProptestConfig { max_global_rejects: 65_536, ..ProptestConfig::default() })]
        #[test]
        fn two_posts_never_share_a_key(a in name(), b in name(), one in name(), other in name()) {
            prop_assume!(is_valid_model_version(&one) && is_valid_model_version(&other));
            let keys = |post: &str, model: &str| [label_key(post, model), erased_key(post), models_key(post)];
            let (left, right) = (keys(&a, &one), keys(&b, &other));
            if a != b {
                prop_assert!(left.iter().all(|key| !right.contains(key)), "{left:?} {right:?}");
            } else {
                prop_assert_eq!(left[0] == right[0], one == other);
                prop_assert!(left[0] != left[1] && left[0] != left[2]);
            }
        }
    }

    #[test]
    fn names_of_other_keys_and_closing_braces_are_no_model_versions() {
        for bad in ["", "erased", "models", "m}:x"] {
            assert!(!is_valid_model_version(bad), "{bad}");
        }
        assert!(is_valid_model_version("jtav-modern@0a1b2c"));
    }
}
