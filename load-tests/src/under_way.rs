//! The closed loop: a fixed number of posts under way at every moment.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};

/// Between two looks at how many are open.
const PAUSE: Duration = Duration::from_millis(5);

/// Sends for so many seconds whenever fewer than `posts` are open, and returns when all is acknowledged. `look` comes by every
/// few milliseconds with the time since the beginning; an error of it ends the loop.
///
/// `send` must hand its record over on the first poll of its future, and count it as open before.
pub async fn keep_under_way<F>(
    posts: usize,
    seconds: f64,
    open: impl Fn() -> usize,
    mut send: impl FnMut() -> F,
    mut look: impl FnMut(Duration) -> Result<()>,
) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    let begin = Instant::now();
    let mut sending = FuturesUnordered::new();
    while begin.elapsed().as_secs_f64() < seconds {
        while open() < posts {
            sending.push(send());
        }
        // Polls until nothing is ready any more: the first poll of a future hands its record over.
        while let Some(Some(sent)) = sending.next().now_or_never() {
            sent.context("the feed could not be produced")?;
        }
        tokio::time::sleep(PAUSE).await;
        look(begin.elapsed())?;
    }
    while let Some(sent) = sending.next().await {
        sent.context("the feed could not be produced")?;
    }
    Ok(())
}

/// Outcomes between the first look and the last.
#[derive(Debug, Default)]
pub struct Counted {
    first: Option<(Instant, u64)>,
    last: Option<(Instant, u64)>,
}

impl Counted {
    /// Takes how many there are now.
    pub fn look(&mut self, settlements: u64) {
        let now = (Instant::now(), settlements);
        self.first.get_or_insert(now);
        self.last = Some(now);
    }

    /// How many came, and in how many seconds; none before the second look.
    pub fn outcomes(&self) -> Option<(u64, f64)> {
        let ((from, before), (to, after)) = (self.first?, self.last?);
        let seconds = to.duration_since(from).as_secs_f64();
        (seconds > 0.0).then_some((after - before, seconds))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use anyhow::{anyhow, ensure};

    use super::*;

    #[tokio::test]
    async fn there_are_always_so_many_open_and_never_more() {
        let (open, most, sent, looks) = (Cell::new(0_usize), Cell::new(0_usize), Cell::new(0), Cell::new(0));
        let send = || {
            open.set(open.get() + 1);
            most.set(most.get().max(open.get()));
            sent.set(sent.get() + 1);
            async { anyhow::Ok(()) }
        };
        // Half of them have their outcome whenever somebody looks.
        let look = |_: Duration| -> Result<()> {
            open.set(open.get() / 2);
            looks.set(looks.get() + 1);
            ensure!(looks.get() < 3, "that was enough");
            Ok(())
        };
        let error = keep_under_way(8, 60.0, || open.get(), send, look).await.unwrap_err();
        assert_eq!(error.to_string(), "that was enough");
        assert_eq!((most.get(), sent.get()), (8, 8 + 4 + 4));
    }

    #[tokio::test]
    async fn a_record_that_cannot_be_produced_ends_the_loop() {
        let sent = Cell::new(0_usize);
        let send = || {
            sent.set(sent.get() + 1);
            async { Result::<()>::Err(anyhow!("no broker")) }
        };
        let error = keep_under_way(1, 60.0, || sent.get(), send, |_| Ok(())).await.unwrap_err();
        assert!(format!("{error:#}").contains("no broker"), "{error:#}");
        assert_eq!(sent.get(), 1);
    }

    #[test]
    fn outcomes_are_those_between_the_first_look_and_the_last() {
        let mut counted = Counted::default();
        assert_eq!(counted.outcomes(), None);
        counted.look(10);
        std::thread::sleep(Duration::from_millis(2));
        counted.look(25);
        let (outcomes, seconds) = counted.outcomes().unwrap();
        assert!(outcomes == 15 && seconds >= 0.002, "{outcomes} in {seconds}");
    }
}
