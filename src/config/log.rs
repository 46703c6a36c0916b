//! The settings of `[log]`.

use std::fmt;

use serde::Deserialize;

use crate::settings::{Wrong, meant};

/// `[log]`: the log and the traces of this process.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// A level such as `info`, or directives such as `info,bikhook::http=debug`.
    pub level: String,
    /// The format of the log lines.
    pub format: LogFormat,
    /// The base URL to which spans are exported, by OTLP over HTTP. If `None`, the environment variables of
    /// OpenTelemetry decide.
    pub otlp: Option<String>,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text, otlp: None }
    }
}

/// Omits the URL, because it may contain a token.
impl fmt::Debug for LogSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { level, format, otlp: _ } = self;
        f.debug_struct("LogSettings").field("level", level).field("format", format).finish_non_exhaustive()
    }
}

/// The format of the log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One line of plain text per entry.
    Text,
    /// One JSON object per line.
    Json,
}

impl LogSettings {
    /// Returns the errors of `[log]`.
    pub(super) fn check(&self) -> Vec<Wrong> {
        let otlp = self.otlp.as_deref().and_then(wrong_otlp);
        wrong_level(&self.level).into_iter().chain(otlp).collect()
    }
}

/// Checks each level, then the directives as a whole. `EnvFilter` alone would take a mistyped level for the name of a
/// module, and then log nothing of other modules.
fn wrong_level(directives: &str) -> Option<Wrong> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let levels = directives.split(',').filter(|word| !word.contains(['=', '[', ':']));
    for word in levels {
        if !LEVELS.contains(&word.trim().to_lowercase().as_str()) {
            let wrong = Wrong::new(&["level"], format!("{word:?} is not a level"));
            return Some(Wrong { help: meant(word, &LEVELS), ..wrong });
        }
    }
    let error = tracing_subscriber::EnvFilter::try_new(directives).err()?;
    Some(Wrong::new(&["level"], error.to_string()))
}

/// Checks the URL of `otlp`. The error does not quote the URL, because it may contain a token.
fn wrong_otlp(url: &str) -> Option<Wrong> {
    if !cfg!(feature = "otel") {
        let help = "build bikhook with `--features otel`; the release image has it";
        return Some(Wrong::new(&["otlp"], "this binary cannot export spans").help(help));
    }
    let base = reqwest::Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    base.is_none_or(|url| url.query().is_some() || url.fragment().is_some()).then(|| {
        Wrong::new(&["otlp"], "must be a base URL for OTLP over HTTP, without query and fragment")
            .help("use a URL such as \"http://127.0.0.1:4318\"; /v1/traces is appended")
    })
}
