//! Reads the TOML file and the environment into a [`Config`]. Only `app` and `cli` use this module. Each other module
//! defines its own `Settings`.
//!
//! The file becomes a tree. Environment variables override its values, and missing values are filled in. Then each part
//! is read into the settings of its module. Reading includes validation, so every `Config` is valid. All errors that
//! can be found are reported at once.

mod check;
mod exposure;
mod files;
mod handlers;
mod log;
mod memory;
mod overrides;
mod reading;
mod redaction;
mod report;
mod schema;

pub use handlers::HandlerConfig;
pub use log::{LogFormat, LogSettings};
pub use memory::{Memory, MemoryLimit};
pub use report::Report;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

use crate::{
    admin, folder,
    http::{self, SourceSettings},
    insight, journal,
    secret::{self, Secret},
    settings::{Context, Table, Wrong, nearest, parse_toml},
};
use reading::Reading;
use redaction::HiddenTexts;
use report::Origin;

/// The complete configuration, valid as a whole.
pub struct Config {
    pub http: http::Settings,
    pub admin: admin::Settings,
    /// `[sources.NAME]` by name; never empty.
    pub sources: BTreeMap<String, SourceSettings>,
    /// The same sources, checked.
    pub checked_sources: http::Sources,
    /// The settings of `[journal]`.
    pub journal: journal::sqlite::Settings,
    /// `[insight]`; its `path` is always set.
    pub insight: insight::Settings,
    /// `[handlers.NAME]`, in the order of the file.
    pub handlers: Vec<HandlerConfig>,
    pub log: LogSettings,
    /// Warnings, which do not prevent a start.
    pub warnings: Report,
    not_stored: BTreeMap<PathBuf, Secret>,
}

/// Why a configuration could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the configuration {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{0}")]
    Invalid(Report),
}

impl Config {
    /// Reads the file at `path`, or uses the defaults if `path` is `None`. Environment variables override the values.
    /// Writes nothing; see [`Config::store_generated`].
    ///
    /// # Errors
    /// Returns [`ConfigError`] with every error that can be found.
    pub fn load(
        path: Option<&Path>,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let Begun { origin, mut reading, unmatched, has_sources } = Begun::of(path, variables)?;
        if !has_sources {
            fill_in_source(&mut reading.root);
        }
        if path.is_none() {
            fill_in_handler(&mut reading.root);
        }
        fill_in_digest_keys(&mut reading.root);
        let config = read(&mut reading, path);
        let hidden = HiddenTexts::of(&reading.root, Some(&reading.context));
        match config {
            Some(mut config) if reading.problems.is_empty() => {
                if path.is_none() && Path::new(FILE_NAME).is_file() {
                    let help = format!("use `--config {FILE_NAME}`, or set BIKHOOK_CONFIG");
                    let message = format!("{FILE_NAME} in this folder is ignored: no file was named");
                    reading.warn(Wrong::new(&[], message).help(help));
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

    /// Reads only `[admin]`, for commands that call a running receiver. The rest of the file must be TOML, but its
    /// values may be invalid and its secrets unavailable.
    ///
    /// # Errors
    /// Returns [`ConfigError`] if the file cannot be read or is not TOML, or if `[admin]` is not valid.
    pub fn load_admin(
        path: Option<&Path>,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<admin::Settings, ConfigError> {
        let Begun { origin, mut reading, .. } = Begun::of(path, variables)?;
        reading.problems.clear();
        let admin = reading.read::<admin::Settings>(&["admin"]);
        if let Some(admin) = &admin {
            reading.refuse(&["admin"], admin.check());
        }
        admin.filter(|_| reading.problems.is_empty()).ok_or_else(|| {
            let hidden = HiddenTexts::of(&reading.root, Some(&reading.context));
            ConfigError::Invalid(Report::errors(origin, reading.problems, &hidden))
        })
    }

    /// The files named by `{ generate = … }` that do not exist yet, each with its new secret. The secrets are lost
    /// unless [`Config::store_generated`] stores them.
    pub fn not_stored(&self) -> impl Iterator<Item = (&Path, &Secret)> {
        self.not_stored.iter().map(|(path, secret)| (path.as_path(), secret))
    }

    /// Stores the new secrets, and returns the paths of their files. Called only when the receiver starts.
    ///
    /// # Errors
    /// Returns [`secret::FileError`] if a file cannot be written, or if another process has created it in the meantime.
    pub fn store_generated(&mut self) -> Result<Vec<PathBuf>, secret::FileError> {
        let mut stored = Vec::new();
        while let Some((path, secret)) = self.not_stored.pop_first() {
            secret::store(&path, &secret)?;
            stored.push(path);
        }
        Ok(stored)
    }
}

/// The first step of loading: the file, with the environment variables applied.
struct Begun {
    origin: Origin,
    reading: Reading,
    unmatched: Vec<String>,
    /// The file itself, without the variables, has sources.
    has_sources: bool,
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
        let has_sources = root.contains_key("sources");
        // The names of all variables of bikhook are UTF-8, so other names are ignored.
        let variables =
            variables.into_iter().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        let context = Context::new(variables.collect());
        let applied = overrides::apply(&mut root, &context);
        let reading = Reading::new(root, context, applied.problems);
        Ok(Self { origin, reading, unmatched: applied.unmatched, has_sources })
    }
}

/// Adds a handler of kind `log` if there is no other handler.
fn fill_in_handler(root: &mut Table) {
    if reading::table_at(root, &["handlers"]).is_none_or(Table::is_empty) {
        reading::put(root, &["handlers", "log", "kind"], "log");
    }
}

/// Adds the source [`DEFAULT_SOURCE`] with a generated credential, to a configuration whose file has no sources. Does
/// nothing if the variables set another source, or set `auth` or a credential of [`DEFAULT_SOURCE`].
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

/// Sets `digest_key_file` in all handlers of kind `log` that lack it. They all get the same file, next to the journal.
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
/// The usual name of the configuration file. If no file is named, a file of this name is ignored, with a warning.
const FILE_NAME: &str = "bikhook.toml";

/// The folder of the journal, and of the secrets that the first start generates.
fn data_dir(root: &Table) -> PathBuf {
    let path = reading::table_at(root, &["journal"]).and_then(|journal| journal.get("path")?.node.as_text());
    let path = path.map_or_else(|| journal::sqlite::Settings::default().path, PathBuf::from);
    folder::of(&path).to_owned()
}

/// Reads and checks every part. The errors are in `reading`. After an error, the result may be `None`.
fn read(reading: &mut Reading, file: Option<&Path>) -> Option<Config> {
    reading.only_sections(&["http", "admin", "sources", "journal", "insight", "handlers", "log"]);
    let http = reading.read::<http::Settings>(&["http"]);
    let admin = reading.read::<admin::Settings>(&["admin"]);
    let sources = read_sources(reading);
    let journal = read_journal(reading);
    let insight = read_insight(reading, journal.as_ref(), &sources);
    let handlers = handlers::read(reading);
    let log = reading.read::<LogSettings>(&["log"]);
    reading.refuse(&["http"], http.iter().flat_map(http::Settings::check));
    reading.refuse(&["admin"], admin.iter().flat_map(admin::Settings::check));
    check::listen(reading, http.as_ref(), admin.as_ref());
    let checked_sources = check::sources(reading, &sources);
    reading.refuse(&["journal"], journal.iter().flat_map(journal::sqlite::Settings::check));
    reading.refuse(&["insight"], insight.iter().flat_map(insight::Settings::check));
    reading.refuse(&["log"], log.iter().flat_map(LogSettings::check));
    check::handlers(reading);
    files::check(reading, file, journal.as_ref(), insight.as_ref(), &handlers);
    exposure::guessable(reading, admin.as_ref(), &sources);
    exposure::readable(reading, file);
    exposure::plain_http(reading);
    Some(Config {
        http: http?,
        admin: admin?,
        sources,
        checked_sources: checked_sources?,
        journal: journal?,
        insight: insight?,
        handlers,
        log: log?,
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

/// Reads `[insight]`. The default of `path` is a file next to the journal. The tenants are those of the sources.
fn read_insight(
    reading: &mut Reading,
    journal: Option<&journal::sqlite::Settings>,
    sources: &BTreeMap<String, SourceSettings>,
) -> Option<insight::Settings> {
    let mut insight = reading.read::<insight::Settings>(&["insight"])?;
    let tenants = sources.iter().filter_map(|(name, source)| Some((name.clone(), source.tenant.clone()?)));
    insight.tenants = tenants.collect();
    if let Some(journal) = journal {
        insight.path.get_or_insert_with(|| folder::of(&journal.path).join("insight.db"));
    }
    Some(insight)
}

/// Reads `[journal]`. The only `kind` is `sqlite`, which is the default.
fn read_journal(reading: &mut Reading) -> Option<journal::sqlite::Settings> {
    let mut section = reading.section(&["journal"])?;
    match reading.take_key::<String>(&mut section, "kind")?.as_deref() {
        None | Some("sqlite") => reading.take(section.read()),
        Some(other) => {
            let what = match other {
                "postgres" | "nats" => "is not supported by this version",
                _ => "is not a kind of journal",
            };
            let help = nearest(other, ["sqlite"]).map_or("use `sqlite`", |_| "did you mean `sqlite`?");
            let message = format!("{other:?} {what}");
            reading.wrong(Wrong::new(&["journal", "kind"], message).help(help));
            None
        }
    }
}
