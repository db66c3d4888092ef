//! Each call that a worker makes, failing in each way that a system has.

use std::time::Duration;

use crate::scene::{Busy, Scene};
use crate::strace::{Noted, Strace};
use crate::support::deadline::{PATIENCE, Stopwatch, until};
use crate::support::events::Event;
use crate::support::gateway::{COPY, Kind, ONE_ACCEPTOR, SPLICE, Setup};
use crate::support::server::Server;
use crate::support::tunnel::Tunnel;

/// How long a fault lasts.
const FAULT: Duration = Duration::from_millis(600);
/// In each ms of a fault: twice as many as tunnels and those who come take of a worker that does not spin.
const CALLS_PER_MS: u128 = 10;
/// Rows that are played at one time: most of each is waiting.
const AT_ONCE: usize = 2;

/// One fault, and what may come of it.
struct Row {
    /// The call.
    call: &'static str,
    /// How it fails, in the words of strace(1).
    fault: &'static str,
    /// How tunnels may end that it hits; without one, none may.
    breaks: &'static [&'static str],
    /// Reasons for which newcomers may be refused meanwhile.
    refuses: &'static [&'static str],
    /// What the log says of it as a whole: each reason, and how many lines of it at most.
    tells: &'static [(&'static str, usize)],
    /// How honest it is, and what else is special.
    is: Is,
    /// Whom it meets.
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Is {
    Plain,
    /// No kernel says so: newcomers may wait for an event that does not come.
    Lie,
    /// It hits newcomers' connections themselves.
    Rude,
    /// It must be there before the first tunnel is.
    Early,
    /// It makes the worker copy for good, of which it tells.
    Final,
}

const fn row(call: &'static str, fault: &'static str) -> Row {
    Row { call, fault, breaks: &[], refuses: &[], tells: &[], is: Is::Plain, kind: SPLICE }
}

impl Row {
    const fn breaks(self, breaks: &'static [&'static str]) -> Row {
        Row { breaks, ..self }
    }

    const fn refuses(self, refuses: &'static [&'static str]) -> Row {
        Row { refuses, ..self }
    }

    const fn tells(self, tells: &'static [(&'static str, usize)]) -> Row {
        Row { tells, ..self }
    }

    const fn is(self, is: Is) -> Row {
        Row { is, ..self }
    }

    const fn of(self, kind: Kind) -> Row {
        Row { kind, ..self }
    }
}

const RESETS: &[&str] = &["tunnel.client.reset", "tunnel.remote.reset"];
/// One of each worker.
const SHORTAGE: &[(&str, usize)] = &[("descriptors_exhausted", 2)];
const NO_PIPES: &[(&str, usize)] = &[("pipes_exhausted", 2)];

const SPLICES: &[Row] = &[
    row("splice", "error=EAGAIN:when=3+2").is(Is::Lie),
    row("splice", "error=EINTR:when=2+2"),
    row("splice", "error=ENOMEM:when=3+5"),
    row("splice", "error=ENOSYS").is(Is::Final),
    row("splice", "error=EINVAL:when=4+1").is(Is::Final),
    row("splice", "error=EBADF:when=5+1").is(Is::Final),
    row("splice", "error=EPERM:when=6+1").is(Is::Final),
    row("splice", "error=EPIPE:when=20").breaks(RESETS).is(Is::Rude),
    row("splice", "error=ECONNRESET:when=21").breaks(RESETS).is(Is::Rude),
    row("splice", "delay_enter=20000:when=2+9"),
];

const ACCEPTS: &[Row] = &[
    row("accept4", "error=EMFILE").tells(SHORTAGE),
    row("accept4", "error=ENFILE").tells(SHORTAGE),
    row("accept4", "error=ENOBUFS").tells(SHORTAGE),
    row("accept4", "error=ENOMEM").tells(SHORTAGE),
    row("accept4", "error=ECONNABORTED:when=1+2"),
    row("accept4", "error=EPROTO:when=1+2"),
    row("accept4", "error=ENETDOWN:when=1+2"),
    row("accept4", "error=EPERM:when=1+2"),
    // As of a security module that forbids to accept: the connection stays where it is.
    row("accept4", "error=EPERM").tells(&[("internal", 2)]),
    row("accept4", "error=EINTR:when=1+2"),
    row("accept4", "error=EMFILE").tells(SHORTAGE).of(ONE_ACCEPTOR),
    row("accept4", "error=ECONNABORTED:when=1+2").of(ONE_ACCEPTOR),
    row("accept4", "error=EPERM").tells(&[("internal", 2)]).of(ONE_ACCEPTOR),
];

const PIPES: &[Row] = &[
    row("pipe2", "error=EMFILE").tells(NO_PIPES).is(Is::Early),
    row("pipe2", "error=ENFILE").tells(NO_PIPES).is(Is::Early),
    row("fcntl", "error=EPERM").is(Is::Early),
];

const CONNECTS: &[Row] = &[
    row("connect", "error=EADDRNOTAVAIL").refuses(&["no_source_port"]),
    row("connect", "error=ENETUNREACH").refuses(&["dial_failed"]),
    row("connect", "error=EACCES").refuses(&["dial_failed"]),
    row("connect", "error=EPERM").refuses(&["dial_failed"]),
    row("connect", "error=ETIMEDOUT").refuses(&["dial_failed"]),
    row("connect", "error=ECONNREFUSED").refuses(&["dial_failed"]),
    row("connect", "delay_enter=30000"),
    row("socket", "error=EMFILE").refuses(&["descriptors_exhausted"]),
    row("socket", "error=ENOBUFS").refuses(&["descriptors_exhausted"]),
    row("getsockopt", "error=ENOBUFS").refuses(&["dial_failed", "descriptors_exhausted"]),
    row("getpeername", "error=ENOBUFS").refuses(&["descriptors_exhausted"]),
    row("getsockname", "error=ENOBUFS"),
    row("setsockopt", "error=EINVAL"),
];

const POLLS: &[Row] = &[
    row("epoll_wait", "error=EINTR:when=1+3"),
    row("epoll_ctl", "error=ENOSPC").refuses(&["descriptors_exhausted"]).is(Is::Rude),
    row("epoll_ctl", "error=ENOMEM").refuses(&["descriptors_exhausted"]).is(Is::Rude),
    row("shutdown", "error=ENOTCONN"),
];

const READS: &[Row] = &[
    row("recvfrom", "error=EAGAIN:when=3+2").refuses(&["head_timeout"]).is(Is::Lie),
    row("recvfrom", "error=EINTR:when=2+2"),
    row("recvfrom", "error=ENOMEM:when=3+5"),
    row("recvfrom", "error=ENOMEM:when=3+5").of(COPY),
    row("recvfrom", "error=ECONNRESET:when=30").breaks(RESETS).is(Is::Rude),
    row("recvfrom", "error=ETIMEDOUT:when=31").breaks(RESETS).is(Is::Rude),
];

const WRITES: &[Row] = &[
    row("sendto", "error=EAGAIN:when=3+2").is(Is::Lie),
    row("sendto", "error=EINTR:when=2+2"),
    row("sendto", "error=ENOBUFS:when=3+5"),
    row("sendto", "error=ENOBUFS:when=3+5").of(COPY),
    row("sendto", "error=EPIPE:when=30").breaks(RESETS).is(Is::Rude),
    row("sendto", "error=ECONNRESET:when=31").breaks(RESETS).is(Is::Rude),
];

#[test]
fn splice_fails() {
    play(SPLICES);
}

#[test]
fn accept_fails() {
    play(ACCEPTS);
}

#[test]
fn pipes_fail() {
    play(PIPES);
}

#[test]
fn connect_fails() {
    play(CONNECTS);
}

#[test]
fn the_poll_fails() {
    play(POLLS);
}

#[test]
fn reads_fail() {
    play(READS);
}

#[test]
fn writes_fail() {
    play(WRITES);
}

fn play(rows: &[Row]) {
    let mut failed = Vec::new();
    for rows in rows.chunks(AT_ONCE) {
        std::thread::scope(|scope| {
            let threads: Vec<_> = rows.iter().map(|row| scope.spawn(|| play_one(row))).collect();
            for (row, thread) in rows.iter().zip(threads) {
                if let Err(payload) = thread.join() {
                    // Told here, too: what a thread of a test prints is not kept with its test.
                    let text = payload.downcast_ref::<String>().map_or("no text", String::as_str);
                    failed.push(format!("{} {}: {text}", row.call, row.fault));
                }
            }
        });
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn play_one(row: &Row) {
    let what = format!("{} {}, {}", row.call, row.fault, row.kind);
    let scene = Scene::of(row.kind);
    let (busy, noted, lasted) = if row.is == Is::Early {
        let watch = Stopwatch::start();
        let strace = Strace::inject(&scene.gateway, row.call, row.fault);
        let busy = scene.begin();
        std::thread::sleep(FAULT);
        let lasted = watch.elapsed();
        (busy, strace.end(), lasted)
    } else {
        let busy = scene.begin();
        std::thread::sleep(FAULT / 4);
        let watch = Stopwatch::start();
        let strace = Strace::inject(&busy.scene.gateway, row.call, row.fault);
        let moved = busy.steady.moved();
        std::thread::sleep(FAULT);
        let go_on = format!("{what}: the tunnels go on meanwhile");
        until(&go_on, PATIENCE, || (busy.steady.moved() > moved).then_some(()));
        let lasted = watch.elapsed();
        (busy, strace.end(), lasted)
    };
    let most = CALLS_PER_MS * lasted.as_millis();
    assert!((noted.calls as u128) < most, "{what}: nothing spins: {noted:?} of {most}");
    judge(row, busy, noted, &what);
}

fn judge(row: &Row, busy: Busy, noted: Noted, what: &str) {
    assert!(noted.injected > 0, "{what}: the fault was there: {noted:?}");
    let faults: Vec<_> = row.tells.iter().map(|(reason, _)| *reason).collect();
    let after = busy.recover(&faults, what);
    let lost = after.lost();
    println!("{what}: {noted:?}, lost {lost:?}, {:?}, {:?}", after.unserved(), after.loud());
    for (how, ending) in &lost {
        assert!(row.breaks.contains(ending), "{what}: a tunnel ended by {ending:?} ({how})");
    }
    let unserved = after.unserved();
    for met in unserved.keys() {
        let is_refused = row.refuses.iter().any(|reason| met.contains(&format!("{reason:?}")));
        let is_hit = met.starts_with("Broken") && matches!(row.is, Is::Lie | Is::Rude);
        assert!(is_refused || is_hit, "{what}: a newcomer met {met}");
    }
    if !row.breaks.is_empty() {
        let hit = lost.len() + unserved.values().sum::<usize>();
        assert!(hit <= noted.injected, "{what}: {hit} sessions by {noted:?}");
    }
    if row.is == Is::Final {
        let gave_up = |event: &&Event| event.text("message").contains("refuses splice");
        let lines = after.events.iter().filter(gave_up).count();
        assert!((1..=2).contains(&lines), "{what}: {lines} lines on splicing given up");
    }
    for (reason, lines) in after.loud() {
        let told = row.tells.iter().find(|(told, _)| *told == reason);
        let most = told.map_or(0, |(_, most)| *most);
        let is_refusal = row.refuses.contains(&reason);
        assert!(lines <= most || is_refusal, "{what}: {lines} lines of {reason}");
    }
}

/// A write failed on a connection that shows no end: bytes were lost, so the tunnel could not go on,
/// but only silence ended it, ten minutes later.
#[test]
fn a_tunnel_that_lost_bytes_ends_at_once_even_where_no_side_shows_an_end() {
    for (kind, call) in [(SPLICE, "splice"), (COPY, "sendto")] {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).start();
        let Tunnel { mut client, server } = Tunnel::verified(&gateway, &server);
        let session = gateway.session_of(&client);
        // The first splice fills the pipe.
        let when = if kind == SPLICE { 2 } else { 1 };
        let strace = Strace::inject(&gateway, call, &format!("error=EPIPE:when={when}"));
        client.send(&[1; 30_000]);
        let ended = gateway.end_of(&session);
        assert_eq!(ended.text("ending"), "tunnel.remote.reset", "{kind}");
        assert!(strace.end().injected > 0, "{kind}");
        client.expect_reset();
        drop(server);
        gateway.stop();
    }
}
