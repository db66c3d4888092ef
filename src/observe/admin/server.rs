//! The thread of the admin listener, and its poll.

use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use parking_lot::Mutex;

use super::super::liveness::Liveness;
use super::connection::{Connection, Fate};
use super::request::Request;
use super::routes::{Answer, Course, Panel, Reload, route};

/// Connections at one time. Beyond, the oldest makes room: clients that do nothing must not keep a
/// health check out.
const CONNECTIONS_MAX: usize = 16;
/// After the system had no descriptor left for a connection; no event tells when it has one again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const LISTENER: Token = Token(0);
const WAKE: Token = Token(1);
/// Connections are numbered from here on, each anew, so that nothing is ever meant for another one.
const FIRST: usize = 2;

/// The running thread.
#[derive(Debug)]
pub struct Admin {
    waker: Arc<Waker>,
    stop: Arc<AtomicBool>,
    finish: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// Starts to answer at `listener`, which does not block.
///
/// # Errors
/// Where there is no poll or no thread to be had.
pub fn start(listener: std::net::TcpListener, panel: Panel) -> io::Result<Admin> {
    let poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
    let mut listener = TcpListener::from_std(listener);
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let stop = Arc::new(AtomicBool::new(false));
    let finish = Arc::new(AtomicBool::new(false));
    let server = Server {
        poll,
        listener: Some(listener),
        accept_again_at: None,
        connections: Vec::new(),
        next: FIRST,
        panel,
        liveness: Liveness::new(),
        reload: None,
        outcome: Arc::default(),
        waker: Arc::clone(&waker),
        stop: Arc::clone(&stop),
        finish: Arc::clone(&finish),
    };
    let thread = std::thread::Builder::new()
        .name("admin".to_owned())
        // The deepest it goes is the rendering of a page into the heap.
        .stack_size(256 * 1024)
        .spawn(|| server.run())?;
    Ok(Admin { waker, stop, finish, thread })
}

impl Admin {
    /// Closes the listener, but answers whoever is connected to it. Does not wait for that.
    pub fn finish(self) {
        self.finish.store(true, Ordering::Release);
        // Where it cannot be woken it is gone already, and so is its listener.
        let _ = self.waker.wake();
    }

    /// Closes the listener and whatever is connected to it.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Release);
        // Where it cannot be woken it is gone already, and so is its listener.
        if self.waker.wake().is_ok() {
            let _ = self.thread.join();
        }
    }
}

struct Server {
    poll: Poll,
    /// None once the last connections are being answered.
    listener: Option<TcpListener>,
    accept_again_at: Option<Instant>,
    connections: Vec<(usize, Connection)>,
    next: usize,
    panel: Panel,
    liveness: Liveness,
    /// The connection for which the configuration is being read again.
    reload: Option<usize>,
    outcome: Arc<Mutex<Option<Result<String, String>>>>,
    waker: Arc<Waker>,
    stop: Arc<AtomicBool>,
    finish: Arc<AtomicBool>,
}

impl Server {
    fn run(mut self) {
        let mut events = Events::with_capacity(64);
        while !self.stop.load(Ordering::Acquire) {
            let sleep = self.sleep();
            match self.poll.poll(&mut events, sleep) {
                Ok(()) => {}
                // It has not looked, so that nobody's time may be judged yet.
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // Without a poll there is nothing to go on with; the closed listener tells so.
                Err(_) => return,
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept(),
                    WAKE => self.pass_on_outcome(),
                    Token(number) => self.drive(number),
                }
            }
            self.expire();
            if self.finish.load(Ordering::Acquire) {
                self.listener = None;
                self.accept_again_at = None;
                if self.connections.is_empty() {
                    return;
                }
            }
        }
    }

    fn sleep(&self) -> Option<Duration> {
        let now = self.panel.inside.now();
        let deadlines = self.connections.iter().map(|(_, connection)| connection.deadline());
        let next = deadlines.chain(self.accept_again_at).min()?;
        Some(next.saturating_duration_since(now))
    }

    fn accept(&mut self) {
        while let Some(listener) = &self.listener {
            match listener.accept() {
                Ok((stream, _)) => self.take(stream),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return,
                    ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {}
                    _ => {
                        self.accept_again_at = Some(self.panel.inside.now() + ACCEPT_PAUSE);
                        return;
                    }
                },
            }
        }
    }

    fn take(&mut self, stream: TcpStream) {
        let number = self.next;
        self.next += 1;
        let mut connection = Connection::new(stream, self.panel.inside.now());
        let both = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        // One that cannot be registered is closed; its client may come again.
        if registry.register(connection.stream(), Token(number), both).is_ok() {
            if self.connections.len() == CONNECTIONS_MAX {
                self.connections.remove(0);
            }
            self.connections.push((number, connection));
            self.drive(number);
        }
    }

    fn drive(&mut self, number: usize) {
        let now = self.panel.inside.now();
        self.with(number, |connection| connection.drive(now));
    }

    /// Does something with a connection, if it is still there, and sees to what became of it.
    fn with(&mut self, number: usize, act: impl FnOnce(&mut Connection) -> Fate) {
        let Some(index) = self.connections.iter().position(|(own, _)| *own == number) else {
            return;
        };
        match act(&mut self.connections[index].1) {
            Fate::Rests => {}
            Fate::IsOver => drop(self.connections.remove(index)),
            Fate::Asked(request) => self.asked(number, &request),
        }
    }

    fn asked(&mut self, number: usize, request: &Request) {
        match route(request, &self.panel, &mut self.liveness) {
            Course::Answer(answer) => self.answer(number, &answer),
            Course::Reload(_) if self.reload.is_some() => {
                self.answer(number, &Answer::plain(503, "A reload is under way\n"));
            }
            Course::Reload(reload) => match self.begin_reload(reload) {
                Ok(()) => self.reload = Some(number),
                Err(error) => self.answer(number, &Answer::plain(503, format!("{error}\n"))),
            },
        }
    }

    fn answer(&mut self, number: usize, answer: &Answer) {
        let now = self.panel.inside.now();
        self.with(number, |connection| connection.answer(answer, now));
    }

    /// On a thread of its own: reading files may take time, and health checks go on.
    fn begin_reload(&self, reload: Arc<dyn Reload>) -> io::Result<()> {
        let (outcome, waker) = (Arc::clone(&self.outcome), Arc::clone(&self.waker));
        std::thread::Builder::new().name("reload".to_owned()).spawn(move || {
            // Whatever becomes of it, the next one must be let in.
            let told = catch_unwind(AssertUnwindSafe(|| reload.reload())).unwrap_or_else(|_| {
                Err("A fault in the gateway ended the reload; please report it".to_owned())
            });
            *outcome.lock() = Some(told);
            // It fails where the poll is gone, and then nobody waits for the outcome.
            let _ = waker.wake();
        })?;
        Ok(())
    }

    fn pass_on_outcome(&mut self) {
        let outcome = self.outcome.lock().take();
        if let Some(outcome) = outcome
            && let Some(number) = self.reload.take()
        {
            self.answer(number, &Answer::reloaded(outcome));
        }
    }

    fn expire(&mut self) {
        let now = self.panel.inside.now();
        let is_due = |(_, connection): &&(usize, Connection)| connection.deadline() <= now;
        let due: Vec<usize> =
            self.connections.iter().filter(is_due).map(|(number, _)| *number).collect();
        for number in due {
            self.with(number, |connection| connection.expire(now));
        }
        if self.accept_again_at.is_some_and(|at| at <= now) {
            self.accept_again_at = None;
            self.accept();
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test may ask the clock")]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::super::sample;
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    struct Desk {
        address: SocketAddr,
        sample: sample::Sample,
        admin: Option<Admin>,
    }

    impl Desk {
        fn start(reload: Option<Arc<dyn Reload>>) -> Desk {
            let mut sample = sample::panel(Instant::now());
            sample.reload = reload;
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            let address = listener.local_addr().unwrap();
            let admin = Some(start(listener, sample.panel()).unwrap());
            Desk { address, sample, admin }
        }

        fn connect(&self) -> TcpStream {
            let stream = TcpStream::connect(self.address).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream
        }

        fn ask(&self, request: &str) -> String {
            let mut stream = self.connect();
            write!(stream, "{request} HTTP/1.1\r\n\r\n").unwrap();
            heard(&mut stream)
        }
    }

    impl Drop for Desk {
        fn drop(&mut self) {
            self.admin.take().unwrap().stop();
        }
    }

    fn heard(stream: &mut TcpStream) -> String {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn requests_are_answered_however_they_come() {
        let desk = Desk::start(None);
        assert!(desk.ask("GET /healthz").starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(desk.ask("GET /metrics").contains("sluice_sessions_total 0\n"));
        let mut slow = desk.connect();
        for byte in b"GET /healthz HTTP/1.0\r\n\r\n" {
            slow.write_all(&[*byte]).unwrap();
        }
        assert!(heard(&mut slow).ends_with("\r\n\r\nok\n"));
        let mut with_body = desk.connect();
        with_body.write_all(b"POST /reload HTTP/1.1\r\nContent-Length: 9\r\n\r\n").unwrap();
        with_body.write_all(&[b'x'; 9]).unwrap();
        assert!(heard(&mut with_body).contains(" 503 "));
        let mut other = desk.connect();
        other.write_all(b"\x16\x03\x01\x02\x00\x01\x00").unwrap();
        assert!(heard(&mut other).contains(" 400 "));
        let mut long = desk.connect();
        long.write_all(format!("GET /{} HTTP/1.1", "x".repeat(9_000)).as_bytes()).unwrap();
        assert!(heard(&mut long).contains(" 431 "));
    }

    #[test]
    fn clients_that_do_nothing_keep_nobody_out_and_are_let_go() {
        let desk = Desk::start(None);
        let mut stuck: Vec<_> = (0..3 * CONNECTIONS_MAX).map(|_| desk.connect()).collect();
        stuck[40].write_all(b"GET /hea").unwrap();
        assert!(desk.ask("GET /healthz").contains(" 200 "));
        let mut last = stuck.pop().unwrap();
        drop(stuck);
        desk.sample.inside.pass(Duration::from_secs(5));
        // The clock of the test tells nobody that it has passed; any event does.
        assert!(desk.ask("GET /healthz").contains(" 200 "));
        assert!(heard(&mut last).contains(" 408 "));
    }

    /// Says that it has begun, and takes its outcome from the test.
    struct Gated {
        begun: Sender<()>,
        outcomes: Mutex<Receiver<Result<String, String>>>,
    }

    impl Reload for Gated {
        fn reload(&self) -> Result<String, String> {
            let outcome = self.begun.send(()).ok().and_then(|()| self.outcomes.lock().recv().ok());
            outcome.unwrap_or_else(|| Err("the test is over".to_owned()))
        }
    }

    #[test]
    fn a_reload_that_takes_its_time_holds_nobody_up() {
        let (gate, outcomes) = channel();
        let (begun, has_begun) = channel();
        let outcomes = Mutex::new(outcomes);
        let desk = Desk::start(Some(Arc::new(Gated { begun, outcomes })));
        let mut first = desk.connect();
        first.write_all(b"POST /reload HTTP/1.1\r\n\r\n").unwrap();
        // The requests of two connections come in any order, and the one that comes first begins the reload.
        has_begun.recv_timeout(PATIENCE).unwrap();
        assert!(desk.ask("POST /reload").contains("A reload is under way\n"));
        assert!(desk.ask("GET /healthz").contains(" 200 "));
        gate.send(Ok("generation 2".to_owned())).unwrap();
        assert!(heard(&mut first).ends_with("\r\n\r\ngeneration 2\n"));
        gate.send(Err("f.toml:1:1: wrong".to_owned())).unwrap();
        let refused = desk.ask("POST /reload");
        assert!(refused.contains(" 422 ") && refused.ends_with("wrong\n"), "{refused}");
    }

    struct Faulty;

    impl Reload for Faulty {
        fn reload(&self) -> Result<String, String> {
            panic!("a fault in the reload, as this test wants it")
        }
    }

    #[test]
    fn a_reload_that_panics_is_told_and_the_next_one_is_let_in() {
        let desk = Desk::start(Some(Arc::new(Faulty)));
        for _ in 0..2 {
            let told = desk.ask("POST /reload");
            assert!(told.contains(" 422 ") && told.contains("please report it\n"), "{told}");
        }
    }
}
