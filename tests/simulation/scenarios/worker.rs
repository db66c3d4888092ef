//! The loop itself: descriptors that run out, fairness, limits.

use sluice::logic::limits::Limits;
use sluice::logic::reason::Reason;

use crate::lab::{ESTABLISHED, HEAD, Lab};
use crate::link::Who;
use crate::options::Options;
use crate::peer::Heard;

#[test]
fn accept_is_tried_again_by_timer_after_emfile() {
    let options = Options { descriptors_max: 2, ..Options::default() };
    let mut lab = Lab::new(options, Limits::default());
    let (client, _) = lab.open_tunnel();
    let late = lab.connect();
    lab.send(late, HEAD);
    lab.pass_ms(500);
    let polls = lab.world.borrow().polls;
    lab.pass_ms(1_000);
    assert!(lab.world.borrow().polls - polls < 50, "the worker spins while it lacks descriptors");
    let told =
        lab.reasons().iter().filter(|reason| **reason == Reason::DescriptorsExhausted).count();
    assert_eq!(told, 1);
    assert_eq!(lab.hear(late), (Vec::new(), Heard::Nothing));
    lab.act(|world| world.actor_resets(client));
    lab.pass_ms(100);
    assert_eq!(lab.hear(late), (ESTABLISHED.to_vec(), Heard::Nothing), "{}", lab.trace());
}

#[test]
fn pooled_pipes_make_room_for_a_client() {
    let options = Options { descriptors_max: 4, ..Options::default() };
    let mut lab = Lab::new(options, Limits::default());
    let (client, remote) = lab.open_tunnel();
    lab.send(client, b"through a pipe");
    assert_eq!(lab.hear(remote).0, b"through a pipe");
    assert_eq!(lab.worker.tools().pools.pipes_pooled(), 1);
    let late = lab.connect();
    lab.send(late, HEAD);
    lab.pass_ms(60);
    assert_eq!(lab.hear(late), (ESTABLISHED.to_vec(), Heard::Nothing), "{}", lab.trace());
}

#[test]
fn a_busy_tunnel_gets_no_more_than_its_share() {
    // Queues that never fill: each drive moves a whole budget.
    let options = Options {
        queues_max: [1 << 24; 4],
        pipe_slots: 16,
        page_bytes: 4096,
        piece_bytes: 1 << 16,
        ..Options::default()
    };
    let mut lab = Lab::new(options, Limits::default());
    let (busy, busy_remote) = lab.open_tunnel();
    let (small, small_remote) = lab.open_tunnel();
    let bulk = vec![1; 1 << 16];
    let mut before = lab.world.borrow().links[busy_remote].look(Who::Gateway).written_bytes;
    let mut most = 0;
    for turn in 0..60 {
        lab.act(|world| {
            // Fresh bytes come every turn, so that there is always an edge and never an end.
            for _ in 0..24 {
                world.actor_writes(busy, &bulk);
            }
            world.actor_writes(small, b"x");
            while world.perform_next(world.now_us) {}
        });
        lab.turn();
        let world = &mut *lab.world.borrow_mut();
        let after = world.links[busy_remote].look(Who::Gateway).written_bytes;
        most = most.max(after - before);
        before = after;
        while world.perform_next(world.now_us) {}
        assert_eq!(
            world.actor_reads(small_remote, 10),
            Heard::Bytes(b"x".to_vec()),
            "the small tunnel starves in turn {turn}"
        );
        while let Heard::Bytes(_) = world.actor_reads(busy_remote, 1 << 24) {}
    }
    // One budget by its event and one from the queue; a budget may be passed by one pipe.
    assert!(most <= 2 * (256 + 64) * 1024, "{most} bytes in one turn");
}

#[test]
fn sessions_over_the_limit_are_told() {
    let limits = Limits { sessions: 1, ..Limits::default() };
    let mut lab = Lab::new(Options::default(), limits);
    let (first, _) = lab.open_tunnel();
    let second = lab.connect();
    lab.act(|world| {
        world.actor_writes(second, b"CONNECT ok.example.com:443 HTTP/1.1\r\n\r\n");
    });
    let (reply, _) = lab.hear(second);
    assert!(reply.starts_with(b"HTTP/1.1 503 "));
    lab.act(|world| world.actor_resets(first));
    lab.settle();
    lab.act(|world| world.actor_closes(second));
    lab.settle();
    assert_eq!(lab.endings(), ["tunnel.client.reset", "await_head.gateway.too_many_sessions"]);
    lab.assert_at_rest();
    lab.open_tunnel();
}
