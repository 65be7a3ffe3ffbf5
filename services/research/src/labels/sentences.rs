//! Sentence vectors of the frozen encoder, untuned.

use jtav_model::text::{Pieces, WordPieces};
use jtav_model::trunk::{Trunk, TrunkOutput, TrunkPrecision};
use jtav_model::{Base, Bases, DeviceChoice};
use jtav_text::reading::Reader;
use tch::{Kind, Tensor};

/// Layers whose word vectors are averaged, beside each other.
const LAYERS: [usize; 2] = [4, 6];
/// Texts whose hidden states are held at a time, some 50 MB.
const CHUNK: usize = 256;

/// all-MiniLM-L6-v2 with the reader of posts in front.
pub struct Sentences {
    reader: Reader,
    pieces: WordPieces,
    trunk: Trunk,
}

/// The vectors of one text.
#[derive(Debug, Clone, PartialEq)]
pub struct SentenceVectors {
    /// Means over words (each the mean of its pieces) of the fourth and the sixth layer, 768 values.
    pub pools: Vec<f32>,
    /// Mean over all pieces of the last layer, 384 values: the vector of sentence-transformers.
    pub sentence: Vec<f32>,
}

impl Sentences {
    /// # Errors
    /// Base weights that are not there or not those that are expected.
    pub fn open(bases: &Bases, device: DeviceChoice) -> anyhow::Result<Self> {
        let trunk = Trunk::open(bases, device, TrunkPrecision::best(device, device.resolve()?))?;
        let pieces = WordPieces::open(bases, &Base::minilm_tokenizer())?;
        Ok(Self { reader: Reader::new(), pieces, trunk })
    }

    /// Vectors of the texts, in order; `done` is called for each chunk.
    ///
    /// # Errors
    /// A device fault.
    pub fn encode(&self, texts: &[String], mut done: impl FnMut()) -> anyhow::Result<Vec<SentenceVectors>> {
        let mut vectors = Vec::with_capacity(texts.len());
        for chunk in texts.chunks(CHUNK) {
            let pieces = |text: &String| {
                let words: Vec<String> = self.reader.read(text).words.into_iter().map(|word| word.text).collect();
                self.pieces.pieces(&words)
            };
            let pieces: Vec<Pieces> = chunk.iter().map(pieces).collect::<Result<_, _>>()?;
            let outputs = self.trunk.encode(&pieces.iter().collect::<Vec<_>>(), &LAYERS)?;
            for (pieces, output) in pieces.iter().zip(&outputs) {
                vectors.push(of_output(pieces, output)?);
            }
            done();
        }
        Ok(vectors)
    }

    /// How many times `done` is called for so many texts.
    pub fn chunks(texts: usize) -> usize {
        texts.div_ceil(CHUNK)
    }
}

fn of_output(pieces: &Pieces, output: &TrunkOutput) -> anyhow::Result<SentenceVectors> {
    let shares = word_shares(pieces);
    let weights = Tensor::f_from_slice(&shares)?.f_to_device(output.sentence.device())?;
    let pools =
        output.layers.iter().map(|layer| layer.f_transpose(0, 1)?.f_mv(&weights)).collect::<Result<Vec<_>, _>>()?;
    let values = |tensor: &Tensor| Vec::<f32>::try_from(tensor.f_to_kind(Kind::Float)?.f_contiguous()?);
    Ok(SentenceVectors { pools: values(&Tensor::f_cat(&pools, 0)?)?, sentence: values(&output.sentence)? })
}

/// What each piece counts in the mean over words: 1 over the pieces of its word and over the words. The enclosing pieces count
/// nothing; of a text without a word they count all.
fn word_shares(pieces: &Pieces) -> Vec<f32> {
    let words: Vec<Option<usize>> = pieces.words().collect();
    let runs: Vec<&[Option<usize>]> = words.chunk_by(|a, b| a == b).collect();
    let whole = runs.iter().filter(|run| run[0].is_some()).count();
    if whole == 0 {
        return vec![1.0 / words.len() as f32; words.len()];
    }
    let share = |run: &&[Option<usize>]| {
        let each = if run[0].is_some() { 1.0 / (run.len() * whole) as f32 } else { 0.0 };
        vec![each; run.len()]
    };
    runs.iter().flat_map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Set-up puts the weights there; their absence is no reason to skip a test.
    #[test]
    fn each_word_counts_once_however_many_pieces_it_has_and_neighbours_change_nothing() {
        let sentences = Sentences::open(&Bases::new(None, None), DeviceChoice::Cpu).unwrap();
        let texts = ["A thoroughly unputdownable film", "", "ok"].map(str::to_owned);
        let shares = word_shares(&sentences.pieces.pieces(&["a", "unputdownable"]).unwrap());
        assert!(shares.len() > 4 && (shares[1] - 0.5).abs() < 1e-6, "{shares:?}");
        assert!(shares[0] == 0.0 && (shares.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{shares:?}");
        let mut chunks = 0;
        let together = sentences.encode(&texts, || chunks += 1).unwrap();
        assert_eq!(chunks, Sentences::chunks(texts.len()));
        for (text, vectors) in texts.iter().zip(&together) {
            assert_eq!((vectors.pools.len(), vectors.sentence.len()), (768, 384));
            let alone = &sentences.encode(std::slice::from_ref(text), || ()).unwrap()[0];
            let cosine = crate::labels::semantic::cosine(&[alone.pools.clone(), vectors.pools.clone()])(0, 1);
            assert!(cosine > 0.999, "{text:?}: {cosine}");
        }
    }
}
