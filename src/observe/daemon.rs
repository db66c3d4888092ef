//! A daemon of this machine that takes an event a datagram, as journald does, or a record of a
//! stream, as some syslogs do. It may be absent, come later, and be restarted at any time: every
//! datagram is sent to the path, not to who had it once.
//!
//! Texts in events are capped, so that the largest event stays far below what a datagram may hold
//! (`net.core.wmem_default`, 208 KiB on Linux). None has to be passed by a file descriptor.

use std::io;
use std::path::PathBuf;

use socket2::{Domain, SockAddr, Socket, Type};

use super::events::Event;
use super::lines::Line;
use super::outlets::{Lost, Sink};

/// Ends a record on a stream (RFC 6587, section 3.4.2). No event holds one.
const RECORD_END: u8 = b'\n';

/// Appends an event in the daemon's own form.
pub(super) type Render = Box<dyn Fn(&Line, &mut Vec<u8>) + Send>;

/// A daemon behind the socket at a path.
pub(super) struct Daemon {
    path: PathBuf,
    render: Render,
    /// Whether records of a stream are tried where no datagram is taken.
    takes_streams: bool,
    datagrams: Option<Socket>,
    stream: Option<Socket>,
    buffer: Vec<u8>,
    /// Where each event in the buffer ends.
    ends: Vec<usize>,
}

/// Why a record was not sent.
struct Unsent {
    error: io::Error,
    /// A part of it was, so that it must not be sent again.
    is_torn: bool,
}

impl Daemon {
    /// One that takes datagrams.
    pub(super) fn new(path: PathBuf, render: Render) -> Daemon {
        Daemon {
            path,
            render,
            takes_streams: false,
            datagrams: None,
            stream: None,
            buffer: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Lets it take records of a stream, too.
    pub(super) fn or_streams(self) -> Daemon {
        Daemon { takes_streams: true, ..self }
    }

    /// What is to be sent.
    #[cfg(test)]
    pub(super) fn added(&self) -> &[u8] {
        &self.buffer
    }

    fn send(&mut self, event: &[u8]) -> io::Result<()> {
        if let Some(stream) = self.stream.take() {
            match send_record(&stream, event) {
                Ok(()) => {
                    self.stream = Some(stream);
                    return Ok(());
                }
                Err(unsent) if unsent.is_torn => return Err(unsent.error),
                // It was restarted, perhaps as one that takes datagrams.
                Err(_) => {}
            }
        }
        let address = SockAddr::unix(&self.path)?;
        let sent = self.send_datagram(event, &address);
        if let (Err(_), true) = (&sent, self.takes_streams)
            && let Ok(stream) = connect(&address)
        {
            send_record(&stream, event).map_err(|unsent| unsent.error)?;
            self.stream = Some(stream);
            return Ok(());
        }
        sent
    }

    fn send_datagram(&mut self, event: &[u8], address: &SockAddr) -> io::Result<()> {
        let socket = match &mut self.datagrams {
            Some(socket) => socket,
            none => none.insert(Socket::new(Domain::UNIX, Type::DGRAM, None)?),
        };
        loop {
            match socket.send_to(event, address) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Sink for Daemon {
    fn add(&mut self, event: &Event) {
        (self.render)(&Line::new(event), &mut self.buffer);
        self.ends.push(self.buffer.len());
    }

    fn flush(&mut self) -> Result<(), Lost> {
        let (buffer, ends) = (std::mem::take(&mut self.buffer), std::mem::take(&mut self.ends));
        let mut lost: Option<Lost> = None;
        let mut begin = 0;
        for end in &ends {
            if let Err(error) = self.send(&buffer[begin..*end]) {
                let lost = lost.get_or_insert_with(|| Lost {
                    events: 0,
                    error: io::Error::new(
                        error.kind(),
                        format!("{}: {error}", self.path.display()),
                    ),
                });
                lost.events += 1;
            }
            begin = *end;
        }
        (self.buffer, self.ends) = (buffer, ends);
        self.buffer.clear();
        self.ends.clear();
        lost.map_or(Ok(()), Err)
    }

    /// Nothing to do for datagrams; a stream is connected again.
    fn reopen(&mut self) -> io::Result<()> {
        self.stream = None;
        Ok(())
    }
}

fn connect(address: &SockAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.connect(address)?;
    Ok(socket)
}

fn send_record(stream: &Socket, event: &[u8]) -> Result<(), Unsent> {
    let record = [event, &[RECORD_END]].concat();
    let mut sent = 0;
    while sent < record.len() {
        match stream.send(&record[sent..]) {
            Ok(taken) => sent += taken,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Unsent { error, is_torn: sent > 0 }),
        }
    }
    Ok(())
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::{UnixDatagram, UnixListener};
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::logic::reason::Reason;
    use crate::observe::counters::Counters;
    use crate::observe::events::Level;
    use crate::observe::outlets::{self, Events};
    use crate::observe::settings::{Destination, EventSettings, Format};

    const PATIENCE: Duration = Duration::from_secs(60);

    /// The path of a socket, in a folder that goes when the test ends.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Place {
            let folder = format!("sluice-daemon-{}-{name}", std::process::id());
            let folder = std::env::temp_dir().join(folder);
            std::fs::create_dir_all(&folder).unwrap();
            Place(folder.join("socket"))
        }

        /// A daemon that takes datagrams, in the place of the one before.
        fn bind(&self) -> UnixDatagram {
            drop(std::fs::remove_file(&self.0));
            let socket = UnixDatagram::bind(&self.0).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket
        }

        fn listen(&self) -> UnixListener {
            drop(std::fs::remove_file(&self.0));
            UnixListener::bind(&self.0).unwrap()
        }

        fn sink(&self) -> Daemon {
            let render = |line: &Line, buffer: &mut Vec<u8>| {
                buffer.extend_from_slice(line.message.as_bytes());
            };
            Daemon::new(self.0.clone(), Box::new(render)).or_streams()
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(self.0.parent().unwrap()));
        }
    }

    fn event(detail: &str) -> Event {
        Event::new(Reason::Started, SystemTime::UNIX_EPOCH).detail(detail)
    }

    fn send(events: &Events, detail: &str) {
        events.send(event(detail));
    }

    fn received(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 16 << 10];
        let len = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..len]).into_owned()
    }

    fn told(sink: &mut Daemon, detail: &str) -> Result<(), u64> {
        sink.add(&event(detail));
        sink.flush().map_err(|lost| lost.events)
    }

    #[test]
    fn events_to_an_absent_daemon_are_lost_counted_and_told_when_it_comes() {
        for (name, to) in [
            ("journal", Destination::Journal as fn(PathBuf) -> Destination),
            ("syslog", Destination::Syslog),
        ] {
            let place = Place::new(name);
            let settings =
                EventSettings { to: to(place.0.clone()), format: Format::Text, level: Level::Info };
            let counters = Arc::new(Counters::new());
            let (events, outlet) = outlets::start(&settings, Arc::clone(&counters)).unwrap();
            send(&events, "first");
            send(&events, "second");
            let mut waited = Duration::ZERO;
            while counters.events_lost() < 2 && waited < PATIENCE {
                std::thread::sleep(Duration::from_millis(5));
                waited += Duration::from_millis(5);
            }
            assert_eq!(counters.events_lost(), 2);
            let daemon = place.bind();
            let told = received(&daemon);
            assert!(told.contains("400 events_lost 2 events were lost"), "{told}");
            send(&events, "third");
            assert!(received(&daemon).contains("third"));
            // Restarted: another socket at the same path, and nothing is lost.
            let restarted = place.bind();
            send(&events, "fourth");
            assert!(received(&restarted).contains("fourth"));
            let last = Event::new(Reason::Stopped, SystemTime::UNIX_EPOCH);
            assert!(outlet.stop(last, PATIENCE));
            assert!(received(&restarted).contains("102 stopped"));
            assert_eq!(counters.events_lost(), 2);
            assert_eq!(counters.counted(Reason::OutletFailed), 1);
        }
    }

    #[test]
    fn each_event_is_a_datagram_of_its_own() {
        let place = Place::new("several");
        let daemon = place.bind();
        let mut sink = place.sink();
        for detail in ["a", "b", "c"] {
            sink.add(&event(detail));
        }
        assert!(sink.flush().is_ok());
        for detail in ["a", "b", "c"] {
            assert_eq!(received(&daemon), format!("The gateway is up: {detail}"));
        }
    }

    #[test]
    fn one_event_that_is_too_large_costs_no_other() {
        let place = Place::new("large");
        let daemon = place.bind();
        // A datagram that fits into what a socket may hold unsent is not too large.
        let holds = std::fs::read_to_string("/proc/sys/net/core/wmem_default");
        let holds = holds.ok().and_then(|bytes| bytes.trim().parse().ok()).unwrap_or(0);
        let large_bytes = holds.max(16 << 20) + 4096;
        let render = move |line: &Line, buffer: &mut Vec<u8>| {
            let len = if line.message.contains("large") { large_bytes } else { 1 };
            buffer.extend_from_slice(&vec![b'x'; len]);
        };
        let mut sink = Daemon::new(place.0.clone(), Box::new(render)).or_streams();
        for detail in ["a", "large", "c"] {
            sink.add(&event(detail));
        }
        let lost = sink.flush().expect_err("too large");
        assert_eq!(lost.events, 1);
        assert!(lost.error.to_string().starts_with(&*place.0.to_string_lossy()), "{}", lost.error);
        assert_eq!((received(&daemon), received(&daemon)), ("x".to_owned(), "x".to_owned()));
    }

    #[test]
    fn a_stream_takes_records_and_may_be_restarted_as_either_kind() {
        let place = Place::new("stream");
        let mut sink = place.sink();
        assert_eq!(told(&mut sink, "lost"), Err(1));
        let daemon = place.listen();
        assert_eq!(told(&mut sink, "a"), Ok(()));
        assert_eq!(told(&mut sink, "b"), Ok(()));
        let (mut stream, _) = daemon.accept().unwrap();
        drop(daemon);
        let restarted = place.listen();
        // Still the old connection, which is open.
        assert_eq!(told(&mut sink, "c"), Ok(()));
        let mut records = [0; 63];
        stream.read_exact(&mut records).unwrap();
        let expected = "The gateway is up: a\nThe gateway is up: b\nThe gateway is up: c\n";
        assert_eq!(std::str::from_utf8(&records).unwrap(), expected);
        drop(stream);
        assert_eq!(told(&mut sink, "d"), Ok(()));
        let (mut stream, _) = restarted.accept().unwrap();
        stream.read_exact(&mut records[..21]).unwrap();
        assert!(records.starts_with(b"The gateway is up: d\n"));
        drop((stream, restarted));
        let datagrams = place.bind();
        assert_eq!(told(&mut sink, "e"), Ok(()));
        assert_eq!(received(&datagrams), "The gateway is up: e");
    }
}
