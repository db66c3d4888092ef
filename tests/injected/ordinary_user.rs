//! A gateway without privileges: the system gives an ordinary user 1,024 pipes of full size in all, and
//! smaller ones, which cannot grow, after that.

use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, getuid, setrlimit};
use socket2::SockRef;

use crate::support::admin::Admin;
use crate::support::deadline::{PATIENCE, until};
use crate::support::folder::Folder;
use crate::support::gateway::{Gateway, PROGRAM, SPLICE, Setup, connect_head, wait};
use crate::support::pattern::Pattern;
use crate::support::peer::Peer;
use crate::support::tls;

const TUNNELS: usize = 2_000;
/// What each client sends: more than fits into the sockets on its way while nobody reads.
const UPLOAD_BYTES: u64 = 144 * 1024;
/// What servers send back at the same time.
const ANSWER_BYTES: u64 = 20_000;
/// Small segments and a small window keep the bytes with the gateway.
const SEGMENT_BYTES: u32 = 1_400;
const WINDOW_BYTES: usize = 8 * 1024;
/// Pipes of somebody else of the same user: with those of the gateway more than get the full size.
const PIPES_ELSEWHERE: u32 = 900;
/// Of this process, and less of the gateway.
const DESCRIPTORS_NEEDED: u64 = 8_192;
const FULL_SIZE_BYTES: usize = 64 * 1024;
const NOBODY: &str = "65534";

/// A command that runs another one as an ordinary user.
fn as_ordinary_user(program: &str) -> Command {
    if !getuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", program]);
    command
}

/// Somebody of the same user who holds pipes until this is dropped.
struct Holder(Child);

impl Holder {
    fn of_pipes(count: u32) -> Holder {
        let script = format!(
            "import os, resource, sys\n\
             resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))\n\
             held = [os.pipe() for _ in range({count})]\n\
             print('held', flush=True)\n\
             sys.stdin.read()"
        );
        let mut command = as_ordinary_user("/usr/bin/python3");
        command.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("python3 is missing: see .ci/install");
        let mut told = [0; 5];
        let mut out = child.stdout.take().expect("a pipe");
        io::Read::read_exact(&mut out, &mut told).expect("it holds its pipes");
        Holder(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        wait(&mut self.0);
    }
}

/// 2,000 tunnels in the middle of an upload that nobody reads yet: pipes of full size, small ones and
/// buffers hold their bytes, and all of them arrive.
#[test]
fn two_thousand_busy_tunnels_of_an_ordinary_user_lose_nothing() {
    let limit = getrlimit(Resource::Nofile);
    if limit.maximum.is_some_and(|most| most < DESCRIPTORS_NEEDED) {
        println!("skipped: {TUNNELS} tunnels need {DESCRIPTORS_NEEDED} descriptors: {limit:?}");
        return;
    }
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let _holder = Holder::of_pipes(PIPES_ELSEWHERE);
    // The kernel remembers by address how much was on its way at one time, and makes room for it.
    let [_, _, third, fourth] = std::process::id().to_be_bytes();
    let server = TcpListener::bind((Ipv4Addr::new(127, 77, third, fourth), 0)).unwrap();
    // Those that are accepted inherit both.
    SockRef::from(&server).set_recv_buffer_size(WINDOW_BYTES).unwrap();
    SockRef::from(&server).set_tcp_mss(SEGMENT_BYTES).unwrap();
    let authority = server.local_addr().unwrap().to_string();
    let gateway = start(Setup::new(SPLICE).host(&authority).level("info").admin());
    let admin = Admin::of(&gateway);

    let mut tunnels: Vec<_> = (0..TUNNELS).map(|_| open(&gateway, &server, &authority)).collect();
    let (up, down) = (Pattern::from(11), Pattern::from(12));
    let mut sent = vec![0; TUNNELS];
    let all = UPLOAD_BYTES * TUNNELS as u64;
    until("all is sent, or nobody takes more", PATIENCE * 3, || {
        let before: u64 = sent.iter().sum();
        for ((client, _), sent) in tunnels.iter_mut().zip(&mut sent) {
            push(&mut client.stream, up, sent);
        }
        let after: u64 = sent.iter().sum();
        std::thread::sleep(Duration::from_millis(50));
        (after == all || after == before).then_some(())
    });
    let (pipes, buffers) = until("the gateway holds bytes of most", PATIENCE * 3, || {
        let held = admin.metrics();
        let (pipes, buffers) = (held["sluice_pipes_out"], held["sluice_buffers_out"]);
        (pipes + buffers >= 0.9 * TUNNELS as f64).then_some((pipes, buffers))
    });
    println!("{pipes} pipes and {buffers} buffers hold bytes");
    assert!(pipes >= 256.0 && buffers >= 256.0, "{pipes} pipes, {buffers} buffers");
    let sizes = pipe_sizes(gateway.pid());
    let small = sizes.iter().filter(|&&bytes| bytes < FULL_SIZE_BYTES).count();
    println!("{small} of {} ends belong to small pipes", sizes.len());
    assert!(small > 0 && small < sizes.len(), "{small} of {}", sizes.len());

    for (_, server) in &mut tunnels {
        server.stream.write_all(down.slice(0, ANSWER_BYTES as usize)).unwrap();
    }
    finish(&mut tunnels, &mut sent, up, down);
    drop(tunnels);
    until("all is given back", PATIENCE, || {
        let metrics = admin.metrics();
        let held = ["pipes_out", "buffers_out", "active_client_connections"];
        held.iter().all(|gauge| metrics[&format!("sluice_{gauge}")] == 0.0).then_some(())
    });
    let (status, events) = gateway.stop_by(rustix::process::Signal::TERM);
    assert!(status.success(), "{status}");
    let ended = events.iter().filter(|event| event.reason() == "session_ended");
    assert_eq!(ended.count(), TUNNELS);
    let loud: Vec<_> = events.iter().filter(|event| event.text("level") != "info").collect();
    assert!(loud.len() <= 2, "{loud:?}");
}

/// The sizes of its pipes, once for each end that can be looked at.
fn pipe_sizes(pid: u32) -> Vec<usize> {
    let folder = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("the process runs");
    let pipes = folder.flatten().filter(|entry| {
        let link = std::fs::read_link(entry.path()).unwrap_or_default();
        link.to_string_lossy().starts_with("pipe:")
    });
    // Its standard output and error are pipes of ours.
    let own = |entry: &std::fs::DirEntry| entry.file_name().len() > 1;
    let opened = pipes.filter(own).filter_map(|entry| std::fs::File::open(entry.path()).ok());
    opened.filter_map(|pipe| rustix::pipe::fcntl_getpipe_size(&pipe).ok()).collect()
}

/// The program may lie where the ordinary user must not look.
fn start(setup: Setup) -> Gateway {
    let folder = Folder::new();
    let program = folder.path().join("sluice");
    // A child copies it: whatever a test beside this one starts meanwhile would inherit our descriptor
    // of it, and what is open for writing does not run.
    let copied = Command::new("cp").arg(PROGRAM).arg(&program).status().unwrap();
    assert!(copied.success(), "{copied}");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let file = folder.write("sluice.toml", &setup.text());
    let mut command = as_ordinary_user(program.to_str().unwrap());
    command.args(["run", "--config"]).arg(&file);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Gateway::started_by(command, file, folder)
}

fn open(gateway: &Gateway, server: &TcpListener, authority: &str) -> (Peer, Peer) {
    let mut client = gateway.connect();
    client.send(&connect_head(authority));
    client.expect(sluice::proto::reply::ESTABLISHED);
    let mut server = Peer::new(server.accept().unwrap().0);
    let (hello, answer) = (tls::hello(None), tls::answer());
    client.send(&hello);
    server.expect(&hello);
    server.send(&answer);
    client.expect(&answer);
    client.stream.set_nonblocking(true).unwrap();
    (client, server)
}

/// Sends what is taken now.
fn push(stream: &mut TcpStream, pattern: Pattern, sent: &mut u64) {
    while *sent < UPLOAD_BYTES {
        match stream.write(pattern.slice(*sent, (UPLOAD_BYTES - *sent) as usize)) {
            Ok(written) => *sent += written as u64,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error} after {sent} bytes"),
        }
    }
}

/// Reads and sends in turn until every tunnel has carried all of it, both ways.
fn finish(tunnels: &mut [(Peer, Peer)], sent: &mut [u64], up: Pattern, down: Pattern) {
    let mut got = vec![(0, 0); tunnels.len()];
    for (_, server) in tunnels.iter() {
        server.stream.set_nonblocking(true).unwrap();
    }
    until("all has arrived", PATIENCE * 6, || {
        let lanes = tunnels.iter_mut().zip(sent.iter_mut()).zip(&mut got);
        for (((client, server), sent), (got_up, got_down)) in lanes {
            push(&mut client.stream, up, sent);
            pull(&mut server.stream, up, got_up);
            pull(&mut client.stream, down, got_down);
        }
        got.iter().all(|&got| got == (UPLOAD_BYTES, ANSWER_BYTES)).then_some(())
    });
}

/// Reads and compares what is there now.
fn pull(stream: &mut TcpStream, pattern: Pattern, got: &mut u64) {
    let mut bytes = [0; 16 * 1024];
    loop {
        match pattern.read(stream, *got, &mut bytes) {
            Ok(0) => panic!("the end after {got} bytes"),
            Ok(read) => *got += read as u64,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error} after {got} bytes"),
        }
    }
}
