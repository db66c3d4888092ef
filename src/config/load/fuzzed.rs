//! What any bytes must do as a configuration: they are one, or there are problems, each with its place
//! in the text and on one line; and no message repeats a password.

use std::path::Path;

use super::parse;
use crate::config::changes::between;
use crate::config::problem::Problem;

/// In a folder that is not there, so that no file which a text names is found beside it.
const FILE: &str = "no-such-folder/f.toml";
const SECRET: &str = "hunter2";
/// Lines with a password, right and wrong.
const PASSWORDS: [&str; 8] = [
    "password = \"hunter2\"",
    "relay_proxy.password = \"hunter2\"",
    "[relay_proxy]\npassword = \"hunter2\"",
    "password = hunter2",
    "password = \"hunter2",
    "password = 'hunter2' x",
    "password = [\"hunter2\"]",
    "relay_proxy = { username = 1, password = \"hunter2\" }",
];
/// The most bytes of a message: a path, a value of which 60 characters are shown, and what is expected.
const MESSAGE_BYTES_MAX: usize = 1_000;
/// Problems of one file, and the line that counts the others.
const PROBLEMS_MAX: usize = 101;

/// The body of the fuzz target: the first byte of `input` chooses where and how a password stands in
/// the text that follows.
///
/// # Panics
/// Where a promise of [`parse`] is broken.
pub fn configuration(input: &[u8]) {
    let Some((&choice, bytes)) = input.split_first() else { return };
    match parse(bytes, Path::new(FILE)) {
        Ok(config) => {
            let again = parse(bytes, Path::new(FILE)).expect("what is good stays good");
            assert_eq!(between(&config, &again), Vec::<String>::new());
        }
        Err(problems) => {
            assert!((1..=PROBLEMS_MAX).contains(&problems.len()));
            let text = String::from_utf8_lossy(bytes);
            problems.iter().for_each(|problem| judge(problem, &text));
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        keep_secret(text, choice);
    }
}

fn judge(problem: &Problem, text: &str) {
    let Problem { line, column, message, .. } = problem;
    assert!(!message.is_empty() && message.len() <= MESSAGE_BYTES_MAX, "{message}");
    assert!(!message.chars().any(char::is_control), "{message:?}");
    if *line == 0 {
        return assert_eq!(*column, 0);
    }
    let lines: Vec<&str> = text.split('\n').collect();
    assert!(*line <= lines.len(), "{problem}: {} lines", lines.len());
    let characters = lines[line - 1].chars().count();
    assert!((1..=characters + 1).contains(column), "{problem}: {characters} characters");
}

/// Puts a password before one of the lines of `text`.
fn keep_secret(text: &str, choice: u8) {
    // Within a text of several lines it would be the value of another key.
    if text.contains(SECRET) || text.contains("\"\"\"") || text.contains("'''") {
        return;
    }
    let lines: Vec<&str> = text.split('\n').collect();
    let (at, which) = (usize::from(choice >> 3) % lines.len(), usize::from(choice & 7));
    let (before, behind) = lines.split_at(at);
    let text = [before, &[PASSWORDS[which]], behind].concat().join("\n");
    match parse(text.as_bytes(), Path::new(FILE)) {
        Ok(config) => {
            let told = [format!("{config:?}"), between(&config, &Default::default()).join("\n")];
            assert!(!told.iter().any(|told| told.contains(SECRET)), "{told:?}");
        }
        Err(problems) => {
            let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
            assert!(!told.iter().any(|told| told.contains(SECRET)), "{told:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_corpus_passes() {
        crate::corpus::replay("configuration", super::configuration);
    }
}
