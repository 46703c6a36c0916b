//! Turns events into rows. Each batch is one transaction that includes the cursor, so each event is counted exactly
//! once.
//!
//! A batch may change the same message, customer or figure many times. So the changes are collected in memory, and each
//! row is written once. When a message changes, its old share of the figures is subtracted and the new one added.

mod contacts;
mod figures;
mod message;
mod migration;
mod old_words;
mod retention;
mod words;

use std::{
    collections::{BTreeMap, HashMap},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
    time::Instant,
};

use rusqlite::{Connection, OptionalExtension, Params, params, types::Type};

use self::{
    contacts::{ContactChanges, ContactIds},
    figures::{Arrival, FigureChanges, TABLES},
    message::{StatusOrder, StoredMessage},
    words::{MAX_SLICES, Slice, WordIds},
};
use super::{
    Settings,
    answers::AnswerRules,
    facts::{facts, keys},
    failures::FailureClasses,
    file::{InsightFile, InsightOpenError},
    hour::hour_of,
    public_id::PublicIdMaker,
    vocabulary::Vocabulary,
};
use crate::{
    clock::Timestamp,
    event::{Channel, Event, Fact, OrderKey, Owner, Status},
};

/// The writer of insight's file.
pub struct Ledger {
    connection: Connection,
    failures: FailureClasses,
    words: WordIds,
    contacts: ContactIds,
    public_ids: PublicIdMaker,
    /// The `tenant` of each source that has one in the configuration.
    tenants: BTreeMap<String, String>,
    answers: AnswerRules,
    /// Whether messages of an owner and owner id are answers.
    answering: HashMap<[Option<i64>; 2], bool>,
    next_message: i64,
    next_contact: i64,
    cursor: u64,
    /// Batches change only the figures of hours after this one. It is set by a rebuild, which keeps the figures up to
    /// this hour, because it cannot restore them from the journal as they were.
    figures_after: i64,
    /// The day for which `fold_old_words` last ran, in days since the epoch; `None` if it has not run in this process.
    folded_day: Option<i64>,
    /// When `catch_up` last ran; `None` if it has not run in this process.
    caught_up: Option<Instant>,
}

/// The tables that a rebuild empties.
const REBUILT_TABLES: [&str; 9] = [
    "message",
    "sighting",
    "occurrence",
    "contact",
    "contact_key",
    "merged_contact",
    "scope",
    "reason",
    "heard",
];

/// The changes of a batch, before they are written.
#[derive(Default)]
struct BatchChanges {
    rows: Vec<ChangedMessage>,
    by_key: HashMap<i64, usize>,
    contacts: ContactChanges,
    last_events: HashMap<i64, (u64, Timestamp)>,
    figures: FigureChanges,
}

/// A message that a batch changes.
struct ChangedMessage {
    row: StoredMessage,
    /// The row in the file before the batch; `None` for a new message.
    before: Option<StoredMessage>,
}

impl Ledger {
    /// Opens insight's file, and locks it for this process until the returned [`InsightFile`] is dropped. Creates the
    /// secret of public ids if it is missing, with a warning if the file has customers.
    ///
    /// # Errors
    /// Returns [`InsightOpenError`] if the file or the secret cannot be opened.
    pub fn open(
        path: &Path,
        settings: &Settings,
        failures: FailureClasses,
    ) -> Result<(Self, Arc<InsightFile>), InsightOpenError> {
        let engine = |source| InsightOpenError::Engine { path: path.display().to_string(), source };
        let file = InsightFile::lock(path)?;
        let connection = file.writer()?;
        let has_customers: bool = connection
            .query_row("SELECT EXISTS (SELECT 1 FROM contact)", [], |row| row.get(0))
            .map_err(engine)?;
        let mut ledger = Self {
            connection,
            failures,
            words: WordIds::default(),
            contacts: ContactIds::default(),
            public_ids: PublicIdMaker::open(path, has_customers)?,
            tenants: settings.tenants.clone(),
            answers: AnswerRules::new(&settings.answers),
            answering: HashMap::new(),
            next_message: 0,
            next_contact: 0,
            cursor: 0,
            figures_after: 0,
            folded_day: None,
            caught_up: None,
        };
        ledger.reload().map_err(engine)?;
        ledger.migrate_contacts().map_err(engine)?;
        ledger.apply_answer_rules().map_err(engine)?;
        Ok((ledger, Arc::new(file)))
    }

    /// Every event up to this seq is processed.
    pub const fn cursor(&self) -> u64 {
        self.cursor
    }

    /// The tip that a running rebuild goes to; `None` if no rebuild runs.
    ///
    /// # Errors
    /// Returns SQLite errors.
    pub fn rebuilding_to(&self) -> rusqlite::Result<Option<u64>> {
        self.mark("rebuild").map(|tip| tip.map(|tip| tip.try_into().unwrap_or_default()))
    }

    /// Stores `events`, and moves the cursor to `through`. The caller must give all events after the cursor up to
    /// `through`, in order of seq. Events up to the cursor, and events that bikhook itself created, are skipped.
    ///
    /// # Errors
    /// Returns SQLite errors; nothing is stored then.
    pub fn apply(&mut self, events: &[Arc<Event>], through: u64) -> rusqlite::Result<()> {
        let stored = self.transact(|ledger| {
            let mut changes = BatchChanges::default();
            let cursor = ledger.cursor;
            for event in events.iter().filter(|event| event.seq > cursor && !event.is_own()) {
                ledger.take(&mut changes, event)?;
            }
            ledger.write(changes)?;
            ledger.set_mark("cursor", through.try_into().unwrap_or(i64::MAX))?;
            if ledger.rebuilding_to()?.is_some_and(|tip| through >= tip) {
                ledger.connection.execute("DELETE FROM mark WHERE name = 'rebuild'", [])?;
            }
            Ok(())
        });
        if stored.is_ok() {
            self.cursor = self.cursor.max(through);
        }
        stored
    }

    /// Deletes all messages, customers and figures, except the figures of hours that the journal does not cover
    /// completely, and figures that were summed per day. The caller must then apply all events up to `tip` again.
    /// `after` is the seq before the journal's first event. `from` is when the first event was received; `None` if the
    /// journal is empty.
    ///
    /// # Errors
    /// Returns SQLite errors; nothing is deleted then.
    pub fn begin_rebuild(&mut self, after: u64, from: Option<Timestamp>, tip: u64) -> rusqlite::Result<()> {
        // Figures that were summed per day stay. A rebuild would restore them per hour, and would not sum them per day
        // again.
        let by_the_day = self.mark("by_the_day")?.unwrap_or(i64::MIN).saturating_sub(1);
        let kept = from.map(|from| {
            let hour = hour_of(from);
            // If `after` is 0, the journal still has every event. So it covers this hour completely.
            if after == 0 { hour - 1 } else { hour }.max(by_the_day)
        });
        self.transact(|ledger| {
            for table in REBUILT_TABLES {
                ledger.connection.execute(&format!("DELETE FROM {table}"), [])?;
            }
            // An empty journal can restore nothing. So all figures stay, and later events are added to them.
            if let Some(kept) = kept {
                for (table, ..) in TABLES {
                    ledger.connection.execute(&format!("DELETE FROM {table} WHERE at > ?1"), [kept])?;
                }
                ledger.set_mark("figures_after", kept)?;
            }
            ledger.set_mark("cursor", after.try_into().unwrap_or(i64::MAX))?;
            if tip > after {
                ledger.set_mark("rebuild", tip.try_into().unwrap_or(i64::MAX))?;
            }
            Ok(())
        })?;
        self.reload()
    }

    /// Runs a transaction. If it fails or panics, it is rolled back, and the state in memory is read again from the
    /// file. A failure of insight stops neither intake nor a handler. Insight tries again later, as a handler does.
    fn transact(&mut self, work: impl FnOnce(&mut Self) -> rusqlite::Result<()>) -> rusqlite::Result<()> {
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let worked = catch_unwind(AssertUnwindSafe(|| work(self)));
        let worked = worked.unwrap_or_else(|_panic| {
            Err(rusqlite::Error::FromSqlConversionFailure(0, Type::Null, "a transaction panicked".into()))
        });
        let done = worked.and_then(|()| self.connection.prepare_cached("COMMIT")?.execute([]).map(drop));
        if done.is_err() {
            if !self.connection.is_autocommit() {
                self.connection.execute_batch("ROLLBACK")?;
            }
            self.reload()?;
        }
        done
    }

    fn reload(&mut self) -> rusqlite::Result<()> {
        self.words = WordIds::load(&self.connection)?;
        self.forget_contact_ids();
        self.answering.clear();
        let next = |table: &str| {
            let sql = format!("SELECT coalesce(max(id), 0) + 1 FROM {table}");
            self.connection.query_row(&sql, [], |row| row.get(0))
        };
        (self.next_message, self.next_contact) = (next("message")?, next("contact")?);
        self.cursor = self.mark("cursor")?.unwrap_or_default().try_into().unwrap_or_default();
        self.figures_after = self.mark("figures_after")?.unwrap_or(i64::MIN);
        Ok(())
    }

    fn mark(&self, name: &str) -> rusqlite::Result<Option<i64>> {
        self.connection
            .prepare_cached("SELECT value FROM mark WHERE name = ?1")?
            .query_row([name], |row| row.get(0))
            .optional()
    }

    fn set_mark(&self, name: &str, value: i64) -> rusqlite::Result<()> {
        let sql = "INSERT OR REPLACE INTO mark (name, value) VALUES (?1, ?2)";
        execute(&self.connection, sql, params![name, value]).map(drop)
    }

    /// Adds one event to the changes.
    fn take(&mut self, changes: &mut BatchChanges, event: &Event) -> rusqlite::Result<()> {
        let source = self.words.id(&self.connection, Vocabulary::Source, &event.source)?;
        let name = self.words.id(&self.connection, Vocabulary::EventName, event.element.name())?;
        let hour = hour_of(event.came_at);
        let mut arrival = Arrival { events: 1, ..Arrival::default() };
        let view = event.element.view();
        for fact in facts(&view) {
            let keys = keys(&view, &fact);
            let contact = self.contact(changes, event, &keys, &fact)?;
            let Some(message_id) = fact.message_id else {
                self.occurrence(event, name, contact)?;
                continue;
            };
            match self.message(changes, event, source, message_id, &fact, contact)? {
                StatusOrder::First | StatusOrder::Next => {}
                StatusOrder::Disordered => arrival.disordered += 1,
                StatusOrder::Repeated => arrival.repeated += 1,
            }
        }
        changes.figures.count_arrival(hour, source, name, arrival);
        changes.last_events.insert(source, (event.seq, event.came_at));
        Ok(())
    }

    fn message(
        &mut self,
        changes: &mut BatchChanges,
        event: &Event,
        source: i64,
        message_id: &str,
        fact: &Fact<'_>,
        contact: Option<i64>,
    ) -> rusqlite::Result<StatusOrder> {
        let key = OrderKey::of(&event.source, message_id).0.cast_signed();
        let at = match changes.by_key.get(&key) {
            Some(at) => *at,
            None => {
                let before = StoredMessage::load(&self.connection, key, &self.words)?;
                let row = before.clone().unwrap_or_else(|| {
                    let id = self.next_message;
                    self.next_message += 1;
                    StoredMessage::new(id, key, message_id, source, event)
                });
                changes.rows.push(ChangedMessage { row, before });
                changes.by_key.insert(key, changes.rows.len() - 1);
                changes.rows.len() - 1
            }
        };
        let slice = self.slice(source, fact)?;
        let status = self.word(Vocabulary::Status, fact.status.map(Status::as_str))?.unwrap_or(0);
        let created_at = fact.time();
        let known = changes.rows[at].row.contact.map(|id| changes.contacts.resolve(id));
        let contact = match (known, contact) {
            (Some(known), Some(other)) => {
                Some(self.contact_of_message(&mut changes.contacts, known, other)?)
            }
            (known, other) => known.or(other),
        };
        let row = &mut changes.rows[at].row;
        row.contact = contact;
        let order = row.add_fact(event, fact, created_at, slice);
        if let Some(created_at) = created_at.filter(|_| order == StatusOrder::First) {
            let late_ms = event.came_at.ms_since(created_at);
            changes.figures.count_lateness(hour_of(event.came_at), source, late_ms);
        }
        let sql = "INSERT OR IGNORE INTO sighting (message, seq, status, at, created_at) VALUES (?1, ?2, ?3, ?4, ?5)";
        let (came_at, created_at) = (event.came_at.as_ms(), created_at.map(Timestamp::as_ms));
        execute(&self.connection, sql, params![row.id, event.seq, status, came_at, created_at])?;
        Ok(order)
    }

    fn slice(&mut self, source: i64, fact: &Fact<'_>) -> rusqlite::Result<Slice> {
        let words = [
            self.word(Vocabulary::Store, fact.store_id)?,
            self.word(Vocabulary::Channel, fact.channel.map(Channel::as_str))?,
            self.word(Vocabulary::Owner, fact.owner.map(Owner::as_str))?,
            self.word(Vocabulary::OwnerId, fact.owner_id)?,
        ];
        Ok(Slice { source, words })
    }

    fn word(&mut self, kind: Vocabulary, text: Option<&str>) -> rusqlite::Result<Option<i64>> {
        text.map(|text| self.words.id(&self.connection, kind, text)).transpose()
    }

    /// Returns whether the messages of a slice's owner are answers.
    fn owner_answers(&mut self, slice: Slice) -> rusqlite::Result<bool> {
        let [.., owner, owner_id] = slice.words;
        let Some(owner_word) = owner else { return Ok(false) };
        if let Some(answers) = self.answering.get(&[owner, owner_id]) {
            return Ok(*answers);
        }
        let mut select = self.connection.prepare_cached("SELECT text FROM word WHERE id = ?1")?;
        let mut text = |id: i64| select.query_row([id], |row| row.get::<_, String>(0));
        let (owner_text, id_text) = (text(owner_word)?, owner_id.map(text).transpose()?);
        let answers = self.answers.is_answer(&owner_text, id_text.as_deref());
        if self.answering.len() >= MAX_SLICES {
            self.answering.clear();
        }
        self.answering.insert([owner, owner_id], answers);
        Ok(answers)
    }

    fn occurrence(&self, event: &Event, name: i64, contact: Option<i64>) -> rusqlite::Result<()> {
        let sql = "INSERT OR IGNORE INTO occurrence (seq, name, contact, at) VALUES (?1, ?2, ?3, ?4)";
        execute(&self.connection, sql, params![event.seq, name, contact, event.came_at.as_ms()]).map(drop)
    }

    fn write(&mut self, mut changes: BatchChanges) -> rusqlite::Result<()> {
        for ChangedMessage { row, before } in &mut changes.rows {
            row.contact = row.contact.map(|id| changes.contacts.resolve(id));
            row.set_role(self.owner_answers(row.slice)?);
            let reason = row.merged.reason.as_deref();
            let reason = reason.map(|text| self.words.reason(&self.connection, text)).transpose()?;
            let slice = self.words.slice(&self.connection, row.slice)?;
            row.save(&self.connection, slice, reason)?;
            let parts = [before.as_ref().and_then(StoredMessage::part), row.part()];
            if parts[0] != parts[1] {
                parts.iter().flatten().for_each(|(contact, ..)| changes.contacts.set_stale(*contact));
            }
            for (row, sign) in [(before.as_ref(), -1), (Some(&*row), 1)] {
                let Some(row) = row else { continue };
                let slice = self.words.slice(&self.connection, row.slice)?;
                let class = row.is_failure().then(|| self.failures.class_of(row.merged.reason.as_deref()));
                let class =
                    class.map(|class| self.words.id(&self.connection, Vocabulary::FailureClass, class));
                let class = class.transpose()?;
                changes.figures.count(row, slice, class, sign);
            }
        }
        self.write_contacts(changes.contacts)?;
        for (source, (seq, at)) in changes.last_events {
            let sql = "INSERT OR REPLACE INTO heard (source, seq, at) VALUES (?1, ?2, ?3)";
            execute(&self.connection, sql, params![source, seq, at.as_ms()])?;
        }
        changes.figures.write(&self.connection, self.figures_after)
    }
}

/// Executes a statement, which stays prepared. Returns how many rows it changed.
fn execute(connection: &Connection, sql: &str, values: impl Params) -> rusqlite::Result<usize> {
    connection.prepare_cached(sql)?.execute(values)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{event::Element, insight::bucket_of};

    /// An event that was received long ago.
    pub(in crate::insight) fn event(seq: u64, raw: &str) -> Arc<Event> {
        event_at(seq, raw, Timestamp::from_ms(1))
    }

    fn event_at(seq: u64, raw: &str, came_at: Timestamp) -> Arc<Event> {
        let element = Arc::new(Element::read(raw.as_bytes()).unwrap());
        Arc::new(Event { seq, came_at, received_at: came_at, source: "bik".into(), element })
    }

    pub(in crate::insight) fn ledger(folder: &tempfile::TempDir) -> (Ledger, Arc<InsightFile>) {
        let failures = FailureClasses::load(None).unwrap();
        Ledger::open(&folder.path().join("insight.db"), &Settings::default(), failures).unwrap()
    }

    #[test]
    fn created_at_is_stored_with_every_status_and_the_first_counts_its_delay() {
        let folder = tempfile::tempdir().unwrap();
        let (mut ledger, _file) = ledger(&folder);
        let status = |seq: u64, status: &str, created_at: &str| {
            let info = format!(r#"{{"messageId":"m","status":"{status}","createdAt":"{created_at}"}}"#);
            let raw = format!(r#"{{"eventName":"message-status-update","eventInfo":{info}}}"#);
            event_at(seq, &raw, "2026-01-01T00:00:00.001Z".parse().unwrap())
        };
        let statuses = [
            status(1, "sent", "2025-12-31T23:59:00Z"),
            status(2, "delivered", "no time"),
            status(3, "read", "2025-12-31T23:58:00Z"),
        ];
        let ms = |text: &str| text.parse().ok().map(Timestamp::as_ms);
        ledger.apply(&statuses, 3).unwrap();
        let rows = |sql: &str| -> Vec<Option<i64>> {
            let mut select = ledger.connection.prepare(sql).unwrap();
            select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        };
        let smallest = ms("2025-12-31T23:58:00Z");
        assert_eq!(rows("SELECT said_at FROM message"), [smallest]);
        assert_eq!(rows("SELECT created_at FROM message"), [Some(0)], "after said_at");
        let of_statuses = [ms("2025-12-31T23:59:00Z"), None, smallest];
        assert_eq!(rows("SELECT created_at FROM sighting ORDER BY seq"), of_statuses);
        assert_eq!(rows("SELECT bucket FROM lateness"), [Some(bucket_of(60_001).into())]);
        assert_eq!(rows("SELECT events FROM lateness"), [Some(1)]);
    }

    #[test]
    fn a_panic_rolls_back_and_the_next_transaction_succeeds() {
        let folder = tempfile::tempdir().unwrap();
        let (mut ledger, _file) = ledger(&folder);
        ledger.apply(&[], 3).unwrap();
        let panicked = ledger.transact(|ledger| {
            ledger.set_mark("cursor", 7)?;
            panic!("test panic")
        });
        assert!(panicked.is_err());
        assert_eq!((ledger.cursor(), ledger.mark("cursor").unwrap()), (3, Some(3)));
        ledger.apply(&[], 4).unwrap();
        assert_eq!(ledger.mark("cursor").unwrap(), Some(4));
    }
}
