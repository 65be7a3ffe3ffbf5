use std::sync::Arc;

/// A network on one thread. It is built on the thread that runs it and never leaves it.
pub trait Backend: 'static {
    type Item: Send + 'static;
    type Output: Send + 'static;

    /// What one item costs in a batch, in the unit of [`crate::BatchLimits::max_cost`] (tokens, frames, pixels).
    fn cost(&self, item: &Self::Item) -> u64;

    /// Runs a batch; the answers are in the order of the items, one each. Called within `catch_unwind`.
    fn forward(&mut self, items: &[Self::Item]) -> Result<Vec<Self::Output>, BackendError>;
}

/// A backend whose network is chosen at run time.
pub type BoxedBackend<I, O> = Box<dyn Backend<Item = I, Output = O>>;

impl<I: Send + 'static, O: Send + 'static> Backend for BoxedBackend<I, O> {
    type Item = I;
    type Output = O;

    fn cost(&self, item: &I) -> u64 {
        (**self).cost(item)
    }

    fn forward(&mut self, items: &[I]) -> Result<Vec<O>, BackendError> {
        (**self).forward(items)
    }
}

/// The same, of one that may be handed from thread to thread.
pub type SendBackend<I, O> = Box<dyn Backend<Item = I, Output = O> + Send>;

impl<I: Send + 'static, O: Send + 'static> Backend for SendBackend<I, O> {
    type Item = I;
    type Output = O;

    fn cost(&self, item: &I) -> u64 {
        (**self).cost(item)
    }

    fn forward(&mut self, items: &[I]) -> Result<Vec<O>, BackendError> {
        (**self).forward(items)
    }
}

/// Why a batch failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BackendError {
    /// An item of the batch, or the batch as such; halving finds the guilty one.
    #[error("batch failed: {0}")]
    Batch(String),
    /// The device: after a device-side assertion no later call can succeed (pytorch #17425).
    #[error("device failed: {0}")]
    Device(String),
}

impl BackendError {
    /// A batch may pass in halves; a dead device stays dead.
    pub fn is_retryable(&self) -> bool {
        matches!(self, BackendError::Batch(_))
    }
}

/// Called once when a device fails for good; the process exits with a code of its own.
pub type FatalHook = Arc<dyn Fn(&str) + Send + Sync>;
