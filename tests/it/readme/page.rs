//! The README, taken apart.

use std::fs;

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

    /// Of a console: each command, its continued lines joined, with what it writes.
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

fn readme() -> String {
    fs::read_to_string("README.md").unwrap()
}

/// Every fenced block, in the order of the page.
pub fn blocks() -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let (mut open, mut skip) = (false, None);
    for line in readme().lines() {
        match (line.strip_prefix("```"), open) {
            (Some(language), false) => {
                blocks.push(Block { language: language.to_owned(), text: String::new(), skip: skip.take() });
                open = true;
            }
            (Some(_), true) => open = false,
            (None, true) => blocks.last_mut().unwrap().text += &format!("{line}\n"),
            (None, false) => {
                let reason = line.strip_prefix("<!-- test: skip ").and_then(|rest| rest.strip_suffix(" -->"));
                skip = reason.map(str::to_owned);
            }
        }
    }
    assert!(!open && blocks.len() > 10, "the blocks were not found");
    blocks
}

/// The page without its fenced blocks.
fn prose() -> String {
    let readme = readme();
    readme.split("```").step_by(2).collect()
}

/// What stands in single backticks.
pub fn code_spans() -> Vec<String> {
    prose().split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Where the links lead.
pub fn links() -> Vec<String> {
    let prose = prose();
    let targets: Vec<_> = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).collect();
    assert!(targets.len() > 3);
    targets.into_iter().map(|(target, _)| target.to_owned()).collect()
}

/// The cells of each row of each table.
pub fn rows() -> Vec<Vec<String>> {
    let prose = prose();
    let rows = prose.lines().filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    rows.map(|row| row.split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}
