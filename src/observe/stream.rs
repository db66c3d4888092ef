//! Lines on a byte stream: stderr, or a file that can be opened again under its name.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::sys::open_to_append;

use super::events::Event;
use super::lines;
use super::outlets::{Lost, Sink};
use super::settings::Format;

/// How long to wait for a stream that somebody has made non-blocking.
const UNBLOCK: Duration = Duration::from_millis(10);

/// Lines on a byte stream.
pub(super) struct Stream {
    format: Format,
    /// Of a file.
    path: Option<PathBuf>,
    stream: Box<dyn Write + Send>,
    buffer: Vec<u8>,
    /// A line was cut in two by an error: the next write begins a new one.
    is_torn: bool,
}

impl Stream {
    pub(super) fn new(format: Format, stream: Box<dyn Write + Send>) -> Stream {
        Stream { format, path: None, stream, buffer: Vec::new(), is_torn: false }
    }

    /// Appends to the file at `path`, which is created where it is missing.
    ///
    /// # Errors
    /// As open(2).
    pub(super) fn of_file(format: Format, path: &Path) -> io::Result<Stream> {
        let file = open_to_append(path)?;
        Ok(Stream { path: Some(path.to_owned()), ..Stream::new(format, Box::new(file)) })
    }

    /// Writes the buffer and returns how many bytes were taken before an error.
    fn pour(&mut self) -> (usize, io::Result<()>) {
        let mut poured = 0;
        while poured < self.buffer.len() {
            match self.stream.write(&self.buffer[poured..]) {
                Ok(0) => return (poured, Err(io::ErrorKind::WriteZero.into())),
                Ok(taken) => poured += taken,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(UNBLOCK),
                Err(error) => return (poured, Err(error)),
            }
        }
        (poured, self.stream.flush())
    }
}

impl Sink for Stream {
    fn add(&mut self, event: &Event) {
        if self.is_torn && self.buffer.is_empty() {
            self.buffer.push(b'\n');
        }
        lines::write(self.format, event, &mut self.buffer);
    }

    fn flush(&mut self) -> Result<(), Lost> {
        let (poured, result) = self.pour();
        if poured > 0 {
            self.is_torn = self.buffer[poured - 1] != b'\n';
        }
        let rest = &self.buffer[poured..];
        let events = rest.iter().filter(|byte| **byte == b'\n').count() as u64;
        // A rest of the newline alone that mends a torn line is no event of its own.
        let events = events - u64::from(rest.first() == Some(&b'\n') && poured == 0);
        self.buffer.clear();
        result.map_err(|error| Lost { events, error })
    }

    /// The file that has the name now takes the place of the one that had it, as after a rotation.
    fn reopen(&mut self) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let at_path =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let file = open_to_append(path).map_err(at_path)?;
        // The torn line is in the other file, where this one is new.
        self.is_torn &= file.metadata().map_err(at_path)?.len() > 0;
        self.stream = Box::new(file);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;
    use std::time::SystemTime;

    use super::*;
    use crate::logic::reason::Reason;
    use crate::observe::counters::Counters;
    use crate::observe::events::Level;
    use crate::observe::outlets::{self, Events, Outlet};
    use crate::observe::settings::{Destination, EventSettings};

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    /// A folder that goes when the test ends, and the file of events in it.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Place {
            let folder = format!("sluice-stream-{}-{name}", std::process::id());
            let folder = std::env::temp_dir().join(folder);
            std::fs::create_dir_all(folder.join("logs")).unwrap();
            Place(folder)
        }

        fn logs(&self) -> PathBuf {
            self.0.join("logs")
        }

        fn file(&self) -> PathBuf {
            self.logs().join("events.log")
        }

        fn start(&self) -> (Events, Outlet, Arc<Counters>) {
            let to = Destination::File(self.file());
            let settings = EventSettings { to, format: Format::Text, level: Level::Info };
            let counters = Arc::new(Counters::new());
            let (events, outlet) = outlets::start(&settings, Arc::clone(&counters)).unwrap();
            (events, outlet, counters)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    fn event(number: usize) -> Event {
        Event::new(Reason::Started, NOW).detail(format!("number {number}"))
    }

    fn stop(outlet: Outlet) {
        assert!(outlet.stop(Event::new(Reason::Stopped, NOW), Duration::from_secs(60)));
    }

    fn lines(path: &Path) -> Vec<String> {
        std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
    }

    fn wait_for(what: impl Fn() -> bool) {
        let begun = (0..12_000).find(|_| {
            std::thread::sleep(Duration::from_millis(5));
            what()
        });
        assert!(begun.is_some(), "it never came");
    }

    #[test]
    fn a_rotated_file_is_left_and_every_line_is_in_one_of_them_once() {
        const ROTATIONS: usize = 20;
        let place = Place::new("rotated");
        let (events, outlet, counters) = place.start();
        let mut sent = 0;
        let rotated: Vec<PathBuf> = (0..ROTATIONS)
            .map(|rotation| {
                let aside = place.logs().join(format!("events.log.{rotation}"));
                (0..50).for_each(|_| {
                    events.send(event(sent));
                    sent += 1;
                });
                std::fs::rename(place.file(), &aside).unwrap();
                events.send(event(sent));
                sent += 1;
                events.reopen(NOW);
                wait_for(|| place.file().exists());
                aside
            })
            .collect();
        events.send(event(sent));
        sent += 1;
        stop(outlet);
        let mut all: Vec<String> = rotated.iter().flat_map(|path| lines(path)).collect();
        let last = lines(&place.file());
        assert!(last.last().unwrap().contains("102 stopped"), "{last:?}");
        assert!(last.iter().any(|line| line.ends_with(&format!("number {}", sent - 1))));
        all.extend(last);
        let distinct: BTreeSet<&String> = all.iter().collect();
        assert_eq!((all.len(), distinct.len()), (sent + 1, sent + 1));
        assert_eq!(counters.events_lost(), 0);
    }

    #[test]
    fn a_file_that_cannot_be_opened_again_is_told_in_the_one_before() {
        let place = Place::new("refused");
        let (events, outlet, counters) = place.start();
        let aside = place.0.join("aside");
        std::fs::rename(place.file(), &aside).unwrap();
        std::fs::remove_dir(place.logs()).unwrap();
        events.reopen(NOW + Duration::from_secs(7));
        events.send(event(1));
        wait_for(|| lines(&aside).len() == 2);
        let told = lines(&aside);
        assert!(told[0].starts_with("1970-01-01T00:00:07.000Z error 400 outlet_not_reopened "));
        assert!(told[0].contains(&*place.file().to_string_lossy()), "{}", told[0]);
        assert!(told[1].ends_with("number 1"), "{told:?}");
        assert_eq!(counters.counted(Reason::OutletNotReopened), 1);
        // The next try succeeds.
        std::fs::create_dir(place.logs()).unwrap();
        events.reopen(NOW);
        stop(outlet);
        assert_eq!((lines(&aside).len(), lines(&place.file()).len()), (2, 1));
        assert_eq!(counters.events_lost(), 0);
    }

    #[test]
    fn a_torn_line_is_mended_where_it_is_and_not_in_a_new_file() {
        let place = Place::new("torn");
        for is_rotated in [false, true] {
            let mut stream = Stream::of_file(Format::Text, &place.file()).unwrap();
            std::fs::write(place.file(), "to").unwrap();
            stream.is_torn = true;
            if is_rotated {
                std::fs::remove_file(place.file()).unwrap();
            }
            stream.reopen().unwrap();
            stream.add(&event(1));
            assert!(stream.flush().is_ok());
            let written = lines(&place.file());
            let expected = if is_rotated { 1 } else { 2 };
            assert_eq!(written.len(), expected, "{written:?}");
            assert!(written[expected - 1].ends_with("number 1"));
        }
    }

    #[test]
    fn what_is_no_file_has_nothing_to_open_again() {
        let mut stream = Stream::new(Format::Text, Box::new(io::sink()));
        assert!(stream.reopen().is_ok());
        Events::collecting().0.reopen(NOW);
    }
}
