use crate::{Store, StoreError};

/// The fused embedding of a post by one model, `[dimensions]`, as a recommender reads it; `None` where the post is
/// not labelled by that model, has lapsed or is erased. Python: `schemas/examples/read_embedding.py`.
///
/// ```
/// use std::time::Duration;
/// use bytes::Bytes;
/// use jtav_schemas::embedding::f16_le_bytes;
/// use jtav_schemas::{Label, PerModality, Probabilities};
/// use jtav_store::{EmbeddedStore, LabelWrite, Source, Store, read_embedding};
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// // In production: RedisStore::new(RedisOptions::new("redis://redis:6379/0"))?
/// let store = EmbeddedStore::new();
/// store
///     .apply(&LabelWrite {
///         post_id: "post-1".into(),
///         revision: 0,
///         source: Source { partition: 0, offset: 41 },
///         model_version: "jtav-modern@1".into(),
///         event_id: "e1".into(),
///         label: Label::Positive,
///         certain: true,
///         probabilities: Probabilities { negative: 0.08, neutral: 0.2, positive: 0.72 },
///         valence: 0.64,
///         probability: 0.9,
///         lang: Some("en".into()),
///         sentiment_json: Bytes::from_static(b"{}"),
///         u: f16_le_bytes(&[0.5, -0.25])?.into(),
///         modalities: PerModality::default(),
///         semantic: None,
///         labelled_at_ms: 0,
///         ttl: Duration::from_secs(3_600),
///     })
///     .await?;
///
/// let embedding = read_embedding(&store, "post-1", "jtav-modern@1").await?;
/// assert_eq!(embedding, Some(vec![0.5, -0.25]));
/// assert_eq!(read_embedding(&store, "post-2", "jtav-modern@1").await?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
pub async fn read_embedding(
    store: &dyn Store,
    post_id: &str,
    model_version: &str,
) -> Result<Option<Vec<f32>>, StoreError> {
    let Some(stored) = store.read(post_id, model_version).await? else { return Ok(None) };
    stored.embedding().map(Some).map_err(|error| StoreError::ForeignKey(error.to_string()))
}
