//! jtav-media
