//! What is looked at every second is not said every second.

use std::sync::{Mutex, PoisonError};

/// What was said last.
#[derive(Debug, Default)]
pub(crate) struct News(Mutex<Option<String>>);

impl News {
    /// Whether this failure is another than the last one; none, after one, makes the next one news again.
    pub(crate) fn is_new(&self, failure: Option<String>) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = failure.is_some() && *last != failure;
        *last = failure;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_news_once_and_again_after_it_was_over() {
        let news = News::default();
        let failed = |what: &str| news.is_new(Some(what.to_owned()));
        assert_eq!((failed("a"), failed("a"), failed("b")), (true, false, true));
        assert!(!news.is_new(None));
        assert!(failed("b"));
    }
}
