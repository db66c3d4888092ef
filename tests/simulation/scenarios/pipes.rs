//! Pipes of few slots, no pipes, and pipes that stop working.

use sluice::logic::limits::Limits;
use sluice::logic::reason::Reason;

use crate::lab::Lab;
use crate::link::LinkId;
use crate::options::{Options, Splicing};
use crate::peer::Heard;

/// Sends `bytes` from `from` to `to`, which reads in bites.
fn carry(lab: &mut Lab, from: LinkId, to: LinkId, bytes: &[u8], bite: usize) {
    let mut sent = 0;
    let mut heard = Vec::new();
    for _ in 0..10_000 {
        if heard.len() == bytes.len() {
            break;
        }
        sent += lab.world.borrow_mut().actor_writes(from, &bytes[sent..]);
        lab.settle();
        let more = lab.world.borrow_mut().actor_reads(to, bite);
        match more {
            Heard::Bytes(more) => heard.extend(more),
            Heard::Nothing => {}
            other => panic!("{other:?}\n{}", lab.trace()),
        }
        lab.settle();
    }
    assert!(heard == bytes, "{} of {} bytes\n{}", heard.len(), bytes.len(), lab.trace());
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 7 + n / 256) as u8).collect()
}

#[test]
fn pipes_of_every_size_carry_small_pieces_to_a_slow_reader() {
    for pipe_slots in [1, 2, 16] {
        for page_bytes in [100, 4096] {
            let options = Options {
                pipe_slots,
                page_bytes,
                piece_bytes: 100,
                queues_max: [512, 4096, 4096, 512],
                ..Options::default()
            };
            let mut lab = Lab::new(options, Limits::default());
            let (client, remote) = lab.open_tunnel();
            carry(&mut lab, client, remote, &pattern(20_000), 300);
            carry(&mut lab, remote, client, &pattern(20_000), 300);
            lab.act(|world| world.actor_shuts(client));
            assert_eq!(lab.hear(remote), (Vec::new(), Heard::End));
            lab.act(|world| world.actor_shuts(remote));
            assert_eq!(lab.hear(client), (Vec::new(), Heard::End));
            lab.assert_at_rest();
        }
    }
}

#[test]
fn no_pipe_means_copy_told_once_and_tried_again() {
    let options = Options { splicing: Splicing::PipesAtMost(0), ..Options::default() };
    let mut lab = Lab::new(options, Limits::default());
    let (client, remote) = lab.open_tunnel();
    // More than is copied anyway.
    for _ in 0..3 {
        carry(&mut lab, client, remote, &pattern(40_000), 1 << 20);
        lab.pass_ms(1_100);
    }
    let told = lab.reasons().iter().filter(|reason| **reason == Reason::PipesExhausted).count();
    assert_eq!(told, 1);
    assert_eq!(lab.world.borrow().splice_calls, 0);
    lab.act(|world| world.options.splicing = Splicing::Works);
    carry(&mut lab, client, remote, &pattern(40_000), 1 << 20);
    assert!(lab.world.borrow().splice_calls > 0);
}

#[test]
fn splicing_that_stops_working_loses_no_byte() {
    // The n-th call is the first that is refused: fills and pours, empty pipes and full ones.
    for calls in 0..12 {
        let options = Options {
            splicing: Splicing::RefusedAfter(calls),
            queues_max: [700, 4096, 4096, 700],
            ..Options::default()
        };
        let mut lab = Lab::new(options, Limits::default());
        let (client, remote) = lab.open_tunnel();
        carry(&mut lab, client, remote, &pattern(9_000), 500);
        carry(&mut lab, remote, client, &pattern(9_000), 500);
        lab.act(|world| world.actor_shuts(client));
        lab.act(|world| world.actor_shuts(remote));
        lab.settle();
        assert_eq!(lab.endings().len(), 1);
        assert_eq!(lab.worker.tools().pools.pipes_pooled(), 0);
        lab.assert_at_rest();
    }
}

/// No event tells when there is memory again, and what lacked it has broken nothing.
#[test]
fn want_of_memory_loses_no_byte_and_ends_no_tunnel() {
    for pipes_max in [0, 64] {
        let kind = Options { pipes_max, ..Options::default() };
        let mut lab = Lab::new(kind, Limits::default());
        let (client, remote) = lab.open_tunnel();
        lab.act(|world| world.options.scarce_once_in = 3);
        let (up, down) = (pattern(40_000), pattern(30_000));
        lab.act(|world| assert_eq!(world.actor_writes(client, &up), up.len()));
        lab.act(|world| assert_eq!(world.actor_writes(remote, &down), down.len()));
        lab.pass_ms(2_000);
        lab.act(|world| {
            assert_eq!(world.actor_reads(remote, 1 << 20), Heard::Bytes(up));
            assert_eq!(world.actor_reads(client, 1 << 20), Heard::Bytes(down));
        });
        lab.act(|world| world.actor_shuts(client));
        lab.act(|world| world.actor_shuts(remote));
        lab.pass_ms(2_000);
        assert_eq!(lab.endings().len(), 1);
        lab.assert_at_rest();
    }
}

#[test]
fn a_pipe_with_bytes_left_is_never_used_again() {
    let options = Options { queues_max: [512, 8192, 8192, 512], ..Options::default() };
    let mut lab = Lab::new(options, Limits::default());
    let (client, remote) = lab.open_tunnel();
    lab.act(|world| assert!(world.actor_writes(client, &[0xaa; 8_000]) > 0));
    lab.settle();
    lab.act(|world| world.actor_resets(remote));
    lab.pass_ms(11_000);
    lab.assert_at_rest();
    let (client, remote) = lab.open_tunnel();
    carry(&mut lab, client, remote, &pattern(4_000), 100);
}

#[test]
fn an_idle_tunnel_holds_no_pipe() {
    let mut lab = Lab::new(Options::default(), Limits::default());
    let (client, remote) = lab.open_tunnel();
    carry(&mut lab, client, remote, &pattern(50_000), 1 << 20);
    let pools = &lab.worker.tools().pools;
    assert_eq!((pools.pipes_out(), pools.buffers_out()), (0, 0));
    assert!(pools.pipes_pooled() > 0);
}
