//! A TOML table with its path and place: typed access that reports what has another type.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::did_you_mean;
use crate::inventory::failure::Fault;

/// A table of the file.
pub struct Table<'a> {
    path: String,
    table: &'a DeTable<'a>,
    span: Range<usize>,
}

/// A text value and where it stands.
pub struct Text<'a> {
    pub value: &'a str,
    pub span: Range<usize>,
    path: String,
}

type Value<'a> = Spanned<DeValue<'a>>;

impl<'a> Table<'a> {
    /// `span`: of its header, or of the table itself where it is inline.
    pub fn new(path: &str, table: &'a DeTable<'a>, span: Range<usize>) -> Self {
        Self { path: path.to_owned(), table, span }
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    /// `hosts.alpha.role`
    pub fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub fn header(&self) -> Range<usize> {
        self.span.clone()
    }

    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Reports every key that is none of the known ones.
    pub fn only(&self, known: &[&str], faults: &mut Vec<Fault>) {
        for key in self.table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            let word = key.get_ref().as_ref();
            faults.push(Fault {
                message: format!("{}: unknown key", self.path_of(word)),
                span: key.span(),
                label: did_you_mean(word, known),
                note: None,
                hint: None,
            });
        }
    }

    pub fn text(&self, key: &str, faults: &mut Vec<Fault>) -> Option<Text<'a>> {
        self.text_of(key, self.get(key)?, faults)
    }

    fn text_of(&self, key: &str, value: &'a Value<'a>, faults: &mut Vec<Fault>) -> Option<Text<'a>> {
        match value.get_ref() {
            DeValue::String(text) => Some(Text { value: text.as_ref(), span: value.span(), path: self.path_of(key) }),
            _ => self.wrong(key, value, "a text", faults),
        }
    }

    /// One text or a list of texts, as a list.
    pub fn texts(&self, key: &str, faults: &mut Vec<Fault>) -> Option<Vec<Text<'a>>> {
        let value = self.get(key)?;
        match value.get_ref() {
            DeValue::Array(items) => Some(items.iter().filter_map(|item| self.text_of(key, item, faults)).collect()),
            DeValue::String(_) => self.text_of(key, value, faults).map(|text| vec![text]),
            _ => self.wrong(key, value, "a text or a list of texts", faults),
        }
    }

    pub fn integer(&self, key: &str, range: RangeInclusive<i64>, faults: &mut Vec<Fault>) -> Option<i64> {
        let value = self.get(key)?;
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        let number = match value.get_ref() {
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        match number.filter(|number| range.contains(number)) {
            Some(number) => Some(number),
            None => self.wrong(key, value, &expected, faults),
        }
    }

    /// One of a few words.
    pub fn word<T: Copy>(&self, key: &str, words: &[(&str, T)], faults: &mut Vec<Fault>) -> Option<T> {
        let text = self.text(key, faults)?;
        let found = words.iter().find(|(word, _)| *word == text.value).map(|(_, meaning)| *meaning);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let listed: Vec<String> = known.iter().map(|word| format!("`{word}`")).collect();
            faults.push(Fault {
                label: did_you_mean(text.value, &known),
                ..text.fault(format!("{}: `{}` is none of {}", text.path, text.value, listed.join(", ")), None)
            });
        }
        found
    }

    pub fn table(&self, key: &str, faults: &mut Vec<Fault>) -> Option<Table<'a>> {
        let (name, value) = self.table.get_key_value(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some(Table { path: self.path_of(key), table, span: name.span() }),
            _ => self.wrong(key, value, "a table", faults),
        }
    }

    /// Every entry, which has to be a table, with its key and the key's place, in the order of the file.
    pub fn tables(&self, faults: &mut Vec<Fault>) -> Vec<(String, Range<usize>, Table<'a>)> {
        let mut entries: Vec<(Cow<'a, str>, Range<usize>)> =
            self.table.keys().map(|key| (key.get_ref().clone(), key.span())).collect();
        entries.sort_by_key(|(_, span)| span.start);
        let tables = entries.into_iter().filter_map(|(key, span)| {
            let table = self.table(&key, faults)?;
            Some((key.into_owned(), span, table))
        });
        tables.collect()
    }

    /// Labels: texts, and numbers and booleans as they are written.
    pub fn scalars(&self, faults: &mut Vec<Fault>) -> BTreeMap<String, String> {
        let mut scalars = BTreeMap::new();
        for (key, value) in self.table {
            let text = match value.get_ref() {
                DeValue::String(text) => Some(text.as_ref().to_owned()),
                DeValue::Integer(number) => Some(number.to_string()),
                DeValue::Float(number) => Some(number.to_string()),
                DeValue::Boolean(flag) => Some(flag.to_string()),
                DeValue::Table(_) => {
                    let message = format!("{}: a label cannot be a table", self.path_of(key.get_ref()));
                    let hint = Some("a label with dots in its name is written in quotes: \"com.example.zone\" = …".to_owned());
                    faults.push(Fault { message, span: key.span(), label: String::new(), note: None, hint });
                    None
                }
                _ => self.wrong(key.get_ref(), value, "a text", faults),
            };
            let name = key.get_ref().as_ref();
            if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '=') {
                let message = format!("`{}` is not a label's name", name.escape_debug());
                faults.push(Fault { message, span: key.span(), label: String::new(), note: None, hint: None });
            }
            scalars.extend(text.map(|text| (name.to_owned(), text)));
        }
        scalars
    }

    fn get(&self, key: &str) -> Option<&'a Value<'a>> {
        self.table.get(key)
    }

    fn wrong<T>(&self, key: &str, value: &Value<'_>, expected: &str, faults: &mut Vec<Fault>) -> Option<T> {
        let found = match value.get_ref() {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let message = format!("{}: must be {expected}", self.path_of(key));
        faults.push(Fault { message, span: value.span(), label: format!("this is {found}"), note: None, hint: None });
        None
    }
}

impl Text<'_> {
    /// A fault about this value.
    pub fn fault(&self, message: String, hint: Option<String>) -> Fault {
        Fault { message, span: self.span.clone(), label: String::new(), note: None, hint }
    }
}
