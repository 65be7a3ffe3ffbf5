//! Connections that serve one call at a time.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisResult};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::StoreError;

/// A few connections, each lent to one call and never opened again by itself: `WAIT` blocks whatever else is on its
/// connection, and on a connection that was opened after the write it waits for nothing.
pub(crate) struct DirectConnections {
    client: Client,
    config: AsyncConnectionConfig,
    /// Longest time of one call, its turn and connecting included.
    timeout: Duration,
    turns: Semaphore,
    idle: Mutex<Vec<MultiplexedConnection>>,
}

/// A connection on loan. It is closed when this is dropped; [`Self::give_back`] keeps it.
struct Lent<'a> {
    connection: MultiplexedConnection,
    owner: &'a DirectConnections,
    _turn: SemaphorePermit<'a>,
}

impl Lent<'_> {
    /// After a call that went well.
    fn give_back(self) {
        self.owner.idle().push(self.connection);
    }
}

impl DirectConnections {
    /// At most `count` of them; none is opened yet.
    pub(crate) fn new(client: Client, connect_timeout: Duration, timeout: Duration, count: usize) -> Self {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(connect_timeout))
            .set_response_timeout(Some(timeout));
        Self { client, config, timeout, turns: Semaphore::new(count), idle: Mutex::default() }
    }

    /// Runs a call on a connection of its own, within the time limit. Dropped before its end, it closes the connection.
    /// After a failure all idle ones are closed too: they lead to the same server, and one may have to go to another.
    pub(crate) async fn call<T, F>(&self, job: impl FnOnce(MultiplexedConnection) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let work = async {
            let lent = self.take().await?;
            let answer = job(lent.connection.clone()).await?;
            lent.give_back();
            Ok(answer)
        };
        let answer = match tokio::time::timeout(self.timeout, work).await {
            Ok(answer) => answer,
            Err(_) => Err(StoreError::Timeout { timeout_ms: self.timeout.as_millis() as u64 }),
        };
        if answer.is_err() {
            self.close_idle();
        }
        answer
    }

    async fn take(&self) -> Result<Lent<'_>, StoreError> {
        let turn = self.turns.acquire().await.expect("Invariant: the semaphore is never closed");
        let idle = self.idle().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.client.get_multiplexed_async_connection_with_config(&self.config).await?,
        };
        Ok(Lent { connection, owner: self, _turn: turn })
    }

    /// The next calls open new connections.
    pub(crate) fn close_idle(&self) {
        self.idle().clear();
    }

    fn idle(&self) -> MutexGuard<'_, Vec<MultiplexedConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
