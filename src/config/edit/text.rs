//! A text of TOML, changed key by key. Every byte that a change does not mean stays: comments, order,
//! blanks, the way lists are laid out, line ends.

use std::collections::BTreeMap;
use std::ops::Range;

use toml_edit::{Document, Item, Table, Value};

use super::super::problem::position;
use super::array::Array;
use super::way::{Way, end_of_values, gather, is_header, value_span};

/// The text of a configuration, without a byte order mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(String);

/// Why a change cannot be made: the text is no TOML, or something else stands where the key belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfit;

/// New text for a place of the old.
#[derive(Debug)]
pub(super) struct Splice {
    pub(super) at: Range<usize>,
    pub(super) by: String,
}

impl Text {
    /// A text to change.
    pub fn new(text: impl Into<String>) -> Text {
        Text(text.into())
    }

    /// As it is now.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the text has the key at `path`, as in `limits.head_ms`.
    pub fn has(&self, path: &str) -> bool {
        Document::parse(self.as_str())
            .is_ok_and(|document| Way::along(document.as_item(), path).is_whole())
    }

    /// Line and column of an offset, from 1.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        position(&self.0, offset)
    }

    /// The text at `path`, where that is a string.
    pub fn string(&self, path: &str) -> Option<String> {
        let document = Document::parse(self.as_str()).ok()?;
        Way::along(document.as_item(), path).found()?.as_str().map(str::to_owned)
    }

    /// The strings of the list at `path`, each with the offset at which it begins; none where there is
    /// no such list.
    ///
    /// # Errors
    /// It holds something else than strings.
    pub fn strings(&self, path: &str) -> Result<Vec<(usize, String)>, Unfit> {
        let document = Document::parse(self.as_str()).map_err(|_| Unfit)?;
        let way = Way::along(document.as_item(), path);
        let Some(item) = way.found() else { return Ok(Vec::new()) };
        let entry = |entry: &Value| Some((entry.span()?.start, entry.as_str()?.to_owned()));
        let entries = item.as_array().ok_or(Unfit)?.iter().map(entry);
        entries.collect::<Option<_>>().ok_or(Unfit)
    }

    /// Where the value at `path` begins.
    pub fn offset(&self, path: &str) -> Option<usize> {
        let document = Document::parse(self.as_str()).ok()?;
        let way = Way::along(document.as_item(), path);
        Some(value_span(way.found()?)?.start)
    }

    /// Where the entries of the list at `path` begin, whatever they are; none where there is no list.
    pub fn offsets(&self, path: &str) -> Vec<usize> {
        let Ok(document) = Document::parse(self.as_str()) else { return Vec::new() };
        let spans: Vec<_> = match Way::along(document.as_item(), path).found() {
            Some(Item::Value(Value::Array(array))) => array.iter().map(Value::span).collect(),
            Some(Item::ArrayOfTables(tables)) => tables.iter().map(Table::span).collect(),
            _ => Vec::new(),
        };
        spans.into_iter().flatten().map(|span| span.start).collect()
    }

    /// Gives the key at `path` a value, as TOML spells it.
    ///
    /// # Errors
    /// The text is not fit for it.
    pub fn set(&mut self, path: &str, value: &str) -> Result<(), Unfit> {
        let document = Document::parse(self.as_str()).map_err(|_| Unfit)?;
        let way = Way::along(document.as_item(), path);
        let splice = match way.found() {
            Some(item) => Splice { at: value_span(item).ok_or(Unfit)?, by: value.to_owned() },
            None => self.insertion(&way, value)?,
        };
        self.apply(vec![splice]);
        Ok(())
    }

    /// Puts strings at the end of the list at `path`.
    ///
    /// # Errors
    /// The text is not fit for it.
    pub fn append(&mut self, path: &str, entries: &[String]) -> Result<(), Unfit> {
        let values: Vec<String> = entries.iter().map(|entry| quoted(entry)).collect();
        self.append_values(path, &values)
    }

    /// Puts values, as TOML spells them, at the end of the list at `path`.
    ///
    /// # Errors
    /// The text is not fit for it.
    pub(super) fn append_values(&mut self, path: &str, values: &[String]) -> Result<(), Unfit> {
        if values.is_empty() {
            return Ok(());
        }
        if !self.has(path) {
            return self.set(path, &self.list(values));
        }
        self.change_list(path, |array| array.append(values))
    }

    /// Puts a value, as TOML spells it, in the place of the entry at `place`, from 0, of the list at
    /// `path`.
    ///
    /// # Errors
    /// The text is not fit for it.
    pub(super) fn replace(&mut self, path: &str, place: usize, value: &str) -> Result<(), Unfit> {
        if place >= self.offsets(path).len() {
            return Err(Unfit);
        }
        self.change_list(path, |array| vec![array.replace(place, value)])
    }

    /// Takes the entries at these places, from 0 and in rising order, out of the list at `path`.
    ///
    /// # Errors
    /// The text is not fit for it.
    pub fn take_out(&mut self, path: &str, places: &[usize]) -> Result<(), Unfit> {
        if self.has_headers(path) {
            return self.take_out_headers(path, places);
        }
        self.change_list(path, |array| array.remove(places))
    }

    /// Gives the list at `path` these strings; entries that stay keep their lines and comments.
    ///
    /// # Errors
    /// The text is not fit for it.
    pub fn set_list(&mut self, path: &str, entries: &[String]) -> Result<(), Unfit> {
        if self.has_headers(path) {
            let all: Vec<usize> = (0..self.offsets(path).len()).collect();
            self.take_out(path, &all)?;
        }
        if !self.has(path) {
            let values: Vec<String> = entries.iter().map(|entry| quoted(entry)).collect();
            return self.set(path, &self.list(&values));
        }
        let old = self.strings_or_tables(path)?;
        let is_asked = |old: &Option<String>| old.as_ref().is_some_and(|old| entries.contains(old));
        let (staying, going): (Vec<usize>, Vec<usize>) =
            (0..old.len()).partition(|place| is_asked(&old[*place]));
        let stays_in_front = staying.len() <= entries.len()
            && staying
                .iter()
                .zip(entries)
                .all(|(place, entry)| old[*place].as_ref() == Some(entry));
        if stays_in_front && (!staying.is_empty() || old.is_empty() || entries.is_empty()) {
            self.take_out(path, &going)?;
            return self.append(path, &entries[staying.len()..]);
        }
        let surplus: Vec<usize> = (entries.len()..old.len()).collect();
        self.take_out(path, &surplus)?;
        self.change_list(path, |array| {
            let pairs = old.iter().zip(entries).enumerate();
            let changed = pairs.filter(|(_, (old, new))| old.as_ref() != Some(*new));
            changed.map(|(place, (_, new))| array.replace(place, &quoted(new))).collect()
        })?;
        self.append(path, &entries[old.len().min(entries.len())..])
    }

    /// Takes out the key at `path`, with its line; nothing where there is none.
    ///
    /// # Errors
    /// The text is not fit for it.
    pub fn remove(&mut self, path: &str) -> Result<(), Unfit> {
        let document = Document::parse(self.as_str()).map_err(|_| Unfit)?;
        let way = Way::along(document.as_item(), path);
        let Some(item) = way.found() else { return Ok(()) };
        let value = value_span(item).ok_or(Unfit)?;
        let at = match way.home() {
            (Item::Value(Value::InlineTable(table)), _) => {
                let table = table.span().ok_or(Unfit)?;
                entry_in_braces(&self.0, &table, &value)
            }
            _ => line_begin(&self.0, way.key_begin().ok_or(Unfit)?)..line_end(&self.0, value.end),
        };
        self.apply(vec![Splice { at, by: String::new() }]);
        Ok(())
    }

    /// Every key with its value, whatever they are spelled like; `None` where the text is no TOML.
    pub fn values(&self) -> Option<BTreeMap<String, String>> {
        let document = Document::parse(self.as_str()).ok()?;
        let mut values = BTreeMap::new();
        gather(document.as_table(), "", &mut values);
        Some(values)
    }

    /// The entries of a list that takes both, a table as `None`; none where there is no such list.
    fn strings_or_tables(&self, path: &str) -> Result<Vec<Option<String>>, Unfit> {
        let document = Document::parse(self.as_str()).map_err(|_| Unfit)?;
        let way = Way::along(document.as_item(), path);
        let Some(item) = way.found() else { return Ok(Vec::new()) };
        let entry = |entry: &Value| match entry {
            Value::String(text) => Ok(Some(text.value().clone())),
            Value::InlineTable(_) => Ok(None),
            _ => Err(Unfit),
        };
        item.as_array().ok_or(Unfit)?.iter().map(entry).collect()
    }

    fn change_list(
        &mut self,
        path: &str,
        change: impl FnOnce(&Array<'_>) -> Vec<Splice>,
    ) -> Result<(), Unfit> {
        let document = Document::parse(self.as_str()).map_err(|_| Unfit)?;
        let way = Way::along(document.as_item(), path);
        let array = way.found().and_then(Item::as_array).ok_or(Unfit)?;
        let entries: Option<Vec<_>> = array.iter().map(Value::span).collect();
        let array = Array {
            text: self.as_str(),
            whole: array.span().ok_or(Unfit)?,
            entries: entries.ok_or(Unfit)?,
            line_end: self.line_end(),
        };
        let splices = change(&array);
        self.apply(splices);
        Ok(())
    }

    /// Where a key goes that is not there yet: into its section, else into a new one at the end.
    fn insertion(&self, way: &Way<'_>, value: &str) -> Result<Splice, Unfit> {
        let (home, key) = way.home();
        let key = format!("{key} = {value}");
        match (home, way.last()) {
            (Item::Value(Value::InlineTable(table)), _) => {
                let span = table.span().ok_or(Unfit)?;
                Ok(match end_of_values(table) {
                    Some((_, end)) => Splice { at: end..end, by: format!(", {key}") },
                    None => Splice { at: span.start + 1..span.end - 1, by: format!(" {key} ") },
                })
            }
            (Item::Table(table), Item::Table(last)) => {
                let is_near = last.is_dotted() || way.missing() == 1 && !last.is_implicit();
                // A file that spells all its sections with dots gets no header for one key.
                let is_all_dots = way.is_at_root()
                    && table.iter().all(|(_, item)| !is_header(item))
                    && table.iter().any(|(_, item)| item.is_table());
                Ok(match (is_near, is_all_dots) {
                    (true, _) => self.line_in(last, &key),
                    (false, true) => self.line_in(table, &key),
                    (false, false) => self.section_at_the_end(&way.section(), way.leaf(), value),
                })
            }
            _ => Err(Unfit),
        }
    }

    /// A line behind the last key of a table, or else behind its header.
    fn line_in(&self, table: &Table, key: &str) -> Splice {
        let (text, end) = (self.as_str(), self.line_end());
        if let Some((begin, value_end)) = end_of_values(table) {
            let line = &text[line_begin(text, begin)..];
            let indent = &line[..line.len() - line.trim_start_matches([' ', '\t']).len()];
            return self.line_at(line_end(text, value_end), &format!("{indent}{key}{end}"));
        }
        // The root has no header.
        match table.span().filter(|header| text[header.clone()].starts_with('[')) {
            Some(header) => self.line_at(line_end(text, header.end), &format!("{key}{end}")),
            None if table.is_empty() => self.line_at(text.len(), &format!("{key}{end}")),
            None => self.line_at(below_heading(text), &format!("{key}{end}{end}")),
        }
    }

    fn section_at_the_end(&self, section: &str, leaf: &str, value: &str) -> Splice {
        let end = self.line_end();
        let gap = if self.0.trim().is_empty() { "" } else { end };
        self.line_at(self.0.len(), &format!("{gap}[{section}]{end}{leaf} = {value}{end}"))
    }

    /// A line at the begin of a line, also where the last one has no end.
    pub(super) fn line_at(&self, at: usize, line: &str) -> Splice {
        let before = &self.0[..at];
        let end = if before.is_empty() || before.ends_with('\n') { "" } else { self.line_end() };
        Splice { at: at..at, by: format!("{end}{line}") }
    }

    /// A list that was not there yet: on one line where it is short.
    fn list(&self, values: &[String]) -> String {
        const LINE_COLUMNS: usize = 80;
        let line = format!("[{}]", values.join(", "));
        if line.len() <= LINE_COLUMNS || values.len() < 2 {
            return line;
        }
        let end = self.line_end();
        let lines: String = values.iter().map(|value| format!("    {value},{end}")).collect();
        format!("[{end}{lines}]")
    }

    /// How the first line ends, and so every new one.
    pub(super) fn line_end(&self) -> &'static str {
        match self.0.find('\n') {
            Some(newline) if self.0[..newline].ends_with('\r') => "\r\n",
            _ => "\n",
        }
    }

    pub(super) fn apply(&mut self, mut splices: Vec<Splice>) {
        splices.sort_by_key(|splice| splice.at.start);
        for splice in splices.into_iter().rev() {
            self.0.replace_range(splice.at, &splice.by);
        }
    }
}

/// A string as TOML spells it.
pub fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Behind the comment that heads a file, where a blank line sets it apart from what follows.
fn below_heading(text: &str) -> usize {
    let lines = text.split_inclusive('\n');
    let heading: usize = lines.take_while(|line| line.starts_with('#')).map(str::len).sum();
    let blank = text[heading..].split_inclusive('\n').next().unwrap_or_default();
    if blank.trim().is_empty() { heading + blank.len() } else { 0 }
}

pub(super) fn line_begin(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

/// The blanks that begin the line of this place.
pub(super) fn indent(text: &str, at: usize) -> &str {
    let line = &text[line_begin(text, at)..];
    &line[..line.len() - line.trim_start_matches([' ', '\t']).len()]
}

/// The begin of the next line.
pub(super) fn line_end(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |newline| at + newline + 1)
}

/// `key = value` within braces, with one of the commas around it.
fn entry_in_braces(text: &str, braces: &Range<usize>, value: &Range<usize>) -> Range<usize> {
    let before = &text[braces.start..value.start];
    let begin = braces.start + before.rfind([',', '{']).unwrap_or(0);
    let behind = text[value.end..].trim_start();
    if text[begin..].starts_with(',') {
        return begin..value.end;
    }
    match behind.strip_prefix(',') {
        Some(rest) => begin + 1..text.len() - rest.len(),
        None => begin + 1..value.end,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(list: &str) -> Vec<String> {
        list.split_whitespace().map(str::to_owned).collect()
    }

    /// `set KEY VALUE`, `list KEY ENTRY...`, `add KEY ENTRY...`, `out KEY PLACE...`, `in KEY PLACE VALUE`,
    /// `values KEY VALUE`, `remove KEY`.
    fn changed(before: &str, command: &str) -> Result<String, Unfit> {
        let mut text = Text::new(before);
        let (verb, rest) = command.split_once(' ').unwrap();
        let (key, values) = rest.split_once(' ').unwrap_or((rest, ""));
        match verb {
            "set" => text.set(key, values),
            "list" => text.set_list(key, &words(values)),
            "add" => text.append(key, &words(values)),
            "out" => {
                let places: Vec<usize> =
                    values.split_whitespace().map(|place| place.parse().unwrap()).collect();
                text.take_out(key, &places)
            }
            "in" => {
                let (place, value) = values.split_once(' ').unwrap();
                text.replace(key, place.parse().unwrap(), value)
            }
            "values" => text.append_values(key, &[values.to_owned()]),
            "remove" => text.remove(key),
            _ => panic!("{verb}"),
        }?;
        Ok(text.0)
    }

    const ROWS: &[(&str, &str, &str)] = &[
        // A value in its place.
        ("workers = 1 # one\n", "set workers 2", "workers = 2 # one\n"),
        ("workers=1", "set workers 2", "workers=2"),
        ("a = 1\r\nworkers = 1\r\n", "set workers 2", "a = 1\r\nworkers = 2\r\n"),
        (
            "[limits]\n  idle_ms  =  5  # x\n",
            "set limits.idle_ms 6",
            "[limits]\n  idle_ms  =  6  # x\n",
        ),
        ("limits.idle_ms = 5\n", "set limits.idle_ms 6", "limits.idle_ms = 6\n"),
        (
            "limits = { idle_ms = 5 } # x\n",
            "set limits.idle_ms 6",
            "limits = { idle_ms = 6 } # x\n",
        ),
        ("[\"limits\"]\n'idle_ms' = 5\n", "set limits.idle_ms 6", "[\"limits\"]\n'idle_ms' = 6\n"),
        // A key that is not there yet.
        ("", "set workers 2", "workers = 2\n"),
        ("# all comment\n", "set workers 2", "# all comment\nworkers = 2\n"),
        ("# no end", "set workers 2", "# no end\nworkers = 2\n"),
        ("a = 1", "set workers 2", "a = 1\nworkers = 2\n"),
        ("a = 1 # x\n\n[b]\n", "set workers 2", "a = 1 # x\nworkers = 2\n\n[b]\n"),
        ("a = [\n  1,\n] # x\n[b]\n", "set workers 2", "a = [\n  1,\n] # x\nworkers = 2\n[b]\n"),
        ("[b]\nc = 1\n", "set workers 2", "workers = 2\n\n[b]\nc = 1\n"),
        ("# of b\n[b]\n", "set workers 2", "workers = 2\n\n# of b\n[b]\n"),
        (
            "# of all\r\n\r\n# of b\r\n[b]\r\n",
            "set workers 2",
            "# of all\r\n\r\nworkers = 2\r\n\r\n# of b\r\n[b]\r\n",
        ),
        ("", "set limits.idle_ms 6", "[limits]\nidle_ms = 6\n"),
        ("a = 1\n", "set limits.idle_ms 6", "a = 1\n\n[limits]\nidle_ms = 6\n"),
        ("[b]\nc = 1\r\n", "set limits.idle_ms 6", "[b]\nc = 1\r\n\n[limits]\nidle_ms = 6\n"),
        ("[limits] # x\n", "set limits.idle_ms 6", "[limits] # x\nidle_ms = 6\n"),
        ("[limits]", "set limits.idle_ms 6", "[limits]\nidle_ms = 6\n"),
        (
            "[limits]\n\thead_ms = 1 # x\n# y\n\n[z]\n",
            "set limits.idle_ms 6",
            "[limits]\n\thead_ms = 1 # x\n\tidle_ms = 6\n# y\n\n[z]\n",
        ),
        (
            "limits.head_ms = 1\na = 2\n",
            "set limits.idle_ms 6",
            "limits.head_ms = 1\nlimits.idle_ms = 6\na = 2\n",
        ),
        ("allow.hosts = []\n", "set limits.idle_ms 6", "allow.hosts = []\nlimits.idle_ms = 6\n"),
        (
            "allow.hosts = []\n[b]\n",
            "set limits.idle_ms 6",
            "allow.hosts = []\n[b]\n\n[limits]\nidle_ms = 6\n",
        ),
        ("limits = {}\n", "set limits.idle_ms 6", "limits = { idle_ms = 6 }\n"),
        (
            "limits = { head_ms = 1 }\n",
            "set limits.idle_ms 6",
            "limits = { head_ms = 1, idle_ms = 6 }\n",
        ),
        (
            "limits = { head_ms = 1, }\n",
            "set limits.idle_ms 6",
            "limits = { head_ms = 1, idle_ms = 6, }\n",
        ),
        (
            "[allow.feed]\nurl = \"\"\n",
            "set allow.mode 1",
            "[allow.feed]\nurl = \"\"\n\n[allow]\nmode = 1\n",
        ),
        (
            "[allow]\nmode = 1\n",
            "set allow.feed.url 2",
            "[allow]\nmode = 1\n\n[allow.feed]\nurl = 2\n",
        ),
        ("allow = { mode = 1 }\n", "set allow.feed.url 2", "allow = { mode = 1, feed.url = 2 }\n"),
        (
            "[allow]\nfeed.age = 1\n[z]\n",
            "set allow.feed.url 2",
            "[allow]\nfeed.age = 1\nfeed.url = 2\n[z]\n",
        ),
        (
            "allow.feed.age = 1\nz = 0\n",
            "set allow.feed.url 2",
            "allow.feed.age = 1\nallow.feed.url = 2\nz = 0\n",
        ),
        (
            "allow.feed.age = 1\nz = 0\n",
            "set allow.mode 2",
            "allow.feed.age = 1\nallow.mode = 2\nz = 0\n",
        ),
        // A key goes.
        ("workers = 1 # x\nb = 1\n", "remove workers", "b = 1\n"),
        ("# y\nworkers = [\n1,\n]", "remove workers", "# y\n"),
        ("b = 1\n", "remove workers", "b = 1\n"),
        ("[l]\r\n a = 1\r\n b = 2\r\n", "remove l.a", "[l]\r\n b = 2\r\n"),
        ("l.a = 1\nl.b = 2\n", "remove l.b", "l.a = 1\n"),
        ("l = { a = 1, b = 2 }\n", "remove l.a", "l = { b = 2 }\n"),
        ("l = { a = 1, b = 2 }\n", "remove l.b", "l = { a = 1 }\n"),
        ("l = { a = 1 }\n", "remove l.a", "l = { }\n"),
        // Entries come.
        ("[allow]\n", "add allow.hosts x", "[allow]\nhosts = [\"x\"]\n"),
        ("h = []\n", "add h x y", "h = [\"x\", \"y\"]\n"),
        ("h = [ ] # z\n", "add h x", "h = [\"x\"] # z\n"),
        ("h = [\"a\"]\n", "add h x y", "h = [\"a\", \"x\", \"y\"]\n"),
        ("h = [\"a\", ]\n", "add h x", "h = [\"a\", \"x\", ]\n"),
        (
            "h = [\n  'a', # one\n  \"b\", # two\n]\n",
            "add h x y",
            "h = [\n  'a', # one\n  \"b\", # two\n  \"x\",\n  \"y\",\n]\n",
        ),
        (
            "h = [\n  \"a\",\n  \"b\"  # two\n]\n",
            "add h x y",
            "h = [\n  \"a\",\n  \"b\",  # two\n  \"x\",\n  \"y\"\n]\n",
        ),
        ("h = [\r\n\t\"a\"\r\n]\r\n", "add h x", "h = [\r\n\t\"a\",\r\n\t\"x\"\r\n]\r\n"),
        (
            "h = [\n  \"a\",\n  # end, of list\n]\n",
            "add h x",
            "h = [\n  \"a\",\n  \"x\",\n  # end, of list\n]\n",
        ),
        ("h = [\n  \"a\" # one,\n  ,\n]\n", "add h x", "h = [\n  \"a\" # one,\n  ,\n  \"x\",\n]\n"),
        ("h = [\"a\",\n     \"b\"]\n", "add h x", "h = [\"a\",\n     \"b\", \"x\"]\n"),
        ("h = [\n]\n", "add h x", "h = [\n    \"x\",\n]\n"),
        ("h = [\n  # none yet\n]\n", "add h x", "h = [\n  # none yet\n  \"x\",\n]\n"),
        // Entries go.
        ("h = [\"a\", \"b\", \"c\"]\n", "out h 0", "h = [\"b\", \"c\"]\n"),
        ("h = [\"a\", \"b\", \"c\"]\n", "out h 1", "h = [\"a\", \"c\"]\n"),
        ("h = [\"a\", \"b\", \"c\"]\n", "out h 2", "h = [\"a\", \"b\"]\n"),
        ("h = [\"a\", \"b\", \"c\"]\n", "out h 1 2", "h = [\"a\"]\n"),
        ("h = [\"a\", \"b\", \"c\"]\n", "out h 0 2", "h = [\"b\"]\n"),
        ("h = [\"a\", \"b\"]\n", "out h 0 1", "h = []\n"),
        ("h = [\"a\", ]\n", "out h 0", "h = []\n"),
        (
            "h = [\n  \"a\", # one\n  \"b\", # two\n  # three\n]\n",
            "out h 0",
            "h = [\n  \"b\", # two\n  # three\n]\n",
        ),
        (
            "h = [\n  \"a\", # one\n  \"b\", # two\n  # three\n]\n",
            "out h 0 1",
            "h = [\n  # three\n]\n",
        ),
        ("h = [\r\n  \"a\",\r\n  \"b\"\r\n]\r\n", "out h 1", "h = [\r\n  \"a\",\r\n]\r\n"),
        ("h = [\"a\", # one\n  \"b\"]\n", "out h 0", "h = [# one\n  \"b\"]\n"),
        (
            "h = [\n  \"a\", \"b\", # x\n  \"c\",\n]\n",
            "out h 1",
            "h = [\n  \"a\", # x\n  \"c\",\n]\n",
        ),
        // Entries that are tables.
        ("h = [\"a\"] # z\n", "values h { i = 1 }", "h = [\"a\", { i = 1 }] # z\n"),
        ("", "values h.k { i = 1 }", "[h]\nk = [{ i = 1 }]\n"),
        (
            "h = [\n  { i = 1 }, # one\n  \"b\"\n]\n",
            "values h { i = 2 }",
            "h = [\n  { i = 1 }, # one\n  \"b\",\n  { i = 2 }\n]\n",
        ),
        (
            "h = [\n  { i = 1 }, # one\n  \"b\"\n]\n",
            "in h 0 \"a\"",
            "h = [\n  \"a\", # one\n  \"b\"\n]\n",
        ),
        ("h = [{ i = [\"x\"] }, \"b\"]\n", "out h 0", "h = [\"b\"]\n"),
        ("h = [{ i = 1 }, \"b\"]\n", "list h b", "h = [\"b\"]\n"),
        ("h = [\"b\", { i = 1 }]\n", "list h b c", "h = [\"b\", \"c\"]\n"),
        ("h = [{ i = 1 }]\n", "list h b", "h = [\"b\"]\n"),
        // A list as a whole.
        ("h = [\"a\", \"b\", \"c\"]\n", "list h a c", "h = [\"a\", \"c\"]\n"),
        (
            "h = [\n  \"a\", # one\n  \"b\", # two\n]\n",
            "list h b x",
            "h = [\n  \"b\", # two\n  \"x\",\n]\n",
        ),
        (
            "h = [\n  \"a\", # one\n  \"b\", # two\n]\n",
            "list h x y",
            "h = [\n  \"x\", # one\n  \"y\", # two\n]\n",
        ),
        (
            "h = [\n  \"a\", # one\n  \"b\", # two\n]\n",
            "list h b a",
            "h = [\n  \"b\", # one\n  \"a\", # two\n]\n",
        ),
        ("h = [\n  \"a\", # one\n  \"b\", # two\n]\n", "list h", "h = [\n]\n"),
        ("h = [\"a\"]\n", "list h x y", "h = [\"x\", \"y\"]\n"),
        ("", "list h x", "h = [\"x\"]\n"),
    ];

    #[test]
    fn only_what_is_meant_changes() {
        for (before, command, after) in ROWS {
            let text = changed(before, command).unwrap_or_else(|_| panic!("{before:?} {command}"));
            assert_eq!(text, *after, "{before:?} {command}");
            assert!(Text::new(text.as_str()).values().is_some(), "{text}");
        }
    }

    #[test]
    fn what_is_in_the_way_is_told() {
        for (before, command) in [
            ("limits = 5\n", "set limits.idle_ms 6"),
            ("[[limits]]\n", "set limits.idle_ms 6"),
            ("[workers]\n", "set workers 6"),
            ("h = 5\n", "add h x"),
            ("h = 5\n", "list h x"),
            ("h = [5]\n", "list h x"),
            ("h = [\"a\"]\n", "in h 1 x"),
            ("= 5\n", "set workers 6"),
            ("[h]\n", "remove h"),
        ] {
            assert_eq!(changed(before, command), Err(Unfit), "{before:?} {command}");
        }
    }

    #[test]
    fn a_long_list_gets_a_line_for_each_entry() {
        let entries: Vec<String> = (0..9).map(|n| format!("host{n}.example.com")).collect();
        let mut text = Text::new("a = 1\r\n");
        text.append("h", &entries).unwrap();
        assert!(
            text.0.starts_with("a = 1\r\nh = [\r\n    \"host0.example.com\",\r\n"),
            "{}",
            text.0
        );
        assert!(text.0.ends_with(",\r\n]\r\n"), "{}", text.0);
        assert_eq!(text.strings("h").unwrap().len(), 9);
    }

    /// Pieces of which a file is made; each is a section, so that any order of them is a file.
    fn pieces() -> impl Strategy<Value = String> {
        let blank = prop_oneof![Just(""), Just("\n"), Just("# note, [x] = \"y\"\n"), Just("  \n")];
        let list = prop_oneof![
            Just("[]"),
            Just("['a.b']"),
            Just("[\"a.b\", 'c.d' , \"e.f\",]"),
            Just("[\n  'a.b', # one, two\n  # none\n  'c.d'\n]"),
            Just("[ 'a.b',\n'c.d', 'e.f'\n,\n# x\n]"),
            Just("[ # top\n\t'a.b'\n\t, # odd\n\t'c.d' # end\n\t]"),
        ];
        (blank.clone(), list, blank, 0_usize..4).prop_map(|(before, list, after, style)| {
            let other = "other = 'z' # o\n";
            match style {
                0 => format!("{before}[allow]\n{other}hosts = {list} # h\n{after}"),
                1 => format!("{before}allow.hosts = {list}\n{after}{other}"),
                2 => format!("{before}{other}{after}[limits]\n  idle_ms = 5\n{after}[allow]\n"),
                _ => format!("{before}[allow] # a\n hosts = {list}\n{after}[limits]"),
            }
        })
    }

    proptest! {
        #[test]
        fn any_list_in_any_place_becomes_what_is_asked_for(
            file in pieces(),
            crlf in any::<bool>(),
            wanted in prop::collection::vec(prop::sample::select(vec!["a.b", "c.d", "e.f", "n.n", "m.m"]), 0..5),
        ) {
            let file = if crlf { file.replace('\n', "\r\n") } else { file };
            let wanted: Vec<String> = wanted.into_iter().map(str::to_owned).collect();
            let before = Text::new(file.as_str());
            let mut text = before.clone();
            prop_assert_eq!(text.set_list("allow.hosts", &wanted), Ok(()));
            let found: Vec<String> =
                text.strings("allow.hosts").unwrap().into_iter().map(|(_, entry)| entry).collect();
            prop_assert_eq!(&found, &wanted, "{}", text.0);
            let others = |text: &Text| {
                let mut values = text.values().unwrap();
                values.remove("allow.hosts");
                values
            };
            prop_assert_eq!(others(&before), others(&text));
            prop_assert_eq!(crlf, !text.0.replace("\r\n", "").contains('\n') && text.0.contains('\n'), "{:?}", text.0);
            for comment in ["# note, [x] = \"y\"", "z' # o", "# none"] {
                prop_assert_eq!(before.0.matches(comment).count(), text.0.matches(comment).count(), "{}", text.0);
            }
        }

        #[test]
        fn any_key_in_any_place_is_set_and_removed(file in pieces(), key in prop::sample::select(vec!["workers", "limits.idle_ms", "limits.head_ms", "allow.mode", "allow.feed.url"])) {
            let before = Text::new(file.as_str());
            let mut text = before.clone();
            prop_assert_eq!(text.set(key, "77"), Ok(()));
            let mut expected = before.values().unwrap();
            expected.insert(key.to_owned(), "77".to_owned());
            prop_assert_eq!(text.values(), Some(expected.clone()), "{}", &text.0);
            prop_assert_eq!(text.remove(key), Ok(()));
            expected.remove(key);
            prop_assert_eq!(text.values(), Some(expected), "{}", &text.0);
        }
    }
}
