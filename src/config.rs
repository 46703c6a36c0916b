//! The TOML file and the environment become a [`Config`]. Only `app` and `cli` know it: each module owns its settings.
//!
//! The file becomes a tree, variables are laid over it, what is missing is filled in, and each part is handed to the
//! settings that own it. Parsing is validating: a `Config` that exists can be served, and everything that is wrong is
//! told at once.

mod check;
mod exposure;
mod files;
mod handlers;
mod memory;
mod overrides;
mod reading;
mod redaction;
mod report;
mod schema;

pub use handlers::HandlerConfig;
pub use memory::{Memory, MemoryLimit};
pub use report::Report;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::{
    admin, folder,
    http::{self, SourceSettings},
    insight, journal,
    secret::{self, Secret},
    settings::{Context, Table, nearest, parse_toml},
};
use reading::Reading;
use redaction::HiddenTexts;
use report::Origin;

/// Everything that was configured, valid as a whole.
pub struct Config {
    /// `[http]`.
    pub http: http::Settings,
    /// `[admin]`.
    pub admin: admin::Settings,
    /// `[sources.NAME]`, never empty.
    pub sources: BTreeMap<String, SourceSettings>,
    /// `[journal]`.
    pub journal: JournalSettings,
    /// `[insight]`, with the path that it comes to.
    pub insight: insight::Settings,
    /// `[handlers.NAME]`, in the order of the file.
    pub handlers: Vec<HandlerConfig>,
    /// `[log]`.
    pub log: LogSettings,
    /// Where the journal is, and the credential that the first start makes.
    pub data_dir: PathBuf,
    /// What is not wrong, but should be known.
    pub warnings: Report,
    not_stored: BTreeMap<PathBuf, Secret>,
}

/// `[journal]`, by its `kind`.
#[derive(Clone, Debug)]
pub enum JournalSettings {
    /// `kind = "sqlite"`, the default.
    Sqlite(journal::sqlite::Settings),
}

/// `[log]`: what this process says of itself.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// A level (`info`), or directives as `info,bikhook::http=debug`.
    pub level: String,
    /// How a line is written.
    pub format: LogFormat,
    /// Where spans go, a base URL of OTLP over HTTP; without it to where the standard variables say, if they do.
    pub otlp: Option<String>,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text, otlp: None }
    }
}

/// Without the URL: it may hold a token.
impl fmt::Debug for LogSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { level, format, otlp: _ } = self;
        f.debug_struct("LogSettings").field("level", level).field("format", format).finish_non_exhaustive()
    }
}

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// An object a line.
    Json,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What it says is wrong.
    #[error("{0}")]
    Invalid(Report),
}

impl Config {
    /// Reads a file, or without one takes the defaults; with these environment variables laid over it. Nothing is
    /// written: see [`Config::store_generated`].
    ///
    /// # Errors
    /// [`ConfigError`], with everything that can be told to be wrong.
    pub fn load(
        path: Option<&Path>,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let Begun { origin, mut reading, unmatched, given } = Begun::of(path, variables)?;
        fill_in(&mut reading.root, given);
        fill_in_digest_keys(&mut reading.root);
        let config = read(&mut reading, path);
        let hidden = HiddenTexts::of(&reading.root, Some(&reading.context));
        match config {
            Some(mut config) if reading.problems.is_empty() => {
                if path.is_none() && Path::new(FILE_NAME).is_file() {
                    let help = format!("say `--config {FILE_NAME}`, or set BIKHOOK_CONFIG");
                    reading.warn(
                        &[],
                        format!("{FILE_NAME} is in this folder and is not read: no file was named"),
                        Some(help),
                    );
                }
                let near = overrides::warnings(&reading.root, &reading.context, &unmatched);
                reading.warnings.extend(near);
                config.warnings = Report::warnings(origin, reading.warnings, &hidden);
                config.not_stored = reading.context.not_stored();
                Ok(config)
            }
            _ => Err(ConfigError::Invalid(Report::errors(origin, reading.problems, &hidden))),
        }
    }

    /// `[admin]` alone, for who asks a running receiver: what else the file says need not be right here, nor its secrets
    /// at hand.
    ///
    /// # Errors
    /// [`ConfigError`], where the file cannot be read, or this part of it.
    pub fn load_admin(
        path: Option<&Path>,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<admin::Settings, ConfigError> {
        let Begun { origin, mut reading, .. } = Begun::of(path, variables)?;
        reading.problems.clear();
        let admin = reading.read::<admin::Settings>(&["admin"]);
        if let Some(admin) = &admin {
            check::admin(&mut reading, admin, None);
        }
        admin.filter(|_| reading.problems.is_empty()).ok_or_else(|| {
            let hidden = HiddenTexts::of(&reading.root, Some(&reading.context));
            ConfigError::Invalid(Report::errors(origin, reading.problems, &hidden))
        })
    }

    /// The files of `{ generate = … }` that do not exist yet, with fresh secrets that hold only once they are stored.
    pub fn not_stored(&self) -> impl Iterator<Item = (&Path, &Secret)> {
        self.not_stored.iter().map(|(path, secret)| (path.as_path(), secret))
    }

    /// Stores the secrets that were made for this start, and says in which files. Only who serves calls this.
    ///
    /// # Errors
    /// [`secret::FileError`] where a file cannot be written, or was made by another process meanwhile.
    pub fn store_generated(&mut self) -> Result<Vec<PathBuf>, secret::FileError> {
        let mut stored = Vec::new();
        while let Some((path, secret)) = self.not_stored.pop_first() {
            secret::store(&path, &secret)?;
            stored.push(path);
        }
        Ok(stored)
    }
}

/// A configuration whose parts are still to be read: the file, with the variables laid over it.
struct Begun {
    origin: Origin,
    reading: Reading,
    unmatched: Vec<String>,
    given: Given,
}

impl Begun {
    fn of(
        path: Option<&Path>,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let text = match path {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?,
            None => String::new(),
        };
        let origin = Origin::new(path, &text);
        let (mut root, problems) = parse_toml(&text);
        if !problems.is_empty() {
            let hidden = HiddenTexts::of(&root, None);
            return Err(ConfigError::Invalid(Report::syntax(origin, problems, &hidden)));
        }
        let given = Given { file: path.is_some(), sources: root.contains_key("sources") };
        // A name that is not UTF-8 is none of ours.
        let variables =
            variables.into_iter().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        let context = Context::new(variables.collect());
        let applied = overrides::apply(&mut root, &context);
        let reading = Reading::new(root, context, applied.problems);
        Ok(Self { origin, reading, unmatched: applied.unmatched, given })
    }
}

/// What the file says, before variables and defaults.
#[derive(Clone, Copy)]
struct Given {
    file: bool,
    sources: bool,
}

/// No file is needed: then there is a source with a credential of its own making, and a handler to look at.
fn fill_in(root: &mut Table, given: Given) {
    if !given.sources {
        fill_in_source(root);
    }
    if !given.file && reading::table_at(root, &["handlers"]).is_none_or(Table::is_empty) {
        reading::put(root, &["handlers", "log", "kind"], "log");
    }
}

fn fill_in_source(root: &mut Table) {
    let sources = reading::table_at(root, &["sources"]);
    let only_bik = sources.is_none_or(|sources| sources.keys().all(|name| name == DEFAULT_SOURCE));
    let bik = reading::table_at(root, &["sources", DEFAULT_SOURCE]);
    let judged = bik.is_some_and(|bik| bik.contains_key("credentials") || bik.contains_key("auth"));
    if !only_bik || judged {
        return;
    }
    let credential = data_dir(root).join("credential");
    let key = ["sources", DEFAULT_SOURCE, "credentials", "generated", "key", "generate"];
    reading::put(root, &key, &credential.to_string_lossy());
}

/// Handlers of kind `log` share one key of their digests, beside the credential, unless they name one.
fn fill_in_digest_keys(root: &mut Table) {
    let file = data_dir(root).join("log-digest-key");
    let handlers = reading::table_at(root, &["handlers"]).into_iter().flatten();
    let without = handlers.filter(|(_, entry)| {
        let handler = entry.node.as_table();
        let kind = handler.and_then(|handler| handler.get("kind")?.node.as_text());
        kind == Some("log") && handler.is_some_and(|handler| !handler.contains_key(files::DIGEST_KEY_FILE))
    });
    for name in without.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
        reading::put(root, &["handlers", &name, files::DIGEST_KEY_FILE], &file.to_string_lossy());
    }
}

const DEFAULT_SOURCE: &str = "bik";
/// What people call their file; none is read that was not named.
const FILE_NAME: &str = "bikhook.toml";

/// Beside the journal.
fn data_dir(root: &Table) -> PathBuf {
    let path = reading::table_at(root, &["journal"]).and_then(|journal| journal.get("path")?.node.as_text());
    let path = path.map_or_else(|| journal::sqlite::Settings::default().path, PathBuf::from);
    folder::of(&path).to_owned()
}

/// Reads every part, and checks what is read; `None` where a part could not be read. What is wrong is in `reading`.
fn read(reading: &mut Reading, file: Option<&Path>) -> Option<Config> {
    reading.only_sections(&["http", "admin", "sources", "journal", "insight", "handlers", "log"]);
    let http = reading.read::<http::Settings>(&["http"]);
    let admin = reading.read::<admin::Settings>(&["admin"]);
    let sources = read_sources(reading);
    let journal = read_journal(reading);
    let insight = read_insight(reading, journal.as_ref());
    let handlers = handlers::read(reading);
    let log = reading.read::<LogSettings>(&["log"]);
    if let Some(http) = &http {
        check::http(reading, http);
    }
    if let Some(admin) = &admin {
        check::admin(reading, admin, http.as_ref());
    }
    check::sources(reading, &sources);
    if let Some(JournalSettings::Sqlite(sqlite)) = &journal {
        check::sqlite(reading, sqlite);
    }
    if let Some(insight) = &insight {
        check::insight(reading, insight);
    }
    if let Some(log) = &log {
        check::log(reading, log);
    }
    check::handlers(reading);
    files::check(reading, file, journal.as_ref(), insight.as_ref(), &handlers);
    exposure::guessable(reading, admin.as_ref(), &sources);
    exposure::readable(reading, file);
    exposure::plain_http(reading);
    let journal = journal?;
    let JournalSettings::Sqlite(sqlite) = &journal;
    let data_dir = folder::of(&sqlite.path).to_owned();
    Some(Config {
        http: http?,
        admin: admin?,
        sources,
        journal,
        insight: insight?,
        handlers,
        log: log?,
        data_dir,
        warnings: Report::default(),
        not_stored: BTreeMap::new(),
    })
}

fn read_sources(reading: &mut Reading) -> BTreeMap<String, SourceSettings> {
    let names = reading.names(&["sources"]);
    names
        .into_iter()
        .filter_map(|name| {
            let settings = reading.read(&["sources", &name])?;
            Some((name, settings))
        })
        .collect()
}

/// Its file is beside the journal unless it says otherwise.
fn read_insight(reading: &mut Reading, journal: Option<&JournalSettings>) -> Option<insight::Settings> {
    let mut insight = reading.read::<insight::Settings>(&["insight"])?;
    if let Some(JournalSettings::Sqlite(sqlite)) = journal {
        insight.path.get_or_insert_with(|| folder::of(&sqlite.path).join("insight.db"));
    }
    Some(insight)
}

fn read_journal(reading: &mut Reading) -> Option<JournalSettings> {
    #[derive(Deserialize)]
    struct Kind {
        kind: Option<String>,
    }
    let mut section = reading.section(&["journal"])?;
    let kind = section.split(&["kind"]);
    match reading.take(kind.read::<Kind>())?.kind.as_deref() {
        None | Some("sqlite") => reading.take(section.read()).map(JournalSettings::Sqlite),
        Some(later @ ("postgres" | "nats")) => {
            let message = format!("journal.kind: {later:?} is not in this version");
            reading.wrong(&["journal", "kind"], message, Some("use `sqlite`".to_owned()));
            None
        }
        Some(other) => {
            let help = nearest(other, ["sqlite"]).map_or("known is `sqlite`", |_| "did you mean `sqlite`?");
            reading.wrong(
                &["journal", "kind"],
                format!("journal.kind: {other:?} is not known"),
                Some(help.into()),
            );
            None
        }
    }
}
