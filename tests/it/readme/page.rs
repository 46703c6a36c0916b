//! Parses the documents.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The documents beside those in `docs/`.
const TOP: [&str; 4] = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"];

/// A document of the repository.
pub struct Document {
    /// From the root of the repository.
    pub path: String,
    text: String,
}

/// A fenced block.
pub struct Block {
    pub language: String,
    pub text: String,
    /// Why it is not run: from the comment above it.
    pub skip: Option<String>,
}

impl Block {
    pub fn first(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }

    /// For a `console` block: each command, with continued lines joined, and its output.
    pub fn dialogue(&self) -> Vec<(String, String)> {
        let mut dialogue: Vec<(String, String)> = Vec::new();
        let mut continued = false;
        for line in self.text.lines() {
            match (line.strip_prefix("$ "), dialogue.last_mut()) {
                (Some(command), _) => dialogue.push((command.to_owned(), String::new())),
                (None, Some((command, _))) if continued => *command += &format!("\n{line}"),
                (None, Some((_, output))) => *output += &format!("{line}\n"),
                (None, None) => panic!("{line:?} comes before a command"),
            }
            continued = line.ends_with('\\');
        }
        dialogue
    }
}

/// Every document, the README first.
pub fn documents() -> Vec<Document> {
    let files = fs::read_dir("docs").unwrap().map(|entry| entry.unwrap().path());
    let mut below: Vec<String> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| path.to_str().unwrap().to_owned())
        .collect();
    below.sort();
    assert!(below.len() > 10, "the documents were not found");
    TOP.into_iter().map(str::to_owned).chain(below).map(|path| document(&path)).collect()
}

/// One of them, by its path from the root of the repository.
pub fn document(path: &str) -> Document {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    Document { path: path.to_owned(), text }
}

impl Document {
    /// Every fenced block, in order.
    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        let (mut open, mut skip) = (false, None);
        for line in self.text.lines() {
            let is_indented = line.trim_start() != line && line.trim_start().starts_with("```");
            assert!(!is_indented, "{}: a block is indented, and is not read", self.path);
            match (line.strip_prefix("```"), open) {
                (Some(language), false) => {
                    blocks.push(Block {
                        language: language.to_owned(),
                        text: String::new(),
                        skip: skip.take(),
                    });
                    open = true;
                }
                (Some(_), true) => open = false,
                (None, true) => blocks.last_mut().unwrap().text += &format!("{line}\n"),
                (None, false) => {
                    let reason =
                        line.strip_prefix("<!-- test: skip ").and_then(|rest| rest.strip_suffix(" -->"));
                    skip = reason.map(str::to_owned);
                }
            }
        }
        assert!(!open, "{}: a block has no end", self.path);
        blocks
    }

    /// How many lines it has.
    pub fn lines(&self) -> usize {
        self.text.lines().count()
    }

    /// The document without its fenced blocks.
    fn prose(&self) -> String {
        self.text.split("```").step_by(2).collect()
    }

    /// The texts in single backticks.
    pub fn code_spans(&self) -> Vec<String> {
        self.prose().split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    /// The targets of links within the repository: a file, and an anchor in it.
    pub fn links(&self) -> Vec<(PathBuf, Option<String>)> {
        let here = Path::new(&self.path);
        let folder = here.parent().unwrap_or(Path::new(""));
        let prose = self.prose();
        let targets = prose.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
        let inside = targets.filter(|target| !target.starts_with("http"));
        let taken_apart = inside.map(|target| match target.split_once('#') {
            Some(("", anchor)) => (here.to_owned(), Some(anchor.to_owned())),
            Some((file, anchor)) => (folder.join(file), Some(anchor.to_owned())),
            None => (folder.join(target), None),
        });
        taken_apart.collect()
    }

    /// The anchors of its headings, as GitHub makes them.
    pub fn anchors(&self) -> Vec<String> {
        let prose = self.prose();
        let headings = prose.lines().filter(|line| line.starts_with('#'));
        headings.map(|line| anchor(line.trim_start_matches('#'))).collect()
    }

    /// The cells of each row of each table.
    pub fn rows(&self) -> Vec<Vec<String>> {
        rows_of(&self.prose())
    }

    /// The cells of each row of the tables below a heading (`## Keys`), up to the next one of its level.
    #[track_caller]
    pub fn rows_below(&self, heading: &str) -> Vec<Vec<String>> {
        let prose = self.prose();
        let (_, below) = prose
            .split_once(&format!("\n{heading}\n"))
            .unwrap_or_else(|| panic!("{}: there is no {heading:?}", self.path));
        rows_of(below.split("\n## ").next().unwrap_or_default())
    }
}

fn rows_of(text: &str) -> Vec<Vec<String>> {
    let rows = text.lines().filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    rows.map(|row| row.split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect::<String>().to_lowercase()
}
