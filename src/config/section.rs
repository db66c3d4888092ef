//! A table of the file, read key by key: each value with its type, its range and its place. What is
//! not read by the end is an unknown key. Problems are gathered; none ends the reading.

use std::ops::{Range, RangeInclusive};

use toml_edit::{Item, Key, TableLike, Value};

use super::keys::{Key as KnownKey, Kind};
use super::networks::shown;
use super::problem::Problems;

/// How alike two keys must be to be taken for each other.
const LIKENESS: f64 = 0.8;

/// One table and the keys it may have.
pub(super) struct Section<'a> {
    /// The name, as in `limits`; empty for the top of the file.
    name: &'static str,
    table: Option<&'a dyn TableLike>,
    known: Vec<(&'static str, Kind)>,
}

/// A value that is there, of the asked type, and its place.
pub(super) struct Found<T> {
    pub(super) value: T,
    pub(super) span: Option<Range<usize>>,
    /// The path of its key, as in `limits.head_ms`.
    pub(super) path: String,
}

/// One entry of a list that takes both shapes, and its place.
pub(super) enum Entry<'a> {
    Text(&'a str, Option<Range<usize>>),
    Table(Section<'a>, Option<Range<usize>>),
}

impl<'a> Section<'a> {
    pub(super) fn top(table: &'a dyn TableLike) -> Section<'a> {
        Section { name: "", table: Some(table), known: Vec::new() }
    }

    /// Whether the file does not have it.
    pub(super) fn is_absent(&self) -> bool {
        self.table.is_none()
    }

    /// The section `name`; one without any key where the file does not have it.
    pub(super) fn section(&mut self, name: &'static str, problems: &mut Problems) -> Section<'a> {
        self.subsection(name, name, problems)
    }

    /// The section under `key` of this one, whose path from the top is `name`.
    pub(super) fn subsection(
        &mut self,
        key: &'static str,
        name: &'static str,
        problems: &mut Problems,
    ) -> Section<'a> {
        let table = self.item(key, Kind::Section).and_then(|(key, item)| {
            let table = item.as_table_like();
            if table.is_none() {
                wrong_type(problems, name, Kind::Section.expected(), key, item);
            }
            table
        });
        Section { name, table, known: Vec::new() }
    }

    /// A whole number within `range`.
    pub(super) fn number(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u64>,
        problems: &mut Problems,
    ) -> Option<Found<u64>> {
        let found = self.value(key, Kind::Number, problems, Item::as_integer)?;
        match u64::try_from(found.value) {
            Ok(value) if range.contains(&value) => Some(found.with(value)),
            _ => {
                let (least, most) = (range.start(), range.end());
                let (path, value) = (&found.path, found.value);
                let message = format!("{path} must be {least} to {most}, not {value}");
                problems.add(found.span, message);
                None
            }
        }
    }

    /// A string.
    pub(super) fn string(
        &mut self,
        key: &'static str,
        problems: &mut Problems,
    ) -> Option<Found<&'a str>> {
        self.value(key, Kind::Text, problems, Item::as_str)
    }

    /// true or false.
    pub(super) fn boolean(
        &mut self,
        key: &'static str,
        problems: &mut Problems,
    ) -> Option<Found<bool>> {
        self.value(key, Kind::Flag, problems, Item::as_bool)
    }

    /// One of `choices`, by its spelling.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&'static str, T)],
        problems: &mut Problems,
    ) -> Option<T> {
        let found = self.string(key, problems)?;
        let chosen = choices.iter().find(|(spelling, _)| *spelling == found.value);
        if chosen.is_none() {
            let spellings: Vec<String> =
                choices.iter().map(|(spelling, _)| format!("\"{spelling}\"")).collect();
            let path = &found.path;
            let (spellings, value) = (spellings.join(", "), shown(found.value));
            problems.add(found.span, format!("{path} must be one of {spellings}, not \"{value}\""));
        }
        chosen.map(|(_, value)| *value)
    }

    /// A list of strings, each turned into a value by `read`; entries that cannot be are problems,
    /// and then there is no list.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&str) -> Result<T, String>,
        problems: &mut Problems,
    ) -> Option<Found<Vec<T>>> {
        let found = self.value(key, Kind::List, problems, Item::as_array)?;
        let mut values = Vec::new();
        for entry in found.value {
            let message = match entry {
                Value::String(text) => match read(text.value()) {
                    Ok(value) => {
                        values.push(value);
                        continue;
                    }
                    Err(why) => format!("{}: \"{}\": {why}", found.path, shown(text.value())),
                },
                _ => format!(
                    "{} must be a list of strings, but this is {}",
                    found.path,
                    with_article(entry.type_name())
                ),
            };
            problems.add(entry.span(), message);
        }
        (values.len() == found.value.len()).then(|| found.with(values))
    }

    /// Where the value of `key` stands, for a problem that shows only beside others.
    pub(super) fn span_of(&self, key: &str) -> Option<Range<usize>> {
        self.table?.get(key)?.span()
    }

    /// Where each entry of the list `key` stands.
    pub(super) fn spans_in(&self, key: &str) -> Vec<Option<Range<usize>>> {
        let list = self.table.and_then(|table| table.get(key)?.as_array());
        list.into_iter().flatten().map(Value::span).collect()
    }

    /// A list whose entries are strings or tables, each turned into a value by `read`, which tells
    /// problems itself. Entries that cannot be are problems, and then there is no list.
    pub(super) fn entries<T>(
        &mut self,
        key: &'static str,
        name: &'static str,
        problems: &mut Problems,
        read: impl Fn(Entry<'a>, &mut Problems) -> Option<T>,
    ) -> Option<Vec<T>> {
        let table = |table| Section { name, table: Some(table), known: Vec::new() };
        // As in [[azure.workspaces]]: the same list, with a header for each entry.
        let tables = self.table.and_then(|table| table.get(key)?.as_array_of_tables());
        if let Some(tables) = tables {
            self.known.push((key, Kind::List));
            let mut values = Vec::new();
            for one in tables {
                values.extend(read(Entry::Table(table(one), one.span()), problems));
            }
            return (values.len() == tables.len()).then_some(values);
        }
        let found = self.value(key, Kind::List, problems, Item::as_array)?;
        let mut values = Vec::new();
        for value in found.value {
            let span = value.span();
            let entry = match value {
                Value::String(text) => Entry::Text(text.value(), span),
                Value::InlineTable(one) => Entry::Table(table(one), span),
                other => {
                    let article = with_article(other.type_name());
                    let path = &found.path;
                    problems.add(
                        span,
                        format!(
                            "{path} must be a list of strings or tables, but this is {article}"
                        ),
                    );
                    continue;
                }
            };
            values.extend(read(entry, problems));
        }
        (values.len() == found.value.len()).then_some(values)
    }

    /// Tells the keys that nothing has asked for. `elsewhere` are the keys of other sections, as
    /// paths, to tell a key in the wrong one.
    pub(super) fn finish(self, elsewhere: &[KnownKey], problems: &mut Problems) {
        let Some(table) = self.table else { return };
        for (name, item) in table.iter() {
            if self.known.iter().any(|(known, _)| *known == name) {
                continue;
            }
            let span = table.get_key_value(name).and_then(|(key, _)| key.span());
            let what = if item.is_table_like() { "section" } else { "key" };
            let mut message = format!("unknown {what} \"{}\"", shown(&self.path(name)));
            if let Some(meant) = self.meant(name, elsewhere) {
                message.push_str(&format!("; did you mean \"{meant}\"?"));
            }
            problems.add(span.or_else(|| item.span()), message);
        }
    }

    /// All keys that were asked for.
    pub(super) fn known(&self) -> impl Iterator<Item = KnownKey> + use<'_, 'a> {
        self.known.iter().map(|&(key, kind)| KnownKey { path: self.path(key), kind })
    }

    fn meant(&self, name: &str, elsewhere: &[KnownKey]) -> Option<String> {
        let lower = name.to_lowercase();
        let likeness = |key: &str| strsim::jaro_winkler(&lower, key);
        let keys = self.known.iter().map(|(key, _)| *key);
        let nearest = keys.max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
        if let Some(nearest) = nearest.filter(|key| likeness(key) >= LIKENESS) {
            return Some(self.path(nearest));
        }
        let in_section = |key: &&KnownKey| key.path.rsplit('.').next() == Some(&lower);
        elsewhere.iter().find(in_section).map(|key| key.path.clone())
    }

    fn value<T>(
        &mut self,
        key: &'static str,
        kind: Kind,
        problems: &mut Problems,
        read: impl Fn(&'a Item) -> Option<T>,
    ) -> Option<Found<T>> {
        let path = self.path(key);
        let (toml_key, item) = self.item(key, kind)?;
        match read(item) {
            Some(value) => Some(Found { value, span: item.span(), path }),
            None => {
                wrong_type(problems, &path, kind.expected(), toml_key, item);
                None
            }
        }
    }

    fn item(&mut self, key: &'static str, kind: Kind) -> Option<(&'a Key, &'a Item)> {
        self.known.push((key, kind));
        self.table?.get_key_value(key)
    }

    fn path(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }
}

impl<T> Found<T> {
    fn with<U>(self, value: U) -> Found<U> {
        Found { value, span: self.span, path: self.path }
    }
}

fn wrong_type(problems: &mut Problems, path: &str, expected: &str, key: &Key, item: &Item) {
    let found = with_article(item.type_name());
    // A section made of dotted keys or of several parts has no place of its own.
    let span = item.span().or_else(|| key.span());
    problems.add(span, format!("{path} must be {expected}, not {found}"));
}

fn with_article(type_name: &str) -> String {
    let article = if type_name.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {type_name}")
}
