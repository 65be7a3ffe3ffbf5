//! Whether the store answers: asked once a second, told from memory.

use std::sync::{Mutex, PoisonError};

use jtav_store::Store;

/// What the store's last answer was.
pub struct StoreHealth(Mutex<Option<String>>);

impl Default for StoreHealth {
    fn default() -> Self {
        Self(Mutex::new(Some("not asked yet".to_owned())))
    }
}

impl StoreHealth {
    /// Why it does not answer, if it does not.
    pub fn problem(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks.
    pub async fn ask(&self, store: &dyn Store) {
        let problem = store.ping().await.err().map(|error| error.to_string());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}
