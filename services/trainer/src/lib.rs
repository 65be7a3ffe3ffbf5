//! jtav-trainer
