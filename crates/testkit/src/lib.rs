//! jtav-testkit
