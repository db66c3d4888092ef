//! Random transfers, and very long ones: what arrives is what was sent, byte for byte.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::Duration;

use crate::support::gateway::{COPY, Gateway, Kind, ONE_ACCEPTOR, SPLICE, Setup};
use crate::support::pattern::Pattern;
use crate::support::peer::Peer;
use crate::support::random::Random;
use crate::support::server::Server;
use crate::support::tunnel::Tunnel;

/// Tunnels that are open at one time.
const LANES: usize = 8;
const BYTES_MAX: usize = 300_000;

#[test]
fn random_transfers_by_splice_arrive_as_they_were_sent() {
    transfer_many(SPLICE, 2_000);
}

#[test]
fn random_transfers_by_copy_arrive_as_they_were_sent() {
    transfer_many(COPY, 2_000);
}

#[test]
fn random_transfers_through_one_acceptor_arrive_as_they_were_sent() {
    transfer_many(ONE_ACCEPTOR, 400);
}

fn transfer_many(kind: Kind, transfers: usize) {
    let mut random = Random::of_this_run();
    let servers: Vec<Server> = (0..LANES).map(|_| Server::start()).collect();
    let gateway = servers.iter().fold(Setup::new(kind), Setup::reach).start();
    let moved: u64 = std::thread::scope(|scope| {
        let gateway = &gateway;
        let lanes: Vec<_> = servers
            .into_iter()
            .map(|server| {
                let mut random = Random::seeded(random.next());
                scope.spawn(move || {
                    let one = |_| transfer(gateway, &server, &mut random);
                    (0..transfers / LANES).map(one).sum::<u64>()
                })
            })
            .collect();
        lanes.into_iter().map(|lane| lane.join().expect("see the failure above")).sum()
    });
    println!("{kind}: {transfers} transfers, {} MiB", moved >> 20);
    gateway.stop();
}

/// What one end of a tunnel sends, and in which pieces.
#[derive(Clone, Copy, Debug)]
struct Part {
    pattern: Pattern,
    bytes: u64,
    piece: usize,
    /// Between pieces, once in a while.
    pause: Duration,
    /// Sends its end only when it has read the other's.
    waits: bool,
}

impl Part {
    fn any(random: &mut Random) -> Part {
        // Small ones are more frequent, and so are the sizes around which buffers end.
        let bytes = match random.below(8) {
            0 => 0,
            1 => random.below(200),
            2 => (1 << random.below(18)) + random.below(3) - 1,
            3 | 4 => random.below(20_000),
            _ => random.below(BYTES_MAX),
        };
        let piece = match random.below(4) {
            0 => 1 + bytes / (1 + random.below(40)),
            1 => 1_400,
            _ => 1 + random.below(1 << 16),
        };
        let pause = if random.once_in(6) { random.below(1_500) as u64 } else { 0 };
        Part {
            pattern: Pattern::from(random.next()),
            bytes: bytes as u64,
            piece: piece.max(1 + bytes / 200),
            pause: Duration::from_micros(pause),
            waits: false,
        }
    }

    fn send(self, stream: &mut TcpStream) {
        let mut at = 0;
        while at < self.bytes {
            let end = (at + self.piece as u64).min(self.bytes);
            self.pattern.write(stream, at, end, self.piece).expect("the tunnel carries");
            at = end;
            if !self.pause.is_zero() {
                std::thread::sleep(self.pause);
            }
        }
    }
}

fn transfer(gateway: &Gateway, server: &Server, random: &mut Random) -> u64 {
    let tunnel = Tunnel::verified(gateway, server);
    let (mut up, mut down) = (Part::any(random), Part::any(random));
    match random.below(4) {
        0 => up.waits = true,
        1 => down.waits = true,
        _ => {}
    }
    std::thread::scope(|scope| {
        scope.spawn(move || play(tunnel.server, down, up));
        play(tunnel.client, up, down);
    });
    up.bytes + down.bytes
}

/// Sends one part and reads the other, at once or one after the other.
fn play(peer: Peer, own: Part, other: Part) {
    let mut reader = peer.stream.try_clone().expect("a socket");
    let mut writer = peer;
    if own.waits {
        // Its data may still go while it reads; its end may not.
        std::thread::scope(|scope| {
            scope.spawn(|| own.send(&mut writer.stream));
            read_all(&mut reader, other);
        });
        writer.fin();
    } else {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                own.send(&mut writer.stream);
                writer.fin();
            });
            read_all(&mut reader, other);
        });
    }
}

fn read_all(reader: &mut TcpStream, part: Part) {
    match part.pattern.read_to_end(reader) {
        Ok(read) => assert_eq!(read, part.bytes, "the end came early or late"),
        Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("stalled: {part:?}"),
        Err(error) => panic!("{error}: {part:?}"),
    }
}

#[test]
#[ignore = "5 GiB; run by cargo test --release --test gateway -- --ignored long_"]
fn long_five_gibibytes_by_splice() {
    five_gibibytes(SPLICE);
}

#[test]
#[ignore = "5 GiB; run by cargo test --release --test gateway -- --ignored long_"]
fn long_five_gibibytes_by_copy() {
    five_gibibytes(COPY);
}

/// More than 2^32 bytes, so that no counter of 32 bits would do.
fn five_gibibytes(kind: Kind) {
    const BYTES: u64 = 5 << 30;
    let (up, down) = (Pattern::from(30), Pattern::from(31));
    for (up_bytes, down_bytes) in [(BYTES, 1 << 20), (1 << 20, BYTES)] {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).start();
        let tunnel = Tunnel::verified(&gateway, &server);
        let session = gateway.session_of(&tunnel.client);
        let part = |pattern, bytes| Part {
            pattern,
            bytes,
            piece: 1 << 17,
            pause: Duration::ZERO,
            waits: false,
        };
        let (up, down) = (part(up, up_bytes), part(down, down_bytes));
        std::thread::scope(|scope| {
            scope.spawn(move || play(tunnel.server, down, up));
            play(tunnel.client, up, down);
        });
        let ended = gateway.end_of(&session);
        assert!(ended.number("bytes_up") > up_bytes && ended.number("bytes_down") > down_bytes);
        gateway.stop();
    }
}
