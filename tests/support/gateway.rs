//! The real program, started on a port of the system's choice and ended by its own id.

use std::fmt::{self, Display, Write};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};

use parking_lot::Mutex;
use sluice::proto::reply::ESTABLISHED;

use super::deadline::{Deadline, PATIENCE, until};
use super::events::{Event, Events};
use super::folder::Folder;
use super::peer::Peer;
use super::server::Server;

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_sluice");

/// How a gateway is run: which carrier, and who accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    carrier: &'static str,
    one_acceptor: bool,
}

/// Tunnels by splice; every worker accepts.
pub const SPLICE: Kind = Kind { carrier: "splice", one_acceptor: false };
/// Tunnels by copy; every worker accepts.
pub const COPY: Kind = Kind { carrier: "copy", one_acceptor: false };
/// Tunnels by splice; one thread accepts for all workers.
pub const ONE_ACCEPTOR: Kind = Kind { carrier: "splice", one_acceptor: true };
/// Both ways of moving bytes.
pub const CARRIERS: [Kind; 2] = [SPLICE, COPY];
/// All that differs.
pub const KINDS: [Kind; 3] = [SPLICE, COPY, ONE_ACCEPTOR];

impl Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.carrier, if self.one_acceptor { ", one acceptor" } else { "" })
    }
}

/// Runs a test for all of these at once: most of its time it waits, for limits or for events, which are
/// told in batches.
///
/// # Panics
/// Where one of them does.
pub fn each<T: Send, const N: usize>(rows: [T; N], test: impl Fn(T) + Sync) {
    std::thread::scope(|scope| {
        let test = &test;
        for thread in rows.map(|row| scope.spawn(move || test(row))) {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
}

/// A gateway to start. Loopback may be reached, and no host is allowed.
#[derive(Debug)]
pub struct Setup {
    kind: Kind,
    hosts: Vec<String>,
    addresses: Vec<String>,
    workers: usize,
    format: &'static str,
    level: &'static str,
    lines: String,
    events_to: Option<String>,
    open_files: Option<u32>,
    listen: String,
    admin: String,
}

impl Setup {
    /// A gateway of this kind.
    pub fn new(kind: Kind) -> Setup {
        Setup {
            kind,
            hosts: Vec::new(),
            addresses: vec!["127.0.0.0/8".to_owned(), "::1".to_owned()],
            workers: 2,
            format: "json",
            level: "debug",
            lines: String::new(),
            events_to: None,
            open_files: None,
            listen: "127.0.0.1:0".to_owned(),
            admin: String::new(),
        }
    }

    /// Allows a server by its address and by the name localhost.
    pub fn reach(self, server: &Server) -> Setup {
        self.host(&server.authority()).host(&server.named())
    }

    /// Allows a host.
    pub fn host(mut self, pattern: &str) -> Setup {
        self.hosts.push(pattern.to_owned());
        self
    }

    /// Special-purpose addresses that may be reached, instead of all of loopback.
    pub fn addresses(mut self, blocks: &[&str]) -> Setup {
        self.addresses = blocks.iter().map(|&block| block.to_owned()).collect();
        self
    }

    /// Sets a key of the configuration; a text is given with its quotes.
    pub fn set(mut self, key: &str, value: impl Display) -> Setup {
        writeln!(self.lines, "{key} = {value}").expect("a String takes everything");
        self
    }

    /// Threads that relay, instead of two.
    pub fn workers(mut self, workers: usize) -> Setup {
        self.workers = workers;
        self
    }

    /// The form of events, instead of JSON.
    pub fn format(mut self, format: &'static str) -> Setup {
        self.format = format;
        self
    }

    /// The lowest level that is told, instead of all.
    pub fn level(mut self, level: &'static str) -> Setup {
        self.level = level;
        self
    }

    /// Sends events somewhere else than to the test.
    pub fn events_to(mut self, outlet: &str) -> Setup {
        self.events_to = Some(outlet.to_owned());
        self
    }

    /// Limits the open files of the process.
    pub fn open_files(mut self, limit: u32) -> Setup {
        self.open_files = Some(limit);
        self
    }

    /// Listens here instead of on a port of the system's choice.
    pub fn listen(mut self, address: &str) -> Setup {
        self.listen = address.to_owned();
        self
    }

    /// Answers health checks, metrics and status on a port of the system's choice.
    pub fn admin(self) -> Setup {
        self.admin_at("127.0.0.1:0")
    }

    /// Answers health checks, metrics and status here; without it, nowhere.
    pub fn admin_at(mut self, address: &str) -> Setup {
        self.admin = address.to_owned();
        self
    }

    /// The text of the configuration.
    pub fn text(&self) -> String {
        let mut text = format!(
            "listen = [{:?}]\nworkers = {}\ncarrier = {:?}\nallow.hosts = {:?}\n\
             allow.addresses = {:?}\nevents.format = {:?}\nevents.level = {:?}\n\
             admin.listen = {:?}\n{}",
            self.listen,
            self.workers,
            self.kind.carrier,
            self.hosts,
            self.addresses,
            self.format,
            self.level,
            self.admin,
            self.lines
        );
        if !self.lines.contains("limits.drain_ms") {
            // Most tests end with tunnels open, and a drain would wait for them.
            text.push_str("limits.drain_ms = 0\n");
        }
        if let Some(to) = &self.events_to {
            writeln!(text, "events.to = {to:?}").expect("a String takes everything");
        }
        text
    }

    /// Starts it and waits until it listens.
    ///
    /// # Panics
    /// Where it does not.
    pub fn start(self) -> Gateway {
        let folder = Folder::new();
        let file = folder.write("sluice.toml", &self.text());
        let mut command = command(self.open_files);
        command.args(["run", "--config"]).arg(&file);
        if self.kind.one_acceptor {
            command.args(["--accepting", "one"]);
        }
        Gateway::started_by(command, file, folder)
    }
}

/// A command that runs the program, with its streams piped.
pub fn command(open_files: Option<u32>) -> Command {
    let mut command = match open_files {
        None => Command::new(PROGRAM),
        Some(limit) => {
            let mut shell = Command::new("sh");
            shell.arg("-c").arg(format!("ulimit -n {limit} && exec \"$0\" \"$@\"")).arg(PROGRAM);
            shell
        }
    };
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env_remove("SLUICE_CONFIG");
    // By default a name server that does not answer is waited for longer than tests allow for. A network
    // of a test's own has what it needs in its resolv.conf.
    #[cfg(target_os = "linux")]
    if !super::namespace::is_inside() {
        command.env("RES_OPTIONS", "timeout:3 attempts:1");
    }
    command
}

fn spawn(command: &mut Command) -> Child {
    command.spawn().expect("the program starts")
}

/// A gateway that runs.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    address: Option<SocketAddr>,
    printed: Mutex<Receiver<String>>,
    file: PathBuf,
    events: Events,
    folder: Folder,
}

impl Gateway {
    /// The gateway that this command starts, once it listens.
    ///
    /// # Panics
    /// Where it does not.
    pub fn started_by(mut command: Command, file: PathBuf, folder: Folder) -> Gateway {
        let mut child = spawn(&mut command);
        let events = Events::read_from(child.stderr.take().expect("stderr is a pipe"));
        let out = child.stdout.take().expect("stdout is a pipe");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                // Few wait for lines after the first; reading on keeps the pipe from filling.
                let _ = sender.send(line);
            }
        });
        let mut gateway =
            Gateway { child, address: None, printed: Mutex::new(lines), file, events, folder };
        let line = gateway.printed.lock().recv_timeout(PATIENCE).unwrap_or_else(|_| {
            panic!("the gateway does not listen: {}", gateway.events.shown());
        });
        let address = line.strip_prefix("listening on ").and_then(|text| text.parse().ok());
        gateway.address = Some(address.unwrap_or_else(|| panic!("{line:?} is no address")));
        gateway
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address.expect("it is known before anybody gets the gateway")
    }

    /// The next line that it has printed since it told where it listens.
    pub fn printed(&self) -> String {
        self.printed.lock().recv_timeout(PATIENCE).expect("the gateway prints another line")
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its configuration.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Its folder.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// What it tells.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Connects to it, from a port by which the session is known.
    pub fn connect(&self) -> Peer {
        Peer::connect_as_nobody_before(self.address())
    }

    /// Connects and asks for a tunnel; the answer has not been read.
    pub fn ask(&self, authority: &str) -> Peer {
        let mut peer = self.connect();
        peer.send(&connect_head(authority));
        peer
    }

    /// Opens a tunnel.
    pub fn open(&self, authority: &str) -> Peer {
        let mut peer = self.ask(authority);
        peer.expect(ESTABLISHED);
        peer
    }

    /// The session of a client, by its address.
    pub fn session_of(&self, client: &Peer) -> String {
        let address = client.address().to_string();
        let event = self.events.wait(&format!("connect_received of {address}"), |event| {
            event.reason() == "connect_received" && event.text("client") == address
        });
        event.text("session").to_owned()
    }

    /// The closing event of a session.
    pub fn end_of(&self, session: &str) -> Event {
        self.events.of("session_ended", session)
    }

    /// Sends it a signal.
    #[cfg(unix)]
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("the gateway runs");
    }

    /// Sends it a signal, if it still runs.
    #[cfg(unix)]
    pub fn try_signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        // A child that has ended keeps its id until it is waited for, so this can hit nobody else.
        let _ = rustix::process::kill_process(pid, signal);
    }

    /// Puts another configuration in the place of the one it began with.
    pub fn rewrite(&self, text: &str) {
        let new = self.folder.write("new.toml", text);
        std::fs::rename(new, &self.file).expect("the file can be replaced");
    }

    /// Waits until it has ended by itself. All events are known then.
    #[cfg(unix)]
    pub fn ended(mut self) -> Vec<Event> {
        let status = wait(&mut self.child);
        assert!(status.success(), "{status}");
        self.events.wait_for_end();
        audit(&self.events.all(), &[]);
        self.events.all()
    }

    /// Tells it to stop by this signal, and waits until it has.
    #[cfg(unix)]
    pub fn stop_by(mut self, signal: rustix::process::Signal) -> (ExitStatus, Vec<Event>) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("the gateway runs");
        let status = wait(&mut self.child);
        self.events.wait_for_end();
        (status, self.events.all())
    }

    /// Tells it to stop, and waits until it has. All events are known then.
    #[cfg(unix)]
    pub fn stop(self) -> Vec<Event> {
        self.stop_despite(&[])
    }

    /// The same where it may have told of these faults, because the test has made them.
    #[cfg(unix)]
    pub fn stop_despite(self, faults: &[&str]) -> Vec<Event> {
        let (status, events) = self.stop_by(rustix::process::Signal::TERM);
        assert!(status.success(), "{status}");
        audit(&events, faults);
        events
    }

    /// Ends it. Without signals there is no other way from outside, and what it tells last is lost.
    #[cfg(not(unix))]
    pub fn stop(mut self) -> Vec<Event> {
        self.child.kill().expect("the gateway runs");
        wait(&mut self.child);
        self.events.wait_for_end();
        self.events.all()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("events of the gateway:{}", self.events.shown());
        }
        // Already gone where a test has stopped it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What holds for every run: it begins and ends in order, each session that got a well-formed head
/// ends exactly once, and nothing in it was a fault of the gateway but those that are expected.
///
/// # Panics
/// Where one of these is not so.
#[cfg(unix)]
fn audit(events: &[Event], expected: &[&str]) {
    let mut open = std::collections::HashMap::new();
    for event in events {
        let session = event.text("session");
        match event.reason() {
            "connect_received" => {
                assert_eq!(open.insert(session, 0), None, "two heads in one session: {session}");
            }
            "session_ended" => {
                let ends = open.get_mut(session);
                *ends.unwrap_or_else(|| panic!("the end of no session: {}", event.0)) += 1;
            }
            reason if expected.contains(&reason) => {}
            "session_panicked"
            | "internal"
            | "events_lost"
            | "outlet_failed"
            | "outlet_not_reopened" => {
                panic!("a fault of the gateway: {}", event.0);
            }
            _ => {}
        }
    }
    let wrong: Vec<_> = open.iter().filter(|(_, ends)| **ends != 1).collect();
    assert!(wrong.is_empty(), "sessions that did not end exactly once: {wrong:?}");
    let last = events.last().map(|event| (event.id(), event.reason()));
    assert_eq!(last, Some((102, "stopped")), "the last event");
}

/// Waits for the end of a child.
///
/// # Panics
/// Where it does not end; it is killed then.
pub fn wait(child: &mut Child) -> ExitStatus {
    let deadline = Deadline::patience();
    until("the end of the program", PATIENCE * 2, || {
        if deadline.has_passed() {
            let _ = child.kill();
        }
        child.try_wait().expect("it is our child")
    })
}

/// Runs the program to its end: exit code, standard output, events and other lines.
pub fn run(arguments: &[&str]) -> (Option<i32>, String, Events) {
    let mut child = spawn(command(None).args(arguments));
    let events = Events::read_from(child.stderr.take().expect("stderr is a pipe"));
    let status = wait(&mut child);
    events.wait_for_end();
    let mut out = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take().expect("a pipe"), &mut out)
        .expect("what it prints is UTF-8");
    (status.code(), out, events)
}

/// The head that a plain client sends.
pub fn connect_head(authority: &str) -> Vec<u8> {
    format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n").into_bytes()
}
