//! Posts as a worker leaves them: in the store, on the sentiment topic, on the embeddings topic.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use futures::{StreamExt as _, TryStreamExt as _};
use jtav_kafka::OutboundRecord;
use jtav_schemas::{AttentionSummary, EmbeddingV1, Label, PerModality, SentimentV1, Vector, WordWeight};
use jtav_store::{Source, Store as _};
use jtav_testkit::{embedding_of, sentiment_of, write_of};

use super::rig::ServeRig;
use crate::topics::PARTITIONS;

const MODEL: &str = "load@1";
/// Dimensions of the fused vector and of a text's, and of its second one, as the bundled model has them.
const DIMENSIONS: usize = 100;
/// Languages, and so filters: each wants one label in so many.
pub const LANGUAGES: usize = 100;
/// Writes under way.
const AT_ONCE: usize = 64;

/// The post of this number.
pub fn id(number: usize) -> String {
    format!("post-{number}")
}

/// One of [`LANGUAGES`] codes: `aa` to `dv`.
pub fn language(number: usize) -> String {
    let number = number % LANGUAGES;
    [b'a' + (number / 26) as u8, b'a' + (number % 26) as u8].map(char::from).iter().collect()
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// Writes posts 0 to `posts`.
pub async fn fill(rig: &ServeRig, posts: usize) -> Result<()> {
    let store = rig.redis.store(0)?;
    let store = &store;
    let writes = futures::stream::iter(0..posts).map(|number| async move {
        let sentiment = sentiment(number);
        let embedding = embedding(number, &sentiment)?;
        let source = Source { partition: 0, offset: number as i64 };
        store.apply(&write_of(&sentiment, &embedding, source)?).await?;
        rig.producer.send(record(&rig.topics.embeddings, number, serde_json::to_vec(&embedding)?)).await?;
        anyhow::Ok(())
    });
    writes.buffer_unordered(AT_ONCE).try_collect::<()>().await
}

/// A record of this post; those of one language are in one partition, in order.
pub fn record(topic: &str, number: usize, value: Vec<u8>) -> OutboundRecord {
    let partition = Some((number % LANGUAGES) as i32 % PARTITIONS);
    OutboundRecord { partition, ..OutboundRecord::keyed(topic, id(number), value) }
}

/// A label with the reasons of a text of medium length.
pub fn sentiment(number: usize) -> SentimentV1 {
    let word = |position: u32| WordWeight { word: format!("word{position}"), position, weight: 0.1 };
    SentimentV1 {
        lang: Some(language(number)),
        attention: AttentionSummary { words: (0..5).map(word).collect(), ..AttentionSummary::default() },
        ..sentiment_of(&id(number), 1, Label::ALL[number % Label::ALL.len()], MODEL, now_ms())
    }
}

fn embedding(number: usize, sentiment: &SentimentV1) -> Result<EmbeddingV1> {
    Ok(EmbeddingV1 {
        modalities: PerModality { text: Some(vector(number, 2)?), audio: None, image: None },
        semantic: Some(vector(number, 3)?),
        ..embedding_of(sentiment, vector(number, 1)?)
    })
}

/// Components that differ from post to post, by SplitMix64.
fn vector(number: usize, kind: u64) -> Result<Vector> {
    let mut state = (number as u64) << 8 | kind;
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    Ok(Vector::pack(&(0..DIMENSIONS).map(|_| next()).collect::<Vec<_>>())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_filter_is_a_language_of_its_own() {
        let codes: std::collections::BTreeSet<String> = (0..LANGUAGES).map(language).collect();
        assert_eq!(codes.len(), LANGUAGES);
        assert!(codes.iter().all(|code| jtav_schemas::is_language_code(code)));
    }

    #[test]
    fn no_two_posts_have_one_vector() {
        assert_ne!(vector(1, 1).unwrap(), vector(2, 1).unwrap());
        assert_ne!(vector(1, 1).unwrap(), vector(1, 2).unwrap());
    }
}
