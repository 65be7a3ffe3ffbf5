//! The image network on OpenVINO, from bytes to vectors, one picture at a time: activations of one stay in the caches, and nothing
//! has to be made ready for another number of them.

use jtav_engine::Precision;
use jtav_engine::onnx::{Attribute, Dim, Element, Graph, Value};
use jtav_engine::openvino::{Input, Library, Network, Output};

use crate::error::ModelError;
use crate::networks::{EfficientNetLite0, ImageHead, ImageHeadOnSlices, Kernels};
use crate::vectors::{Encoded, IMAGE_SIDE, Normalisation, Rgb224};

const CELLS_PER_SIDE: usize = IMAGE_SIDE / 32;

/// EfficientNet-Lite0 and its head.
pub(super) struct PictureOnOpenVino {
    /// In order; the first output of each is what the next one takes.
    parts: Vec<Part>,
    head: ImageHeadOnSlices,
}

/// A network, and the shape of what it takes.
struct Part {
    network: Network,
    takes: Vec<usize>,
}

impl PictureOnOpenVino {
    /// In bf16 the first blocks and the head stay in f32, as on libtorch.
    ///
    /// # Errors
    /// A graph that OpenVINO refuses.
    pub fn new(
        library: &Library,
        precision: Precision,
        backbone: &EfficientNetLite0,
        head: &ImageHead,
    ) -> Result<Self, ModelError> {
        let mut graph = Graph::new("picture");
        let side = Dim::Of(IMAGE_SIDE);
        let pixels = graph.input("pixels", Element::U8, &[Dim::Of(1), side, side, Dim::Of(3)]);
        let x = write_normalisation(&mut graph, &pixels, &Normalisation::LITE);
        let mut parts = Vec::new();
        let mut takes = vec![1, IMAGE_SIDE, IMAGE_SIDE, 3];
        let features = match precision {
            Precision::F32 => backbone.write(&mut graph, &x)?,
            Precision::Bf16 => {
                let x = backbone.write_exact(&mut graph, &x)?;
                let (channels, reduction) = EfficientNetLite0::EXACT;
                let mut next = |graph: &mut Graph, value: &Value, shape: [usize; 4], precision| {
                    graph.output(value, "given", Element::F32, &shape.map(Dim::Of));
                    let graph_of_part = std::mem::replace(graph, Graph::new("picture"));
                    let network = library.compile(&graph_of_part.encode(), precision)?;
                    parts.push(Part { network, takes: std::mem::replace(&mut takes, shape.to_vec()) });
                    Ok::<_, ModelError>(graph.input("taken", Element::F32, &shape.map(Dim::Of)))
                };
                let x = next(
                    &mut graph,
                    &x,
                    [1, channels, IMAGE_SIDE / reduction, IMAGE_SIDE / reduction],
                    Precision::F32,
                )?;
                let x = backbone.write_rest(&mut graph, &x, Kernels::KeepingSums)?;
                let channels = EfficientNetLite0::CHANNELS as usize;
                next(&mut graph, &x, [1, channels, CELLS_PER_SIDE, CELLS_PER_SIDE], Precision::Bf16)?
            }
        };
        let [pooled, said] = head.write(&mut graph, &features)?;
        let head = head.on_slices()?;
        let (one, cells) = (Dim::Of(1), Dim::Of(CELLS_PER_SIDE));
        graph.output(&pooled, "pooled", Element::F32, &[one, Dim::Of(head.channels()), one, one]);
        graph.output(&said, "said", Element::F32, &[one, one, cells, cells]);
        parts.push(Part { network: library.compile(&graph.encode(), Precision::F32)?, takes });
        Ok(Self { parts, head })
    }

    /// Vectors and attention over 7 x 7 cells, in order.
    pub fn encode(&mut self, pictures: &[Rgb224]) -> Result<Vec<Encoded>, ModelError> {
        pictures.iter().map(|picture| self.encode_one(picture)).collect()
    }

    fn encode_one(&mut self, picture: &Rgb224) -> Result<Encoded, ModelError> {
        let mut outputs: Vec<Output> = Vec::new();
        for Part { network, takes } in &mut self.parts {
            let input = match outputs.first() {
                None => Input::U8(picture.as_bytes()),
                Some(x) => Input::F32(x.values()?),
            };
            outputs = network.run(&[(input, takes)])?;
        }
        let [pooled, said] = outputs.as_slice() else {
            return Err(ModelError::Input(format!("{} outputs of a picture, expected 2", outputs.len())));
        };
        Ok(self.head.forward(pooled.values()?, said.values()?))
    }
}

/// `[batch, side, side, 3]` bytes to `[batch, 3, side, side]`, normalised.
pub(crate) fn write_normalisation(graph: &mut Graph, pixels: &Value, by: &Normalisation) -> Value {
    let channels = [1, 3, 1, 1];
    let floats = graph.node("Cast", &[pixels], vec![Attribute::Int("to", 1)]);
    let turned = graph.node("Transpose", &[&floats], vec![Attribute::Ints("perm", vec![0, 3, 1, 2])]);
    let scale = graph.weights("scale", &by.deviation.map(|deviation| 1.0 / (255.0 * deviation)), &channels);
    let shift: [f32; 3] = std::array::from_fn(|channel| -by.mean[channel] / by.deviation[channel]);
    let shift = graph.weights("shift", &shift, &channels);
    let scaled = graph.node("Mul", &[&turned, &scale], Vec::new());
    graph.node("Add", &[&scaled, &shift], Vec::new())
}
