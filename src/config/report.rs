//! Problems as they are shown: file, line, column, a caret, and what to do about it.

use std::{fmt, path::Path};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::{
    reading::order,
    redaction::{HiddenTexts, MaskedText},
};
use crate::settings::{Place, Problem};

/// Problems of a configuration with the text that they are about.
#[derive(Debug, Default)]
pub struct Report {
    origin: Origin,
    problems: Vec<Problem>,
    warnings: bool,
}

impl Report {
    pub(super) fn errors(origin: Origin, problems: Vec<Problem>, hidden: &HiddenTexts) -> Self {
        Self::new(origin, problems, false, hidden)
    }

    /// Of a text that is no TOML: what is on the lines after a fault is mostly its echo, and is left out.
    pub(super) fn syntax(origin: Origin, mut problems: Vec<Problem>, hidden: &HiddenTexts) -> Self {
        let line = |problem: &Problem| origin.masked.line(order(&problem.place));
        problems.sort_by_key(|problem| order(&problem.place));
        let mut last = None;
        problems.retain(|problem| {
            let before = last.replace(line(problem));
            before.is_none_or(|before| line(problem) > before + 1)
        });
        Self::new(origin, problems, false, hidden)
    }

    pub(super) fn warnings(origin: Origin, problems: Vec<Problem>, hidden: &HiddenTexts) -> Self {
        Self::new(origin, problems, true, hidden)
    }

    /// Each once, in the order of the file; those of variables follow. No hidden text gets past this.
    fn new(origin: Origin, found: Vec<Problem>, warnings: bool, hidden: &HiddenTexts) -> Self {
        let mut problems: Vec<Problem> = Vec::new();
        for problem in found.into_iter().map(|problem| hidden.redact(problem)) {
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
        let masked = &self.origin.masked;
        let level = if self.warnings { Level::WARNING } else { Level::ERROR };
        let mut group = Group::with_title(level.primary_title(problem.message.as_str()));
        match &problem.place {
            Place::File(span) => {
                let annotation = AnnotationKind::Primary.span(masked.first_line(span));
                group = group.element(
                    Snippet::source(masked.text()).path(self.origin.name.as_str()).annotation(annotation),
                );
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

/// The file that a configuration was read from; only its masked text is kept.
#[derive(Default)]
pub(super) struct Origin {
    name: String,
    masked: MaskedText,
}

impl Origin {
    pub fn new(path: Option<&Path>, text: &str) -> Self {
        let name = path.map(|path| path.display().to_string()).unwrap_or_default();
        Self { name, masked: MaskedText::new(text) }
    }
}

/// Without the text: what it says is the operator's.
impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin").field("name", &self.name).finish_non_exhaustive()
    }
}
