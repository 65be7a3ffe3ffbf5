//! jtav-feed-simulator
