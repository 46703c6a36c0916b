//! Hides possible secrets: in the lines of the file that a problem shows, and in the problem's own message.
//!
//! A line shows punctuation, `true` and `false`, and the keys and values that the schema allows. Everything else,
//! including comments, becomes asterisks, one for each character. The file may be invalid TOML, so this module reads
//! the tokens of the file, not a tree.

use std::{collections::BTreeSet, ops::Range};

use toml_parser::{
    Source,
    parser::{Event, EventKind, RecursionGuard, parse_document},
};

use super::schema::{Shape, schema};
use crate::settings::{Context, Entry, Node, Place, Problem, Table, Value, parse_toml};

/// Replaces a hidden text in a message.
const HIDDEN: &str = "***";
/// The minimum length of a hidden text in messages, in bytes. A shorter text is hardly a secret, and may be an ordinary
/// word of a message.
const SECRET_BYTES: usize = 4;
/// The same nesting limit as in the TOML parser.
const DEPTH_MAX: u32 = 80;

/// The text of a configuration, with asterisks for possible secrets.
#[derive(Default)]
pub(super) struct MaskedText {
    text: String,
    /// Each pair is an offset in the file, and the number of bytes that the masked text has lost up to there. It loses
    /// bytes where an asterisk replaces a character of several bytes.
    shifts: Vec<(usize, usize)>,
}

impl MaskedText {
    pub(super) fn new(text: &str) -> Self {
        let mut shown: Vec<Range<usize>> = Walk::through(text).shown;
        shown.sort_by_key(|span| span.start);
        let mut masked = Self { text: String::with_capacity(text.len()), shifts: Vec::new() };
        let (mut shown, mut saved) = (shown.into_iter().peekable(), 0);
        for (at, c) in text.char_indices() {
            while shown.next_if(|span| span.end <= at).is_some() {}
            let is_shown = c.is_whitespace() || shown.peek().is_some_and(|span| span.contains(&at));
            masked.text.push(if is_shown { c } else { '*' });
            if !is_shown && c.len_utf8() > 1 {
                saved += c.len_utf8() - 1;
                masked.shifts.push((at, saved));
            }
        }
        masked
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Maps a range of the file to the masked text. Only the first line of the range is kept.
    pub(super) fn first_line(&self, span: &Range<usize>) -> Range<usize> {
        let start = self.position(span.start);
        let end = self.position(span.end).max(start);
        let line = self.text[start..end].find('\n').unwrap_or(end - start);
        start..start + line
    }

    /// The line of an offset in the file, counted from 0.
    pub(super) fn line(&self, at: usize) -> usize {
        self.text[..self.position(at)].matches('\n').count()
    }

    fn position(&self, at: usize) -> usize {
        let before = self.shifts.partition_point(|(place, _)| *place < at);
        let saved = before.checked_sub(1).map_or(0, |last| self.shifts[last].1);
        let position = at.saturating_sub(saved).min(self.text.len());
        (0..=position).rev().find(|at| self.text.is_char_boundary(*at)).unwrap_or(0)
    }
}

/// A walk through the tokens of a file, which tracks the path of the current key.
struct Walk<'a> {
    source: Source<'a>,
    schema: Shape,
    words: BTreeSet<&'static str>,
    /// The lines with syntax errors, as ranges.
    broken: Vec<Range<usize>>,
    /// The ranges that may be shown.
    shown: Vec<Range<usize>>,
    /// The path of the current key.
    path: Vec<String>,
    /// The number of parts of `path` that come from the last header.
    table: usize,
    /// For each inline table around the current key, the number of parts of the table's path.
    around: Vec<usize>,
    in_header: bool,
    /// The next key extends the current path: after a `.`, or in a header.
    continues: bool,
}

impl<'a> Walk<'a> {
    fn through(text: &'a str) -> Self {
        let (_, problems) = parse_toml(text);
        let broken = problems.iter().map(|problem| match &problem.place {
            Place::File(span) => lines_around(text, span),
            Place::Variable(_) | Place::BuiltIn => 0..text.len(),
        });
        let schema = schema();
        let mut walk = Self {
            source: Source::new(text),
            words: schema.words(),
            schema,
            broken: broken.collect(),
            shown: Vec::new(),
            path: Vec::new(),
            table: 0,
            around: Vec::new(),
            in_header: false,
            continues: false,
        };
        let mut see = |event: Event| walk.see(&event);
        let tokens = Source::new(text).lex().into_vec();
        parse_document(&tokens, &mut RecursionGuard::new(&mut see, DEPTH_MAX), &mut ());
        walk
    }

    fn see(&mut self, event: &Event) {
        let span = event.span().start()..event.span().end();
        match event.kind() {
            EventKind::StdTableOpen | EventKind::ArrayTableOpen => {
                self.path.clear();
                self.around.clear();
                (self.table, self.in_header, self.continues) = (0, true, true);
            }
            EventKind::StdTableClose | EventKind::ArrayTableClose => self.end_header(),
            EventKind::SimpleKey => return self.see_key(event, span),
            EventKind::KeySep => self.continues = true,
            EventKind::InlineTableOpen => self.around.push(self.path.len()),
            EventKind::InlineTableClose => {
                let path = self.around.pop().unwrap_or(self.table);
                self.path.truncate(path);
            }
            EventKind::Newline if self.in_header => self.end_header(),
            EventKind::Scalar => return self.see_value(event, span),
            // Only the `#` is shown.
            EventKind::Comment => return self.shown.push(span.start..span.start + 1),
            EventKind::Error => return,
            _ => {}
        }
        self.shown.push(span);
    }

    fn end_header(&mut self) {
        self.table = self.path.len();
        (self.in_header, self.continues) = (false, false);
    }

    fn see_key(&mut self, event: &Event, span: Range<usize>) {
        if !std::mem::take(&mut self.continues) && !self.in_header {
            let table = self.around.last().copied().unwrap_or(self.table);
            self.path.truncate(table);
        }
        let mut key = String::new();
        if let Some(raw) = self.source.get(event) {
            raw.decode_key(&mut key, &mut ());
        }
        let is_shown = self.schema.shows_key(&self.path, &key)
            && (!self.is_broken(&span) || self.words.contains(key.as_str()));
        if is_shown {
            self.shown.push(span);
        }
        self.path.push(key);
    }

    fn see_value(&mut self, event: &Event, span: Range<usize>) {
        let mut value = String::new();
        if let Some(raw) = self.source.get(event) {
            let _kind = raw.decode_scalar(&mut value, &mut ());
        }
        // On a line with a syntax error, the parser may take the text after a quoted value for a part of the value. So
        // the value is hidden.
        let is_whole = event.encoding().is_none() || !self.is_broken(&span);
        let is_flag = matches!(value.as_str(), "true" | "false") && event.encoding().is_none();
        if is_flag || is_whole && self.schema.shows_value(&self.path, &value) {
            self.shown.push(span);
        }
    }

    fn is_broken(&self, span: &Range<usize>) -> bool {
        self.broken.iter().any(|lines| lines.start < span.end && span.start < lines.end)
    }
}

/// Extends a range to whole lines.
fn lines_around(text: &str, span: &Range<usize>) -> Range<usize> {
    let bytes = text.as_bytes();
    let (start, end) = (span.start.min(bytes.len()), span.end.min(bytes.len()));
    let from = bytes[..start].iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let to = bytes[end..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |newline| end + newline);
    from..to
}

/// The texts of a configuration that no message may quote.
#[derive(Default)]
pub(super) struct HiddenTexts(Vec<String>);

impl HiddenTexts {
    /// Collects these texts from the file and the variables, including secrets that are read from other files.
    pub(super) fn of(root: &Table, context: Option<&Context>) -> Self {
        let mut gathered = Gathered { schema: schema(), hidden: BTreeSet::new(), shown: BTreeSet::new() };
        gathered.table(root, &mut Vec::new());
        let secrets = context.map(Context::secrets).unwrap_or_default();
        gathered.hidden.extend(secrets.into_iter().map(|(secret, _)| secret));
        let words = gathered.schema.words();
        let is_known = |text: &str| words.contains(text) || gathered.shown.contains(text);
        let mut hidden: Vec<String> = gathered.hidden.iter().cloned().collect();
        hidden.retain(|text| text.len() >= SECRET_BYTES && !is_known(text));
        let escaped: Vec<String> = hidden.iter().map(|text| text.escape_debug().to_string()).collect();
        hidden.extend(escaped);
        // Longer texts come first, because a text may be part of another one.
        hidden.sort_by_key(|text| std::cmp::Reverse(text.len()));
        Self(hidden)
    }

    /// Returns the problem with all hidden texts replaced.
    pub(super) fn redact(&self, mut problem: Problem) -> Problem {
        for text in &self.0 {
            problem.message = without(problem.message, text);
            problem.help = problem.help.map(|help| without(help, text));
        }
        problem
    }
}

struct Gathered {
    schema: Shape,
    hidden: BTreeSet<String>,
    /// Keys and values that are shown. A password that equals one of them is not hidden in messages.
    shown: BTreeSet<String>,
}

impl Gathered {
    fn table(&mut self, table: &Table, path: &mut Vec<String>) {
        for (key, Entry { node, .. }) in table {
            let shown = self.schema.shows_key(path, key);
            let keys = if shown { &mut self.shown } else { &mut self.hidden };
            keys.insert(key.clone());
            path.push(key.clone());
            self.node(node, path);
            path.pop();
        }
    }

    fn node(&mut self, node: &Node, path: &mut Vec<String>) {
        match &node.value {
            Value::Table(table) => self.table(table, path),
            Value::List(items) => items.iter().for_each(|item| self.node(item, path)),
            Value::Text(text) | Value::Time(text) => self.text(text, path),
            Value::Variable(text) => {
                self.text(text, path);
                // The variable may hold a list in TOML syntax.
                let (list, _) = parse_toml(&format!("list = {text}"));
                if let Some(Value::List(items)) = list.get("list").map(|entry| &entry.node.value) {
                    items.iter().for_each(|item| self.node(item, path));
                }
            }
            Value::Number(number) => self.text(&number.to_string(), path),
            Value::Fraction(number) => self.text(&number.to_string(), path),
            Value::Flag(_) => {}
        }
    }

    fn text(&mut self, text: &str, path: &[String]) {
        let shown = self.schema.shows_value(path, text);
        let texts = if shown { &mut self.shown } else { &mut self.hidden };
        texts.insert(text.to_owned());
    }
}

/// Replaces a text in the message, except where it is part of a longer word.
fn without(message: String, text: &str) -> String {
    if !message.contains(text) {
        return message;
    }
    let mut left = String::with_capacity(message.len());
    let mut end = 0;
    for (start, _) in message.match_indices(text) {
        let (before, after) =
            (message[..start].chars().next_back(), message[start + text.len()..].chars().next());
        let joins = |outside: Option<char>, edge: Option<char>| {
            outside.is_some_and(char::is_alphanumeric) && edge.is_some_and(char::is_alphanumeric)
        };
        if !joins(before, text.chars().next()) && !joins(after, text.chars().next_back()) {
            left.push_str(&message[end..start]);
            left.push_str(HIDDEN);
            end = start + text.len();
        }
    }
    left.push_str(&message[end..]);
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_masked(text: &str, masked: &str) {
        assert_eq!(MaskedText::new(text).text(), masked);
    }

    #[test]
    fn keys_and_harmless_values_are_shown_and_nothing_else() {
        assert_masked(
            "[http]\nlisten = \"127.0.0.1:1\" # old: hunter2\n[sources.a.credentials]\nb = { key = \"hunter2\", form = \"user\" }",
            "[http]\nlisten = \"127.0.0.1:1\" # **** *******\n[sources.a.credentials]\nb = { key = *********, form = \"user\" }",
        );
        assert_masked(
            "[handlers.x]\nkind = 'http'\nurl = 'http://h/hunter2'\nsigning_keys = [\"a\", 'b']\nbatch = 5\nzzz = 12345\nyyy = true",
            "[handlers.x]\nkind = 'http'\nurl = ******************\nsigning_keys = [***, ***]\nbatch = 5\nzzz = *****\nyyy = true",
        );
        assert_masked("\"a b\".c = '''x\ny'''\n[[u.v]]\nw.x = 1", "** **.c = ****\n****\n[[u.*]]\n*.* = *");
    }

    #[test]
    fn a_file_of_wrong_syntax_shows_no_more() {
        for (text, masked) in [
            ("[admin]\nkey = hunter2 hunter2", "[admin]\nkey = ******* *******"),
            ("[admin]\npassword: 'hunter2'", "[admin]\n********* *********"),
            ("[admin]\nhunter2 = 'x'\n= 1", "[admin]\n******* = ***\n= *"),
            ("[sources.a]\npath = '/a, key = \"hunter2\"", "[sources.a]\npath = **** *** * *********"),
            ("[http]\nlisten = 127.0.0.1:8080", "[http]\nlisten = 127.0.0.1:8080"),
        ] {
            assert_masked(text, masked);
        }
    }

    #[test]
    fn a_place_is_the_same_column_of_the_masked_text() {
        let text = "a = \"\u{e9}\u{e9}\u{1f600}\"\nb = \"\u{e9}\" ; zzz = 1";
        let masked = MaskedText::new(text);
        let at = text.find("zzz").unwrap();
        assert_eq!(masked.line(at), 1);
        let column = |text: &str, at: usize| text[..at].chars().rev().take_while(|c| *c != '\n').count();
        let there = masked.first_line(&(at..at + 3));
        assert_eq!(column(masked.text(), there.start), column(text, at));
        assert_eq!(masked.first_line(&(0..text.len())).end, masked.text().find('\n').unwrap());
        let end = masked.text().len();
        assert_eq!(masked.first_line(&(text.len() + 5..text.len() + 9)), end..end);
    }

    #[test]
    fn a_message_quotes_nothing_that_is_hidden() {
        let (root, _) = parse_toml(
            "[handlers.crm]\nurl = 'hunter\"2'\ntoken = 'abc'\npassword = 'crm'\npath = 'data/x'\nnkey = 'data/x'\ncommand = ['correct-horse', 12345]",
        );
        let hidden = HiddenTexts::of(&root, None);
        for (message, redacted) in [
            ("handlers.crm: \"hunter\\\"2\" is not a URL", "handlers.crm: \"***\" is not a URL"),
            ("no program correct-horse here", "no program *** here"),
            ("no program incorrect-horse here", "no program incorrect-horse here"),
            ("`abc` is a word of this sentence", "`abc` is a word of this sentence"),
            ("\"data/x\" is shown elsewhere", "\"data/x\" is shown elsewhere"),
            ("12345 and 123456", "*** and 123456"),
        ] {
            assert_eq!(hidden.redact(Problem::new(Place::BuiltIn, message)).message, redacted);
        }
        let helped = hidden.redact(Problem::new(Place::BuiltIn, "x").help("not correct-horse"));
        assert_eq!(helped.help.as_deref(), Some("not ***"));
    }
}
