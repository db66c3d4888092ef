//! Commands that a user is told to type: for the configuration that he has named, as a shell takes them.

use crate::config::place::Place;

/// The command of these words for the configuration of `place`, as it stands in a sentence.
pub(super) fn command(words: &str, place: &Place) -> String {
    format!("`sluice {words}{}`", flag(place))
}

/// What a command needs to be about the configuration of `place`: nothing where that is the usual one.
pub(super) fn flag(place: &Place) -> String {
    match place.is_named {
        true => format!(" --config {}", quoted(&place.file.display().to_string())),
        false => String::new(),
    }
}

/// As one word of a shell.
pub(super) fn quoted(text: &str) -> String {
    // The shells of Windows take the separator of its paths as it is, and not all of them such quotes.
    let is_plain =
        |c: char| c.is_ascii_alphanumeric() || ".-_:".contains(c) || std::path::is_separator(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_for_the_configuration_that_was_named() {
        for (file, is_named, told) in [
            ("/etc/sluice/sluice.toml", false, "`sluice check`"),
            ("/etc/sluice/sluice.toml", true, "`sluice check --config /etc/sluice/sluice.toml`"),
            ("my own.toml", true, "`sluice check --config 'my own.toml'`"),
        ] {
            assert_eq!(command("check", &Place { file: file.into(), is_named }), told);
        }
    }

    #[test]
    fn a_word_stays_one_in_a_shell() {
        for (word, told) in [("it's", "'it'\\''s'"), ("*.test.com", "'*.test.com'"), ("", "''")] {
            assert_eq!(quoted(word), told);
        }
    }
}
