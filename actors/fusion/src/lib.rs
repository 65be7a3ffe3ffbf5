//! jtav-fusion
