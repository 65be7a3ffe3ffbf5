use std::sync::Arc;

use jtav_inference::{Backend, BackendError, BoxedBackend, StubBackend};
use jtav_model::{AudioNetwork, Checkpoint, ModelError, Placement, Waveform};
use jtav_pipeline::{AttentionPart, Embedding, Encoded, Pcm, Stage, StageError};
use jtav_schemas::{AudioSpan, DeadLetterReason};

/// Stretches named in a published record.
const TOP_SPANS: usize = 3;

type Output = Result<Encoded, StageError>;

/// Constant-Q transform and the DCRNN of a checkpoint on one thread.
pub struct AudioBackend {
    network: AudioNetwork,
}

impl AudioBackend {
    /// Loads and warms the network on the calling thread.
    pub fn load(checkpoint: &Arc<Checkpoint>, placement: Placement) -> Result<BoxedBackend<Pcm, Output>, BackendError> {
        jtav_model::device::single_threaded();
        let network = AudioNetwork::from_checkpoint(checkpoint, placement).map_err(failure)?;
        network.warm_up().map_err(failure)?;
        Ok(Box::new(Self { network }))
    }
}

fn waveform(pcm: &Pcm) -> Result<Waveform, StageError> {
    Waveform::new(Arc::clone(&pcm.samples), pcm.sample_rate_hz)
        .map_err(|error| StageError::permanent(Stage::AudioEncoder, DeadLetterReason::NonFiniteOutput, error))
}

impl Backend for AudioBackend {
    type Item = Pcm;
    type Output = Output;

    /// Segments of ten seconds.
    fn cost(&self, item: &Pcm) -> u64 {
        (item.seconds() / 10.0).ceil().max(1.0) as u64
    }

    fn forward(&mut self, items: &[Pcm]) -> Result<Vec<Output>, BackendError> {
        let clips: Vec<Result<Waveform, StageError>> = items.iter().map(waveform).collect();
        let usable: Vec<Waveform> = clips.iter().filter_map(|clip| clip.as_ref().ok()).cloned().collect();
        let mut encoded = self.network.encode_sound(&usable).map_err(failure)?.into_iter();
        clips
            .into_iter()
            .map(|clip| match clip {
                Ok(_) => encoded.next().map(finish).ok_or_else(|| BackendError::Batch("answer missing".into())),
                Err(error) => Ok(Err(error)),
            })
            .collect()
    }
}

fn finish(encoded: jtav_model::Encoded) -> Result<Encoded, StageError> {
    let end = encoded.attention.len() as f32 * AudioNetwork::seconds_per_step();
    let spans = top_spans(&AudioNetwork::attention_by_second(&encoded.attention), end);
    let vector = Embedding::new(encoded.vector)
        .map_err(|error| StageError::permanent(Stage::AudioEncoder, DeadLetterReason::NonFiniteOutput, error))?;
    Ok(Encoded { vector, attention: AttentionPart::Spans(spans) })
}

/// The seconds of the clip that got most of the attention; the last one may end before a whole second, at `end`.
fn top_spans(seconds: &[f32], end: f32) -> Vec<AudioSpan> {
    let mut spans: Vec<AudioSpan> = seconds
        .iter()
        .enumerate()
        .map(|(start, &weight)| AudioSpan {
            start_seconds: start as f32,
            end_seconds: (start as f32 + 1.0).min(end),
            weight,
        })
        .collect();
    spans.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    spans.truncate(TOP_SPANS);
    spans
}

fn failure(error: ModelError) -> BackendError {
    if error.is_fatal() { BackendError::Device(error.to_string()) } else { BackendError::Batch(error.to_string()) }
}

/// Answers at once with a fixed vector; for load tests of everything else.
pub fn stub() -> BoxedBackend<Pcm, Output> {
    Box::new(StubBackend::new(|_: &Pcm| {
        let vector = Embedding::new(vec![1.0; 100])
            .map_err(|error| StageError::permanent(Stage::AudioEncoder, DeadLetterReason::NonFiniteOutput, error))?;
        Ok(Encoded { vector, attention: AttentionPart::Spans(Vec::new()) })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_seconds_that_got_most_attention_are_named() {
        let spans = top_spans(&[0.1, 0.0, 0.5, 0.0, 0.4], 4.8);
        let named: Vec<_> = spans.iter().map(|span| (span.start_seconds, span.end_seconds)).collect();
        assert_eq!(named, vec![(2.0, 3.0), (4.0, 4.8), (0.0, 1.0)]);
        assert!((spans[0].weight - 0.5).abs() < 1e-6);
    }

    #[test]
    fn no_attention_gives_no_span() {
        assert!(top_spans(&[], 0.0).is_empty());
    }
}
