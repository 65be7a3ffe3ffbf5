//! Keys, scripts, attributes and filters of the vector sets; `schemas/redis-keys.md` states them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jtav_neighbours::{Hit, Query, VectorKind};
use jtav_schemas::embedding::f32_from_f16_le;
use jtav_schemas::redis_key::{erased_key, label_key, vectors_key, vectors_of_key};
use jtav_schemas::{Label, Modality};
use redis::{Cmd, Script, ScriptInvocation};
use serde::{Deserialize, Serialize};

use crate::vector_index::VectorIndexSettings;
use crate::{LabelWrite, StoreError};

static VECTORS: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("vectors.lua")));
static FORGET_VECTORS: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("forget_vectors.lua")));

/// Records of one post whose vectors are kept apart within the window. Those that were replaced stay in the graph until they lapse, so
/// that whoever edits a post without end must not fill it.
const MAX_EDITS: u32 = 64;
/// Most stretches of time that a search asks.
pub(crate) const MAX_BUCKETS: i64 = 256;

/// Stretches of time, all in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Buckets {
    bucket_ms: i64,
    window_ms: i64,
}

impl Buckets {
    /// Refuses more stretches than a search can ask.
    pub(crate) fn new(settings: &VectorIndexSettings) -> Result<Self, StoreError> {
        let ms = |duration: std::time::Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        let (bucket_ms, window_ms) = (ms(settings.bucket), ms(settings.window));
        if bucket_ms < 1 || window_ms / bucket_ms + 2 > MAX_BUCKETS {
            let message = format!("a window of {window_ms} ms has more than {MAX_BUCKETS} stretches of {bucket_ms} ms");
            return Err(StoreError::Invalid(message));
        }
        Ok(Self { bucket_ms, window_ms })
    }

    /// Where the stretch begins in which a time lies; `None` where it has left the window.
    pub(crate) fn of(self, time_ms: i64, now_ms: i64) -> Option<i64> {
        let bucket = self.begin(time_ms.min(now_ms));
        (bucket >= self.begin(now_ms.saturating_sub(self.window_ms))).then_some(bucket)
    }

    fn begin(self, time_ms: i64) -> i64 {
        time_ms.div_euclid(self.bucket_ms).saturating_mul(self.bucket_ms)
    }

    /// When a stretch lapses.
    pub(crate) fn lapses_at_ms(self, bucket: i64) -> i64 {
        bucket.saturating_add(self.bucket_ms).saturating_add(self.window_ms)
    }

    /// Those in which there may be posts of a time or later, oldest first.
    pub(crate) fn since(self, since_ms: Option<i64>, now_ms: i64) -> Vec<i64> {
        let earliest = now_ms.saturating_sub(self.window_ms);
        let mut begin = self.begin(since_ms.map_or(earliest, |since_ms| since_ms.max(earliest)));
        let mut buckets = Vec::new();
        while begin <= now_ms && (buckets.len() as i64) < MAX_BUCKETS {
            buckets.push(begin);
            begin = begin.saturating_add(self.bucket_ms);
        }
        buckets
    }
}

/// What is known of an element.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Attributes {
    live: u8,
    post: String,
    /// A string: numbers of the filter are f64.
    revision: String,
    label: Label,
    certain: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lang: Option<String>,
    time: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event: Option<i64>,
    labelled: i64,
}

impl Attributes {
    /// `None` where somebody else wrote them.
    pub(crate) fn parse(json: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(json).ok().filter(|attributes| attributes.live == 1)
    }

    pub(crate) fn hit(self, similarity: f32) -> Option<Hit> {
        Some(Hit {
            similarity,
            revision: self.revision.parse().ok()?,
            post_id: self.post,
            label: self.label,
            certain: self.certain == 1,
            lang: self.lang,
            event_time_ms: self.event,
            labelled_at_ms: self.labelled,
        })
    }
}

/// One call that brings all vectors of a label; `bucket` is that of `time_ms`.
pub(crate) fn add(
    write: &LabelWrite,
    settings: &VectorIndexSettings,
    event_time_ms: Option<i64>,
    [time_ms, bucket, lapses_at_ms]: [i64; 3],
) -> Result<ScriptInvocation<'static>, StoreError> {
    let modality = |modality| write.modalities.get(modality).as_ref();
    let by_kind = BTreeMap::from([
        (VectorKind::Semantic, write.semantic.as_ref()),
        (VectorKind::U, Some(&write.u)),
        (VectorKind::Text, modality(Modality::Text)),
        (VectorKind::Audio, modality(Modality::Audio)),
        (VectorKind::Image, modality(Modality::Image)),
    ]);
    let attributes = Attributes {
        live: 1,
        post: write.post_id.clone(),
        revision: write.revision.to_string(),
        label: write.label,
        certain: u8::from(write.certain),
        lang: write.lang.clone(),
        time: time_ms,
        event: event_time_ms.map(|event| event.min(time_ms)),
        labelled: write.labelled_at_ms,
    };
    let attributes = serde_json::to_string(&attributes).map_err(|error| StoreError::Invalid(error.to_string()))?;
    let mut call = VECTORS.prepare_invoke();
    call.key(label_key(&write.post_id, &write.model_version))
        .key(erased_key(&write.post_id))
        .key(vectors_of_key(&write.post_id))
        .arg(write.revision)
        .arg(write.source.to_string())
        .arg(&write.model_version)
        .arg(format!("{}:{}", write.event_id, write.source))
        .arg(attributes)
        .arg(if settings.quantized { "Q8" } else { "NOQUANT" })
        .arg(settings.build_effort)
        .arg(MAX_EDITS)
        .arg(lapses_at_ms);
    for (kind, f16_le) in by_kind.into_iter().filter_map(|(kind, vector)| Some((kind, vector?))) {
        let values =
            f32_from_f16_le(f16_le).map_err(|error| StoreError::Invalid(format!("vector `{kind}`: {error}")))?;
        call.key(vectors_key(&write.model_version, kind.as_str(), bucket)).arg(fp32(&values));
    }
    Ok(call)
}

pub(crate) fn forget(post_id: &str) -> ScriptInvocation<'static> {
    let mut call = FORGET_VECTORS.prepare_invoke();
    call.key(vectors_of_key(post_id));
    call
}

/// Components as Redis takes them.
pub(crate) fn fp32(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// What an element must be; `None` where none can be so. Nothing of a stranger's gets into it but letters.
pub(crate) fn filter(query: &Query<'_>) -> Option<String> {
    let mut filter = ".live == 1".to_owned();
    if let Some(label) = query.label {
        filter += &format!(" and .label == \"{label}\"");
    }
    if let Some(certain) = query.certain {
        filter += &format!(" and .certain == {}", u8::from(certain));
    }
    if let Some(lang) = query.lang {
        if !matches!(lang.len(), 2 | 3) || !lang.bytes().all(|byte| byte.is_ascii_lowercase()) {
            return None;
        }
        filter += &format!(" and .lang == \"{lang}\"");
    }
    if let Some(since_ms) = query.since_ms.filter(|since_ms| *since_ms > 0) {
        filter += &format!(" and .time >= {since_ms}");
    }
    Some(filter)
}

/// Asks one vector set for its nearest: elements and scores.
pub(crate) fn nearest(key: &str, vector: &[u8], count: usize, filter: &str, settings: &VectorIndexSettings) -> Cmd {
    let mut command = redis::cmd("VSIM");
    command.arg(key).arg("FP32").arg(vector).arg("WITHSCORES").arg("COUNT").arg(count);
    command.arg("EF").arg(settings.search_effort.max(count as u32));
    command.arg("FILTER").arg(filter).arg("FILTER-EF").arg(settings.filter_effort);
    command
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    #[test]
    fn a_search_asks_every_stretch_in_which_a_post_of_the_window_can_lie() {
        let buckets = Buckets::new(&VectorIndexSettings::default()).unwrap();
        let now_ms = 500_000 * HOUR_MS + 17;
        let all = buckets.since(None, now_ms);
        assert_eq!(all.len(), 29);
        for hours_ago in 0..7 * 24 {
            let bucket = buckets.of(now_ms - hours_ago * HOUR_MS, now_ms).unwrap();
            assert!(all.contains(&bucket) && buckets.lapses_at_ms(bucket) > now_ms);
        }
        assert_eq!(buckets.of(i64::MAX, now_ms), all.last().copied());
        assert_eq!(buckets.of(i64::MIN, now_ms), None);
        assert_eq!(buckets.of(now_ms - 8 * 24 * HOUR_MS, now_ms), None);
        assert_eq!(buckets.since(Some(now_ms), now_ms), all[28..]);
        assert_eq!(buckets.since(Some(i64::MAX), now_ms), Vec::<i64>::new());
        assert_eq!(buckets.since(Some(i64::MIN), now_ms), all);
    }

    #[test]
    fn more_stretches_than_a_search_can_ask_are_refused() {
        for bucket in [Duration::ZERO, Duration::from_secs(60)] {
            let settings = VectorIndexSettings { bucket, ..VectorIndexSettings::default() };
            assert!(matches!(Buckets::new(&settings), Err(StoreError::Invalid(_))));
        }
    }

    #[test]
    fn a_filter_holds_nothing_that_a_reader_wrote_but_letters() {
        let all = Query::new("m@1", VectorKind::U, &[1.0], 3);
        assert_eq!(filter(&all).unwrap(), ".live == 1");
        let narrow =
            Query { label: Some(Label::Positive), certain: Some(true), lang: Some("en"), since_ms: Some(5), ..all };
        let expected = ".live == 1 and .label == \"positive\" and .certain == 1 and .lang == \"en\" and .time >= 5";
        assert_eq!(filter(&narrow).unwrap(), expected);
        for lang in ["", "e\"", "en\" or 1", "ENG", "\u{e9}"] {
            assert_eq!(filter(&Query { lang: Some(lang), ..all }), None);
        }
    }

    #[test]
    fn attributes_of_somebody_else_are_no_hit() {
        for json in [
            "",
            "{}",
            "[]",
            "{\"live\":1}",
            "{\"live\":0,\"post\":\"a\",\"revision\":\"1\",\"label\":\"neutral\",\"certain\":1,\"time\":1,\"labelled\":1}",
        ] {
            assert!(Attributes::parse(json.as_bytes()).is_none(), "{json}");
        }
    }
}
