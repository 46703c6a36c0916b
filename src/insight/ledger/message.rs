//! A message, as a row of insight's file.

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    super::state::{MergedStatuses, MessageState, MessageStep},
    execute,
    words::{Slice, WordIds},
};
use crate::{
    clock::Timestamp,
    event::{Event, Fact, Status, WORD_CHARS, excerpt},
};

/// A createdAt before this time (the year 2000) is not valid.
const EARLIEST_MS: i64 = 946_684_800_000;
/// Maximum length of a stored failure text, in characters.
const REASON_CHARS: usize = 1_000;

/// The role of a message in the conversation with its customer. The numbers are those in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MessageRole {
    /// To the customer, and an answer: messages of its owner (the sender) count as answers, and it has not failed.
    Answer = 1,
    /// From the customer, and asks for an answer.
    Ask = 2,
    /// From the customer, without a need for an answer: a reaction, a deleted message, or a question whose answer the
    /// retention has deleted.
    Silent = 3,
}

impl MessageRole {
    const ALL: [Self; 3] = [Self::Answer, Self::Ask, Self::Silent];

    fn of_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|role| *role as i64 == number)
    }
}

/// A message and everything that its row stores.
#[derive(Clone, Default)]
pub(super) struct StoredMessage {
    pub id: i64,
    pub slice: Slice,
    pub incoming: bool,
    pub first_at: Timestamp,
    pub merged: MergedStatuses,
    pub sent_at: Option<Timestamp>,
    pub delivered_at: Option<Timestamp>,
    pub read_at: Option<Timestamp>,
    failed_at: Option<Timestamp>,
    /// The customer.
    pub contact: Option<i64>,
    /// When the message was sent: the smallest valid createdAt of its events, or an earlier time of receipt.
    pub said_at: Timestamp,
    /// `None`: to the customer, and no answer.
    pub role: Option<MessageRole>,
    key: i64,
    message_id: String,
    first_seq: u64,
    last_at: Timestamp,
    created_at: Option<Timestamp>,
    is_new: bool,
}

/// Whether an event about a message arrives in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StatusOrder {
    /// The first event of the message.
    First,
    /// A later event that is neither disordered nor repeated.
    Next,
    /// A status that arrives after a status of a later step, such as `sent` after `read`.
    Disordered,
    /// A `sent`, `delivered`, `read` or `failed` that was received before.
    Repeated,
}

impl StoredMessage {
    /// Creates the row of a new message.
    pub(super) fn new(id: i64, key: i64, message_id: &str, source: i64, event: &Event) -> Self {
        Self {
            id,
            key,
            message_id: excerpt(message_id, WORD_CHARS).into_owned(),
            slice: Slice { source, ..Slice::default() },
            first_seq: event.seq,
            first_at: event.came_at,
            last_at: event.came_at,
            said_at: event.came_at,
            is_new: true,
            ..Self::default()
        }
    }

    /// Loads a message from insight's file; `None` if the message is unknown.
    pub(super) fn load(connection: &Connection, key: i64, words: &WordIds) -> rusqlite::Result<Option<Self>> {
        let mut select = connection.prepare_cached(
            "SELECT id, message_id, slice, incoming, contact, first_seq, first_at, last_at, reached, failed, deleted,
               (SELECT text FROM reason WHERE reason.id = message.reason), sent_at, delivered_at, read_at, failed_at,
               created_at, said_at, role
             FROM message WHERE key = ?1",
        )?;
        select
            .query_row([key], |row| {
                let time = |at: usize| row.get::<_, Option<i64>>(at).map(|ms| ms.map(Timestamp::from_ms));
                let slice: i64 = row.get(2)?;
                let reached = row.get::<_, usize>(8)?;
                let said_at = Timestamp::from_ms(row.get(17)?);
                Ok(Self {
                    id: row.get(0)?,
                    key,
                    message_id: row.get(1)?,
                    slice: *words
                        .by_id
                        .get(&slice)
                        .ok_or(rusqlite::Error::IntegralValueOutOfRange(2, slice))?,
                    incoming: row.get(3)?,
                    contact: row.get(4)?,
                    first_seq: row.get(5)?,
                    first_at: Timestamp::from_ms(row.get(6)?),
                    last_at: Timestamp::from_ms(row.get(7)?),
                    merged: MergedStatuses {
                        reached: MessageStep::ALL.get(reached).copied().unwrap_or_default(),
                        failed: row.get(9)?,
                        deleted: row.get(10)?,
                        reason: row.get(11)?,
                    },
                    sent_at: time(12)?,
                    delivered_at: time(13)?,
                    read_at: time(14)?,
                    failed_at: time(15)?,
                    created_at: row.get::<_, Option<i64>>(16)?.map(|ms| said_at.plus_ms(ms)),
                    said_at,
                    role: row.get::<_, Option<i64>>(18)?.and_then(MessageRole::of_number),
                    is_new: false,
                })
            })
            .optional()
    }

    /// Adds one fact of an event to the message. `created_at` is the fact's `createdAt`. The state and `said_at` of the
    /// message do not depend on the order of the facts.
    pub(super) fn add_fact(
        &mut self,
        event: &Event,
        fact: &Fact<'_>,
        created_at: Option<Timestamp>,
        slice: Slice,
    ) -> StatusOrder {
        let order = self.order(fact.status);
        self.is_new = false;
        self.slice = self.slice.or(slice);
        let created_at = created_at.filter(|at| at.as_ms() >= EARLIEST_MS);
        self.created_at = self.created_at.into_iter().chain(created_at).min();
        // The clock that set `created_at` may be ahead of ours.
        self.said_at = self.said_at.min(event.came_at).min(created_at.unwrap_or(event.came_at));
        self.last_at = self.last_at.max(event.came_at);
        self.merged.deleted |= fact.is_deleted;
        // Statuses of a customer's message can come before the message itself.
        self.incoming |= fact.is_incoming;
        if fact.is_reaction {
            self.role = Some(MessageRole::Silent);
        }
        if let Some(status) = fact.status {
            // Insight's file stores the cut reason. When the message changes later, its failure class is computed from
            // the stored reason, and must be the same as now. So the reason is cut before it is used.
            let reason = fact.failure_reason.map(|text| excerpt(text, REASON_CHARS));
            self.merged.merge(status, reason.as_deref());
            if let Some(first) = self.first_time_of(status) {
                first.get_or_insert(event.came_at);
            }
        }
        order
    }

    fn order(&mut self, status: Option<&Status>) -> StatusOrder {
        if self.is_new {
            return StatusOrder::First;
        }
        let Some(status) = status else { return StatusOrder::Next };
        if self.first_time_of(status).is_some_and(|first| first.is_some()) {
            return StatusOrder::Repeated;
        }
        match MessageStep::of(status) {
            Some(step) if step < self.merged.reached => StatusOrder::Disordered,
            _ => StatusOrder::Next,
        }
    }

    fn first_time_of(&mut self, status: &Status) -> Option<&mut Option<Timestamp>> {
        match status {
            Status::Sent => Some(&mut self.sent_at),
            Status::Delivered => Some(&mut self.delivered_at),
            Status::Read => Some(&mut self.read_at),
            status if status.is_failure() => Some(&mut self.failed_at),
            _ => None,
        }
    }

    /// Returns true if this outgoing message failed and no status shows that it arrived.
    pub(super) fn is_failure(&self) -> bool {
        !self.incoming && self.merged.state() == MessageState::Failed
    }

    /// Sets the role of the message. `owner_answers`: whether messages of its owner are answers.
    pub(super) fn set_role(&mut self, owner_answers: bool) {
        // A customer's message that is silent stays silent.
        let is_silent = self.merged.deleted || self.role == Some(MessageRole::Silent);
        self.role = match self.incoming {
            true if is_silent => Some(MessageRole::Silent),
            true => Some(MessageRole::Ask),
            false => (owner_answers && !self.is_failure()).then_some(MessageRole::Answer),
        };
    }

    /// Returns the values of the message from which columns of its contact are computed. `None` if the message has no
    /// contact or no role, and so does not change these columns.
    pub(super) fn part(&self) -> Option<(i64, MessageRole, Timestamp)> {
        Some((self.contact?, self.role?, self.said_at))
    }

    /// Returns the time from `sent_at` to `at`, in ms: `None` if one of them is unknown, 0 if `at` is earlier.
    pub(super) fn ms_after_sent(&self, at: Option<Timestamp>) -> Option<i64> {
        Some(at?.ms_since(self.sent_at?).max(0))
    }

    /// Writes the message.
    pub(super) fn save(
        &self,
        connection: &Connection,
        slice: i64,
        reason: Option<i64>,
    ) -> rusqlite::Result<()> {
        let state = (!self.incoming).then(|| self.merged.state() as i64);
        let ms = |time: Option<Timestamp>| time.map(Timestamp::as_ms);
        let MergedStatuses { reached, failed, deleted, .. } = &self.merged;
        let sql = "INSERT INTO message
               (id, slice, contact, last_at, reached, failed, deleted, state, reason, sent_at, delivered_at, read_at,
                failed_at, created_at, said_at, role, incoming, key, message_id, first_seq, first_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)
             ON CONFLICT (id) DO UPDATE SET slice = ?2, contact = ?3, last_at = ?4, reached = ?5, failed = ?6,
               deleted = ?7, state = ?8, reason = ?9, sent_at = ?10, delivered_at = ?11, read_at = ?12, failed_at = ?13,
               created_at = ?14, said_at = ?15, role = ?16, incoming = ?17";
        let values = params![
            self.id,
            slice,
            self.contact,
            self.last_at.as_ms(),
            *reached as i64,
            failed,
            deleted,
            state,
            reason,
            ms(self.sent_at),
            ms(self.delivered_at),
            ms(self.read_at),
            ms(self.failed_at),
            self.created_at.map(|at| at.ms_since(self.said_at)),
            self.said_at.as_ms(),
            self.role.map(|role| role as i64),
            self.incoming,
            self.key,
            self.message_id,
            self.first_seq,
            self.first_at.as_ms()
        ];
        execute(connection, sql, values).map(drop)
    }
}
