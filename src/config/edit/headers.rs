//! Entries of a list that is written with a header for each, as in `[[azure.workspaces]]`, come, change and
//! go; what lies between them stays as it is. Comments above a header stay, as those within brackets do.

use std::ops::Range;

use toml_edit::{ArrayOfTables, Document, Item, Table};

use super::text::{Splice, Text, Unfit, indent, line_begin, line_end};
use super::way::{Way, end_of_values, is_header, meaning, value_span};

/// The keys of an entry, each with its value as TOML spells it. The first is its name, for which in
/// brackets a string stands where there is no other.
pub type Parts = Vec<(&'static str, String)>;

impl Text {
    /// Puts entries at the end of the list at `path`, in the way in which it is written.
    ///
    /// # Errors
    /// The text is not fit for it.
    pub fn append_entries(&mut self, path: &str, entries: &[Parts]) -> Result<(), Unfit> {
        if entries.is_empty() {
            return Ok(());
        }
        if !self.has_headers(path) {
            let values: Vec<String> = entries.iter().map(in_brackets).collect();
            return self.append_values(path, &values);
        }
        self.change_headers(path, |text, tables| append(text, tables, entries))
    }

    /// Gives the entry at `place`, from 0, of the list at `path` these keys and no others. Below a header
    /// its name stays as it is spelled there.
    ///
    /// # Errors
    /// The text is not fit for it.
    pub fn replace_entry(&mut self, path: &str, place: usize, to: &Parts) -> Result<(), Unfit> {
        if !self.has_headers(path) {
            return self.replace(path, place, &in_brackets(to));
        }
        self.change_headers(path, |text, tables| replace(text, tables.get(place)?, to))
    }

    /// Whether the list at `path` has a header for each entry.
    pub(super) fn has_headers(&self, path: &str) -> bool {
        Document::parse(self.as_str()).is_ok_and(|document| {
            Way::along(document.as_item(), path).found().is_some_and(Item::is_array_of_tables)
        })
    }

    /// Takes the entries at these places, from 0 and in rising order, out of a list with headers.
    pub(super) fn take_out_headers(&mut self, path: &str, places: &[usize]) -> Result<(), Unfit> {
        self.change_headers(path, |text, tables| take_out(text, tables, places))
    }

    fn change_headers(
        &mut self,
        path: &str,
        change: impl FnOnce(&Text, &ArrayOfTables) -> Option<Vec<Splice>>,
    ) -> Result<(), Unfit> {
        let document = Document::parse(self.as_str()).map_err(|_| Unfit)?;
        let way = Way::along(document.as_item(), path);
        let tables = way.found().and_then(Item::as_array_of_tables).ok_or(Unfit)?;
        let splices = change(self, tables).ok_or(Unfit)?;
        self.apply(splices);
        Ok(())
    }
}

fn in_brackets(parts: &Parts) -> String {
    match parts.as_slice() {
        [(_, name)] => name.clone(),
        _ => {
            let parts: Vec<String> =
                parts.iter().map(|(key, value)| format!("{key} = {value}")).collect();
            format!("{{ {} }}", parts.join(", "))
        }
    }
}

fn append(text: &Text, tables: &ArrayOfTables, entries: &[Parts]) -> Option<Vec<Splice>> {
    let last = tables.iter().last()?;
    let header = last.span()?;
    let end = text.line_end();
    let above =
        format!("{end}{}{}{end}", indent(text.as_str(), header.start), &text.as_str()[header]);
    let entry = |parts: &Parts| format!("{above}{}", lines_of(text, last, parts.iter()));
    let lines: String = entries.iter().map(entry).collect();
    let at = lines_at(text, last)?.end;
    Some(vec![text.line_at(at, &lines)])
}

fn replace(text: &Text, table: &Table, to: &Parts) -> Option<Vec<Splice>> {
    let (name, options) = to.split_first()?;
    let mut splices = Vec::new();
    for (key, item) in table.iter().filter(|(key, _)| *key != name.0) {
        let value = value_span(item)?;
        match options.iter().find(|(option, _)| *option == key) {
            Some((_, new)) if meaning(item.as_value()?) == *new => {}
            Some((_, new)) => splices.push(Splice { at: value, by: new.clone() }),
            None => {
                let key = table.get_key_value(key)?.0.span()?;
                let (from, to) =
                    (line_begin(text.as_str(), key.start), line_end(text.as_str(), value.end));
                splices.push(Splice { at: from..to, by: String::new() });
            }
        }
    }
    let new = lines_of(text, table, options.iter().filter(|(key, _)| !table.contains_key(key)));
    if !new.is_empty() {
        splices.push(text.line_at(lines_at(text, table)?.end, &new));
    }
    Some(splices)
}

fn take_out(text: &Text, tables: &ArrayOfTables, places: &[usize]) -> Option<Vec<Splice>> {
    let all = text.as_str();
    let mut splices = Vec::new();
    // The end of the last that goes, and whether nothing that stays is above it.
    let (mut from, mut is_top) = (0, true);
    for &place in places {
        let lines = lines_at(text, tables.get(place)?)?;
        let stays = all[from..lines.start].trim_end();
        is_top &= stays.is_empty();
        // The blank lines above go with it, or at the top of the file those below.
        let begin = match stays.is_empty() {
            true => from,
            false => line_end(all, from + stays.len()).min(lines.start),
        };
        let blanks = all[lines.end..].len() - all[lines.end..].trim_start().len();
        let below = line_begin(all, lines.end + blanks).max(lines.end);
        from = if is_top { below } else { lines.end };
        splices.push(Splice { at: begin..from, by: String::new() });
    }
    Some(splices)
}

/// From the line of its header to the end of the line with its last value.
fn lines_at(text: &Text, table: &Table) -> Option<Range<usize>> {
    // What has a header of its own may be anywhere.
    if table.iter().any(|(_, item)| is_header(item)) {
        return None;
    }
    let header = table.span()?;
    let end = end_of_values(table).map_or(header.end, |(_, end)| end);
    Some(line_begin(text.as_str(), header.start)..line_end(text.as_str(), end))
}

/// A line for each part, with the indent of the values of `like`.
fn lines_of<'a>(
    text: &Text,
    like: &Table,
    parts: impl Iterator<Item = &'a (&'static str, String)>,
) -> String {
    let blanks = end_of_values(like).map_or("", |(begin, _)| indent(text.as_str(), begin));
    let end = text.line_end();
    parts.map(|(key, value)| format!("{blanks}{key} = {value}{end}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::text::quoted;
    use super::*;

    const LIST: &str = "a.w";

    /// `id` and `cloud`, where a cloud is given behind a slash.
    fn parts(entry: &str) -> Parts {
        let (id, cloud) = entry.split_once('/').map_or((entry, None), |(id, c)| (id, Some(c)));
        let cloud = cloud.map(|cloud| ("cloud", quoted(cloud)));
        [("id", quoted(id))].into_iter().chain(cloud).collect()
    }

    /// `add ENTRY...`, `in PLACE ENTRY`, `out PLACE...`.
    fn changed(before: &str, command: &str) -> Result<String, Unfit> {
        let mut text = Text::new(before);
        let words: Vec<&str> = command.split_whitespace().skip(1).collect();
        let place = |word: &str| word.parse::<usize>().unwrap();
        match command.split_once(' ').unwrap().0 {
            "add" => {
                let entries: Vec<Parts> = words.iter().map(|word| parts(word)).collect();
                text.append_entries(LIST, &entries)
            }
            "in" => text.replace_entry(LIST, place(words[0]), &parts(words[1])),
            "out" => {
                let places: Vec<usize> = words.iter().map(|word| place(word)).collect();
                text.take_out(LIST, &places)
            }
            verb => panic!("{verb}"),
        }?;
        Ok(text.as_str().to_owned())
    }

    const TWO: &str =
        "# all\n\n[[a.w]] # one\nid = \"1\" # of one\n\n# two\n[[a.w]]\nid = \"2\"\n\n[b]\n";

    #[test]
    fn only_what_is_meant_changes() {
        let rows = [
            ("[[a.w]]\nid = \"1\"\n", "add 2", "[[a.w]]\nid = \"1\"\n\n[[a.w]]\nid = \"2\"\n"),
            ("[[a.w]]\nid = \"1\"", "add 2", "[[a.w]]\nid = \"1\"\n\n[[a.w]]\nid = \"2\"\n"),
            ("[[a.w]]\nid = \"1\"\n", "add ", "[[a.w]]\nid = \"1\"\n"),
            (
                "  [[ a . 'w' ]] # x\r\n\tid = \"1\" # y\r\n[b]\r\n",
                "add 2/x 3",
                "  [[ a . 'w' ]] # x\r\n\tid = \"1\" # y\r\n\r\n  [[ a . 'w' ]]\r\n\tid = \"2\"\r\n\
                 \tcloud = \"x\"\r\n\r\n  [[ a . 'w' ]]\r\n\tid = \"3\"\r\n[b]\r\n",
            ),
            ("", "add 1 2/x", "[a]\nw = [\"1\", { id = \"2\", cloud = \"x\" }]\n"),
            ("a.w = [\"1\"]\n", "in 0 1/x", "a.w = [{ id = \"1\", cloud = \"x\" }]\n"),
            // A name stays as it is spelled, and so does what means the same.
            ("[[a.w]]\nid = 'I'\n", "in 0 i/x", "[[a.w]]\nid = 'I'\ncloud = \"x\"\n"),
            ("[[a.w]]\ncloud = 'x'\nid = 'I'", "in 0 i/x", "[[a.w]]\ncloud = 'x'\nid = 'I'"),
            (
                "[[a.w]]\ncloud = 'x' # c\nid = 'I'\n",
                "in 0 i/y",
                "[[a.w]]\ncloud = \"y\" # c\nid = 'I'\n",
            ),
            ("[[a.w]]\n cloud = 'x' # c\n id = 'I'\n", "in 0 i", "[[a.w]]\n id = 'I'\n"),
            ("[[a.w]]\n id = 'I'", "in 0 i/y", "[[a.w]]\n id = 'I'\n cloud = \"y\"\n"),
            (TWO, "out 0", "# all\n\n# two\n[[a.w]]\nid = \"2\"\n\n[b]\n"),
            (TWO, "out 1", "# all\n\n[[a.w]] # one\nid = \"1\" # of one\n\n# two\n\n[b]\n"),
            (TWO, "out 0 1", "# all\n\n# two\n\n[b]\n"),
            (
                "[[a.w]]\n\n[[a.w]]\nid = '2'\n\n\n  [b]\n",
                "out 0",
                "[[a.w]]\nid = '2'\n\n\n  [b]\n",
            ),
            ("[[a.w]]\n\n[[a.w]]\nid = '2'\n\n\n  [b]\n", "out 0 1", "  [b]\n"),
            ("[[a.w]]\n\n[[a.w]]\nid = '2'", "out 0 1", ""),
            ("a.w = [\"1\", \"2\"]\n", "out 0", "a.w = [\"2\"]\n"),
        ];
        for (before, command, after) in rows {
            assert_eq!(changed(before, command).as_deref(), Ok(after), "{before:?} {command}");
            assert!(Text::new(after).values().is_some(), "{after}");
        }
    }

    #[test]
    fn what_is_in_the_way_is_told() {
        for (before, command) in [
            ("[[a.w]]\nid = '1'\n[a.w.more]\nx = 1\n", "out 0"),
            ("[[a.w]]\nid = '1'\n[a.w.more]\nx = 1\n", "add 2"),
            ("[[a.w]]\nid = '1'\n", "in 1 1/x"),
            ("[[a.w]]\nid = '1'\n", "out 1"),
            ("[a.w]\nid = '1'\n", "add 2"),
        ] {
            assert_eq!(changed(before, command), Err(Unfit), "{before:?} {command}");
        }
    }

    proptest! {
        #[test]
        fn any_entries_of_a_file_go_and_others_come(
            blocks in prop::collection::vec((0..4_usize, "[a-c]{1,2}", 0..3_usize), 1..7),
            crlf in any::<bool>(),
            goes in any::<u8>(),
            comes in prop::collection::vec("[d-f]{1,2}", 0..3),
        ) {
            let mut file = String::new();
            let mut ids = Vec::new();
            for (number, (kind, id, blanks)) in blocks.iter().enumerate() {
                file += &match kind {
                    0 => format!("[other{number}] # [[a.w]]\nx = {number}\n"),
                    1 => format!("# [[a.w]]\n[[a.v]]\nid = '{id}'\n"),
                    _ => {
                        ids.push(id.clone());
                        format!("[[a.w]]\n  id = '{id}' # {number}\n")
                    }
                };
                file += &"\n".repeat(*blanks);
            }
            prop_assume!(!ids.is_empty());
            let file = if crlf { file.replace('\n', "\r\n") } else { file };
            let (out, stay): (Vec<usize>, Vec<usize>) =
                (0..ids.len()).partition(|place| goes & (1 << place) != 0);
            let before = Text::new(file.as_str());
            let mut text = before.clone();
            prop_assert_eq!(text.take_out(LIST, &out), Ok(()));
            let entries: Vec<Parts> = comes.iter().map(|id| parts(id)).collect();
            prop_assert_eq!(text.append_entries(LIST, &entries), Ok(()));
            // Where all went, the list comes back as one of strings.
            let spelled = |id: &String| match stay.is_empty() {
                true => quoted(id),
                false => format!("{{ id = {} }}", quoted(id)),
            };
            let wanted = stay.iter().map(|place| &ids[*place]).chain(&comes).map(spelled);
            let wanted = wanted.collect::<Vec<_>>().join(", ");
            let found = text.values().unwrap().remove(LIST);
            prop_assert_eq!(found.unwrap_or("[]".to_owned()), format!("[{wanted}]"), "{}", text.as_str());
            let others = |text: &Text| {
                let mut values = text.values().unwrap();
                values.remove(LIST);
                values
            };
            prop_assert_eq!(others(&before), others(&text));
            let is_mixed = text.as_str().replace("\r\n", "").contains('\n');
            prop_assert!(!(crlf && is_mixed && !stay.is_empty()), "{:?}", text.as_str());
        }
    }
}
