//! How the end of an actor is told. A panic in an actor, or the end of its thread, closes its mailbox and says nothing;
//! whoever asks it gets errors. What it holds is dropped in any case, and that is what speaks.

use std::future::pending;
use std::sync::Arc;

use tokio::sync::watch;

/// Is told of the first end among some actors that must not end. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ends(Arc<watch::Sender<Option<&'static str>>>);

impl Default for Ends {
    /// Of no actor yet.
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Ends {
    /// For an actor to hold; of several with one name each has its own.
    pub fn lifeline(&self, actor: &'static str) -> Lifeline {
        Lifeline { actor, ends: self.clone() }
    }

    /// Resolves with the name of the actor that ended first, also where that was before the call. Cancellation safe.
    pub async fn first(&self) -> &'static str {
        let mut ends = self.0.subscribe();
        let ended = ends.wait_for(Option::is_some).await.map(|ended| *ended);
        match ended {
            Ok(Some(actor)) => actor,
            // The sender is `self`'s: it cannot be gone.
            _ => pending().await,
        }
    }
}

/// Part of an actor: tells of its end when it is dropped.
#[derive(Debug)]
pub struct Lifeline {
    actor: &'static str,
    ends: Ends,
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        self.ends.0.send_if_modified(|first| match first {
            Some(_) => false,
            None => {
                *first = Some(self.actor);
                true
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[tokio::test]
    async fn the_first_end_is_told_to_whoever_waits_and_to_whoever_comes_later() {
        let ends = Ends::default();
        let (text, audio) = (ends.lifeline("text_encoder"), ends.lifeline("audio_encoder"));
        assert_eq!(ends.first().now_or_never(), None, "both are there");
        let waiting = tokio::spawn({
            let ends = ends.clone();
            async move { ends.first().await }
        });
        drop(audio);
        drop(text);
        assert_eq!(waiting.await.unwrap(), "audio_encoder");
        assert_eq!(ends.first().now_or_never(), Some("audio_encoder"));
    }

    /// Between the look and the wait nothing can be missed.
    #[tokio::test]
    async fn an_end_at_the_very_moment_of_the_wait_is_not_missed() {
        for _ in 0..200 {
            let ends = Ends::default();
            let lifeline = ends.lifeline("fetch");
            let ending = std::thread::spawn(move || drop(lifeline));
            let told = tokio::time::timeout(std::time::Duration::from_secs(10), ends.first()).await;
            assert_eq!(told, Ok("fetch"));
            ending.join().unwrap();
        }
    }
}
