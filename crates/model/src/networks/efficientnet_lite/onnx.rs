//! EfficientNet-Lite0 as a graph.

use jtav_engine::onnx::{Graph, Value};

use super::{Block, Conv, EXACT_BLOCKS, EfficientNetLite0, rounded_keeping_sums};
use crate::error::ModelError;
use crate::layers::ConvPlan;

impl EfficientNetLite0 {
    /// Adds the trunk as it is stored, all in f32: `x` `[batch, 3, side, side]`, normalised, to `[batch, 1280, side / 32, side / 32]`.
    pub(crate) fn write(&self, graph: &mut Graph, x: &Value) -> Result<Value, ModelError> {
        let x = self.write_exact(graph, x)?;
        self.write_rest(graph, &x, Kernels::AsStored)
    }

    /// Adds what computes in f32 whatever the rest does: `x` as above to `[batch, 24, side / 4, side / 4]`.
    pub(crate) fn write_exact(&self, graph: &mut Graph, x: &Value) -> Result<Value, ModelError> {
        let mut x = self.stem.write(graph, "stem", x, Kernels::AsStored)?;
        for (index, block) in self.blocks.iter().enumerate().take(EXACT_BLOCKS) {
            x = block.write(graph, &format!("blocks.{index}"), &x, Kernels::AsStored)?;
        }
        Ok(x)
    }

    /// Adds what goes on from there.
    pub(crate) fn write_rest(&self, graph: &mut Graph, x: &Value, kernels: Kernels) -> Result<Value, ModelError> {
        let mut x = x.clone();
        for (index, block) in self.blocks.iter().enumerate().skip(EXACT_BLOCKS) {
            x = block.write(graph, &format!("blocks.{index}"), &x, kernels)?;
        }
        self.head.write(graph, "head", &x, kernels)
    }
}

/// What is written of kernels of one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernels {
    AsStored,
    /// Rounded to bf16, for who computes in it: see [`super::round_keeping_sums`].
    KeepingSums,
}

impl Block {
    fn write(&self, graph: &mut Graph, name: &str, x: &Value, kernels: Kernels) -> Result<Value, ModelError> {
        let wide = match &self.expand {
            Some(expand) => expand.write(graph, &format!("{name}.expand"), x, kernels)?,
            None => x.clone(),
        };
        let filtered = self.depthwise.write(graph, &format!("{name}.depthwise"), &wide, kernels)?;
        let narrow = self.project.write(graph, &format!("{name}.project"), &filtered, kernels)?;
        Ok(if self.residual { graph.node("Add", &[&narrow, x], Vec::new()) } else { narrow })
    }
}

impl Conv {
    fn write(&self, graph: &mut Graph, name: &str, x: &Value, kernels: Kernels) -> Result<Value, ModelError> {
        let weight = match kernels == Kernels::KeepingSums && self.groups > 1 {
            true => rounded_keeping_sums(&self.weight)?,
            false => self.weight.shallow_clone(),
        };
        let (before, after) = self.padding;
        let plan = ConvPlan { stride: self.stride, before, after, groups: self.groups };
        let y = plan.write(graph, name, x, &weight, Some(&self.bias))?;
        if !self.relu6 {
            return Ok(y);
        }
        let (least, most) = (graph.number(0.0), graph.number(6.0));
        Ok(graph.node("Clip", &[&y, &least, &most], Vec::new()))
    }
}
