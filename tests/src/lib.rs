//! Scenarios across services, on real brokers and stores, and the checks that hold the repository to its own map. The
//! tests stand in `tests/`; what they share is in `jtav-testkit`; the fault matrix is [`chaos`], the reader of
//! citations [`citations`], the readers' side with everything real behind it [`readers`].

pub mod chaos;
pub mod citations;
pub mod readers;
