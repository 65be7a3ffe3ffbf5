//! jtav at a terminal: why a post was labelled as it was, the labels as they are published, and how workers are.
//!
//! ```text
//! GET /v1/posts/ID, …  ─► Shown ──► explain::lines ─┐
//! GET /v1/stream       ─► sse ────► tap ────────────┼─► Ink ─► terminal, or plain text
//! GET /metrics         ─► Scrape ─► Figures ─► top ─┘
//! ```
//!
//! What is shown is made by pure functions of what was read; only [`Server`], [`tap()`] and [`top()`] wait for anything, each with a
//! deadline. Ids, words and messages are strangers': all of them pass [`jtav_text::terminal`] on their way out.

mod ask;
mod bars;
mod error;
mod explain;
mod ink;
mod said;
mod server;
mod sse;
mod tap;
mod top;
mod wrap;

pub use ask::{Asked, Pictures, draw, shown};
pub use error::{ConsoleError, Fault};
pub use explain::{Near, Nearby, Shown, Texts, lines};
pub use ink::{Ink, painted, window_columns};
pub use server::{Key, Server};
pub use sse::{SseEvent, SseItem, SseParser};
pub use tap::{TapEnd, TapOptions, Tapped, is_position, tap};
pub use top::{Once, TopOptions, once, top};
