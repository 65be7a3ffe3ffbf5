//! The boxes of the judge: new ones where they break.

use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use jtav_feed_processor::{Boxes, BoxesParams};
use jtav_pipeline::{Ends, Publisher};
use jtav_router::RouterLanes;
use jtav_telemetry::Metric;

/// Between a failure of the boxes and new ones; doubles while none can be had.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// Longest such pause.
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(30);
/// Between two looks at whether anybody still wants them.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Keeps boxes running until it is told to stop, or dropped.
pub(super) struct BoxesKeeper(Arc<RwLock<State>>);

enum State {
    Running(Arc<Boxes>),
    /// Broken, and no new ones yet.
    Broken,
    Stopped,
}

impl BoxesKeeper {
    /// Must run inside an actix system, on whose thread the boxes then are.
    ///
    /// # Errors
    /// No thread, no HTTP client.
    pub(super) fn start(params: BoxesParams, publisher: Arc<dyn Publisher>) -> anyhow::Result<Self> {
        let boxes = Boxes::start(&params, Arc::clone(&publisher), None, Ends::default())?;
        let state = Arc::new(RwLock::new(State::Running(Arc::new(boxes))));
        // Weak: the task must not keep alive what it looks after.
        actix_rt::spawn(keep(Arc::downgrade(&state), params, publisher));
        Ok(Self(state))
    }

    /// The way in, where there is one.
    pub(super) fn lanes(&self) -> Option<RouterLanes> {
        match &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            State::Running(boxes) => Some(boxes.lanes.clone()),
            State::Broken | State::Stopped => None,
        }
    }

    pub(super) fn stop(&self) {
        set(&self.0, State::Stopped);
    }
}

impl Drop for BoxesKeeper {
    fn drop(&mut self) {
        self.stop();
    }
}

fn is_running(state: &RwLock<State>) -> bool {
    matches!(&*state.read().unwrap_or_else(PoisonError::into_inner), State::Running(_))
}

/// Puts a state in place of another, whose boxes end; nothing follows the end.
fn set(state: &RwLock<State>, new: State) {
    let mut state = state.write().unwrap_or_else(PoisonError::into_inner);
    let old = match &*state {
        State::Stopped => new,
        _ => std::mem::replace(&mut *state, new),
    };
    drop(state);
    if let State::Running(boxes) = old {
        boxes.stop();
    }
}

async fn keep(state: Weak<RwLock<State>>, params: BoxesParams, publisher: Arc<dyn Publisher>) {
    let hung_after = params.settings.admin.hung_after();
    let mut pause = RESTART_PAUSE;
    loop {
        let running = {
            let Some(state) = state.upgrade() else { return };
            match &*state.read().unwrap_or_else(PoisonError::into_inner) {
                State::Running(boxes) => Some(Arc::clone(boxes)),
                State::Broken => None,
                State::Stopped => return,
            }
        };
        let new = match running {
            Some(boxes) => {
                let Ok(failure) = tokio::time::timeout(LOOK_EVERY, boxes.failed(hung_after)).await else {
                    pause = RESTART_PAUSE;
                    continue;
                };
                // An orderly end looks the same from here.
                if !state.upgrade().is_some_and(|state| is_running(&state)) {
                    return;
                }
                Metric::judge_restarts().inc();
                tracing::error!(?failure, "the boxes of the API broke; they are started anew");
                State::Broken
            }
            None => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RESTART_PAUSE_MAX);
                match Boxes::start(&params, Arc::clone(&publisher), None, Ends::default()) {
                    Ok(boxes) => State::Running(Arc::new(boxes)),
                    Err(error) => {
                        tracing::error!(error = format!("{error:#}"), "no new boxes for the API");
                        continue;
                    }
                }
            }
        };
        match state.upgrade() {
            Some(state) => set(&state, new),
            None => {
                if let State::Running(boxes) = new {
                    boxes.stop();
                }
                return;
            }
        }
    }
}
