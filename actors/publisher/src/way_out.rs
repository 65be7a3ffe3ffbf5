use std::sync::{Mutex, PoisonError};

/// Whether the dead-letter topic takes what it is given; shared by all generations of a pipeline.
#[derive(Debug, Default)]
pub struct WayOut(Mutex<Option<String>>);

impl WayOut {
    /// Why it is closed, if the last letter was refused for good.
    pub fn refusal(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set(&self, refusal: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = refusal;
    }
}
