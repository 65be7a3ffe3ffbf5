use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

/// A line on stderr that is written over on a terminal and comes now and then elsewhere.
pub struct Progress {
    last: Option<Instant>,
    is_terminal: bool,
}

impl Default for Progress {
    fn default() -> Self {
        Self { last: None, is_terminal: std::io::stderr().is_terminal() }
    }
}

impl Progress {
    /// Whether it is time for another one.
    pub fn is_due(&mut self) -> bool {
        let every = Duration::from_secs(if self.is_terminal { 1 } else { 15 });
        if self.last.is_some_and(|last| last.elapsed() < every) {
            return false;
        }
        self.last = Some(Instant::now());
        true
    }

    pub fn show(&self, line: &str) {
        if self.is_terminal {
            eprint!("\r\x1b[K{line}");
        } else {
            eprintln!("{line}");
        }
    }

    /// Leaves the last one where it stands.
    pub fn end(&self) {
        if self.is_terminal {
            eprintln!();
        }
    }
}
