//! jtav-text-encoder
