//! Problems as they are shown: file, line, column, a caret, and what to do about it.

use std::{fmt, ops::Range, path::Path};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::reading::order;
use crate::settings::{Place, Problem, Table, Value, nearest, parse_toml};

/// Problems of a configuration with the text that they are about.
#[derive(Debug, Default)]
pub struct Report {
    origin: Origin,
    problems: Vec<Problem>,
    warnings: bool,
}

impl Report {
    pub(super) fn errors(origin: Origin, problems: Vec<Problem>) -> Self {
        Self::new(origin, problems, false)
    }

    /// Of a text that is no TOML: what is on the lines after a fault is mostly its echo, and is left out.
    pub(super) fn syntax(origin: Origin, mut problems: Vec<Problem>) -> Self {
        let line = |problem: &Problem| {
            origin.masked.bytes().take(order(&problem.place)).filter(|b| *b == b'\n').count()
        };
        problems.sort_by_key(|problem| order(&problem.place));
        let mut last = None;
        problems.retain(|problem| {
            let before = last.replace(line(problem));
            before.is_none_or(|before| line(problem) > before + 1)
        });
        Self::new(origin, problems, false)
    }

    pub(super) fn warnings(origin: Origin, problems: Vec<Problem>) -> Self {
        Self::new(origin, problems, true)
    }

    /// Each once, in the order of the file; those of variables follow.
    fn new(origin: Origin, found: Vec<Problem>, warnings: bool) -> Self {
        let mut problems: Vec<Problem> = Vec::new();
        for problem in found {
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
        problems.sort_by_key(|problem| order(&problem.place));
        Self { origin, problems, warnings }
    }

    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// Each problem in one line, for a log.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.problems.iter().map(|problem| match &problem.help {
            Some(help) => format!("{} ({help})", problem.message),
            None => problem.message.clone(),
        })
    }

    /// Each problem with its place in the file; in colours for a terminal.
    pub fn render(&self, colours: bool) -> String {
        let renderer = if colours { Renderer::styled() } else { Renderer::plain() };
        let shown: Vec<String> =
            self.problems.iter().map(|problem| renderer.render(&[self.group(problem)])).collect();
        shown.join("\n\n")
    }

    fn group<'a>(&'a self, problem: &'a Problem) -> Group<'a> {
        let text = self.origin.masked.as_str();
        let level = if self.warnings { Level::WARNING } else { Level::ERROR };
        let mut group = Group::with_title(level.primary_title(problem.message.as_str()));
        match &problem.place {
            Place::File(span) => {
                let annotation = AnnotationKind::Primary.span(within(span, text));
                group = group
                    .element(Snippet::source(text).path(self.origin.name.as_str()).annotation(annotation));
            }
            Place::Variable(name) => {
                group = group.element(Level::NOTE.message(format!("set by the environment variable {name}")));
            }
            Place::BuiltIn => {}
        }
        match &problem.help {
            Some(help) => group.element(Level::HELP.message(help.as_str())),
            None => group,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// The first line of what is marked, and never more than there is.
fn within(span: &Range<usize>, text: &str) -> Range<usize> {
    let start = span.start.min(text.len());
    let end = span.end.clamp(start, text.len());
    let line = text[start..end].find('\n').unwrap_or(end - start);
    start..start + line
}

/// The file that a configuration was read from. Its secrets are blotted out, since a line with a fault is shown whole.
#[derive(Default)]
pub(super) struct Origin {
    name: String,
    masked: String,
}

impl Origin {
    pub fn new(path: Option<&Path>, text: &str) -> Self {
        let name = path.map(|path| path.display().to_string()).unwrap_or_default();
        Self { name, masked: masked(text) }
    }
}

/// Without the text: what it says is the operator's.
impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The text with asterisks for its secrets, at the same length, so that places stay true.
fn masked(text: &str) -> String {
    let mut spans = Vec::new();
    let (table, problems) = parse_toml(text);
    secrets(&table, &[], &mut spans);
    if !problems.is_empty() {
        spans.extend(unclosed_secrets(text));
    }
    let mut bytes = text.as_bytes().to_vec();
    for span in spans {
        bytes[span].iter_mut().filter(|byte| !byte.is_ascii_whitespace()).for_each(|byte| *byte = b'*');
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Where the syntax is wrong a text may have no end: then the rest of a line that sounds secret is blotted out.
fn unclosed_secrets(text: &str) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let mut words = line.split(|c: char| !c.is_alphanumeric());
        if (words.any(sounds_secret) || line.contains('@'))
            && let Some(quote) = line.find(['"', '\''])
        {
            spans.push(start + quote..start + line.len());
        }
        start += line.len();
    }
    spans
}

/// Where values are that may be secrets: also those whose key was misspelt, or left out.
fn secrets(table: &Table, around: &[&str], spans: &mut Vec<Range<usize>>) {
    for (key, entry) in table {
        match (&entry.node.value, &entry.node.place) {
            (Value::Table(inner), _) => secrets(inner, &[around, &[key]].concat(), spans),
            (value, Place::File(span)) if may_be_secret(key, value, around) => spans.push(span.clone()),
            _ => {}
        }
    }
}

fn may_be_secret(key: &str, value: &Value, around: &[&str]) -> bool {
    const PLAIN: [&str; 6] = ["username", "form", "not_after", "env", "file", "generate"];
    if around.contains(&"credentials") {
        return !PLAIN.contains(&key);
    }
    matches!(value, Value::Text(_)) && (around == ["sources"] || sounds_secret(key))
        || names_a_user(key, value)
}

/// Whether it is an address, or a list of them, with a user in it: a password may be beside.
fn names_a_user(key: &str, value: &Value) -> bool {
    match value {
        Value::Text(text) => text.contains('@') && (key == "url" || text.contains("://")),
        Value::List(entries) => entries.iter().any(|entry| names_a_user(key, &entry.value)),
        _ => false,
    }
}

fn sounds_secret(key: &str) -> bool {
    const SECRET: [&str; 5] = ["key", "password", "secret", "token", "credentials"];
    key.split(['_', '-']).any(|word| nearest(word, SECRET).is_some())
}
