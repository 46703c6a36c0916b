//! `kind = "log"`: writes each event as a structured line to the log of this process, at level INFO.
//!
//! Personal data (BIK T10) is masked. A message id becomes a short keyed digest, which still distinguishes messages.
//! Only the last two digits of a phone number are shown. Names and texts are omitted. With `personal_data = true`
//! everything is shown.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use tokio::sync::Mutex;
use tracing::info;

use super::{Delivery, Failure, Kind, OpenError, Wrong};
use crate::{
    event::{View, canonical_address, is_phone_separator, joined},
    secret::{self, Secret},
};

/// The target of the event lines, which separates them from the process's own log lines.
pub const TARGET: &str = module_path!();

/// Replaces a text that may contain personal data.
const HIDDEN: &str = "***";
/// Maximum length of a word that is shown while personal data is masked, in bytes. BIK's event names, statuses and ids
/// are much shorter.
const WORD_BYTES: usize = 80;
/// Minimum number of digits of a phone number. Separators between the digits are not counted.
const PHONE_DIGITS: usize = 8;

/// A handler that writes events to the log.
pub(super) struct Log {
    lines: Arc<Mutex<Lines>>,
}

struct Lines {
    handler: String,
    settings: Settings,
    /// `None` until the first delivery, which may create the digest key. A command that only opens the handler must not
    /// create the key.
    show: Option<Show>,
}

/// The kind's own configuration keys.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Settings {
    /// Whether message ids, addresses (such as phone numbers), names and texts are shown unmasked.
    pub personal_data: bool,
    /// The file with the key for digests of message ids. A missing file is created. If this setting is missing, the
    /// module `config` sets it to `log-digest-key` next to the journal.
    pub digest_key_file: Option<PathBuf>,
}

impl Kind for Log {
    const NAME: &'static str = "log";
    const ABOUT: &'static str =
        "writes a line per event to the log of this process, with personal data masked";
    const CONCURRENCY: usize = 1;
    const BATCH: usize = 500;
    const HARMLESS: &'static [&'static str] = &["personal_data", "digest_key_file"];
    type Keys = Settings;
    type Settings = Settings;

    fn check(keys: Settings) -> Result<Settings, Wrong> {
        Ok(keys)
    }

    fn destination(settings: &Settings) -> String {
        let personal = if settings.personal_data { "shown" } else { "masked" };
        format!("the log of this process, personal data {personal}")
    }

    /// The fields of the line. Digests are made with the stored key, or with a random one if none is stored yet.
    fn shown(settings: &Settings, delivery: &Delivery) -> String {
        let fields = Show::preview(settings).map(|show| serde_json::to_value(Line::of(delivery, &show)));
        let mut fields = fields.unwrap_or_else(|error| Ok(serde_json::json!({ "error": error })));
        if let Ok(serde_json::Value::Object(fields)) = &mut fields {
            fields.retain(|_, value| !value.is_null());
        }
        fields.map(|fields| fields.to_string()).unwrap_or_default()
    }

    async fn open(name: &str, settings: Settings) -> Result<Self, OpenError> {
        let lines = Lines { handler: name.to_owned(), settings, show: None };
        Ok(Self { lines: Arc::new(Mutex::new(lines)) })
    }

    async fn deliver(&self, events: &[Delivery]) -> Result<(), Failure> {
        // Standard error may be a pipe that nobody reads. Writing to it then blocks, so the lines are written on a
        // blocking thread. The lock allows only one such thread at a time.
        let mut lines = Arc::clone(&self.lines).lock_owned().await;
        let events = events.to_vec();
        let written = tokio::task::spawn_blocking(move || lines.write(&events));
        written.await?
    }
}

impl Lines {
    fn write(&mut self, events: &[Delivery]) -> Result<(), Failure> {
        let show = match self.show.take() {
            Some(show) => show,
            None => Show::of(&self.settings).map_err(|error| Failure::misconfigured("digest key", error))?,
        };
        events.iter().for_each(|delivery| self.write_one(delivery, &show));
        self.show = Some(show);
        Ok(())
    }

    /// Writes the line of one event.
    fn write_one(&self, delivery: &Delivery, show: &Show) {
        let line = Line::of(delivery, show);
        info!(
            handler = self.handler,
            seq = line.seq,
            event = line.event,
            source = line.source,
            lane = line.lane,
            status = line.status,
            channel = line.channel,
            owner = line.owner,
            store = line.store,
            id = line.id,
            message_id = line.message_id,
            phone = line.phone,
            customer = line.customer,
            text = line.text,
            attempt = line.attempt,
            replay = line.replay,
            "event"
        );
    }
}

/// The fields of an event's line. If an event has several infos (objects in `eventInfo`), their values are joined by
/// commas. In `text`, their texts (or short descriptions of other contents) are joined by blanks.
#[derive(Serialize)]
struct Line<'a> {
    seq: u64,
    event: String,
    source: &'a str,
    lane: &'static str,
    status: Option<String>,
    channel: Option<String>,
    owner: Option<String>,
    store: Option<String>,
    id: Option<String>,
    message_id: Option<String>,
    phone: Option<String>,
    /// The customer's id if the event is a [`View::Subscribed`], otherwise the name in `customerDetails`.
    customer: Option<String>,
    text: Option<String>,
    attempt: Option<u32>,
    replay: Option<bool>,
}

impl<'a> Line<'a> {
    fn of(delivery: &'a Delivery, show: &Show) -> Self {
        let event = &delivery.event;
        let element = &event.element;
        let view = element.view();
        let word = |text: &str| show.word(text);
        let customer = match &view {
            View::Subscribed(event) => event.customer_id.as_deref().map(str::to_owned),
            _ => view.facts().next().and_then(|fact| fact.name()),
        };
        let texts = joined(view.facts().filter_map(|fact| Some(fact.content()?.to_string())), " ");
        Self {
            seq: event.seq,
            event: word(element.name()),
            source: &event.source,
            lane: element.class().as_str(),
            status: joined(view.statuses().map(|status| word(status.as_str())), ","),
            channel: joined(view.channels().map(|channel| word(channel.as_str())), ","),
            owner: joined(view.owners().map(|owner| word(owner.as_str())), ","),
            store: view.store_id().map(word),
            id: element.id().map(word),
            message_id: joined(view.message_ids().map(|id| show.message_id(id)), ","),
            phone: joined(view.addresses().map(|address| show.phone(address)), ","),
            customer: show.text(&customer.unwrap_or_default()),
            text: show.text(&texts.unwrap_or_default()),
            attempt: (delivery.attempt > 1).then_some(delivery.attempt),
            replay: delivery.replay.then_some(true),
        }
    }
}

/// How personal data is shown.
enum Show {
    All,
    Masked(DigestKey),
}

/// The key of the digests of message ids. A WhatsApp message id contains a phone number; without the key, nobody can
/// find that number by computing the digests of all numbers.
type DigestKey = Hmac<Sha256>;

impl Show {
    /// Reads the digest key, or creates it, unless personal data is shown.
    fn of(settings: &Settings) -> Result<Self, String> {
        if settings.personal_data {
            return Ok(Self::All);
        }
        let key = match &settings.digest_key_file {
            Some(file) => secret::load_or_make(file),
            // Only in tests, and in `preview` before the file exists. Otherwise `config` has set the file. The random
            // key is not stored.
            None => Secret::random(Path::new("log-digest-key")),
        };
        let key = key.map_err(|error| format!("digest_key_file: {error}"))?;
        let key = DigestKey::new_from_slice(key.expose().as_bytes()).map_err(|error| error.to_string())?;
        Ok(Self::Masked(key))
    }

    /// Like [`Self::of`], but creates no file.
    fn preview(settings: &Settings) -> Result<Self, String> {
        let stored = settings.digest_key_file.as_deref().filter(|_| !settings.personal_data);
        let is_missing = stored.is_some_and(|file| !file.exists());
        let settings = Settings {
            digest_key_file: stored.filter(|_| !is_missing).map(Path::to_owned),
            ..settings.clone()
        };
        Self::of(&settings)
    }

    /// Returns a word such as a status or an id. If personal data is masked and the word may contain some, returns
    /// [`HIDDEN`].
    fn word(&self, text: &str) -> String {
        match self {
            Self::Masked(_) if may_be_personal(text) => HIDDEN.to_owned(),
            _ => text.to_owned(),
        }
    }

    fn message_id(&self, id: &str) -> String {
        match self {
            Self::All => id.to_owned(),
            Self::Masked(key) => short_digest(key, id),
        }
    }

    fn phone(&self, address: &str) -> String {
        match self {
            Self::All => address.to_owned(),
            Self::Masked(_) => masked_phone(address),
        }
    }

    fn text(&self, text: &str) -> Option<String> {
        match self {
            Self::All if !text.is_empty() => Some(text.to_owned()),
            _ => None,
        }
    }
}

/// Returns whether a word is unusually long, or may be an address, a WhatsApp message id or a phone number.
fn may_be_personal(word: &str) -> bool {
    word.len() > WORD_BYTES
        || word.contains('@')
        || word.to_ascii_lowercase().contains("wamid")
        || (longest_number(word) >= PHONE_DIGITS && !is_uuid(word))
}

/// The length of the longest sequence of digits. `+` ends a sequence. Other separators of a phone number do not.
fn longest_number(text: &str) -> usize {
    let (mut longest, mut digits) = (0, 0);
    for c in text.chars() {
        match c {
            '0'..='9' => digits += 1,
            '+' => digits = 0,
            c if is_phone_separator(c) => {}
            _ => digits = 0,
        }
        longest = longest.max(digits);
    }
    longest
}

/// Returns whether the text is a UUID: groups of 8, 4, 4, 4 and 12 hexadecimal digits. The last group may have another
/// length, as in some ids from BIK.
fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    let hex = groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let lengths = groups.iter().map(|group| group.len());
    hex && groups.len() == 5 && lengths.take(4).eq([8, 4, 4, 4])
}

/// A digest that distinguishes messages without showing the phone number in a WhatsApp id: `#` and 8 hexadecimal
/// digits.
fn short_digest(key: &DigestKey, id: &str) -> String {
    let mut mac = key.clone();
    mac.update(id.as_bytes());
    let [first, second, third, fourth, ..]: [u8; 32] = mac.finalize().into_bytes().into();
    format!("#{first:02x}{second:02x}{third:02x}{fourth:02x}")
}

/// [`HIDDEN`] and the last two digits of a phone number; only [`HIDDEN`] for any other address.
fn masked_phone(phone: &str) -> String {
    let digits = canonical_address(phone);
    let is_phone = digits.len() >= PHONE_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    let last = digits.get(digits.len().saturating_sub(2)..).filter(|_| is_phone);
    format!("{HIDDEN}{}", last.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Seek},
        os::unix::fs::PermissionsExt,
    };

    use serde_json::Value;

    use super::*;

    const INCOMING: &str = r#"{"eventName":"incoming-message","storeId":"p60HYv5wjgQaOrPdqT5NjbpkroD2",
        "eventInfo":{"messageId":"wamid.HBgMOTE5OTM4NDM4MTM4FQIAEhggNzY1","channelId":"whatsapp","status":"",
        "message":"Hii sir","owner":"","assetValue":"+919090909012","agentName":"Champak","agentEmailId":"c@x.example"},
        "customerDetails":{"firstName":"Jethalal","lastName":"Gada"},"id":"64e0dc5d-cec6-40cf-8d71-123456789012"}"#;
    const FAILED: &str = r#"{"eventName":"message-status-update","eventInfo":[{"messageId":"m1","status":"failed",
        "owner":"AGENT","channelId":"sms"},{"messageId":"m2","status":"919090909012","owner":"BOT"}],"id":"919090909012"}"#;
    const PERSONAL: [&str; 9] =
        ["HBgMOTE5", "wamid", "Hii", "919090909", "9090909012", "Jethalal", "Gada", "Champak", "c@x.example"];

    /// The log output of the handler for an event: the whole text, and its fields.
    fn logged(raw: &str, settings: &str, attempt: u32, replay: bool) -> (String, Value) {
        let mut captured = tempfile::tempfile().unwrap();
        let writer = captured.try_clone().unwrap();
        let subscriber = tracing_subscriber::fmt().json().with_writer(writer).finish();
        let mut log =
            Lines { handler: "console".into(), settings: toml::from_str(settings).unwrap(), show: None };
        tracing::subscriber::with_default(subscriber, || {
            log.write(&[Delivery { attempt, replay, ..Delivery::sample(7, raw) }]).unwrap();
        });
        captured.rewind().unwrap();
        let text = io::read_to_string(captured).unwrap();
        assert_eq!(text.lines().count(), 1, "not one line: {text}");
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["target"], "bikhook::handler::log");
        let fields = line["fields"].clone();
        (text, fields)
    }

    #[test]
    fn a_line_describes_the_event_without_personal_data() {
        let (text, fields) = logged(INCOMING, "", 1, false);
        for personal in PERSONAL {
            assert!(!text.contains(personal), "{personal} in {text}");
        }
        assert_eq!(fields["seq"], 7);
        assert_eq!(fields["event"], "incoming-message");
        assert_eq!(fields["source"], "bik");
        assert_eq!(fields["lane"], "incoming");
        assert_eq!(fields["channel"], "whatsapp");
        assert_eq!(fields["store"], "p60HYv5wjgQaOrPdqT5NjbpkroD2");
        assert_eq!(fields["id"], "64e0dc5d-cec6-40cf-8d71-123456789012");
        assert_eq!(fields["phone"], "***12");
        assert_eq!(fields["message"], "event");
        assert_eq!(fields["message_id"].as_str().unwrap().len(), "#01234567".len());
        assert!(fields.get("status").is_none() && fields.get("attempt").is_none());
    }

    #[test]
    fn a_phone_number_is_masked_also_where_a_status_or_an_id_should_be() {
        let (text, fields) = logged(FAILED, "", 3, true);
        assert!(!text.contains("909090"), "{text}");
        assert_eq!(fields["status"], "failed,***");
        assert_eq!(fields["owner"], "AGENT,BOT");
        assert_eq!(fields["id"], "***");
        assert_eq!((&fields["attempt"], &fields["replay"]), (&3.into(), &true.into()));
    }

    #[test]
    fn personal_data_is_shown_if_configured() {
        let (_, fields) = logged(INCOMING, "personal_data = true", 1, false);
        assert_eq!(fields["message_id"], "wamid.HBgMOTE5OTM4NDM4MTM4FQIAEhggNzY1");
        assert_eq!(fields["phone"], "+919090909012");
        assert_eq!(fields["customer"], "Jethalal Gada");
        assert_eq!(fields["text"], "Hii sir");
    }

    #[test]
    fn a_content_without_a_text_is_described_and_asset_ids_are_no_phone() {
        let info = r#""buttons":{"button_reply":{"id":"1","title":"Yes, confirm"}}"#;
        let raw =
            format!(r#"{{"eventName":"incoming-message","eventInfo":[{{{info}}},{{"type":"sticker"}}]}}"#);
        assert_eq!(logged(&raw, "personal_data = true", 1, false).1["text"], "Yes, confirm sticker");
        assert!(logged(&raw, "", 1, false).1.get("text").is_none());
        let created =
            r#"{"eventName":"customerCreated","eventId":"e","assets":["12030878"],"eventProperties":{}}"#;
        assert!(logged(created, "personal_data = true", 1, false).1.get("phone").is_none());
    }

    #[test]
    fn the_digest_of_a_message_id_depends_on_the_stored_key() {
        let digest = |file: Option<PathBuf>| {
            let settings = Settings { digest_key_file: file, ..Settings::default() };
            Show::of(&settings).unwrap().message_id("wamid.HBgMOTE5OTM4NDM4MTM4FQIAEhggNzY1")
        };
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("data/log-digest-key");
        let first = digest(Some(file.clone()));
        assert_eq!(digest(Some(file.clone())), first, "the key is kept");
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::remove_file(&file).unwrap();
        assert_ne!(digest(Some(file)), first, "it depends on the key");
        assert_ne!(digest(None), digest(None), "without a file each process has its own");
    }

    #[test]
    fn a_text_cannot_forge_a_line() {
        let raw = r#"{"eventName":"a\n{\"level\":\"ERROR\"}"}"#;
        logged(raw, "personal_data = true", 1, false);
    }

    #[test]
    fn only_words_that_may_be_personal_are_masked() {
        let masked = Show::of(&Settings::default()).unwrap();
        for ordinary in [
            "message-status-update",
            "DEV_API",
            "optedOut-22103",
            "64e0dc5d-cec6-40cf-8d71-5aea887e3cbd64",
            "32176522-1117-4002-8013-617479012345",
            "p60HYv5wjgQaOrPdqT5NjbpkroD2",
        ] {
            assert_eq!(masked.word(ordinary), ordinary);
        }
        for personal in [
            "919090909090",
            "+91 90909 09090",
            "+91\u{a0}90909\u{2011}09090",
            "(0)30-1234.5678",
            "a@b.example",
            "WAMID.x",
            &"x".repeat(81),
        ] {
            assert_eq!(masked.word(personal), HIDDEN, "{personal}");
        }
    }

    #[test]
    fn an_address_that_is_not_a_phone_number_is_hidden() {
        assert_eq!(masked_phone("+91 90909 09042"), "***42");
        assert_eq!(masked_phone("\u{200e}+91\u{a0}90909\u{2011}09042"), "***42");
        for address in ["jethalal@gada.example", "IN.1234567890", "12345", ""] {
            assert_eq!(masked_phone(address), HIDDEN);
        }
    }
}
