use crate::{Backend, BackendError};

/// A stand-in for a network: answers at once with what `answer` says. For load tests of everything around the
/// networks, chosen at run time (`model.stub`), never by a build flag.
pub struct StubBackend<I, O> {
    answer: fn(&I) -> O,
}

impl<I, O> StubBackend<I, O> {
    /// Answers each item with `answer`.
    pub fn new(answer: fn(&I) -> O) -> Self {
        Self { answer }
    }
}

impl<I: Send + 'static, O: Send + 'static> Backend for StubBackend<I, O> {
    type Item = I;
    type Output = O;

    fn cost(&self, _: &I) -> u64 {
        1
    }

    fn forward(&mut self, items: &[I]) -> Result<Vec<O>, BackendError> {
        Ok(items.iter().map(self.answer).collect())
    }
}
