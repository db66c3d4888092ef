//! Events as a file keeps them: lines of JSON, lines of text, and either as a syslog or `journalctl` shows
//! them. A file is read as a stream, whatever its size; of a line only so much as an event can have.

use std::io::{self, BufRead};
use std::net::SocketAddr;

use serde::Deserialize;

use super::asked::Tally;
use crate::logic::policy::AllowMode;
use crate::logic::reason::Reason;
use crate::observe::events::Level;

/// Bytes of a line that are looked at: twice the longest event.
const LINE_BYTES: usize = 32 * 1024;
/// The name under which a gateway tells events to a journal or a syslog.
const TAG: &str = "sluice";
/// Words that a syslog or `journalctl` puts before the tag: at most a date of three and a host.
const WORDS_BEFORE_TAG: usize = 5;
const NO_OBJECT: &str = "neither an event nor another JSON object";

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
    mode: Option<String>,
    #[serde(rename = "MESSAGE")]
    message: Option<String>,
    #[serde(rename = "SYSLOG_IDENTIFIER")]
    tag: Option<String>,
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
        if line.starts_with('{') {
            return match serde_json::from_str::<Event>(line) {
                // What other programs tell the journal is none of ours.
                Ok(Event { tag: Some(tag), .. }) if tag != TAG => {}
                Ok(Event { message: Some(message), id: None, .. }) => self.take_message(&message),
                Ok(event) => self.take_event(event),
                Err(_) => self.is_unreadable(NO_OBJECT),
            };
        }
        if is_text(line) {
            return self.take_text(line);
        }
        if let Some(message) = behind_tag(line) {
            self.take_message(message.trim_start());
        }
    }

    /// What a gateway has told, without what those put before it who have passed it on.
    fn take_message(&mut self, message: &str) {
        if !message.starts_with('{') {
            return self.take_text(message);
        }
        match serde_json::from_str(message) {
            Ok(event) => self.take_event(event),
            Err(_) => self.is_unreadable(NO_OBJECT),
        }
    }

    fn take_text(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let Some(at) = start(&words) else { return };
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
            mode: field("mode"),
            message: None,
            tag: None,
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
                let is_reported = event.mode.as_deref() == Some(AllowMode::Report.as_str());
                self.tally.add(&target.unwrap_or_default(), client, is_reported);
            }
        }
    }

    fn is_unreadable(&mut self, why: &'static str) {
        let first = self.unreadable.get_or_insert((self.lines, why, 0));
        first.2 += 1;
    }
}

/// Where the id of an event stands in the words of a line of text: at its start, or behind time and level
/// as a file has it. What clients chose comes later.
fn start(words: &[&str]) -> Option<usize> {
    let is_event = |at: usize| {
        let (Some(id), Some(reason)) = (words.get(at), words.get(at + 1)) else { return false };
        let is_known = Reason::ALL.iter().any(|known| known.as_str() == *reason);
        id.len() == 3 && id.parse::<u16>().is_ok() && is_known
    };
    let is_level = |word: &str| Level::ALL.iter().any(|level| level.as_str() == word);
    if is_event(0) {
        return Some(0);
    }
    (words.get(1).is_some_and(|word| is_level(word)) && is_event(2)).then_some(2)
}

fn is_text(line: &str) -> bool {
    start(&line.splitn(5, ' ').collect::<Vec<_>>()).is_some()
}

/// The message of a line that a syslog or `journalctl` shows, if a gateway has sent it. The first word with
/// a colon at its end is the tag: in a file of a whole machine any program may tell of anything.
fn behind_tag(line: &str) -> Option<&str> {
    let mut rest = line;
    for _ in 0..=WORDS_BEFORE_TAG {
        let (word, behind) = rest.trim_start().split_once(' ')?;
        if let Some(tag) = word.strip_suffix(':') {
            let name = match tag.strip_suffix(']').and_then(|tag| tag.split_once('[')) {
                Some((name, pid)) if pid.bytes().all(|b| b.is_ascii_digit()) => name,
                Some(_) => return None,
                None => tag,
            };
            return (name == TAG).then_some(behind);
        }
        rest = behind;
    }
    None
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
            format!("Jan  2 03:04:05 host sluice: {TEXT}"),
            format!("Nov 22 22:54:08 gw sluice[77]: {JSON}"),
            format!("2026-01-02T03:04:05.067+01:00 gw sluice[77]:  {JSON}"),
            format!("Nov 22 22:54:08 gw sluice[77]: 2026-01-02T03:04:05.067Z warning {TEXT}"),
            format!("{{\"SYSLOG_IDENTIFIER\":\"sluice\",\"MESSAGE\":\"{quoted}\"}}"),
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
    fn what_other_programs_tell_a_syslog_is_not_believed() {
        let nested = JSON.replace('"', "\\\"");
        for line in [
            format!("Jan 02 03:04:05 host evil[7]: {TEXT}"),
            format!("Jan 02 03:04:05 host evil[7]: sluice[105]: {TEXT}"),
            format!("Jan 02 03:04:05 host evil: sluice[105]: {JSON}"),
            format!("Jan 02 03:04:05 host sluice[x]: {TEXT}"),
            format!("Jan 02 03:04:05 host sluice-not[7]: {TEXT}"),
            format!("Jan 02 03:04:05 host {TEXT}"),
            format!("a b c d e f g sluice[105]: {TEXT}"),
            format!("{{\"SYSLOG_IDENTIFIER\":\"evil\",\"MESSAGE\":\"{nested}\"}}"),
        ] {
            assert_eq!(counted(&line), [], "{line}");
        }
    }

    #[test]
    fn what_was_let_through_is_counted_apart() {
        let (asked, _) = read(&format!("{JSON}\n{TEXT}\n{TEXT}\n")).tally.finish();
        assert_eq!((asked[0].count, asked[0].let_through), (3, 2));
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
