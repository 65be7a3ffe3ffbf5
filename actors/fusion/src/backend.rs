use std::sync::Arc;

use jtav_inference::{Backend, BackendError, SendBackend, StubBackend};
use jtav_model::{Checkpoint, FusionInput, FusionNetwork, FusionOutput, ModelError, Placement};
use jtav_pipeline::{Embedding, FuseRequest, Fused, Judgement, Stage, StageError};
use jtav_schemas::{Contributions, DeadLetterReason, MoodTag, Probabilities};

type Output = Result<Fused, StageError>;

/// The CMF-AP of a checkpoint.
pub struct FusionBackend {
    network: FusionNetwork,
}

impl FusionBackend {
    /// Loads and warms the network on the calling thread.
    pub fn load(checkpoint: &Arc<Checkpoint>, placement: Placement) -> Result<Self, BackendError> {
        jtav_model::device::single_threaded();
        let network = FusionNetwork::from_checkpoint(checkpoint, placement).map_err(failure)?;
        network.warm_up().map_err(failure)?;
        Ok(Self { network })
    }

    /// Whether it answers sooner than an item is handed to another thread and back.
    pub fn answers_at_once(&self) -> bool {
        self.network.is_on_slices()
    }
}

impl Backend for FusionBackend {
    type Item = FuseRequest;
    type Output = Output;

    fn cost(&self, _: &FuseRequest) -> u64 {
        1
    }

    fn forward(&mut self, items: &[FuseRequest]) -> Result<Vec<Output>, BackendError> {
        let values = |vector: &Option<Embedding>| vector.as_ref().map(|vector| vector.values().to_vec());
        let inputs: Vec<FusionInput> = items
            .iter()
            .map(|item| FusionInput {
                text: values(&item.vectors.text),
                audio: values(&item.vectors.audio),
                image: values(&item.vectors.image),
            })
            .collect();
        Ok(self.network.fuse(&inputs).map_err(failure)?.into_iter().map(finish).collect())
    }
}

/// Checks what the network said: nothing that is not finite, and no probability outside 0 to 1, goes further.
fn finish(output: FusionOutput) -> Result<Fused, StageError> {
    let refuse = |message: String| StageError::permanent(Stage::Fusion, DeadLetterReason::NonFiniteOutput, message);
    let in_range = |probability: f32| (0.0..=1.0).contains(&probability);
    let judgement = judgement(output.judgement);
    judgement.probabilities.check().map_err(refuse)?;
    if !in_range(judgement.polarity) || !output.moods.iter().all(|(_, probability)| in_range(*probability)) {
        return Err(refuse(format!("probability {} is outside 0 to 1", judgement.polarity)));
    }
    if !(-1.0..=1.0).contains(&judgement.valence) {
        return Err(refuse(format!("valence {} is outside -1 to 1", judgement.valence)));
    }
    let u = Embedding::new(output.u).map_err(|error| refuse(error.to_string()))?;
    let mut moods: Vec<MoodTag> =
        output.moods.into_iter().map(|(tag, probability)| MoodTag { tag, probability }).collect();
    moods.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    let given = output.contributions;
    // Adding zero turns a negative zero, the share of a modality that is absent, into the zero that people expect.
    let contributions = Contributions {
        text: given.text + 0.0,
        audio: given.audio + 0.0,
        image: given.image + 0.0,
        interaction: given.interaction + 0.0,
    };
    Ok(Fused { u, judgement, moods, contributions: Some(contributions) })
}

fn judgement(given: jtav_model::Judgement) -> Judgement {
    let [negative, neutral, positive] = given.probabilities;
    Judgement {
        probabilities: Probabilities { negative, neutral, positive },
        polarity: given.polarity,
        valence: given.valence,
        certain_from: given.certain_from,
    }
}

fn failure(error: ModelError) -> BackendError {
    if error.is_fatal() { BackendError::Device(error.to_string()) } else { BackendError::Batch(error.to_string()) }
}

/// Answers at once with a fixed label; for load tests of everything else.
pub fn stub() -> SendBackend<FuseRequest, Output> {
    Box::new(StubBackend::new(|_: &FuseRequest| {
        let u = Embedding::new(vec![1.0; 600])
            .map_err(|error| StageError::permanent(Stage::Fusion, DeadLetterReason::NonFiniteOutput, error))?;
        let probabilities = Probabilities { negative: 0.2, neutral: 0.2, positive: 0.6 };
        let judgement = Judgement { probabilities, polarity: 0.75, valence: 0.4, certain_from: 0.5 };
        Ok(Fused { u, judgement, moods: Vec::new(), contributions: None })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(positive: f32, u: Vec<f32>) -> FusionOutput {
        FusionOutput {
            u,
            logit: 0.0,
            probability: positive,
            judgement: jtav_model::Judgement {
                probabilities: [0.75 - positive, 0.25, positive],
                polarity: positive / 0.75,
                valence: 2.0 * positive - 0.75,
                certain_from: 0.5,
            },
            moods: vec![("Q1".into(), 0.1), ("Q2".into(), 0.9)],
            contributions: jtav_model::Contributions::default(),
        }
    }

    #[test]
    fn an_output_that_is_not_finite_is_set_aside_and_never_published() {
        assert!(finish(output(0.5, vec![1.0])).is_ok());
        assert!(finish(output(f32::NAN, vec![1.0])).is_err());
        assert!(finish(output(1.5, vec![1.0])).is_err());
        assert!(finish(output(0.5, vec![f32::INFINITY])).is_err());
        assert!(finish(output(0.5, vec![0.0])).is_err());
        let mut sums_to_more = output(0.5, vec![1.0]);
        sums_to_more.judgement.probabilities[1] = 0.5;
        assert!(finish(sums_to_more).is_err());
        let mut beyond = output(0.5, vec![1.0]);
        beyond.judgement.valence = -1.5;
        assert!(finish(beyond).is_err());
    }

    #[test]
    fn moods_come_most_probable_first() {
        let fused = finish(output(0.5, vec![1.0])).unwrap();
        assert_eq!(fused.moods[0].tag, "Q2");
    }
}
