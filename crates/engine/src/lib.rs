//! Kernels and engines for CPUs, beside libtorch: plain slices in, plain values out.
//!
//! - [`onnx`] writes a network as the bytes of an ONNX file, for the engine here and for whoever has one of their own.
//! - [`openvino`] runs such bytes on one thread. Its libraries are opened where set-up put them ([`openvino::Library::open`]);
//!   nothing is linked, and a machine without them is a value that says why, not a failure (ADR 53).
//! - [`dense`], [`bend`] and [`gru`] are what small batches want: matrices that were laid out once, and steps that allocate nothing.
//!
//! This is OpenVINO's home (ADR 44). No network is known here; what they are made of is `jtav-model`'s.

pub mod bend;
pub mod dense;
mod error;
pub mod gru;
pub mod onnx;
pub mod openvino;
mod precision;

pub use error::EngineError;
pub use precision::Precision;
