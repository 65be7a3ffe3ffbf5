//! jtav-image-encoder
