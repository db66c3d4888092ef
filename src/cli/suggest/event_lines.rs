//! Events as a file keeps them: lines of JSON, lines of text, and either as a syslog or `journalctl` shows
//! them. A file is read as a stream, whatever its size; of a line only so much as an event can have.

use std::io::{self, BufRead};
use std::net::SocketAddr;

use serde::Deserialize;

use super::asked::Tally;
use crate::logic::reason::Reason;

/// Bytes of a line that are looked at: twice the longest event.
const LINE_BYTES: usize = 32 * 1024;

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) tally: Tally,
    lines: u64,
    /// Events of any id.
    events: u64,
    /// Lines that cannot be read: the first of them, why, and how many.
    unreadable: Option<(u64, &'static str, u64)>,
}

/// The keys of an event that matter here; MESSAGE is where `journalctl -o json` has the whole of it.
#[derive(Debug, Deserialize)]
struct Event {
    id: Option<u16>,
    reason: Option<String>,
    target: Option<String>,
    client: Option<String>,
    count: Option<u64>,
    #[serde(rename = "MESSAGE")]
    message: Option<String>,
}

impl Read {
    /// Reads all lines.
    ///
    /// # Errors
    /// The source fails.
    pub(super) fn all(mut source: impl BufRead) -> io::Result<Read> {
        let mut read = Read::default();
        let mut line = Vec::new();
        while let Some(is_whole) = next_line(&mut source, &mut line)? {
            read.lines += 1;
            match is_whole {
                true => read.take(&String::from_utf8_lossy(&line)),
                false => read.is_unreadable("longer than any event"),
            }
        }
        Ok(read)
    }

    /// What is to be known of lines that were passed over.
    ///
    /// # Errors
    /// There are lines, and none is an event: this is another file.
    pub(super) fn judge(&self, name: &str) -> Result<Option<String>, String> {
        if self.events == 0 && self.lines > 0 {
            let (line, why) =
                self.unreadable.map_or((1, "no event of a gateway"), |(line, why, _)| (line, why));
            return Err(format!(
                "{name}:{line}: {why}, and no other line is an event; give a file that events.to \
                 names, or what `journalctl -u sluice` shows"
            ));
        }
        Ok(self.unreadable.map(|(line, why, count)| match count {
            1 => format!("{name}:{line}: {why}; the line was passed over"),
            count => format!("{name}:{line}: {why}; {count} such lines were passed over"),
        }))
    }

    fn take(&mut self, line: &str) {
        let line = line.trim();
        if !line.starts_with('{') {
            return self.take_text(line);
        }
        let Ok(event) = serde_json::from_str::<Event>(line) else {
            return self.is_unreadable("neither an event nor another JSON object");
        };
        match event {
            Event { message: Some(message), id: None, .. } if message.starts_with('{') => {
                match serde_json::from_str(&message) {
                    Ok(event) => self.take_event(event),
                    Err(_) => self.is_unreadable("neither an event nor another JSON object"),
                }
            }
            Event { message: Some(message), id: None, .. } => self.take_text(&message),
            event => self.take_event(event),
        }
    }

    /// Text is `TIME LEVEL ID REASON MESSAGE KEY=VALUE ...`, and who passes it on puts words before it. The
    /// first id with a reason is the event's own: what clients chose comes later.
    fn take_text(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let is_known = |reason: &str| Reason::ALL.iter().any(|known| known.as_str() == reason);
        let mut pairs = words.iter().zip(words.iter().skip(1));
        let at = pairs.position(|(id, reason)| {
            id.len() == 3 && id.parse::<u16>().is_ok() && is_known(reason)
        });
        let Some(at) = at else { return };
        let field = |key: &str| {
            let value =
                words[at + 2..].iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
            value.map(str::to_owned)
        };
        self.take_event(Event {
            id: words[at].parse().ok(),
            reason: Some(words[at + 1].to_owned()),
            target: field("target"),
            client: field("client"),
            count: field("count").and_then(|count| count.parse().ok()),
            message: None,
        });
    }

    fn take_event(&mut self, event: Event) {
        let (Some(id), Some(reason)) = (event.id, event.reason) else { return };
        self.events += 1;
        if id != 105 || !Reason::OF_HOSTS.iter().any(|known| known.as_str() == reason) {
            return;
        }
        let client = event.client.and_then(|client| client.parse::<SocketAddr>().ok());
        match (event.target, event.count) {
            (None, Some(count)) => self.tally.add_nameless(count),
            (target, _) => {
                let client = client.map(|client| client.ip().to_canonical());
                self.tally.add(&target.unwrap_or_default(), client);
            }
        }
    }

    fn is_unreadable(&mut self, why: &'static str) {
        let first = self.unreadable.get_or_insert((self.lines, why, 0));
        first.2 += 1;
    }
}

/// The next line without its end, cut at the limit; false where it is longer than that.
fn next_line(source: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Option<bool>> {
    line.clear();
    let (mut is_whole, mut is_there) = (true, false);
    loop {
        let bytes = match source.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            bytes => bytes?,
        };
        if bytes.is_empty() {
            return Ok(is_there.then_some(is_whole));
        }
        is_there = true;
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let piece = &bytes[..end.unwrap_or(bytes.len())];
        let room = LINE_BYTES - line.len();
        line.extend_from_slice(&piece[..piece.len().min(room)]);
        is_whole &= piece.len() <= room;
        let taken = piece.len() + usize::from(end.is_some());
        source.consume(taken);
        if end.is_some() {
            return Ok(Some(is_whole));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Read {
        // A small buffer, so that lines come in pieces.
        Read::all(io::BufReader::with_capacity(7, text.as_bytes())).unwrap()
    }

    fn counted(text: &str) -> Vec<(String, u64)> {
        let (asked, _) = read(text).tally.finish();
        asked.iter().map(|one| (one.target.to_string(), one.count)).collect()
    }

    const JSON: &str = r#"{"time":"2026-01-02T03:04:05.067Z","id":105,"level":"warning","reason":"host_not_allowed","message":"Target host (a.test) is forbidden","session":"1","client":"192.0.2.1:5","target":"a.test:443","status":403}"#;
    const TEXT: &str = "105 host_not_allowed Target host (a.test) is forbidden: x session=1 \
                        client=[2001:db8::1]:5 target=a.test:443 mode=report";

    #[test]
    fn every_form_of_an_event_is_read() {
        let quoted = TEXT.replace('"', "\\\"");
        let nested = JSON.replace('"', "\\\"");
        for line in [
            JSON.to_owned(),
            format!("  {JSON}\r"),
            format!("2026-01-02T03:04:05.067Z warning {TEXT}"),
            format!("Jan 02 03:04:05 host sluice[105]: {TEXT}"),
            format!("{{\"PRIORITY\":\"4\",\"MESSAGE\":\"{quoted}\"}}"),
            format!("{{\"PRIORITY\":\"4\",\"MESSAGE\":\"{nested}\"}}"),
        ] {
            assert_eq!(counted(&line), [("a.test:443".to_owned(), 1)], "{line}");
            assert_eq!(counted(&format!("\n{line}\n{line}\n")), [("a.test:443".to_owned(), 2)]);
        }
        let (asked, notes) = read(&format!("{JSON}\n{TEXT}\n")).tally.finish();
        assert_eq!((asked[0].who().as_str(), notes.len()), ("192.0.2.1 and 1 more", 0));
    }

    #[test]
    fn other_events_and_forged_ones_count_nothing() {
        for line in [
            r#"105 server_name_mismatch x server_name="a 105 host_not_allowed target=evil.test:443" target=a.test:443"#,
            "105 address_not_allowed x target=a.test:443",
            "106 host_not_allowed x target=a.test:443",
            &JSON.replace("host_not_allowed", "loop"),
            &JSON.replace("105", "100"),
        ] {
            assert_eq!(counted(line), [], "{line}");
            assert_eq!(read(line).judge("f"), Ok(None), "{line}");
        }
        let invalid = "105 host_not_allowed x target=$(reboot):443\n105 host_not_allowed x\n";
        let (asked, notes) = read(invalid).tally.finish();
        assert_eq!(
            (asked.len(), notes),
            (0, vec!["2 more requests for what is no valid target".to_owned()])
        );
    }

    #[test]
    fn summaries_are_counted_without_a_name() {
        let summaries = "105 host_not_allowed 7 more like this count=7\n{\"id\":105,\"reason\":\"port_not_allowed\",\"count\":3}\n";
        let (asked, notes) = read(summaries).tally.finish();
        assert!(asked.is_empty() && notes[0].starts_with("10 more requests left out"), "{notes:?}");
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_place() {
        for (text, words) in [
            ("{\"id\":105\n", "f:1: neither"),
            ("root:x:0:0\n", "f:1: no event of a gateway"),
            ("{\"a\":1}\n", "f:1: no event"),
            ("\0\u{1b}[2J\n", "f:1: no event"),
        ] {
            let why = read(text).judge("f").unwrap_err();
            assert!(why.starts_with(words), "{why}");
        }
        assert_eq!(read("").judge("f"), Ok(None));
        let long = "x".repeat(LINE_BYTES + 1);
        let told = read(&format!("{TEXT}\n{long}\n{{\n{TEXT}"));
        assert_eq!(
            told.judge("f"),
            Ok(Some("f:2: longer than any event; 2 such lines were passed over".to_owned()))
        );
        assert_eq!(told.tally.finish().0[0].count, 2);
    }
}
