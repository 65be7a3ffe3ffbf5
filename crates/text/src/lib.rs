//! Posts as people write them, made into words: pure, without networks and without statics that grow.
//!
//! Anyone who can post chooses the text, so every function here takes time and memory that grow with the text's length
//! and with nothing else.

pub mod language;
pub mod reading;
pub mod roles;
pub mod terminal;
pub mod vader;
