//! Two gateways behind a real HAProxy, with the configuration of `docs/load-balancing.md`: agents upload
//! through it while one gateway is killed and comes back, and while the other drains. Every upload is
//! delivered in the end, and the balancer goes by `/healthz`.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/mod.rs"]
mod support;

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::Signal;
use sluice::proto::reply::ESTABLISHED;
use socket2::{Domain, Socket, Type};

use support::deadline::{Stopwatch, until};
use support::events::Event;
use support::folder::Folder;
use support::gateway::{SPLICE, Setup, connect_head};
use support::pattern::Pattern;
use support::port::reserved;
use support::tls;

const DOCUMENT: &str = include_str!("../docs/load-balancing.md");
/// Agents 0 and 1 take a second and more for each upload, so that a drain always finds open tunnels.
const AGENTS: u8 = 8;
const SLOW_AGENTS: u8 = 2;
const UPLOAD_BYTES: usize = 64 * 1024;
const PIECES: usize = 8;
/// How long either end of an upload waits for the other before the agent tries again.
const TRY: Duration = Duration::from_secs(20);
/// How long anything may take, some tries that fail included.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn every_upload_is_delivered_while_gateways_die_come_back_and_drain() {
    let watch = Stopwatch::start();
    let endpoint = Endpoint::start();
    let (one_at, two_at) = (reserved("127.0.0.1"), reserved("127.0.0.1"));
    let gateway = |at: SocketAddr| {
        Setup::new(SPLICE)
            .host(&endpoint.address.to_string())
            .listen(&at.to_string())
            .set("proxy_protocol.from", "[\"127.0.0.1\"]")
            .set("limits.drain_notice_ms", 15_000)
            .set("limits.drain_ms", 60_000)
            .start()
    };
    let (one, two) = (gateway(one_at), gateway(two_at));
    let balancer = Balancer::start(one_at, two_at);
    balancer.wait_for("one", "UP");
    balancer.wait_for("two", "UP");

    let load =
        Arc::new(Load { balancer: balancer.at, target: endpoint.address, ..Load::default() });
    let agents: Vec<_> = (0..AGENTS)
        .map(|agent| {
            let load = Arc::clone(&load);
            std::thread::spawn(move || load.run(agent))
        })
        .collect();
    load.progress(100);

    // Killed, not stopped: what is open is lost, and what comes next goes to the other.
    let of_one = one.events().clone();
    drop(one);
    let killed = Stopwatch::start();
    balancer.wait_for("one", "DOWN");
    let noticed_death = killed.elapsed();
    load.progress(100);
    let retries_by_death = load.retries.load(Relaxed);

    let one = gateway(one_at);
    balancer.wait_for("one", "UP");
    load.progress(100);
    assert!(opened(&one.events().all()) > 0, "the gateway that is back gets agents again");

    let retries_before_drain = load.retries.load(Relaxed);
    two.signal(Signal::TERM);
    let stopped = Stopwatch::start();
    balancer.wait_for("two", "DOWN");
    let noticed_drain = stopped.elapsed();
    // Every refused try is repeated; the gateway's own events are a little late.
    let refused_until_noticed = load.retries.load(Relaxed) - retries_before_drain;
    let two_still_runs = two.events().count(|event| event.reason() == "stopped") == 0;
    let of_two = two.ended();
    let drained_in = stopped.elapsed();
    load.progress(100);

    load.over.store(true, Relaxed);
    let uploads: usize = agents.into_iter().map(|agent| agent.join().unwrap()).sum();
    let (of_one, of_one_again) = (of_one.all(), one.stop());
    let delivered = endpoint.delivered.lock().len();
    println!(
        "{uploads} uploads of {UPLOAD_BYTES} bytes, {delivered} delivered, {} tries repeated \
         ({retries_by_death} by the kill)\n\
         tunnels: one {} before its death and {} after, two {}\n\
         HAProxy noticed the death after {noticed_death:?}, the drain after {noticed_drain:?}; \
         {refused_until_noticed} refused meanwhile; drained in {drained_in:?}; {:?} in all",
        load.retries.load(Relaxed),
        opened(&of_one),
        opened(&of_one_again),
        opened(&of_two),
        watch.elapsed(),
    );
    assert_eq!(delivered, uploads, "uploads that never arrived");
    assert!(two_still_runs && noticed_drain < drained_in, "the port closed before the notice");
    let late = of_two.iter().filter(|event| event.reason() == "draining").count();
    assert!(late <= refused_until_noticed + usize::from(AGENTS), "agents came after the notice");
    let cut = of_two.iter().find(|event| event.text("ending") == "tunnel.gateway.stopping");
    assert!(cut.is_none(), "a drain cuts nobody: {cut:?}");
    for event in of_one.iter().chain(&of_one_again).chain(&of_two) {
        // Of the balancer itself nothing shows, neither its checks nor its connections.
        let client = event.text("client");
        assert!(client.is_empty() || client.starts_with("127.0.7."), "{}", event.0);
    }
}

fn opened(events: &[Event]) -> usize {
    events.iter().filter(|event| event.reason() == "tls_verified").count()
}

/// HAProxy with the configuration of the document, at addresses of this machine.
struct Balancer {
    child: Child,
    at: SocketAddr,
    socket: PathBuf,
    _folder: Folder,
}

impl Balancer {
    fn start(one: SocketAddr, two: SocketAddr) -> Balancer {
        let folder = Folder::new();
        let (at, socket) = (reserved("127.0.0.1"), folder.path().join("stats"));
        let (_, text) = DOCUMENT.split_once("```haproxy\n").expect("a configuration for HAProxy");
        let (text, _) = text.split_once("```").expect("its end");
        let mut text = text.to_owned();
        for (documented, here) in [
            ("/run/haproxy/sluice.sock", socket.to_str().unwrap().to_owned()),
            // Descriptors for so many are not to be had everywhere.
            ("maxconn 20000", "maxconn 400".to_owned()),
            ("bind :8080", format!("bind {at}")),
            ("10.0.0.11:8080 check port 8080", format!("{one} check port {}", one.port())),
            ("10.0.0.12:8080 check port 8080", format!("{two} check port {}", two.port())),
        ] {
            assert_eq!(text.matches(documented).count(), 1, "{documented} in the document");
            text = text.replace(documented, &here);
        }
        let file = folder.write("haproxy.cfg", &text);
        let child = ["haproxy", "/usr/sbin/haproxy"].iter().find_map(|program| {
            let mut command = Command::new(program);
            command.arg("-db").arg("-f").arg(&file).stdin(Stdio::null()).spawn().ok()
        });
        let child = child.expect("no haproxy here: apt-get install haproxy, or run .ci/install");
        Balancer { child, at, socket, _folder: folder }
    }

    /// Waits until it holds a gateway for so.
    fn wait_for(&self, server: &str, status: &str) {
        until(&format!("{server} is {status}"), PATIENCE, || {
            let stats = self.stats().ok()?;
            stats.lines().find_map(|line| {
                let fields: Vec<&str> = line.split(',').collect();
                let fits = fields.len() > 36 && fields[0] == "agents" && fields[1] == server;
                // Before the first check it is UP already; only then does field 36 tell of a check.
                let is_checked = fits && !fields[36].is_empty() && !fields[36].contains("INI");
                (is_checked && fields[17] == status).then_some(())
            })
        });
    }

    fn stats(&self) -> io::Result<String> {
        let mut socket = UnixStream::connect(&self.socket)?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        socket.write_all(b"show stat\n")?;
        let mut text = String::new();
        socket.read_to_string(&mut text)?;
        Ok(text)
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        // Already gone where its configuration was wrong.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Takes uploads, each with its number in front, and says so once it has all of one.
struct Endpoint {
    address: SocketAddr,
    delivered: Arc<Mutex<HashSet<u64>>>,
}

impl Endpoint {
    fn start() -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let delivered = Arc::<Mutex<HashSet<u64>>>::default();
        let all = Arc::clone(&delivered);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let delivered = Arc::clone(&all);
                // A tunnel that dies under an upload is an error here, and the agent's to repeat.
                std::thread::spawn(move || serve(stream, &delivered));
            }
        });
        Endpoint { address, delivered }
    }
}

fn serve(mut stream: TcpStream, delivered: &Mutex<HashSet<u64>>) -> io::Result<()> {
    stream.set_read_timeout(Some(TRY))?;
    let mut hello = vec![0; tls::hello(None).len()];
    stream.read_exact(&mut hello)?;
    stream.write_all(&tls::answer())?;
    let mut number = [0; 8];
    stream.read_exact(&mut number)?;
    let mut body = Vec::new();
    stream.read_to_end(&mut body)?;
    let number = u64::from_be_bytes(number);
    if body == upload(number) {
        delivered.lock().insert(number);
        stream.write_all(b"ok")?;
    }
    Ok(())
}

/// The bytes of an upload: others for each number.
fn upload(number: u64) -> &'static [u8] {
    Pattern::from(number.wrapping_mul(7_919)).slice(0, UPLOAD_BYTES)
}

/// What all agents share.
struct Load {
    balancer: SocketAddr,
    target: SocketAddr,
    over: AtomicBool,
    done: AtomicUsize,
    retries: AtomicUsize,
}

impl Default for Load {
    fn default() -> Load {
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Load {
            balancer: nowhere,
            target: nowhere,
            over: AtomicBool::new(false),
            done: AtomicUsize::new(0),
            retries: AtomicUsize::new(0),
        }
    }
}

impl Load {
    /// One agent until the end: a tunnel per upload, again and again until it is delivered.
    fn run(&self, agent: u8) -> usize {
        let mut uploads = 0;
        while !self.over.load(Relaxed) {
            let number = u64::from(agent) << 32 | uploads as u64;
            until("the upload is delivered", PATIENCE, || {
                let delivered = self.try_upload(agent, number);
                if delivered.is_err() {
                    self.retries.fetch_add(1, Relaxed);
                    std::thread::sleep(Duration::from_millis(50));
                }
                delivered.ok()
            });
            uploads += 1;
            self.done.fetch_add(1, Relaxed);
        }
        uploads
    }

    fn try_upload(&self, agent: u8, number: u64) -> io::Result<()> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        let own = SocketAddr::from((IpAddr::from([127, 0, 7, agent + 1]), 0));
        socket.bind(&own.into())?;
        socket.connect_timeout(&self.balancer.into(), TRY)?;
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(TRY))?;
        stream.write_all(&connect_head(&self.target.to_string()))?;
        expect(&mut stream, ESTABLISHED)?;
        stream.write_all(&tls::hello(None))?;
        expect(&mut stream, &tls::answer())?;
        stream.write_all(&number.to_be_bytes())?;
        let pause = if agent < SLOW_AGENTS { 150 } else { 5 };
        for piece in upload(number).chunks(UPLOAD_BYTES / PIECES) {
            stream.write_all(piece)?;
            std::thread::sleep(Duration::from_millis(pause));
        }
        stream.shutdown(Shutdown::Write)?;
        expect(&mut stream, b"ok")
    }

    /// Waits for so many more uploads.
    fn progress(&self, more: usize) {
        let goal = self.done.load(Relaxed) + more;
        until("uploads go on", PATIENCE, || (self.done.load(Relaxed) >= goal).then_some(()));
    }
}

fn expect(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    let mut came = vec![0; bytes.len()];
    stream.read_exact(&mut came)?;
    if came == bytes { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}
