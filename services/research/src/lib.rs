//! The paper's networks and their rivals, and the tables that compare them. Nothing here serves: `jtav run` is built
//! without it.
//!
//! * [`zoo`]: the networks of the profiles `paper` and `authors-code`, so that every row of the paper's Table 1 has its
//!   own; [`classical`]: the rows that are no networks; [`words`]: word vectors that others trained.
//! * [`table`]: `jtav table sentiment` and `congruence`; [`retrieval`]: `jtav table retrieval`, image2song.
//! * [`labels`]: `jtav table labels`, what labels are worth beside rivals.
//! * [`deletion`]: whether the explanations of the networks that serve survive a deletion test.
//!
//! The trainer of what serves (`jtav-trainer`) lends data packs, features, metrics and the fitting loop.

pub mod classical;
pub mod deletion;
pub mod labels;
pub mod retrieval;
mod sound;
pub mod table;
pub mod words;
pub mod zoo;
