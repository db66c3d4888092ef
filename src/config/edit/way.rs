//! Where a key is in a parsed text, and what the text means.

use std::collections::BTreeMap;
use std::ops::Range;

use toml_edit::{Item, TableLike, Value};

use super::text::quoted;

/// The way from the root to a key, as far as it exists.
pub(super) struct Way<'a> {
    names: Vec<&'a str>,
    /// The root first.
    items: Vec<&'a Item>,
}

impl<'a> Way<'a> {
    pub(super) fn along(root: &'a Item, path: &'a str) -> Way<'a> {
        let names: Vec<&str> = path.split('.').collect();
        let mut items = vec![root];
        for name in &names {
            let next = items.last().and_then(|item| item.as_table_like()?.get(name));
            match next {
                Some(item) if !item.is_none() => items.push(item),
                _ => break,
            }
        }
        Way { names, items }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.missing() == 0
    }

    pub(super) fn found(&self) -> Option<&'a Item> {
        if self.is_whole() { Some(self.last()) } else { None }
    }

    pub(super) fn last(&self) -> &'a Item {
        self.items[self.items.len() - 1]
    }

    pub(super) fn missing(&self) -> usize {
        self.names.len() + 1 - self.items.len()
    }

    /// The nearest table with a place of its own, in braces or below a header, and the key from there.
    pub(super) fn home(&self) -> (&'a Item, String) {
        let depth = self.home_depth();
        (self.items[depth], self.names[depth..].join("."))
    }

    pub(super) fn is_at_root(&self) -> bool {
        self.home_depth() == 0
    }

    fn home_depth(&self) -> usize {
        let above = self.items.len() - usize::from(self.is_whole());
        let is_dotted = |item: &Item| item.as_table_like().is_some_and(TableLike::is_dotted);
        (0..above).rev().find(|&depth| !is_dotted(self.items[depth])).unwrap_or(0)
    }

    pub(super) fn section(&self) -> String {
        self.names[..self.names.len() - 1].join(".")
    }

    pub(super) fn leaf(&self) -> &'a str {
        self.names[self.names.len() - 1]
    }

    pub(super) fn key_begin(&self) -> Option<usize> {
        let table = self.items.get(self.items.len().checked_sub(2)?)?.as_table_like()?;
        Some(table.get_key_value(self.leaf())?.0.span()?.start)
    }
}

pub(super) fn value_span(item: &Item) -> Option<Range<usize>> {
    match item {
        Item::Value(value) => value.span(),
        _ => None,
    }
}

pub(super) fn is_header(item: &Item) -> bool {
    match item {
        Item::Table(table) => !table.is_dotted(),
        Item::ArrayOfTables(_) => true,
        _ => false,
    }
}

/// Where the last value of a table begins (its key) and ends, that of dotted keys included.
pub(super) fn end_of_values(table: &dyn TableLike) -> Option<(usize, usize)> {
    let mut last = None;
    for (name, item) in table.iter() {
        let found = match item.as_table_like() {
            Some(table) if table.is_dotted() => end_of_values(table),
            _ => {
                let key = table.get_key_value(name).and_then(|(key, _)| key.span());
                key.zip(value_span(item)).map(|(key, value)| (key.start, value.end))
            }
        };
        last = last.max(found);
    }
    last
}

/// Every value below `table` by its path, whatever it is spelled like: a list with a header for each
/// entry is a list.
pub(super) fn gather(table: &dyn TableLike, prefix: &str, values: &mut BTreeMap<String, String>) {
    for (name, item) in table.iter() {
        let path = format!("{prefix}{name}");
        match item {
            Item::Value(Value::InlineTable(table)) => gather(table, &format!("{path}."), values),
            Item::Table(table) => gather(table, &format!("{path}."), values),
            Item::Value(value) => {
                values.insert(path, meaning(value));
            }
            Item::ArrayOfTables(tables) => {
                values.insert(path, meaning(&Value::Array(tables.clone().into_array())));
            }
            Item::None => {}
        }
    }
}

pub(super) fn meaning(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text.value()),
        Value::Array(entries) => {
            let entries: Vec<String> = entries.iter().map(meaning).collect();
            format!("[{}]", entries.join(", "))
        }
        Value::InlineTable(table) => {
            let entry = |(name, value): (&str, &Value)| {
                format!("{} = {}", toml_edit::Key::new(name).display_repr(), meaning(value))
            };
            let entries: Vec<String> = table.iter().map(entry).collect();
            match entries.is_empty() {
                true => "{}".to_owned(),
                false => format!("{{ {} }}", entries.join(", ")),
            }
        }
        plain => plain.clone().decorated("", "").to_string(),
    }
}
