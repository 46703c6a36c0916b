//! One connection, with its table ready. Nothing drives it in between: whoever uses it does.
//!
//! The connection may lead to a pooler that lends another connection of the server to each transaction (PgBouncer with
//! `pool_mode = transaction`). So nothing of ours outlives a transaction: only `SET LOCAL`, only unnamed statements, and
//! no lock of a session.

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

/// How every transaction begins. A delivery that is given up cancels its statement; these bounds hold where the
/// cancellation does not arrive.
pub const BEGIN: &str = "BEGIN; SET LOCAL lock_timeout = '10s'; SET LOCAL statement_timeout = '60s'";

/// A connection. Its table is prepared with the first rows.
pub struct Session {
    client: Client,
    driving: Driving,
    prepared: bool,
}

impl Session {
    /// Connects.
    pub async fn connect(address: &Address) -> Result<Self, Error> {
        let given_up = |_elapsed| Error::Timeout(CONNECT.as_secs());
        let (client, driving) = timeout(CONNECT, connect(address)).await.map_err(given_up)??;
        Ok(Self { client, driving, prepared: false })
    }

    /// All rows in one statement; where a value is not taken, each by itself. Makes or checks the table before the first.
    pub async fn insert(&mut self, table: &Table, rows: &[Row]) -> Result<(), Error> {
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

    /// What cancels the statement under way, and what waits for its end. The connection is held meanwhile: a pooler forgets
    /// a request for cancellation when its client leaves.
    pub fn into_cancellation(self) -> (CancelToken, impl Future<Output = Result<(), Error>>) {
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

/// To the end of the connection. Notices are left out: those of a trigger may quote an event.
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

/// Does something with the connection while driving it. When the connection ends, so does what waits for it.
async fn drive<T>(driving: &mut Driving, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let mut work = std::pin::pin!(work);
    let ended = tokio::select! {
        biased;
        done = &mut work => return done,
        ended = driving => ended,
    };
    // What the server said last came before its end, and was handed over.
    match (work.await, ended) {
        (Err(error), Err(broken)) if error.is_away() => Err(broken.into()),
        (done, _) => done,
    }
}
