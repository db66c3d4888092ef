//! Makes text that somebody else chose fit to print: no control character reaches a terminal or a
//! line of its own in a log, and no length is unbounded.

use std::fmt::Write;

/// Characters of one text from the network that an event shows.
const NETWORK_CHARS: usize = 256;
/// Characters of one text of our own: paths and error texts of the system are longer.
const LOCAL_CHARS: usize = 1_024;

/// Text from the network: control characters and everything beyond ASCII become `\xNN` or
/// `\u{NNNN}`, because lookalikes and bidirectional marks deceive a reader as well.
pub(super) fn network(text: &str) -> String {
    escaped(text, NETWORK_CHARS, |character| !character.is_ascii())
}

/// Text of this machine, such as a path: readable in the operator's own script, but still without
/// control characters.
pub(super) fn local(text: &str) -> String {
    escaped(text, LOCAL_CHARS, |_| false)
}

fn escaped(text: &str, chars: usize, also: impl Fn(char) -> bool) -> String {
    let mut escaped = String::with_capacity(text.len().min(chars));
    for (index, character) in text.chars().enumerate() {
        if index == chars {
            escaped.push_str("...");
            break;
        }
        if character.is_control() || is_line_end(character) || also(character) {
            let code = u32::from(character);
            // Writing into a String cannot fail.
            let _ = match code {
                0..=0xff => write!(escaped, "\\x{code:02x}"),
                _ => write!(escaped, "\\u{{{code:x}}}"),
            };
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// Line and paragraph separators end a line in some viewers although they are no controls.
fn is_line_end(character: char) -> bool {
    matches!(character, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_the_network_moves_a_cursor_or_looks_alike() {
        for (raw, shown) in [
            ("plain.example:443", "plain.example:443"),
            ("a\r\nb", "a\\x0d\\x0ab"),
            ("\u{1b}[31m", "\\x1b[31m"),
            ("b\u{fc}cher", "b\\xfccher"),
            ("\u{202e}moc", "\\u{202e}moc"),
            ("nul\0", "nul\\x00"),
        ] {
            assert_eq!(network(raw), shown);
        }
    }

    #[test]
    fn local_text_keeps_its_script() {
        assert_eq!(local("/home/m\u{fc}ller\n"), "/home/m\u{fc}ller\\x0a");
        assert_eq!(local("a\u{2028}b"), "a\\u{2028}b");
    }

    #[test]
    fn long_text_is_capped() {
        assert_eq!(network(&"x".repeat(257)), format!("{}...", "x".repeat(256)));
        assert_eq!(network(&"x".repeat(256)), "x".repeat(256));
        assert!(local(&"\u{1}".repeat(1 << 20)).len() < 5_000);
    }
}
