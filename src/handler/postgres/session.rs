//! One connection to the database. Before its first insert, the table is created or extended if needed, and checked.
//! Each call that uses the connection polls it. An idle connection is not polled.
//!
//! The connection may lead to a pooler that uses a different server connection for each transaction (PgBouncer with
//! `pool_mode = transaction`). So no state outlives a transaction: the handler uses only `SET LOCAL` and unnamed
//! statements, and takes no session locks.

use std::{future::Future, pin::Pin};

use tokio::time::timeout;
use tokio_postgres::{CancelToken, Client, Connection, NoTls};

use super::{
    Row,
    address::{Address, CONNECT},
    error::Error,
    insert,
    table::Table,
};

type Driving = Pin<Box<dyn Future<Output = Result<(), tokio_postgres::Error>> + Send>>;

/// How every transaction begins. When a delivery is dropped, the server is asked to cancel its statement. If this
/// cancel request does not arrive, the time limits end the statement.
pub(super) const BEGIN: &str = "BEGIN; SET LOCAL lock_timeout = '10s'; SET LOCAL statement_timeout = '60s'";

/// A connection, and whether [`Table::prepare`] has succeeded on it.
pub(super) struct Session {
    client: Client,
    driving: Driving,
    prepared: bool,
}

impl Session {
    /// Connects to the database, within [`CONNECT`].
    pub(super) async fn connect(address: &Address) -> Result<Self, Error> {
        let given_up = |_elapsed| Error::Timeout(CONNECT.as_secs());
        let (client, driving) = timeout(CONNECT, connect(address)).await.map_err(given_up)??;
        Ok(Self { client, driving, prepared: false })
    }

    /// Inserts all rows in one statement; if a value is rejected, each row separately. The first call prepares the
    /// table: see [`Table::prepare`].
    pub(super) async fn insert(&mut self, table: &Table, rows: &[Row]) -> Result<(), Error> {
        let Self { client, driving, prepared } = self;
        drive(driving, async {
            if !*prepared {
                table.prepare(client).await?;
                *prepared = true;
            }
            insert::all(client, table, rows).await
        })
        .await
    }

    /// Returns the token that cancels the running statement, and a future that waits for the end of the statement. The
    /// future keeps this connection open, because a pooler drops a cancel request for a closed connection.
    pub(super) fn into_cancellation(self) -> (CancelToken, impl Future<Output = Result<(), Error>>) {
        let Self { client, mut driving, .. } = self;
        let token = client.cancel_token();
        let ended = async move { drive(&mut driving, async { Ok(client.batch_execute("").await?) }).await };
        (token, ended)
    }
}

async fn connect(address: &Address) -> Result<(Client, Driving), Error> {
    match &address.tls {
        Some(tls) => {
            let (client, connection) = address.config.connect(tls.clone()).await?;
            Ok((client, Box::pin(quietly(connection))))
        }
        None => {
            let (client, connection) = address.config.connect(NoTls).await?;
            Ok((client, Box::pin(quietly(connection))))
        }
    }
}

/// Polls the connection until it ends. Notices are not logged, because a notice of a trigger may quote an event.
async fn quietly<S, T>(mut connection: Connection<S, T>) -> Result<(), tokio_postgres::Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    while let Some(message) = std::future::poll_fn(|context| connection.poll_message(context)).await {
        message?;
    }
    Ok(())
}

/// Runs `work` while polling the connection. If the connection ends, `work` gets what the server sent before that, and
/// fails if it needs more.
async fn drive<T>(driving: &mut Driving, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let mut work = std::pin::pin!(work);
    let ended = tokio::select! {
        biased;
        done = &mut work => return done,
        ended = driving => ended,
    };
    // Messages that the server sent before the end were already passed on, so `work` may still succeed.
    match (work.await, ended) {
        (Err(error), Err(broken)) if error.is_away() => Err(broken.into()),
        (done, _) => done,
    }
}
