//! Events for systemd's journal, in its native protocol
//! (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>): a datagram of fields, so that
//! `journalctl SLUICE_TARGET=...` finds what it is asked for.

use std::path::PathBuf;

use super::daemon::Daemon;
use super::lines::Line;
use super::settings::Format;
use super::syslog::{FACILITY, severity};

/// The journal behind the socket at `path`. MESSAGE is in `format`.
pub(super) fn open(path: PathBuf, format: Format) -> Daemon {
    Daemon::new(path, Box::new(move |line, buffer| write(format, line, buffer)))
}

/// MESSAGE holds everything, not the sentence alone: it is all that `journalctl` shows and all that
/// is passed on to a syslog.
fn write(format: Format, line: &Line, buffer: &mut Vec<u8>) {
    let mut message = Vec::new();
    line.write(format, &mut message);
    field("MESSAGE", &message, buffer);
    field("PRIORITY", severity(line.level).to_string().as_bytes(), buffer);
    field("SYSLOG_FACILITY", FACILITY.to_string().as_bytes(), buffer);
    field("SYSLOG_IDENTIFIER", b"sluice", buffer);
    // The journal's own time is that of the datagram, which may wait behind others.
    field("SLUICE_TIME", line.time.as_bytes(), buffer);
    field("SLUICE_ID", line.id.to_string().as_bytes(), buffer);
    field("SLUICE_REASON", line.reason.as_bytes(), buffer);
    for (key, value) in &line.fields {
        let name = format!("SLUICE_{}", key.to_ascii_uppercase());
        field(&name, value.to_string().as_bytes(), buffer);
    }
}

/// A value with a line's end is told by its length, every other by `=`.
fn field(name: &str, value: &[u8], buffer: &mut Vec<u8>) {
    buffer.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        buffer.push(b'\n');
        buffer.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        buffer.push(b'=');
    }
    buffer.extend_from_slice(value);
    buffer.push(b'\n');
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::logic::ending::SessionId;
    use crate::logic::reason::Reason;
    use crate::observe::events::Event;
    use crate::observe::outlets::Sink;

    /// The fields of a datagram, by the protocol: names and values.
    fn parse(mut rest: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut fields = Vec::new();
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| matches!(byte, b'=' | b'\n')).expect("a name");
            let name = String::from_utf8(rest[..end].to_vec()).unwrap();
            let is_name = |byte: u8| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'_');
            assert!(
                name.starts_with(|c: char| c.is_ascii_uppercase()) && name.len() <= 64,
                "{name}"
            );
            assert!(name.bytes().all(is_name), "{name}");
            let (begin, len) = if rest[end] == b'=' {
                let value = &rest[end + 1..];
                (end + 1, value.iter().position(|byte| *byte == b'\n').expect("an end"))
            } else {
                let len: [u8; 8] = rest[end + 1..end + 9].try_into().unwrap();
                (end + 9, usize::try_from(u64::from_le_bytes(len)).unwrap())
            };
            fields.push((name, rest[begin..begin + len].to_vec()));
            assert_eq!(rest[begin + len], b'\n');
            rest = &rest[begin + len + 1..];
        }
        fields
    }

    fn rendered(format: Format, event: &Event) -> Vec<(String, String)> {
        let mut buffer = Vec::new();
        write(format, &Line::new(event), &mut buffer);
        let text = |value| String::from_utf8(value).unwrap();
        parse(&buffer).into_iter().map(|(name, value)| (name, text(value))).collect()
    }

    fn refusal() -> Event {
        Event::new(Reason::HostNotAllowed, SystemTime::UNIX_EPOCH + Duration::from_millis(1_500))
            .session(SessionId::new(1, 0, 2))
            .client("192.0.2.1:5".parse().unwrap())
            .target("host.example:443")
            .status(403)
    }

    #[test]
    fn an_event_is_its_fields() {
        let fields = rendered(Format::Text, &refusal());
        let expected = [
            ("PRIORITY", "4"),
            ("SYSLOG_FACILITY", "3"),
            ("SYSLOG_IDENTIFIER", "sluice"),
            ("SLUICE_TIME", "1970-01-01T00:00:01.500Z"),
            ("SLUICE_ID", "105"),
            ("SLUICE_REASON", "host_not_allowed"),
            ("SLUICE_SESSION", "0000010000000002"),
            ("SLUICE_CLIENT", "192.0.2.1:5"),
            ("SLUICE_TARGET", "host.example:443"),
            ("SLUICE_STATUS", "403"),
        ];
        let (message, others) = fields.split_first().unwrap();
        assert_eq!(message.0, "MESSAGE");
        let words = "105 host_not_allowed Target host (host.example) is forbidden";
        assert!(message.1.starts_with(words), "{}", message.1);
        assert!(message.1.ends_with(" target=host.example:443 status=403"), "{}", message.1);
        let others: Vec<_> = others.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(others, expected);
    }

    #[test]
    fn the_message_is_json_where_that_is_the_format() {
        let fields = rendered(Format::Json, &refusal());
        let json: serde_json::Value = serde_json::from_str(&fields[0].1).unwrap();
        assert_eq!((&json["id"], &json["status"]), (&105.into(), &403.into()));
        assert_eq!(json["time"], "1970-01-01T00:00:01.500Z");
    }

    #[test]
    fn a_value_of_several_lines_is_told_by_its_length() {
        let mut buffer = Vec::new();
        for value in ["a\nB=c\n", "\n", "", "plain=plain"] {
            field("X", value.as_bytes(), &mut buffer);
        }
        let values: Vec<_> = parse(&buffer).into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, [&b"a\nB=c\n"[..], b"\n", b"", b"plain=plain"]);
        assert!(buffer.starts_with(b"X\n\x06\0\0\0\0\0\0\0a\nB=c\n\nX\n"));
    }

    #[test]
    fn every_reason_is_one_datagram_whatever_the_network_says() {
        let hostile = "\u{10ffff}\nPRIORITY=0\n".repeat(1 << 10);
        for reason in Reason::ALL {
            let event = refusal().target(&*hostile).server_name(&*hostile).subject(&*hostile);
            let event = Event { reason, ..event.detail(&*hostile) };
            let mut journal = open(PathBuf::from("/nowhere"), Format::Json);
            journal.add(&event);
            assert!(journal.added().len() < 64 << 10, "{reason}: {}", journal.added().len());
            let fields = parse(journal.added());
            let of_name = |name: &str| fields.iter().filter(|field| field.0 == name).count();
            assert_eq!((of_name("PRIORITY"), of_name("MESSAGE")), (1, 1), "{reason}");
        }
    }
}
