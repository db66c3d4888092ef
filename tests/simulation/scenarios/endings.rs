//! Ends, resets and stops: what is passed on, and after which bytes.

use sluice::logic::limits::Limits;
use sluice::logic::reason::Reason;

use crate::lab::Lab;
use crate::link::Who;
use crate::options::Options;
use crate::peer::Heard;
use crate::world::Act;

fn lab() -> Lab {
    Lab::new(Options::default(), Limits::default())
}

#[test]
fn a_reset_stays_a_reset_after_the_bytes_before_it() {
    let mut lab = lab();
    let (client, remote) = lab.open_tunnel();
    let bytes = vec![7; 30_000];
    lab.act(|world| {
        world.actor_writes(remote, &bytes);
        while world.perform_next(world.now_us) {}
        world.actor_resets(remote);
    });
    lab.settle();
    assert_eq!(lab.hear(client), (bytes, Heard::Nothing), "a reset that overtakes loses bytes");
    lab.pass_ms(400);
    assert_eq!(lab.hear(client), (Vec::new(), Heard::Broken), "{}", lab.trace());
    assert_eq!(lab.endings(), ["tunnel.remote.reset"]);
    lab.assert_at_rest();
}

#[test]
fn a_reset_that_a_write_finds_first_is_no_end() {
    let mut lab = lab();
    let (client, remote) = lab.open_tunnel();
    lab.act(|world| {
        world.actor_writes(remote, b"last words");
        world.actor_writes(client, b"more");
        while world.perform_next(world.now_us) {}
        world.actor_resets(remote);
        while world.perform_next(world.now_us) {}
        // Only the client's event is seen: the up flow writes into the reset.
        world.links[remote].end(Who::Gateway).watch = Default::default();
    });
    lab.settle();
    assert_eq!(lab.hear(client).0, b"last words");
    lab.pass_ms(400);
    assert_eq!(lab.hear(client), (Vec::new(), Heard::Broken), "{}", lab.trace());
    assert_eq!(lab.endings(), ["tunnel.remote.reset"]);
}

#[test]
fn data_and_end_on_one_edge() {
    for bytes in [1, 1460, 20_000, 60_000] {
        let mut lab = lab();
        let (client, remote) = lab.open_tunnel();
        let sent = vec![3; bytes];
        lab.act(|world| {
            world.actor_writes(client, &sent);
            world.actor_shuts(client);
            while world.perform_next(world.now_us) {}
        });
        lab.settle();
        assert_eq!(lab.hear(remote), (sent, Heard::End), "{}", lab.trace());
    }
}

#[test]
fn both_sides_gone_do_not_keep_a_session_waiting() {
    // The client reads nothing, so that bytes wait for it; SIOCOUTQ still counts them when it is gone.
    let small = Options { queues_max: [4096, 4096, 65_536, 4096], ..Options::default() };
    let mut lab = Lab::new(small, Limits::default());
    let (client, remote) = lab.open_tunnel();
    lab.act(|world| assert!(world.actor_writes(remote, &vec![1; 6_000]) > 0));
    lab.settle();
    lab.act(|world| world.actor_resets(remote));
    lab.settle();
    lab.act(|world| world.actor_resets(client));
    lab.pass_ms(500);
    lab.assert_at_rest();
}

#[test]
fn a_client_that_reads_nothing_gets_its_reset_in_the_end() {
    let small = Options { queues_max: [4096, 4096, 65_536, 4096], ..Options::default() };
    let mut lab = Lab::new(small, Limits::default());
    let (client, remote) = lab.open_tunnel();
    lab.act(|world| assert!(world.actor_writes(remote, &vec![1; 6_000]) > 0));
    lab.settle();
    lab.act(|world| world.actor_resets(remote));
    lab.pass_ms(9_000);
    assert_eq!(lab.worker.sessions(), 1);
    lab.pass_ms(2_000);
    lab.assert_at_rest();
    assert!(lab.is_closed(client));
}

#[test]
fn a_panic_ends_one_session() {
    let mut lab = lab();
    let (first, first_remote) = lab.open_tunnel();
    let (second, second_remote) = lab.open_tunnel();
    // Watched flows read; the third is still at its head.
    let third = lab.connect();
    lab.act(|world| world.panic_at = Some(third));
    lab.send(third, b"CONNECT");
    assert_eq!(lab.hear(third).1, Heard::Broken);
    assert_eq!(lab.reasons().last(), Some(&Reason::SessionPanicked));
    let panicked = lab.events.last().unwrap().clone();
    assert!(panicked.detail.as_deref().unwrap_or_default().contains("a planted panic"));
    for (client, remote) in [(first, first_remote), (second, second_remote)] {
        lab.send(client, b"still here");
        assert_eq!(lab.hear(remote).0, b"still here");
    }
    let fourth = lab.connect();
    lab.send(fourth, crate::lab::HEAD);
    assert_eq!(lab.hear(fourth).0, crate::lab::ESTABLISHED, "the scratch is whole again");
    lab.later(0, Act::Stop);
    lab.settle();
    lab.assert_at_rest();
}

#[test]
fn a_stop_ends_every_session_once() {
    let mut lab = lab();
    let tunnels: Vec<_> = (0..5).map(|_| lab.open_tunnel()).collect();
    let silent = lab.connect();
    let waiting = lab.connect();
    lab.send(waiting, crate::lab::HEAD);
    lab.later(0, Act::Stop);
    lab.settle();
    assert!(!lab.running);
    assert_eq!(lab.endings().len(), 6, "the silent connection stays silent");
    assert!(lab.endings().iter().all(|ending| ending.ends_with(".gateway.stopping")));
    for (client, remote) in tunnels {
        assert_eq!(lab.hear_now(client), Heard::Broken);
        assert_eq!(lab.hear_now(remote), Heard::Broken);
    }
    assert!(lab.is_closed(silent));
    lab.assert_at_rest();
}
