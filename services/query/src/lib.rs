//! The reader's side: the parts that touch strangers' media and the networks.

pub mod judge;
pub mod media_room;
