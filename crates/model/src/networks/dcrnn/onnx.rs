//! DCRNN's convolutions as a graph.

use jtav_engine::onnx::{Attribute, Graph, Value};

use super::{Dcrnn, DenseBlock, REDUCED_BINS};
use crate::error::ModelError;
use crate::layers::BatchNorm;

impl Dcrnn {
    /// Adds the convolutional part: `x` `[segments, 1, 215, 96]`, standardised, to `[segments, 27, 4 * reduced channels]`.
    pub(crate) fn write(&self, graph: &mut Graph, x: &Value) -> Result<Value, ModelError> {
        let stem = self.stem.fold(&self.stem_norm)?.write(graph, "conv0", x)?;
        let stem = graph.node("Relu", &[&stem], Vec::new());
        let pooling = vec![
            Attribute::Ints("kernel_shape", vec![4, 4]),
            Attribute::Ints("strides", vec![2, 2]),
            Attribute::Ints("pads", vec![1, 1, 1, 1]),
        ];
        let pooled = graph.node("MaxPool", &[&stem], pooling);
        let block1 = self.block1.write(graph, "denseblock1", &pooled)?;
        let bent = write_norm(&self.transition_norm, graph, "transition1.norm", &block1)?;
        let bent = graph.node("Relu", &[&bent], Vec::new());
        let transition = self.transition.write(graph, "transition1.conv", &bent)?;
        let halving = vec![Attribute::Ints("kernel_shape", vec![2, 2]), Attribute::Ints("strides", vec![2, 2])];
        let halved = graph.node("AveragePool", &[&transition], halving);
        let block2 = self.block2.write(graph, "denseblock2", &halved)?;
        let normed = write_norm(&self.reduce_norm, graph, "reduce.norm", &block2)?;
        let reduced = self.reduce.write(graph, "reduce.conv", &normed)?;
        let turned = graph.node("Transpose", &[&reduced], vec![Attribute::Ints("perm", vec![0, 2, 3, 1])]);
        let shape = graph.places(&[0, 0, self.sequence_width() as i64]);
        Ok(graph.node("Reshape", &[&turned, &shape], Vec::new()))
    }

    /// Values of a step that the recurrent part is given.
    pub(crate) fn sequence_width(&self) -> usize {
        (self.reduce.outputs() * REDUCED_BINS) as usize
    }
}

impl DenseBlock {
    fn write(&self, graph: &mut Graph, name: &str, x: &Value) -> Result<Value, ModelError> {
        let mut features = x.clone();
        for (at, (norm1, conv1, norm2, conv2)) in self.layers.iter().enumerate() {
            let name = format!("{name}.denselayer{}", at + 1);
            let bent = write_norm(norm1, graph, &format!("{name}.norm1"), &features)?;
            let bent = graph.node("Relu", &[&bent], Vec::new());
            let inner = conv1.fold(norm2)?.write(graph, &format!("{name}.conv1"), &bent)?;
            let inner = graph.node("Relu", &[&inner], Vec::new());
            let grown = conv2.write(graph, &format!("{name}.conv2"), &inner)?;
            features = graph.node("Concat", &[&features, &grown], vec![Attribute::Int("axis", 1)]);
        }
        Ok(features)
    }
}

/// A normalisation that no convolution stands before.
fn write_norm(norm: &BatchNorm, graph: &mut Graph, name: &str, x: &Value) -> Result<Value, ModelError> {
    let (scale, shift) = norm.on_slices()?;
    let channels = [1, scale.len(), 1, 1];
    let scale = graph.weights(&format!("{name}.scale"), &scale, &channels);
    let shift = graph.weights(&format!("{name}.shift"), &shift, &channels);
    let scaled = graph.node("Mul", &[x, &scale], Vec::new());
    Ok(graph.node("Add", &[&scaled, &shift], Vec::new()))
}
