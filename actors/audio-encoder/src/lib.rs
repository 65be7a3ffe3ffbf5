//! jtav-audio-encoder
