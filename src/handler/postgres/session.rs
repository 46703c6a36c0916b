//! One connection, with its table ready. Nothing drives it in between: whoever uses it does.

use std::{future::Future, pin::Pin};

use tokio::time::timeout;
use tokio_postgres::{Client, Connection, NoTls, Statement};

use super::{
    Row,
    address::{Address, CONNECT},
    error::Error,
    insert,
    table::Table,
};

type Driving = Pin<Box<dyn Future<Output = Result<(), tokio_postgres::Error>> + Send>>;

/// Beyond the time-out of a delivery nobody waits for a statement any more.
const BOUNDS: &str = "SET lock_timeout = '10s'; SET statement_timeout = '60s'";

/// A connection that is ready for rows.
pub struct Session {
    client: Client,
    driving: Driving,
    insert: Statement,
}

impl Session {
    /// Connects, and makes or checks the table.
    pub async fn open(address: &Address, table: &Table) -> Result<Self, Error> {
        let given_up = |_elapsed| Error::Timeout(CONNECT.as_secs());
        let (mut client, mut driving) = timeout(CONNECT, connect(address)).await.map_err(given_up)??;
        let insert = drive(&mut driving, async {
            // A delivery that was given up must not wait on in the server, or each try would leave one more behind.
            client.batch_execute(BOUNDS).await?;
            table.prepare(&mut client).await?;
            Ok(client.prepare(&insert::statement(table)).await?)
        })
        .await?;
        Ok(Self { client, driving, insert })
    }

    /// All rows in one statement; where a value is not taken, each by itself.
    pub async fn insert(&mut self, rows: &[Row]) -> Result<(), Error> {
        drive(&mut self.driving, insert::all(&self.client, &self.insert, rows)).await
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
