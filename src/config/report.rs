//! Formats problems with file, line, column, a caret and a hint.

use std::{fmt, path::Path};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::{
    reading::order,
    redaction::{HiddenTexts, MaskedText},
};
use crate::settings::{Place, Problem};

/// Problems of a configuration, with the masked text of the file.
#[derive(Debug, Default)]
pub struct Report {
    origin: Origin,
    problems: Vec<Problem>,
    warnings: bool,
}

impl Report {
    /// Problems of a text that is not valid TOML. A problem on the same line as the problem before it, or on the next
    /// line, is left out, because the earlier problem is usually its cause.
    pub(super) fn syntax(origin: Origin, mut problems: Vec<Problem>, hidden: &HiddenTexts) -> Self {
        let line = |problem: &Problem| origin.masked.line(order(&problem.place));
        problems.sort_by_key(|problem| order(&problem.place));
        let mut last = None;
        problems.retain(|problem| {
            let before = last.replace(line(problem));
            before.is_none_or(|before| line(problem) > before + 1)
        });
        Self::errors(origin, problems, hidden)
    }

    pub(super) fn warnings(origin: Origin, problems: Vec<Problem>, hidden: &HiddenTexts) -> Self {
        Self { warnings: true, ..Self::errors(origin, problems, hidden) }
    }

    /// Keeps each problem once, in the order of the file; problems without a position in the file come last. Redacts
    /// all hidden texts.
    pub(super) fn errors(origin: Origin, found: Vec<Problem>, hidden: &HiddenTexts) -> Self {
        let mut problems: Vec<Problem> = Vec::new();
        for problem in found.into_iter().map(|problem| hidden.redact(problem)) {
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
        problems.sort_by_key(|problem| order(&problem.place));
        Self { origin, problems, warnings: false }
    }

    /// Returns whether there are no problems.
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// Each problem as one line, for the log.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.problems.iter().map(|problem| match &problem.help {
            Some(help) => format!("{} ({help})", problem.message),
            None => problem.message.clone(),
        })
    }

    /// All problems with their positions in the file. `colours` adds the colours of a terminal.
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

/// The file of a configuration. Only its masked text is kept.
#[derive(Default)]
pub(super) struct Origin {
    name: String,
    masked: MaskedText,
}

impl Origin {
    pub(super) fn new(path: Option<&Path>, text: &str) -> Self {
        let name = path.map(|path| path.display().to_string()).unwrap_or_default();
        Self { name, masked: MaskedText::new(text) }
    }
}

/// Omits the text of the file.
impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin").field("name", &self.name).finish_non_exhaustive()
    }
}
