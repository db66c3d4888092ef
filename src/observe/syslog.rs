//! Events for a syslog of this machine: RFC 5424, with what an event holds as structured data.

use std::io::Write;
use std::path::PathBuf;

use super::daemon::Daemon;
use super::events::Level;
use super::lines::Line;
use super::settings::Format;

/// "System daemons" (RFC 5424, table 1).
pub(super) const FACILITY: u8 = 3;
/// The name of the structured data. 32473 is the enterprise number that RFC 5612 keeps for
/// documentation: this project has none of its own.
const ELEMENT: &str = "sluice@32473";
/// What a message may take. 8 KiB is what rsyslog takes by default; RFC 5424 asks for 2 KiB at least.
const MESSAGE_BYTES: usize = 8 << 10;
/// What one value may take before its escapes. Only text that is not ASCII comes near it, and all
/// values together leave room for the words.
const VALUE_BYTES: usize = 1 << 10;

/// Where Linux tells the name of the machine.
const HOST_NAME_FILE: &str = "/proc/sys/kernel/hostname";

/// The syslog behind the socket at `path`: a datagram socket, or else a stream. The words after the
/// structured data are in `format`. `process` is the id of this process.
pub(super) fn open(path: PathBuf, format: Format, process: u32) -> Daemon {
    let host = host(&std::fs::read_to_string(HOST_NAME_FILE).unwrap_or_default());
    let sender = format!("{host} sluice {process}");
    let render = move |line: &Line, buffer: &mut Vec<u8>| write(format, &sender, line, buffer);
    Daemon::new(path, Box::new(render)).or_streams()
}

/// What RFC 5424 takes for a host name, or its `-` where there is none: rsyslog believes either.
fn host(told: &str) -> String {
    let told = told.trim();
    let is_name = (1..=255).contains(&told.len()) && told.bytes().all(|b| b.is_ascii_graphic());
    if is_name { told.to_owned() } else { "-".to_owned() }
}

/// The severity of a level (RFC 5424, table 2).
pub(super) const fn severity(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warning => 4,
        Level::Info => 6,
        Level::Debug => 7,
    }
}

/// The words have no byte order mark, which receivers tend to show, and repeat the structured data,
/// which they tend to drop. `sender` is host, program and process.
fn write(format: Format, sender: &str, line: &Line, buffer: &mut Vec<u8>) {
    let begin = buffer.len();
    let priority = FACILITY * 8 + severity(line.level);
    let Line { time, id, reason, .. } = line;
    // A Vec takes everything.
    let _ = write!(
        buffer,
        "<{priority}>1 {time} {sender} {id} [{ELEMENT} id=\"{id}\" reason=\"{reason}\""
    );
    for (key, value) in &line.fields {
        let value = value.to_string();
        let value = escaped(&value[..value.floor_char_boundary(VALUE_BYTES)]);
        let _ = write!(buffer, " {key}=\"{value}\"");
    }
    buffer.extend_from_slice(b"] ");
    let mut words = Vec::new();
    line.write(format, &mut words);
    let words = String::from_utf8_lossy(&words);
    let room = MESSAGE_BYTES.saturating_sub(buffer.len() - begin);
    buffer.extend_from_slice(words[..words.floor_char_boundary(room)].as_bytes());
}

/// Escapes what ends a value (RFC 5424, section 6.3.3).
fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for character in value.chars() {
        if matches!(character, '"' | '\\' | ']') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::logic::reason::Reason;
    use crate::observe::events::Event;
    use crate::observe::outlets::Sink;

    /// A message by the grammar of RFC 5424, section 6.
    #[derive(Debug)]
    struct Parsed {
        priority: u8,
        header: Vec<String>,
        element: String,
        values: Vec<(String, String)>,
        words: String,
    }

    fn parse(message: &str) -> Parsed {
        let (priority, rest) = message.strip_prefix('<').unwrap().split_once('>').unwrap();
        let rest = rest.strip_prefix("1 ").expect("version 1");
        let (header, rest) = rest.split_once(" [").unwrap();
        let end = rest.find([' ', ']']).unwrap();
        let (element, mut rest) = rest.split_at(end);
        let mut values = Vec::new();
        while let Some(more) = rest.strip_prefix(' ') {
            let (name, more) = more.split_once("=\"").unwrap();
            assert!(name.len() <= 32 && name.bytes().all(|byte| byte.is_ascii_graphic()), "{name}");
            let mut value = String::new();
            let mut characters = more.chars();
            loop {
                match characters.next().expect("an end of the value") {
                    '"' => break,
                    '\\' => value.push(characters.next().unwrap()),
                    character => {
                        assert_ne!(character, ']');
                        value.push(character);
                    }
                }
            }
            values.push((name.to_owned(), value));
            rest = characters.as_str();
        }
        Parsed {
            priority: priority.parse().unwrap(),
            header: header.split(' ').map(str::to_owned).collect(),
            element: element.to_owned(),
            values,
            words: rest.strip_prefix("] ").unwrap().to_owned(),
        }
    }

    fn rendered(format: Format, event: &Event) -> String {
        let mut buffer = b"before".to_vec();
        write(format, "- sluice 77", &Line::new(event), &mut buffer);
        String::from_utf8(buffer.split_off(6)).unwrap()
    }

    fn refusal(target: &str) -> Event {
        Event::new(Reason::HostNotAllowed, SystemTime::UNIX_EPOCH + Duration::from_millis(1_500))
            .client("192.0.2.1:5".parse().unwrap())
            .target(target)
            .status(403)
    }

    #[test]
    fn an_event_has_header_structured_data_and_words() {
        let parsed = parse(&rendered(Format::Text, &refusal("host.example:443")));
        assert_eq!(parsed.priority, 3 * 8 + 4);
        assert_eq!(parsed.header, ["1970-01-01T00:00:01.500Z", "-", "sluice", "77", "105"]);
        assert_eq!(parsed.element, "sluice@32473");
        let values: Vec<_> =
            parsed.values.iter().map(|(name, value)| (&**name, &**value)).collect();
        let expected = [
            ("id", "105"),
            ("reason", "host_not_allowed"),
            ("client", "192.0.2.1:5"),
            ("target", "host.example:443"),
            ("status", "403"),
        ];
        assert_eq!(values, expected);
        let words = "105 host_not_allowed Target host (host.example) is forbidden";
        assert!(parsed.words.starts_with(words), "{}", parsed.words);
        let json = parse(&rendered(Format::Json, &refusal("host.example:443"))).words;
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["reason"], "host_not_allowed");
    }

    #[test]
    fn what_the_network_says_stays_in_its_value() {
        for target in ["a\"]b", "\\", "x] [y@1 z=\"", "\u{fc}\n<0>1"] {
            let parsed = parse(&rendered(Format::Text, &refusal(target)));
            let shown = crate::observe::escape::network(target);
            assert_eq!(parsed.values[3], ("target".to_owned(), shown), "{target:?}");
            assert_eq!(parsed.values.len(), 5, "{target:?}");
        }
    }

    #[test]
    fn every_reason_is_one_bounded_record() {
        let hostile = "\u{10ffff}]\n\"".repeat(1 << 10);
        for reason in Reason::ALL {
            let event = refusal(&hostile).server_name(&*hostile).subject(&*hostile);
            let event = Event { reason, ..event.detail(&*hostile) };
            let text = rendered(Format::Text, &event);
            assert!(text.len() <= MESSAGE_BYTES && !text.contains('\n'), "{reason}: {text}");
            let parsed = parse(&text);
            assert_eq!(parsed.values.len(), 7, "{reason}");
            assert!(parsed.words.len() > 500, "{reason}: {}", parsed.words);
            let mut syslog = open(PathBuf::from("/nowhere"), Format::Text, 77);
            syslog.add(&event);
            assert!(syslog.added().starts_with(b"<") && syslog.added().len() <= MESSAGE_BYTES);
        }
    }

    #[test]
    fn a_host_has_a_name_that_is_one_word_or_none() {
        let long = "x".repeat(256);
        for (told, name) in [
            ("gate.example\n", "gate.example"),
            ("", "-"),
            ("a b", "-"),
            ("\u{fc}", "-"),
            (&long, "-"),
        ] {
            assert_eq!(host(told), name);
        }
    }

    #[test]
    fn severities_follow_the_levels() {
        let severities = Level::ALL.map(severity);
        assert!(severities.is_sorted_by(|a, b| a > b), "{severities:?}");
    }
}
