use std::hash::{DefaultHasher, Hash, Hasher};

use actix::Addr;
use jtav_pipeline::{Admitted, RouterIntake};

use crate::actor::RouterActor;

/// The lanes as one intake: a post's id decides its lane, so one lane sees every record of a post.
#[derive(Clone)]
pub struct RouterLanes {
    lanes: Vec<Addr<RouterActor>>,
}

impl RouterLanes {
    /// At least one lane.
    pub fn new(lanes: Vec<Addr<RouterActor>>) -> Option<Self> {
        (!lanes.is_empty()).then_some(Self { lanes })
    }

    /// The lanes, to describe them.
    pub fn lanes(&self) -> &[Addr<RouterActor>] {
        &self.lanes
    }
}

impl RouterIntake for RouterLanes {
    fn admit(&self, post: Admitted) {
        let mut hasher = DefaultHasher::new();
        match &post.event {
            Ok(event) => event.post_id().hash(&mut hasher),
            // Nothing orders an unreadable record; spread them.
            Err(_) => post.record.source.offset.hash(&mut hasher),
        }
        let lane = (hasher.finish() % self.lanes.len() as u64) as usize;
        self.lanes[lane].admit(post);
    }
}
