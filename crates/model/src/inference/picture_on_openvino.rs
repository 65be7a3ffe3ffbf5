//! The image network on OpenVINO, from bytes to vectors, one picture at a time: activations of one stay in the caches, and nothing
//! has to be made ready for another number of them.

use jtav_engine::onnx::{Attribute, Dim, Element, Graph, Value};
use jtav_engine::openvino::{Input, Library, Network, Precision};

use crate::error::ModelError;
use crate::networks::{EfficientNetLite0, ImageHead, ImageHeadOnSlices};
use crate::vectors::{Encoded, IMAGE_SIDE, Normalisation, Rgb224};

/// EfficientNet-Lite0 and its head.
pub(super) struct PictureOnOpenVino {
    network: Network,
    head: ImageHeadOnSlices,
}

impl PictureOnOpenVino {
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
        let features = backbone.write(&mut graph, &x)?;
        let [pooled, said] = head.write(&mut graph, &features)?;
        let head = head.on_slices()?;
        let (one, cells) = (Dim::Of(1), Dim::Of(IMAGE_SIDE / 32));
        graph.output(&pooled, "pooled", Element::F32, &[one, Dim::Of(head.channels()), one, one]);
        graph.output(&said, "said", Element::F32, &[one, one, cells, cells]);
        Ok(Self { network: library.compile(&graph.encode(), precision)?, head })
    }

    /// Vectors and attention over 7 x 7 cells, in order.
    pub fn encode(&mut self, pictures: &[Rgb224]) -> Result<Vec<Encoded>, ModelError> {
        let encode = |picture: &Rgb224| {
            let input = (Input::U8(picture.as_bytes()), &[1, IMAGE_SIDE, IMAGE_SIDE, 3][..]);
            let outputs = self.network.run(&[input])?;
            let [pooled, said] = outputs.as_slice() else {
                return Err(ModelError::Input(format!("{} outputs of a picture, expected 2", outputs.len())));
            };
            Ok(self.head.forward(pooled.values()?, said.values()?))
        };
        pictures.iter().map(encode).collect()
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
