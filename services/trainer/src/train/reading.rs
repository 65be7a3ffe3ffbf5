//! The text network on rated texts: what it reads, the networks that judge texts they have not seen, and the one that stays.

use anyhow::Context;
use jtav_model::word_vectors::WordVectors;
use jtav_model::{Dimensions, ModelError, Ngrams, TextFrontEnd};
use jtav_training::three_way::HeldOut;
use jtav_training::{EpochReport, TextConfig, TextExample, TextFeatures, TextTarget, TextTrainer};

use crate::progress::Progress;
use crate::texts::{Origin, Pool, TrainingText};

/// Texts whose words are looked up at a time.
const CHUNK: usize = 64;

/// The texts of a run as the network reads them.
pub(super) struct Reading {
    pool: Pool,
    /// In the order of the pool's texts. A text without a word is left out of all epochs.
    examples: Vec<TextExample>,
    /// Position in `examples` of each text of the pool.
    places: Vec<Option<usize>>,
    /// The sentence encoder's vectors of the rated texts, `[384]` each; empty without one.
    pub sentences: Vec<Vec<f32>>,
}

/// How the network is trained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ReadingPlan {
    pub config: TextConfig,
    pub dimensions: Dimensions,
    pub epochs: usize,
    pub seed: u64,
}

impl Reading {
    /// Looks the words of every text up, once for all epochs and folds.
    ///
    /// # Errors
    /// A device fault.
    pub fn new(
        pool: Pool,
        front_end: &TextFrontEnd,
        words: &WordVectors,
        progress: &dyn Progress,
    ) -> anyhow::Result<Self> {
        let texts = pool.texts();
        progress.start("word vectors", texts.len() as u64);
        let (mut examples, mut places, mut sentences) = (Vec::new(), Vec::new(), Vec::new());
        for chunk in texts.chunks(CHUNK) {
            let inputs = chunk.iter().map(|text| front_end.input(&text.parts)).collect::<Result<Vec<_>, _>>()?;
            let found: Vec<&_> = inputs.iter().flatten().collect();
            let mut features = words.of(&found).context("looking words up")?.into_iter();
            for (text, input) in chunk.iter().zip(&inputs) {
                let Some((input, features)) = input.as_ref().and_then(|input| Some((input, features.next()?))) else {
                    places.push(None);
                    continue;
                };
                if let Some(sentence) = features.sentence.as_ref().filter(|_| text.origin == Origin::Rated) {
                    sentences.push(Vec::<f32>::try_from(sentence).context("a sentence's vector")?);
                }
                places.push(Some(examples.len()));
                let target = TextTarget { votes: text.votes, valence: text.mean };
                examples.push(TextExample { features: TextFeatures::new(input, &features)?, target });
            }
            progress.advance(chunk.len() as u64);
        }
        progress.finish(&format!("{} texts, {} without a word", texts.len(), texts.len() - examples.len()));
        Ok(Self { pool, examples, places, sentences })
    }

    /// Whether there is no text that an epoch can read.
    pub fn is_empty(&self) -> bool {
        self.examples.is_empty()
    }

    /// A network trained on everything but what the held-out fold has a part in.
    ///
    /// # Errors
    /// A loss that diverges, a device fault.
    pub fn train(
        &self,
        plan: &ReadingPlan,
        held_out: Option<u8>,
        mut on_epoch: impl FnMut(&EpochReport),
    ) -> anyhow::Result<TextTrainer> {
        let mut trainer = TextTrainer::new(plan.config, plan.dimensions, plan.seed)?;
        if plan.dimensions.ngram_buckets > 0 {
            trainer.fit_bag(&self.bag_examples(held_out)).context("fitting the bag of n-grams")?;
        }
        let of_epoch = |epoch| -> Vec<usize> {
            self.pool.epoch(epoch, plan.seed, held_out).into_iter().filter_map(|at| self.places[at]).collect()
        };
        let epochs: Vec<Vec<usize>> = (0..plan.epochs).map(of_epoch).collect();
        let heard = |report: &EpochReport| {
            on_epoch(report);
            if report.loss.is_finite() { Ok(()) } else { Err(ModelError::Torch("training diverged".to_owned())) }
        };
        trainer.fit(&self.examples, &epochs, heard)?;
        Ok(trainer)
    }

    /// The rated texts of a fold with what `trainer`, which has not seen them, says of them.
    ///
    /// # Errors
    /// A device fault.
    pub fn held_out(&self, trainer: &TextTrainer, fold: u8) -> anyhow::Result<Vec<HeldOut>> {
        let examples: Vec<&TextExample> =
            self.rated().filter(|(text, _)| text.fold == Some(fold)).map(|(_, example)| example).collect();
        let features: Vec<&TextFeatures> = examples.iter().map(|example| &example.features).collect();
        let said = trainer.predict(&features)?;
        Ok(examples.iter().zip(said).map(|(example, logits)| HeldOut { logits, votes: example.target.votes }).collect())
    }

    /// Texts on which raters leaned to one side, as the bag counts them.
    fn bag_examples(&self, held_out: Option<u8>) -> Vec<(&Ngrams, bool)> {
        let is_read = |text: &TrainingText| text.fold.is_none() || text.fold != held_out;
        let leaning = self.rated().filter(|(text, _)| is_read(text) && text.mean.abs() > 0.125);
        leaning.map(|(text, example)| (example.features.ngrams(), text.mean > 0.0)).collect()
    }

    fn rated(&self) -> impl Iterator<Item = (&TrainingText, &TextExample)> {
        let texts = self.pool.texts().iter().zip(&self.places);
        let rated = texts.filter(|(text, _)| text.origin == Origin::Rated);
        rated.filter_map(|(text, place)| Some((text, &self.examples[(*place)?])))
    }
}
