//! jtav-feed-processor
