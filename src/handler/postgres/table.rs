//! The table: created if it is missing, extended if an older version of bikhook created it, and checked.
//!
//! The version of the columns (`VERSION`) is stored in the table's comment. Changes are made under an advisory lock, so
//! that two receivers that start at the same time do not conflict.

use tokio_postgres::{
    Client,
    types::{ToSql, Type},
};

use super::{error::Error, insert, session::BEGIN};
use crate::{
    handler::row::{self, COLUMNS, VERSION, table_name},
    settings::Wrong,
};

/// The key of the advisory lock: "bikhook" in ASCII.
const LOCK: i64 = 0x0062_696b_686f_6f6b;
/// The comment on our tables, without the version.
const COMMENT: &str = "Events of BIK, written by bikhook; version ";

/// The table, as configured.
#[derive(Clone)]
pub(super) struct Table {
    /// The quoted name, with the schema if one is configured.
    quoted: String,
    create: bool,
    /// The statement that inserts rows.
    pub(super) insert: String,
}

/// A column of the existing table.
struct Found {
    name: String,
    postgres: String,
    /// Each row must have a value for the column: it is NOT NULL and has no default.
    required: bool,
}

impl Table {
    /// Quotes the table name, and builds the statement that inserts rows.
    ///
    /// # Errors
    /// Returns what is wrong with the value of the configuration key `table`.
    pub(super) fn new(name: &str, create: bool) -> Result<Self, Wrong> {
        let parts = table_name(name, 2)?;
        let quoted = parts.iter().map(|part| format!("\"{part}\"")).collect::<Vec<_>>().join(".");
        let insert = insert::statement(&quoted);
        Ok(Self { quoted, create, insert })
    }

    /// Creates or extends the table if needed, and checks it. After an error the transaction is still open, so the
    /// connection must be closed.
    pub(super) async fn prepare(&self, client: &Client) -> Result<(), Error> {
        client.batch_execute(BEGIN).await?;
        let mut found = self.columns(client).await?;
        if self.create && !lacking(&found).is_empty() {
            client.execute_typed("SELECT pg_advisory_xact_lock($1)", &[(&LOCK, Type::INT8)]).await?;
            found = self.columns(client).await?;
            self.make(client, &found).await?;
            found = self.columns(client).await?;
        }
        self.check(client, &found).await?;
        Ok(client.batch_execute("COMMIT").await?)
    }

    async fn make(&self, client: &Client, found: &[Found]) -> Result<(), Error> {
        let table = &self.quoted;
        let change = if found.is_empty() {
            format!("CREATE TABLE {table} ({})", row::definitions(|column| column.postgres))
        } else if self.version(client).await?.is_some_and(|version| version < VERSION) {
            let columns: Vec<String> =
                lacking(found).iter().map(|column| format!("ADD COLUMN {column}")).collect();
            format!("ALTER TABLE {table} {}", columns.join(", "))
        } else {
            // No older version of bikhook created this table, so the table is not changed. The check reports the
            // missing columns.
            return Ok(());
        };
        client.batch_execute(&format!("{change}; COMMENT ON TABLE {table} IS '{COMMENT}{VERSION}'")).await?;
        Ok(())
    }

    /// The table name as the parameter of an unnamed statement.
    fn name(&self) -> (&(dyn ToSql + Sync), Type) {
        (&self.quoted, Type::TEXT)
    }

    async fn version(&self, client: &Client) -> Result<Option<u32>, Error> {
        let select = "SELECT obj_description(to_regclass($1::text), 'pg_class')";
        let comment: Option<String> = client.query_typed_one(select, &[self.name()]).await?.get(0);
        Ok(comment.and_then(|comment| comment.strip_prefix(COMMENT)?.parse().ok()))
    }

    async fn columns(&self, client: &Client) -> Result<Vec<Found>, Error> {
        let select = "SELECT attname::text, format_type(atttypid, NULL),
                             attnotnull AND NOT atthasdef AND attidentity = ''
                      FROM pg_attribute WHERE attrelid = to_regclass($1::text) AND attnum > 0 AND NOT attisdropped";
        let rows = client.query_typed(select, &[self.name()]).await?;
        let found =
            |row: tokio_postgres::Row| Found { name: row.get(0), postgres: row.get(1), required: row.get(2) };
        Ok(rows.into_iter().map(found).collect())
    }

    async fn check(&self, client: &Client, found: &[Found]) -> Result<(), Error> {
        let unfit = |what: String| Err(Error::Unfit(format!("the table {} {what}", self.quoted)));
        if found.is_empty() {
            return unfit("does not exist: create it, or set `create = true`".to_owned());
        }
        let missing = lacking(found);
        if !missing.is_empty() {
            return unfit(format!("lacks {}: add them, or name another `table`", missing.join(", ")));
        }
        for found in found {
            match COLUMNS.iter().find(|column| column.name == found.name) {
                Some(column) if column.postgres != found.postgres => {
                    return unfit(format!(
                        "has a column {} of type {}, which must be {}: change it, or name another `table`",
                        column.name, found.postgres, column.postgres
                    ));
                }
                None if found.required => {
                    return unfit(format!(
                        "has a column {:?} that is NOT NULL and has no default: add a default, or name another `table`",
                        found.name
                    ));
                }
                _ => {}
            }
        }
        let select = "SELECT has_table_privilege(to_regclass($1::text), 'INSERT'),
                             has_column_privilege(to_regclass($1::text), 'key', 'SELECT'),
                             EXISTS (SELECT FROM pg_index i JOIN pg_attribute a
                                       ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
                                     WHERE i.indrelid = to_regclass($1::text) AND i.indisunique AND i.indpred IS NULL
                                       AND i.indnkeyatts = 1 AND a.attname = 'key')";
        let row = client.query_typed_one(select, &[self.name()]).await?;
        if !row.get::<_, bool>(0) || !row.get::<_, bool>(1) {
            return unfit(
                "may not be used by the user of `url`: grant the user SELECT and INSERT".to_owned(),
            );
        }
        if !row.get::<_, bool>(2) {
            return unfit("has no primary key `key`: add it, or name another `table`".to_owned());
        }
        Ok(())
    }
}

fn lacking(found: &[Found]) -> Vec<String> {
    row::lacking(|column| column.postgres, |name| found.iter().any(|found| found.name == name))
}
