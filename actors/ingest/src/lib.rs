//! jtav-ingest
