//! MiniLM as a graph.

use jtav_engine::onnx::{Attribute, Graph, Value};
use tch::{Kind, Tensor};

use super::{EPSILON, HEADS, Layer, MiniLm, POSITIONS, VOCABULARY};
use crate::error::ModelError;
use crate::layers::{LayerNorm, Linear};
use crate::parameters::to_vec;

impl MiniLm {
    /// Adds the layers, all in f32: `x` `[batch, longest, 384]`, embedded, and `mask` `[batch, 1, 1, longest]`, 0 where a text has a
    /// piece and a number far below 0 where it has none, to `[batch, longest, 384]` of each layer in `wanted` (counted from 1,
    /// ascending). What stands beyond a text's length means nothing.
    pub(crate) fn write_layers(
        &self,
        graph: &mut Graph,
        x: &Value,
        mask: &Value,
        wanted: &[usize],
    ) -> Result<Vec<Value>, ModelError> {
        let mut x = x.clone();
        let mut kept = Vec::with_capacity(wanted.len());
        let last = wanted.iter().copied().max().unwrap_or(0);
        for (at, layer) in self.layers.iter().enumerate().take(last) {
            x = layer.write(graph, &format!("layer.{at}"), &x, mask)?;
            if wanted.contains(&(at + 1)) {
                kept.push(x.clone());
            }
        }
        Ok(kept)
    }

    /// Adds the embeddings: `ids` `[batch, longest]` int64 to `[batch, longest, 384]`.
    pub(crate) fn write_embeddings(&self, graph: &mut Graph, ids: &Value) -> Result<Value, ModelError> {
        let width = Self::WIDTH as usize;
        let table = to_vec(&self.words)?;
        let table = graph.weights("words", &table, &[VOCABULARY as usize, width]);
        let words = graph.node("Gather", &[&table, ids], vec![Attribute::Int("axis", 0)]);
        // The type of a post's only sentence is added to every position.
        let places = self.positions.f_add(&self.types.f_narrow(0, 0, 1)?)?;
        let places = graph.weights("places", &to_vec(&places)?, &[POSITIONS as usize, width]);
        let shape = graph.node("Shape", &[ids], vec![Attribute::Int("start", 1), Attribute::Int("end", 2)]);
        let (first, axis) = (graph.places(&[0]), graph.places(&[0]));
        let places = graph.node("Slice", &[&places, &first, &shape, &axis], Vec::new());
        let sum = graph.node("Add", &[&words, &places], Vec::new());
        write_norm(&self.norm, graph, "norm", &sum)
    }
}

impl Layer {
    fn write(&self, graph: &mut Graph, name: &str, x: &Value, mask: &Value) -> Result<Value, ModelError> {
        let attended = self.write_attention(graph, name, x, mask)?;
        let merged = write_linear(&self.merge, graph, &format!("{name}.merge"), &attended)?;
        let sum = graph.node("Add", &[&merged, x], Vec::new());
        let x = write_norm(&self.norm, graph, &format!("{name}.norm"), &sum)?;
        let widened = write_linear(&self.widen, graph, &format!("{name}.widen"), &x)?;
        let bent = graph.node("Gelu", &[&widened], Vec::new());
        let narrowed = write_linear(&self.narrow, graph, &format!("{name}.narrow"), &bent)?;
        let sum = graph.node("Add", &[&narrowed, &x], Vec::new());
        write_norm(&self.last_norm, graph, &format!("{name}.last_norm"), &sum)
    }

    /// Query, key and value by one product, `[3, batch, heads, longest, width of a head]`.
    fn write_attention(&self, graph: &mut Graph, name: &str, x: &Value, mask: &Value) -> Result<Value, ModelError> {
        let of = |pick: fn(&Linear) -> &Tensor| self.projections.iter().map(pick).collect::<Vec<_>>();
        let (weights, biases) = (of(|linear| &linear.weight), of(|linear| &linear.bias));
        let together = Linear { weight: Tensor::f_cat(&weights, 0)?, bias: Tensor::f_cat(&biases, 0)? };
        let projected = write_linear(&together, graph, &format!("{name}.projections"), x)?;
        let of_head = MiniLm::WIDTH / HEADS;
        let shape = graph.places(&[0, 0, 3, HEADS, of_head]);
        let split = graph.node("Reshape", &[&projected, &shape], Vec::new());
        let order = Attribute::Ints("perm", vec![2, 0, 3, 1, 4]);
        let split = graph.node("Transpose", &[&split], vec![order]);
        let mut part = |at: i64| {
            let at = graph.places(&[at]);
            let part = graph.node("Gather", &[&split, &at], vec![Attribute::Int("axis", 0)]);
            let axis = graph.places(&[0]);
            graph.node("Squeeze", &[&part, &axis], Vec::new())
        };
        let (query, key, value) = (part(0), part(1), part(2));
        let key = graph.node("Transpose", &[&key], vec![Attribute::Ints("perm", vec![0, 1, 3, 2])]);
        let scores = graph.node("MatMul", &[&query, &key], Vec::new());
        let scale = graph.number((of_head as f32).sqrt().recip());
        let scores = graph.node("Mul", &[&scores, &scale], Vec::new());
        let scores = graph.node("Add", &[&scores, mask], Vec::new());
        let weights = graph.node("Softmax", &[&scores], vec![Attribute::Int("axis", -1)]);
        let attended = graph.node("MatMul", &[&weights, &value], Vec::new());
        let attended = graph.node("Transpose", &[&attended], vec![Attribute::Ints("perm", vec![0, 2, 1, 3])]);
        let shape = graph.places(&[0, 0, MiniLm::WIDTH]);
        Ok(graph.node("Reshape", &[&attended, &shape], Vec::new()))
    }
}

fn write_linear(linear: &Linear, graph: &mut Graph, name: &str, x: &Value) -> Result<Value, ModelError> {
    let (outputs, inputs) = linear.weight.size2()?;
    let weight = linear.weight.f_to_kind(Kind::Float)?.f_transpose(0, 1)?;
    let weight = graph.weights(&format!("{name}.weight"), &to_vec(&weight)?, &[inputs as usize, outputs as usize]);
    let bias = graph.weights(&format!("{name}.bias"), &to_vec(&linear.bias)?, &[outputs as usize]);
    let product = graph.node("MatMul", &[x, &weight], Vec::new());
    Ok(graph.node("Add", &[&product, &bias], Vec::new()))
}

fn write_norm(norm: &LayerNorm, graph: &mut Graph, name: &str, x: &Value) -> Result<Value, ModelError> {
    let width = [MiniLm::WIDTH as usize];
    let weight = graph.weights(&format!("{name}.weight"), &to_vec(&norm.weight)?, &width);
    let bias = graph.weights(&format!("{name}.bias"), &to_vec(&norm.bias)?, &width);
    let attributes = vec![Attribute::Int("axis", -1), Attribute::Float("epsilon", EPSILON as f32)];
    Ok(graph.node("LayerNormalization", &[x, &weight, &bias], attributes))
}
