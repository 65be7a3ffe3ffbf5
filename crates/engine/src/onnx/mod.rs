//! Writes networks in the ONNX format (onnx.ai, operator set 20): a [`Graph`] is built node by node and encoded.
//!
//! What is written is what OpenVINO and ONNX Runtime read; a network has no control flow and no state in here.

mod graph;
mod messages;

pub use graph::{Attribute, Dim, Element, Graph, Value};
