//! Facts that the design rests on, each as a list of its own with what must come of it on both kernels.

use std::io::ErrorKind::{self, BrokenPipe, ConnectionRefused, ConnectionReset, NotConnected};
use std::net::SocketAddr;
use std::time::Duration;

use sluice::net::kernel::Kernel;
use socket2::{Domain, Socket, Type};

use super::bench::{Bench, token};
use super::operation::Outcome::{Blocked, Done, End, Failed, Is, Moved};
use super::operation::{Op, Outcome, pattern};
use super::real::tell;
use super::run::Pair;
use crate::chance::Chance;
use crate::world::DialPlan;

/// The pipes by their number, see `operation::PIPES`.
const ONE_SLOT: usize = 0;
const TWO_SLOTS: usize = 1;
const SIXTEEN_SLOTS: usize = 2;
const ALL: usize = 1 << 20;

fn pair() -> Pair {
    Pair::new(&mut Chance::new(1))
}

fn play(steps: &[(Op, Outcome)]) {
    let mut pair = pair();
    for (number, (op, wanted)) in steps.iter().enumerate() {
        let outcome = pair.step(*op).unwrap_or_else(|wrong| panic!("step {number}: {wrong}"));
        assert_eq!(outcome, *wanted, "step {number}: {op:?}");
    }
}

/// What the peer of link 0 has sent, from `from` on.
fn of_peer(from: usize, len: usize) -> Outcome {
    Outcome::Bytes(pattern(0, false, from, len))
}

/// F1: small pieces use up the slots of a pipe while its bytes are few. Emptied each time, it moves all.
#[test]
fn many_small_pieces_pass_a_pipe_to_a_slow_reader() {
    for pipe in [ONE_SLOT, TWO_SLOTS, SIXTEEN_SLOTS] {
        let mut pair = pair();
        for _ in 0..200 {
            assert_eq!(pair.step(Op::PeerWrite(0, 100)).unwrap(), Moved(100));
        }
        let (mut passed, mut heard) = (0, Vec::new());
        while heard.len() < 20_000 {
            if let Moved(filled) = pair.step(Op::Fill(pipe, 0, ALL)).unwrap() {
                assert_eq!(pair.step(Op::Pour(pipe, 1, filled)).unwrap(), Moved(filled));
                passed += filled;
            } else {
                assert_eq!(passed, 20_000, "bytes wait, and an empty pipe takes none of them");
            }
            if let Outcome::Bytes(bytes) = pair.step(Op::PeerRead(1, 300)).unwrap() {
                heard.extend(bytes);
            }
        }
        assert!(heard == pattern(0, false, 0, 20_000));
    }
}

/// F1: "would block" of a fill may mean a full pipe, with bytes still in the socket.
#[test]
fn a_full_pipe_looks_like_a_dry_source() {
    let mut pair = pair();
    for _ in 0..3 {
        pair.step(Op::PeerWrite(0, 100)).unwrap();
        // A pause between them: they stay pieces of their own.
        assert_eq!(pair.step(Op::Fill(TWO_SLOTS, 0, 100)).map(drop), Ok(()));
    }
    assert_eq!(pair.fake.slots(TWO_SLOTS), [100, 100]);
    assert_eq!(pair.fake.look(0)[0].map(|seen| seen.unread_bytes), Some(100));
    assert_eq!(pair.step(Op::Fill(TWO_SLOTS, 0, ALL)), Ok(Blocked));
}

/// F2: a slot is busy to its last byte.
#[test]
fn a_slot_with_one_byte_left_is_busy() {
    play(&[
        (Op::PeerWrite(0, 100), Moved(100)),
        (Op::Fill(ONE_SLOT, 0, ALL), Moved(100)),
        (Op::PeerWrite(0, 100), Moved(100)),
        (Op::Fill(ONE_SLOT, 0, ALL), Blocked),
        (Op::ReadPipe(ONE_SLOT, 99), of_peer(0, 99)),
        (Op::Fill(ONE_SLOT, 0, ALL), Blocked),
        (Op::Pour(ONE_SLOT, 1, 1), Moved(1)),
        (Op::Fill(ONE_SLOT, 0, ALL), Moved(100)),
        (Op::ReadPipe(ONE_SLOT, 200), of_peer(100, 100)),
        (Op::ReadPipe(ONE_SLOT, 200), Blocked),
    ]);
}

/// F3: on loopback a pipe of 16 pages takes more than 65,536 bytes.
#[test]
fn a_pipe_holds_more_than_its_size() {
    let mut pair = pair();
    for _ in 0..40 {
        pair.step(Op::PeerWrite(0, 20_000)).unwrap();
        pair.step(Op::Fill(SIXTEEN_SLOTS, 0, ALL)).unwrap();
    }
    let held: usize = pair.fake.slots(SIXTEEN_SLOTS).iter().sum();
    assert!(held > 65_536, "{held} bytes");
    let mut poured = 0;
    while let Moved(moved) = pair.step(Op::Pour(SIXTEEN_SLOTS, 1, 10_000)).unwrap() {
        poured += moved;
        pair.step(Op::PeerRead(1, ALL)).unwrap();
    }
    assert_eq!(poured, held);
}

/// F4: a splice of nothing says 0, which looks like an end; the fake forbids it.
#[test]
fn a_splice_of_length_0_looks_like_an_end() {
    let mut pair = pair();
    pair.step(Op::PeerWrite(0, 10)).unwrap();
    let nothing = Op::Fill(ONE_SLOT, 0, 0);
    assert_eq!(pair.real.bench.perform(nothing, None), End);
    pair.fake.bench.perform(nothing, None);
    assert!(pair.fake.world.borrow().broken.is_some());
    assert_eq!(pair.step(Op::Read(0, 10)), Ok(of_peer(0, 10)));
}

/// F5: an end behind a full pipe shows when there is room again.
#[test]
fn an_end_behind_a_full_pipe_waits() {
    play(&[
        (Op::PeerWrite(0, 100), Moved(100)),
        (Op::Fill(ONE_SLOT, 0, ALL), Moved(100)),
        (Op::PeerShut(0), Done),
        (Op::Fill(ONE_SLOT, 0, ALL), Blocked),
        (Op::ReadPipe(ONE_SLOT, 60), of_peer(0, 60)),
        (Op::Fill(ONE_SLOT, 0, ALL), Blocked),
        (Op::ReadPipe(ONE_SLOT, 60), of_peer(60, 40)),
        (Op::Fill(ONE_SLOT, 0, ALL), End),
        (Op::Read(0, 10), End),
    ]);
}

/// F12: a sink that is shut or gone.
#[test]
fn a_pour_into_a_sink_that_is_shut_keeps_its_bytes() {
    play(&[
        (Op::PeerWrite(0, 100), Moved(100)),
        (Op::Fill(ONE_SLOT, 0, ALL), Moved(100)),
        (Op::Shut(1), Done),
        (Op::Pour(ONE_SLOT, 1, 100), Failed(BrokenPipe)),
        (Op::PeerReset(1), Done),
        (Op::Pour(ONE_SLOT, 1, 100), Failed(ConnectionReset)),
        (Op::Pour(ONE_SLOT, 1, 100), Failed(BrokenPipe)),
        (Op::ReadPipe(ONE_SLOT, 200), of_peer(0, 100)),
    ]);
}

/// G5: a reset shows once, to whoever asks first; then reads say "end".
#[test]
fn a_reset_shows_once() {
    let first: [(Op, Outcome); 5] = [
        (Op::TakeError(0), Failed(ConnectionReset)),
        (Op::IsConnected(0), Failed(ConnectionReset)),
        (Op::Write(0, 10), Failed(ConnectionReset)),
        (Op::Read(0, 10), Failed(ConnectionReset)),
        (Op::Fill(ONE_SLOT, 0, ALL), Failed(ConnectionReset)),
    ];
    for first in first {
        play(&[
            (Op::PeerReset(0), Done),
            first,
            (Op::Read(0, 10), End),
            (Op::Fill(ONE_SLOT, 0, ALL), End),
            (Op::TakeError(0), Done),
            (Op::IsConnected(0), Is(false)),
            (Op::Write(0, 10), Failed(BrokenPipe)),
            (Op::Shut(0), Failed(NotConnected)),
        ]);
    }
}

/// G6: what came before a reset can be read, then comes the reset.
#[test]
fn bytes_before_a_reset_can_be_read() {
    play(&[
        (Op::PeerWrite(0, 1_000), Moved(1_000)),
        (Op::PeerReset(0), Done),
        (Op::Read(0, 400), of_peer(0, 400)),
        (Op::Read(0, 400), of_peer(400, 400)),
        (Op::Read(0, 400), of_peer(800, 200)),
        (Op::Read(0, 400), Failed(ConnectionReset)),
        (Op::Read(0, 400), End),
    ]);
    play(&[
        (Op::PeerWrite(0, 1_000), Moved(1_000)),
        (Op::PeerReset(0), Done),
        (Op::Fill(SIXTEEN_SLOTS, 0, 600), Moved(600)),
        (Op::Fill(SIXTEEN_SLOTS, 0, 600), Moved(400)),
        (Op::Fill(SIXTEEN_SLOTS, 0, 600), Failed(ConnectionReset)),
    ]);
}

/// A reset behind an end is another error, and no read tells of it.
#[test]
fn a_reset_behind_an_end_is_hidden_from_reads() {
    play(&[
        (Op::PeerShut(0), Done),
        (Op::Read(0, 10), End),
        (Op::PeerReset(0), Done),
        (Op::Read(0, 10), End),
        (Op::Fill(ONE_SLOT, 0, ALL), End),
        (Op::Poll, Done),
        (Op::TakeError(0), Failed(BrokenPipe)),
        (Op::Write(0, 10), Failed(BrokenPipe)),
    ]);
}

/// Bytes that nobody read turn a close into a reset.
#[test]
fn a_close_with_bytes_unread_is_a_reset() {
    play(&[
        (Op::PeerWrite(0, 10), Moved(10)),
        (Op::Write(0, 10), Moved(10)),
        (Op::Close(0), Done),
        (Op::PeerRead(0, 10), Outcome::Bytes(pattern(0, true, 0, 10))),
        (Op::PeerRead(0, 10), Failed(ConnectionReset)),
        (Op::Write(1, 10), Moved(10)),
        (Op::PeerClose(1), Done),
        (Op::Poll, Done),
        (Op::Read(1, 10), Failed(ConnectionReset)),
    ]);
}

/// After two ends in order nobody is there any more, and nothing can be reset.
#[test]
fn two_ends_leave_nothing_to_reset() {
    play(&[
        (Op::Shut(0), Done),
        (Op::Shut(0), Done),
        (Op::IsConnected(0), Is(true)),
        (Op::PeerShut(0), Done),
        (Op::Poll, Done),
        (Op::IsConnected(0), Is(false)),
        (Op::Shut(0), Failed(NotConnected)),
        (Op::Write(0, 1), Failed(BrokenPipe)),
        (Op::PeerReset(0), Done),
        (Op::Read(0, 1), End),
        (Op::TakeError(0), Done),
    ]);
}

/// A full sink takes nothing, tells when it takes again, and a reset makes its bytes uncountable.
#[test]
fn a_full_sink_tells_when_it_has_room() {
    let mut pair = pair();
    pair.step(Op::Poll).unwrap();
    let stuffed = pair.step(Op::Stuff(0)).unwrap();
    assert!(matches!(stuffed, Moved(1..)), "{stuffed:?}");
    // A probe of the closed window may get a little through and make room once more.
    loop {
        pair.step(Op::PeerWrite(1, 100)).unwrap();
        assert_eq!(pair.step(Op::Fill(ONE_SLOT, 1, ALL)), Ok(Moved(100)));
        match pair.step(Op::Pour(ONE_SLOT, 0, 100)).unwrap() {
            Blocked => break,
            poured => assert_eq!(poured, Moved(100)),
        }
    }
    pair.step(Op::Poll).unwrap();
    pair.step(Op::Unstuff(0)).unwrap();
    let promised = pair.fake.bench.poll(Duration::ZERO);
    assert!(promised.iter().any(|ready| ready.writable), "{promised:?}");
    let told = pair.real.poll_for(&promised);
    assert!(tell(&told, &promised), "promised {promised:?}, told {told:?}");
    assert_eq!(pair.step(Op::Pour(ONE_SLOT, 0, 100)), Ok(Moved(100)));
    pair.step(Op::Stuff(0)).unwrap();
    pair.step(Op::PeerReset(0)).unwrap();
    assert_eq!(pair.step(Op::Unsent(0)), Ok(Done));
    assert!(pair.real.bench.unsent_bytes(0) > Some(0), "a dead queue keeps its length");
}

/// A dial that is refused says so once, and an event says that there is something to ask.
#[test]
fn a_refused_dial_tells_once() {
    // Bound, so that nobody else is given it, and not listened on.
    let closed = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    closed.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let nobody = closed.local_addr().unwrap().as_socket().unwrap();
    let mut pair = pair();
    assert_eq!(fate_of(&mut pair.real.bench, nobody), REFUSED);
    {
        let mut world = pair.fake.world.borrow_mut();
        world.dials[0].1 = DialPlan::Fail(0, ConnectionRefused);
    }
    assert_eq!(fate_of(&mut pair.fake.bench, nobody), REFUSED);
}

const REFUSED: (bool, [Result<bool, ErrorKind>; 2]) = (true, [Err(ConnectionRefused), Ok(false)]);

/// Whether an event says that a dial may have broken, and what the stream says of it, twice.
fn fate_of<K: Kernel>(
    bench: &mut Bench<K>,
    to: SocketAddr,
) -> (bool, [Result<bool, ErrorKind>; 2]) {
    bench.poll(Duration::ZERO);
    let mut stream = bench.kernel.dial(to, None).unwrap();
    bench.kernel.register(&mut stream, token(5)).unwrap();
    let told = bench.poll(Duration::from_secs(2));
    let told = told.iter().any(|ready| ready.token == token(5) && ready.writable && ready.broken);
    let mut ask = || bench.kernel.is_connected(&stream).map_err(|error| error.kind());
    (told, [ask(), ask()])
}
