//! The readers' side: `jtav serve`. Ask for a post, see why it is labelled as it is, find what is like it, watch the feed.
//!
//! ```text
//! sentiment topic ──► follow ──► recent ──► stream, feed, page
//! embeddings topic ─► follow ──► index ───► neighbours, models
//! store ────────────────────────────────► posts, explanation
//! input topic ──────► content (read when somebody asks, copied nowhere)
//! ```
//!
//! Every request passes [`guard`](mod@guard) first: host, key, scope, share. Nothing that a stranger wrote is ever sent on as it
//! came except inside JSON: media are decoded in the sandbox and drawn anew.

#![warn(missing_docs)]

mod app;
mod bodies;
mod catch_up;
pub mod content;
pub mod filter;
pub mod follow;
pub mod guard;
pub mod judge;
pub mod keys;
pub mod media_room;
mod news;
pub mod openapi;
pub mod positions;
pub mod problem;
mod rate;
mod route;
pub mod routes;
mod seats;
mod server;
pub mod songs;
mod tls;

pub use app::App;
pub use server::{ServeParams, Server};
