//! What a worker shows of itself: how long things took, what it holds, whether it turns.

use sluice::logic::limits::Limits;
use sluice::observe::gauges::{Doing, Held};
use sluice::observe::histograms::{Distribution, Measure};

use crate::lab::{ESTABLISHED, HEAD, Lab};
use crate::names::{Name, Service};
use crate::options::Options;
use crate::peer::Heard;
use crate::world::DialPlan;

/// How many, and their sum in milliseconds. The clock of the worker may lag behind by less than one.
fn told(lab: &mut Lab, time: Measure) -> (u64, u64) {
    let times = measured(lab, time);
    (times.count(), (times.sum() + 500) / 1_000)
}

fn measured(lab: &mut Lab, measure: Measure) -> Distribution {
    Distribution::merged(measure, [&lab.worker.tools().gauges.histograms])
}

fn lab(name: Name, dial: DialPlan) -> Lab {
    let mut lab = Lab::new(Options::default(), Limits::default());
    lab.act(|world| {
        world.names.insert("a.example.com".to_owned(), name);
        world.dials = "93.184.0.1".parse().map(|address| (address, dial)).into_iter().collect();
    });
    lab
}

#[test]
fn each_step_of_a_session_is_timed_once() {
    let name = Name::new(Service::After(300_000), &["93.184.0.1"]);
    let mut lab = lab(name, DialPlan::Connect(200_000));
    let client = lab.connect();
    lab.pass_ms(1_000);
    lab.send(client, HEAD);
    lab.pass_ms(600);
    assert_eq!(lab.hear(client), (ESTABLISHED.to_vec(), Heard::Nothing), "{}", lab.trace());
    assert_eq!(told(&mut lab, Measure::Resolve), (1, 300));
    assert_eq!(told(&mut lab, Measure::Dial), (1, 200));
    assert_eq!(told(&mut lab, Measure::SetUp), (1, 500));
    assert_eq!(told(&mut lab, Measure::Session).0, 0);
    lab.pass_ms(400);
    lab.act(|world| world.actor_resets(client));
    lab.pass_ms(1);
    let (sessions, session_ms) = told(&mut lab, Measure::Session);
    assert_eq!(sessions, 1);
    assert!((1_995..=2_010).contains(&session_ms), "{session_ms} ms");
}

#[test]
fn what_a_session_moves_is_measured_as_it_is_counted() {
    let mut lab = Lab::new(Options::default(), Limits::default());
    let (client, remote) = lab.open_tunnel();
    assert_eq!(told(&mut lab, Measure::FirstByte).0, 1, "the server's hello");
    assert_eq!(lab.world.borrow_mut().actor_writes(client, &[7; 3_000]), 3_000);
    lab.pass_ms(5);
    assert_eq!(lab.world.borrow_mut().actor_writes(remote, &[7; 20]), 20);
    lab.pass_ms(5);
    assert_eq!(told(&mut lab, Measure::FirstByte).0, 1, "only the first ones");
    assert_eq!(measured(&mut lab, Measure::Upload).count(), 0, "the session is not over");
    lab.act(|world| world.actor_resets(client));
    lab.pass_ms(5);
    let counted = lab.worker.tools().counters.snapshot();
    let uploads = measured(&mut lab, Measure::Upload);
    assert_eq!((uploads.count(), uploads.sum()), (1, counted.bytes_up));
    assert!(counted.bytes_up > 3_000 && counted.bytes_down > 20);
    let pours = measured(&mut lab, Measure::Pour);
    assert_eq!(pours.sum(), 3_000, "hellos and the answer were copied");
    let turns = lab.worker.tools().gauges.turns();
    assert_eq!(measured(&mut lab, Measure::Ready).count(), turns);
}

#[test]
fn writes_are_measured_where_nothing_is_spliced() {
    let mut lab = Lab::new(Options { pipes_max: 0, ..Options::default() }, Limits::default());
    let (client, _) = lab.open_tunnel();
    assert_eq!(lab.world.borrow_mut().actor_writes(client, &[7; 3_000]), 3_000);
    lab.pass_ms(5);
    lab.act(|world| world.actor_resets(client));
    lab.pass_ms(5);
    let counted = lab.worker.tools().counters.snapshot();
    let pours = measured(&mut lab, Measure::Pour);
    assert_eq!(pours.sum(), counted.bytes_up + counted.bytes_down);
    assert!(pours.count() >= 3);
}

#[test]
fn what_fails_or_was_known_is_not_timed() {
    let refused = DialPlan::Fail(10_000, std::io::ErrorKind::ConnectionRefused);
    let mut lab = lab(Name::new(Service::Known, &["93.184.0.1"]), refused);
    let client = lab.connect();
    lab.send(client, HEAD);
    lab.pass_ms(50);
    assert!(lab.hear(client).0.starts_with(b"HTTP/1.1 502 "));
    for time in [Measure::Resolve, Measure::Dial, Measure::SetUp] {
        assert_eq!(told(&mut lab, time).0, 0, "{time:?}");
    }
    let silent = lab.connect();
    lab.act(|world| world.actor_closes(silent));
    lab.act(|world| world.actor_closes(client));
    lab.pass_ms(50);
    assert_eq!(told(&mut lab, Measure::Session).0, 1, "no session without a head is timed");
}

#[test]
fn a_worker_shows_what_it_holds_and_that_it_sleeps() {
    // The remote reads nothing, so bytes stay in the carrier.
    let options = Options { queues_max: [512, 8192, 8192, 512], ..Options::default() };
    let mut lab = Lab::new(options, Limits::default());
    let (client, remote) = lab.open_tunnel();
    assert!(lab.world.borrow_mut().actor_writes(client, &[7; 8_000]) > 0);
    lab.pass_ms(10);
    let now = lab.world.borrow().now();
    let gauges = std::sync::Arc::clone(&lab.worker.tools().gauges);
    let pools = &lab.worker.tools().pools;
    let holds = Held {
        sessions: 1,
        pipes_out: pools.pipes_out(),
        pipes_pooled: pools.pipes_pooled(),
        buffers_out: pools.buffers_out(),
    };
    assert_eq!(gauges.held(), holds);
    assert!(holds.pipes_out + holds.buffers_out > 0, "the stalled flow holds something");
    assert_eq!(gauges.doing(now), Doing::Sleeps);
    let turns = gauges.turns();
    assert_eq!(told(&mut lab, Measure::Turn).0, turns);
    lab.act(|world| world.actor_resets(remote));
    lab.pass_ms(20_000);
    let held = gauges.held();
    assert_eq!((held.sessions, held.pipes_out, held.buffers_out), (0, 0, 0));
    assert!(gauges.turns() > turns);
}

/// After a pause of the whole process all deadlines have passed, and more sockets are ready than one
/// poll tells of: bytes that are there count before the silence does.
#[test]
fn a_deadline_is_judged_after_a_last_look() {
    let options = Options { events_per_poll: 1, ..Options::default() };
    let limits = Limits { idle_ms: 1_000, hello_ms: 1_000, head_ms: 1_000, ..Limits::default() };
    let mut lab = Lab::new(options, limits);
    let tunnels: Vec<_> = (0..4).map(|_| lab.open_tunnel()).collect();
    let silent = lab.open_tunnel();
    let waiting = lab.connect();
    lab.act(|world| {
        for (index, &(client, remote)) in tunnels.iter().enumerate() {
            world.actor_writes(if index % 2 == 0 { client } else { remote }, b"here");
        }
        world.actor_writes(waiting, HEAD);
        while world.perform_next(world.now_us) {}
        world.now_us += 5_000_000;
    });
    lab.settle();
    assert_eq!(lab.endings(), ["tunnel.gateway.idle"], "{}", lab.trace());
    assert!(lab.is_closed(silent.0));
    for (index, (client, remote)) in tunnels.into_iter().enumerate() {
        let to = if index % 2 == 0 { remote } else { client };
        assert_eq!(lab.hear(to), (b"here".to_vec(), Heard::Nothing));
    }
    assert_eq!(lab.hear(waiting), (ESTABLISHED.to_vec(), Heard::Nothing));
}

/// A process may be halted in the middle of a turn: what it reads afterwards is not as old as the turn.
#[test]
fn bytes_that_are_read_after_a_halt_within_a_turn_are_new() {
    let options = Options { pipes_max: 0, ..Options::default() };
    let limits = Limits { idle_ms: 1_000, ..Limits::default() };
    let mut lab = Lab::new(options, limits);
    let (client, remote) = lab.open_tunnel();
    lab.act(|world| {
        world.halt_at = Some((client, 5_000_000));
        world.actor_writes(client, b"here");
    });
    lab.settle();
    assert_eq!(lab.hear(remote), (b"here".to_vec(), Heard::Nothing), "{}", lab.trace());
    assert_eq!(lab.endings(), Vec::<String>::new(), "{}", lab.trace());
    lab.pass_ms(1_001);
    assert_eq!(lab.endings(), ["tunnel.gateway.idle"]);
}
