//! Where events go: a thread that renders and writes them, and the handle that workers send with.
//!
//! An outlet that stalls or fails costs lines, never time of a worker. Lost lines are counted, and
//! one `events_lost` line tells how many as soon as the outlet works again.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, SystemTime};
use std::{fmt, thread};

use crate::logic::reason::Reason;

use super::counters::Counters;
use super::events::{Event, Level, rule};
use super::flood::Flood;
use super::queue::Queue;
use super::settings::{Destination, EventSettings, Format};
use super::stream::Stream;
use super::{journal, lines, syslog};

/// How often an outlet that has lost lines is tried again while nothing else is to be written, and
/// how often it is told at most that there are more of them.
const RETRY: Duration = Duration::from_secs(1);
/// Events that are rendered for one write. At some 2 KiB of capped texts each it bounds the buffer.
const EVENTS_PER_WRITE: usize = 256;

/// The handle that workers send events with.
#[derive(Clone)]
pub struct Events(Route);

#[derive(Clone)]
enum Route {
    Outlet(Arc<Queue>),
    Collect(Sender<Event>),
}

impl Events {
    /// Whether events of `level` are written; ask before the texts of an event are made.
    pub fn wants(&self, level: Level) -> bool {
        match &self.0 {
            Route::Outlet(queue) => queue.wants(level),
            Route::Collect(_) => true,
        }
    }

    /// Hands `event` over if its level is wanted. Never waits: where the queue is full, the event
    /// is counted as lost. Counters of its reason are not moved by this.
    pub fn send(&self, event: Event) {
        if !self.wants(rule(event.reason).level) {
            return;
        }
        match &self.0 {
            Route::Outlet(queue) => queue.push(event),
            // A test that has dropped its receiver does not want to know.
            Route::Collect(collected) => drop(collected.send(event)),
        }
    }

    /// Closes the file that events go to and opens the one that now has its name, before anything
    /// more is written: after a rotation. No line is lost or written twice. Where the file cannot be
    /// opened, the old one is kept and the event `outlet_not_reopened` tells why. Does not wait, and
    /// does nothing to an outlet that is no file. `now` is the wall clock.
    pub fn reopen(&self, now: SystemTime) {
        if let Route::Outlet(queue) = &self.0 {
            queue.reopen(now);
        }
    }

    /// Sends everything where `settings` say from now on, once that could be opened.
    ///
    /// # Errors
    /// The file cannot be opened; events go where they went.
    pub fn redirect(&self, settings: &EventSettings) -> Result<(), OutletError> {
        if let Route::Outlet(queue) = &self.0 {
            queue.redirect(open(settings)?, settings.level);
        }
        Ok(())
    }

    /// Events of every level, as they are sent, for tests and simulations: no thread, no bound.
    pub fn collecting() -> (Events, Receiver<Event>) {
        let (sender, receiver) = mpsc::channel();
        (Events(Route::Collect(sender)), receiver)
    }
}

/// The thread that writes. Dropping it without [`Outlet::stop`] leaves the thread to the process.
pub struct Outlet {
    queue: Arc<Queue>,
}

impl Outlet {
    /// Writes everything queued, then `last` as the very last line, and waits at most `wait` for
    /// an outlet that stalls. False when it did; the rest is then left to the end of the process.
    pub fn stop(self, last: Event, wait: Duration) -> bool {
        self.queue.stop(last, wait)
    }
}

/// Why an outlet could not be opened.
#[derive(Debug)]
pub enum OutletError {
    /// The file of `events.to` cannot be opened for appending.
    File(PathBuf, io::Error),
    /// The thread could not be started.
    Thread(io::Error),
}

impl fmt::Display for OutletError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OutletError::File(path, error) => write!(
                f,
                "{}: cannot be opened for events: {error}; check events.to, its folder and its \
                 permissions",
                path.display()
            ),
            OutletError::Thread(error) => {
                write!(f, "the thread that writes events cannot be started: {error}")
            }
        }
    }
}

impl std::error::Error for OutletError {}

/// Writes `events` to the standard error stream, each of them, without a thread: for what is told
/// before an outlet is open, or where it is not read.
pub fn print(events: &[Event], format: Format) {
    let mut text = Vec::new();
    events.iter().for_each(|event| lines::write(format, event, &mut text));
    // A closed stream leaves nobody to tell; there is still the exit code.
    let _ = io::stderr().lock().write_all(&text);
}

/// Opens the outlet of `settings` and starts its thread. Lost events are counted in `counters`.
///
/// # Errors
/// The file cannot be opened, or there is no thread to be had.
pub fn start(
    settings: &EventSettings,
    counters: Arc<Counters>,
) -> Result<(Events, Outlet), OutletError> {
    start_with(open(settings)?, settings.level, counters).map_err(OutletError::Thread)
}

fn open(settings: &EventSettings) -> Result<Box<dyn Sink>, OutletError> {
    let format = settings.format;
    Ok(match &settings.to {
        Destination::Stderr => Box::new(Stream::new(format, Box::new(io::stderr()))),
        Destination::File(path) => Box::new(
            Stream::of_file(format, path)
                .map_err(|error| OutletError::File(path.clone(), error))?,
        ),
        Destination::Journal(path) => Box::new(journal::open(path.clone(), format)),
        Destination::Syslog(path) => {
            Box::new(syslog::open(path.clone(), format, std::process::id()))
        }
    })
}

fn start_with(
    sink: Box<dyn Sink>,
    level: Level,
    counters: Arc<Counters>,
) -> io::Result<(Events, Outlet)> {
    let queue = Arc::new(Queue::new(level, Arc::clone(&counters)));
    let writer = Writer::new(sink, level, counters);
    let taken_from = Arc::clone(&queue);
    thread::Builder::new().name("events".to_owned()).spawn(move || writer.run(&taken_from))?;
    Ok((Events(Route::Outlet(Arc::clone(&queue))), Outlet { queue }))
}

/// A place that takes events and gives them its form.
pub(super) trait Sink: Send {
    /// Takes one event and may keep it until the next flush.
    fn add(&mut self, event: &Event);

    /// Delivers what was added.
    ///
    /// # Errors
    /// How many of the added events were lost, and why. The sink is ready for the next ones.
    fn flush(&mut self) -> Result<(), Lost>;

    /// Opens itself again where that means something. Nothing is added and not flushed then.
    ///
    /// # Errors
    /// Why it cannot; the sink is as it was.
    fn reopen(&mut self) -> io::Result<()>;
}

pub(super) struct Lost {
    pub(super) events: u64,
    pub(super) error: io::Error,
}

/// The thread's side: floods are summed up, losses told, everything else written in order.
struct Writer {
    sink: Box<dyn Sink>,
    level: Level,
    counters: Arc<Counters>,
    flood: Flood,
    /// Events in the sink that are not flushed.
    added: usize,
    /// The time of the latest event: the only clock here.
    now: SystemTime,
    /// Lost events that an `events_lost` line has told, and when the last one did.
    told_lost: u64,
    told_lost_at: Option<SystemTime>,
    /// Whether the last flush failed: only the first failure of a row is told on stderr.
    is_failing: bool,
}

impl Writer {
    fn new(sink: Box<dyn Sink>, level: Level, counters: Arc<Counters>) -> Writer {
        Writer {
            sink,
            level,
            counters,
            flood: Flood::new(),
            added: 0,
            now: SystemTime::UNIX_EPOCH,
            told_lost: 0,
            told_lost_at: None,
            is_failing: false,
        }
    }

    fn run(mut self, queue: &Queue) {
        let mut batch = Vec::new();
        loop {
            let patience = self.patience();
            let taken = queue.take(&mut batch, patience);
            if let (true, Some(patience)) = (taken.is_timeout, patience) {
                // No event brings the time; but so much of it has passed.
                self.now += patience;
                self.finish_seconds(Some(self.now));
            }
            if let Some((sink, level)) = taken.redirect {
                self.sink = sink;
                self.level = level;
                self.is_failing = false;
            }
            if let Some(now) = taken.reopen {
                self.reopen(now);
            }
            for event in batch.drain(..) {
                self.write(&event);
            }
            self.flush();
            self.tell_lost(taken.last.is_some());
            if let Some(last) = taken.last {
                self.finish_seconds(None);
                if rule(last.reason).level >= self.level {
                    self.add(&last);
                }
                self.flush();
                return queue.finish();
            }
        }
    }

    fn patience(&self) -> Option<Duration> {
        let retry = (self.counters.events_lost() > self.told_lost).then_some(RETRY);
        [self.flood.next_due(self.now), retry].into_iter().flatten().min()
    }

    fn reopen(&mut self, now: SystemTime) {
        if let Err(error) = self.sink.reopen() {
            self.counters.count(Reason::OutletNotReopened);
            self.add(&Event::new(Reason::OutletNotReopened, now).detail(error.to_string()));
        }
    }

    fn write(&mut self, event: &Event) {
        self.now = event.time;
        self.finish_seconds(Some(event.time));
        if self.flood.admits(event) {
            self.add(event);
        }
    }

    fn finish_seconds(&mut self, now: Option<SystemTime>) {
        let Writer { flood, sink, added, .. } = self;
        flood.finish_seconds(now, |summary| {
            sink.add(summary);
            *added += 1;
        });
    }

    fn add(&mut self, event: &Event) {
        self.sink.add(event);
        self.added += 1;
        if self.added >= EVENTS_PER_WRITE {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.added == 0 {
            return;
        }
        self.added = 0;
        match self.sink.flush() {
            Ok(()) => self.is_failing = false,
            Err(lost) => {
                self.counters.lose_events(lost.events);
                self.tell_failure(&lost.error);
            }
        }
    }

    /// One line with the number of lost events, tried until it gets through; the next one not within
    /// the same second, unless this `is_last` chance.
    fn tell_lost(&mut self, is_last: bool) {
        let lost = self.counters.events_lost();
        let is_told = |at: SystemTime| self.now.duration_since(at).is_ok_and(|age| age < RETRY);
        if lost == self.told_lost || (!is_last && self.told_lost_at.is_some_and(is_told)) {
            return;
        }
        self.sink.add(&Event::new(Reason::EventsLost, self.now).count(lost - self.told_lost));
        match self.sink.flush() {
            Ok(()) => {
                self.is_failing = false;
                self.told_lost = lost;
                self.told_lost_at = Some(self.now);
                self.counters.count(Reason::EventsLost);
            }
            Err(lost) => self.tell_failure(&lost.error),
        }
    }

    /// A failing outlet is told on stderr, once until it works again. Where stderr is what fails,
    /// nobody listens, and the counter is all there is.
    fn tell_failure(&mut self, error: &io::Error) {
        if self.is_failing {
            return;
        }
        self.is_failing = true;
        self.counters.count(Reason::OutletFailed);
        let mut line = Vec::new();
        let event = Event::new(Reason::OutletFailed, self.now).detail(error.to_string());
        lines::write(Format::Text, &event, &mut line);
        drop(io::stderr().write_all(&line));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use parking_lot::{Condvar, Mutex};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// A stream whose behaviour is the next of a script, then that of a good disk.
    #[derive(Clone, Default)]
    struct Scripted(Arc<Shared>);

    #[derive(Default)]
    struct Shared {
        written: Mutex<Vec<u8>>,
        script: Mutex<Vec<Deed>>,
        stalled: Mutex<bool>,
        released: Condvar,
        writes: AtomicUsize,
    }

    enum Deed {
        Take(usize),
        Fail(io::ErrorKind),
        Stall,
    }

    impl Scripted {
        fn new(mut deeds: Vec<Deed>) -> Scripted {
            deeds.reverse();
            let scripted = Scripted::default();
            *scripted.0.script.lock() = deeds;
            scripted
        }

        fn lines(&self) -> Vec<String> {
            let written = String::from_utf8(self.0.written.lock().clone()).unwrap();
            written.lines().map(str::to_owned).collect()
        }

        fn release(&self) {
            *self.0.stalled.lock() = false;
            self.0.released.notify_all();
        }

        fn wait_until_stalled(&self) {
            wait_until("the outlet writes", || *self.0.stalled.lock());
        }
    }

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.writes.fetch_add(1, Ordering::Relaxed);
            let deed = self.0.script.lock().pop();
            let taken = match deed {
                Some(Deed::Take(most)) => bytes.len().min(most),
                Some(Deed::Fail(kind)) => return Err(kind.into()),
                Some(Deed::Stall) => {
                    let mut stalled = self.0.stalled.lock();
                    *stalled = true;
                    self.0.released.wait_while(&mut stalled, |stalled| *stalled);
                    bytes.len()
                }
                None => bytes.len(),
            };
            self.0.written.lock().extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn outlet(stream: &Scripted, level: Level) -> (Events, Outlet, Arc<Counters>) {
        let counters = Arc::new(Counters::new());
        let sink = Box::new(Stream::new(Format::Text, Box::new(stream.clone())));
        let (events, outlet) = start_with(sink, level, Arc::clone(&counters)).unwrap();
        (events, outlet, counters)
    }

    fn event(reason: Reason, ms: u64) -> Event {
        Event::new(reason, SystemTime::UNIX_EPOCH + Duration::from_millis(ms))
    }

    fn stop(outlet: Outlet) {
        assert!(outlet.stop(event(Reason::Stopped, 9_000), PATIENCE));
    }

    fn wait_until(what: &str, is_so: impl Fn() -> bool) {
        const PAUSE: Duration = Duration::from_millis(5);
        let mut waited = Duration::ZERO;
        while !is_so() {
            assert!(waited < PATIENCE, "it never came that {what}");
            thread::sleep(PAUSE);
            waited += PAUSE;
        }
    }

    #[test]
    fn everything_queued_is_written_before_the_last_event() {
        let stream = Scripted::default();
        let (events, outlet, _) = outlet(&stream, Level::Info);
        for ms in 0..1_000 {
            events.send(event(Reason::SessionEnded, ms));
        }
        events.send(event(Reason::TlsVerified, 1));
        stop(outlet);
        events.send(event(Reason::SessionEnded, 1));
        let lines = stream.lines();
        assert_eq!(lines.len(), 1_001);
        assert!(lines[0].contains("00.000Z") && lines[999].contains("00.999Z"));
        assert!(lines[1_000].contains("102 stopped"), "{}", lines[1_000]);
        assert!(stream.0.writes.load(Ordering::Relaxed) < 100);
    }

    #[test]
    fn the_level_is_a_filter() {
        let stream = Scripted::default();
        let (events, outlet, _) = outlet(&stream, Level::Error);
        assert!(events.wants(Level::Error) && !events.wants(Level::Warning));
        events.send(event(Reason::HostNotAllowed, 1));
        events.send(event(Reason::DialFailed, 1));
        stop(outlet);
        let lines = stream.lines();
        assert_eq!(lines.len(), 1);
        assert!(lines[0].contains("403 dial_failed"));
    }

    #[test]
    fn a_flood_becomes_one_line_also_when_it_stops() {
        let stream = Scripted::default();
        let (events, outlet, _) = outlet(&stream, Level::Info);
        for _ in 0..120 {
            events.send(event(Reason::HostNotAllowed, 100));
        }
        wait_until("the flood is told", || stream.lines().len() >= 21);
        let lines = stream.lines();
        assert_eq!(lines.len(), 21);
        let summary = &lines[20];
        assert!(summary.contains("105 host_not_allowed 100 more like this"), "{summary}");
        assert!(summary.ends_with("count=100"), "{summary}");
        stop(outlet);
    }

    #[test]
    fn a_flood_at_the_end_is_told_before_the_last_event() {
        let stream = Scripted::default();
        let (events, outlet, _) = outlet(&stream, Level::Info);
        for _ in 0..25 {
            events.send(event(Reason::DialFailed, 100));
        }
        stop(outlet);
        let lines = stream.lines();
        assert_eq!(lines.len(), 22);
        assert!(lines[20].ends_with("count=5") && lines[21].contains("stopped"));
    }

    #[test]
    fn a_full_disk_loses_counts_and_mends_the_torn_line() {
        let full = || Deed::Fail(io::ErrorKind::StorageFull);
        let stream = Scripted::new(vec![Deed::Take(10), full(), full(), full()]);
        let (events, outlet, counters) = outlet(&stream, Level::Info);
        events.send(event(Reason::SessionEnded, 1));
        wait_until("the loss is told", || counters.events_lost() > 0 && stream.lines().len() >= 2);
        assert_eq!(counters.events_lost(), 1);
        events.send(event(Reason::SessionEnded, 2));
        stop(outlet);
        let lines = stream.lines();
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert_eq!(lines[0], "1970-01-01");
        assert!(lines[1].contains("400 events_lost 1 events were lost"), "{}", lines[1]);
        assert!(lines[2].contains("session_ended") && lines[3].contains("stopped"));
        assert_eq!(counters.counted(Reason::EventsLost), 1);
        assert_eq!(counters.counted(Reason::OutletFailed), 1);
    }

    #[test]
    fn interruptions_and_short_writes_lose_nothing() {
        let stream = Scripted::new(vec![
            Deed::Fail(io::ErrorKind::Interrupted),
            Deed::Take(3),
            Deed::Fail(io::ErrorKind::WouldBlock),
            Deed::Take(1),
        ]);
        let (events, outlet, counters) = outlet(&stream, Level::Info);
        events.send(event(Reason::SessionEnded, 1));
        stop(outlet);
        assert_eq!((stream.lines().len(), counters.events_lost()), (2, 0));
    }

    #[test]
    fn a_stalled_outlet_holds_up_neither_senders_nor_the_stop() {
        let stream = Scripted::new(vec![Deed::Stall]);
        let (events, outlet, counters) = outlet(&stream, Level::Info);
        events.send(event(Reason::SessionEnded, 1));
        stream.wait_until_stalled();
        let large = event(Reason::Started, 1).detail("x".repeat(50_000));
        for _ in 0..1_000 {
            events.send(large.clone());
        }
        assert!(counters.events_lost() > 800, "{}", counters.events_lost());
        assert!(!outlet.stop(event(Reason::Stopped, 2), Duration::from_millis(20)));
        stream.release();
    }

    #[test]
    fn what_was_lost_in_a_stall_is_told_after_it() {
        let stream = Scripted::new(vec![Deed::Stall]);
        let (events, outlet, counters) = outlet(&stream, Level::Info);
        events.send(event(Reason::SessionEnded, 1));
        stream.wait_until_stalled();
        let large = event(Reason::Started, 1).detail("x".repeat(50_000));
        for _ in 0..200 {
            events.send(large.clone());
        }
        let lost = counters.events_lost();
        stream.release();
        stop(outlet);
        let lines = stream.lines();
        let told = lines.iter().find(|line| line.contains("events_lost")).unwrap();
        assert!(lost > 0 && told.contains(&format!("count={lost}")), "{told}");
        assert_eq!(lines.iter().filter(|line| line.contains("started")).count() as u64, 200 - lost);
        assert!(lines.last().unwrap().contains("stopped"));
    }

    #[test]
    fn a_file_is_appended_to_and_a_folder_is_explained() {
        let folder = std::env::temp_dir().join(format!("sluice-outlet-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("events.log");
        std::fs::write(&path, "before\n").unwrap();
        let mut settings = EventSettings {
            to: Destination::File(path.clone()),
            format: Format::Json,
            level: Level::Info,
        };
        let (_, outlet) = start(&settings, Arc::new(Counters::new())).unwrap();
        stop(outlet);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("before\n{\"time\":\"1970-01-01T00:00:09.000Z\",\"id\":102"));
        settings.to = Destination::File(folder.clone());
        let Err(error) = start(&settings, Arc::new(Counters::new())) else { panic!("opened") };
        assert!(error.to_string().contains("check events.to"), "{error}");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn collected_events_arrive_as_they_are() {
        let (events, collected) = Events::collecting();
        events.send(event(Reason::TlsVerified, 1));
        assert_eq!(collected.try_recv().unwrap(), event(Reason::TlsVerified, 1));
        drop(collected);
        events.send(event(Reason::TlsVerified, 1));
    }
}
