//! The terminal: draws, takes keys, and leaves it as it was.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::signal::unix::{SignalKind, signal};

use super::course::Worker;
use super::feed::Feed;
use super::frame::{Look, draw, most_scroll};
use super::{MIN_INTERVAL, TopOptions, runtime};
use crate::error::ConsoleError;

/// A key or a signal is looked for as often.
const TICK: Duration = Duration::from_millis(100);
/// The screen is drawn anew at least as often.
const REDRAW: Duration = Duration::from_secs(1);

/// Shows workers until somebody quits. The terminal is given back as it was, whatever happens, a panic too.
///
/// # Errors
/// An address is none, or the terminal cannot be had.
pub fn top(options: &TopOptions) -> Result<(), ConsoleError> {
    let (feed, runtime) = (Feed::new(&options.addresses)?, runtime()?);
    let interval = options.interval.max(MIN_INTERVAL);
    let ended = Arc::new(AtomicBool::new(false));
    runtime.spawn(watch_signals(Arc::clone(&ended)));
    feed.keep_asking(&runtime, interval);
    let shown = {
        // Before the terminal is taken, so that it is given back where taking it fails half way.
        let _restored = Restored;
        // Its panic hook gives the terminal back, too.
        let mut terminal = ratatui::try_init()?;
        show(&mut terminal, &feed, interval.min(REDRAW), &ended)
    };
    runtime.shutdown_background();
    shown
}

struct Restored;

impl Drop for Restored {
    fn drop(&mut self) {
        if std::io::stdout().is_terminal() {
            // Where that fails nobody can be told.
            let _ = ratatui::try_restore();
        }
    }
}

async fn watch_signals(ended: Arc<AtomicBool>) {
    let kinds = [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt()];
    let mut waiting = tokio::task::JoinSet::new();
    for kind in kinds {
        if let Ok(mut signals) = signal(kind) {
            waiting.spawn(async move { signals.recv().await });
        }
    }
    if waiting.join_next().await.is_some() {
        ended.store(true, Ordering::Relaxed);
    }
}

fn show(terminal: &mut DefaultTerminal, feed: &Feed, every: Duration, ended: &AtomicBool) -> Result<(), ConsoleError> {
    let mut look = Look::default();
    loop {
        let workers = feed.workers();
        let width = terminal.size()?.width;
        look.scroll = look.scroll.min(most_scroll(&workers, look, width));
        terminal.draw(|frame| draw(&workers, look, frame.area(), frame.buffer_mut()))?;
        let next = Instant::now() + every;
        while Instant::now() < next {
            if ended.load(Ordering::Relaxed) {
                return Ok(());
            }
            if !event::poll(TICK.min(next.saturating_duration_since(Instant::now())))? {
                continue;
            }
            match event::read()? {
                Event::Key(key) if key.kind != KeyEventKind::Release => {
                    if take_key(&mut look, key, &workers) {
                        return Ok(());
                    }
                    break;
                }
                Event::Resize(..) => break,
                _ => {}
            }
        }
    }
}

/// Whether it is over.
fn take_key(look: &mut Look, key: KeyEvent, workers: &[Worker]) -> bool {
    let count = workers.len().max(1);
    match key.code {
        KeyCode::Char('c' | 'd') if key.modifiers.contains(KeyModifiers::CONTROL) => return true,
        KeyCode::Char('q') | KeyCode::Esc => return true,
        KeyCode::Tab | KeyCode::Right => {
            let next = look.chosen + 1;
            *look = Look { chosen: next % count, ..Look::default() };
        }
        KeyCode::BackTab | KeyCode::Left => {
            let before = look.chosen + count - 1;
            *look = Look { chosen: before % count, ..Look::default() };
        }
        KeyCode::Char('?' | 'h') => *look = Look { is_help: !look.is_help, scroll: 0, ..*look },
        KeyCode::Down => look.scroll = look.scroll.saturating_add(1),
        KeyCode::Up => look.scroll = look.scroll.saturating_sub(1),
        KeyCode::PageDown => look.scroll = look.scroll.saturating_add(10),
        KeyCode::PageUp => look.scroll = look.scroll.saturating_sub(10),
        _ => {}
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers(count: usize) -> Vec<Worker> {
        (0..count).map(|at| Worker::new(format!("w{at}"))).collect()
    }

    fn pressed(look: &mut Look, code: KeyCode, workers: &[Worker]) -> bool {
        take_key(look, KeyEvent::new(code, KeyModifiers::NONE), workers)
    }

    #[test]
    fn tab_and_arrows_go_round_the_workers_and_a_question_mark_helps() {
        let (mut look, three) = (Look { scroll: 7, ..Look::default() }, workers(3));
        for expected in [1, 2, 0] {
            assert!(!pressed(&mut look, KeyCode::Tab, &three));
            assert_eq!((look.chosen, look.scroll), (expected, 0));
        }
        pressed(&mut look, KeyCode::Left, &three);
        assert_eq!(look.chosen, 2);
        pressed(&mut look, KeyCode::Char('?'), &three);
        assert!(look.is_help && look.chosen == 2);
        pressed(&mut look, KeyCode::Char('?'), &three);
        assert!(!look.is_help);
        pressed(&mut look, KeyCode::Up, &three);
        pressed(&mut look, KeyCode::Down, &three);
        assert_eq!(look.scroll, 1);
        pressed(&mut look, KeyCode::Right, &[]);
        assert_eq!(look.chosen, 0, "nobody is there");
    }

    #[test]
    fn q_escape_and_control_c_quit_and_a_plain_c_does_not() {
        let (mut look, one) = (Look::default(), workers(1));
        assert!(pressed(&mut look, KeyCode::Char('q'), &one) && pressed(&mut look, KeyCode::Esc, &one));
        assert!(take_key(&mut look, KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL), &one));
        assert!(!pressed(&mut look, KeyCode::Char('c'), &one));
    }
}
