//! A configuration as a tree in which every key and every value knows its origin.

use std::collections::BTreeMap;

use toml::{
    Spanned,
    de::{DeInteger, DeTable, DeValue},
};

use super::{Place, Problem};

/// The entries of a table, by key.
pub(crate) type Table = BTreeMap<String, Entry>;

/// The place of a key, and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub key: Place,
    pub node: Node,
}

/// A value and its origin.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub place: Place,
    pub value: Value,
}

/// A value of a configuration.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    Number(i128),
    Fraction(f64),
    Flag(bool),
    /// The text of a date or a time, as the TOML parser formats it.
    Time(String),
    List(Vec<Node>),
    Table(Table),
    /// The text of an environment variable. Reading the settings converts it to the type of its key.
    Variable(String),
}

impl Value {
    /// The type, for a message. Never the content.
    pub(super) const fn describe(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Variable(_) => "a string",
            Self::Number(_) => "a whole number",
            Self::Fraction(_) => "a number with a fraction",
            Self::Flag(_) => "true or false",
            Self::Time(_) => "a date or a time",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

impl Node {
    /// The value as a table, if it is one.
    pub(crate) const fn as_table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The value as a text, if it is one.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) | Value::Variable(text) => Some(text),
            _ => None,
        }
    }
}

/// Parses TOML as far as possible. Returns the table, and a problem for each syntax error and for each integer that is
/// too large.
pub(crate) fn parse(text: &str) -> (Table, Vec<Problem>) {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut problems: Vec<Problem> = errors
        .iter()
        .map(|error| Problem::new(Place::File(error.span().unwrap_or(0..0)), error.message()))
        .collect();
    let table = convert_table(document.get_ref(), &mut problems);
    (table, problems)
}

/// The value at a path, or the closest value above it; `None` if not even the first key exists. With `item`, returns
/// that item of the list at the path.
pub(crate) fn closest<'a>(
    table: &'a Table,
    path: &[impl AsRef<str>],
    item: Option<usize>,
) -> Option<&'a Node> {
    let (first, rest) = path.split_first()?;
    let node = &table.get(first.as_ref())?.node;
    let inner = match &node.value {
        Value::Table(inner) => closest(inner, rest, item),
        Value::List(items) if rest.is_empty() => item.and_then(|item| items.get(item)),
        _ => None,
    };
    Some(inner.unwrap_or(node))
}

/// Removes the value at a path from a table.
pub(super) fn remove(table: &mut Table, path: &[String]) -> Option<Entry> {
    let (first, rest) = path.split_first()?;
    if rest.is_empty() {
        return table.remove(first);
    }
    match &mut table.get_mut(first)?.node.value {
        Value::Table(inner) => remove(inner, rest),
        _ => None,
    }
}

fn convert_table(table: &DeTable<'_>, problems: &mut Vec<Problem>) -> Table {
    table
        .iter()
        .map(|(key, value)| {
            let entry = Entry { key: Place::File(key.span()), node: convert(value, problems) };
            (key.get_ref().to_string(), entry)
        })
        .collect()
}

fn convert(value: &Spanned<DeValue<'_>>, problems: &mut Vec<Problem>) -> Node {
    let place = Place::File(value.span());
    let value = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => Value::Number(whole(number).unwrap_or_else(|| {
            problems.push(Problem::new(place.clone(), "the number is too large"));
            0
        })),
        // The parser has removed the underscores, and a TOML float without underscores is a valid Rust float.
        DeValue::Float(number) => Value::Fraction(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(flag) => Value::Flag(*flag),
        DeValue::Datetime(time) => Value::Time(time.to_string()),
        DeValue::Array(items) => Value::List(items.iter().map(|item| convert(item, problems)).collect()),
        DeValue::Table(table) => Value::Table(convert_table(table, problems)),
    };
    Node { place, value }
}

fn whole(number: &DeInteger<'_>) -> Option<i128> {
    i128::from_str_radix(number.as_str(), number.radix()).ok()
}
