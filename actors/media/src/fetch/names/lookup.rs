//! What names are asked of.

use std::io;
use std::net::SocketAddr;

use futures::future::BoxFuture;

/// Turns a name into addresses. [`Dns`](crate::Dns) does; a test puts its own in its place.
pub trait Lookup: Send + Sync {
    /// Every address of `host`, each with `port`.
    fn lookup(&self, host: String, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>;
}
