//! tokio-postgres: a prepared `INSERT … SELECT FROM unnest(…) ON CONFLICT (key) DO NOTHING` per batch, with one array per
//! column, built in advance; one connection per batch in flight. The handler kind does the same, and also sorts the rows.

use std::time::Duration;

use bikhook::{
    clock::Timestamp,
    handler::row::{COLUMNS, Row},
};
use tokio::{runtime::Runtime, task::JoinSet};
use tokio_postgres::{Client, Config, NoTls, Statement, types::ToSql};

use super::{
    super::{servers::postgres::Server, support::run::Failed},
    AsyncSend, Destination, Load,
    row::{definitions, names},
    send_all,
};

/// A server.
pub struct Postgres {
    server: Server,
}

type Column = Box<dyn ToSql + Sync + Send>;

impl Postgres {
    pub fn start() -> Self {
        Self { server: Server::start_new() }
    }
}

impl Destination for Postgres {
    fn kind(&self) -> &'static str {
        "postgres"
    }

    fn library(&self) -> &'static str {
        "tokio-postgres"
    }

    fn make(&self, place: &str) {
        let columns = definitions(|column| column.postgres);
        self.server.sql("bik", &format!("CREATE TABLE {place} ({columns})"));
        self.server.sql("bik", "CHECKPOINT");
    }

    fn settings(&self, place: &str) -> String {
        format!(
            "kind = \"postgres\"\nurl = {:?}\npassword = \"secret\"\ntable = {place:?}",
            self.server.url()
        )
    }

    fn bare(&self, runtime: &Runtime, place: &str, load: &Load<'_>) -> Result<Duration, Failed> {
        let batches = load.batches(|batch| columns(&batch.iter().map(Row::of).collect::<Vec<_>>()));
        let mut config: Config = self.server.url().parse()?;
        config.password("secret");
        runtime.block_on(async {
            let mut connections = JoinSet::new();
            let mut senders = Vec::new();
            for _ in 0..load.concurrency {
                let (client, connection) = config.connect(NoTls).await?;
                connections.spawn(connection);
                let insert = client.prepare(&statement(place)).await?;
                senders.push((client, insert));
            }
            send_all(batches, senders, Insert).await
        })
    }

    fn count(&self, place: &str) -> u64 {
        self.server.sql("bik", &format!("SELECT count(*) FROM {place}")).trim().parse().unwrap()
    }

    fn remove(&self, place: &str) {
        self.server.sql("bik", &format!("DROP TABLE {place}"));
    }
}

#[derive(Clone)]
struct Insert;

impl AsyncSend<(Client, Statement), Vec<Column>> for Insert {
    async fn send(
        &self,
        (client, insert): &mut (Client, Statement),
        columns: Vec<Column>,
    ) -> Result<(), Failed> {
        let columns: Vec<&(dyn ToSql + Sync)> =
            columns.iter().map(|column| &**column as &(dyn ToSql + Sync)).collect();
        client.execute(insert, &columns).await?;
        Ok(())
    }
}

/// Sends times as milliseconds and JSON as text.
fn statement(place: &str) -> String {
    let is_time = |of: &str| of.starts_with("timestamp");
    let arrays: Vec<String> = COLUMNS
        .iter()
        .zip(1..)
        .map(|(column, at)| match column.postgres {
            of if is_time(of) => format!("${at}::bigint[]"),
            "jsonb" => format!("${at}::text[]"),
            of => format!("${at}::{of}[]"),
        })
        .collect();
    let values: Vec<String> = COLUMNS
        .iter()
        .map(|column| match (column.name, column.postgres) {
            (name, of) if is_time(of) => format!("'epoch'::timestamptz + {name} * interval '1 millisecond'"),
            (name, "jsonb") => format!("{name}::jsonb"),
            (name, _) => name.to_owned(),
        })
        .collect();
    let names = names();
    format!(
        "INSERT INTO {place} ({names}) SELECT {} FROM unnest({}) AS rows ({names}) ON CONFLICT (key) DO NOTHING",
        values.join(", "),
        arrays.join(", ")
    )
}

fn columns(rows: &[Row]) -> Vec<Column> {
    fn of<T: ToSql + Sync + Send + 'static>(rows: &[Row], value: fn(&Row) -> T) -> Column {
        Box::new(rows.iter().map(value).collect::<Vec<T>>())
    }
    vec![
        of(rows, |row| row.key.clone()),
        of(rows, |row| row.seq),
        of(rows, |row| row.received_at.as_ms()),
        of(rows, |row| row.source.clone()),
        of(rows, |row| row.event_name.clone()),
        of(rows, |row| row.bik_id.clone()),
        of(rows, |row| row.store_id.clone()),
        of(rows, |row| row.message_id.clone()),
        of(rows, |row| row.status.clone()),
        of(rows, |row| row.channel.clone()),
        of(rows, |row| row.owner.clone()),
        of(rows, |row| row.category.clone()),
        of(rows, |row| row.customer_id.clone()),
        of(rows, |row| row.customer_name.clone()),
        of(rows, |row| row.phone.clone()),
        of(rows, |row| row.created_at.map(Timestamp::as_ms)),
        of(rows, |row| row.failure_reason.clone()),
        of(rows, |row| row.attempt),
        of(rows, |row| row.replay),
        of(rows, |row| row.event.clone()),
        of(rows, |row| row.raw.clone()),
    ]
}
