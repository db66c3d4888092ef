//! Entries of an array come and go, and its lines, indents, comments and commas stay as they are.

use std::ops::Range;

use super::text::{Splice, indent};

/// An array of a text, and the places of its entries in it.
pub(super) struct Array<'a> {
    pub(super) text: &'a str,
    /// From bracket to bracket.
    pub(super) whole: Range<usize>,
    pub(super) entries: Vec<Range<usize>>,
    /// How lines of the text end.
    pub(super) line_end: &'static str,
}

/// What stands between an entry and the next, or the closing bracket.
struct Behind {
    /// The end of the comma; `None` where there is none.
    comma_end: Option<usize>,
    /// The end of the line on which the comma is, or else the entry, without its newline; `None`
    /// where the next entry or the closing bracket is on that line.
    line_end: Option<usize>,
}

impl Array<'_> {
    /// Puts entries behind the last one. An array with an entry on each line gets more such lines.
    pub(super) fn append(&self, values: &[String]) -> Vec<Splice> {
        let Some(last) = self.entries.last() else { return self.begin(values) };
        let behind = self.behind(last.end);
        let Some(line_end) = behind.line_end else {
            let more: String = values.iter().map(|value| format!(", {value}")).collect();
            return vec![Splice { at: last.end..last.end, by: more }];
        };
        let indent = indent(self.text, last.start);
        let mut splices = Vec::new();
        if behind.comma_end.is_none() {
            splices.push(Splice { at: last.end..last.end, by: ",".to_owned() });
        }
        let mut lines = String::new();
        for (index, value) in values.iter().enumerate() {
            let has_comma = behind.comma_end.is_some() || index + 1 < values.len();
            let comma = if has_comma { "," } else { "" };
            lines.push_str(&format!("{}{indent}{value}{comma}", self.line_end));
        }
        splices.push(Splice { at: line_end..line_end, by: lines });
        splices
    }

    /// Takes out the entries at these places, in rising order. What has a line to itself goes with
    /// its line and the comment on it.
    pub(super) fn remove(&self, places: &[usize]) -> Vec<Splice> {
        let is_removed = |place: usize| places.binary_search(&place).is_ok();
        let tail = (0..self.entries.len()).rev().take_while(|place| is_removed(*place)).last();
        let mut splices = Vec::new();
        for &place in places {
            let entry = &self.entries[place];
            let at = if let Some(line) = self.own_line(entry) {
                line
            } else if Some(place) == tail
                && let Some(end) = self.plain_tail(place)
            {
                splices.push(Splice { at: end, by: String::new() });
                break;
            } else {
                let end = self.behind(entry.end).comma_end.unwrap_or(entry.end);
                entry.start..end + blanks(&self.text[end..])
            };
            splices.push(Splice { at, by: String::new() });
        }
        splices
    }

    /// Puts `value` in the place of an entry.
    pub(super) fn replace(&self, place: usize, value: &str) -> Splice {
        Splice { at: self.entries[place].clone(), by: value.to_owned() }
    }

    /// The first entries of an array that has none, but may have lines and comments.
    fn begin(&self, values: &[String]) -> Vec<Splice> {
        let inside = self.whole.start + 1..self.whole.end - 1;
        let Some(newline) = self.text[inside.clone()].rfind('\n') else {
            return vec![Splice { at: inside, by: values.join(", ") }];
        };
        let bracket_line = inside.start + newline + 1;
        let inner = self.text[inside.clone()].lines().skip(1).find(|line| line.contains('#'));
        let indent = match inner {
            Some(line) => line[..blanks(line)].to_owned(),
            None => format!("{}    ", indent(self.text, self.whole.start)),
        };
        let lines: String =
            values.iter().map(|value| format!("{indent}{value},{}", self.line_end)).collect();
        vec![Splice { at: bracket_line..bracket_line, by: lines }]
    }

    /// The whole line of an entry that shares it with no other and no bracket.
    fn own_line(&self, entry: &Range<usize>) -> Option<Range<usize>> {
        let begin = self.text[..entry.start].rfind('\n')? + 1;
        if begin <= self.whole.start || !self.text[begin..entry.start].trim().is_empty() {
            return None;
        }
        let behind = self.behind(entry.end);
        let end = behind.line_end?;
        let comma_end = behind.comma_end.unwrap_or(entry.end);
        // A comma on a later line belongs to nobody's line.
        if self.text[entry.end..comma_end].contains('\n') {
            return None;
        }
        let newline = self.text[end..].find('\n')? + 1;
        Some(begin..end + newline)
    }

    /// The last entries from `first` on, with the comma before them, where nothing but blanks stands
    /// between them.
    fn plain_tail(&self, first: usize) -> Option<Range<usize>> {
        let last = self.entries.last()?;
        if self.behind(last.end).comma_end.is_some() || first == 0 {
            return None;
        }
        let begin = self.entries[first - 1].end;
        let between = self.entries[first - 1..].windows(2);
        let plain = |pair: &[Range<usize>]| {
            self.text[pair[0].end..pair[1].start].chars().all(|c| matches!(c, ',' | ' ' | '\t'))
        };
        between.into_iter().all(plain).then_some(begin..last.end)
    }

    fn behind(&self, entry_end: usize) -> Behind {
        let mut behind = Behind { comma_end: None, line_end: None };
        let mut at = entry_end;
        while at < self.whole.end - 1 {
            match self.text.as_bytes()[at] {
                b',' if behind.comma_end.is_none() => {
                    behind.comma_end = Some(at + 1);
                    // The line that counts is that of the comma.
                    behind.line_end = None;
                    at += 1;
                }
                b'#' => at += self.text[at..].find(['\r', '\n']).unwrap_or(0).max(1),
                b'\r' | b'\n' => {
                    behind.line_end.get_or_insert(at);
                    at += 1;
                    if behind.comma_end.is_some() {
                        break;
                    }
                }
                b' ' | b'\t' => at += 1,
                _ => break,
            }
        }
        behind
    }
}

fn blanks(text: &str) -> usize {
    text.len() - text.trim_start_matches([' ', '\t']).len()
}
