//! The rows of the paper's Table 1 that are no networks: doc2vec, and the logistic regression that judges extracted
//! vectors (docs/networks.md, "Heads").
//!
//! Both are plain arithmetic on the CPU and deterministic by seed.

mod doc2vec;
mod error;
mod logistic;
mod negative_sampling;

pub use doc2vec::{Doc2Vec, Doc2VecConfig};
pub use error::ClassicalError;
pub use logistic::LogisticRegression;
