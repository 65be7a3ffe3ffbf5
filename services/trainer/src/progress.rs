//! How a long run tells what it is doing. Everything goes to stderr: stdout belongs to results.

use std::io::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Told about the tasks of a run, one after the other, from any thread.
pub trait Progress: Send + Sync {
    /// A task of `total` steps begins; the one before it is over.
    fn start(&self, task: &str, total: u64);
    /// `steps` more are done.
    fn advance(&self, steps: u64);
    /// Where the task stands, in a few words.
    fn note(&self, text: &str);
    /// The task is over.
    fn finish(&self, summary: &str);
}

/// Says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn start(&self, _task: &str, _total: u64) {}
    fn advance(&self, _steps: u64) {}
    fn note(&self, _text: &str) {}
    fn finish(&self, _summary: &str) {}
}

/// A bar with remaining time on a terminal; elsewhere one line per task that ends, and one per note.
#[derive(Debug)]
pub struct Terminal {
    is_terminal: bool,
    current: Mutex<Option<(String, ProgressBar)>>,
}

impl Terminal {
    /// Draws on stderr.
    pub fn new() -> Self {
        let is_terminal = !ProgressDrawTarget::stderr().is_hidden();
        Self { is_terminal, current: Mutex::new(None) }
    }

    fn with(&self, action: impl FnOnce(&str, &ProgressBar)) {
        let current = self.current.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((task, bar)) = current.as_ref() {
            action(task, bar);
        }
    }
}

impl Default for Terminal {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress for Terminal {
    fn start(&self, task: &str, total: u64) {
        let bar = ProgressBar::new(total);
        let style = "{prefix:16} {bar:24} {pos}/{len} {elapsed} elapsed, {eta} left  {msg}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        bar.set_prefix(task.to_owned());
        bar.enable_steady_tick(Duration::from_millis(500));
        let mut current = self.current.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *current = Some((task.to_owned(), bar));
    }

    fn advance(&self, steps: u64) {
        self.with(|_, bar| bar.inc(steps));
    }

    fn note(&self, text: &str) {
        self.with(|task, bar| {
            bar.set_message(text.to_owned());
            if !self.is_terminal {
                let _ = writeln!(std::io::stderr(), "{task}: {text}");
            }
        });
    }

    fn finish(&self, summary: &str) {
        self.with(|task, bar| {
            bar.finish_and_clear();
            let _ = writeln!(std::io::stderr(), "{task}: {summary} ({:.0} s)", bar.elapsed().as_secs_f32());
        });
        *self.current.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
    }
}
