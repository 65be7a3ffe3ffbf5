//! A network, node by node.

use std::collections::BTreeSet;

use prost::Message as _;

use super::messages::{
    AttributeMessage, Dimension, GraphMessage, Model, Node, OperatorSet, Shape, Size, Tensor, TensorType, Type,
    ValueInfo,
};

const IR_VERSION: i64 = 9;
const OPERATORS: i64 = 20;

/// What a value is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    F32,
    U8,
    I64,
}

impl Element {
    /// Its number in the format.
    fn code(self) -> i32 {
        match self {
            Self::F32 => 1,
            Self::U8 => 2,
            Self::I64 => 7,
        }
    }
}

/// A side of an input or output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dim {
    /// Always this.
    Of(usize),
    /// Whatever comes; sides of one name are equal.
    Any(&'static str),
}

/// What a node takes or gives, by its name in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value(String);

/// A setting of a node.
#[derive(Debug, Clone, PartialEq)]
pub enum Attribute {
    Float(&'static str, f32),
    Int(&'static str, i64),
    Ints(&'static str, Vec<i64>),
}

impl Attribute {
    fn message(self) -> AttributeMessage {
        let (mut message, name) = match self {
            Self::Float(name, float) => (AttributeMessage { float, kind: 1, ..Default::default() }, name),
            Self::Int(name, int) => (AttributeMessage { int, kind: 2, ..Default::default() }, name),
            Self::Ints(name, ints) => (AttributeMessage { ints, kind: 7, ..Default::default() }, name),
        };
        name.clone_into(&mut message.name);
        message
    }
}

/// A network that is being written.
pub struct Graph {
    message: GraphMessage,
    /// Inputs, outputs and constants by name; a file with two of one name is none.
    named: BTreeSet<String>,
    /// Numbers the values that nobody names.
    next: usize,
}

impl Graph {
    pub fn new(name: &str) -> Self {
        let message = GraphMessage { name: name.to_owned(), ..Default::default() };
        Self { message, named: BTreeSet::new(), next: 0 }
    }

    /// What the network is given.
    ///
    /// # Panics
    /// A name that stands in the graph already is a bug of the caller, here and below.
    pub fn input(&mut self, name: &str, element: Element, dims: &[Dim]) -> Value {
        self.claim(name);
        self.message.inputs.push(info(name, element, dims));
        Value(name.to_owned())
    }

    /// What the network gives; `value` is renamed to `name` in the file.
    pub fn output(&mut self, value: &Value, name: &str, element: Element, dims: &[Dim]) {
        self.claim(name);
        self.message.outputs.push(info(name, element, dims));
        self.message.nodes.push(Node {
            inputs: vec![value.0.clone()],
            outputs: vec![name.to_owned()],
            name: format!("Identity_{name}"),
            operator: "Identity".to_owned(),
            attributes: Vec::new(),
        });
    }

    /// Weights, row-major; as many as `dims` multiply to.
    pub fn weights(&mut self, name: &str, values: &[f32], dims: &[usize]) -> Value {
        debug_assert_eq!(values.len(), dims.iter().product::<usize>(), "{name}");
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name.to_owned(), Element::F32, bytes, dims)
    }

    /// One number.
    pub fn number(&mut self, value: f32) -> Value {
        let name = self.name("number");
        self.constant(name, Element::F32, value.to_le_bytes().to_vec(), &[])
    }

    /// A list of whole numbers: axes, shapes, places.
    pub fn places(&mut self, values: &[i64]) -> Value {
        let name = self.name("places");
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, Element::I64, bytes, &[values.len()])
    }

    fn constant(&mut self, name: String, element: Element, bytes: Vec<u8>, dims: &[usize]) -> Value {
        self.claim(&name);
        let dims = dims.iter().map(|&side| side as i64).collect();
        self.message.constants.push(Tensor { dims, element: element.code(), name: name.clone(), bytes });
        Value(name)
    }

    /// A node with one output.
    pub fn node(&mut self, operator: &str, inputs: &[&Value], attributes: Vec<Attribute>) -> Value {
        let name = self.name(operator);
        self.message.nodes.push(Node {
            inputs: inputs.iter().map(|value| value.0.clone()).collect(),
            outputs: vec![name.clone()],
            name: name.clone(),
            operator: operator.to_owned(),
            attributes: attributes.into_iter().map(Attribute::message).collect(),
        });
        Value(name)
    }

    fn claim(&mut self, name: &str) {
        assert!(self.named.insert(name.to_owned()), "Invariant: one value is called {name}");
    }

    fn name(&mut self, of: &str) -> String {
        self.next += 1;
        format!("{of}_{}", self.next)
    }

    /// The bytes of the file.
    pub fn encode(self) -> Vec<u8> {
        let operators = OperatorSet { domain: String::new(), version: OPERATORS };
        Model {
            ir_version: IR_VERSION,
            producer_name: "jtav".to_owned(),
            graph: Some(self.message),
            operator_sets: vec![operators],
        }
        .encode_to_vec()
    }
}

fn info(name: &str, element: Element, dims: &[Dim]) -> ValueInfo {
    let side = |dim: &Dim| Dimension {
        size: Some(match *dim {
            Dim::Of(side) => Size::Known(side as i64),
            Dim::Any(name) => Size::Named(name.to_owned()),
        }),
    };
    let shape = Shape { dims: dims.iter().map(side).collect() };
    let tensor = TensorType { element: element.code(), shape: Some(shape) };
    ValueInfo { name: name.to_owned(), kind: Some(Type { tensor: Some(tensor) }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "one value is called x")]
    fn two_values_of_one_name_are_a_bug() {
        let mut graph = Graph::new("g");
        let x = graph.input("x", Element::F32, &[Dim::Of(2)]);
        graph.output(&x, "x", Element::F32, &[Dim::Of(2)]);
    }

    /// Bytes that `onnx` 1.23 wrote of the same graph (`onnx.helper.make_model`, IR version 9, operator set 20); there,
    /// fields that are empty are left out, too.
    #[test]
    fn a_graph_is_written_as_onnx_itself_writes_it() {
        let mut graph = Graph::new("g");
        let x = graph.input("x", Element::F32, &[Dim::Any("batch"), Dim::Of(2)]);
        let w = graph.weights("w", &[1.0, -2.0], &[2]);
        let y = graph.node("Mul", &[&x, &w], Vec::new());
        graph.output(&y, "y", Element::F32, &[Dim::Any("batch"), Dim::Of(2)]);
        let expected: &[u8] = include_bytes!("../../tests/fixtures/mul.onnx");
        assert_eq!(graph.encode(), expected);
    }
}
