use std::sync::Mutex;
use std::time::Duration;

use futures::FutureExt as _;
use jtav_pipeline::ErrorClass;
use jtav_schemas::DeadLetterReason;

use super::*;
use crate::BatchLimits;

/// Doubles numbers; fails batches that hold 13 and the first that holds 15, panics on 14, loses its device on 99, and
/// panics outside the forward pass on 98. Notes the batch sizes.
struct Doubler {
    batches: Arc<Mutex<Vec<usize>>>,
    gate: Option<Receiver<()>>,
}

impl Backend for Doubler {
    type Item = u64;
    type Output = u64;

    fn cost(&self, item: &u64) -> u64 {
        assert_ne!(*item, 98, "ninety-eight");
        *item
    }

    fn forward(&mut self, items: &[u64]) -> Result<Vec<u64>, BackendError> {
        if let Some(gate) = &self.gate {
            let _ = gate.recv();
        }
        self.batches.lock().unwrap().push(items.len());
        assert!(!items.contains(&14), "fourteen");
        match items {
            _ if items.contains(&99) => Err(BackendError::Device("assert".into())),
            _ if items.contains(&13) => Err(BackendError::Batch("thirteen".into())),
            _ if items.contains(&15) && self.batches.lock().unwrap().len() == 1 => {
                Err(BackendError::Batch("once".into()))
            }
            _ => Ok(items.iter().map(|item| item * 2).collect()),
        }
    }
}

/// The same, computed by whoever asks; its batches are noted and its failures told.
fn asked_at_once() -> Fixture {
    let Fixture { batches, fatal, .. } = fixture(1, false);
    let told = Arc::clone(&fatal);
    let (gate, _) = crossbeam_channel::unbounded();
    let params = InferenceParams {
        model: "doubler",
        stage: Stage::Fusion,
        streams: 1,
        limits: BatchLimits { max_items: 16, max_cost: 1000, max_wait: Duration::ZERO },
        queue_capacity: 64,
        on_fatal: Arc::new(move |message: &str| told.lock().unwrap().push(message.to_owned())),
    };
    let handle = at_once(params, Doubler { batches: Arc::clone(&batches), gate: None });
    Fixture { handle, batches, fatal, gate }
}

#[test]
fn what_is_computed_at_once_is_there_without_a_runtime_and_alone() {
    let fixture = asked_at_once();
    let answers: Vec<_> = (1..4).map(|item| fixture.handle.submit(item)).collect();
    assert_eq!(*fixture.batches.lock().unwrap(), vec![1, 1, 1], "before anybody waits");
    let answers: Vec<_> = answers.into_iter().map(|answer| answer.now_or_never().unwrap().unwrap()).collect();
    assert_eq!(answers, [2, 4, 6]);
    assert!(fixture.handle.is_idle() && fixture.handle.is_healthy());
}

#[test]
fn what_fails_or_panics_twice_at_once_is_set_aside_and_what_fails_once_passes() {
    let fixture = asked_at_once();
    assert_eq!(fixture.handle.submit(15).now_or_never().unwrap().unwrap(), 30, "the first batch fails");
    for guilty in [13, 14] {
        let error = fixture.handle.submit(guilty).now_or_never().unwrap().unwrap_err();
        assert_eq!(error.class, ErrorClass::Permanent(DeadLetterReason::PoisonPill), "{guilty}");
        assert_eq!(fixture.handle.submit(1).now_or_never().unwrap().unwrap(), 2, "after {guilty}");
    }
    assert_eq!(fixture.batches.lock().unwrap().len(), 8);
}

#[test]
fn a_device_that_is_gone_at_once_is_told_once_and_everybody_hears_of_it() {
    let fixture = asked_at_once();
    for item in [99, 1] {
        let error = fixture.handle.submit(item).now_or_never().unwrap().unwrap_err();
        assert_eq!(error.class, ErrorClass::Fatal, "{item}");
    }
    assert_eq!(*fixture.fatal.lock().unwrap(), ["assert"]);
    assert!(!fixture.handle.is_healthy());
}

struct Fixture {
    handle: InferenceHandle<Doubler>,
    batches: Arc<Mutex<Vec<usize>>>,
    fatal: Arc<Mutex<Vec<String>>>,
    gate: Sender<()>,
}

fn fixture(max_items: usize, gated: bool) -> Fixture {
    let batches = Arc::new(Mutex::new(Vec::new()));
    let fatal = Arc::new(Mutex::new(Vec::new()));
    let (gate, gate_receiver) = crossbeam_channel::unbounded();
    let hook = {
        let fatal = Arc::clone(&fatal);
        Arc::new(move |message: &str| fatal.lock().unwrap().push(message.to_owned()))
    };
    let params = InferenceParams {
        model: "doubler",
        stage: Stage::Fusion,
        streams: 1,
        limits: BatchLimits { max_items, max_cost: 1000, max_wait: Duration::ZERO },
        queue_capacity: 64,
        on_fatal: hook,
    };
    let noted = Arc::clone(&batches);
    let handle =
        spawn(params, move || Ok(Doubler { batches: Arc::clone(&noted), gate: gated.then(|| gate_receiver.clone()) }))
            .unwrap();
    Fixture { handle, batches, fatal, gate }
}

#[tokio::test]
async fn a_batch_is_what_arrived_while_the_previous_one_ran() {
    let fixture = fixture(16, true);
    let first = fixture.handle.submit(1);
    // Only the first is with the device once the queue is empty again.
    while fixture.handle.queue_len() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let others: Vec<_> = (2..8).map(|item| fixture.handle.submit(item)).collect();
    for _ in 0..2 {
        fixture.gate.send(()).unwrap();
    }
    assert_eq!(first.await.unwrap(), 2);
    for (item, answer) in (2..8).zip(others) {
        assert_eq!(answer.await.unwrap(), item * 2);
    }
    assert_eq!(*fixture.batches.lock().unwrap(), vec![1, 6]);
}

#[tokio::test]
async fn one_guilty_item_fails_alone_and_its_batch_mates_pass() {
    let fixture = fixture(16, true);
    let first = fixture.handle.submit(0);
    while fixture.handle.queue_len() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let items = [1u64, 2, 13, 4, 14, 6, 7, 8];
    let answers: Vec<_> = items.iter().map(|item| fixture.handle.submit(*item)).collect();
    drop(fixture.gate); // open for good
    first.await.unwrap();
    for (item, answer) in items.iter().zip(answers) {
        match (*item, answer.await) {
            (13 | 14, Err(error)) => assert_eq!(error.class, ErrorClass::Permanent(DeadLetterReason::PoisonPill)),
            (item, answer) => assert_eq!(answer.unwrap(), item * 2),
        }
    }
    assert!(fixture.handle.is_healthy());
}

#[tokio::test]
async fn an_item_that_failed_alone_is_tried_once_more_before_it_is_guilty() {
    let passes = fixture(16, false);
    assert_eq!(passes.handle.submit(15).await.unwrap(), 30, "what fails once may pass");
    assert_eq!(*passes.batches.lock().unwrap(), vec![1, 1]);
    let guilty = fixture(16, false);
    let error = guilty.handle.submit(14).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Permanent(DeadLetterReason::PoisonPill));
    assert_eq!(*guilty.batches.lock().unwrap(), vec![1, 1], "twice and no more");
}

#[tokio::test]
async fn a_device_thread_that_dies_is_a_device_fault() {
    let fixture = fixture(16, false);
    let error = fixture.handle.submit(98).await.unwrap_err();
    assert_eq!(error.code, "device_thread_gone");
    while fixture.fatal.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(fixture.fatal.lock().unwrap()[0].contains("ninety-eight"));
    assert!(!fixture.handle.is_healthy());
}

#[tokio::test]
async fn a_device_fault_is_fatal_and_everybody_is_told() {
    let fixture = fixture(1, false);
    let error = fixture.handle.submit(99).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Fatal);
    let error = fixture.handle.submit(1).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Fatal);
    assert_eq!(fixture.fatal.lock().unwrap().len(), 1);
    assert!(!fixture.handle.is_healthy());
}

#[tokio::test]
async fn an_item_nobody_waits_for_is_not_run() {
    let fixture = fixture(1, true);
    let first = fixture.handle.submit(1);
    while fixture.handle.queue_len() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(fixture.handle.submit(2));
    let third = fixture.handle.submit(3);
    drop(fixture.gate);
    first.await.unwrap();
    third.await.unwrap();
    assert_eq!(fixture.batches.lock().unwrap().len(), 2, "the dropped one took no forward pass");
}

#[tokio::test]
async fn a_full_queue_is_a_retryable_error_and_no_panic() {
    let fixture = fixture(1, true);
    let answers: Vec<_> = (0..70).map(|item| fixture.handle.submit(item)).collect();
    drop(fixture.gate);
    let mut full = 0;
    for answer in answers {
        match answer.await {
            Err(error) if error.is_retryable() => full += 1,
            Err(error) => assert!(matches!(error.class, ErrorClass::Permanent(_)), "{error}"),
            Ok(_) => {}
        }
    }
    assert!((5..=6).contains(&full), "64 wait, one is with the device: {full}");
}

#[test]
fn a_network_that_cannot_be_built_is_reported_by_spawn() {
    let params = InferenceParams {
        model: "broken",
        stage: Stage::Fusion,
        streams: 2,
        limits: BatchLimits { max_items: 1, max_cost: 1, max_wait: Duration::ZERO },
        queue_capacity: 1,
        on_fatal: Arc::new(|_| {}),
    };
    let result = spawn::<Doubler>(params, || Err(BackendError::Device("no weights".into())));
    assert!(result.err().unwrap().message.contains("no weights"));
}

#[tokio::test]
async fn a_batch_that_runs_has_an_age_and_an_idle_thread_has_none() {
    let fixture = fixture(1, true);
    assert!(fixture.handle.is_idle() && fixture.handle.progress_age().is_zero());
    let answer = fixture.handle.submit(1);
    assert!(!fixture.handle.is_idle(), "it waits, or runs");
    while fixture.handle.progress_age() < Duration::from_millis(50) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    fixture.gate.send(()).unwrap();
    assert_eq!(answer.await.unwrap(), 2);
    while !fixture.handle.is_idle() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(fixture.handle.progress_age().is_zero());
}
