//! Pipes that are small, that cannot be had, and that nobody empties.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::pipe::{PipeFlags, fcntl_getpipe_size, pipe_with};
use socket2::SockRef;

use crate::rest::Rest;
use crate::support::deadline::{Deadline, PATIENCE, until};
use crate::support::folder::Folder;
use crate::support::gateway::{CARRIERS, Gateway, PROGRAM, SPLICE, Setup, each};
use crate::support::pattern::Pattern;
use crate::support::peer::Peer;
use crate::support::process::{
    as_user, count_descriptors, limit_open_files, lowest_free_descriptor, pipe_sizes,
    raise_own_open_files, resident_bytes,
};
use crate::support::server::Server;
use crate::support::tls;
use crate::support::tunnel::Tunnel;

/// A user whom nothing else of this machine runs as.
const USER: u32 = 61_187;
/// What a user gets who has used up the quota of pipe pages.
const SMALL_PIPE_BYTES: usize = 8 * 1024;

/// Takes pipes until the system gives this user small ones only. `None` where it never does.
fn use_up_pipes(user: Option<u32>) -> Option<Vec<(OwnedFd, OwnedFd)>> {
    let take = || {
        let mut taken = Vec::new();
        while taken.len() < 2_000 {
            let pipe = pipe_with(PipeFlags::CLOEXEC).unwrap();
            let size = fcntl_getpipe_size(&pipe.0).unwrap();
            taken.push(pipe);
            if size <= SMALL_PIPE_BYTES {
                return Some(taken);
            }
        }
        None
    };
    match user {
        Some(user) => as_user(user, take),
        None => take(),
    }
}

/// A gateway that runs as another user, with a copy of the program that this user may run.
fn start_as(user: Option<u32>, setup: &Setup) -> Gateway {
    let folder = Folder::new();
    let program = folder.path().join("sluice");
    // A child copies it: whatever a test beside this one starts meanwhile would inherit our descriptor
    // of it, and what is open for writing does not run.
    let copied = Command::new("cp").arg(PROGRAM).arg(&program).status().unwrap();
    assert!(copied.success(), "{copied}");
    for path in [folder.path(), &program] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let file = folder.write("sluice.toml", &setup.text());
    let mut command = Command::new(&program);
    command.args(["run", "--config"]).arg(&file).env_remove("SLUICE_CONFIG");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(user) = user {
        command.uid(user).gid(user);
    }
    Gateway::started_by(command, file, folder)
}

/// Beyond the quota of an ordinary user a pipe has two slots, and a slot with one byte left in it is as
/// taken as a full one.
#[test]
fn pipes_of_two_slots_carry_everything() {
    raise_own_open_files();
    // Root is given large pipes whatever it has.
    let user = rustix::process::geteuid().is_root().then_some(USER);
    let Some(taken) = use_up_pipes(user) else {
        println!("skipped: this system sets no quota of pipe pages (fs.pipe-user-pages-soft)");
        return;
    };
    let server = Server::start();
    let gateway = start_as(user, &Setup::new(SPLICE).reach(&server).workers(1).admin());
    let rest = Rest::of(&gateway);
    let own = count_descriptors(gateway.pid(), "pipe:");
    for (segments, len, bite) in [(200, 100, 700), (3_000, 1, 97), (400, 1_000, 4_097)] {
        let Tunnel { mut client, mut server } = Tunnel::verified(&gateway, &server);
        // A reader that has stopped leaves bytes in the pipe, which shows its size. A gateway that stood
        // still for a while looks as full.
        let mut sent = 0;
        let small = until("both ends of a pipe in use", PATIENCE, || {
            sent += client.send_until_full(Duration::from_millis(50), 64 << 20);
            let sizes = pipe_sizes(gateway.pid());
            (sizes.len() >= own + 2).then(|| sizes.into_iter().filter(|&it| it <= SMALL_PIPE_BYTES))
        });
        assert!(small.count() >= 2, "both ends of a small pipe: {:?}", pipe_sizes(gateway.pid()));
        let pattern = Pattern::from(segments);
        let sending = std::thread::spawn(move || {
            pattern.write(&mut client.stream, 0, segments * len, len as usize).unwrap();
            client.fin();
            client
        });
        let skipped =
            std::io::copy(&mut std::io::Read::take(&mut server.stream, sent), &mut std::io::sink());
        assert_eq!(skipped.unwrap(), sent);
        let mut buffer = vec![0; bite];
        let mut at = 0;
        loop {
            let read = pattern.read(&mut server.stream, at, &mut buffer).unwrap() as u64;
            if read == 0 {
                break;
            }
            at += read;
        }
        assert_eq!(at, segments * len);
        drop((sending.join().unwrap(), server));
    }
    let counted = rest.wait("small pipes");
    assert_eq!(counted.get("sluice_errors_total"), 0, "a small pipe is no error");
    counted.expect_exact(&gateway.stop(), "small pipes");
    drop(taken);
}

/// Without a descriptor for a pipe, a tunnel copies; with one again, it splices again.
#[test]
fn a_tunnel_that_can_have_no_pipe_copies() {
    let server = Server::start();
    let gateway = Setup::new(SPLICE).reach(&server).workers(1).admin().start();
    let rest = Rest::of(&gateway);
    let pid = gateway.pid();
    let own = count_descriptors(pid, "pipe:");
    let tunnel = Tunnel::verified(&gateway, &server);
    rest.wait_for_sockets(2);
    let limit = limit_open_files(pid, Some(lowest_free_descriptor(pid)));
    let pattern = Pattern::from(51);
    let mut at = 0;
    let mut carry = |bytes: u64| {
        let (client, server) = (&tunnel.client.stream, &tunnel.server.stream);
        for (mut from, mut to) in [(client, server), (server, client)] {
            std::thread::scope(|scope| {
                scope.spawn(move || pattern.write(&mut from, at, at + bytes, 1 << 16).unwrap());
                let (mut read, mut buffer) = (0, vec![0; 1 << 16]);
                while read < bytes {
                    read += pattern.read(&mut to, at + read, &mut buffer).unwrap() as u64;
                }
            });
        }
        at += bytes;
    };
    (0..3).for_each(|_| carry(2 << 20));
    assert_eq!(count_descriptors(pid, "pipe:"), own);
    let told = gateway.events().first("pipes_exhausted");
    assert_eq!((told.id(), told.text("level")), (400, "error"));
    limit_open_files(pid, limit);
    until("it splices again", PATIENCE, || {
        carry(1 << 20);
        (count_descriptors(pid, "pipe:") > own).then_some(())
    });
    drop(tunnel);
    let counted = rest.wait("no pipes");
    assert_eq!(counted.get("sluice_errors_total"), 1, "one shortage is one error");
    counted.expect_exact(&gateway.stop(), "no pipes");
}

/// What stalled readers do not take stays with its senders.
#[test]
fn stalled_readers_cost_no_more_than_the_pools_hold() {
    stall(300);
}

/// More of them than there are pipes: the others copy.
#[test]
#[ignore = "2 GiB of socket buffers; run by cargo test --release --test strain -- --ignored long_"]
fn long_a_thousand_stalled_readers() {
    stall(1_000);
}

fn stall(tunnels: usize) {
    const PIPES_MAX: u64 = 512;
    raise_own_open_files();
    // One after the other, as the system's memory for sockets is limited.
    for kind in CARRIERS {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).workers(1).admin().start();
        let rest = Rest::of(&gateway);
        let mut warm = Tunnel::verified(&gateway, &server);
        let mut stalled: Vec<Tunnel> = (0..tunnels)
            .map(|_| {
                let mut tunnel = Tunnel {
                    client: with_small_window(&gateway, &server),
                    server: server.accept(),
                };
                tunnel.shake_hands();
                // What is under way should be held by the gateway, and not by its neighbours.
                SockRef::from(&tunnel.server.stream).set_send_buffer_size(8_192).unwrap();
                tunnel
            })
            .collect();
        let before = resident_bytes(gateway.pid());
        let mut sent = 0;
        let deadline = Deadline::after(PATIENCE * 3);
        let [pipes, buffers] = loop {
            sent += flood(stalled.iter_mut().map(|tunnel| &mut tunnel.server.stream).collect());
            let told = rest.admin().metrics();
            let held = ["sluice_pipes_out", "sluice_buffers_out"].map(|name| told[name] as u64);
            // Nobody takes more of a gateway that stands still, either.
            if held.iter().sum::<u64>() == tunnels as u64 || deadline.has_passed() {
                break held;
            }
        };
        println!("{kind}: {} KiB a tunnel", (sent >> 10) / tunnels as u64);
        let grown = resident_bytes(gateway.pid()).saturating_sub(before);
        assert!(grown < 32 << 20, "{kind}: grown by {} KiB", grown >> 10);
        let spliced = if kind == SPLICE { PIPES_MAX.min(tunnels as u64) } else { 0 };
        assert_eq!((pipes, pipes + buffers), (spliced, tunnels as u64), "{kind}");
        // Whoever reads goes on.
        warm.client.send(b"unhindered");
        warm.server.expect(b"unhindered");
        let read = stalled[tunnels / 2].client.read_exact(20_000);
        assert!(read.iter().all(|&byte| byte == 0x5a), "{kind}");
        drop(warm);
        for tunnel in stalled {
            tunnel.client.reset();
        }
        let counted = rest.wait(&format!("{kind}"));
        counted.expect_exact(&gateway.stop(), &format!("{kind}"));
    }
}

/// Opens a tunnel as a client that takes little before it reads.
fn with_small_window(gateway: &Gateway, server: &Server) -> Peer {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    // The system keeps room for so many segments, so that small ones fill it soon.
    socket.set_tcp_mss(536).unwrap();
    socket.connect(&gateway.address().into()).unwrap();
    let mut client = Peer::new(socket.into());
    client.send(&crate::support::gateway::connect_head(&server.authority()));
    client.expect(sluice::proto::reply::ESTABLISHED);
    client
}

/// Sends on all of these at once until none takes any more; how many bytes in all.
fn flood(mut streams: Vec<&mut TcpStream>) -> u64 {
    let piece = [0x5a; 64 * 1024];
    streams.iter().for_each(|stream| stream.set_nonblocking(true).unwrap());
    let deadline = Deadline::after(PATIENCE * 3);
    let (mut sent, mut quiet) = (0, 0);
    while quiet < 10 {
        assert!(!deadline.has_passed(), "{sent} bytes are taken, and still more");
        let before = sent;
        for stream in &mut streams {
            match stream.write(&piece) {
                Ok(written) => sent += written as u64,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
        }
        quiet = if sent == before { quiet + 1 } else { 0 };
        if quiet > 0 {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    streams.iter().for_each(|stream| stream.set_nonblocking(false).unwrap());
    sent
}

/// Raises a flag when it goes, however that comes.
struct Raised<'a>(&'a AtomicBool);

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// One tunnel takes all it can get; five hundred others get each of their small messages through, and
/// the large one goes on meanwhile.
#[test]
fn small_tunnels_are_served_beside_one_flat_out() {
    const SMALL: usize = 500;
    const ROUNDS_MIN: usize = 4;
    const CARRIED_BYTES_MIN: u64 = 32 << 20;
    raise_own_open_files();
    each(CARRIERS, |kind| {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).workers(1).admin().start();
        let rest = Rest::of(&gateway);
        let busy = Tunnel::verified(&gateway, &server);
        let mut small: Vec<_> = (0..SMALL).map(|_| Tunnel::verified(&gateway, &server)).collect();
        let (stop, carried) = (AtomicBool::new(false), AtomicU64::new(0));
        let mut rounds = 0;
        std::thread::scope(|scope| {
            let (mut source, mut sink) = (busy.client, busy.server);
            let (stop, carried) = (&stop, &carried);
            let pattern = Pattern::from(52);
            scope.spawn(move || {
                let mut at = 0;
                while !stop.load(Ordering::Acquire) {
                    pattern.write(&mut source.stream, at, at + (1 << 18), 1 << 18).unwrap();
                    at += 1 << 18;
                }
                source.fin();
            });
            scope.spawn(move || {
                let (mut at, mut buffer) = (0, vec![0; 1 << 17]);
                loop {
                    let read = pattern.read(&mut sink.stream, at, &mut buffer).unwrap() as u64;
                    if read == 0 {
                        return;
                    }
                    at += read;
                    carried.store(at, Ordering::Release);
                }
            });
            // A test that fails must end, too.
            let _stop = Raised(stop);
            let deadline = Deadline::after(PATIENCE * 3);
            while rounds < ROUNDS_MIN || carried.load(Ordering::Acquire) < CARRIED_BYTES_MIN {
                assert!(!deadline.has_passed(), "{kind}: {carried:?} bytes in {rounds} rounds");
                rounds += 1;
                for tunnel in &mut small {
                    tunnel.client.send(b"ping");
                    tunnel.server.expect(b"ping");
                    tunnel.server.send(b"pong");
                    tunnel.client.expect(b"pong");
                }
                println!("{kind}: {carried:?} bytes in {rounds} rounds");
            }
        });
        drop(small);
        let counted = rest.wait(&format!("{kind}"));
        assert_eq!(counted.get("sluice_sessions_total"), SMALL as u64 + 1);
        let hellos = (SMALL as u64 + 1) * tls::hello(None).len() as u64;
        let up = hellos + carried.into_inner() + (SMALL * rounds * 4) as u64;
        assert_eq!(counted.get("sluice_bytes_total{direction=\"up\"}"), up, "{kind}");
        counted.expect_exact(&gateway.stop(), &format!("{kind}"));
    });
}
