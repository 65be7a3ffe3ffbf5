//! EfficientNet-Lite0 as a graph.

use jtav_engine::onnx::{Graph, Value};

use super::{Block, Conv, EfficientNetLite0};
use crate::error::ModelError;
use crate::layers::ConvPlan;

impl EfficientNetLite0 {
    /// Adds the trunk as it is stored, all in f32: `x` `[batch, 3, side, side]`, normalised, to `[batch, 1280, side / 32, side / 32]`.
    pub(crate) fn write(&self, graph: &mut Graph, x: &Value) -> Result<Value, ModelError> {
        let mut x = self.stem.write(graph, "stem", x)?;
        for (index, block) in self.blocks.iter().enumerate() {
            x = block.write(graph, &format!("blocks.{index}"), &x)?;
        }
        self.head.write(graph, "head", &x)
    }
}

impl Block {
    fn write(&self, graph: &mut Graph, name: &str, x: &Value) -> Result<Value, ModelError> {
        let wide = match &self.expand {
            Some(expand) => expand.write(graph, &format!("{name}.expand"), x)?,
            None => x.clone(),
        };
        let filtered = self.depthwise.write(graph, &format!("{name}.depthwise"), &wide)?;
        let narrow = self.project.write(graph, &format!("{name}.project"), &filtered)?;
        Ok(if self.residual { graph.node("Add", &[&narrow, x], Vec::new()) } else { narrow })
    }
}

impl Conv {
    fn write(&self, graph: &mut Graph, name: &str, x: &Value) -> Result<Value, ModelError> {
        let (before, after) = self.padding;
        let plan = ConvPlan { stride: self.stride, before, after, groups: self.groups };
        let y = plan.write(graph, name, x, &self.weight, Some(&self.bias))?;
        if !self.relu6 {
            return Ok(y);
        }
        let (least, most) = (graph.number(0.0), graph.number(6.0));
        Ok(graph.node("Clip", &[&y, &least, &most], Vec::new()))
    }
}
