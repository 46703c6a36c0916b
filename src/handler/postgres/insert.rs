//! Inserts rows into the table: a batch in one statement. If a value is rejected, each row is inserted separately.

use futures_util::future::join3;
use tokio_postgres::{
    Client,
    types::{ToSql, Type},
};

use super::{Row, error::Error, jsonb, session::BEGIN, table::Table};
use crate::{clock::Timestamp, handler::row::COLUMNS};

/// The years 1 to 9999, in milliseconds since the Unix epoch. All PostgreSQL client libraries can read these times.
const YEARS_MS: std::ops::Range<i64> = -62_135_596_800_000..253_402_300_800_000;

/// Builds `INSERT … SELECT FROM unnest(…)` with one array parameter per column.
pub(super) fn statement(table: &str) -> String {
    let names = COLUMNS.map(|column| column.name).join(", ");
    let arrays: Vec<String> = COLUMNS
        .iter()
        .enumerate()
        .map(|(at, column)| format!("${}::{}[]", at + 1, sent_as(column.postgres)))
        .collect();
    let values: Vec<String> = COLUMNS
        .iter()
        .map(|column| match column.postgres {
            "timestamp with time zone" => {
                format!("'epoch'::timestamptz + {} * interval '1 millisecond'", column.name)
            }
            "jsonb" => format!("{}::jsonb", column.name),
            _ => column.name.to_owned(),
        })
        .collect();
    format!(
        "INSERT INTO {} ({names}) SELECT {} FROM unnest({}) WITH ORDINALITY AS rows ({names}, place) ORDER BY place \
         ON CONFLICT (key) DO NOTHING",
        table,
        values.join(", "),
        arrays.join(", ")
    )
}

/// The parameter type of a column: times are sent as milliseconds, JSON as text.
fn sent_as(postgres: &str) -> &str {
    match postgres {
        "timestamp with time zone" => "bigint",
        "jsonb" => "text",
        other => other,
    }
}

/// The array type of a column. It is sent with the statement. Otherwise the client would ask the server for the type by
/// a named statement, which a pooler may not support.
fn array_of(postgres: &str) -> Type {
    match sent_as(postgres) {
        "bigint" => Type::INT8_ARRAY,
        "boolean" => Type::BOOL_ARRAY,
        "bytea" => Type::BYTEA_ARRAY,
        _ => Type::TEXT_ARRAY,
    }
}

/// Inserts all rows. If a row is refused, earlier rows may already be inserted; their keys prevent duplicates when the
/// batch is retried.
pub(super) async fn all(client: &Client, table: &Table, rows: &[Row]) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    match execute(client, table, rows, Json::Guarded).await {
        Err(error) if error.is_value() => {}
        done => return done,
    }
    // A safety net in addition to [`jsonb::can_hold`]: a row that is still rejected is inserted without `event`.
    for row in rows.chunks(1) {
        match execute(client, table, row, Json::Guarded).await {
            Err(error) if error.is_value() => execute(client, table, row, Json::None).await?,
            done => done?,
        }
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq)]
enum Json {
    /// Include `event` if jsonb can hold it.
    Guarded,
    None,
}

/// Inserts rows in one transaction. `BEGIN`, `INSERT` and `COMMIT` are sent at once, so the transaction needs no more
/// round trips than the `INSERT` alone.
async fn execute(client: &Client, table: &Table, rows: &[Row], json: Json) -> Result<(), Error> {
    let texts = |of: fn(&Row) -> &str| rows.iter().map(|row| text(of(row))).collect::<Vec<_>>();
    let some = |of: fn(&Row) -> &Option<String>| {
        rows.iter().map(|row| of(row).as_deref().map(text)).collect::<Vec<_>>()
    };
    let event = |row: &Row| (json == Json::Guarded && jsonb::can_hold(&row.event)).then(|| row.event.clone());
    let arrays: [Box<dyn ToSql + Sync + Send>; COLUMNS.len()] = [
        Box::new(texts(|row| &row.key)),
        Box::new(rows.iter().map(|row| row.seq).collect::<Vec<_>>()),
        Box::new(rows.iter().map(|row| row.received_at.as_ms()).collect::<Vec<_>>()),
        Box::new(texts(|row| &row.source)),
        Box::new(texts(|row| &row.event_name)),
        Box::new(some(|row| &row.bik_id)),
        Box::new(some(|row| &row.store_id)),
        Box::new(some(|row| &row.message_id)),
        Box::new(some(|row| &row.status)),
        Box::new(some(|row| &row.channel)),
        Box::new(some(|row| &row.owner)),
        Box::new(some(|row| &row.category)),
        Box::new(some(|row| &row.customer_id)),
        Box::new(some(|row| &row.customer_name)),
        Box::new(some(|row| &row.phone)),
        Box::new(rows.iter().map(|row| row.created_at.and_then(time)).collect::<Vec<_>>()),
        Box::new(some(|row| &row.failure_reason)),
        Box::new(rows.iter().map(|row| row.attempt).collect::<Vec<_>>()),
        Box::new(rows.iter().map(|row| row.replay).collect::<Vec<_>>()),
        Box::new(rows.iter().map(event).collect::<Vec<_>>()),
        Box::new(rows.iter().map(|row| row.raw.clone()).collect::<Vec<_>>()),
    ];
    let arrays: Vec<(&(dyn ToSql + Sync), Type)> = arrays
        .iter()
        .zip(&COLUMNS)
        .map(|(array, column)| (&**array as &(dyn ToSql + Sync), array_of(column.postgres)))
        .collect();
    // Each future sends its request when it is first polled, and `join3` polls the futures in this order.
    let (begun, inserted, committed) = join3(
        client.batch_execute(BEGIN),
        client.execute_typed(&table.insert, &arrays),
        client.batch_execute("COMMIT"),
    )
    .await;
    begun?;
    inserted?;
    Ok(committed?)
}

/// Replaces U+0000, which the type `text` cannot hold, by U+FFFD.
fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

fn time(time: Timestamp) -> Option<i64> {
    Some(time.as_ms()).filter(|ms| YEARS_MS.contains(ms))
}
