//! jtav-publisher
