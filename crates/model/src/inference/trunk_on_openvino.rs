//! The sentence encoder on OpenVINO, from word pieces to hidden states, as slices.

use jtav_engine::Precision;
use jtav_engine::onnx::{Dim, Element, Graph};
use jtav_engine::openvino::{Input, Library, Network};

use crate::error::ModelError;
use crate::networks::{EmbeddingsOnSlices, MiniLm};
use crate::passes::passes;
use crate::text::Pieces;
use crate::trunk::has_room;

/// Values of a piece in one layer.
const WIDTH: usize = MiniLm::WIDTH as usize;
/// Added to the score of what is no piece: its weight is 0 in f32.
const BEYOND: f32 = -1e9;

/// What the encoder says of one text.
pub(crate) struct TrunkRows {
    /// `[pieces, layers * 384]`: the layers that were asked for, side by side.
    pub layers: Vec<f32>,
    /// `[384]`: the mean of the last layer over all pieces.
    pub sentence: Vec<f32>,
}

/// [`Trunk`](crate::trunk::Trunk) on OpenVINO, for layers that include the last.
pub(crate) struct TrunkOnOpenVino {
    embeddings: EmbeddingsOnSlices,
    network: Network,
}

impl TrunkOnOpenVino {
    /// # Errors
    /// A graph that OpenVINO refuses.
    pub fn new(
        library: &Library,
        precision: Precision,
        network: &MiniLm,
        wanted: &[usize],
    ) -> Result<Self, ModelError> {
        let mut graph = Graph::new("trunk");
        let (batch, longest, width) = (Dim::Any("batch"), Dim::Any("longest"), Dim::Of(WIDTH));
        let x = graph.input("embedded", Element::F32, &[batch, longest, width]);
        let mask = graph.input("mask", Element::F32, &[batch, Dim::Of(1), Dim::Of(1), longest]);
        for (value, layer) in network.write_layers(&mut graph, &x, &mask, wanted)?.iter().zip(wanted) {
            graph.output(value, &format!("layer{layer}"), Element::F32, &[batch, longest, width]);
        }
        let network_of = library.compile(&graph.encode(), precision)?;
        Ok(Self { embeddings: network.embeddings_on_slices()?, network: network_of })
    }

    /// Any number of texts, in passes of like length; outputs in the order of the texts.
    pub fn encode(&mut self, texts: &[&Pieces]) -> Result<Vec<TrunkRows>, ModelError> {
        let lengths: Vec<usize> = texts.iter().map(|text| text.len()).collect();
        let mut rows: Vec<Option<TrunkRows>> = texts.iter().map(|_| None).collect();
        for pass in passes(&lengths, has_room) {
            let together: Vec<&Pieces> = pass.iter().map(|&text| texts[text]).collect();
            for (text, found) in pass.into_iter().zip(self.pass(&together)?) {
                rows[text] = Some(found);
            }
        }
        Ok(rows.into_iter().flatten().collect())
    }

    fn pass(&mut self, texts: &[&Pieces]) -> Result<Vec<TrunkRows>, ModelError> {
        let (batch, longest) = (texts.len(), texts.iter().map(|text| text.len()).max().unwrap_or(0));
        let mut x = vec![0.0; batch * longest * WIDTH];
        let mut mask = vec![BEYOND; batch * longest];
        for ((x, mask), text) in x.chunks_exact_mut(longest * WIDTH).zip(mask.chunks_exact_mut(longest)).zip(texts) {
            self.embeddings.fill(text, x)?;
            mask[..text.len()].fill(0.0);
        }
        let inputs: [(Input<'_>, &[usize]); 2] =
            [(Input::F32(&x), &[batch, longest, WIDTH]), (Input::F32(&mask), &[batch, 1, 1, longest])];
        let outputs = self.network.run(&inputs)?;
        let layers = outputs.iter().map(|output| output.values()).collect::<Result<Vec<_>, _>>()?;
        let of_text = |(at, text): (usize, &&Pieces)| {
            let values = at * longest * WIDTH..(at * longest + text.len()) * WIDTH;
            rows(&layers.iter().map(|layer| &layer[values.clone()]).collect::<Vec<_>>())
        };
        Ok(texts.iter().enumerate().map(of_text).collect())
    }
}

/// Of each layer `[pieces, 384]`.
fn rows(layers: &[&[f32]]) -> TrunkRows {
    let last = layers.last().copied().unwrap_or_default();
    let pieces = last.len() / WIDTH;
    let mut sentence = vec![0.0; WIDTH];
    for row in last.chunks_exact(WIDTH) {
        sentence.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
    sentence.iter_mut().for_each(|sum| *sum /= pieces.max(1) as f32);
    let mut together = Vec::with_capacity(layers.len() * last.len());
    for piece in 0..pieces {
        layers.iter().for_each(|layer| together.extend_from_slice(&layer[piece * WIDTH..][..WIDTH]));
    }
    TrunkRows { layers: together, sentence }
}
