//! Agents that upload and try again, while their relay proxy is killed and comes back.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use sluice::proto::reply::ESTABLISHED;

use crate::programs::{PASSWORD, Program};
use crate::support::deadline::{PATIENCE, until};
use crate::support::folder::Folder;
use crate::support::gateway::{Gateway, SPLICE, connect_head};
use crate::support::pattern::Pattern;
use crate::support::tls;
use crate::through;

const AGENTS: u64 = 4;
const UPLOAD_BYTES: u64 = 64 * 1024;

/// An endpoint that shakes hands, takes one upload, compares every byte, and says so.
struct Endpoint {
    address: SocketAddr,
    taken: Arc<AtomicUsize>,
}

impl Endpoint {
    fn start() -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let taken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&taken);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let count = Arc::clone(&count);
                std::thread::spawn(move || {
                    // What a killed relay proxy cuts off is tried again.
                    if take_upload(stream).is_ok() {
                        count.fetch_add(1, Relaxed);
                    }
                });
            }
        });
        Endpoint { address, taken }
    }
}

fn take_upload(mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut hello = vec![0; tls::hello(None).len()];
    stream.read_exact(&mut hello)?;
    stream.write_all(&tls::answer())?;
    let mut at = 0;
    let mut buffer = vec![0; 16 * 1024];
    while at < UPLOAD_BYTES {
        match Pattern::from(3).read(&mut stream, at, &mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => at += read as u64,
        }
    }
    stream.write_all(b"taken")
}

/// Agents at work.
struct Load {
    over: Arc<AtomicBool>,
    delivered: Arc<AtomicUsize>,
    failed: Arc<AtomicUsize>,
    agents: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    fn start(gateway: &Gateway, endpoint: &Endpoint) -> Load {
        let mut load = Load {
            over: Arc::default(),
            delivered: Arc::default(),
            failed: Arc::default(),
            agents: Vec::new(),
        };
        for _ in 0..AGENTS {
            let (over, delivered) = (Arc::clone(&load.over), Arc::clone(&load.delivered));
            let (failed, at) = (Arc::clone(&load.failed), gateway.address());
            let target = endpoint.address.to_string();
            load.agents.push(std::thread::spawn(move || {
                while !over.load(Relaxed) {
                    let outcome = upload(at, &target);
                    let counter = if outcome.is_ok() { &delivered } else { &failed };
                    counter.fetch_add(1, Relaxed);
                    std::thread::sleep(Duration::from_millis(10));
                }
            }));
        }
        load
    }

    /// Waits until so many more have been delivered.
    fn progress(&self, uploads: usize) {
        let before = self.delivered.load(Relaxed);
        until("uploads go on", PATIENCE, || {
            (self.delivered.load(Relaxed) >= before + uploads).then_some(())
        });
    }

    /// Waits until one more has failed.
    fn failure(&self) {
        let before = self.failed.load(Relaxed);
        until("an upload fails", PATIENCE, || (self.failed.load(Relaxed) > before).then_some(()));
    }

    fn finish(self) -> (usize, usize) {
        self.over.store(true, Relaxed);
        self.agents.into_iter().for_each(|agent| agent.join().unwrap());
        (self.delivered.load(Relaxed), self.failed.load(Relaxed))
    }
}

fn upload(gateway: SocketAddr, target: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&gateway, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&connect_head(target))?;
    let mut reply = vec![0; ESTABLISHED.len()];
    stream.read_exact(&mut reply)?;
    if reply != ESTABLISHED {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    stream.write_all(&tls::hello(None))?;
    let mut answer = vec![0; tls::answer().len()];
    stream.read_exact(&mut answer)?;
    Pattern::from(3).write(&mut stream, 0, UPLOAD_BYTES, 10_000)?;
    // No end before the answer: squid and others would cut the answer off with it.
    let mut taken = [0; 5];
    stream.read_exact(&mut taken)?;
    if taken == *b"taken" { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// The only one dies and comes back: what fails meanwhile fails at once, and then all goes on.
#[test]
fn uploads_go_on_when_the_only_relay_proxy_is_back() {
    for program in [Program::Squid, Program::Tinyproxy, Program::Sluice] {
        let (endpoint, folder) = (Endpoint::start(), Folder::new());
        let mut relay_proxy = program.start(endpoint.address.port());
        let setup = through(SPLICE, &[&relay_proxy], &folder, PASSWORD);
        let gateway = setup.host(&endpoint.address.to_string()).start();
        let load = Load::start(&gateway, &endpoint);
        load.progress(20);
        relay_proxy.kill();
        load.failure();
        relay_proxy.start();
        load.progress(20);
        let (delivered, failed) = load.finish();
        println!("{program:?}: {delivered} uploads delivered, {failed} tries failed");
        assert!(endpoint.taken.load(Relaxed) >= delivered);
        let events = gateway.stop();
        let told = |reason: &str| events.iter().filter(|event| event.reason() == reason).count();
        assert_eq!(told("relay_proxy_lost"), told("relay_proxy_reached"), "{program:?}");
        assert!(told("relay_proxy_lost") >= 1, "{program:?}");
    }
}

/// Of two, the second takes over and the first is back in its time; of the tries after the death only
/// those fail whose tunnels died with it.
#[test]
fn the_second_relay_proxy_takes_over() {
    let (endpoint, folder) = (Endpoint::start(), Folder::new());
    let mut first = Program::Squid.start(endpoint.address.port());
    let second = Program::Tinyproxy.start(endpoint.address.port());
    let setup = through(SPLICE, &[&first, &second], &folder, PASSWORD);
    let gateway = setup.host(&endpoint.address.to_string()).start();
    let load = Load::start(&gateway, &endpoint);
    load.progress(20);
    first.kill();
    load.progress(40);
    first.start();
    let back =
        gateway.events().wait_for(PATIENCE, &|event| event.reason() == "relay_proxy_reached");
    let back = back.expect("the first is tried again after a while");
    assert!(back.text("message").contains(&first.address().to_string()), "{back:?}");
    load.progress(20);
    let (delivered, failed) = load.finish();
    println!("{delivered} uploads delivered, {failed} tries failed with the first");
    assert!(failed <= AGENTS as usize, "{failed} tries failed");
    assert!(endpoint.taken.load(Relaxed) >= delivered);
    gateway.stop();
}
