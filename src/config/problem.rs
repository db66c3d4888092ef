//! What is wrong with a configuration, and where in the file it is.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::logic::reason::Reason;

/// Problems told of one file. Who has more has saved the wrong file.
const PROBLEMS_MAX: usize = 100;

/// One mistake. Shown as `FILE:LINE:COL: message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; 0 where the file as a whole is meant.
    pub line: usize,
    /// The column in characters, from 1; 0 where the file as a whole is meant.
    pub column: usize,
    /// What is wrong and what to write instead.
    pub message: String,
    /// The reason of its event.
    pub reason: Reason,
}

impl Problem {
    /// A problem of the file as a whole.
    pub fn of_file(file: &Path, message: impl Into<String>) -> Problem {
        let reason = Reason::ConfigurationInvalid;
        Problem { file: file.to_owned(), line: 0, column: 0, message: message.into(), reason }
    }
}

impl Problem {
    /// The line of one that ends no start.
    pub fn as_warning(&self) -> String {
        Problem { message: format!("warning: {}", self.message), ..self.clone() }.to_string()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { file, line, column, message, .. } = self;
        match line {
            0 => write!(f, "{}: {message}", file.display()),
            _ => write!(f, "{}:{line}:{column}: {message}", file.display()),
        }
    }
}

impl std::error::Error for Problem {}

/// The problems of one text, gathered by byte offset.
pub(super) struct Problems {
    found: Vec<(usize, Reason, String)>,
    doubts: Vec<(usize, Reason, String)>,
}

impl Problems {
    pub(super) fn new() -> Problems {
        Problems { found: Vec::new(), doubts: Vec::new() }
    }

    /// Adds a problem at `span`; without one, at the begin of the text.
    pub(super) fn add(&mut self, span: Option<Range<usize>>, message: impl Into<String>) {
        self.add_for(Reason::ConfigurationInvalid, span, message);
    }

    /// Adds a problem whose event has a reason of its own.
    pub(super) fn add_for(
        &mut self,
        reason: Reason,
        span: Option<Range<usize>>,
        message: impl Into<String>,
    ) {
        let message = printable(&message.into());
        self.found.push((span.map_or(0, |span| span.start), reason, message));
    }

    /// Adds a doubt: what is most probably not meant, and ends no start.
    pub(super) fn doubt(&mut self, span: Option<Range<usize>>, message: impl Into<String>) {
        let message = printable(&message.into());
        let offset = span.map_or(0, |span| span.start);
        self.doubts.push((offset, Reason::ConfigurationInvalid, message));
    }

    /// Whether some problem is told of this key.
    pub(super) fn is_of(&self, path: &str) -> bool {
        self.found.iter().any(|(.., message)| message.starts_with(path))
    }

    pub(super) fn count(&self) -> usize {
        self.found.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The problems with line and column in `text`, in the order of the file.
    pub(super) fn locate(self, file: &Path, text: &str) -> Vec<Problem> {
        located(self.found, "problems", file, text)
    }

    /// The doubts, as [`Problems::locate`].
    pub(super) fn locate_doubts(self, file: &Path, text: &str) -> Vec<Problem> {
        located(self.doubts, "warnings", file, text)
    }
}

fn located(
    mut found: Vec<(usize, Reason, String)>,
    what: &str,
    file: &Path,
    text: &str,
) -> Vec<Problem> {
    found.sort_by_key(|(offset, ..)| *offset);
    let rest = found.len().saturating_sub(PROBLEMS_MAX);
    let mut located: Vec<Problem> = found
        .into_iter()
        .take(PROBLEMS_MAX)
        .map(|(offset, reason, message)| {
            let (line, column) = position(text, offset);
            Problem { file: file.to_owned(), line, column, message, reason }
        })
        .collect();
    if rest > 0 {
        located.push(Problem::of_file(file, format!("{rest} more {what}")));
    }
    located
}

/// A message quotes the file, where a string can hold anything: a line end would make two lines of one
/// problem, and an escape sequence would reach the terminal.
fn printable(message: &str) -> String {
    let is_harmful = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    let mut printable = String::with_capacity(message.len());
    for character in message.chars() {
        match character {
            harmful if is_harmful(harmful) => printable.extend(harmful.escape_default()),
            harmless => printable.push(harmless),
        }
    }
    printable
}

/// Line and column of a byte offset; a byte order mark takes no column.
pub(super) fn position(text: &str, offset: usize) -> (usize, usize) {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let before = &text[..offset];
    let line_begin = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.matches('\n').count() + 1;
    let column = before[line_begin..].chars().filter(|character| *character != '\u{feff}').count();
    (line, column + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let text = "\u{feff}a = 1\r\nb\u{fc} = 2\n";
        for (offset, line, column) in
            [(0, 1, 1), (3, 1, 1), (4, 1, 2), (10, 2, 1), (13, 2, 3), (12, 2, 2), (999, 3, 1)]
        {
            assert_eq!(position(text, offset), (line, column), "{offset}");
        }
    }

    #[test]
    fn what_is_quoted_stays_on_its_line_and_off_the_terminal() {
        let mut problems = Problems::new();
        problems.add(None, "unknown key \"a\nb\u{1b}[2J\u{2028}\u{fc}\"");
        let located = problems.locate(Path::new("f.toml"), "");
        assert_eq!(located[0].message, "unknown key \"a\\nb\\u{1b}[2J\\u{2028}\u{fc}\"");
    }

    #[test]
    fn problems_come_in_the_order_of_the_file_and_are_bounded() {
        let text = "x\n".repeat(300);
        let mut problems = Problems::new();
        for offset in (0..250).rev() {
            problems.add(Some(offset * 2..offset * 2 + 1), "wrong");
        }
        let located = problems.locate(Path::new("f.toml"), &text);
        assert_eq!(located.len(), 101);
        assert_eq!(located[0].to_string(), "f.toml:1:1: wrong");
        assert_eq!(located[99].to_string(), "f.toml:100:1: wrong");
        assert_eq!(located[100].to_string(), "f.toml: 150 more problems");
    }
}
