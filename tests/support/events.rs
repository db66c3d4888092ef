//! What the gateway tells, read as it comes.

use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use serde_json::Value;

use super::deadline::{Deadline, PATIENCE};

/// One line of JSON.
#[derive(Clone, Debug)]
pub struct Event(pub Value);

impl Event {
    /// The event id.
    pub fn id(&self) -> u64 {
        self.number("id")
    }

    /// The reason.
    pub fn reason(&self) -> &str {
        self.text("reason")
    }

    /// The text of a key; empty where it is missing.
    pub fn text(&self, key: &str) -> &str {
        self.0.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// The number of a key.
    ///
    /// # Panics
    /// Where it is missing.
    pub fn number(&self, key: &str) -> u64 {
        self.0.get(key).and_then(Value::as_u64).unwrap_or_else(|| panic!("no {key} in {}", self.0))
    }

    /// Whether the key is there.
    pub fn has(&self, key: &str) -> bool {
        self.0.get(key).is_some()
    }

    /// Whether it is this reason of this session.
    pub fn is(&self, reason: &str, session: &str) -> bool {
        self.reason() == reason && self.text("session") == session
    }
}

/// All that has been told so far. A thread reads it, so that the gateway never waits for a test.
#[derive(Clone, Debug, Default)]
pub struct Events(Arc<Told>);

#[derive(Debug, Default)]
struct Told {
    lines: Mutex<Lines>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    events: Vec<Event>,
    others: Vec<String>,
    ended: bool,
}

impl Events {
    /// Reads `stream` to its end.
    pub fn read_from(stream: impl Read + Send + 'static) -> Events {
        let events = Events::default();
        let told = Arc::clone(&events.0);
        std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                let mut lines = told.lines.lock();
                match serde_json::from_slice(&line) {
                    Ok(value) => lines.events.push(Event(value)),
                    Err(_) => lines.others.push(String::from_utf8_lossy(&line).into_owned()),
                }
                told.more.notify_all();
            }
            told.lines.lock().ended = true;
            told.more.notify_all();
        });
        events
    }

    /// The events so far.
    pub fn all(&self) -> Vec<Event> {
        self.0.lines.lock().events.clone()
    }

    /// The lines that are no events.
    pub fn others(&self) -> Vec<String> {
        self.0.lines.lock().others.clone()
    }

    /// How many events fit so far.
    pub fn count(&self, fits: impl Fn(&Event) -> bool) -> usize {
        self.0.lines.lock().events.iter().filter(|event| fits(event)).count()
    }

    /// The first event that fits, which may still come.
    ///
    /// # Panics
    /// Where it does not come.
    pub fn wait(&self, what: &str, fits: impl Fn(&Event) -> bool) -> Event {
        self.wait_for(PATIENCE, &fits).unwrap_or_else(|| {
            panic!("no such event: {what}; what came: {}", self.shown());
        })
    }

    /// The event of this reason of this session.
    pub fn of(&self, reason: &str, session: &str) -> Event {
        self.wait(&format!("{reason} of {session}"), |event| event.is(reason, session))
    }

    /// The first event of this reason.
    pub fn first(&self, reason: &str) -> Event {
        self.wait(reason, |event| event.reason() == reason)
    }

    /// The first event that fits and comes within `time`.
    pub fn wait_for(&self, time: Duration, fits: &dyn Fn(&Event) -> bool) -> Option<Event> {
        let deadline = Deadline::after(time);
        let mut lines = self.0.lines.lock();
        let mut seen = 0;
        loop {
            if let Some(event) = lines.events[seen..].iter().find(|event| fits(event)) {
                return Some(event.clone());
            }
            seen = lines.events.len();
            if lines.ended || deadline.has_passed() {
                return None;
            }
            self.0.more.wait_for(&mut lines, deadline.left());
        }
    }

    /// Waits for the end of the stream.
    pub fn wait_for_end(&self) {
        let deadline = Deadline::patience();
        let mut lines = self.0.lines.lock();
        while !lines.ended {
            assert!(!deadline.has_passed(), "the gateway did not close its stream of events");
            self.0.more.wait_for(&mut lines, deadline.left());
        }
    }

    /// The last of it all, for a message.
    pub fn shown(&self) -> String {
        let lines = self.0.lines.lock();
        let first = lines.events.len().saturating_sub(40);
        let events = lines.events[first..].iter().map(|event| event.0.to_string());
        events
            .chain(lines.others.iter().cloned())
            .fold(String::new(), |all, line| all + "\n" + &line)
    }
}
