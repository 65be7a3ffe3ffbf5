//! Where ingest hands posts over: the lanes of the generation that runs.

use std::sync::{PoisonError, RwLock};

use jtav_pipeline::{Admitted, RouterIntake};
use jtav_router::RouterLanes;

pub(crate) struct Intake(RwLock<RouterLanes>);

impl Intake {
    pub(crate) fn new(lanes: RouterLanes) -> Self {
        Self(RwLock::new(lanes))
    }

    /// The boxes are new.
    pub(crate) fn set(&self, lanes: RouterLanes) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = lanes;
    }
}

impl RouterIntake for Intake {
    fn admit(&self, post: Admitted) {
        self.0.read().unwrap_or_else(PoisonError::into_inner).admit(post);
    }
}
