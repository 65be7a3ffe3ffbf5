//! The scripts, and the translation of a label to fields and back.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use jtav_schemas::redis_key::{erased_key, field, label_key, models_key};
use jtav_schemas::{Label, Modality, PerModality, Probabilities};
use redis::{Cmd, Script, ScriptInvocation};

use crate::types::ttl_ms;
use crate::{LabelWrite, Source, StoreError, StoredLabel};

static APPLY: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("apply.lua")));
static ERASE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("erase.lua")));
static STANDING: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("standing.lua")));

/// Largest label that is read. Ours have a few kilobytes; a larger one was written by somebody else.
pub(crate) const MAX_LABEL_BYTES: u64 = 1 << 20;

/// Arguments of the longest call, and bytes of what is small in one, about: more take another allocation.
const MAX_ARGUMENTS: usize = 52;
const MAX_SMALL_BYTES: usize = 768;

/// Fields of the label hash in the order in which [`stored_label`] takes them.
pub(crate) const FIELDS: [&str; 18] = [
    field::REVISION,
    field::SOURCE,
    field::EVENT_ID,
    field::LABEL,
    field::CERTAIN,
    field::P_NEGATIVE,
    field::P_NEUTRAL,
    field::P_POSITIVE,
    field::VALENCE,
    field::PROBABILITY,
    field::LANG,
    field::SENTIMENT,
    field::LABELLED_AT_MS,
    field::U,
    field::TEXT,
    field::AUDIO,
    field::IMAGE,
    field::SEMANTIC,
];

/// Reads the fields that say which record a label came from; `None` where the key is not there.
pub(crate) fn identity(
    key: &str,
    revision: Option<Bytes>,
    source: Option<Bytes>,
) -> Result<Option<(u64, Source)>, StoreError> {
    let (Some(revision), Some(source)) = (revision, source) else { return Ok(None) };
    let text = |bytes: &Bytes| std::str::from_utf8(bytes).ok().map(str::to_owned);
    let revision = text(&revision).and_then(|text| text.parse().ok());
    let source = text(&source).and_then(|text| Source::parse(&text));
    match (revision, source) {
        (Some(revision), Some(source)) => Ok(Some((revision, source))),
        _ => Err(StoreError::ForeignKey(format!("`{key}` has no readable revision or source"))),
    }
}

fn modality_field(modality: Modality) -> &'static str {
    match modality {
        Modality::Text => field::TEXT,
        Modality::Audio => field::AUDIO,
        Modality::Image => field::IMAGE,
    }
}

/// A call of a script, its arguments laid out once, as they are sent. (A [`ScriptInvocation`] gives each memory of its own, and copies
/// all of them when it is sent; a label has forty.)
pub(crate) struct ScriptCall {
    pub(crate) script: &'static Script,
    pub(crate) command: Cmd,
}

impl ScriptCall {
    fn new(script: &'static Script, keys: &[String], bytes: usize) -> Self {
        let mut command = Cmd::with_capacity(MAX_ARGUMENTS, bytes);
        command.arg("EVALSHA").arg(script.get_hash()).arg(keys.len()).arg(keys);
        Self { script, command }
    }
}

pub(crate) fn apply(write: &LabelWrite) -> ScriptCall {
    let vectors =
        write.modalities.iter().filter_map(|(_, vector)| vector.as_ref()).chain([&write.u]).chain(&write.semantic);
    let bytes = write.sentiment_json.len() + vectors.map(Bytes::len).sum::<usize>() + MAX_SMALL_BYTES;
    let (post_id, model_version) = (&write.post_id, &write.model_version);
    let keys = [label_key(post_id, model_version), erased_key(post_id), models_key(post_id)];
    let mut call = ScriptCall::new(&APPLY, &keys, bytes);
    let command = &mut call.command;
    command
        .arg(ttl_ms(write.ttl))
        .arg(&write.model_version)
        .arg(write.revision)
        .arg(write.source.partition)
        .arg(write.source.offset)
        .arg(field::EVENT_ID)
        .arg(&write.event_id)
        .arg(field::LABEL)
        .arg(write.label.as_str())
        .arg(field::CERTAIN)
        .arg(if write.certain { "1" } else { "0" });
    for (name, value) in [
        (field::P_NEGATIVE, write.probabilities.negative),
        (field::P_NEUTRAL, write.probabilities.neutral),
        (field::P_POSITIVE, write.probabilities.positive),
        (field::VALENCE, write.valence),
        (field::PROBABILITY, write.probability),
    ] {
        // Rust writes the shortest decimal that reads back as the same f32.
        command.arg(name).arg(value.to_string());
    }
    command
        .arg(field::SENTIMENT)
        .arg(write.sentiment_json.as_ref())
        .arg(field::LABELLED_AT_MS)
        .arg(write.labelled_at_ms)
        .arg(field::U)
        .arg(write.u.as_ref());
    for (modality, vector) in write.modalities.iter() {
        if let Some(vector) = vector {
            command.arg(modality_field(modality)).arg(vector.as_ref());
        }
    }
    if let Some(semantic) = &write.semantic {
        command.arg(field::SEMANTIC).arg(semantic.as_ref());
    }
    if let Some(lang) = &write.lang {
        command.arg(field::LANG).arg(lang);
    }
    call
}

/// What to do about a marker that stands already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OldMarker {
    /// Its time begins anew.
    Renew,
    /// It is left as it is, and nothing else is touched: the script answers -1.
    Keep,
}

pub(crate) fn erase(post_id: &str, revision: u64, ttl: Duration, old: OldMarker) -> ScriptInvocation<'static> {
    let mut call = ERASE.prepare_invoke();
    call.key(erased_key(post_id)).key(models_key(post_id)).arg(ttl_ms(ttl)).arg(revision).arg(label_key(post_id, ""));
    call.arg(match old {
        OldMarker::Renew => "renew",
        OldMarker::Keep => "keep",
    });
    call
}

/// Answers whether the post is erased, then revision and source of its label, a revision of 20 digits at most and a source of 31.
pub(crate) fn standing(post_id: &str, label_key: &str) -> ScriptCall {
    ScriptCall::new(&STANDING, &[label_key.to_owned(), erased_key(post_id)], MAX_SMALL_BYTES)
}

/// The lengths of [`FIELDS`].
pub(crate) fn field_lengths(key: &str) -> redis::Pipeline {
    let mut lengths = redis::pipe();
    for field in FIELDS {
        lengths.cmd("HSTRLEN").arg(key).arg(field);
    }
    lengths
}

/// Reads the values of [`FIELDS`]; `None` where the key is not there.
pub(crate) fn stored_label(key: &str, values: Vec<Option<Bytes>>) -> Result<Option<StoredLabel>, StoreError> {
    if values.iter().all(Option::is_none) {
        return Ok(None);
    }
    let bad = |name: &str| StoreError::ForeignKey(format!("`{key}` has no readable `{name}`"));
    let mut values = FIELDS.into_iter().zip(values).collect::<std::collections::HashMap<_, _>>();
    let mut take = |name: &'static str| values.remove(name).flatten();
    fn number<T: std::str::FromStr>(bytes: Option<Bytes>) -> Option<T> {
        std::str::from_utf8(&bytes?).ok()?.parse().ok()
    }
    let text = |bytes: Option<Bytes>| String::from_utf8(bytes?.to_vec()).ok();
    Ok(Some(StoredLabel {
        revision: number(take(field::REVISION)).ok_or_else(|| bad(field::REVISION))?,
        source: text(take(field::SOURCE)).and_then(|s| Source::parse(&s)).ok_or_else(|| bad(field::SOURCE))?,
        event_id: text(take(field::EVENT_ID)).ok_or_else(|| bad(field::EVENT_ID))?,
        label: text(take(field::LABEL)).and_then(|name| Label::from_name(&name)).ok_or_else(|| bad(field::LABEL))?,
        certain: match take(field::CERTAIN).as_deref() {
            Some(b"1") => true,
            Some(b"0") => false,
            _ => return Err(bad(field::CERTAIN)),
        },
        probabilities: Probabilities {
            negative: number(take(field::P_NEGATIVE)).ok_or_else(|| bad(field::P_NEGATIVE))?,
            neutral: number(take(field::P_NEUTRAL)).ok_or_else(|| bad(field::P_NEUTRAL))?,
            positive: number(take(field::P_POSITIVE)).ok_or_else(|| bad(field::P_POSITIVE))?,
        },
        valence: number(take(field::VALENCE)).ok_or_else(|| bad(field::VALENCE))?,
        probability: number(take(field::PROBABILITY)).ok_or_else(|| bad(field::PROBABILITY))?,
        lang: match take(field::LANG) {
            Some(lang) => Some(text(Some(lang)).ok_or_else(|| bad(field::LANG))?),
            None => None,
        },
        sentiment_json: take(field::SENTIMENT).ok_or_else(|| bad(field::SENTIMENT))?,
        labelled_at_ms: number(take(field::LABELLED_AT_MS)).ok_or_else(|| bad(field::LABELLED_AT_MS))?,
        u: take(field::U).ok_or_else(|| bad(field::U))?,
        modalities: PerModality { text: take(field::TEXT), audio: take(field::AUDIO), image: take(field::IMAGE) },
        semantic: take(field::SEMANTIC),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_of_someone_else_is_an_error_and_not_a_label() {
        let mut values = vec![None; FIELDS.len()];
        assert_eq!(stored_label("k", values.clone()), Ok(None));
        values[0] = Some(Bytes::from_static(b"not a number"));
        assert!(
            matches!(stored_label("k", values), Err(StoreError::ForeignKey(message)) if message.contains("revision"))
        );
    }
}
