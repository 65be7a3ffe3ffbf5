//! jtav-tests
