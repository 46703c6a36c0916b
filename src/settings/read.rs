//! A serde deserializer over the tree of a configuration (`tree`). Its errors have a place and the path of a key.

use serde::{
    Deserializer,
    de::{
        DeserializeSeed, MapAccess, SeqAccess, Visitor,
        value::{BorrowedStrDeserializer, SeqDeserializer, StrDeserializer, StringDeserializer},
    },
    forward_to_deserialize_any,
};

use super::{
    Context, Entry, Node, Value,
    fault::Fault,
    problem::{meant, nearest},
    tree,
};
use crate::secret;

/// Reads one value of the tree.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    node: &'a Node,
    context: &'a Context,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(node: &'a Node, context: &'a Context) -> Self {
        Self { node, context }
    }

    /// Parses the text of an environment variable as `T`. If that fails, passes the text to the visitor, which then
    /// returns an error. A value from the configuration file is passed to the visitor without parsing.
    fn visit_parsed<V, T>(
        self,
        visitor: V,
        visit: impl FnOnce(V, T) -> Result<V::Value, Fault>,
    ) -> Result<V::Value, Fault>
    where
        V: Visitor<'a>,
        T: std::str::FromStr,
    {
        if let Value::Variable(text) = &self.node.value
            && let Ok(parsed) = text.trim().parse()
        {
            return visit(visitor, parsed);
        }
        self.deserialize_any(visitor)
    }
}

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Text(text) | Value::Time(text) | Value::Variable(text) => visitor.visit_borrowed_str(text),
            Value::Number(number) => visit_number(*number, visitor),
            Value::Fraction(number) => visitor.visit_f64(*number),
            Value::Flag(flag) => visitor.visit_bool(*flag),
            Value::List(items) => visitor.visit_seq(Items { items: items.iter(), context: self.context }),
            Value::Table(table) => {
                visitor.visit_map(Entries { entries: table.iter(), value: None, context: self.context })
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if name == secret::MARK {
            let text = Secret(self).resolve()?;
            return visitor.visit_newtype_struct(StringDeserializer::new(text));
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.node.as_text() {
            Some(text) => visitor.visit_enum(StrDeserializer::new(text)),
            None => Err(Fault::wrong(format!("must be a string, not {}", self.node.value.describe()))),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit_parsed(visitor, V::visit_bool)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit_parsed(visitor, |visitor, number| visit_number(number, visitor))
    }

    fn deserialize_i8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_i16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit_parsed(visitor, V::visit_f64)
    }

    /// The text of a variable is a list of strings in TOML syntax (`["a", "b"]`), or else a single item.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let Value::Variable(text) = &self.node.value else {
            return self.deserialize_any(visitor);
        };
        let (parsed, problems) = tree::parse(&format!("list = {text}"));
        match parsed.get("list").map(|entry| &entry.node.value) {
            Some(Value::List(items))
                if problems.is_empty() && items.iter().all(|item| item.as_text().is_some()) =>
            {
                let texts = items.iter().filter_map(Node::as_text).map(str::to_owned);
                visitor.visit_seq(SeqDeserializer::new(texts))
            }
            _ => visitor.visit_seq(SeqDeserializer::new(std::iter::once(text.as_str()))),
        }
    }

    forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct tuple tuple_struct map struct identifier ignored_any
    }
}

fn visit_number<'a, V: Visitor<'a>>(number: i128, visitor: V) -> Result<V::Value, Fault> {
    if let Ok(number) = i64::try_from(number) {
        visitor.visit_i64(number)
    } else if let Ok(number) = u64::try_from(number) {
        visitor.visit_u64(number)
    } else {
        visitor.visit_i128(number)
    }
}

struct Items<'a> {
    items: std::slice::Iter<'a, Node>,
    context: &'a Context,
}

impl<'a> SeqAccess<'a> for Items<'a> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some(node) = self.items.next() else { return Ok(None) };
        // An item has no key, so the fault belongs to the list, at the place of the item.
        seed.deserialize(Reader::new(node, self.context))
            .map(Some)
            .map_err(|fault| fault.at(&node.place).whole())
    }
}

struct Entries<'a> {
    entries: std::collections::btree_map::Iter<'a, String, Entry>,
    value: Option<(&'a String, &'a Node)>,
    context: &'a Context,
}

impl<'a> MapAccess<'a> for Entries<'a> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let Some((key, entry)) = self.entries.next() else { return Ok(None) };
        self.value = Some((key, &entry.node));
        seed.deserialize(BorrowedStrDeserializer::new(key))
            .map(Some)
            .map_err(|fault: Fault| fault.at(&entry.key).under(key))
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let (key, node) =
            self.value.take().ok_or_else(|| Fault::wrong("internal error: a value without its key"))?;
        seed.deserialize(Reader::new(node, self.context)).map_err(|fault| fault.at(&node.place).under(key))
    }
}

/// A secret in any of its forms: a text, `{ env = … }`, `{ file = … }`, `{ generate = … }`.
struct Secret<'a>(Reader<'a>);

/// The keys of a secret's table.
pub(crate) const SECRET_FORMS: [&str; 3] = ["env", "file", "generate"];

impl Secret<'_> {
    fn resolve(&self) -> Result<String, Fault> {
        let text = match &self.0.node.value {
            Value::Text(text) | Value::Variable(text) => text.clone(),
            Value::Table(table) => self.resolve_table(table)?,
            other => {
                return Err(Fault::wrong(format!(
                    "must be a string in quotes, {{ env = \"NAME\" }}, {{ file = \"PATH\" }} or {{ generate = \"PATH\" }}, \
                     not {}",
                    other.describe()
                )));
            }
        };
        if text.is_empty() {
            return Err(Fault::wrong("must not be empty"));
        }
        self.0.context.resolved(&text, &self.0.node.place);
        Ok(text)
    }

    fn resolve_table(&self, table: &tree::Table) -> Result<String, Fault> {
        for (key, entry) in table {
            if !SECRET_FORMS.contains(&key.as_str()) {
                let fault = Fault::wrong(format!("a secret has no key `{key}`"));
                return Err(fault.helped(meant(key, &SECRET_FORMS)).at(&entry.key));
            }
        }
        let mut entries = table.iter();
        let (Some((form, entry)), None) = (entries.next(), entries.next()) else {
            return Err(Fault::wrong("must have exactly one of the keys `env`, `file` and `generate`"));
        };
        let named = entry.node.as_text().filter(|named| !named.is_empty());
        named
            .ok_or_else(|| Fault::wrong(format!("must be a string, not {}", entry.node.value.describe())))
            .and_then(|named| self.look_up(form, named))
            .map_err(|fault| fault.at(&entry.node.place))
    }

    fn look_up(&self, form: &str, named: &str) -> Result<String, Fault> {
        let context = self.0.context;
        let path = std::path::Path::new(named);
        let unusable = |error: secret::FileError| Fault::wrong(error.to_string());
        match form {
            "env" => match context.variable(named) {
                Ok("") => Err(Fault::wrong(format!("the environment variable {named} is empty"))),
                Ok(text) => Ok(text.to_owned()),
                Err(std::env::VarError::NotPresent) => {
                    let near =
                        nearest(named, context.variables()).map(|near| format!("did you mean `{near}`?"));
                    let message = format!("the environment variable {named} is not set");
                    Err(Fault::wrong(message).helped(near))
                }
                Err(std::env::VarError::NotUnicode(_)) => {
                    Err(Fault::wrong(format!("the environment variable {named} is not UTF-8")))
                }
            },
            "file" => match context.kept(path).map_err(unusable)? {
                Some(secret) => Ok(secret.expose().to_owned()),
                None => Err(Fault::wrong(format!("the file {named} does not exist"))),
            },
            _ => Ok(context.generated(path).map_err(unusable)?.expose().to_owned()),
        }
    }
}
