//! An event in words: as a line of text for people or of JSON for programs, and as keys and values
//! for outlets with a form of their own. All say the same, under the same keys.

use std::borrow::Cow;
use std::fmt::{self, Display, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::escape;
use super::events::{Ended, Event, Level, rule};
use super::messages::message;
use super::settings::Format;

/// RFC 3339 in UTC with milliseconds.
const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// Appends `event` as one line with its end: what an outlet's thread does with each that it writes.
pub fn write(format: Format, event: &Event, buffer: &mut Vec<u8>) {
    let line = Line::new(event);
    if let Format::Text = format {
        buffer.extend_from_slice(format!("{} {} ", line.time, line.level.as_str()).as_bytes());
    }
    line.write(format, buffer);
    buffer.push(b'\n');
}

/// An event, rendered: nothing in it holds a control character or is unbounded.
pub(super) struct Line {
    /// RFC 3339, UTC, milliseconds.
    pub(super) time: String,
    pub(super) level: Level,
    pub(super) id: u16,
    pub(super) reason: &'static str,
    pub(super) message: String,
    /// The keys that apply, in the order of section 4 of the contract.
    pub(super) fields: Vec<(&'static str, Value)>,
}

pub(super) enum Value {
    Text(Cow<'static, str>),
    Number(u64),
}

impl Line {
    pub(super) fn new(event: &Event) -> Line {
        let rule = rule(event.reason);
        Line {
            time: rfc_3339(event.time),
            level: rule.level,
            id: rule.id,
            reason: event.reason.as_str(),
            message: message(event),
            fields: fields(event),
        }
    }

    /// Appends the event without a line's end; as text also without time and level, which the
    /// daemons of a system keep on their own.
    pub(super) fn write(&self, format: Format, buffer: &mut Vec<u8>) {
        match format {
            Format::Text => buffer.extend_from_slice(self.text().as_bytes()),
            // A map of strings and numbers has no way to fail, and a Vec takes everything.
            Format::Json => drop(serde_json::to_writer(buffer, self)),
        }
    }

    fn text(&self) -> String {
        let mut text = format!("{} {} {}", self.id, self.reason, self.message);
        for (key, value) in &self.fields {
            // Writing into a String cannot fail.
            let _ = write!(text, " {key}={}", quoted(&value.to_string()));
        }
        text
    }
}

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("time", &self.time)?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("level", self.level.as_str())?;
        map.serialize_entry("reason", self.reason)?;
        map.serialize_entry("message", &self.message)?;
        for (key, value) in &self.fields {
            match value {
                Value::Text(text) => map.serialize_entry(key, text)?,
                Value::Number(number) => map.serialize_entry(key, number)?,
            }
        }
        map.end()
    }
}

impl Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => f.write_str(text),
            Value::Number(number) => number.fmt(f),
        }
    }
}

fn fields(event: &Event) -> Vec<(&'static str, Value)> {
    let shown = |value: &dyn Display| Value::Text(value.to_string().into());
    let network =
        |text: &Option<Box<str>>| text.as_deref().map(|t| Value::Text(escape::network(t).into()));
    let ended = event.ended.as_deref();
    let duration_ms = |ended: &Ended| u64::try_from(ended.duration.as_millis()).unwrap_or(u64::MAX);
    let fields = [
        ("session", event.session.map(|session| shown(&session))),
        ("client", event.client.map(|client| shown(&client))),
        ("target", network(&event.target)),
        ("address", event.address.map(|address| shown(&address))),
        ("server_name", network(&event.server_name)),
        ("tls_version", event.tls_version.map(|version| Value::Text(version.into()))),
        ("subject", network(&event.subject)),
        ("status", event.status.map(|status| Value::Number(status.into()))),
        ("ending", ended.map(|ended| shown(&ended.ending))),
        ("bytes_up", ended.map(|ended| Value::Number(ended.bytes_up))),
        ("bytes_down", ended.map(|ended| Value::Number(ended.bytes_down))),
        ("duration_ms", ended.map(|ended| Value::Number(duration_ms(ended)))),
        ("count", event.count.map(Value::Number)),
        ("mode", event.is_reported.then_some(Value::Text("report".into()))),
    ];
    fields.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

/// A value of `key=value`, in quotes where a space or a quote in it could be read as the next key.
fn quoted(value: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'=');
    if !value.is_empty() && value.bytes().all(is_plain) {
        return value.to_owned();
    }
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A clock beyond the years that RFC 3339 can write shows as the epoch rather than not at all.
pub(super) fn rfc_3339(time: SystemTime) -> String {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i128::try_from(since_epoch.as_nanos())
        .ok()
        .and_then(|nanos| OffsetDateTime::from_unix_timestamp_nanos(nanos).ok())
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
        .format(TIME)
        .unwrap_or_else(|_| "1970-01-01T00:00:00.000Z".to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::logic::ending::{Cause, Ending, SessionId, Side, Stage};
    use crate::logic::reason::Reason;

    fn line(format: Format, event: &Event) -> String {
        let mut buffer = Vec::new();
        write(format, event, &mut buffer);
        String::from_utf8(buffer).unwrap()
    }

    fn at(seconds: u64, ms: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_millis(ms)
    }

    fn ended() -> Event {
        Event::new(Reason::SessionEnded, at(1_767_323_045, 67))
            .session(SessionId::new(1, 0, 2))
            .client("192.0.2.1:5".parse().unwrap())
            .target("host.example:443")
            .address("[2001:db8::1]:443".parse().unwrap())
            .server_name("host.example")
            .tls_version("1.3")
            .status(200)
            .ended(Ended {
                ending: Ending { stage: Stage::Tunnel, side: Side::Client, cause: Cause::Finished },
                bytes_up: 7,
                bytes_down: 8,
                duration: Duration::from_micros(9_900),
            })
    }

    #[test]
    fn json_has_the_keys_of_the_contract() {
        assert_eq!(
            line(Format::Json, &ended()),
            concat!(
                r#"{"time":"2026-01-02T03:04:05.067Z","id":100,"level":"info","#,
                r#""reason":"session_ended","message":"Session ended: tunnel.client.finished","#,
                r#""session":"0000010000000002","client":"192.0.2.1:5","#,
                r#""target":"host.example:443","address":"[2001:db8::1]:443","#,
                r#""server_name":"host.example","tls_version":"1.3","status":200,"#,
                r#""ending":"tunnel.client.finished","bytes_up":7,"bytes_down":8,"#,
                r#""duration_ms":9}"#,
                "\n"
            )
        );
    }

    #[test]
    fn text_says_the_same() {
        assert_eq!(
            line(Format::Text, &ended()),
            concat!(
                "2026-01-02T03:04:05.067Z info 100 session_ended ",
                "Session ended: tunnel.client.finished ",
                "session=0000010000000002 client=192.0.2.1:5 target=host.example:443 ",
                "address=[2001:db8::1]:443 server_name=host.example tls_version=1.3 status=200 ",
                "ending=tunnel.client.finished bytes_up=7 bytes_down=8 duration_ms=9\n"
            )
        );
    }

    #[test]
    fn absent_fields_are_absent() {
        let event = Event::new(Reason::Started, at(0, 1));
        let json: serde_json::Value = serde_json::from_str(&line(Format::Json, &event)).unwrap();
        let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
        assert_eq!(keys.len(), 5, "{keys:?}");
        assert_eq!(json["time"], "1970-01-01T00:00:00.001Z");
    }

    #[test]
    fn hostile_text_stays_one_line_and_one_value() {
        let hostile = "x\n2026 error 400 \"forged\" client=\u{1b}[2J\u{202e}";
        let event = Event::new(Reason::ServerNameMismatch, at(1, 0))
            .target("t.example:443")
            .server_name(hostile)
            .subject(hostile)
            .detail(hostile);
        for format in Format::ALL {
            let line = line(format, &event);
            assert_eq!(line.matches('\n').count(), 1, "{line:?}");
            assert!(line.is_ascii() && !line.contains('\u{1b}'), "{line:?}");
        }
        let json: serde_json::Value = serde_json::from_str(&line(Format::Json, &event)).unwrap();
        assert!(json["server_name"].as_str().unwrap().starts_with("x\\x0a2026"));
        assert!(line(Format::Text, &event).contains(r#"subject="x\\x0a2026 error 400 \"forged\""#));
    }

    #[test]
    fn a_line_is_bounded_and_every_reason_has_one() {
        for reason in Reason::ALL {
            let long = "\u{1}".repeat(100_000);
            let event = Event::new(reason, SystemTime::UNIX_EPOCH)
                .target(long.clone())
                .server_name(long.clone())
                .subject(long.clone())
                .detail(long);
            for format in Format::ALL {
                assert!(line(format, &event).len() < 16_384, "{reason}");
            }
        }
    }

    #[test]
    fn no_clock_is_too_wrong_to_print() {
        let before = UNIX_EPOCH - Duration::from_secs(5);
        assert_eq!(rfc_3339(before), "1970-01-01T00:00:00.000Z");
        let far = UNIX_EPOCH + Duration::from_secs(1 << 40);
        assert_eq!(rfc_3339(far), "1970-01-01T00:00:00.000Z");
    }
}
